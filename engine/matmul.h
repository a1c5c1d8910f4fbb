/* matmul.h - up to three weight matrices times the same activations, on all threads. Weight rows
 * are expanded to fp32 a panel at a time, once for all columns. A product is never split along its
 * sum, so results do not depend on threads or on the number of columns. Owner thread only. */
#ifndef SP_ENGINE_MATMUL_H
#define SP_ENGINE_MATMUL_H

#include "pool.h"
#include "weights.h"

#define MM_MAX 3

struct mm {
	const struct wmat *w[MM_MAX]; /* all with the same number of columns */
	float *y[MM_MAX];	      /* y[i][c * w[i]->rows + r] */
	unsigned n_w;
	bool swiglu;	/* w[0] gate, w[1] up: y[0] = silu(y[0]) * y[1] */
	const float *x; /* cols vectors of w->cols elements, one after another */
	unsigned cols;
};

/* Floats of scratch one worker needs for matrices of at most k columns. */
size_t mm_scratch(uint32_t k);
/* scratch[worker]: mm_scratch() floats each. */
void mm_run(struct pool *pool, const struct kernels *k, const struct mm *m, float *const *scratch);
/* y[c * n + i] = row ids[i] of w times vector c: bit for bit what mm_run() gives. */
void mm_rows(const struct kernels *k, const struct wmat *w, const int32_t *ids, uint32_t n,
	     const float *x, unsigned cols, float *y, float *scratch);

#endif
