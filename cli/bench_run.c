/* bench_run.c - see model_bench.h. Prompts are noise, new noise for each run, so that no prefix is
 * found again. Decoding is greedy without end tokens, timed from the first token of the last
 * sequence on. The deepest context is built first and cut back for the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_priv.h"

static void say(const struct bench *b, const char *what, uint32_t n, uint32_t batch)
{
	fprintf(stderr, "%s: %s %u, %u sequence%s, %u thread%s\n", b->r.info->name, what, n, batch,
		batch == 1 ? "" : "s", b->a->threads.v[b->ti],
		b->a->threads.v[b->ti] == 1 ? "" : "s");
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void add_row(struct bench *b, struct bench_row row, double *per_second, uint32_t n)
{
	if (b->out->n == BENCH_ROWS)
		return;
	qsort(per_second, n, sizeof(*per_second), by_value);
	row.threads = b->a->threads.v[b->ti];
	row.lowest = per_second[0];
	row.highest = per_second[n - 1];
	row.per_second =
	    n % 2 ? per_second[n / 2] : (per_second[n / 2 - 1] + per_second[n / 2]) / 2;
	b->out->row[b->out->n++] = row;
}

int bench_submit(struct bench *b, struct seq *s, uint32_t n, bool row)
{
	int32_t *ids = calloc(n, sizeof(*ids)), two[2] = {0, 1};
	struct want w = {.rows = WANT_LOGITS, .ids = two, .n_ids = 2};
	uint32_t v = 0x9e3779b9u * ++b->salt;
	job_id job;
	int rc;

	if (ids == NULL)
		return err_set(b->err, E_NOMEM, "no memory for %u tokens", n);
	for (uint32_t i = 0; i < n; i++) {
		v = v * 1664525u + 1013904223u;
		ids[i] = (int32_t)((uint64_t)v * b->r.info->n_vocab >> 32);
	}
	rc = seq_append(s, ids, n, row ? &w : NULL, &job, b->err);
	free(ids);
	return rc;
}

int bench_append(struct bench *b, struct seq *s, uint32_t n, bool row)
{
	int rc = bench_submit(b, s, n, row);

	return rc < 0 ? rc : run_wait(&b->r, 1, NULL, NULL, b->err);
}

int bench_seq(struct bench *b, uint32_t tokens, struct seq **s)
{
	struct seq_cfg cfg = {.priority = b->guard ? PRIO_GUARD : PRIO_NORMAL,
			      .role = b->guard ? SEQ_GUARD : SEQ_CHAT,
			      .max_tokens = tokens,
			      .kv_type = b->a->kv};

	cfg.cache_domain = ++b->salt;
	return seq_new(b->r.e, b->r.m, &cfg, s, b->err);
}

/* ---- prompts ---- */

static int prefill(struct bench *b, uint32_t n)
{
	double rate[64];
	uint32_t repeat = b->a->repeat;
	int rc = 0;

	say(b, "prompt of", n, 1);
	for (uint32_t i = 0; i <= repeat && rc == 0; i++) { /* the first one warms up */
		struct seq *s = NULL;
		double from;

		if ((rc = bench_seq(b, n + 1, &s)) < 0)
			break;
		from = run_now();
		rc = bench_append(b, s, n, true);
		if (i)
			rate[i - 1] = n / (run_now() - from);
		seq_free(s);
		if (i == 0 && run_now() - from > 20) /* long ones need no warming up */
			rate[--repeat] = n / (run_now() - from);
	}
	if (rc < 0)
		return rc;
	add_row(b, (struct bench_row){.test = "prefill", .batch = 1, .tokens = n}, rate,
		b->a->repeat);
	struct bench_row *row = &b->out->row[b->out->n - 1];

	row->percent = 100 * run_prompt_flops(&b->out->cost, b->r.info, n, 0) * row->per_second /
		       n / b->out->rates[b->ti].mul_flops;
	return 0;
}

/* ---- decoding ---- */

struct decode {
	uint32_t n, waiting; /* sequences; those that have no token yet */
	uint64_t tokens;     /* since the last of them had its first */
	struct seq **s;
	bool seen[BENCH_SEQS];
	double from;
};

static void on_event(void *arg, const struct event *ev)
{
	struct decode *d = arg;

	if (ev->kind != EV_TOKEN)
		return;
	if (d->waiting == 0)
		d->tokens++;
	for (uint32_t i = 0; d->waiting && i < d->n; i++)
		if (d->s[i] == ev->seq && !d->seen[i]) {
			d->seen[i] = true;
			if (--d->waiting == 0)
				d->from = run_now();
		}
}

int bench_decode(struct bench *b, struct seq **s, uint32_t n, double *rate)
{
	struct gen_limit limit = {.max_new = b->n_new + 1, .end_ids = (int32_t[]){0}};
	struct decode d = {.n = n, .waiting = n, .s = s};
	struct sampler greedy = {.top_p = 1};
	job_id job;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		rc = seq_generate(s[i], &greedy, &limit, NULL, NULL, &job, b->err);
		if (rc == 0)
			seq_credit(s[i], b->n_new + 1);
	}
	if (rc == 0)
		rc = run_wait(&b->r, n, on_event, &d, b->err);
	*rate = (double)d.tokens / (run_now() - d.from);
	return rc;
}

int bench_depth(struct bench *b, struct seq **s, uint32_t n, uint32_t depth)
{
	uint32_t keep = depth ? depth - 1 : 0;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		if (seq_len(s[i]) < keep)
			rc = bench_append(b, s[i], keep - seq_len(s[i]), false);
		else if ((rc = seq_truncate(s[i], keep)) < 0)
			err_set(b->err, rc, "truncate");
		if (rc == 0)
			rc = bench_append(b, s[i], 1, false);
	}
	return rc;
}

static int decode(struct bench *b, struct seq **s, uint32_t n, uint32_t depth)
{
	double rate[64], bytes;
	int rc = 0;

	say(b, "decoding at depth", depth, n);
	for (uint32_t i = 0; i < b->a->repeat && rc == 0; i++)
		if ((rc = bench_depth(b, s, n, depth)) == 0)
			rc = bench_decode(b, s, n, &rate[i]);
	if (rc < 0)
		return rc;
	add_row(
	    b,
	    (struct bench_row){.test = "decode", .batch = n, .depth = depth, .tokens = b->a->n_new},
	    rate, b->a->repeat);
	struct bench_row *row = &b->out->row[b->out->n - 1];

	/* one pass over the weights and over every sequence's own cache, for a token of each */
	bytes = (double)b->out->cost.decode_bytes +
		n * ((double)depth + b->a->n_new / 2.0) * run_kv_bytes(b->r.info, b->a->kv);
	row->percent = 100 * bytes * row->per_second / n / b->out->rates[b->ti].read_bytes;
	return 0;
}

static uint32_t largest(const struct bench_list *l)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < l->n; i++)
		most = l->v[i] > most ? l->v[i] : most;
	return most;
}

/* Sequences for the largest batch at the deepest context; forks of one where that is asked for. */
static int decode_seqs(struct bench *b, struct seq **s, uint32_t n)
{
	uint32_t deep = largest(&b->a->depths);
	int rc = 0;

	say(b, "making depth", deep, n);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		if (i && b->a->fork)
			rc = seq_fork(s[0], seq_len(s[0]), &s[i], b->err);
		else if ((rc = bench_seq(b, deep + b->a->n_new + 2, &s[i])) == 0)
			rc = bench_depth(b, &s[i], 1, deep);
	}
	return rc;
}

static int decode_all(struct bench *b)
{
	struct bench_list left = b->a->depths;
	uint32_t n = largest(&b->a->batches);
	struct seq *s[BENCH_SEQS] = {0};
	int rc = decode_seqs(b, s, n);

	while (left.n && rc == 0) { /* deepest first */
		unsigned at = 0;

		for (unsigned i = 0; i < left.n; i++)
			at = left.v[i] > left.v[at] ? i : at;
		for (unsigned i = 0; i < b->a->batches.n && rc == 0; i++)
			rc = decode(b, s, b->a->batches.v[i], left.v[at]);
		left.v[at] = left.v[--left.n];
	}
	for (uint32_t i = 0; i < n; i++)
		seq_free(s[i]);
	return rc;
}

/* ---- all ---- */

static uint64_t kv_needed(const struct bench_args *a, const struct model_info *in)
{
	uint64_t tokens = (uint64_t)largest(&a->batches) * (largest(&a->depths) + a->n_new + 130);

	if (tokens < largest(&a->prompts) + 130)
		tokens = largest(&a->prompts) + 130;
	return tokens * 2 * in->kv_bytes_per_token; /* F32 pages are twice that */
}

/* What loading has added to this process, every page of the weights used once. */
static int resident(struct bench *b, uint64_t *bytes)
{
	struct seq *s = NULL;
	uint64_t now;
	int rc = bench_seq(b, 64, &s);

	if (rc == 0)
		rc = bench_append(b, s, 32, false);
	now = run_rss();
	*bytes = now > b->r.rss_before ? now - b->r.rss_before : 0;
	seq_free(s);
	return rc;
}

static int one_thread_count(struct bench *b)
{
	const struct bench_args *a = b->a;
	struct engine_cfg cfg = {.threads = a->threads.v[b->ti],
				 .kernel_path = a->kernel,
				 .kv_bytes = kv_needed(a, &b->out->info),
				 .deterministic = a->deterministic,
				 .fast_f16 = a->fast_f16};
	struct bench_load *l = &b->out->load[b->ti];
	uint64_t file = b->out->info.file_bytes, tenth = file / 10;
	int rc;

	fprintf(stderr, "%s: this machine, %u thread%s\n", b->out->info.name, cfg.threads,
		cfg.threads == 1 ? "" : "s");
	rc = tool_rates(a->kernel, cfg.threads, 1, &b->out->rates[b->ti], b->err);
	if (rc == 0)
		rc = run_open(&b->r, b->files, &cfg, b->err);
	if (rc < 0) {
		run_close(&b->r);
		return rc;
	}
	b->out->kernel = b->r.kernel;
	*l = (struct bench_load){cfg.threads, b->r.load_seconds, 0,
				 file + (tenth > 128u << 20 ? tenth : 128u << 20)};
	rc = resident(b, &l->resident);
	for (unsigned i = 0; i < a->prompts.n && rc == 0; i++)
		rc = prefill(b, a->prompts.v[i]);
	if (rc == 0 && a->n_new)
		rc = decode_all(b);
	run_close(&b->r);
	return rc;
}

int bench_all(const struct model_files *f, const struct bench_args *a, struct bench_result *out,
	      struct err *err)
{
	struct bench b = {.files = f, .a = a, .out = out, .n_new = a->n_new, .err = err};
	struct model_plan plan;
	struct run_load load;
	int rc;

	if ((rc = model_plan(f->fd, f->n, NULL, &plan, err)) < 0 ||
	    (rc = run_cost(f, &out->cost, err)) < 0)
		return rc;
	out->info = plan.info;
	run_load_start(&load);
	for (b.ti = 0; b.ti < a->threads.n && rc == 0; b.ti++)
		rc = one_thread_count(&b);
	out->others = run_load_others(&load);
	return rc;
}
