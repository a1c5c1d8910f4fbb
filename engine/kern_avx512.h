/* kern_avx512.h - what the files of the AVX-512 tables know of each other. Any thread. */
#ifndef SP_ENGINE_KERN_AVX512_H
#define SP_ENGINE_KERN_AVX512_H

#include "kernels.h"

#if defined(__x86_64__)
extern const struct kernels kern_avx512, kern_avx512bf16, kern_amx;

/* Class P in fp32 (kern_avx512p.c) and class D (kern_avx512d.c). */
void p512_form_x(const float *x, void *out, size_t n);
void p512_q4_0(const uint8_t *groups, uint32_t k, void *out);
void p512_q8_0(const uint8_t *groups, uint32_t k, void *out);
void p512_q4_k(const uint8_t *groups, uint32_t k, void *out);
void p512_q5_k(const uint8_t *groups, uint32_t k, void *out);
void p512_q6_k(const uint8_t *groups, uint32_t k, void *out);
void p512_f16(const uint8_t *groups, uint32_t k, void *out);
void p512_bf16(const uint8_t *groups, uint32_t k, void *out);
void p512_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out);
void p512_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k, const void *x,
	      size_t ldx, unsigned cols, float *y, size_t ldy, bool first);
void d512_q4_0(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy);
void d512_q8_0(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy);
void d512_q4_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy);
void d512_q5_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy);
void d512_q6_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy);
void d512_f16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	      size_t ldy);
void d512_bf16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy);
#endif
#endif
