/* plan_measure.c - see model_plan.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model_plan.h"
#include "synth.h"

#define BYTES_A_SECOND (64u << 20) /* of weights, for each second there is to measure */
#define MAX_LAYERS 16
#define KEYS 1792 /* depth at which attention is timed */
#define PIECE 256 /* prompt tokens timed there */

struct probe {
	struct run r;
	struct run_cost cost;
	struct seq *s;
	uint32_t salt;
};

static void probe_close(struct probe *p)
{
	seq_free(p->s);
	run_close(&p->r);
	p->s = NULL;
}

static int probe_open(struct probe *p, const struct plan_args *a, const struct synth_shape *shape,
		      const char *type, uint32_t tokens, struct err *err)
{
	struct synth_opts o = {.type = type, .seed = 1};
	struct engine_cfg cfg = {.threads = a->threads, .kernel_path = a->kernel};
	struct seq_cfg sc = {.priority = PRIO_NORMAL, .max_tokens = tokens};
	struct model_files f = {.n = 1};
	int rc;

	memset(p, 0, sizeof(*p));
	if ((f.fd[0] = memfd_create("plan", MFD_CLOEXEC)) < 0)
		return err_sys(err, "memfd_create");
	if ((rc = synth_write(f.fd[0], shape, &o, err)) == 0 &&
	    (rc = run_cost(&f, &p->cost, err)) == 0 && (rc = run_open(&p->r, &f, &cfg, err)) == 0)
		rc = seq_new(p->r.e, p->r.m, &sc, &p->s, err);
	close(f.fd[0]);
	if (rc < 0)
		probe_close(p);
	return rc;
}

/* Seconds for n more tokens of a prompt; negative: error. */
static double feed(struct probe *p, uint32_t n, struct err *err)
{
	int32_t *ids = calloc(n, sizeof(*ids));
	double from = run_now();
	job_id job;
	int rc = ids ? 0 : err_set(err, E_NOMEM, "no memory for %u tokens", n);

	for (uint32_t i = 0; rc == 0 && i < n; i++)
		ids[i] = (int32_t)((p->salt = p->salt * 1664525u + 1013904223u) >> 24);
	if (rc == 0 && (rc = seq_append(p->s, ids, n, NULL, &job, err)) == 0)
		rc = run_wait(&p->r, 1, NULL, NULL, err);
	free(ids);
	return rc < 0 ? -1 : run_now() - from;
}

struct first {
	double at;
	uint32_t tokens;
};

static void on_token(void *arg, const struct event *ev)
{
	struct first *f = arg;

	if (ev->kind == EV_TOKEN && f->tokens++ == 0)
		f->at = run_now();
}

/* Seconds a token, over n of them after the first. */
static double decode(struct probe *p, uint32_t n, struct err *err)
{
	struct gen_limit limit = {.max_new = n + 1, .end_ids = (int32_t[]){0}};
	struct sampler greedy = {.top_p = 1};
	struct first f = {0};
	job_id job;
	if (feed(p, 1, err) < 0 || seq_generate(p->s, &greedy, &limit, NULL, NULL, &job, err) < 0)
		return -1;
	seq_credit(p->s, n + 1);
	if (run_wait(&p->r, 1, on_token, &f, err) < 0)
		return -1;
	return f.tokens > 1 ? (run_now() - f.at) / (f.tokens - 1) : 0;
}

/* ---- the model's own matrices ---- */

/* What of the file's types synth_write makes that is as fast. */
static const char *type_for(const struct model_info *in)
{
	static const struct {
		const char *quant, *type;
	} same[] = {{"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (strcmp(in->quant, same[i].quant) == 0)
			return same[i].type;
	for (const char *const *t = synth_types; *t; t++)
		if (strcmp(in->quant, *t) == 0)
			return *t;
	return "F16";
}

/* A multiple of 256 near v / by. */
static uint32_t narrowed(uint32_t v, uint32_t by)
{
	uint32_t n = v / by / 256 * 256;

	return n ? n : 256;
}

static struct synth_shape own_shape(const struct model_info *in, double bytes)
{
	struct synth_shape s = {.name = "plan",
				.head_dim = in->head_dim,
				.n_vocab = 300,
				.context = 8192,
				.tied = true,
				.n_layer = 1};
	double each;
	uint32_t by = 1;

	do {
		s.n_embd = narrowed(in->n_embd, by);
		s.n_ff = narrowed(in->n_ff, by);
		s.n_head_kv = in->n_head_kv / by ? in->n_head_kv / by : 1;
		s.n_head = s.n_head_kv * (in->n_head / in->n_head_kv);
		each = (double)in->file_bytes / (double)in->params * s.n_embd *
		       (3.0 * s.n_ff + 2.0 * (s.n_head + s.n_head_kv) * s.head_dim);
		by *= 2;
	} while (each > bytes * 1.2 && by <= 256);
	while (s.n_layer < MAX_LAYERS && each * (s.n_layer + 0.5) < bytes)
		s.n_layer++;
	return s;
}

static int measure_products(const struct plan_args *a, const struct model_info *in,
			    struct plan_speed *out, struct err *err)
{
	struct synth_shape s = own_shape(in, a->seconds * BYTES_A_SECOND);
	double each = a->seconds / 8, t, best = 0;
	struct probe p;
	uint32_t n = 16;
	int rc = probe_open(&p, a, &s, type_for(in), 2048, err);

	if (rc < 0)
		return rc;
	while ((t = feed(&p, n, err)) >= 0) { /* longer ones while there is time */
		best = t / n;
		if (n == 256 || best * 4 * n > a->seconds / 2)
			break;
		n *= 4;
		rc = seq_truncate(p.s, 0);
	}
	out->prompt_flop = best / (2.0 * (double)p.cost.layer_params);
	rc = t < 0 || seq_truncate(p.s, 0) < 0 ? E_BUG : 0;
	if (rc == 0 && (t = decode(&p, 2, err)) > 0) {
		uint32_t more = (uint32_t)(each / t);

		t = decode(&p, more < 4 ? 4 : more > 256 ? 256 : more, err);
	}
	if (rc < 0 || t <= 0)
		rc = err && err->text[0] ? E_BUG : err_set(err, E_BUG, "nothing was measured");
	out->decode_byte = t / (double)p.cost.decode_bytes;
	probe_close(&p);
	return rc;
}

/* ---- attention ---- */

static int measure_attention(const struct plan_args *a, const struct model_info *in,
			     struct plan_speed *out, struct err *err)
{
	struct synth_shape s = {.name = "plan",
				.n_layer = 1,
				.n_embd = 256,
				.n_ff = 256,
				.n_head = in->n_head,
				.n_head_kv = in->n_head_kv,
				.head_dim = in->head_dim,
				.n_vocab = 300,
				.context = 8192,
				.tied = true};
	double near, deep, few, many, keys = (double)KEYS * in->n_head;
	bool f32 = strcmp(in->quant, "F32") == 0;
	struct probe p;
	int rc = probe_open(&p, a, &s, f32 ? "F32" : "F16", KEYS + 1024, err);

	if (rc < 0)
		return rc;
	feed(&p, PIECE, err); /* warm */
	seq_truncate(p.s, 0);
	near = feed(&p, PIECE, err);
	if (near > a->seconds / 8) { /* far too slow a machine for this: say the products' rate */
		out->prompt_key = out->decode_key = 4 * in->head_dim * out->prompt_flop;
		probe_close(&p);
		return 0;
	}
	few = decode(&p, 32, err);
	feed(&p, KEYS - seq_len(p.s), err);
	deep = feed(&p, PIECE, err);
	many = decode(&p, 32, err);
	probe_close(&p);
	if (near < 0 || deep < 0 || few < 0 || many < 0)
		return E_BUG;
	out->prompt_key = deep > near ? (deep - near) / (PIECE * keys) : 0;
	out->decode_key = many > few ? (many - few) / keys : 0;
	return 0;
}

int plan_measure(const struct plan_args *a, const struct model_info *in, struct plan_speed *out,
		 struct err *err)
{
	double from = run_now();
	int rc;

	*out = (struct plan_speed){0};
	rc = tool_rates(a->kernel, a->threads, a->seconds / 4, &out->rates, err);
	if (rc == 0)
		rc = measure_products(a, in, out, err);
	if (rc == 0)
		rc = measure_attention(a, in, out, err);
	out->took = run_now() - from;
	return rc;
}

double plan_prompt(const struct plan_speed *s, const struct run_cost *c,
		   const struct model_info *in, double n)
{
	double keys = n * n / 2 * in->n_head * in->n_layer;

	return 2 * (double)c->layer_params * n * s->prompt_flop + keys * s->prompt_key +
	       2 * (double)c->head_params * s->prompt_flop;
}

double plan_decode(const struct plan_speed *s, const struct run_cost *c,
		   const struct model_info *in, double depth)
{
	return 1 / ((double)c->decode_bytes * s->decode_byte +
		    depth * in->n_head * in->n_layer * s->decode_key);
}
