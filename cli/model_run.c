/* model_run.c - see model_run.h. */
#include "model_run.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static double seconds(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double run_now(void)
{
	return seconds(CLOCK_MONOTONIC);
}

uint64_t run_rss(void)
{
	unsigned long long all, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu %llu", &all, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

int run_open(struct run *r, const struct model_files *f, const struct engine_cfg *cfg,
	     struct err *err)
{
	struct engine_cfg c = *cfg;
	struct engine_stats st;
	double from = run_now();
	int rc;

	*r = (struct run){.rss_before = run_rss()};
	if (c.kv_bytes == 0)
		c.kv_bytes = UINT64_MAX / 2;
	if ((rc = engine_open(&c, &r->e, err)) < 0 ||
	    (rc = engine_model_add(r->e, f->fd, f->n, NULL, &r->m, err)) < 0)
		return rc;
	r->info = model_info(r->m);
	engine_stats(r->e, &st);
	r->kernel = st.kernel_path;
	r->load_seconds = run_now() - from;
	return 0;
}

void run_close(struct run *r)
{
	engine_close(r->e);
	*r = (struct run){0};
}

int run_wait(struct run *r, unsigned jobs, run_event fn, void *arg, struct err *err)
{
	struct event ev[64];
	int rc = 0;

	while (jobs) {
		int more = engine_step(r->e, 0), n;

		if (more < 0)
			return err_set(err, more, "the engine stopped");
		while ((n = engine_poll(r->e, ev, 64)) > 0)
			for (int i = 0; i < n; i++) {
				if (fn)
					fn(arg, &ev[i]);
				if (ev[i].kind == EV_FAILED && rc == 0)
					rc = err_set(err, ev[i].code, "%s", ev[i].why);
				if (ev[i].kind == EV_DONE || ev[i].kind == EV_FAILED)
					jobs -= jobs > 0;
			}
		if (more == 0 && jobs)
			return rc ? rc : err_set(err, E_BUG, "the engine has nothing to do");
	}
	return rc;
}

int run_kv_type(const char *s, enum kv_type *out)
{
	static const struct {
		const char *name;
		enum kv_type type;
	} types[] = {{"auto", KV_AUTO},
		     {"f16", KV_F16},
		     {"f32", KV_F32},
		     {"bf16", KV_BF16},
		     {"q8_0", KV_Q8_0}};

	*out = KV_AUTO;
	if (s == NULL)
		return X_OK;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(s, types[i].name) == 0) {
			*out = types[i].type;
			return X_OK;
		}
	return cli_fail(X_USAGE, "--kv is auto, f16, bf16, q8_0 or f32");
}

double run_kv_bytes(const struct model_info *in, enum kv_type type)
{
	double numbers = 2.0 * in->n_layer * in->n_head_kv * in->head_dim;

	switch (type) {
	case KV_F32:
		return 4 * numbers;
	case KV_Q8_0:
		return numbers * 34 / 32;
	case KV_F16:
	case KV_BF16:
		return 2 * numbers;
	default:
		return (double)in->kv_bytes_per_token;
	}
}

/* ---- cost ---- */

static bool is_named(struct span name, const char *s)
{
	return name.n == strlen(s) && memcmp(name.p, s, name.n) == 0;
}

struct sums {
	struct run_cost *c;
	uint64_t embd_bytes, embd_params, out_bytes, out_params;
};

static bool on_tensor(void *arg, const struct tensor_desc *t)
{
	struct sums *s = arg;
	uint64_t params = t->dims[0] * t->dims[1];

	if (is_named(t->name, "token_embd.weight")) {
		s->embd_bytes = t->bytes;
		s->embd_params = params;
	} else if (is_named(t->name, "output.weight")) {
		s->out_bytes = t->bytes;
		s->out_params = params;
	} else {
		s->c->decode_bytes += t->bytes;
		if (t->n_dims > 1)
			s->c->layer_params += params;
	}
	return true;
}

int run_cost(const struct model_files *f, struct run_cost *out, struct err *err)
{
	struct sums s = {.c = out};
	int rc;

	*out = (struct run_cost){0};
	if ((rc = model_each_tensor(f->fd, f->n, on_tensor, &s, err)) < 0)
		return rc;
	out->decode_bytes += s.out_bytes ? s.out_bytes : s.embd_bytes;
	out->head_params = s.out_params ? s.out_params : s.embd_params;
	return 0;
}

double run_prompt_flops(const struct run_cost *c, const struct model_info *in, double n,
			double depth)
{
	double keys = n * depth + n * (n + 1) / 2;
	double attention = 4 * keys * in->n_head * (double)in->head_dim * in->n_layer;

	return 2 * (double)c->layer_params * n + 2 * (double)c->head_params + attention;
}

/* ---- others ---- */

/* Seconds of work of all CPUs since boot, idle and waiting left out; negative: unknown. */
static double busy_seconds(void)
{
	unsigned long long v[8] = {0};
	FILE *f = fopen("/proc/stat", "re");
	int n = 0;

	if (f) {
		n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2],
			   &v[3], &v[4], &v[5], &v[6], &v[7]);
		fclose(f);
	}
	if (n != 8)
		return -1;
	/* user nice system (idle iowait) irq softirq steal */
	return (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / (double)sysconf(_SC_CLK_TCK);
}

void run_load_start(struct run_load *l)
{
	l->busy = busy_seconds();
	l->own = seconds(CLOCK_PROCESS_CPUTIME_ID);
	l->at = run_now();
}

double run_load_others(const struct run_load *l)
{
	double busy = busy_seconds(), own = seconds(CLOCK_PROCESS_CPUTIME_ID), at = run_now();
	double others = (busy - l->busy) - (own - l->own);

	if (busy < 0 || l->busy < 0 || at <= l->at)
		return -1;
	return others > 0 ? others / (at - l->at) : 0;
}
