/* kern_avx2p.c - class P with AVX2 in fp32, weights and activations, and the table that has it. As
 * in kern_avx2.c, only functions below the pragma may use these instructions. */
#include "kern_avx2.h"
#include "kern_port.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "blocks.h"

static bool usable(void)
{
	return kern_avx2.usable();
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE __m256i load8(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m256 halves8(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

/* Bits [at, at + n) of each lane as floats, less an offset. */
INLINE __m256 bits8(__m256i v, const int at, const int n, const int offset)
{
	v = _mm256_and_si256(_mm256_srli_epi32(v, at), _mm256_set1_epi32((1 << n) - 1));
	if (offset)
		v = _mm256_sub_epi32(v, _mm256_set1_epi32(offset));
	return _mm256_cvtepi32_ps(v);
}

/* Four k of eight rows, whose bytes are at bit `at` of the lanes' bytes; out: 16 floats per k. */
INLINE void put_quad(float *out, __m256i v, const int at, const int n, const int offset, __m256 d,
		     __m256 m)
{
#pragma GCC unroll 4
	for (int e = 0; e < 4; e++)
		_mm256_storeu_ps(out + 16 * e,
				 _mm256_fmsub_ps(d, bits8(v, 8 * e + at, n, offset), m));
}

INLINE void expand_32(const enum pack_kind kind, const uint8_t *g, uint32_t k, float *out)
{
	const __m256 zero = _mm256_setzero_ps();

	for (; k; k -= 32, g += pack_bytes(kind), out += 512)
		for (unsigned h = 0; h < 2; h++) {
			__m256 d = halves8(g + 16 * h);
			const uint8_t *q = g + 32 + 32 * h;
			float *y = out + 8 * h;

#pragma GCC unroll 8
			for (unsigned j = 0; j < 8; j++)
				if (kind == PACK_Q4_0)
					put_quad(y + 64 * j, load8(q + 64 * (j % 4)), j < 4 ? 0 : 4,
						 4, 8, d, zero);
				else
					put_quad(y + 64 * j, load8(q + 64 * j), 0, 8, 128, d, zero);
		}
}

INLINE __m256 u8_scale(const uint8_t *p, __m256 d)
{
	__m128i b = _mm_loadl_epi64((const __m128i *)p);

	return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)));
}

INLINE __m256 i8_scale(const uint8_t *p, __m256 d)
{
	__m128i b = _mm_loadl_epi64((const __m128i *)p);

	return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)));
}

/* The nibbles of quad j of a cell, with the fifth and sixth bits put above them. */
INLINE __m256i whole_quad(const enum pack_kind kind, const uint8_t *nib, const uint8_t *hi,
			  const unsigned j)
{
	__m256i v = load8(nib + 64 * (j % 4)), t;

	v = _mm256_and_si256(j < 4 ? v : _mm256_srli_epi32(v, 4), _mm256_set1_epi8(15));
	if (kind == PACK_Q5_K) {
		t = load8(hi);
		t = j < 4 ? _mm256_slli_epi32(t, 4 - (int)j) : _mm256_srli_epi32(t, (int)j - 4);
		v = _mm256_or_si256(v, _mm256_and_si256(t, _mm256_set1_epi8(16)));
	}
	if (kind == PACK_Q6_K) {
		const int i = 2 * (int)(j % 4);

		t = load8(hi + 64 * (j / 4));
		t = i < 4 ? _mm256_slli_epi32(t, 4 - i) : _mm256_srli_epi32(t, i - 4);
		v = _mm256_or_si256(v, _mm256_and_si256(t, _mm256_set1_epi8(48)));
	}
	return v;
}

INLINE void expand_256(const enum pack_kind kind, const uint8_t *g, uint32_t k, float *out)
{
	for (; k; k -= 256, g += pack_bytes(kind))
		for (unsigned c = 0; c < 8; c++, out += 512)
			for (unsigned h = 0; h < 2; h++) {
				const uint8_t *p = g + 8 * h + 16 * c, *hi = g + 32 * h;
				const uint8_t *nib = hi + (kind == PACK_Q6_K ? 288 : 320) + 256 * c;
				__m256 d = halves8(g + 16 * h), d2 = d, m = _mm256_setzero_ps();

				if (kind == PACK_Q6_K) {
					d = i8_scale(p + 32 + 16 * c, d2);
					d2 = i8_scale(p + 48 + 16 * c, d2);
					hi += 2336 + 128 * c;
				} else {
					d = d2 = u8_scale(p + 64, d);
					m = u8_scale(p + 192, halves8(g + 32 + 16 * h));
					hi += 2368 + 64 * c;
				}
#pragma GCC unroll 8
				for (unsigned j = 0; j < 8; j++)
					put_quad(out + 8 * h + 64 * j, whole_quad(kind, nib, hi, j),
						 0, 6, kind == PACK_Q6_K ? 32 : 0, j < 4 ? d : d2,
						 m);
			}
}

INLINE void expand_16(const enum pack_kind kind, const uint8_t *g, uint32_t k, float *out)
{
	for (; k; k -= 2, g += 64, out += 32)
#pragma GCC unroll 2
		for (unsigned h = 0; h < 2; h++) {
			__m256i v = load8(g + 32 * h), odd;

			if (kind == PACK_BF16) {
				odd = _mm256_and_si256(v, _mm256_set1_epi32(-65536));
				v = _mm256_slli_epi32(v, 16);
				_mm256_storeu_si256((__m256i *)(out + 8 * h), v);
				_mm256_storeu_si256((__m256i *)(out + 16 + 8 * h), odd);
				continue;
			}
			v = _mm256_packus_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)),
						_mm256_srli_epi32(v, 16));
			v = _mm256_permute4x64_epi64(v, 0xd8);
			_mm256_storeu_ps(out + 8 * h, _mm256_cvtph_ps(_mm256_castsi256_si128(v)));
			_mm256_storeu_ps(out + 16 + 8 * h,
					 _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)));
		}
}

KERN_P_EXPAND(avx2_p_expand_q4_0)
{
	expand_32(PACK_Q4_0, groups, k, out);
}

KERN_P_EXPAND(avx2_p_expand_q8_0)
{
	expand_32(PACK_Q8_0, groups, k, out);
}

KERN_P_EXPAND(avx2_p_expand_q4_k)
{
	expand_256(PACK_Q4_K, groups, k, out);
}

KERN_P_EXPAND(avx2_p_expand_q5_k)
{
	expand_256(PACK_Q5_K, groups, k, out);
}

KERN_P_EXPAND(avx2_p_expand_q6_k)
{
	expand_256(PACK_Q6_K, groups, k, out);
}

KERN_P_EXPAND(avx2_p_expand_f16)
{
	expand_16(PACK_F16, groups, k, out);
}

KERN_P_EXPAND(avx2_p_expand_bf16)
{
	expand_16(PACK_BF16, groups, k, out);
}

/* Eight rows of eight numbers, turned; out: 16 floats per row of the result. */
INLINE void turn8(const float *w, size_t ldw, float *out)
{
	RAW __m256 r[8], t[8];

#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		r[i] = _mm256_loadu_ps(w + (size_t)i * ldw);
#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		_mm256_storeu_ps(out + 16 * i, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
		_mm256_storeu_ps(out + 16 * (i + 4), _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
	}
}

void avx2_p_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out)
{
	float *y = out;

	for (unsigned h = 0; h < 16; h += 8)
		for (uint32_t i = 0; i < k; i += 8) {
			float *to = y + (size_t)i * 16 + h;

			if (n >= h + 8) {
				turn8(w + h * ldw + i, ldw, to);
				continue;
			}
			for (unsigned r = 0; r < 8; r++)
				for (unsigned j = 0; j < 8; j++)
					to[16 * j + r] = h + r < n ? w[(h + r) * ldw + i + j] : 0;
		}
}

/* A panel by C columns; every output is one chain over ascending k. */
INLINE void mul_tile(const unsigned C, const float *w, uint32_t k, const float *x, size_t ldx,
		     float *y, size_t ldy, bool first)
{
	RAW __m256 acc[12];
	const float *x3 = x + 3 * ldx;

#pragma GCC unroll 12
	for (unsigned i = 0; i < 2 * C; i++)
		acc[i] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(y + i / 2 * ldy + i % 2 * 8);
	for (uint32_t i = 0; i < k; i++, w += 16, x++, x3++) {
		__m256 lo = _mm256_loadu_ps(w), hi = _mm256_loadu_ps(w + 8);

#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++) {
			__m256 b = _mm256_broadcast_ss(c < 3 ? x + c * ldx : x3 + (c - 3) * ldx);

			acc[2 * c] = _mm256_fmadd_ps(lo, b, acc[2 * c]);
			acc[2 * c + 1] = _mm256_fmadd_ps(hi, b, acc[2 * c + 1]);
		}
	}
#pragma GCC unroll 12
	for (unsigned i = 0; i < 2 * C; i++)
		_mm256_storeu_ps(y + i / 2 * ldy + i % 2 * 8, acc[i]);
}

void avx2_p_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		const void *xs, size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	for (unsigned p = 0; p < n_panels; p++, y += 16) {
		const float *w =
		    (const float *)(const void *)((const char *)panels + p * panel_stride);
		const float *x = xs;
		unsigned c = 0;

		for (; cols - c >= 6; c += 6)
			mul_tile(6, w, k, x + c * ldx, ldx, y + c * ldy, ldy, first);
		for (; cols - c >= 4; c += 4)
			mul_tile(4, w, k, x + c * ldx, ldx, y + c * ldy, ldy, first);
		for (; cols - c >= 2; c += 2)
			mul_tile(2, w, k, x + c * ldx, ldx, y + c * ldy, ldy, first);
		if (c < cols)
			mul_tile(1, w, k, x + c * ldx, ldx, y + c * ldy, ldy, first);
	}
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const struct kernels kern_avx2f32 = {
    .name = "avx2f32",
    .usable = usable,
    .base = &kern_avx2,
    .p_form = P_F32,
    .p_bytes = sizeof(float),
    .p_form_x = port_p_form_x,
    .p_expand = {[PACK_Q4_0] = avx2_p_expand_q4_0,
		 [PACK_Q8_0] = avx2_p_expand_q8_0,
		 [PACK_Q4_K] = avx2_p_expand_q4_k,
		 [PACK_Q5_K] = avx2_p_expand_q5_k,
		 [PACK_Q6_K] = avx2_p_expand_q6_k,
		 [PACK_F16] = avx2_p_expand_f16,
		 [PACK_BF16] = avx2_p_expand_bf16},
    .p_from_f32 = avx2_p_from_f32,
    .p_mul = avx2_p_mul,
};
#endif
