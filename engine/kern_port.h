/* kern_port.h - the portable functions of the classes P and D (pack.h, kernels.h), by name: tables
 * take them where they have none of their own, and tests compare with them. p_form P_F32. */
#ifndef SP_ENGINE_KERN_PORT_H
#define SP_ENGINE_KERN_PORT_H

#include "kernels.h"

void port_p_form_x(const float *x, void *out, size_t n);
void port_p_expand_q4_0(const uint8_t *groups, uint32_t k, void *out);
void port_p_expand_q8_0(const uint8_t *groups, uint32_t k, void *out);
void port_p_expand_q4_k(const uint8_t *groups, uint32_t k, void *out);
void port_p_expand_q5_k(const uint8_t *groups, uint32_t k, void *out);
void port_p_expand_q6_k(const uint8_t *groups, uint32_t k, void *out);
void port_p_expand_f16(const uint8_t *groups, uint32_t k, void *out);
void port_p_expand_bf16(const uint8_t *groups, uint32_t k, void *out);
void port_p_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out);
void port_p_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		const void *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first);

void port_d_form_x(const float *x, struct dblock *out, size_t n);
void port_d_mul_q4_0(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy);
void port_d_mul_q8_0(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy);
void port_d_mul_q4_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy);
void port_d_mul_q5_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy);
void port_d_mul_q6_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy);
void port_d_mul_f16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		    float *y, size_t ldy);
void port_d_mul_bf16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy);

/* clang-format off */
#define PORT_P_EXPAND { \
	[PACK_Q4_0] = port_p_expand_q4_0, [PACK_Q8_0] = port_p_expand_q8_0, \
	[PACK_Q4_K] = port_p_expand_q4_k, [PACK_Q5_K] = port_p_expand_q5_k, \
	[PACK_Q6_K] = port_p_expand_q6_k, [PACK_F16] = port_p_expand_f16, \
	[PACK_BF16] = port_p_expand_bf16 }
#define PORT_D_MUL { \
	[PACK_Q4_0] = port_d_mul_q4_0, [PACK_Q8_0] = port_d_mul_q8_0, \
	[PACK_Q4_K] = port_d_mul_q4_k, [PACK_Q5_K] = port_d_mul_q5_k, \
	[PACK_Q6_K] = port_d_mul_q6_k, [PACK_F16] = port_d_mul_f16, \
	[PACK_BF16] = port_d_mul_bf16 }
/* clang-format on */

#endif
