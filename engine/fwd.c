/* fwd.c - see fwd.h. */
#include "fwd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn_kern.h"
#include "fault.h"
#include "mutant.h"
#include "num.h"

#define MAX_BATCH_BYTES (64u << 20) /* of activations; fewer rows for wide models */
#define MIN_ROWS 16

static size_t row_floats(const struct model_info *in, const struct weights *w)
{
	size_t q = (size_t)in->n_head * in->head_dim, kv = (size_t)in->n_head_kv * in->head_dim;

	return 3 * (size_t)in->n_embd + 2 * q + 2 * kv + 2 * (size_t)in->n_ff + w->rope_dim;
}

static void carve(struct fwd *f)
{
	const struct model_info *in = f->in;
	size_t t = f->max_rows, q = (size_t)in->n_head * in->head_dim;
	size_t kv = (size_t)in->n_head_kv * in->head_dim;
	float *p = f->memory;
	struct {
		float **at;
		size_t n;
	} parts[] = {{&f->x, in->n_embd},    {&f->add, in->n_embd},
		     {&f->norm, in->n_embd}, {&f->q, q},
		     {&f->kk, kv},	     {&f->v, kv},
		     {&f->att, q},	     {&f->gate, in->n_ff},
		     {&f->up, in->n_ff},     {&f->turn, f->w->rope_dim}};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		*parts[i].at = p;
		p += (parts[i].n * t + 15) & ~(size_t)15;
	}
}

static uint32_t widest(const struct model_info *in)
{
	uint32_t q = in->n_head * in->head_dim, k = in->n_embd > in->n_ff ? in->n_embd : in->n_ff;

	return k > q ? k : q;
}

static bool has_f16(const struct weights *w)
{
	bool any = w->output.kind == PACK_F16;

	for (uint32_t i = 0; i < w->n_layer && !any; i++) {
		const struct layer *l = &w->layers[i];

		any = l->q.kind == PACK_F16 || l->k.kind == PACK_F16 || l->v.kind == PACK_F16 ||
		      l->o.kind == PACK_F16 || l->gate.kind == PACK_F16 || l->up.kind == PACK_F16 ||
		      l->down.kind == PACK_F16;
	}
	return any;
}

int fwd_open(struct fwd *f, const struct kernels *k, struct pool *pool,
	     const struct model_info *info, const struct weights *w, uint32_t want_rows,
	     bool fast_f16, struct err *err)
{
	unsigned threads = pool_threads(pool);
	size_t row = row_floats(info, w), work = (fwd_attention_scratch(info) + 15) & ~(size_t)15;
	size_t most, all;
	int rc;

	*f = (struct fwd){.k = k, .pool = pool, .in = info, .w = w};
	most = MAX_BATCH_BYTES / (row * sizeof(float) + mm_col_bytes(k, widest(info)));
	f->max_rows = want_rows < most ? want_rows : most < MIN_ROWS ? MIN_ROWS : (uint32_t)most;
	if (mul_u64(row + 16, f->max_rows, &all) || all > SIZE_MAX / 8 ||
	    work > SIZE_MAX / 8 / threads)
		return err_set(err, E_RANGE, "the model is too wide");
	rc = mm_open(&f->mm, k, pool, widest(info), f->max_rows, fast_f16 || !has_f16(w), err);
	if (rc < 0)
		return rc;
	f->p_attn = k->p_form == P_BF16 && f->mm.exact == k && k->attn->panels &&
		    info->head_dim % 32 == 0 && w->layers[0].k.type != GT_F32;
	all += 16 * 16 + work * threads;
	f->rows = calloc(f->max_rows, sizeof(*f->rows));
	f->runs = calloc(f->max_rows, sizeof(*f->runs));
	f->scratch = calloc(threads, sizeof(*f->scratch));
	f->memory =
	    FAULT("fwd.alloc") ? NULL : aligned_alloc(64, (all * sizeof(float) + 63) & ~(size_t)63);
	if (!f->rows || !f->runs || !f->scratch || !f->memory || !fwd_parts_open(f)) {
		fwd_close(f);
		return err_set(err, E_NOMEM, "batch buffers");
	}
	memset(f->memory, 0, all * sizeof(float));
	for (unsigned i = 0; i < threads; i++)
		f->scratch[i] = f->memory + i * work;
	f->memory += work * threads;
	carve(f);
	f->memory -= work * threads;
	return 0;
}

void fwd_close(struct fwd *f)
{
	free(f->rows);
	free(f->runs);
	free(f->scratch);
	free(f->parts);
	free(f->memory);
	mm_close(&f->mm);
	*f = (struct fwd){0};
}

static void start_row(void *arg, unsigned i, unsigned worker)
{
	struct fwd *f = arg;
	const struct fwd_row *r = &f->rows[i];
	const struct wmat *e = &f->w->embd;
	uint32_t pairs = f->w->rope_dim / 2;
	float *turn = f->turn + (size_t)i * f->w->rope_dim;

	wmat_row(e, (uint32_t)r->token, f->x + (size_t)i * e->cols);
	for (uint32_t p = 0; p < pairs; p++) { /* double: positions are large, turns exact */
		double a = r->pos * f->w->rope_step[p];

		turn[2 * p] = (float)cos(a);
		turn[2 * p + 1] = (float)sin(a);
	}
}

/* Small batches are not worth waking anybody for. */
static void each_row(struct fwd *f, pool_fn fn)
{
	if (f->n_rows >= 8)
		pool_run(f->pool, fn, f, f->n_rows);
	else
		for (uint32_t i = 0; i < f->n_rows; i++)
			fn(f, i, 0);
}

/* What follows from the rows there are. */
static void count_rows(struct fwd *f)
{
	f->n_p = 0;
	while (f->n_p < f->n_rows && !f->rows[f->n_p].sampled)
		f->n_p++;
	fwd_runs(f);
}

void fwd_begin(struct fwd *f, uint32_t n_rows)
{
	f->n_rows = n_rows;
	f->at = 0;
	f->pending = false;
	count_rows(f);
	each_row(f, start_row);
}

struct norm_arg {
	struct fwd *f;
	const float *w;
	const struct mm *m; /* the product that reads the norms */
};

static void norm_row(void *arg, unsigned i, unsigned worker)
{
	const struct norm_arg *a = arg;
	struct fwd *f = a->f;
	uint32_t d = f->in->n_embd;
	float *x = f->x + (size_t)i * d;

	if (f->pending)
		f->k->add(x, f->add + (size_t)i * d, d);
	f->k->rmsnorm(x, a->w, f->norm + (size_t)i * d, d, f->in->norm_eps);
	mm_form_row(&f->mm, a->m, i);
}

static void norm_rows(struct fwd *f, const float *w, struct mm *m)
{
	struct norm_arg a = {f, w, m};

	if (f->n_rows >= 8)
		pool_run(f->pool, norm_row, &a, f->n_rows);
	else
		for (uint32_t i = 0; i < f->n_rows; i++)
			norm_row(&a, i, 0);
	f->pending = false;
	m->formed = true;
}

static void part_qkv(struct fwd *f, uint32_t layer)
{
	const struct layer *l = &f->w->layers[layer];
	struct mm m = {.w = {&l->q, &l->k, &l->v},
		       .y = {f->q, f->kk, f->v},
		       .n_w = 3,
		       .x = f->norm,
		       .cols = f->n_rows,
		       .n_p = f->n_p};

	norm_rows(f, l->attn_norm, &m);
	mm_run(&f->mm, &m);
	fwd_store(f, layer);
}

/* One matrix: y of add. */
static void product(struct fwd *f, const struct wmat *w, const float *x)
{
	struct mm m = {.w = {w}, .y = {f->add}, .n_w = 1, .x = x, .cols = f->n_rows, .n_p = f->n_p};

	mm_run(&f->mm, &m);
	f->pending = true;
}

static void part_gate_up(struct fwd *f, uint32_t layer)
{
	const struct layer *l = &f->w->layers[layer];
	struct mm m = {.w = {&l->gate, &l->up},
		       .y = {f->gate, f->up},
		       .n_w = 2,
		       .swiglu = true,
		       .x = f->norm,
		       .cols = f->n_rows,
		       .n_p = f->n_p};

	product(f, &l->o, f->att);
	norm_rows(f, l->ffn_norm, &m);
	mm_run(&f->mm, &m);
}

static void part_down(struct fwd *f, uint32_t layer)
{
	product(f, &f->w->layers[layer].down, f->gate);
}

void fwd_step(struct fwd *f)
{
	uint32_t layer = f->at / FWD_PARTS;

	switch (f->at++ % FWD_PARTS) {
	case 0:
		part_qkv(f, layer);
		break;
	case 1:
		fwd_attention(f, layer);
		break;
	case 2:
		part_gate_up(f, layer);
		break;
	default:
		part_down(f, layer);
	}
}

void fwd_keep(struct fwd *f, const bool *keep)
{
	const struct model_info *in = f->in;
	size_t heads = (size_t)in->n_head * in->head_dim;
	struct {
		float *p;
		size_t width;
	} live[] = {{f->x, in->n_embd}, {f->turn, f->w->rope_dim}, {NULL, 0}};
	uint32_t to = 0;

	/* what the next fraction reads beside x */
	switch (f->at % FWD_PARTS) {
	case 0:
		live[2].p = f->add;
		live[2].width = in->n_embd;
		break;
	case 1:
		live[2].p = f->q;
		live[2].width = heads;
		break;
	case 2:
		live[2].p = f->att;
		live[2].width = heads;
		break;
	default:
		live[2].p = f->gate;
		live[2].width = in->n_ff;
	}
	for (uint32_t i = 0; i < f->n_rows; i++) {
		if (!keep[i])
			continue;
		for (int k = 0; k < 3 && to != i; k++)
			memcpy(live[k].p + to * live[k].width, live[k].p + i * live[k].width,
			       live[k].width * sizeof(float));
		f->rows[to++] = f->rows[i];
	}
	f->n_rows = to;
	count_rows(f);
}

void fwd_hidden(struct fwd *f, uint32_t row, float *out)
{
	uint32_t d = f->in->n_embd;
	float *x = f->x + (size_t)row * d;

	/* asked for once per row, behind the last layer: the last product is still outside x */
	f->k->add(x, f->add + (size_t)row * d, d);
	f->k->rmsnorm(x, f->w->output_norm, out, d, f->in->norm_eps);
}
