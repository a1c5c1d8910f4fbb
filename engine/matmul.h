/* matmul.h - up to three weight matrices times the same activations, on all threads. The first n_p
 * columns are of class P, the others of class D (pack.h). Each weight is unpacked once for all
 * columns of P, and once for every D_COLS columns of D. A product's order of additions is fixed, so
 * results do not depend on threads, on the number of columns or on their company.
 *
 * Ways of a matrix: packed ones through the table's p_mul and d_mul (F16 of class P through those
 * of the table's `exact`, unless fast_f16 was asked for); other quantised ones expanded to panels
 * of class P, and by expand and gemm for D; F32 and odd widths by gemm for both. Owner thread only,
 * where nothing else is said. */
#ifndef SP_ENGINE_MATMUL_H
#define SP_ENGINE_MATMUL_H

#include "pool.h"
#include "weights.h"

#define MM_MAX 3

/* The activations in the forms the classes want, and memory to work in. */
struct mm_space {
	const struct kernels *k;
	const struct kernels *exact; /* for class P of F16; == k where no other is wanted */
	struct pool *pool;
	unsigned char *p, *p_exact;  /* vectors p_stride() numbers apart */
	struct dblock *d;	     /* vectors k / 32 blocks apart */
	unsigned char **scratch;     /* per worker */
	struct mm_lane *lanes;	     /* likewise */
	uint32_t max_k;
	unsigned max_cols;
	void *memory;
};

struct mm {
	const struct wmat *w[MM_MAX]; /* all with the same number of columns */
	float *y[MM_MAX];	      /* y[i][c * w[i]->rows + r] */
	unsigned n_w;
	bool swiglu;	/* w[0] gate, w[1] up: y[0] = silu(y[0]) * y[1] */
	const float *x; /* cols vectors of w->cols elements, one after another */
	unsigned cols, n_p;
	bool formed; /* mm_form_row() was called for every column */
};

/* Bytes one column needs in a space for vectors of at most max_k. */
size_t mm_col_bytes(const struct kernels *k, uint32_t max_k);
/* Room for max_cols columns. E_NOMEM, E_RANGE. */
int mm_open(struct mm_space *s, const struct kernels *k, struct pool *pool, uint32_t max_k,
	    unsigned max_cols, bool fast_f16, struct err *err);
void mm_close(struct mm_space *s); /* zeroed struct ok */

/* Puts column c of m->x in the forms its class needs; any thread, one column each. For callers that
 * have just made the column; else mm_run() does it. */
void mm_form_row(const struct mm_space *s, const struct mm *m, unsigned c);
void mm_run(const struct mm_space *s, const struct mm *m);
/* y[c * n + i] = row ids[i] of w times vector c, class P: bit for bit what mm_run() gives. */
void mm_rows(const struct mm_space *s, const struct wmat *w, const int32_t *ids, uint32_t n,
	     const float *x, unsigned cols, float *y);

#endif
