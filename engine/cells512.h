/* cells512.h - packed cells (pack.h) in AVX-512 registers. Included below the target pragma of a
 * kernel file, so that it is compiled for the instructions that file may use. A quad is one
 * register: 32-bit lane = row of the panel, bytes = four consecutive k, unsigned as packed. */
#ifndef SP_ENGINE_CELLS512_H
#define SP_ENGINE_CELLS512_H

#include <immintrin.h>
#include <string.h>

#include "pack.h"
#include "raw.h"

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

/* For class P: asks for weights ahead of their use. They come from memory in short runs between
 * products, too short for the hardware to see them coming. */
INLINE void soon(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		_mm_prefetch((const char *)p + 6144 + i, _MM_HINT_T0);
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

/* 16 x 16 words of 32 bits: r[i] word j becomes r[j] word i. */
INLINE void transpose16(__m512i r[16])
{
	RAW __m512i t[16];

	/* within 128-bit lanes, four rows at a time: t[4a + j] lane l = column 4l + j of rows 4a.. */
#pragma GCC unroll 4
	for (int a = 0; a < 16; a += 4) {
		__m512i lo0 = _mm512_unpacklo_epi32(r[a], r[a + 1]);
		__m512i hi0 = _mm512_unpackhi_epi32(r[a], r[a + 1]);
		__m512i lo1 = _mm512_unpacklo_epi32(r[a + 2], r[a + 3]);
		__m512i hi1 = _mm512_unpackhi_epi32(r[a + 2], r[a + 3]);

		t[a] = _mm512_unpacklo_epi64(lo0, lo1);
		t[a + 1] = _mm512_unpackhi_epi64(lo0, lo1);
		t[a + 2] = _mm512_unpacklo_epi64(hi0, hi1);
		t[a + 3] = _mm512_unpackhi_epi64(hi0, hi1);
	}
	/* then the lanes: lane l of t[j], t[4 + j], t[8 + j], t[12 + j] make row 4l + j */
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++) {
		__m512i a = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x44);
		__m512i b = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xee);
		__m512i c = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x44);
		__m512i d = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xee);

		r[j] = _mm512_shuffle_i32x4(a, c, 0x88);
		r[4 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
		r[8 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
		r[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}

#endif
