/* kern_avx512d.c - class D with AVX-512 VNNI: see pack.h for what each kind computes. A cell is
 * unpacked once for all columns and its eight quads stay in registers; the columns' accumulators
 * are one register for a single column and in first-level cache for more. */
#include "kern_avx512.h"

#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))),        \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#endif
#include "ahead.h"
#include "cells512.h"

/* sum[c] += quads from..to - 1 of the cell times N columns' activations. */
INLINE void dots(const unsigned N, const __m512i q[8], const unsigned from, const unsigned to,
		 const struct dblock *x, size_t ldx, __m512i sum[4])
{
#pragma GCC unroll 8
	for (unsigned j = from; j < to; j++)
#pragma GCC unroll 4
		for (unsigned c = 0; c < N; c++)
			sum[c] = _mm512_dpbusd_epi32(sum[c], q[j],
						     _mm512_set1_epi32(ld32(x[c * ldx].q + 4 * j)));
}

/* What a cell is to its columns: unsigned quads, their offset, scales and minima by row. */
struct cell {
	__m512i q[8];
	__m512 s[2]; /* of quads 0-3, 4-7 for HALVES; else s[0] of all */
	__m512 min;
};
enum form { PLAIN, MINIMA, HALVES };

/* The sums of half h of a cell (the whole one but for HALVES) onto those of N columns. */
INLINE void half_cell(const enum form f, const int off, const unsigned N, const unsigned h,
		      const struct cell *w, const struct dblock *x, size_t ldx, __m512 *a)
{
	const unsigned step = f == HALVES ? 4 : 8;
	RAW __m512i sum[4];

#pragma GCC unroll 4
	for (unsigned c = 0; c < N; c++) {
		const struct dblock *b = x + c * ldx;
		int q = f == HALVES ? h ? b->hi : b->lo : b->lo + b->hi;

		sum[c] = off ? _mm512_set1_epi32(-off * q) : _mm512_setzero_si512();
	}
	dots(N, w->q, h * step, h * step + step, x, ldx, sum);
#pragma GCC unroll 4
	for (unsigned c = 0; c < N; c++) {
		__m512 s = _mm512_mul_ps(w->s[h], _mm512_set1_ps(x[c * ldx].dx));

		a[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[c]), s, a[c]);
		if (f == MINIMA)
			a[c] = _mm512_fnmadd_ps(w->min, _mm512_set1_ps(x[c * ldx].sx), a[c]);
	}
}

INLINE void columns(const enum form f, const int off, const unsigned N, const struct cell *w,
		    const struct dblock *x, size_t ldx, float *acc)
{
	RAW __m512 a[4];

#pragma GCC unroll 4
	for (unsigned c = 0; c < N; c++)
		a[c] = _mm512_loadu_ps(acc + 16 * c);
	half_cell(f, off, N, 0, w, x, ldx, a);
	if (f == HALVES)
		half_cell(f, off, N, 1, w, x, ldx, a);
#pragma GCC unroll 4
	for (unsigned c = 0; c < N; c++)
		_mm512_storeu_ps(acc + 16 * c, a[c]);
}

/* One cell times all columns; block b of x. */
INLINE void cell_columns(const enum form f, const int off, const struct cell *w,
			 const struct dblock *x, size_t ldx, unsigned cols, float *acc)
{
	unsigned c = 0;

	for (; c + 4 <= cols; c += 4)
		columns(f, off, 4, w, x + c * ldx, ldx, acc + (size_t)16 * c);
	for (; c + 2 <= cols; c += 2)
		columns(f, off, 2, w, x + c * ldx, ldx, acc + (size_t)16 * c);
	if (c < cols)
		columns(f, off, 1, w, x + c * ldx, ldx, acc + (size_t)16 * c);
}

INLINE size_t group_bytes(const enum pack_kind kind)
{
	switch (kind) {
	case PACK_Q4_0:
		return CELL_Q4_0;
	case PACK_Q8_0:
		return CELL_Q8_0;
	case PACK_Q4_K:
		return GROUP_Q4_K;
	case PACK_Q5_K:
		return GROUP_Q5_K;
	default:
		return GROUP_Q6_K;
	}
}

/* Cell c of the group at p; `one` column will use it. */
INLINE void unpack(const enum pack_kind kind, const bool one, const uint8_t *p, unsigned c,
		   struct cell *w)
{
	switch (kind) {
	case PACK_Q4_0:
		fetch(kind, one, p, CELL_Q4_0);
		w->s[0] = halves(p);
		quads4(p + 32, w->q);
		return;
	case PACK_Q8_0:
		fetch(kind, one, p, CELL_Q8_0);
		w->s[0] = halves(p);
		quads8(p + 32, w->q);
		return;
	case PACK_Q6_K:
		fetch(kind, one, p + (size_t)CELL_Q6_K * c, CELL_Q6_K);
		w->s[0] = _mm512_mul_ps(halves(p), i8_rows(p + Q6_SC + 32 * c));
		w->s[1] = _mm512_mul_ps(halves(p), i8_rows(p + Q6_SC + 32 * c + 16));
		quads6(p + Q6_NIB + 256 * c, p + Q6_HI + 128 * c, w->q);
		return;
	case PACK_Q5_K:
		fetch(kind, one, p + (size_t)CELL_Q5_K * c, CELL_Q5_K);
		quads5(p + K_NIB + 256 * c, p + Q5_HI + 64 * c, w->q);
		break;
	default:
		fetch(kind, one, p + (size_t)CELL_Q4_K * c, CELL_Q4_K);
		quads4(p + K_NIB + 256 * c, w->q);
	}
	w->s[0] = _mm512_mul_ps(halves(p), u8_rows(p + K_SC + 16 * c));
	w->min = _mm512_mul_ps(halves(p + 32), u8_rows(p + K_MN + 16 * c));
}

INLINE void panel_columns(const enum pack_kind kind, const enum form f, const int off,
			  const uint8_t *p, uint32_t k, const struct dblock *x, size_t ldx,
			  const unsigned cols, float *y, size_t ldy)
{
	const unsigned cells = kind == PACK_Q4_0 || kind == PACK_Q8_0 ? 1 : 8;
	RAW float acc[D_COLS * PACK_ROWS];
	RAW struct cell w;

	for (unsigned c = 0; c < cols; c++)
		_mm512_storeu_ps(acc + (size_t)16 * c, _mm512_setzero_ps());
	for (uint32_t i = 0; i < k; i += cells * PACK_K, p += group_bytes(kind))
		for (unsigned c = 0; c < cells; c++, x++) {
			unpack(kind, cols == 1, p, c, &w);
			cell_columns(f, off, &w, x, ldx, cols, acc);
		}
	for (unsigned c = 0; c < cols; c++)
		_mm512_storeu_ps(y + c * ldy, _mm512_loadu_ps(acc + (size_t)16 * c));
}

#define D_MUL(name, kind, form, off)                                                               \
	void name(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,      \
		  float *y, size_t ldy)                                                            \
	{                                                                                          \
		if (cols == 1)                                                                     \
			panel_columns(kind, form, off, panel, k, x, ldx, 1, y, ldy);               \
		else                                                                               \
			panel_columns(kind, form, off, panel, k, x, ldx, cols, y, ldy);            \
	}

D_MUL(d512_q4_0, PACK_Q4_0, PLAIN, 8)
D_MUL(d512_q8_0, PACK_Q8_0, PLAIN, 128)
D_MUL(d512_q4_k, PACK_Q4_K, MINIMA, 0)
D_MUL(d512_q5_k, PACK_Q5_K, MINIMA, 0)
D_MUL(d512_q6_k, PACK_Q6_K, HALVES, 32)

/* Two floats of x for every row: 1, 2, 1, 2, ... */
INLINE __m512 two(const float *x)
{
	int64_t v;

	memcpy(&v, x, sizeof(v));
	return _mm512_castsi512_ps(_mm512_set1_epi64(v));
}

/* Rows 8h..8h + 7 of one k pair as floats, [row][k even, odd]. */
INLINE __m512 pair_rows(const bool f16, const uint8_t *p, unsigned h)
{
	const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * h));

	return f16 ? _mm512_cvtph_ps(v)
		   : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

/* `n` k (a multiple of 4) of N columns, the first ones ask for the weights ahead; acc[c][k mod 4 /
 * 2][half of the rows]. */
INLINE void float_columns(const bool f16, const unsigned N, const uint8_t *p, uint32_t n,
			  const float *x, size_t ldx, __m512 (*acc)[2][2], bool first,
			  const bool one)
{
	RAW __m512 a[4][2][2];

#pragma GCC unroll 16
	for (unsigned i = 0; i < 4 * N; i++)
		a[i / 4][i / 2 % 2][i % 2] = acc[i / 4][i / 2 % 2][i % 2];
	for (uint32_t k = 0; k < n; k += 4, p += 128) {
		if (first)
			fetch(PACK_BF16, one, p, 128);
#pragma GCC unroll 2
		for (unsigned j = 0; j < 2; j++) {
			__m512 w0 = pair_rows(f16, p + 64 * j, 0),
			       w1 = pair_rows(f16, p + 64 * j, 1);

#pragma GCC unroll 4
			for (unsigned c = 0; c < N; c++) {
				__m512 v = two(x + c * ldx + k + 2 * j);

				a[c][j][0] = _mm512_fmadd_ps(w0, v, a[c][j][0]);
				a[c][j][1] = _mm512_fmadd_ps(w1, v, a[c][j][1]);
			}
		}
	}
#pragma GCC unroll 16
	for (unsigned i = 0; i < 4 * N; i++)
		acc[i / 4][i / 2 % 2][i % 2] = a[i / 4][i / 2 % 2][i % 2];
}

/* (s0 + s1) + (s2 + s3) of each row. */
INLINE __m512 four_sums(__m512 acc[2][2])
{
	const __m512i even =
	    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	const __m512i odd =
	    _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
	RAW __m512 s[2];

	for (int j = 0; j < 2; j++)
		s[j] = _mm512_add_ps(_mm512_permutex2var_ps(acc[j][0], even, acc[j][1]),
				     _mm512_permutex2var_ps(acc[j][0], odd, acc[j][1]));
	return _mm512_add_ps(s[0], s[1]);
}

/* 256 k at a time, so that their weights stay in the first-level cache for all columns. */
INLINE void float_panel(const bool f16, const uint8_t *p, uint32_t k, const float *x, size_t ldx,
			const unsigned cols, float *y, size_t ldy)
{
	const bool one = __builtin_constant_p(cols) && cols == 1;
	RAW __m512 acc[D_COLS][2][2];

	for (unsigned c = 0; c < cols; c++)
		acc[c][0][0] = acc[c][0][1] = acc[c][1][0] = acc[c][1][1] = _mm512_setzero_ps();
	for (uint32_t i = 0; i < k; i += 256) {
		uint32_t n = k - i < 256 ? k - i : 256;
		unsigned c = 0;

		for (; c + 4 <= cols; c += 4)
			float_columns(f16, 4, p + (size_t)i * 32, n, x + c * ldx + i, ldx, acc + c,
				      c == 0, one);
		for (; c + 2 <= cols; c += 2)
			float_columns(f16, 2, p + (size_t)i * 32, n, x + c * ldx + i, ldx, acc + c,
				      c == 0, one);
		for (; c < cols; c++)
			float_columns(f16, 1, p + (size_t)i * 32, n, x + c * ldx + i, ldx, acc + c,
				      c == 0, one);
	}
	for (unsigned c = 0; c < cols; c++)
		_mm512_storeu_ps(y + c * ldy, four_sums(acc[c]));
}

void d512_f16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	      size_t ldy)
{
	if (cols == 1)
		float_panel(true, panel, k, x, ldx, 1, y, ldy);
	else
		float_panel(true, panel, k, x, ldx, cols, y, ldy);
}

void d512_bf16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols, float *y,
	       size_t ldy)
{
	if (cols == 1)
		float_panel(false, panel, k, x, ldx, 1, y, ldy);
	else
		float_panel(false, panel, k, x, ldx, cols, y, ldy);
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
