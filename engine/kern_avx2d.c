/* kern_avx2d.c - class D of the AVX2 table; see d256.h. As in kern_avx2.c, only functions below the
 * pragma may use these instructions. */
#include "kern_avx2.h"

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

#define K16 256 /* k of 16-bit weights at a time */

#define D256_NAME(kind) avx2_d_mul_##kind
#include "d256.h"

INLINE __m256i magnitude(__m256 v)
{
	return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}

/* The greatest of eight numbers that are not negative. */
INLINE uint32_t top8(__m256i m)
{
	__m128i v = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));

	v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0x4e));
	v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(v);
}

/* Sum of sixteen signed bytes. */
INLINE int32_t sum16(__m128i q)
{
	__m128i s = _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), q), _mm_set1_epi16(1));

	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
	return _mm_cvtsi128_si32(s);
}

INLINE __m256i scaled8(const float *x, __m256 inv)
{
	return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inv));
}

void avx2_d_form_x(const float *x, struct dblock *out, size_t n)
{
	for (; n; n -= 32, x += 32, out++) {
		__m256i m = _mm256_max_epi32(_mm256_max_epi32(magnitude(_mm256_loadu_ps(x)),
							      magnitude(_mm256_loadu_ps(x + 8))),
					     _mm256_max_epi32(magnitude(_mm256_loadu_ps(x + 16)),
							      magnitude(_mm256_loadu_ps(x + 24))));
		uint32_t top = top8(m);
		__m256 inv;
		__m256i q;

		if (top >= 0x7f800000u || top < D_SMALLEST) { /* as pack.h says */
			memset(out, 0, sizeof(*out));
			if (top >= 0x7f800000u) {
				out->dx = bits_f32(top) / 127;
				out->sx = out->dx * 0.0f;
			}
			continue;
		}
		inv = _mm256_set1_ps(127 / bits_f32(top));
		q = _mm256_packs_epi16(
		    _mm256_packs_epi32(scaled8(x, inv), scaled8(x + 8, inv)),
		    _mm256_packs_epi32(scaled8(x + 16, inv), scaled8(x + 24, inv)));
		q = _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
		_mm256_storeu_si256((__m256i *)out->q, q);
		out->dx = bits_f32(top) / 127;
		out->lo = sum16(_mm256_castsi256_si128(q));
		out->hi = sum16(_mm256_extracti128_si256(q, 1));
		out->sx = out->dx * (float)(out->lo + out->hi);
	}
}

/* Two neighbouring k of eight rows as floats. */
INLINE void pair8(const enum pack_kind kind, const uint8_t *p, __m256 *even, __m256 *odd)
{
	__m256i v = _mm256_loadu_si256((const __m256i *)p);

	if (kind == PACK_BF16) {
		*even = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
		*odd = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(-65536)));
		return;
	}
	v = _mm256_packus_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)),
				_mm256_srli_epi32(v, 16));
	v = _mm256_permute4x64_epi64(v, 0xd8);
	*even = _mm256_cvtph_ps(_mm256_castsi256_si128(v));
	*odd = _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1));
}

/* Sums of one column: eight rows a half of the panel, by k mod 4. */
struct sums16 {
	__m256 s[2][4];
};

/* n k (a multiple of 4) of H halves from half h on, onto the sums of C columns. */
INLINE void part_16(const enum pack_kind kind, const unsigned C, const unsigned h, const unsigned H,
		    const uint8_t *g, uint32_t n, const float *x, size_t ldx, struct sums16 *sums,
		    const bool ask)
{
	RAW __m256 s[2 * 4], w[4];

#pragma GCC unroll 8
	for (unsigned i = 0; i < 4 * C * H; i++)
		s[i] = sums[i / (4 * H)].s[h + i / 4 % H][i % 4];
	for (uint32_t at = 0; at < n; at += 4, g += 128) {
		if (ask)
			fetch(kind, false, g, 128);
#pragma GCC unroll 2
		for (unsigned j = 0; j < H; j++) {
			pair8(kind, g + 32 * (h + j), &w[0], &w[1]);
			pair8(kind, g + 32 * (h + j) + 64, &w[2], &w[3]);
#pragma GCC unroll 8
			for (unsigned i = 0; i < 4 * C; i++) {
				__m256 *to = &s[(i / 4 * H + j) * 4 + i % 4];

				*to = _mm256_fmadd_ps(
				    w[i % 4], _mm256_broadcast_ss(x + i / 4 * ldx + at + i % 4),
				    *to);
			}
		}
	}
#pragma GCC unroll 8
	for (unsigned i = 0; i < 4 * C * H; i++)
		sums[i / (4 * H)].s[h + i / 4 % H][i % 4] = s[i];
}

/* K16 k at a time, so that their weights stay in the first-level cache for all columns. */
INLINE void mul_16(const enum pack_kind kind, const uint8_t *g, uint32_t k, const float *x,
		   size_t ldx, unsigned cols, float *y, size_t ldy)
{
	RAW struct sums16 sums[D_COLS];

	memset(sums, 0, cols * sizeof(*sums));
	for (uint32_t i = 0; i < k; i += K16, x += K16, g += 32 * K16) {
		uint32_t n = k - i < K16 ? k - i : K16;
		unsigned c = cols % 2;

		if (c)
			part_16(kind, 1, 0, 2, g, n, x, ldx, sums, true);
		for (; c < cols; c += 2) {
			part_16(kind, 2, 0, 1, g, n, x + c * ldx, ldx, sums + c, c == 0);
			part_16(kind, 2, 1, 1, g, n, x + c * ldx, ldx, sums + c, false);
		}
	}
	for (unsigned i = 0; i < 2 * cols; i++) {
		const __m256 *s = sums[i / 2].s[i % 2];

		_mm256_storeu_ps(
		    y + i / 2 * ldy + i % 2 * 8,
		    _mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
	}
}

KERN_D_MUL(avx2_d_mul_f16)
{
	mul_16(PACK_F16, panel, k, x, ldx, cols, y, ldy);
}

KERN_D_MUL(avx2_d_mul_bf16)
{
	mul_16(PACK_BF16, panel, k, x, ldx, cols, y, ldy);
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
