/* cells512.h - packed cells (pack.h) in AVX-512 registers. Included below the target pragma of a
 * kernel file, so that it is compiled for the instructions that file may use. A quad is one
 * register: 32-bit lane = row of the panel, bytes = four consecutive k, unsigned as packed. */
#ifndef SP_ENGINE_CELLS512_H
#define SP_ENGINE_CELLS512_H

#include <immintrin.h>
#include <string.h>

#include "pack.h"

#define INLINE static inline __attribute__((always_inline))

#define CELL_Q4_0 288
#define CELL_Q8_0 544
#define CELL_F16 1024
/* an eighth of a group: what one cell's share of it takes */
#define CELL_Q4_K 296
#define CELL_Q5_K 360
#define CELL_Q6_K 420
/* a group of eight cells: where its parts begin */
#define GROUP_Q4_K 2368
#define GROUP_Q5_K 2880
#define GROUP_Q6_K 3360
#define K_SC 64	  /* Q4_K, Q5_K: after d and dmin */
#define K_MN 192
#define K_NIB 320
#define Q5_HI 2368
#define Q6_SC 32
#define Q6_NIB 288
#define Q6_HI 2336

INLINE __m512i ld512(const void *p)
{
	return _mm512_loadu_si512(p);
}

INLINE int ld32(const void *p)
{
	int v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Sixteen half floats, one per row. */
INLINE __m512 halves(const uint8_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* Sixteen bytes, one per row, as floats. */
INLINE __m512 u8_rows(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(
	    _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

INLINE __m512 i8_rows(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(
	    _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* Quads 0..7 of a cell from its nibbles. */
INLINE void quads4(const uint8_t *nib, __m512i q[8])
{
	const __m512i low = _mm512_set1_epi8(15);

#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		__m512i v = ld512(nib + 64 * j);

		q[j] = _mm512_and_si512(v, low);
		q[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
	}
}

INLINE void quads8(const uint8_t *u, __m512i q[8])
{
#pragma GCC unroll 8
	for (int j = 0; j < 8; j++)
		q[j] = ld512(u + 64 * j);
}

#define OR_AND 0xf8 /* ternary logic: a | (b & c) */

/* Bit j of each byte of hi is bit 4 of quad j. */
INLINE void quads5(const uint8_t *nib, const uint8_t *hi, __m512i q[8])
{
	const __m512i bit = _mm512_set1_epi8(16), h = ld512(hi);

	quads4(nib, q);
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		q[j] = _mm512_ternarylogic_epi32(q[j], _mm512_slli_epi16(h, 4 - j), bit, OR_AND);
		q[j + 4] =
		    _mm512_ternarylogic_epi32(q[j + 4], _mm512_srli_epi16(h, j), bit, OR_AND);
	}
}

/* Bits 2i, 2i + 1 of byte t of hi are bits 4 and 5 of quad 4t + i. */
INLINE void quads6(const uint8_t *nib, const uint8_t *hi, __m512i q[8])
{
	const __m512i bits = _mm512_set1_epi8(0x30);

	quads4(nib, q);
#pragma GCC unroll 2
	for (int t = 0; t < 2; t++) {
		__m512i h = ld512(hi + 64 * t), *p = q + 4 * t;

		p[0] = _mm512_ternarylogic_epi32(p[0], _mm512_slli_epi16(h, 4), bits, OR_AND);
		p[1] = _mm512_ternarylogic_epi32(p[1], _mm512_slli_epi16(h, 2), bits, OR_AND);
		p[2] = _mm512_ternarylogic_epi32(p[2], h, bits, OR_AND);
		p[3] = _mm512_ternarylogic_epi32(p[3], _mm512_srli_epi16(h, 2), bits, OR_AND);
	}
}

#endif
