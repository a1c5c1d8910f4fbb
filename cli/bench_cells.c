/* bench_cells.c - `model bench FILE --cells`: one cell for each line of standard input, one line of
 * JSON back, so that a driver can take turns with another program (bench/peer.py):
 *   prefill N | decode DEPTH N | batch SEQUENCES PROMPT N | clients SEQUENCES PROMPT N |
 *   verdict PREFIX N | rates */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_priv.h"

#define SETS 4 /* kept sequences: one, sixteen, ... */

/* Sequences kept from one cell to the next, so that a depth is made once. */
struct kept {
	uint32_t n, tokens;
	struct seq *s[BENCH_SEQS];
};
struct cells {
	struct bench *b;
	struct kept set[SETS];
};

static void drop(struct kept *k)
{
	for (uint32_t i = 0; i < k->n; i++)
		seq_free(k->s[i]);
	*k = (struct kept){0};
}

/* n sequences with room for so many tokens; they may hold any number of them. */
static int keep(struct cells *c, unsigned set, uint32_t n, uint32_t tokens)
{
	struct kept *k = &c->set[set];
	int rc = 0;

	if (k->n == n && k->tokens >= tokens)
		return 0;
	drop(k);
	k->tokens = tokens;
	for (; k->n < n && rc == 0; k->n += rc == 0)
		rc = bench_seq(c->b, tokens, &k->s[k->n]);
	return rc;
}

static int cell_prefill(struct cells *c, const uint32_t *v)
{
	struct seq *s = NULL;
	double from;
	int rc = bench_seq(c->b, v[0] + 1, &s);

	from = run_now();
	if (rc == 0 && (rc = bench_append(c->b, s, v[0], false)) == 0)
		printf("{\"per_second\":%.6g}\n", v[0] / (run_now() - from));
	seq_free(s);
	return rc;
}

static int cell_decode(struct cells *c, const uint32_t *v)
{
	double rate;
	int rc = keep(c, 0, 1, v[0] + v[1] + 2);

	c->b->n_new = v[1];
	if (rc == 0 && (rc = bench_depth(c->b, c->set[0].s, 1, v[0])) == 0 &&
	    (rc = bench_decode(c->b, c->set[0].s, 1, &rate)) == 0)
		printf("{\"per_second\":%.6g}\n", rate);
	return rc;
}

static int cell_batch(struct cells *c, const uint32_t *v)
{
	double rate;
	int rc = keep(c, 1, v[0], v[1] + v[2] + 2);

	c->b->n_new = v[2];
	if (rc == 0 && (rc = bench_depth(c->b, c->set[1].s, v[0], v[1])) == 0 &&
	    (rc = bench_decode(c->b, c->set[1].s, v[0], &rate)) == 0)
		printf("{\"per_second\":%.6g}\n", rate);
	return rc;
}

struct firsts {
	const struct kept *k;
	double at[BENCH_SEQS];
};

static void on_first(void *arg, const struct event *ev)
{
	struct firsts *f = arg;

	for (uint32_t i = 0; ev->kind == EV_TOKEN && i < f->k->n; i++)
		if (f->k->s[i] == ev->seq && f->at[i] == 0)
			f->at[i] = run_now();
}

/* All at once: prompts, then answers; seconds to each one's first token. */
static int cell_clients(struct cells *c, const uint32_t *v)
{
	struct gen_limit limit = {.max_new = v[2], .end_ids = (int32_t[]){0}};
	struct sampler greedy = {.top_p = 1};
	struct firsts f = {.k = &c->set[2]};
	double from, mean = 0, slowest = 0;
	job_id job;
	int rc;

	drop(&c->set[2]);
	rc = keep(c, 2, v[0], v[1] + v[2] + 1);
	from = run_now();
	for (uint32_t i = 0; i < v[0] && rc == 0; i++) {
		rc = bench_submit(c->b, f.k->s[i], v[1], false);
		if (rc == 0)
			rc = seq_generate(f.k->s[i], &greedy, &limit, NULL, NULL, &job, c->b->err);
		if (rc == 0)
			seq_credit(f.k->s[i], v[2]);
	}
	if (rc == 0)
		rc = run_wait(&c->b->r, 2 * v[0], on_first, &f, c->b->err);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < v[0]; i++) {
		mean += (f.at[i] - from) / v[0];
		slowest = f.at[i] - from > slowest ? f.at[i] - from : slowest;
	}
	printf("{\"all\":%.6g,\"seconds\":%.6g,\"slowest\":%.6g}\n", run_now() - from, mean,
	       slowest);
	return 0;
}

/* A guard's reading: a fork of the kept prefix, n tokens, two logits. */
static int cell_verdict(struct cells *c, const uint32_t *v)
{
	struct kept *k = &c->set[3];
	struct seq *s = NULL;
	double from;
	int rc = 0;

	if (k->n == 0 || k->tokens < v[0] + v[1] + 1 || seq_len(k->s[0]) != v[0]) {
		drop(k);
		c->b->guard = true;
		rc = keep(c, 3, 1, v[0] + v[1] + 1);
		c->b->guard = false;
		if (rc == 0)
			rc = bench_append(c->b, k->s[0], v[0], false);
	}
	from = run_now();
	if (rc == 0 && (rc = seq_fork(k->s[0], v[0], &s, c->b->err)) == 0 &&
	    (rc = bench_append(c->b, s, v[1], true)) == 0)
		printf("{\"seconds\":%.6g}\n", run_now() - from);
	seq_free(s);
	return rc;
}

static int cell_rates(struct cells *c, const uint32_t *v)
{
	struct tool_rates r;
	int rc = tool_rates(c->b->a->kernel, c->b->a->threads.v[0], 1, &r, c->b->err);

	if (rc == 0)
		printf("{\"product_flops_per_second\":%.6g,\"read_bytes_per_second\":%.6g}\n",
		       r.mul_flops, r.read_bytes);
	return rc;
}

static int one_cell(struct cells *c, const char *line)
{
	static const struct {
		const char *name;
		int n;
		int (*fn)(struct cells *, const uint32_t *);
	} known[] = {{"prefill", 1, cell_prefill}, {"decode", 2, cell_decode},
		     {"batch", 3, cell_batch},	   {"clients", 3, cell_clients},
		     {"verdict", 2, cell_verdict}, {"rates", 0, cell_rates}};
	uint32_t v[3] = {0};
	char name[16];
	int n = sscanf(line, "%15s %u %u %u", name, &v[0], &v[1], &v[2]);

	for (size_t i = 0; n > 0 && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0 && n - 1 == known[i].n) {
			if (v[0] > 131072 || v[1] > 131072 || v[2] > 4096 ||
			    (known[i].n == 3 && (v[0] < 1 || v[0] > BENCH_SEQS)))
				break;
			return known[i].fn(c, v);
		}
	return err_set(c->b->err, E_RANGE, "no such cell: %.40s", line);
}

int bench_cells(const struct model_files *f, const struct bench_args *a, struct err *err)
{
	struct engine_cfg cfg = {.threads = a->threads.v[0],
				 .kernel_path = a->kernel,
				 .kv_bytes = 4ull << 30,
				 .deterministic = a->deterministic,
				 .fast_f16 = a->fast_f16};
	struct bench b = {.files = f, .a = a, .err = err};
	struct cells *c = calloc(1, sizeof(*c));
	struct run_cost cost;
	char line[128];
	int rc;

	if (c == NULL)
		return err_set(err, E_NOMEM, "no memory for the cells");
	c->b = &b;
	if ((rc = run_cost(f, &cost, err)) == 0 && (rc = run_open(&b.r, f, &cfg, err)) == 0) {
		printf("{\"decode_bytes\":%llu,\"kernel\":\"%s\",\"kv_bytes_per_token\":%.0f,"
		       "\"load_seconds\":%.4g,\"ready\":true}\n",
		       (unsigned long long)cost.decode_bytes, b.r.kernel,
		       run_kv_bytes(b.r.info, a->kv), b.r.load_seconds);
		fflush(stdout);
		while (rc == 0 && fgets(line, sizeof(line), stdin)) {
			rc = one_cell(c, line);
			fflush(stdout);
		}
	}
	for (unsigned i = 0; i < SETS; i++)
		drop(&c->set[i]);
	run_close(&b.r);
	free(c);
	return rc;
}
