/* bench_engine.c - tokens per second of a model file: prompts, then generation by 1, 4, 16 and more
 * sequences at once. Usage: bench_engine [-k KERNEL] [-t THREADS] [-p N] [-n N] [-b 1,4,16] FILE */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "count.h"
#include "engine.h"

#define MAX_SEQS 256
#define MAX_RUNS 32

struct bench {
	struct engine *e;
	struct model *m;
	uint32_t prompt, gen;
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "bench_engine: %s: %s\n", what, err->text);
	exit(1);
}

static void run_until_done(struct bench *b, unsigned jobs)
{
	struct event ev[64];

	while (jobs) {
		int n;

		engine_step(b->e, 0);
		while ((n = engine_poll(b->e, ev, 64)) > 0)
			for (int i = 0; i < n; i++)
				if (ev[i].kind == EV_DONE || ev[i].kind == EV_FAILED)
					jobs--;
	}
}

static void append(struct bench *b, struct seq *s, uint32_t n, uint32_t salt)
{
	int32_t *ids = calloc(n, sizeof(*ids));
	struct err err = {0};
	job_id job;

	for (uint32_t i = 0; i < n; i++)
		ids[i] = (int32_t)((i * 7919u + salt * 104729u) % (model_info(b->m)->n_vocab / 2));
	if (!ids || seq_append(s, ids, n, NULL, &job, &err) < 0)
		die("append", &err);
	free(ids);
}

static void prompt_and_generate(struct bench *b, unsigned n)
{
	struct seq *s[MAX_SEQS];
	struct seq_cfg cfg = {.max_tokens = b->prompt + b->gen, .priority = PRIO_NORMAL};
	struct gen_limit limit = {.max_new = b->gen, .end_ids = (int32_t[]){0}, .n_end = 0};
	struct sampler smp;
	struct err err = {0};
	uint64_t t0, t1, t2;
	double c0 = cpu_seconds(), c1, c2;
	job_id job;

	sampler_init(&smp, 7);
	t0 = clock_mono_ns();
	for (unsigned i = 0; i < n; i++) {
		if (seq_new(b->e, b->m, &cfg, &s[i], &err) < 0)
			die("sequence", &err);
		append(b, s[i], b->prompt, i);
	}
	run_until_done(b, n);
	t1 = clock_mono_ns();
	c1 = cpu_seconds();
	for (unsigned i = 0; i < n; i++) {
		if (seq_generate(s[i], &smp, &limit, NULL, NULL, &job, &err) < 0)
			die("generate", &err);
		seq_credit(s[i], b->gen);
	}
	run_until_done(b, n);
	t2 = clock_mono_ns();
	c2 = cpu_seconds();
	/* per CPU second: what a busy machine does not spoil */
	printf("%4u x %u + %u: prompt %7.0f tokens/s (%.0f per CPU second), "
	       "generate %7.0f tokens/s (%.0f per CPU second)\n",
	       n, b->prompt, b->gen, n * (double)b->prompt * 1e9 / (double)(t1 - t0),
	       n * (double)b->prompt / (c1 - c0), n * (double)b->gen * 1e9 / (double)(t2 - t1),
	       n * (double)b->gen / (c2 - c1));
	for (unsigned i = 0; i < n; i++)
		seq_free(s[i]);
}

/* "1,4,16", taken apart in place: how many sequences at once, one run after the other. */
static unsigned read_batches(char *text, unsigned n[MAX_RUNS])
{
	unsigned runs = 0;
	char *rest = NULL;

	for (char *at = strtok_r(text, ",", &rest); at; at = strtok_r(NULL, ",", &rest)) {
		if (runs == MAX_RUNS) {
			fprintf(stderr, "bench_engine: more than %d runs\n", MAX_RUNS);
			exit(2);
		}
		n[runs++] = count_arg(at, 1, MAX_SEQS);
	}
	return runs;
}

int main(int argc, char **argv)
{
	struct engine_cfg cfg = {.kv_bytes = 2ull << 30};
	struct bench b = {.prompt = 256, .gen = 64};
	unsigned batch[MAX_RUNS] = {1, 4, 16}, runs = 3;
	struct engine_stats st;
	struct err err = {0};
	int c, fd;

	while ((c = getopt(argc, argv, "k:t:p:n:b:")) != -1)
		switch (c) {
		case 'k':
			cfg.kernel_path = optarg;
			break;
		case 't':
			cfg.threads = count_arg(optarg, 0, 256);
			break;
		case 'p':
			b.prompt = count_arg(optarg, 1, 1000000);
			break;
		case 'n':
			b.gen = count_arg(optarg, 1, 1000000);
			break;
		case 'b':
			runs = read_batches(optarg, batch);
			break;
		default:
			return 2;
		}
	if (optind + 1 != argc) {
		fputs("usage: bench_engine [-k KERNEL] [-t THREADS] [-p N] [-n N] [-b 1,4] FILE\n",
		      stderr);
		return 2;
	}
	if ((fd = open(argv[optind], O_RDONLY | O_CLOEXEC)) < 0) {
		perror(argv[optind]);
		return 1;
	}
	if (engine_open(&cfg, &b.e, &err) < 0 ||
	    engine_model_add(b.e, &fd, 1, NULL, &b.m, &err) < 0)
		die("open", &err);
	close(fd);
	engine_stats(b.e, &st);
	printf("%s, kernel %s\n", argv[optind], st.kernel_path);
	for (unsigned i = 0; i < runs; i++)
		prompt_and_generate(&b, batch[i]);
	engine_close(b.e);
	return 0;
}
