/* attn.c - attention over the paged KV cache.
 *
 * A row's keys are taken in segments of SEG_TOKENS, anchored at position 0. In a segment: scores of
 * its pages, one maximum, powers of two, their sum, the weighted sum of V in ascending order of
 * tokens. Segments are merged in ascending order (Milakov and Gimelshein, 2018). So a row has one
 * order of operations whatever was computed beside it; whether one thread took a row's segments in
 * turn or several took one each makes no difference.
 *
 * Class P with a table whose form is bf16: pages a row sees whole are multiplied in bf16 with fp32
 * sums, through the table's p_mul; the page with the row's own token, of which it sees a part, in
 * fp32 as all pages of class D. Which is which depends on the row's position alone. F32 models, F16
 * models that are to be exact, and F32 caches stay with fp32.
 *
 * Rows of one sequence go in runs: all their query heads of one KV head, the columns, share each
 * reading of a page. Where there are many, the page is first expanded to fp32; the kernels'
 * products give the same bits either way. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn_kern.h"
#include "fault.h"
#include "fwd.h"
#include "mutant.h"

#define SEG_PAGES 4
#define SEG_TOKENS (SEG_PAGES * KV_TOKENS)
#define MAX_COLS 64		/* of a run of several rows */
#define WIDE 12			/* more columns than this: expand the page once */
#define PARTS_FLOATS (1u << 18) /* results of segments that wait to be merged */

struct att_arg {
	struct fwd *f;
	uint32_t layer, segs; /* segs: of the longest run */
};

/* Sums of some columns. */
struct sums {
	float *acc, *max, *sum; /* [cols][head_dim], [cols], [cols] */
};

/* One run and one KV head, on one worker. */
struct work {
	const struct fwd *f;
	const struct fwd_run *run;
	const struct attn_kernels *k;
	const struct kv_class *kv;
	uint32_t layer, head, group, dim, cols;
	uint32_t end; /* keys its last row sees */
	float *query, *block, *score;
	struct sums all, seg;
	const struct kernels *p; /* class P in bf16; NULL: fp32 */
	uint16_t *panels, *p_query, *p_score;
	size_t ldq, lds; /* numbers from column to column of p_query, p_score */
};

static uint32_t group_of(const struct model_info *in)
{
	return in->n_head / in->n_head_kv;
}

/* Rows of a run, so that its columns fill tiles. */
static uint32_t run_rows(const struct model_info *in)
{
	uint32_t n = MAX_COLS / group_of(in);

	return n < 1 ? 1 : n;
}

static size_t max_cols(const struct model_info *in)
{
	return (size_t)run_rows(in) * group_of(in);
}

static size_t sums_floats(size_t cols, size_t dim)
{
	return cols * (dim + 2);
}

static struct sums sums_at(float *p, size_t cols, size_t dim)
{
	return (struct sums){p, p + cols * dim, p + cols * dim + cols};
}

/* Lays a worker's memory out; returns the floats it takes. base NULL: only that. */
static size_t carve(struct work *w, size_t cols, size_t dim, float *base)
{
	size_t ldq = p_stride((uint32_t)dim, 2), lds = p_stride(SEG_TOKENS, 2), at[9] = {0};
	const size_t n[8] = {KV_TOKENS * dim,	     cols * SEG_TOKENS,	     cols * dim,
			     sums_floats(cols, dim), sums_floats(cols, dim), KV_TOKENS * dim / 2,
			     cols * ldq / 2 + 1,     cols * lds / 2};

	for (int i = 0; i < 8; i++)
		at[i + 1] = at[i] + ((n[i] + 15) & ~(size_t)15); /* whole lines */
	if (!base)
		return at[8];
	w->block = base;
	w->score = base + at[1];
	w->query = base + at[2];
	w->all = sums_at(base + at[3], cols, dim);
	w->seg = sums_at(base + at[4], cols, dim);
	w->panels = (uint16_t *)(void *)(base + at[5]);
	w->p_query = (uint16_t *)(void *)(base + at[6]);
	w->p_score = (uint16_t *)(void *)(base + at[7]);
	w->ldq = ldq;
	w->lds = lds;
	return at[8];
}

size_t fwd_attention_scratch(const struct model_info *in)
{
	return carve(NULL, max_cols(in), in->head_dim, NULL);
}

bool fwd_parts_open(struct fwd *f)
{
	f->parts = FAULT("attn.parts") ? NULL : aligned_alloc(64, PARTS_FLOATS * sizeof(float));
	return f->parts != NULL;
}

void fwd_runs(struct fwd *f)
{
	/* long runs save expansions, but every thread shall have some */
	uint64_t share = (uint64_t)f->n_rows * f->in->n_head_kv / (4 * pool_threads(f->pool));
	uint32_t most = run_rows(f->in);

	if (share < most)
		most = share < 1 ? 1 : (uint32_t)share;

	f->n_runs = 0;
	for (uint32_t i = 0; i < f->n_rows;) {
		uint32_t end = i;

		while (end < f->n_rows && f->rows[end].seq == f->rows[i].seq &&
		       f->rows[end].sampled == f->rows[i].sampled)
			end++;
		for (uint32_t last = f->rows[end - 1].pos; i < end; f->n_runs++) {
			uint32_t n = end - i < most ? end - i : most;

			f->runs[f->n_runs] = (struct fwd_run){i, n, last};
			i += n;
		}
	}
}

/* Keys a run's last row sees. */
static uint32_t end_of(const struct fwd *f, const struct fwd_run *run)
{
	return (MUTANT(MUT_NO_MASK) ? run->last_pos : f->rows[run->first + run->n - 1].pos) + 1;
}

/* How many of n keys from position `at` on row r of the run sees. */
static uint32_t sees(const struct work *w, uint32_t r, uint32_t at, uint32_t n)
{
	uint32_t end = MUTANT(MUT_NO_MASK) ? w->end : w->f->rows[w->run->first + r].pos + 1;

	return end <= at ? 0 : end - at < n ? end - at : n;
}

/* The first row that sees position `at`; positions ascend. */
static uint32_t first_row(const struct work *w, uint32_t at)
{
	uint32_t r = 0;

	while (!sees(w, r, at, 1))
		r++;
	return r;
}

/* Column c's query head, as an offset in q and att. */
static size_t column(const struct work *w, uint32_t c)
{
	const struct model_info *in = w->f->in;
	uint32_t j = c % w->group;
	uint32_t h = MUTANT(MUT_GQA_SWAP) ? j * in->n_head_kv + w->head : w->head * w->group + j;

	return ((size_t)(w->run->first + c / w->group) * in->n_head + h) * w->dim;
}

static void work_open(struct work *w, const struct att_arg *a, uint32_t run, uint32_t head,
		      float *scratch)
{
	const struct model_info *in = a->f->in;
	const struct fwd_row *row = &a->f->rows[a->f->runs[run].first];
	size_t dim = in->head_dim;
	float scale = (float)(1.4426950408889634 / sqrt((double)dim)); /* scores to base 2 */

	*w = (struct work){.f = a->f,
			   .run = &a->f->runs[run],
			   .k = a->f->k->attn,
			   .kv = row->kv,
			   .layer = a->layer,
			   .head = head,
			   .group = group_of(in),
			   .dim = in->head_dim};
	w->cols = w->run->n * w->group;
	w->end = end_of(a->f, w->run);
	if (a->f->p_attn && !row->sampled && w->kv->type != KV_F32)
		w->p = a->f->k;
	carve(w, w->cols, dim, scratch);
	for (uint32_t i = 0; i < w->cols; i++) {
		w->k->scale(w->query + i * dim, a->f->q + column(w, i), scale, w->dim);
		if (w->p)
			w->p->p_form_x(w->query + i * dim, w->p_query + i * w->ldq, dim);
	}
}

static struct kv_page *page_at(const struct work *w, uint32_t at)
{
	return w->f->rows[w->run->first].pages[at / KV_TOKENS];
}

/* What is read after K of the page at `at`, in a segment from `first` to `end`. */
static const void *after_k(const struct work *w, uint32_t first, uint32_t at, uint32_t end)
{
	if (end - at > KV_TOKENS)
		return kv_k(w->kv, page_at(w, at + KV_TOKENS), w->layer, w->head);
	return kv_v(w->kv, page_at(w, first), w->layer, w->head);
}

/* The same for V; NULL at the end of the run's keys. */
static const void *after_v(const struct work *w, uint32_t at, uint32_t end)
{
	if (end - at > KV_TOKENS)
		return kv_v(w->kv, page_at(w, at + KV_TOKENS), w->layer, w->head);
	if (end < w->end)
		return kv_k(w->kv, page_at(w, end), w->layer, w->head);
	return NULL;
}

/* The first row, from r on, that computes the page at `at` in bf16. */
static uint32_t first_whole(const struct work *w, uint32_t r, uint32_t at)
{
	while (r < w->run->n && (!w->p || sees(w, r, at, KV_TOKENS) < KV_TOKENS))
		r++;
	return r;
}

/* Columns c.. of the page's scores in bf16; block: K in fp32. */
static void p_scores(const struct work *w, const float *block, uint32_t c, uint32_t from)
{
	size_t panel = (size_t)w->dim * 16;

	w->k->panels(block, w->dim, KV_TOKENS, w->panels);
	for (uint32_t t = 0; t < KV_TOKENS; t += 32)
		w->p->p_mul(w->panels + t / 16 * panel, 2 * panel, 2, w->dim,
			    w->p_query + c * w->ldq, w->ldq, w->cols - c,
			    w->score + (size_t)c * SEG_TOKENS + from + t, SEG_TOKENS, true);
}

static void p_values(const struct work *w, const struct sums *s, const float *block, uint32_t c,
		     uint32_t from)
{
	size_t panel = (size_t)KV_TOKENS * 16;

	w->k->panels(block, KV_TOKENS, w->dim, w->panels);
	for (uint32_t j = 0; j < w->dim; j += 32)
		w->p->p_mul(w->panels + j / 16 * panel, 2 * panel, 2, KV_TOKENS,
			    w->p_score + c * w->lds + from, w->lds, w->cols - c,
			    s->acc + (size_t)c * w->dim + j, w->dim, false);
}

/* Scores of the page at `at`, which is `from` tokens into its segment. */
static void page_scores(const struct work *w, uint32_t at, uint32_t from, const void *ahead)
{
	const struct attn_type *t = &w->k->type[w->kv->type];
	const void *k = kv_k(w->kv, page_at(w, at), w->layer, w->head);
	uint32_t r = first_row(w, at), c = r * w->group;
	uint32_t whole = first_whole(w, r, at) * w->group, n = whole - c;

	if ((n > WIDE || whole < w->cols) && t->expand_k) {
		t->expand_k(k, w->dim, w->block);
		k = w->block;
		ahead = NULL;
		t = &w->k->type[KV_F32];
	}
	if (n)
		t->qk(k, w->dim, w->query + (size_t)c * w->dim, w->dim, n,
		      w->score + (size_t)c * SEG_TOKENS + from, SEG_TOKENS, ahead);
	if (whole < w->cols)
		p_scores(w, k, whole, from);
}

/* Adds the page's V: for all columns what its first row sees, then for each row the rest, so that
 * no row touches a token behind its own. */
static void page_values(const struct work *w, const struct sums *s, uint32_t at, uint32_t from,
			const void *ahead)
{
	const struct attn_type *t = &w->k->type[w->kv->type];
	const void *v = kv_v(w->kv, page_at(w, at), w->layer, w->head);
	uint32_t r = first_row(w, at), whole = first_whole(w, r, at), c = r * w->group;
	uint32_t n = whole * w->group - c;
	uint32_t all = sees(w, r, at, KV_TOKENS), most = sees(w, w->run->n - 1, at, KV_TOKENS);

	if ((n > WIDE || whole < w->run->n) && t->expand_v) {
		t->expand_v(v, w->dim, most, w->block);
		v = w->block;
		ahead = NULL;
		t = &w->k->type[KV_F32];
	}
	if (n)
		t->pv(v, w->dim, 0, all, w->score + (size_t)c * SEG_TOKENS + from, SEG_TOKENS, n,
		      s->acc + (size_t)c * w->dim, w->dim, ahead);
	for (r++; r < whole && all < KV_TOKENS; r++) {
		uint32_t mine = sees(w, r, at, KV_TOKENS);

		c = r * w->group;
		if (mine > all)
			t->pv(v, w->dim, all, mine, w->score + (size_t)c * SEG_TOKENS + from,
			      SEG_TOKENS, w->group, s->acc + (size_t)c * w->dim, w->dim, NULL);
	}
	if (whole < w->run->n)
		p_values(w, s, v, whole * w->group, from);
}

/* Scores of column c to powers, and those of whole pages to bf16. */
static void column_powers(const struct work *w, const struct sums *s, uint32_t c, uint32_t at)
{
	float *score = w->score + (size_t)c * SEG_TOKENS;
	uint32_t n = sees(w, c / w->group, at, SEG_TOKENS), whole = n - n % KV_TOKENS;

	w->k->softmax(score, n, &s->max[c], &s->sum[c]);
	if (w->p && whole)
		w->p->p_form_x(score, w->p_score + c * w->lds, whole);
}

/* The segment at position `at`: sums of the columns that see some of it. */
static void segment(const struct work *w, const struct sums *s, uint32_t at)
{
	uint32_t end = w->end - at < SEG_TOKENS ? w->end : at + SEG_TOKENS;
	uint32_t c0 = first_row(w, at) * w->group;

	for (uint32_t p = at; p < end; p += KV_TOKENS)
		page_scores(w, p, p - at, after_k(w, at, p, end));
	for (uint32_t c = c0; c < w->cols; c++)
		column_powers(w, s, c, at);
	memset(s->acc + (size_t)c0 * w->dim, 0, (size_t)(w->cols - c0) * w->dim * sizeof(float));
	for (uint32_t p = at; p < end; p += KV_TOKENS)
		page_values(w, s, p, p - at, after_v(w, p, end));
}

/* Adds a segment's sums to those before it. A NaN stays: the sums have it. */
static void merge(const struct work *w, const struct sums *s, uint32_t at)
{
	const struct sums *all = &w->all;

	for (uint32_t c = first_row(w, at) * w->group; c < w->cols; c++) {
		float max = all->max[c] > s->max[c] ? all->max[c] : s->max[c];
		float a = exp2f(all->max[c] - max), b = exp2f(s->max[c] - max);

		all->sum[c] = all->sum[c] * a + s->sum[c] * b;
		all->max[c] = max;
		w->k->merge(all->acc + (size_t)c * w->dim, a, s->acc + (size_t)c * w->dim, b,
			    w->dim);
	}
}

static void answer(const struct work *w)
{
	for (uint32_t c = 0; c < w->cols; c++)
		w->k->scale(w->f->att + column(w, c), w->all.acc + (size_t)c * w->dim,
			    1 / w->all.sum[c], w->dim);
}

/* A run and head from beginning to end. Later runs, which see more, come first. */
static void whole(void *arg, unsigned item, unsigned worker)
{
	const struct att_arg *a = arg;
	uint32_t heads = a->f->in->n_head_kv, run = a->f->n_runs - 1 - item / heads;
	struct work w;

	work_open(&w, a, run, item % heads, a->f->scratch[worker]);
	segment(&w, &w.all, 0);
	for (uint32_t at = SEG_TOKENS; at < w.end; at += SEG_TOKENS) {
		segment(&w, &w.seg, at);
		merge(&w, &w.seg, at);
	}
	answer(&w);
}

/* Where segment `seg` of a run and head waits. */
static struct sums part_of(const struct att_arg *a, const struct work *w, uint32_t seg)
{
	size_t one = sums_floats(max_cols(a->f->in), w->dim);
	size_t run = (size_t)(w->run - a->f->runs);

	return sums_at(a->f->parts + ((run * a->f->in->n_head_kv + w->head) * a->segs + seg) * one,
		       w->cols, w->dim);
}

static void one_segment(void *arg, unsigned item, unsigned worker)
{
	const struct att_arg *a = arg;
	uint32_t seg = item % a->segs, heads = a->f->in->n_head_kv;
	struct sums s;
	struct work w;

	work_open(&w, a, item / a->segs / heads, item / a->segs % heads, a->f->scratch[worker]);
	s = part_of(a, &w, seg);
	if (seg * SEG_TOKENS < w.end)
		segment(&w, &s, seg * SEG_TOKENS);
}

static void merge_segments(void *arg, unsigned item, unsigned worker)
{
	const struct att_arg *a = arg;
	uint32_t heads = a->f->in->n_head_kv;
	struct work w;

	work_open(&w, a, item / heads, item % heads, a->f->scratch[worker]);
	w.all = part_of(a, &w, 0);
	for (uint32_t seg = 1; seg * SEG_TOKENS < w.end; seg++) {
		struct sums s = part_of(a, &w, seg);

		merge(&w, &s, seg * SEG_TOKENS);
	}
	answer(&w);
}

void fwd_attention(struct fwd *f, uint32_t layer)
{
	struct att_arg a = {f, layer, 1};
	uint32_t items = f->n_runs * f->in->n_head_kv, longest = 0;
	size_t one = sums_floats(max_cols(f->in), f->in->head_dim);

	for (uint32_t i = 0; i < f->n_runs; i++)
		if (end_of(f, &f->runs[i]) > longest)
			longest = end_of(f, &f->runs[i]);
	a.segs = longest / SEG_TOKENS + (longest % SEG_TOKENS != 0);
	if (items < 2 * pool_threads(f->pool) && pool_threads(f->pool) > 1 && a.segs > 1 &&
	    items * a.segs <= PARTS_FLOATS / one) {
		pool_run(f->pool, one_segment, &a, items * a.segs);
		pool_run(f->pool, merge_segments, &a, items);
	} else {
		pool_run(f->pool, whole, &a, items);
	}
}
