/* kern_avx2i.c - class P of the AVX2 table in 16-bit integers (P_I16): vpmaddwd multiplies and adds
 * twice as many numbers an instruction as FMA does.
 *
 * Activations: 128 bytes per 32 k: int16 q[32], then fp32 dx and sx = dx * sum of q; q is the
 * nearest to x * (TOP_X / amax). Weights: 1216 bytes per cell of 32 k x 16 rows: int16 [16 pairs of
 * k][16 rows][2], fp32 d[16], fp32 m[16], int32: some m is not 0; the weight is q d - m. Quantised
 * types keep their own integers (Q6_K: times its scale, at most 4096); others are rounded to 4096
 * steps. A cell's sum is exact: 32 * TOP_X * 4096 < 2^31. Then acc = fma(sum, d dx, acc) and
 * acc = fma(-m, sx, acc), cells ascending. What is not finite makes d or dx so, and 0 times it NaN.
 * As in kern_avx2.c, only functions below the pragma may use these instructions. */
#include "kern_avx2.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "blocks.h"

#define TOP_X 16383.0f
#define TOP_W 4096.0f
#define SMALLEST 0x08800000 /* 2^-110: TOP_X / amax stays finite */
#define CELL 1216	    /* an odd number of lines */

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

INLINE void store8(uint8_t *p, __m256i v)
{
	_mm256_storeu_si256((__m256i *)p, v);
}

INLINE __m256i magnitude(__m256 v)
{
	return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}

/* ---- activations ---- */

static void form_block(const float *x, uint8_t *out)
{
	__m256i top = _mm256_setzero_si256(), q[4], sum;
	__m128i s;
	uint32_t most;
	float dx, sx = 0;

	for (int i = 0; i < 4; i++)
		top = _mm256_max_epi32(top, magnitude(_mm256_loadu_ps(x + 8 * i)));
	s = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
	s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1));
	most = (uint32_t)_mm_cvtsi128_si32(s);
	dx = bits_f32(most) / TOP_X;
	if (most >= 0x7f800000u || most < SMALLEST) {
		memset(out, 0, 128);
		dx = most < SMALLEST ? 0 : dx;
		sx = dx * 0.0f;
	} else {
		__m256 inv = _mm256_set1_ps(TOP_X / bits_f32(most));

		for (int i = 0; i < 4; i++)
			q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inv));
		store8(out, _mm256_permute4x64_epi64(_mm256_packs_epi32(q[0], q[1]), 0xd8));
		store8(out + 32, _mm256_permute4x64_epi64(_mm256_packs_epi32(q[2], q[3]), 0xd8));
		sum = _mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
		s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
		s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
		s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
		sx = dx * (float)_mm_cvtsi128_si32(s);
	}
	memcpy(out + 64, &dx, 4);
	memcpy(out + 68, &sx, 4);
}

void avx2i_p_form_x(const float *x, void *out, size_t n)
{
	for (size_t i = 0; i < n; i += 32)
		form_block(x + i, (uint8_t *)out + 4 * i);
}

/* ---- weights ---- */

INLINE __m256 halves8(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE __m256 u8_scale(const uint8_t *p, __m256 d)
{
	__m128i b = _mm_loadl_epi64((const __m128i *)p);

	return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)));
}

/* Scale and minimum of half h of a cell. */
INLINE void put_scales(uint8_t *out, unsigned h, __m256 d, __m256 m, int32_t any)
{
	_mm256_storeu_ps((float *)(void *)(out + 1024 + 32 * h), d);
	_mm256_storeu_ps((float *)(void *)(out + 1088 + 32 * h), m);
	memcpy(out + 1152, &any, 4);
}

/* Four k of eight rows, unsigned bytes, less an offset, times 16-bit factors where there are any.
 */
INLINE void put_quad(uint8_t *out, __m256i v, const int offset, const bool times, __m256i factor)
{
	const __m256i first =
	    _mm256_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0, -1, 1, -1,
			     4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1);
	const __m256i second =
	    _mm256_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1, 2, -1, 3,
			     -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1);
	__m256i a = _mm256_shuffle_epi8(v, first), b = _mm256_shuffle_epi8(v, second);

	if (offset) {
		a = _mm256_sub_epi16(a, _mm256_set1_epi16((short)offset));
		b = _mm256_sub_epi16(b, _mm256_set1_epi16((short)offset));
	}
	if (times) {
		a = _mm256_mullo_epi16(a, factor);
		b = _mm256_mullo_epi16(b, factor);
	}
	store8(out, a);
	store8(out + 64, b);
}

/* Byte quad j of half h of a cell, bits above the nibbles put on. */
INLINE __m256i quad(const enum pack_kind kind, const uint8_t *nib, const uint8_t *hi,
		    const unsigned j)
{
	__m256i v = load8(nib + 64 * (kind == PACK_Q8_0 ? j : j % 4)), t;

	if (kind == PACK_Q8_0)
		return v;
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

/* Both 16-bit halves of each lane: the row's scale. */
INLINE __m256i factors(const uint8_t *sc)
{
	__m256i v = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)sc));

	return _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)),
			       _mm256_slli_epi32(v, 16));
}

/* Asks for weights ahead of their use: they come from memory in short runs between products, too
 * short for the hardware to see them coming. */
INLINE void soon(const uint8_t *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		_mm_prefetch((const char *)p + 6144 + i, _MM_HINT_T0);
}

INLINE int offset_of(const enum pack_kind kind)
{
	return kind == PACK_Q4_0 ? 8 : kind == PACK_Q8_0 ? 128 : kind == PACK_Q6_K ? 32 : 0;
}

INLINE void expand(const enum pack_kind kind, const uint8_t *g, uint32_t k, uint8_t *out)
{
	const unsigned cells = pack_cells(kind);
	const size_t share = pack_bytes(kind) / cells / 2;
	const int offset = offset_of(kind);

	for (uint32_t at = 0; at < k; at += 32 * cells, g += pack_bytes(kind))
		for (unsigned c = 0; c < cells; c++, out += CELL)
			for (unsigned h = 0; h < 2; h++) {
				const uint8_t *p = g + 8 * h + 16 * c, *hi = g + 32 * h, *nib = hi;
				__m256 d = halves8(g + 16 * h), m = _mm256_setzero_ps();
				__m256i f[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

				soon(g + share * (2 * c + h), share);
				if (kind == PACK_Q4_K || kind == PACK_Q5_K) {
					d = u8_scale(p + 64, d);
					m = u8_scale(p + 192, halves8(g + 32 + 16 * h));
					nib += 320 + 256 * c;
					hi += 2368 + 64 * c;
				} else if (kind == PACK_Q6_K) {
					f[0] = factors(p + 32 + 16 * c);
					f[1] = factors(p + 48 + 16 * c);
					nib += 288 + 256 * c;
					hi += 2336 + 128 * c;
				} else {
					nib += 32;
				}
				put_scales(out, h, d, m, kind == PACK_Q4_K || kind == PACK_Q5_K);
#pragma GCC unroll 8
				for (unsigned j = 0; j < 8; j++)
					put_quad(out + 32 * h + 128 * j, quad(kind, nib, hi, j),
						 offset, kind == PACK_Q6_K, f[j / 4]);
			}
}

KERN_P_EXPAND(avx2i_p_expand_q4_0)
{
	expand(PACK_Q4_0, groups, k, out);
}

KERN_P_EXPAND(avx2i_p_expand_q8_0)
{
	expand(PACK_Q8_0, groups, k, out);
}

KERN_P_EXPAND(avx2i_p_expand_q4_k)
{
	expand(PACK_Q4_K, groups, k, out);
}

KERN_P_EXPAND(avx2i_p_expand_q5_k)
{
	expand(PACK_Q5_K, groups, k, out);
}

KERN_P_EXPAND(avx2i_p_expand_q6_k)
{
	expand(PACK_Q6_K, groups, k, out);
}

/* A cell of fp32, [32 k][16 rows], rounded row by row. */
static void round_cell(const float *w, uint8_t *out)
{
	for (unsigned h = 0; h < 2; h++) {
		__m256i top = _mm256_setzero_si256(), ok, none;
		__m256 inv, d;

		for (int i = 0; i < 32; i++)
			top = _mm256_max_epi32(top, magnitude(_mm256_loadu_ps(w + 16 * i + 8 * h)));
		none = _mm256_cmpgt_epi32(_mm256_set1_epi32(SMALLEST), top);
		ok = _mm256_andnot_si256(none,
					 _mm256_cmpgt_epi32(_mm256_set1_epi32(0x7f800000), top));
		inv = _mm256_div_ps(_mm256_set1_ps(TOP_W), _mm256_castsi256_ps(top));
		inv = _mm256_and_ps(inv, _mm256_castsi256_ps(ok));
		d = _mm256_div_ps(_mm256_castsi256_ps(top), _mm256_set1_ps(TOP_W));
		d = _mm256_andnot_ps(_mm256_castsi256_ps(none), d);
		put_scales(out, h, d, _mm256_setzero_ps(), 0);
		for (int i = 0; i < 16; i++) {
			const float *v = w + 32 * i + 8 * h;
			/* what is no number becomes 0x80000000, of which 16 bits are 0 */
			__m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(v), inv));
			__m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(v + 16), inv));

			a = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
			store8(out + 64 * i + 32 * h, _mm256_or_si256(a, _mm256_slli_epi32(b, 16)));
		}
	}
}

KERN_P_EXPAND(avx2i_p_expand_f16)
{
	RAW float w[512];

	for (uint32_t at = 0; at < k; at += 32) {
		avx2_p_expand_f16(groups + (size_t)at / 32 * 1024, 32, w);
		round_cell(w, (uint8_t *)out + (size_t)at / 32 * CELL);
	}
}

KERN_P_EXPAND(avx2i_p_expand_bf16)
{
	RAW float w[512];

	for (uint32_t at = 0; at < k; at += 32) {
		avx2_p_expand_bf16(groups + (size_t)at / 32 * 1024, 32, w);
		round_cell(w, (uint8_t *)out + (size_t)at / 32 * CELL);
	}
}

void avx2i_p_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out)
{
	RAW float cell[512];

	for (uint32_t at = 0; at < k; at += 32) {
		avx2_p_from_f32(w + at, ldw, n, 32, cell);
		round_cell(cell, (uint8_t *)out + (size_t)at / 32 * CELL);
	}
}

/* ---- products ---- */

INLINE __m256i pair_of(const uint8_t *x)
{
	int32_t v;

	memcpy(&v, x, 4);
	return _mm256_set1_epi32(v);
}

/* y += sum * d dx - m sx, of eight rows. */
INLINE void add_cell(float *y, __m256i sum, const float *d, const float *s, int32_t any)
{
	__m256 a = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
				   _mm256_mul_ps(_mm256_loadu_ps(d), _mm256_broadcast_ss(s)),
				   _mm256_loadu_ps(y));

	if (any)
		a = _mm256_fnmadd_ps(_mm256_loadu_ps(d + 16), _mm256_broadcast_ss(s + 1), a);
	_mm256_storeu_ps(y, a);
}

/* Column c's sums of both halves go on by a pair of k; named variables stay in registers. */
#define GO_ON(c)                                                                                   \
	if (C > c) {                                                                               \
		__m256i v = pair_of(x + c * ldx + 4 * p);                                          \
                                                                                                   \
		lo##c = _mm256_add_epi32(lo##c, _mm256_madd_epi16(lo, v));                         \
		hi##c = _mm256_add_epi32(hi##c, _mm256_madd_epi16(hi, v));                         \
	}
#define ADD_UP(c)                                                                                  \
	if (C > c) {                                                                               \
		const float *s = (const float *)(const void *)(x + c * ldx + 64);                  \
                                                                                                   \
		add_cell(y + c * ldy, lo##c, d, s, any);                                           \
		add_cell(y + c * ldy + 8, hi##c, d + 8, s, any);                                   \
	}

/* A panel by C columns, ldx bytes apart: the sums of a cell have the registers, y stays where it
 * is. */
INLINE void mul_tile(const unsigned C, const uint8_t *w, uint32_t k, const uint8_t *x, size_t ldx,
		     float *y, size_t ldy, bool first)
{
	if (first)
		for (unsigned i = 0; i < 2 * C; i++)
			_mm256_storeu_ps(y + i / 2 * ldy + i % 2 * 8, _mm256_setzero_ps());
	for (; k; k -= 32, w += CELL, x += 128) {
		const float *d = (const float *)(const void *)(w + 1024);
		__m256i lo0 = _mm256_setzero_si256(), lo1 = lo0, lo2 = lo0, lo3 = lo0;
		__m256i hi0 = lo0, hi1 = lo0, hi2 = lo0, hi3 = lo0;
		int32_t any;

		memcpy(&any, w + 1152, 4);
#pragma GCC unroll 8
		for (unsigned p = 0; p < 16; p++) {
			__m256i lo = load8(w + 64 * p), hi = load8(w + 64 * p + 32);

			GO_ON(0)
			GO_ON(1)
			GO_ON(2)
			GO_ON(3)
		}
		ADD_UP(0)
		ADD_UP(1)
		ADD_UP(2)
		ADD_UP(3)
	}
}

void avx2i_p_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		 const void *xs, size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	const uint8_t *w = panels;

	for (unsigned p = 0; p < n_panels; p++, w += panel_stride, y += 16) {
		const uint8_t *x = xs;
		size_t ld = 4 * ldx;
		unsigned c = 0;

		for (; cols - c >= 4; c += 4)
			mul_tile(4, w, k, x + c * ld, ld, y + c * ldy, ldy, first);
		for (; cols - c >= 2; c += 2)
			mul_tile(2, w, k, x + c * ld, ld, y + c * ldy, ldy, first);
		if (c < cols)
			mul_tile(1, w, k, x + c * ld, ld, y + c * ldy, ldy, first);
	}
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
