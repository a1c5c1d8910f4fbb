/* kernels.h - the arithmetic of the forward pass, one table per instruction set, chosen at run
 * time by kern_pick(). All pointers are borrowed; every function is pure and safe from any thread.
 *
 * Determinism: each output value depends on its own inputs alone, in a fixed order of operations,
 * whatever else is computed beside it: a dot product has eight partial sums (element i goes to sum
 * i mod 8) that are added in a fixed tree. So a row's result never depends on the batch.
 *
 * Places kept: an "avx512" and an "amx" table go into kern.c's list; a table that wants its weights
 * in another order sets repack (NULL: weights are used as they lie in the file). */
#ifndef SP_ENGINE_KERNELS_H
#define SP_ENGINE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gtype.h"

/* One row of n weights (a multiple of the type's block) to fp32. */
typedef void (*kern_expand)(const void *row, float *out, size_t n);

struct kernels {
	const char *name;
	bool (*usable)(void);	      /* this CPU and operating system can run it */
	kern_expand expand[GT_COUNT]; /* NULL: type not supported */
	/* y[c * ldy + r] = dot of w[r * ldw ..] and x[c * ldx ..] over k elements. */
	void (*gemm)(const float *w, size_t ldw, unsigned rows, const float *x, size_t ldx,
		     unsigned cols, unsigned k, float *y, size_t ldy);
	void (*half_to_f32)(const uint16_t *h, float *out, size_t n);
	void (*f32_to_half)(const float *f, uint16_t *out, size_t n); /* to nearest even */
	void (*rmsnorm)(const float *x, const float *w, float *out, unsigned n, float eps);
	void (*swiglu)(const float *gate, const float *up, float *out,
		       unsigned n);			   /* in place ok */
	void (*add)(float *x, const float *y, unsigned n); /* x += y */
	/* s[i] = exp(s[i] - max) for n scores; returns their sum in the fixed order. */
	float (*exp_sum)(float *s, unsigned n, float max);
	/* acc[j] = acc[j] * scale + sum over t, ascending, of p[t] * v[t * ldv + j]. */
	void (*weigh)(float *acc, unsigned dim, float scale, const float *p, unsigned n,
		      const float *v, size_t ldv);
	/* Reserved: weights to another layout at load. */
	int (*repack)(enum gtype type, const void *rows, size_t n_rows, size_t k, void *out);
};

extern const struct kernels kern_portable;
#if defined(__x86_64__)
extern const struct kernels kern_avx2;
#endif

/* The named table, or the best this CPU runs when name is NULL. NULL: unknown or not usable. */
const struct kernels *kern_pick(const char *name);
/* Names of the usable tables, best first, NULL-terminated. Static. */
const char *const *kern_names(void);

#endif
