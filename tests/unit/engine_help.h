/* engine_help.h - for tests of the engine: files of other implementations, synthetic models, and
 * short ways to run a job to its end. */
#ifndef SP_TESTS_ENGINE_HELP_H
#define SP_TESTS_ENGINE_HELP_H

#include "engine.h"

/* A file below the folder SALLYPORT_SHARED; -1 when it is absent (skip the test). */
int shared_fd(const char *rel);

#define SMALL_VOCAB 270 /* of random models: gb_small_bpe() of ggufb.h; end of turn is 269 */
struct shape {
	uint32_t embd, layers, heads, kv_heads, head_dim, ff, vocab, context;
	bool tied, freqs; /* freqs: rope_freqs of 1..8 */
	bool nan;	  /* one NaN in a matrix of the last layer */
	bool mixed;	  /* matrices in all types by turns; widths are multiples of 256 */
	float scale;	  /* of the matrices; 0 = 1 */
};
/* The usual one, but for its context and flags. */
#define SMALL_SHAPE                                                                                \
	.embd = 32, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 8, .ff = 40, .vocab = SMALL_VOCAB
extern const struct shape shape_mixed; /* small, quantised, of all types */
/* Weights in double, [out][in], the same numbers as in the file. */
struct ref_layer {
	double *attn_norm, *ffn_norm, *q, *k, *v, *o, *gate, *up, *down;
};
struct ref_model {
	struct shape s;
	double *embd, *output, *output_norm, *freqs;
	struct ref_layer *layers;
};
/* Random weights by seed into a memfd with a GGUF; *ref (NULL ok) gets the same weights: ref_free.
 */
int random_model(const struct shape *s, uint64_t seed, struct ref_model *ref);
void ref_free(struct ref_model *r);
/* ref64.c: logits of the last token of n, in double, straight from the definition. */
void ref_logits(const struct ref_model *r, const int32_t *ids, uint32_t n, double *out);

/* A running engine with one model; fails the test when it does not open. fd is closed. */
struct rig {
	struct engine *e;
	struct model *m;
};
void rig_open(struct rig *r, int fd, const char *kernel, uint32_t threads, uint64_t kv_bytes);
void rig_close(struct rig *r);
struct seq *rig_seq(struct rig *r, enum seq_role role, uint32_t max_tokens);
/* A chat's sequence of this group and priority; n noise tokens to it, at most 4096. */
struct seq *rig_seq_in(struct rig *r, uint64_t group, enum seq_priority prio, uint32_t max_tokens);
job_id rig_append(struct rig *r, struct seq *s, uint32_t n);

struct outcome {
	enum event_kind kind; /* EV_DONE or EV_FAILED */
	enum gen_end end;
	uint32_t computed, cached, n_tokens, n_rows, row_n;
	int code;
	int32_t tokens[4096];
	float rows[65536]; /* the last EV_ROWS, as much as fits */
};
/* Steps until the job ends. */
void run_job(struct engine *e, job_id job, struct outcome *o);
/* Appends and waits; the last row's full logits to out (NULL ok). */
void append_all(struct engine *e, struct seq *s, const int32_t *ids, uint32_t n, float *out);

/* RMS of a - b over the standard deviation of b. */
double rms_over_std(const float *a, const float *b, size_t n);
/* Pseudo-random ids below vocab. */
void some_ids(int32_t *ids, uint32_t n, uint32_t vocab, uint64_t seed);

#endif
