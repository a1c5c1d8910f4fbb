/* expand_avx2.c - the rarer types with AVX2; see expand.h. As in kern_avx2.c, only functions below
 * the pragma may use these instructions. */
#include "expand.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "blocks.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE __m128i load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

INLINE float half1(const uint8_t *p)
{
	return _cvtsh_ss(get_le16(p));
}

/* Sixteen signed bytes times d, less m. */
INLINE void put16(float *y, __m128i q, __m256 d, __m256 m)
{
	__m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
	__m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)));

	_mm256_storeu_ps(y, _mm256_fmsub_ps(d, lo, m));
	_mm256_storeu_ps(y + 8, _mm256_fmsub_ps(d, hi, m));
}

/* Without a minimum: a product keeps the sign of its zero. */
INLINE void put16s(float *y, __m128i q, __m256 d)
{
	__m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
	__m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)));

	_mm256_storeu_ps(y, _mm256_mul_ps(d, lo));
	_mm256_storeu_ps(y + 8, _mm256_mul_ps(d, hi));
}

/* d * q + m: the types with a minimum that is added. */
INLINE void put16a(float *y, __m128i q, __m256 d, __m256 m)
{
	__m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
	__m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)));

	_mm256_storeu_ps(y, _mm256_fmadd_ps(d, lo, m));
	_mm256_storeu_ps(y + 8, _mm256_fmadd_ps(d, hi, m));
}

INLINE __m128i low4(__m128i b)
{
	return _mm_and_si128(b, _mm_set1_epi8(15));
}

INLINE __m128i high4(__m128i b)
{
	return low4(_mm_srli_epi16(b, 4));
}

/* Bits 16h .. 16h + 15 of `bits` to bytes of 0 or 16. */
INLINE __m128i bits16(uint32_t bits, int h)
{
	const __m128i spread = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
	const __m128i each = _mm_set1_epi64x((long long)0x8040201008040201);
	__m128i b = _mm_shuffle_epi8(_mm_cvtsi32_si128((int)(bits >> 16 * h)), spread);

	b = _mm_cmpeq_epi8(_mm_and_si128(b, each), each);
	return _mm_and_si128(b, _mm_set1_epi8(16));
}

void expand_q4_1_avx2(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q4_1_BYTES) {
		__m256 d = _mm256_set1_ps(half1(p)), m = _mm256_set1_ps(half1(p + 2));
		__m128i b = load16(p + 4);

		put16a(out + i, low4(b), d, m);
		put16a(out + i + 16, high4(b), d, m);
	}
}

void expand_q5_0_avx2(const void *row, float *out, size_t n)
{
	const __m128i off = _mm_set1_epi8(16);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q5_0_BYTES) {
		__m256 d = _mm256_set1_ps(half1(p));
		uint32_t high = get_le32(p + 2);
		__m128i b = load16(p + 6);
		__m128i lo = _mm_or_si128(low4(b), bits16(high, 0));
		__m128i hi = _mm_or_si128(high4(b), bits16(high, 1));

		put16s(out + i, _mm_sub_epi8(lo, off), d);
		put16s(out + i + 16, _mm_sub_epi8(hi, off), d);
	}
}

void expand_q5_1_avx2(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q5_1_BYTES) {
		__m256 d = _mm256_set1_ps(half1(p)), m = _mm256_set1_ps(half1(p + 2));
		uint32_t high = get_le32(p + 4);
		__m128i b = load16(p + 8);

		put16a(out + i, _mm_or_si128(low4(b), bits16(high, 0)), d, m);
		put16a(out + i + 16, _mm_or_si128(high4(b), bits16(high, 1)), d, m);
	}
}

void expand_q2_k_avx2(const void *row, float *out, size_t n)
{
	const __m128i three = _mm_set1_epi8(3);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q2_K_BYTES) {
		float d = half1(p + 80), dmin = half1(p + 82), *y = out + i;

		for (int g = 0; g < 16; g++, y += 16) {
			__m128i q = load16(p + 16 + g / 8 * 32 + g % 2 * 16);
			__m256 scale = _mm256_set1_ps(d * (float)(p[g] & 15));
			__m256 min = _mm256_set1_ps(dmin * (float)(p[g] >> 4));

			q = _mm_srl_epi16(q, _mm_cvtsi32_si128(g % 8 / 2 * 2));
			put16(y, _mm_and_si128(q, three), scale, min);
		}
	}
}

void expand_q3_k_avx2(const void *row, float *out, size_t n)
{
	const __m128i three = _mm_set1_epi8(3), four = _mm_set1_epi8(4);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q3_K_BYTES) {
		float d = half1(p + 108), *y = out + i;

		for (unsigned g = 0; g < 16; g++, y += 16) {
			__m128i q = load16(p + 32 + g / 8 * 32 + g % 2 * 16);
			__m128i bit = _mm_set1_epi8((char)(1 << g / 2));
			__m128i high = _mm_and_si128(load16(p + g % 2 * 16), bit);

			q = _mm_srl_epi16(q, _mm_cvtsi32_si128((int)(g % 8 / 2 * 2)));
			high = _mm_andnot_si128(_mm_cmpeq_epi8(high, bit), four);
			q = _mm_sub_epi8(_mm_and_si128(q, three), high);
			put16s(y, q, _mm256_set1_ps(d * (float)q3_k_scale(p + 96, g)));
		}
	}
}

void expand_q5_k_avx2(const void *row, float *out, size_t n)
{
	const __m128i sixteen = _mm_set1_epi8(16);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q5_K_BYTES) {
		float d = half1(p), dmin = half1(p + 2), *y = out + i;

		for (unsigned g = 0; g < 8; g++, y += 32) {
			__m128i bit = _mm_set1_epi8((char)(1 << g));
			unsigned s, m;
			__m256 scale, min;

			q4_k_scale(p + 4, g, &s, &m);
			scale = _mm256_set1_ps(d * (float)s);
			min = _mm256_set1_ps(dmin * (float)m);
			for (int l = 0; l < 32; l += 16) {
				__m128i q = load16(p + 48 + g / 2 * 32 + l);
				__m128i high = _mm_and_si128(load16(p + 16 + l), bit);

				high = _mm_and_si128(_mm_cmpeq_epi8(high, bit), sixteen);
				q = g % 2 ? high4(q) : low4(q);
				put16(y + l, _mm_or_si128(q, high), scale, min);
			}
		}
	}
}

void expand_iq4_nl_avx2(const void *row, float *out, size_t n)
{
	const __m128i values = _mm_setr_epi8(IQ4_VALUES);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += IQ4_NL_BYTES) {
		__m256 d = _mm256_set1_ps(half1(p));
		__m128i b = load16(p + 2);

		put16s(out + i, _mm_shuffle_epi8(values, low4(b)), d);
		put16s(out + i + 16, _mm_shuffle_epi8(values, high4(b)), d);
	}
}

void expand_iq4_xs_avx2(const void *row, float *out, size_t n)
{
	const __m128i values = _mm_setr_epi8(IQ4_VALUES);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += IQ4_XS_BYTES) {
		float d = half1(p), *y = out + i;

		for (unsigned g = 0; g < 8; g++, y += 32) {
			__m256 scale = _mm256_set1_ps(d * (float)iq4_xs_scale(p, g));
			__m128i b = load16(p + 8 + g * 16);

			put16s(y, _mm_shuffle_epi8(values, low4(b)), scale);
			put16s(y + 16, _mm_shuffle_epi8(values, high4(b)), scale);
		}
	}
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
