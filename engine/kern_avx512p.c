/* kern_avx512p.c - class P in fp32 with AVX-512: what a weight's type says, multiplied by FMA. */
#include "kern_avx512.h"

#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq"))),                   \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")
#endif
#define MUL_DOT(acc, w, x) _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), acc)
#include "mul512.h"

/* Four k of sixteen rows: u s - c, one rounding; c = offset s or the minimum, both exact. */
INLINE void quad_floats(__m512i q, __m512 s, __m512 c, float *out)
{
	const __m512i byte = _mm512_set1_epi32(255);

#pragma GCC unroll 4
	for (unsigned e = 0; e < 4; e++) {
		__m512i u = _mm512_srli_epi32(q, 8 * e);

		if (e < 3)
			u = _mm512_and_si512(u, byte);
		_mm512_storeu_ps(out + 16 * e, _mm512_fmsub_ps(_mm512_cvtepi32_ps(u), s, c));
	}
}

INLINE void cell_floats(const __m512i q[8], __m512 s, __m512 c, float *out)
{
#pragma GCC unroll 8
	for (unsigned j = 0; j < 8; j++)
		quad_floats(q[j], s, c, out + 64 * j);
}

INLINE __m512 times(__m512 v, float f)
{
	return _mm512_mul_ps(v, _mm512_set1_ps(f));
}

void p512_q4_0(const uint8_t *p, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += PACK_K, p += CELL_Q4_0, out += 512) {
		__m512 d = halves(p);
		RAW __m512i q[8];

		soon(p, CELL_Q4_0);
		quads4(p + 32, q);
		cell_floats(q, d, times(d, 8), out);
	}
}

void p512_q8_0(const uint8_t *p, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += PACK_K, p += CELL_Q8_0, out += 512) {
		__m512 d = halves(p);
		RAW __m512i q[8];

		soon(p, CELL_Q8_0);
		quads8(p + 32, q);
		cell_floats(q, d, times(d, 128), out);
	}
}

INLINE void k_cell(const uint8_t *p, unsigned c, const __m512i q[8], __m512 d, __m512 dmin,
		   float *out)
{
	cell_floats(q, _mm512_mul_ps(d, u8_rows(p + K_SC + 16 * c)),
		    _mm512_mul_ps(dmin, u8_rows(p + K_MN + 16 * c)), out);
}

void p512_q4_k(const uint8_t *p, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += 256, p += GROUP_Q4_K) {
		__m512 d = halves(p), dmin = halves(p + 32);

		for (unsigned c = 0; c < 8; c++, out += 512) {
			RAW __m512i q[8];

			soon(p + (size_t)CELL_Q4_K * c, CELL_Q4_K);
			quads4(p + K_NIB + 256 * c, q);
			k_cell(p, c, q, d, dmin, out);
		}
	}
}

void p512_q5_k(const uint8_t *p, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += 256, p += GROUP_Q5_K) {
		__m512 d = halves(p), dmin = halves(p + 32);

		for (unsigned c = 0; c < 8; c++, out += 512) {
			RAW __m512i q[8];

			soon(p + (size_t)CELL_Q5_K * c, CELL_Q5_K);
			quads5(p + K_NIB + 256 * c, p + Q5_HI + 64 * c, q);
			k_cell(p, c, q, d, dmin, out);
		}
	}
}

void p512_q6_k(const uint8_t *p, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += 256, p += GROUP_Q6_K) {
		__m512 d = halves(p);

		for (unsigned c = 0; c < 8; c++, out += 512) {
			RAW __m512i q[8];

			soon(p + (size_t)CELL_Q6_K * c, CELL_Q6_K);
			quads6(p + Q6_NIB + 256 * c, p + Q6_HI + 128 * c, q);
			for (unsigned h = 0; h < 2; h++) {
				__m512 s = _mm512_mul_ps(d, i8_rows(p + Q6_SC + 32 * c + 16 * h));

				for (unsigned j = 4 * h; j < 4 * h + 4; j++)
					quad_floats(q[j], s, times(s, 32), out + 64 * j);
			}
		}
	}
}

/* Sixteen rows of a pair of k, [row][even, odd], to one register of the even and one of the odd. */
INLINE void put_pair(__m512 rows0, __m512 rows8, float *out)
{
	const __m512i even =
	    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	const __m512i odd =
	    _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);

	_mm512_storeu_ps(out, _mm512_permutex2var_ps(rows0, even, rows8));
	_mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(rows0, odd, rows8));
}

void p512_f16(const uint8_t *p, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += 2, p += 64, out += 32) {
		soon(p, 64);
		put_pair(halves(p), halves(p + 32), out);
	}
}

void p512_bf16(const uint8_t *p, uint32_t k, void *to)
{
	const __m512i high = _mm512_set1_epi32((int)0xffff0000);
	float *out = to;

	for (uint32_t i = 0; i < k; i += 2, p += 64, out += 32) {
		__m512i v = ld512(p);

		soon(p, 64);
		_mm512_storeu_si512(out, _mm512_slli_epi32(v, 16));
		_mm512_storeu_si512(out + 16, _mm512_and_si512(v, high));
	}
}

void p512_form_x(const float *x, void *out, size_t n)
{
	memcpy(out, x, n * sizeof(float));
}

/* Sixteen k of sixteen rows at a time; rows that do not exist are zeros. */
void p512_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *to)
{
	float *out = to;

	for (uint32_t i = 0; i < k; i += 16, out += 256) {
		RAW __m512i v[16];

		for (unsigned r = 0; r < PACK_ROWS; r++)
			v[r] = r < n ? ld512(w + r * ldw + i) : _mm512_setzero_si512();
		transpose16(v);
		for (unsigned r = 0; r < PACK_ROWS; r++)
			_mm512_storeu_si512(out + 16 * r, v[r]);
	}
}

void p512_mul(const void *panels, size_t stride, unsigned n_panels, uint32_t k, const void *x,
	      size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	if (n_panels == 2)
		mul_two(panels, stride, k, x, ldx * 4, cols, y, ldy, first);
	else
		mul_one(panels, k, x, ldx * 4, cols, y, ldy, first);
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
