/* matmul.c - see matmul.h. */
#include "matmul.h"

#include <string.h>

#define PANEL_FLOATS 8192 /* 32 KiB: an expanded panel stays in the first-level cache */

struct run {
	const struct kernels *k;
	const struct mm *m;
	float *const *scratch;
	unsigned panel; /* rows */
};

static unsigned panel_rows(uint32_t k)
{
	unsigned n = PANEL_FLOATS / k & ~3u;

	return n < 4 ? 4 : n > 32 ? 32 : n;
}

size_t mm_scratch(uint32_t k)
{
	return (size_t)panel_rows(k) * k;
}

/* Rows [first, first + n) as floats: the file's own where it has them aligned. */
static const float *expanded(const struct wmat *w, uint32_t first, unsigned n, float *scratch)
{
	const uint8_t *p = w->p + first * w->row_bytes;

	if (w->type == GT_F32 && (uintptr_t)p % _Alignof(float) == 0)
		return (const float *)(const void *)p;
	for (unsigned r = 0; r < n; r++)
		w->expand(p + r * w->row_bytes, scratch + (size_t)r * w->cols, w->cols);
	return scratch;
}

static unsigned panels(const struct wmat *w, unsigned panel)
{
	return (w->rows + panel - 1) / panel;
}

static void one_panel(const struct run *r, unsigned i, uint32_t first, unsigned n, float *scratch)
{
	const struct wmat *w = r->m->w[i];

	r->k->gemm(expanded(w, first, n, scratch), w->cols, n, r->m->x, w->cols, r->m->cols,
		   w->cols, r->m->y[i] + first, w->rows);
}

static void item(void *arg, unsigned at, unsigned worker)
{
	const struct run *r = arg;
	const struct mm *m = r->m;
	unsigned i = 0, n;
	uint32_t first;

	while (!m->swiglu && at >= panels(m->w[i], r->panel))
		at -= panels(m->w[i++], r->panel);
	first = at * r->panel;
	n = m->w[i]->rows - first < r->panel ? m->w[i]->rows - first : r->panel;
	one_panel(r, i, first, n, r->scratch[worker]);
	if (!m->swiglu)
		return;
	one_panel(r, 1, first, n, r->scratch[worker]);
	for (unsigned c = 0; c < m->cols; c++) {
		float *gate = m->y[0] + (size_t)c * m->w[0]->rows + first;

		r->k->swiglu(gate, m->y[1] + (size_t)c * m->w[0]->rows + first, gate, n);
	}
}

void mm_run(struct pool *pool, const struct kernels *k, const struct mm *m, float *const *scratch)
{
	struct run r = {k, m, scratch, panel_rows(m->w[0]->cols)};
	unsigned n = panels(m->w[0], r.panel);

	for (unsigned i = 1; i < m->n_w && !m->swiglu; i++)
		n += panels(m->w[i], r.panel);
	if (m->cols)
		pool_run(pool, item, &r, n);
}

void mm_rows(const struct kernels *k, const struct wmat *w, const int32_t *ids, uint32_t n,
	     const float *x, unsigned cols, float *y, float *scratch)
{
	for (uint32_t i = 0; i < n; i++)
		k->gemm(expanded(w, (uint32_t)ids[i], 1, scratch), w->cols, 1, x, w->cols, cols,
			w->cols, y + i, n);
}
