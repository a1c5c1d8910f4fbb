/* mul512.h - p_mul of a table whose expanded panel is one 512-bit register (16 rows) per 32-bit
 * step of k: a pair of bf16 or one fp32. The including file defines, below its target pragma,
 * MUL_DOT(acc, w, x): acc + the step's products, lane by lane (w: __m512i, x: __m512i of one value).
 * A tile is P panels by C columns; every output is one chain over ascending k, whatever the tile. */
#include <immintrin.h>

#include "cells512.h"

/* x: C columns, ldx bytes apart. */
INLINE void mul_tile(const unsigned P, const unsigned C, const uint8_t *w, size_t stride,
		     uint32_t steps, const uint8_t *x, size_t ldx, float *y, size_t ldy, bool first)
{
	__m512 acc[2 * 12];
	const uint8_t *xs[4] = {x, x + 3 * ldx, x + 6 * ldx, x + 9 * ldx};

#pragma GCC unroll 12
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 2
		for (unsigned p = 0; p < P; p++)
			acc[c * P + p] =
			    first ? _mm512_setzero_ps() : _mm512_loadu_ps(y + c * ldy + 16 * p);
	for (uint32_t i = 0; i < steps; i++) {
		__m512i v[2];

#pragma GCC unroll 2
		for (unsigned p = 0; p < P; p++)
			v[p] = ld512(w + p * stride + (size_t)i * 64);
#pragma GCC unroll 12
		for (unsigned c = 0; c < C; c++) {
			__m512i b = _mm512_set1_epi32(ld32(xs[c / 3] + c % 3 * ldx + (size_t)i * 4));

#pragma GCC unroll 2
			for (unsigned p = 0; p < P; p++)
				acc[c * P + p] = MUL_DOT(acc[c * P + p], v[p], b);
		}
	}
#pragma GCC unroll 12
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 2
		for (unsigned p = 0; p < P; p++)
			_mm512_storeu_ps(y + c * ldy + 16 * p, acc[c * P + p]);
}

/* All columns of P panels: tiles of twelve, the rest in eights and smaller. */
INLINE void mul_cols(const unsigned P, const uint8_t *w, size_t stride, uint32_t steps,
		     const uint8_t *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	unsigned c = 0;

	for (; cols - c >= 12 && cols - c != 16; c += 12)
		mul_tile(P, 12, w, stride, steps, x + c * ldx, ldx, y + c * ldy, ldy, first);
	for (; cols - c >= 8; c += 8)
		mul_tile(P, 8, w, stride, steps, x + c * ldx, ldx, y + c * ldy, ldy, first);
	for (; cols - c >= 4; c += 4)
		mul_tile(P, 4, w, stride, steps, x + c * ldx, ldx, y + c * ldy, ldy, first);
	for (; cols - c >= 2; c += 2)
		mul_tile(P, 2, w, stride, steps, x + c * ldx, ldx, y + c * ldy, ldy, first);
	if (c < cols)
		mul_tile(P, 1, w, stride, steps, x + c * ldx, ldx, y + c * ldy, ldy, first);
}

static void mul_two(const uint8_t *w, size_t stride, uint32_t steps, const uint8_t *x, size_t ldx,
		    unsigned cols, float *y, size_t ldy, bool first)
{
	mul_cols(2, w, stride, steps, x, ldx, cols, y, ldy, first);
}

static void mul_one(const uint8_t *w, uint32_t steps, const uint8_t *x, size_t ldx, unsigned cols,
		    float *y, size_t ldy, bool first)
{
	mul_cols(1, w, 0, steps, x, ldx, cols, y, ldy, first);
}
