/* weights_pack.c - the matrices of a model in packed form, see weights.h. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "num.h"
#include "weights.h"

#define HUGE_PAGE (2u << 20)
#define PIECE (64u << 20)     /* bytes of file between two looks at the clock and the caller */
#define ITEM_BYTES (1u << 20) /* a thread takes at once */
#define LAYER_MATS 7

static uint32_t panels_of(const struct wmat *m)
{
	return (m->rows + PACK_ROWS - 1) / PACK_ROWS;
}

/* Fewer rows than a panel has would grow by the rows that do not exist. */
static enum pack_kind kind_of(const struct wmat *m)
{
	return m->rows < PACK_ROWS ? PACK_NONE : pack_kind_of(m->type, m->cols);
}

/* Matrix i of all that may be packed, NULL behind the last. The output comes first: it is the
 * largest, so memory is short then or never. */
static struct wmat *mat(struct weights *w, size_t i)
{
	struct layer *l;

	if (i == 0)
		return &w->output;
	if (--i >= (size_t)w->n_layer * LAYER_MATS)
		return NULL;
	l = &w->layers[i / LAYER_MATS];
	return (struct wmat *[]){
	    &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down}[i % LAYER_MATS];
}

struct job {
	const struct wmat *m;
	enum pack_kind kind;
	uint8_t *to;	/* panel 0 */
	size_t bytes;	/* of a panel */
	uint32_t first; /* panel */
	uint32_t n;	/* panels */
	uint32_t each;	/* panels per item */
};

static void pack_item(void *arg, unsigned item, unsigned worker)
{
	const struct job *j = arg;
	uint32_t from = item * j->each, to = from + j->each < j->n ? from + j->each : j->n;

	for (uint32_t p = j->first + from; p < j->first + to; p++) {
		uint32_t row = p * PACK_ROWS, left = j->m->rows - row;

		pack_panel(j->kind, j->m->p + row * j->m->row_bytes, j->m->row_bytes,
			   left < PACK_ROWS ? left : PACK_ROWS, j->m->cols, j->to + p * j->bytes);
	}
}

/* The whole pages inside: a read-only mapping gets them from the file again should it want them. */
static void let_go(const uint8_t *p, uint64_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p + page - 1;
	uintptr_t start = from - from % page, end = (uintptr_t)p + n;

	end -= end % page;
	if (end > start)
		madvise((void *)start, end - start, MADV_DONTNEED);
}

struct told {
	bool (*progress)(void *, unsigned);
	void *arg;
	uint64_t done, all; /* bytes of panels */
};

static bool pack_mat(const struct wmat *m, uint8_t *to, struct pool *pool, struct told *t)
{
	struct job j = {.m = m, .kind = kind_of(m), .to = to};
	uint32_t panels = panels_of(m), piece;

	j.bytes = pack_panel_bytes(j.kind, m->cols);
	j.each = ITEM_BYTES / j.bytes ? (uint32_t)(ITEM_BYTES / j.bytes) : 1;
	piece = PIECE / j.bytes ? (uint32_t)(PIECE / j.bytes) : 1;
	for (; j.first < panels; j.first += j.n) {
		uint64_t row = (uint64_t)j.first * PACK_ROWS, end;

		j.n = panels - j.first < piece ? panels - j.first : piece;
		pool_run(pool, pack_item, &j, (j.n + j.each - 1) / j.each);
		end = row + (uint64_t)j.n * PACK_ROWS;
		end = end < m->rows ? end : m->rows;
		let_go(m->p + row * m->row_bytes, (end - row) * m->row_bytes);
		t->done += j.n * j.bytes;
		if (t->progress && !t->progress(t->arg, (unsigned)(t->done * 1000 / t->all)))
			return false;
	}
	/* the pages that two pieces shared */
	let_go(m->p, m->rows * m->row_bytes);
	return true;
}

/* Where each matrix goes: lines of 64 bytes. */
static size_t place(const struct wmat *m)
{
	size_t n = panels_of(m) * pack_panel_bytes(kind_of(m), m->cols);

	return (n + 63) & ~(size_t)63;
}

static int sum_up(struct weights *w, uint64_t *all, struct err *err)
{
	const struct wmat *m;

	*all = 0;
	for (size_t i = 0; (m = mat(w, i)); i++) {
		uint64_t n;

		if (mul_u64(panels_of(m), pack_panel_bytes(kind_of(m), m->cols) + 64, &n) ||
		    add_u64(*all, n, all) || *all > SIZE_MAX / 4)
			return err_set(err, E_RANGE, "the matrices are too large");
	}
	return 0;
}

/* Memory that begins at a border of huge pages. */
static int get_memory(struct weights *w, uint64_t n, uint8_t **start, struct err *err)
{
	size_t all = (size_t)n + HUGE_PAGE;
	void *p = FAULT("weights.mmap")
		      ? MAP_FAILED
		      : mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_set(err, E_NOMEM, "no memory for %llu bytes of weights",
			       (unsigned long long)n);
	w->packed = p;
	w->packed_bytes = all;
	*start = w->packed + (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	madvise(*start, all - (size_t)(*start - w->packed), MADV_HUGEPAGE);
	return 0;
}

static void point_to(struct wmat *m, uint8_t *to)
{
	m->kind = kind_of(m);
	m->panel_bytes = pack_panel_bytes(m->kind, m->cols);
	m->p = to;
}

int weights_pack(struct weights *w, struct pool *pool, bool (*progress)(void *, unsigned),
		 void *arg, struct err *err)
{
	struct told t = {progress, arg, 0, 0};
	bool tied = w->output.p == w->embd.p;
	uint8_t *to, *start = NULL;
	struct wmat *m;
	int rc = sum_up(w, &t.all, err);

	if (rc < 0 || t.all == 0)
		return rc;
	if ((rc = get_memory(w, t.all, &start, err)) < 0)
		return rc;
	to = start;
	for (size_t i = 0; (m = mat(w, i)); to += place(m), i++)
		if (kind_of(m) != PACK_NONE && !pack_mat(m, to, pool, &t)) {
			munmap(w->packed, w->packed_bytes);
			w->packed = NULL;
			return err_set(err, E_CANCELLED, "cancelled");
		}
	to = start;
	for (size_t i = 0; (m = mat(w, i)); i++) {
		size_t n = place(m);

		if (kind_of(m) != PACK_NONE)
			point_to(m, to);
		to += n;
	}
	if (tied)
		w->embd = w->output;
	mprotect(w->packed, w->packed_bytes, PROT_READ);
	return 0;
}

void wmat_row(const struct wmat *m, uint32_t r, float *out)
{
	if (m->kind == PACK_NONE)
		m->expand(m->p + r * m->row_bytes, out, m->cols);
	else
		pack_row(m->kind, m->p + r / PACK_ROWS * m->panel_bytes, r % PACK_ROWS, m->cols,
			 out);
}
