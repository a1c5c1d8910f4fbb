/* matmul.c - see matmul.h.
 * Class P goes through blocks of 32 rows and K_BLOCK numbers: an expanded block stays in the
 * nearest caches, and the activations of K_BLOCK stay in the second-level cache while an item goes
 * through its blocks of rows. Class D streams the packed panels once. */
#include "matmul.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "num.h"

#define BLOCK_ROWS 32		/* two panels */
#define BLOCK_BYTES (64u << 10) /* of an expanded block at most */
#define X_BYTES (512u << 10)	/* of activations an item goes through again and again */
#define MAX_ITEM_BLOCKS 8
#define WIDE_FLOATS 8192 /* rows expanded for gemm: 32 KiB stay in the first-level cache */

/* Items of one worker's stretch of memory, which others finish when they are through theirs. */
struct mm_lane {
	_Alignas(64) atomic_uint next;
	unsigned end;
};

struct run {
	const struct mm_space *s;
	const struct mm *m;
	unsigned item_blocks; /* blocks of rows per item */
	uint32_t k_block;
};

/* ---- which way ---- */

enum way { WAY_PANEL, WAY_EXACT, WAY_EXPAND, WAY_GEMM };

static enum way p_way(const struct mm_space *s, const struct wmat *w)
{
	if (w->kind != PACK_NONE)
		return w->kind == PACK_F16 && s->exact != s->k ? WAY_EXACT : WAY_PANEL;
	if (s->k->p_form == P_NONE || w->cols % PACK_K || w->type == GT_F32 || w->type == GT_F16 ||
	    w->type == GT_BF16)
		return WAY_GEMM;
	return WAY_EXPAND;
}

static bool has_blocks(const struct wmat *w)
{
	return w->kind != PACK_NONE && w->kind != PACK_F16 && w->kind != PACK_BF16;
}

/* ---- memory ---- */

/* Rows gemm takes at once. */
static unsigned wide_rows(uint32_t k)
{
	unsigned n = WIDE_FLOATS / k & ~3u;

	return n < 4 ? 4 : n > 32 ? 32 : n;
}

static size_t line(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t wide_bytes(uint32_t k)
{
	size_t gemm = (size_t)wide_rows(k) * k * sizeof(float);

	return line(gemm > BLOCK_BYTES ? gemm : BLOCK_BYTES);
}

/* A worker's scratch: an expanded block, rows as floats, products of a block cut short. */
static unsigned char *scratch_wide(const struct mm_space *s, unsigned worker)
{
	return s->scratch[worker] + BLOCK_BYTES;
}

static float *scratch_y(const struct mm_space *s, unsigned worker)
{
	return (float *)(void *)(s->scratch[worker] + BLOCK_BYTES + wide_bytes(s->max_k));
}

static size_t form_bytes(const struct kernels *k, uint32_t max_k)
{
	return k->p_form == P_NONE ? 0 : p_stride(max_k, k->p_bytes) * k->p_bytes;
}

static size_t blocks_bytes(uint32_t max_k)
{
	return line((max_k / 32 + 1) * sizeof(struct dblock));
}

size_t mm_col_bytes(const struct kernels *k, uint32_t max_k)
{
	return form_bytes(k, max_k) + (k->exact == k ? 0 : form_bytes(k->exact, max_k)) +
	       blocks_bytes(max_k);
}

int mm_open(struct mm_space *s, const struct kernels *k, struct pool *pool, uint32_t max_k,
	    unsigned max_cols, bool fast_f16, struct err *err)
{
	unsigned threads = pool_threads(pool);
	size_t form = form_bytes(k, max_k), exact = form_bytes(k->exact, max_k);
	size_t work =
	    BLOCK_BYTES + wide_bytes(max_k) + line((size_t)max_cols * BLOCK_ROWS * sizeof(float));
	uint64_t all, most;
	unsigned char *at;

	*s = (struct mm_space){.k = k,
			       .exact = fast_f16 ? k : k->exact,
			       .pool = pool,
			       .max_k = max_k,
			       .max_cols = max_cols};
	exact = s->exact == k ? 0 : exact;
	if (mul_u64(form + exact + blocks_bytes(max_k), max_cols, &all) ||
	    mul_u64(work, threads, &most) || add_u64(all, most, &all) || all > SIZE_MAX / 2)
		return err_set(err, E_RANGE, "the model is too wide");
	s->scratch = calloc(threads, sizeof(*s->scratch));
	s->lanes = FAULT("mm.lanes") ? NULL : aligned_alloc(64, threads * sizeof(*s->lanes));
	s->memory = FAULT("mm.alloc") ? NULL : aligned_alloc(64, line((size_t)all));
	if (!s->scratch || !s->lanes || !s->memory) {
		mm_close(s);
		return err_set(err, E_NOMEM, "matrix buffers");
	}
	at = s->memory;
	for (unsigned i = 0; i < threads; i++, at += work)
		s->scratch[i] = at;
	s->p = at;
	s->p_exact = s->p + form * max_cols;
	s->d = (struct dblock *)(void *)(s->p_exact + exact * max_cols);
	return 0;
}

void mm_close(struct mm_space *s)
{
	free(s->scratch);
	free(s->lanes);
	free(s->memory);
	*s = (struct mm_space){0};
}

/* ---- activations ---- */

static unsigned char *form_of(unsigned char *base, const struct kernels *k, uint32_t n, unsigned c)
{
	return base + c * p_stride(n, k->p_bytes) * k->p_bytes;
}

void mm_form_row(const struct mm_space *s, const struct mm *m, unsigned c)
{
	uint32_t k = m->w[0]->cols;
	const float *x = m->x + (size_t)c * k;
	bool p = false, exact = false, d = false;

	for (unsigned i = 0; i < m->n_w; i++) {
		enum way way = p_way(s, m->w[i]);

		p |= way == WAY_PANEL || way == WAY_EXPAND;
		exact |= way == WAY_EXACT;
		d |= has_blocks(m->w[i]);
	}
	if (c >= m->n_p) {
		if (d)
			s->k->d_form_x(x, s->d + (size_t)c * (k / 32), k);
		return;
	}
	if (p)
		s->k->p_form_x(x, form_of(s->p, s->k, k, c), k);
	if (exact)
		s->exact->p_form_x(x, form_of(s->p_exact, s->exact, k, c), k);
}

static void form_item(void *arg, unsigned c, unsigned worker)
{
	const struct run *r = arg;

	mm_form_row(r->s, r->m, c);
}

/* ---- class P ---- */

struct block { /* rows of one matrix */
	const struct wmat *w;
	uint32_t first;
	unsigned n; /* rows; at most BLOCK_ROWS */
	float *y;   /* [cols][ldy] */
	size_t ldy;
};

/* k [k0, k0 + n) of a quantised matrix that is not packed: its rows to a panel. */
static void expand_panel(const struct run *r, const struct wmat *w, uint32_t first, unsigned rows,
			 uint32_t k0, uint32_t n, unsigned char *to, float *wide)
{
	const struct gtype_info *t = gtype_info(w->type);
	size_t skip = (size_t)(k0 / t->block_elems) * t->block_bytes;

	for (unsigned i = 0; i < rows; i++)
		w->expand(w->p + (first + i) * w->row_bytes + skip, wide + (size_t)i * n, n);
	r->s->k->p_from_f32(wide, n, rows, n, to);
}

/* Adds k [k0, k0 + n) to the products of columns [0, cols). */
static void block_step(const struct run *r, const struct block *b, uint32_t k0, uint32_t n,
		       unsigned cols, unsigned worker)
{
	const struct mm_space *s = r->s;
	const struct wmat *w = b->w;
	enum way way = p_way(s, w);
	const struct kernels *k = way == WAY_EXACT ? s->exact : s->k;
	const unsigned char *x = form_of(way == WAY_EXACT ? s->p_exact : s->p, k, w->cols, 0);
	size_t stride = (size_t)n * PACK_ROWS * k->p_bytes;
	unsigned panels = (b->n + PACK_ROWS - 1) / PACK_ROWS;
	unsigned char *to = s->scratch[worker];
	const unsigned char *in = to;

	if (w->kind == PACK_BF16 && k->p_form == P_BF16) { /* is what p_mul wants */
		in = w->p + b->first / PACK_ROWS * w->panel_bytes +
		     k0 / PACK_K * pack_group_bytes(w->kind);
		stride = w->panel_bytes;
	}
	for (unsigned p = 0; p < panels && in == to; p++) {
		uint32_t first = b->first + p * PACK_ROWS;
		unsigned left = b->n - p * PACK_ROWS, rows = left < PACK_ROWS ? left : PACK_ROWS;

		if (way == WAY_EXPAND)
			expand_panel(r, w, first, rows, k0, n, to + p * stride,
				     (float *)(void *)scratch_wide(s, worker));
		else
			k->p_expand[w->kind](w->p + first / PACK_ROWS * w->panel_bytes +
						 k0 / pack_group_k(w->kind) *
						     pack_group_bytes(w->kind),
					     n, to + p * stride);
	}
	k->p_mul(in, stride, panels, n, x + k0 * k->p_bytes, p_stride(w->cols, k->p_bytes), cols,
		 b->y, b->ldy, k0 == 0);
}

/* Rows behind the last whole panel: products go beside first, for p_mul writes whole panels. */
static void block_cut(const struct run *r, const struct block *b, unsigned cols, unsigned worker)
{
	struct block t = *b;
	uint32_t k = b->w->cols;

	t.y = scratch_y(r->s, worker);
	t.ldy = BLOCK_ROWS;
	for (uint32_t at = 0; at < k; at += r->k_block)
		block_step(r, &t, at, k - at < r->k_block ? k - at : r->k_block, cols, worker);
	for (unsigned c = 0; c < cols; c++)
		memcpy(b->y + c * b->ldy, t.y + (size_t)c * BLOCK_ROWS, b->n * sizeof(float));
}

static void p_rows(const struct run *r, unsigned i, uint32_t first, uint32_t n, unsigned worker)
{
	const struct wmat *w = r->m->w[i];
	uint32_t k = w->cols, whole = n - n % PACK_ROWS;
	struct block b = {.w = w, .ldy = w->rows};

	for (uint32_t k0 = 0; k0 < k; k0 += r->k_block)
		for (uint32_t at = 0; at < whole; at += BLOCK_ROWS) {
			b.first = first + at;
			b.n = whole - at < BLOCK_ROWS ? whole - at : BLOCK_ROWS;
			b.y = r->m->y[i] + b.first;
			block_step(r, &b, k0, k - k0 < r->k_block ? k - k0 : r->k_block, r->m->n_p,
				   worker);
		}
	if (whole == n)
		return;
	b.first = first + whole;
	b.n = n - whole;
	b.y = r->m->y[i] + b.first;
	block_cut(r, &b, r->m->n_p, worker);
}

/* ---- class D, and gemm for both ---- */

static void d_rows(const struct run *r, unsigned i, uint32_t first, uint32_t n, unsigned worker)
{
	const struct mm_space *s = r->s;
	const struct mm *m = r->m;
	const struct wmat *w = m->w[i];
	bool blocks = has_blocks(w);
	size_t ldx = blocks ? w->cols / 32 : w->cols;

	for (uint32_t at = 0; at < n; at += PACK_ROWS) {
		const uint8_t *panel = w->p + (first + at) / PACK_ROWS * w->panel_bytes;
		unsigned rows = n - at < PACK_ROWS ? n - at : PACK_ROWS;
		bool cut = rows < PACK_ROWS;
		float *tmp = scratch_y(s, worker);

		for (unsigned c = m->n_p; c < m->cols; c += D_COLS) {
			unsigned cols = m->cols - c < D_COLS ? m->cols - c : D_COLS;
			const void *x = blocks ? (const void *)(s->d + c * ldx)
					       : (const void *)(m->x + c * ldx);
			float *y = m->y[i] + (size_t)c * w->rows + first + at;

			s->k->d_mul[w->kind](panel, w->cols, x, ldx, cols, cut ? tmp : y,
					     cut ? PACK_ROWS : w->rows);
			for (unsigned j = 0; j < cols && cut; j++)
				memcpy(y + (size_t)j * w->rows, tmp + j * PACK_ROWS,
				       rows * sizeof(float));
		}
	}
}

/* Rows [first, first + n) as floats: the file's own where it has them aligned. */
static const float *expanded(const struct wmat *w, uint32_t first, unsigned n, float *wide)
{
	const uint8_t *p = w->p + first * w->row_bytes;

	if (w->type == GT_F32 && (uintptr_t)p % _Alignof(float) == 0)
		return (const float *)(const void *)p;
	for (unsigned r = 0; r < n; r++)
		w->expand(p + r * w->row_bytes, wide + (size_t)r * w->cols, w->cols);
	return wide;
}

static void gemm_rows(const struct run *r, unsigned i, uint32_t first, uint32_t n, unsigned from,
		      unsigned to, unsigned worker)
{
	const struct wmat *w = r->m->w[i];
	float *wide = (float *)(void *)scratch_wide(r->s, worker);
	unsigned most = wide_rows(w->cols);

	for (uint32_t at = 0; at < n && from < to; at += most) {
		unsigned rows = n - at < most ? n - at : most;

		r->s->k->gemm(expanded(w, first + at, rows, wide), w->cols, rows,
			      r->m->x + (size_t)from * w->cols, w->cols, to - from, w->cols,
			      r->m->y[i] + (size_t)from * w->rows + first + at, w->rows);
	}
}

/* ---- items ---- */

/* All columns of rows [first, first + n) of matrix i. */
static void rows_of(const struct run *r, unsigned i, uint32_t first, uint32_t n, unsigned worker)
{
	const struct mm *m = r->m;
	bool p_gemm = p_way(r->s, m->w[i]) == WAY_GEMM, d_gemm = m->w[i]->kind == PACK_NONE;

	if (m->n_p && !p_gemm)
		p_rows(r, i, first, n, worker);
	gemm_rows(r, i, first, n, p_gemm ? 0 : m->n_p, d_gemm ? m->cols : m->n_p, worker);
	if (!d_gemm)
		d_rows(r, i, first, n, worker);
}

static unsigned items(const struct run *r, const struct wmat *w)
{
	uint32_t rows = r->item_blocks * BLOCK_ROWS;

	return (w->rows + rows - 1) / rows;
}

static void item(void *arg, unsigned at, unsigned worker)
{
	const struct run *r = arg;
	const struct mm *m = r->m;
	uint32_t first, n, most = r->item_blocks * BLOCK_ROWS;
	unsigned i = 0;

	while (!m->swiglu && at >= items(r, m->w[i]))
		at -= items(r, m->w[i++]);
	first = at * most;
	n = m->w[i]->rows - first < most ? m->w[i]->rows - first : most;
	rows_of(r, i, first, n, worker);
	if (!m->swiglu)
		return;
	rows_of(r, 1, first, n, worker);
	for (unsigned c = 0; c < m->cols; c++) {
		float *gate = m->y[0] + (size_t)c * m->w[0]->rows + first;

		r->s->k->swiglu(gate, m->y[1] + (size_t)c * m->w[0]->rows + first, gate, n);
	}
}

/* Numbers of k a block covers: whole groups. How k is cut changes no result. */
static uint32_t k_block_of(const struct mm_space *s, unsigned cols)
{
	size_t bytes = s->k->p_bytes > s->exact->p_bytes ? s->k->p_bytes : s->exact->p_bytes;
	size_t n = BLOCK_BYTES / (BLOCK_ROWS * bytes), fits = X_BYTES / (bytes * (cols ? cols : 1));

	n = n < fits ? n : fits;
	return n < 256 ? 256 : (uint32_t)n & ~255u;
}

/* ---- class D alone: weights stream by once ----
 * Each worker goes through a stretch of its own from front to back, so that what its kernel asked
 * for ahead is what it reads next; small items keep the wait for the last one short. */

static void lane(void *arg, unsigned own, unsigned worker)
{
	const struct run *r = arg;
	unsigned lanes = pool_threads(r->s->pool), at;

	for (unsigned i = 0; i < lanes; i++) {
		struct mm_lane *l = &r->s->lanes[(own + i) % lanes];

		while (atomic_load_explicit(&l->next, memory_order_relaxed) < l->end &&
		       (at = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed)) < l->end)
			item(arg, at, worker);
	}
}

#define SWIGLU_PARTS 8u /* of a column, an item each */

static void swiglu_item(void *arg, unsigned at, unsigned worker)
{
	const struct run *r = arg;
	uint32_t rows = r->m->w[0]->rows, part = at % SWIGLU_PARTS;
	size_t column = (size_t)(at / SWIGLU_PARTS) * rows;
	size_t from = (uint64_t)rows * part / SWIGLU_PARTS & ~(size_t)15,
	       to = part + 1 == SWIGLU_PARTS
			? rows
			: (uint64_t)rows * (part + 1) / SWIGLU_PARTS & ~(size_t)15;
	float *gate = r->m->y[0] + column + from;

	r->s->k->swiglu(gate, r->m->y[1] + column + from, gate, to - from);
}

static void stream(const struct mm_space *s, const struct mm *m)
{
	struct mm all = *m;
	struct run r = {s, &all, 1, k_block_of(s, 0)}, whole = {s, m, 1, 0};
	unsigned n = 0, lanes = pool_threads(s->pool);

	all.swiglu = false;
	for (unsigned i = 0; i < m->n_w; i++)
		n += items(&r, m->w[i]);
	for (unsigned i = 0; i < lanes; i++) {
		atomic_store_explicit(&s->lanes[i].next, (uint64_t)n * i / lanes,
				      memory_order_relaxed);
		s->lanes[i].end = (uint64_t)n * (i + 1) / lanes;
	}
	pool_run(s->pool, lane, &r, lanes);
	if (m->swiglu)
		pool_run(s->pool, swiglu_item, &whole, m->cols * SWIGLU_PARTS);
}

void mm_run(const struct mm_space *s, const struct mm *m)
{
	struct run r = {s, m, 1, k_block_of(s, m->n_p)};
	unsigned n = 0, mats = m->swiglu ? 1 : m->n_w, few = 4 * pool_threads(s->pool);

	if (!m->cols)
		return;
	if (!m->formed && m->cols >= 8)
		pool_run(s->pool, form_item, &r, m->cols);
	else
		for (unsigned c = 0; c < m->cols && !m->formed; c++)
			mm_form_row(s, m, c);
	if (m->n_p == 0) {
		stream(s, m);
		return;
	}
	for (unsigned i = 0; i < mats; i++)
		n += items(&r, m->w[i]);
	r.item_blocks = n / few < 1 ? 1 : n / few > MAX_ITEM_BLOCKS ? MAX_ITEM_BLOCKS : n / few;
	n = 0;
	for (unsigned i = 0; i < mats; i++)
		n += items(&r, m->w[i]);
	pool_run(s->pool, item, &r, n);
}

void mm_rows(const struct mm_space *s, const struct wmat *w, const int32_t *ids, uint32_t n,
	     const float *x, unsigned cols, float *y)
{
	struct mm m = {.w = {w}, .n_w = 1, .x = x, .cols = cols, .n_p = cols};
	struct run r = {s, &m, 1, k_block_of(s, cols)};
	float *tmp = scratch_y(s, 0);
	bool gemm = p_way(s, w) == WAY_GEMM;

	for (unsigned c = 0; c < cols && !gemm; c++)
		mm_form_row(s, &m, c);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = (uint32_t)ids[i], row = id % PACK_ROWS;
		struct block b = {w, id - row, PACK_ROWS, tmp, PACK_ROWS};

		if (gemm) {
			s->k->gemm(expanded(w, id, 1, (float *)(void *)scratch_wide(s, 0)), w->cols,
				   1, x, w->cols, cols, w->cols, y + i, n);
			continue;
		}
		if (w->rows - b.first < PACK_ROWS)
			b.n = w->rows - b.first;
		for (uint32_t at = 0; at < w->cols; at += r.k_block)
			block_step(&r, &b, at, w->cols - at < r.k_block ? w->cols - at : r.k_block,
				   cols, 0);
		for (unsigned c = 0; c < cols; c++)
			y[(size_t)c * n + i] = tmp[(size_t)c * PACK_ROWS + row];
	}
}
