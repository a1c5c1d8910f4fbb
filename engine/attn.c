/* attn.c - attention over the paged KV cache, with a running maximum (Milakov and Gimelshein,
 * 2018). Blocks are the pages, anchored at position 0 and taken in order, so that a row's result
 * has one order of operations whatever was computed beside it. All query heads of a KV head and
 * several rows share one reading of a page. */
#include <math.h>
#include <string.h>

#include "fwd.h"
#include "mutant.h"

#define MAX_COLS 64 /* queries of one item, where one row has fewer */

struct item_arg {
	struct fwd *f;
	uint32_t layer;
};

static uint32_t group_of(const struct model_info *in)
{
	return in->n_head / in->n_head_kv;
}

uint32_t fwd_run_rows(const struct model_info *in)
{
	uint32_t n = MAX_COLS / group_of(in);

	return n < 1 ? 1 : n > 8 ? 8 : n;
}

static size_t max_cols(const struct model_info *in)
{
	return (size_t)fwd_run_rows(in) * group_of(in);
}

size_t fwd_attention_scratch(const struct model_info *in)
{
	/* queries, sums, K block, V block, scores, maxima and weights */
	return max_cols(in) * (2 * (size_t)in->head_dim + KV_TOKENS + 2) +
	       2 * (size_t)KV_TOKENS * in->head_dim + 64;
}

struct work {
	float *query, *acc, *k, *v, *score, *max, *sum;
	const float *vs; /* V of the block in hand */
};

static struct work carve(float *p, const struct model_info *in)
{
	size_t c = max_cols(in), hd = in->head_dim;
	struct work w = {0};

	w.k = p;
	w.v = w.k + KV_TOKENS * hd;
	w.score = w.v + KV_TOKENS * hd;
	w.query = w.score + c * KV_TOKENS;
	w.acc = w.query + c * hd;
	w.max = w.acc + c * hd;
	w.sum = w.max + c;
	return w;
}

/* Which query head is number j of KV head h. */
static uint32_t query_head(const struct model_info *in, uint32_t h, uint32_t j)
{
	return MUTANT(MUT_GQA_SWAP) ? j * in->n_head_kv + h : h * group_of(in) + j;
}

static void one_block(const struct fwd *f, const struct work *w, uint32_t col, uint32_t n)
{
	float *s = w->score + (size_t)col * KV_TOKENS, max = w->max[col], scale;
	uint32_t hd = f->in->head_dim;

	for (uint32_t t = 0; t < n; t++)
		if (s[t] > max)
			max = s[t];
	scale = w->max[col] == -INFINITY ? 0.0f : expf(w->max[col] - max);
	w->sum[col] = w->sum[col] * scale + f->k->exp_sum(s, n, max);
	w->max[col] = max;
	f->k->weigh(w->acc + (size_t)col * hd, hd, scale, s, n, w->vs, hd);
}

/* The page's numbers as floats: its own, or expanded into scratch. */
static const float *block(const struct fwd *f, const struct kv_class *kv, const void *run,
			  uint32_t n, float *scratch)
{
	if (kv->elem == sizeof(float))
		return run;
	f->k->half_to_f32(run, scratch, (size_t)n * kv->head_dim);
	return scratch;
}

static void blocks(const struct fwd *f, struct work *w, const struct fwd_run *run, uint32_t layer,
		   uint32_t h)
{
	const struct kv_class *kv = f->rows[run->first].kv;
	uint32_t g = group_of(f->in), hd = f->in->head_dim, end;

	end = MUTANT(MUT_NO_MASK) ? run->last_pos + 1 : f->rows[run->first + run->n - 1].pos + 1;
	for (uint32_t at = 0; at < end; at += KV_TOKENS) {
		struct kv_page *page = f->rows[run->first].pages[at / KV_TOKENS];
		uint32_t n = end - at < KV_TOKENS ? end - at : KV_TOKENS;

		const float *ks = block(f, kv, kv_k(kv, page, layer, h), n, w->k);

		w->vs = block(f, kv, kv_v(kv, page, layer, h), n, w->v);
		f->k->gemm(ks, hd, n, w->query, hd, run->n * g, hd, w->score, KV_TOKENS);
		for (uint32_t r = 0; r < run->n; r++) {
			uint32_t pos = MUTANT(MUT_NO_MASK) ? end - 1 : f->rows[run->first + r].pos;
			uint32_t sees = pos + 1 <= at ? 0 : pos + 1 - at < n ? pos + 1 - at : n;

			for (uint32_t j = 0; j < g && sees; j++)
				one_block(f, w, r * g + j, sees);
		}
	}
}

static void item(void *arg, unsigned i, unsigned worker)
{
	const struct item_arg *a = arg;
	const struct fwd *f = a->f;
	const struct model_info *in = f->in;
	const struct fwd_run *run = &f->runs[i / in->n_head_kv];
	uint32_t h = i % in->n_head_kv, g = group_of(in), hd = in->head_dim, cols = run->n * g;
	struct work w = carve(f->scratch[worker], in);
	float scale = 1.0f / sqrtf((float)hd);

	for (uint32_t c = 0; c < cols; c++) {
		const float *q =
		    f->q +
		    ((size_t)(run->first + c / g) * in->n_head + query_head(in, h, c % g)) * hd;

		for (uint32_t j = 0; j < hd; j++)
			w.query[(size_t)c * hd + j] = q[j] * scale;
		w.max[c] = -INFINITY;
		w.sum[c] = 0;
	}
	memset(w.acc, 0, (size_t)cols * hd * sizeof(float));
	blocks(f, &w, run, a->layer, h);
	for (uint32_t c = 0; c < cols; c++) {
		float *out =
		    f->att +
		    ((size_t)(run->first + c / g) * in->n_head + query_head(in, h, c % g)) * hd;

		for (uint32_t j = 0; j < hd; j++)
			out[j] = w.acc[(size_t)c * hd + j] / w.sum[c];
	}
}

void fwd_attention(struct fwd *f, uint32_t layer)
{
	struct item_arg a = {f, layer};

	pool_run(f->pool, item, &a, f->n_runs * f->in->n_head_kv);
}
