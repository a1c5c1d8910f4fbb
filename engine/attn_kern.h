/* attn_kern.h - the arithmetic of attention over one page of the KV cache, one table per
 * instruction set; each table of kernels.h names the one it uses. All pointers are borrowed; every
 * function is pure and safe from any thread.
 *
 * A page holds, for each layer and KV head, two blocks of KV_TOKENS = 64 tokens. K stands with the
 * tokens side by side, [head_dim][64], V token by token, [64][head_dim]: so both products run along
 * registers without sums across lanes. The numbers are half floats, bf16, fp32, or for Q8_0 int8
 * followed by half-float scales [head_dim / 32][64] (per 32 dimensions and token), for K and V
 * alike. Number times scale is exact in fp32, so every type is read as exact fp32 values: a block
 * expanded beforehand gives the same bits as one read directly.
 *
 * Determinism: a score is one fp32 sum over the dimensions, ascending; a weighted sum one over the
 * tokens, ascending; neither depends on how many columns are computed beside it. A column is one
 * query head of one row. Scores are in units of log 2: queries come scaled by log2(e) / sqrt(dim).
 */
#ifndef SP_ENGINE_ATTN_KERN_H
#define SP_ENGINE_ATTN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"
#include "raw.h"

#define KV_TYPES (KV_Q8_0 + 1)
#define KV_TOKENS 64 /* per page */
#define KV_Q 32	     /* dimensions under one scale of Q8_0 */

struct attn_type {
	/* `ahead` (NULL ok): a block of the same size that will be read next, fetched meanwhile.
	 * s[c * lds + t] = sum over j of q[c * ldq + j] * K[j][t], for all 64 t. */
	void (*qk)(const void *k, unsigned dim, const float *q, size_t ldq, unsigned cols, float *s,
		   size_t lds, const void *ahead);
	/* acc[c * lda + j] += sum over t, t0 <= t < t1, of p[c * ldp + t] * V[t][j]. */
	void (*pv)(const void *v, unsigned dim, unsigned t0, unsigned t1, const float *p,
		   size_t ldp, unsigned cols, float *acc, size_t lda, const void *ahead);
	/* A block as fp32, same order; of V the first n tokens. NULL for fp32. */
	void (*expand_k)(const void *k, unsigned dim, float *out);
	void (*expand_v)(const void *v, unsigned dim, unsigned n, float *out);
	/* One token's vector into place t. What is not finite, or too large, reads back as infinity
	 * or NaN. */
	void (*store_k)(void *k, unsigned dim, unsigned t, const float *from);
	void (*store_v)(void *v, unsigned dim, unsigned t, const float *from);
};

struct attn_kernels {
	const char *name;
	bool (*usable)(void);
	struct attn_type type[KV_TYPES]; /* by enum kv_type; none for KV_AUTO */
	/* *max = the largest of n >= 1 scores; s[i] = 2^(s[i] - *max); *sum of those. A NaN among
	 * the scores makes the sum NaN. */
	void (*softmax)(float *s, unsigned n, float *max, float *sum);
	/* acc = acc * a + more * b */
	void (*merge)(float *acc, float a, const float *more, float b, unsigned n);
	void (*scale)(float *out, const float *x, float by, unsigned n); /* out = x * by */
	/* k rows of n floats (k even, n a multiple of 16) to n / 16 panels [k / 2][16][2] of bf16,
	 * for p_mul of kernels.h. NULL: none. */
	void (*panels)(const float *x, unsigned k, unsigned n, uint16_t *out);
	/* Turns the pairs (2i, 2i + 1) of one head by the angles whose cosine and sine are
	 * turn[2i], turn[2i + 1]. */
	void (*rope)(float *h, const float *turn, unsigned dim);
};

extern const struct attn_kernels attn_portable;
#if defined(__x86_64__)
extern const struct attn_kernels attn_avx2, attn_avx512;
#endif

/* The usable tables, best first, NULL-terminated. Static. */
const struct attn_kernels *const *attn_tables(void);

/* attnk_portable.c: store_k and store_v, for the other tables too. */
void attn_store_k_f32(void *k, unsigned dim, unsigned t, const float *from);
void attn_store_v_f32(void *v, unsigned dim, unsigned t, const float *from);
void attn_store_k_q8_0(void *k, unsigned dim, unsigned t, const float *from);
void attn_store_v_q8_0(void *v, unsigned dim, unsigned t, const float *from);

#endif
