/* kernels.h - the arithmetic of the forward pass, one table per instruction set, chosen at run
 * time by kern_pick(). All pointers are borrowed; every function is pure and safe from any thread.
 *
 * Determinism: each output value depends on its own inputs alone, in a fixed order of operations,
 * whatever else is computed beside it: a dot product has eight partial sums (with AVX-512 sixteen;
 * element i goes to sum i mod 8 or 16) that are added in a fixed tree. So a row's result never
 * depends on the batch.
 *
 * A table may leave entries NULL and name a `base`: kern_pick() gives it complete, with the base's
 * functions in their places. Tables, best first: amx, avx512bf16, avx512, avx2vnni, avx2,
 * avx2f32, portable. */
#ifndef SP_ENGINE_KERNELS_H
#define SP_ENGINE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gtype.h"
#include "pack.h"
#include "raw.h"

struct attn_kernels;

/* One row of n weights (a multiple of the type's block) to fp32. */
typedef void (*kern_expand)(const void *row, float *out, size_t n);

/* What the activations and weights of class P are: fp32, bf16, or 16-bit integers with a scale per
 * 32 (kern_avx2i.c). */
enum p_form { P_NONE, P_F32, P_BF16, P_I16 };
#define D_COLS 16 /* columns d_mul takes at once */

struct kernels {
	const char *name;
	bool (*usable)(void);	      /* this CPU and operating system can run it, and its base */
	bool (*slow)(void);	      /* usable, but the table after it is faster here; NULL = no */
	const struct kernels *base;   /* what is NULL here is taken from it; NULL = complete */
	/* The table for class P of F16 where rounding to bf16 or integers is not wanted: its p_form is P_F32.
	 * NULL: this one is P_F32 itself. Never NULL in what kern_pick() gives. */
	const struct kernels *exact;
	kern_expand expand[GT_COUNT]; /* NULL: type not supported */
	/* y[c * ldy + r] = dot of w[r * ldw ..] and x[c * ldx ..] over k elements. */
	void (*gemm)(const float *w, size_t ldw, unsigned rows, const float *x, size_t ldx,
		     unsigned cols, unsigned k, float *y, size_t ldy);
	void (*half_to_f32)(const uint16_t *h, float *out, size_t n);
	void (*f32_to_half)(const float *f, uint16_t *out, size_t n); /* to nearest even */
	/* All NaN where the squares add up to no number: else what is too large would end as 0. */
	void (*rmsnorm)(const float *x, const float *w, float *out, unsigned n, float eps);
	void (*swiglu)(const float *gate, const float *up, float *out,
		       unsigned n);			   /* in place ok */
	void (*add)(float *x, const float *y, unsigned n); /* x += y */
	/* s[i] = exp(s[i] - max) for n scores; returns their sum in the fixed order. */
	float (*exp_sum)(float *s, unsigned n, float max);
	/* acc[j] = acc[j] * scale + sum over t, ascending, of p[t] * v[t * ldv + j]. */
	void (*weigh)(float *acc, unsigned dim, float scale, const float *p, unsigned n,
		      const float *v, size_t ldv);
	const struct attn_kernels *attn; /* attn_kern.h */
	/* ---- class P (pack.h); p_form P_NONE: only gemm ---- */
	enum p_form p_form;
	size_t p_bytes; /* of one activation: 2 or 4 */
	/* n fp32 activations (a multiple of 32) to the form. */
	void (*p_form_x)(const float *x, void *out, size_t n);
	/* `k` (a multiple of the group's) of one panel to the form, for p_mul: [k / 2][16 rows][2]
	 * of bf16, [k][16 rows] of fp32, or the table's own; 32 k of 16 rows are the room of 512
	 * numbers, one cell after another. */
	void (*p_expand[PACK_KINDS])(const uint8_t *groups, uint32_t k, void *out);
	/* Sixteen rows of fp32 (PACK_NONE, expanded; n <= 16 of them, ldw apart) to the form. */
	void (*p_from_f32)(const float *w, size_t ldw, unsigned n, uint32_t k, void *out);
	/* n_panels (1 or 2) expanded panels, `panel_stride` bytes apart, times cols activations:
	 * y[c * ldy + 16 * p + r] = (first ? 0 : y[..]) + sum over k ascending. x: cols vectors, ldx
	 * numbers apart, in the form. Writes n_panels * 16 floats per column. Fast only where the
	 * vectors do not fall into the same cache sets: see p_stride(). */
	void (*p_mul)(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		      const void *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first);
	/* ---- class D (pack.h) ---- */
	void (*d_form_x)(const float *x, struct dblock *out, size_t n); /* n / 32 blocks */
	/* One panel times cols <= D_COLS vectors: y[c * ldy + r], r < 16. x: struct dblock for the
	 * integer kinds (ldx blocks apart), float for F16 and BF16 (ldx floats apart). */
	void (*d_mul[PACK_KINDS])(const uint8_t *panel, uint32_t k, const void *x, size_t ldx,
				  unsigned cols, float *y, size_t ldy);
};

/* Numbers from one vector of k activations to the next: whole lines of 64 bytes, an odd number of
 * them, so that a tile's vectors do not throw each other out of the first-level cache. */
static inline size_t p_stride(uint32_t k, size_t p_bytes)
{
	return ((k * p_bytes + 63) / 64 | 1) * 64 / p_bytes;
}

extern const struct kernels kern_portable;
#if defined(__x86_64__)
extern const struct kernels kern_avx2, kern_avx2f32, kern_avx2vnni;
#endif

/* The named table, or the best this CPU runs when name is NULL. NULL: unknown or not usable. */
const struct kernels *kern_pick(const char *name);
/* Names of the usable tables, best first, NULL-terminated. Static. */
const char *const *kern_names(void);

#endif
