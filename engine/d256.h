/* d256.h - class D (pack.h) with 256-bit registers: 8 rows of a panel at a time, each 32-bit lane
 * four neighbouring k of one row. The including file defines INLINE, D256_NAME(kind) and,
 * below its target pragma, either D256_VNNI (vpdpbusd) or nothing: then products of bytes are added in 16 bits for as long
 * as they cannot overflow: 15, 31 and 63 times 127, two per lane, fit eight, four and two times.
 * Bytes of Q8_0 are split into sign and magnitude there. All sums are exact either way. */
#include <immintrin.h>

#include "ahead.h"
#include "blocks.h"
#include "kern_avx2.h"

/* Eight quads of 8 rows (half h of the panel) of cell c. Offsets stay in, but for Q8_0 without
 * D256_VNNI, which becomes signed. */
INLINE void cell_quads(const enum pack_kind kind, const uint8_t *g, unsigned c, unsigned h,
		       __m256i *w)
{
	const __m256i low = _mm256_set1_epi8(15);
	const uint8_t *nib = g + 32 * h;
	__m256i hi = _mm256_setzero_si256(), t[2];

	if (kind == PACK_Q8_0) {
#pragma GCC unroll 8
		for (unsigned j = 0; j < 8; j++) {
			w[j] = _mm256_loadu_si256((const __m256i *)(nib + 32 + 64 * j));
#ifndef D256_VNNI
			w[j] = _mm256_xor_si256(w[j], _mm256_set1_epi8(-128));
#endif
		}
		return;
	}
	nib += kind == PACK_Q4_0 ? 32 : (kind == PACK_Q6_K ? 288 : 320) + 256 * c;
#pragma GCC unroll 4
	for (unsigned j = 0; j < 4; j++) {
		__m256i b = _mm256_loadu_si256((const __m256i *)(nib + 64 * j));

		w[j] = _mm256_and_si256(b, low);
		w[j + 4] = _mm256_and_si256(_mm256_srli_epi16(b, 4), low);
	}
	if (kind == PACK_Q5_K)
		hi = _mm256_loadu_si256((const __m256i *)(g + 2368 + 64 * c + 32 * h));
	if (kind == PACK_Q6_K)
		for (unsigned i = 0; i < 2; i++)
			t[i] = _mm256_loadu_si256(
			    (const __m256i *)(g + 2336 + 128 * c + 64 * i + 32 * h));
#pragma GCC unroll 8
	for (unsigned j = 0; j < 8; j++) {
		if (kind == PACK_Q5_K) /* bit j to bit 4 of its byte; the mask takes the rest off */
			w[j] = _mm256_or_si256(
			    w[j], _mm256_and_si256(j < 4 ? _mm256_slli_epi16(hi, 4 - (int)j)
							 : _mm256_srli_epi16(hi, (int)j - 4),
						   _mm256_set1_epi8(16)));
		if (kind == PACK_Q6_K) /* bits 2i and 2i + 1 to 4 and 5, i = j mod 4 */
			w[j] = _mm256_or_si256(
			    w[j],
			    _mm256_and_si256(j % 4 < 2
						 ? _mm256_slli_epi16(t[j / 4], 4 - 2 * (int)(j % 4))
						 : _mm256_srli_epi16(t[j / 4], 2 * (int)(j % 4) - 4),
					     _mm256_set1_epi8(48)));
	}
}

INLINE __m256i quad_of(const int8_t *q)
{
	int32_t v;

	memcpy(&v, q, 4);
	return _mm256_set1_epi32(v);
}

/* Sums over n quads (a constant) of weights times activations. */
INLINE __m256i dots(const enum pack_kind kind, const __m256i *w, const int8_t *q, const unsigned n)
{
	__m256i sum = _mm256_setzero_si256();

#ifdef D256_VNNI
#pragma GCC unroll 8
	for (unsigned j = 0; j < n; j++)
		sum = _mm256_dpbusd_avx_epi32(sum, w[j], quad_of(q + 4 * j));
#else
	const __m256i ones = _mm256_set1_epi16(1);
	const unsigned run = kind == PACK_Q8_0 ? 1 : kind == PACK_Q6_K ? 2 : kind == PACK_Q5_K ? 4 : 8;

#pragma GCC unroll 8
	for (unsigned j = 0; j < n; j += run) {
		__m256i s = _mm256_setzero_si256();

#pragma GCC unroll 8
		for (unsigned i = j; i < j + run; i++) {
			__m256i x = quad_of(q + 4 * i);

			if (kind == PACK_Q8_0)
				s = _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]),
							 _mm256_sign_epi8(x, w[i]));
			else
				s = _mm256_add_epi16(s, _mm256_maddubs_epi16(w[i], x));
		}
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(s, ones));
	}
#endif
	return sum;
}

/* What the offset adds to a sum whose activations sum to x. */
INLINE __m256i offset_of(const enum pack_kind kind, int32_t x)
{
	int32_t offset = kind == PACK_Q4_0 ? 8 : kind == PACK_Q6_K ? 32 : 0;

#ifdef D256_VNNI
	if (kind == PACK_Q8_0)
		offset = 128;
#endif
	return _mm256_set1_epi32(offset * x);
}

INLINE __m256 halves8(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
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

struct scales8 {
	__m256 a, b; /* d; or d sc and dmin mn; or d sc of both halves of a cell */
};

INLINE struct scales8 cell_scales(const enum pack_kind kind, const uint8_t *g, unsigned c,
				  unsigned h)
{
	struct scales8 s = {halves8(g + 16 * h), _mm256_setzero_ps()};
	const uint8_t *p = g + 8 * h;

	if (kind == PACK_Q4_K || kind == PACK_Q5_K) {
		s.a = u8_scale(p + 64 + 16 * c, s.a);
		s.b = u8_scale(p + 192 + 16 * c, halves8(g + 32 + 16 * h));
	}
	if (kind == PACK_Q6_K) {
		__m256 d = s.a;

		s.a = i8_scale(p + 32 + 32 * c, d);
		s.b = i8_scale(p + 48 + 32 * c, d);
	}
	return s;
}

/* acc = fma(sum less its offset, d * dx, acc) */
INLINE __m256 scaled(__m256 acc, __m256i sum, __m256i offset, __m256 d, float dx)
{
	return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sum, offset)),
			       _mm256_mul_ps(d, _mm256_set1_ps(dx)), acc);
}

INLINE __m256 one_cell(const enum pack_kind kind, const __m256i *w, const struct scales8 s,
		       const struct dblock *v, __m256 acc)
{
	if (kind == PACK_Q6_K) {
		acc = scaled(acc, dots(kind, w, v->q, 4), offset_of(kind, v->lo), s.a, v->dx);
		return scaled(acc, dots(kind, w + 4, v->q + 16, 4), offset_of(kind, v->hi), s.b,
			      v->dx);
	}
	acc = scaled(acc, dots(kind, w, v->q, 8), offset_of(kind, v->lo + v->hi), s.a, v->dx);
	if (kind == PACK_Q4_K || kind == PACK_Q5_K)
		acc = _mm256_fnmadd_ps(s.b, _mm256_set1_ps(v->sx), acc);
	return acc;
}

/* One column: its sums stay in registers. */
INLINE void d_one(const enum pack_kind kind, const uint8_t *g, uint32_t k, const struct dblock *x,
		  float *y)
{
	const unsigned cells = pack_cells(kind);
	const size_t bytes = pack_bytes(kind) / cells; /* of a cell */
	__m256 acc[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
	RAW __m256i w[8];

	for (uint32_t at = 0; at < k; at += 32 * cells, g += pack_bytes(kind))
		for (unsigned c = 0; c < cells; c++, x++) {
			fetch(kind, false, g + bytes * c, bytes);
#pragma GCC unroll 2
			for (unsigned h = 0; h < 2; h++) {
				cell_quads(kind, g, c, h, w);
				acc[h] = one_cell(kind, w, cell_scales(kind, g, c, h), x, acc[h]);
			}
		}
	_mm256_storeu_ps(y, acc[0]);
	_mm256_storeu_ps(y + 8, acc[1]);
}

INLINE void d_mul(const enum pack_kind kind, const uint8_t *g, uint32_t k, const void *xs,
		  size_t ldx, unsigned cols, float *y, size_t ldy)
{
	const unsigned cells = pack_cells(kind);
	const size_t bytes = pack_bytes(kind) / cells; /* of a cell */
	const struct dblock *x = xs;
	RAW __m256 acc[2 * D_COLS];
	RAW __m256i w[8];

	if (cols == 1) {
		d_one(kind, g, k, x, y);
		return;
	}
	for (unsigned i = 0; i < 2 * cols; i++)
		acc[i] = _mm256_setzero_ps();
	for (uint32_t at = 0; at < k; at += 32 * cells, g += pack_bytes(kind))
		for (unsigned c = 0; c < cells; c++, x++) {
			fetch(kind, false, g + bytes * c, bytes);
			for (unsigned h = 0; h < 2; h++) {
				struct scales8 s = cell_scales(kind, g, c, h);

				cell_quads(kind, g, c, h, w);
				for (unsigned i = 0; i < cols; i++)
					acc[2 * i + h] =
					    one_cell(kind, w, s, x + i * ldx, acc[2 * i + h]);
			}
		}
	for (unsigned i = 0; i < 2 * cols; i++)
		_mm256_storeu_ps(y + i / 2 * ldy + i % 2 * 8, acc[i]);
}

#define D256(name, kind)                                                                           \
	void D256_NAME(name)(const uint8_t *g, uint32_t k, const void *x, size_t ldx,              \
			     unsigned cols, float *y, size_t ldy)                                  \
	{                                                                                          \
		d_mul(kind, g, k, x, ldx, cols, y, ldy);                                           \
	}
D256(q4_0, PACK_Q4_0)
D256(q8_0, PACK_Q8_0)
D256(q4_k, PACK_Q4_K)
D256(q5_k, PACK_Q5_K)
D256(q6_k, PACK_Q6_K)
