/* rope.c - between the products and attention: q and k turned by their positions, k and v put into
 * their pages. */
#include "attn_kern.h"
#include "fwd.h"
#include "mutant.h"

struct store_arg {
	struct fwd *f;
	uint32_t layer, step;
};

static void turn_head(const struct fwd *f, float *h, const float *turn)
{
	uint32_t dim = f->in->head_dim;

	if (!MUTANT(MUT_ROPE_NEOX)) {
		f->k->attn->rope(h, turn, dim);
		return;
	}
	for (uint32_t i = 0; i < dim / 2; i++) {
		float c = turn[2 * i], s = turn[2 * i + 1], x = h[i], y = h[i + dim / 2];

		h[i] = x * c - y * s;
		h[i + dim / 2] = x * s + y * c;
	}
}

/* Some rows together, head by head: their K shares lines of memory. */
static void store_rows(void *arg, unsigned item, unsigned worker)
{
	const struct store_arg *a = arg;
	struct fwd *f = a->f;
	const struct model_info *in = f->in;
	uint32_t first = item * a->step, end = first + a->step, dim = in->head_dim;

	end = end < f->n_rows ? end : f->n_rows;
	for (uint32_t h = 0; h < in->n_head; h++)
		for (uint32_t i = first; i < end; i++)
			turn_head(f, f->q + ((size_t)i * in->n_head + h) * dim,
				  f->turn + (size_t)i * dim);
	for (uint32_t h = 0; h < in->n_head_kv; h++)
		for (uint32_t i = first; i < end; i++) {
			const struct fwd_row *r = &f->rows[i];
			const struct attn_type *t = &f->k->attn->type[r->kv->type];
			struct kv_page *page = r->pages[r->pos / KV_TOKENS];
			size_t at = ((size_t)i * in->n_head_kv + h) * dim;

			turn_head(f, f->kk + at, f->turn + (size_t)i * dim);
			t->store_k(kv_k(r->kv, page, a->layer, h), dim, r->pos % KV_TOKENS,
				   f->kk + at);
			t->store_v(kv_v(r->kv, page, a->layer, h), dim, r->pos % KV_TOKENS,
				   f->v + at);
		}
}

void fwd_store(struct fwd *f, uint32_t layer)
{
	struct store_arg a = {f, layer, f->n_rows < 64 ? 4 : 16};

	pool_run(f->pool, store_rows, &a, (f->n_rows + a.step - 1) / a.step);
}
