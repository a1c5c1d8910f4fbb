/* expand.h - rows of the rarer quantised types to fp32, for the tables of kernels.h (F32, F16,
 * BF16, Q8_0, Q4_0, Q4_K and Q6_K are in the tables' own files). Each has the form of kern_expand:
 * n is a multiple of the type's block. Layouts: blocks.h; values as in ggml (ggml-quants.c).
 *
 * All tables give the same bits: a half float times the small integers of one weight has at most 24
 * bits, so every product is exact in fp32 and only the last subtraction or addition rounds, fused
 * or not. Pure; any thread. */
#ifndef SP_ENGINE_EXPAND_H
#define SP_ENGINE_EXPAND_H

#include <stddef.h>

void expand_q4_1(const void *row, float *out, size_t n);
void expand_q5_0(const void *row, float *out, size_t n);
void expand_q5_1(const void *row, float *out, size_t n);
void expand_q2_k(const void *row, float *out, size_t n);
void expand_q3_k(const void *row, float *out, size_t n);
void expand_q5_k(const void *row, float *out, size_t n);
void expand_iq4_nl(const void *row, float *out, size_t n);
void expand_iq4_xs(const void *row, float *out, size_t n);

/* The entries of a table's expand[] for them. */
#define EXPAND_RARE                                                                                \
	[GT_Q4_1] = expand_q4_1, [GT_Q5_0] = expand_q5_0, [GT_Q5_1] = expand_q5_1,                 \
	[GT_Q2_K] = expand_q2_k, [GT_Q3_K] = expand_q3_k, [GT_Q5_K] = expand_q5_k,                 \
	[GT_IQ4_NL] = expand_iq4_nl, [GT_IQ4_XS] = expand_iq4_xs

#if defined(__x86_64__)
/* With AVX2, FMA and F16C: only where the AVX2 table is usable. */
void expand_q4_1_avx2(const void *row, float *out, size_t n);
void expand_q5_0_avx2(const void *row, float *out, size_t n);
void expand_q5_1_avx2(const void *row, float *out, size_t n);
void expand_q2_k_avx2(const void *row, float *out, size_t n);
void expand_q3_k_avx2(const void *row, float *out, size_t n);
void expand_q5_k_avx2(const void *row, float *out, size_t n);
void expand_iq4_nl_avx2(const void *row, float *out, size_t n);
void expand_iq4_xs_avx2(const void *row, float *out, size_t n);

#define EXPAND_RARE_AVX2                                                                           \
	[GT_Q4_1] = expand_q4_1_avx2, [GT_Q5_0] = expand_q5_0_avx2,                                \
	[GT_Q5_1] = expand_q5_1_avx2, [GT_Q2_K] = expand_q2_k_avx2,                                \
	[GT_Q3_K] = expand_q3_k_avx2, [GT_Q5_K] = expand_q5_k_avx2,                                \
	[GT_IQ4_NL] = expand_iq4_nl_avx2, [GT_IQ4_XS] = expand_iq4_xs_avx2
#endif

#endif
