/* bench_priv.h - what the two ways to run `model bench` share. One thread. */
#ifndef SP_CLI_BENCH_PRIV_H
#define SP_CLI_BENCH_PRIV_H

#include "model_bench.h"

struct bench {
	struct run r;
	const struct model_files *files;
	const struct bench_args *a;
	struct bench_result *out;
	unsigned ti;	/* index of the number of threads */
	uint32_t n_new; /* tokens to decode */
	uint32_t salt;	/* of the noise */
	bool guard;	/* new sequences are a guard's */
	struct err *err;
};
int bench_seq(struct bench *b, uint32_t tokens, struct seq **s);
/* Queues n tokens of noise; `row`: with two logits behind the last. bench_append waits for them. */
int bench_submit(struct bench *b, struct seq *s, uint32_t n, bool row);
int bench_append(struct bench *b, struct seq *s, uint32_t n, bool row);
/* All sequences to `depth` tokens, the last computed anew, so that a token can be drawn. */
int bench_depth(struct bench *b, struct seq **s, uint32_t n, uint32_t depth);
/* Tokens a second of all n sequences together, b->n_new each, from the time each has its first. */
int bench_decode(struct bench *b, struct seq **s, uint32_t n, double *rate);

#endif
