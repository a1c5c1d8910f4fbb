/* kern_avx2.h - what the files of the AVX2 table share: only where kern_avx2.usable(). */
#ifndef SP_ENGINE_KERN_AVX2_H
#define SP_ENGINE_KERN_AVX2_H

#include "kernels.h"

#define KERN_D_MUL(name)                                                                           \
	void name(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,      \
		  float *y, size_t ldy)
#define KERN_P_EXPAND(name) void name(const uint8_t *groups, uint32_t k, void *out)

/* kern_avx2d.c */
void avx2_d_form_x(const float *x, struct dblock *out, size_t n);
KERN_D_MUL(avx2_d_mul_q4_0);
KERN_D_MUL(avx2_d_mul_q8_0);
KERN_D_MUL(avx2_d_mul_q4_k);
KERN_D_MUL(avx2_d_mul_q5_k);
KERN_D_MUL(avx2_d_mul_q6_k);
KERN_D_MUL(avx2_d_mul_f16);
KERN_D_MUL(avx2_d_mul_bf16);

/* kern_avx2vnni.c */
KERN_D_MUL(avx2vnni_d_mul_q4_0);
KERN_D_MUL(avx2vnni_d_mul_q8_0);
KERN_D_MUL(avx2vnni_d_mul_q4_k);
KERN_D_MUL(avx2vnni_d_mul_q5_k);
KERN_D_MUL(avx2vnni_d_mul_q6_k);

/* kern_avx2i.c; p_form P_I16 */
void avx2i_p_form_x(const float *x, void *out, size_t n);
KERN_P_EXPAND(avx2i_p_expand_q4_0);
KERN_P_EXPAND(avx2i_p_expand_q8_0);
KERN_P_EXPAND(avx2i_p_expand_q4_k);
KERN_P_EXPAND(avx2i_p_expand_q5_k);
KERN_P_EXPAND(avx2i_p_expand_q6_k);
KERN_P_EXPAND(avx2i_p_expand_f16);
KERN_P_EXPAND(avx2i_p_expand_bf16);
void avx2i_p_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out);
void avx2i_p_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		 const void *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first);

/* kern_avx2p.c; p_form P_F32 */
KERN_P_EXPAND(avx2_p_expand_q4_0);
KERN_P_EXPAND(avx2_p_expand_q8_0);
KERN_P_EXPAND(avx2_p_expand_q4_k);
KERN_P_EXPAND(avx2_p_expand_q5_k);
KERN_P_EXPAND(avx2_p_expand_q6_k);
KERN_P_EXPAND(avx2_p_expand_f16);
KERN_P_EXPAND(avx2_p_expand_bf16);
void avx2_p_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out);
void avx2_p_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		const void *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first);

/* Compile-time figures of pack.c's groups. */
static inline __attribute__((always_inline)) unsigned pack_cells(const enum pack_kind kind)
{
	return kind == PACK_Q4_K || kind == PACK_Q5_K || kind == PACK_Q6_K ? 8 : 1;
}

static inline __attribute__((always_inline)) size_t pack_bytes(const enum pack_kind kind)
{
	return kind == PACK_Q4_0   ? 288
	       : kind == PACK_Q8_0 ? 544
	       : kind == PACK_Q4_K ? 2368
	       : kind == PACK_Q5_K ? 2880
	       : kind == PACK_Q6_K ? 3360
				   : 1024;
}

#endif
