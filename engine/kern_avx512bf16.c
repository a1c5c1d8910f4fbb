/* kern_avx512bf16.c - class P in bf16: weights and activations rounded to bf16 (nearest, ties to
 * even), products by VDPBF16PS. Its expansion serves the AMX table too: the sixteen registers of a
 * cell are one tile. Everything else is the avx512 table's. */
#include "kern_avx512.h"

#if defined(__x86_64__)
#include <cpuid.h>

static bool bf16_usable(void)
{
	unsigned a, b, c, d;

	return kern_avx512.usable() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}

/* Intel's cores do VDPBF16PS at half the rate of fp32 FMA and less than that where it counts, so
 * fp32 is as fast and more exact there. By vendor, not by a measurement: a table that came and
 * went with the load of the machine would change answers from run to run. */
static bool bf16_slow(void)
{
	return !__builtin_cpu_is("amd");
}

#ifdef __clang__
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))),        \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#endif
#define MUL_DOT(acc, w, x) _mm512_dpbf16_ps(acc, (__m512bh)(w), (__m512bh)(x))
#include "mul512.h"

/* Two rows of sixteen fp32 (k even, k odd) to one register of pairs. */
INLINE __m512i pairs(__m512 even, __m512 odd)
{
	static const uint16_t mix[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
					 21, 6,	 22, 7,	 23, 8,	 24, 9,	 25, 10, 26,
					 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

	return _mm512_permutexvar_epi16(ld512(mix), (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* Byte e of each lane to byte AT of a float that is 1 otherwise: AT 1 gives 1 + u 2^-15, AT 2
 * (where the byte's highest bit is the exponent's lowest; u < 128) 1/2 + u 2^-8. */
#define ONE_AT(AT, e)                                                                              \
	_mm512_castsi512_ps(_mm512_mask_shuffle_epi8(                                              \
	    _mm512_set1_epi32(0x3f800000), (AT) == 1 ? 0x2222222222222222 : 0x4444444444444444, q, \
	    _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0),              \
			    _mm512_set1_epi8(e))))
/* ... so that the value is that number times STEP[AT] d, less BASE[AT] d and offset d or minimum.
 */
#define STEP1 32768
#define BASE1 32768
#define STEP2 256
#define BASE2 128

/* One quad: two registers of pairs, each value fma(f, s, -c). c is exact but for the minima of Q4_K
 * and Q5_K, where it is off by at most 2^-17 of a step of u: far below the rounding to bf16. */
INLINE void quad_pairs(const int at, __m512i q, __m512 s, __m512 c, uint8_t *out)
{
	__m512 f0 = _mm512_fmsub_ps(ONE_AT(at, 0), s, c), f1 = _mm512_fmsub_ps(ONE_AT(at, 1), s, c);
	__m512 f2 = _mm512_fmsub_ps(ONE_AT(at, 2), s, c), f3 = _mm512_fmsub_ps(ONE_AT(at, 3), s, c);

	_mm512_storeu_si512(out, pairs(f0, f1));
	_mm512_storeu_si512(out + 64, pairs(f2, f3));
}

INLINE void cell_pairs(const int at, const __m512i q[8], __m512 s, __m512 c, uint8_t *out)
{
#pragma GCC unroll 8
	for (int j = 0; j < 8; j++)
		quad_pairs(at, q[j], s, c, out + 128 * j);
}

INLINE __m512 times(__m512 v, float f)
{
	return _mm512_mul_ps(v, _mm512_set1_ps(f));
}

static void expand_q4_0(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (uint32_t i = 0; i < k; i += PACK_K, p += CELL_Q4_0, out += 1024) {
		__m512 d = halves(p);
		RAW __m512i q[8];

		soon(p, CELL_Q4_0);
		quads4(p + 32, q);
		cell_pairs(2, q, times(d, STEP2), times(d, BASE2 + 8), out);
	}
}

static void expand_q8_0(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (uint32_t i = 0; i < k; i += PACK_K, p += CELL_Q8_0, out += 1024) {
		__m512 d = halves(p);
		RAW __m512i q[8];

		soon(p, CELL_Q8_0);
		quads8(p + 32, q);
		cell_pairs(1, q, times(d, STEP1), times(d, BASE1 + 128), out);
	}
}

INLINE void k_cell(const uint8_t *p, unsigned c, const __m512i q[8], __m512 d, __m512 dmin,
		   uint8_t *out)
{
	__m512 s = _mm512_mul_ps(d, u8_rows(p + K_SC + 16 * c));
	__m512 o = _mm512_fmadd_ps(dmin, u8_rows(p + K_MN + 16 * c), times(s, BASE2));

	cell_pairs(2, q, times(s, STEP2), o, out);
}

static void expand_q4_k(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (uint32_t i = 0; i < k; i += 256, p += GROUP_Q4_K) {
		__m512 d = halves(p), dmin = halves(p + 32);

		for (unsigned c = 0; c < 8; c++, out += 1024) {
			RAW __m512i q[8];

			soon(p + (size_t)CELL_Q4_K * c, CELL_Q4_K);
			quads4(p + K_NIB + 256 * c, q);
			k_cell(p, c, q, d, dmin, out);
		}
	}
}

static void expand_q5_k(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (uint32_t i = 0; i < k; i += 256, p += GROUP_Q5_K) {
		__m512 d = halves(p), dmin = halves(p + 32);

		for (unsigned c = 0; c < 8; c++, out += 1024) {
			RAW __m512i q[8];

			soon(p + (size_t)CELL_Q5_K * c, CELL_Q5_K);
			quads5(p + K_NIB + 256 * c, p + Q5_HI + 64 * c, q);
			k_cell(p, c, q, d, dmin, out);
		}
	}
}

static void expand_q6_k(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (uint32_t i = 0; i < k; i += 256, p += GROUP_Q6_K) {
		__m512 d = halves(p);

		for (unsigned c = 0; c < 8; c++, out += 1024) {
			RAW __m512i q[8];

			soon(p + (size_t)CELL_Q6_K * c, CELL_Q6_K);
			quads6(p + Q6_NIB + 256 * c, p + Q6_HI + 128 * c, q);
#pragma GCC unroll 2
			for (unsigned h = 0; h < 2; h++) {
				__m512 s = _mm512_mul_ps(d, i8_rows(p + Q6_SC + 32 * c + 16 * h));
				__m512 t = times(s, STEP2), o = times(s, BASE2 + 32);

				for (unsigned j = 4 * h; j < 4 * h + 4; j++)
					quad_pairs(2, q[j], t, o, out + (size_t)128 * j);
			}
		}
	}
}

/* [row][pair] of sixteen rows: as it is for bf16; halves keep their order through fp32. */
static void expand_f16(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (size_t i = 0; i < (size_t)k * 32; i += 64) {
		soon(p + i, 64);
		_mm512_storeu_si512(
		    out + i, (__m512i)_mm512_cvtne2ps_pbh(halves(p + i + 32), halves(p + i)));
	}
}

static void expand_bf16(const uint8_t *p, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (size_t i = 0; i < (size_t)k * 32; i += 64) {
		soon(p + i, 64);
		_mm512_storeu_si512(out + i, ld512(p + i));
	}
}

static void form_x(const float *x, void *to, size_t n)
{
	uint16_t *out = to;

	for (size_t i = 0; i < n; i += 32)
		_mm512_storeu_si512(out + i,
				    (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16),
								 _mm512_loadu_ps(x + i)));
}

/* A cell at a time: 16 rows of 16 pairs of k; rows that do not exist are zeros. */
static void from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *to)
{
	uint8_t *out = to;

	for (uint32_t i = 0; i < k; i += PACK_K, out += 1024) {
		RAW __m512i v[16];

		for (unsigned r = 0; r < PACK_ROWS; r++) {
			const float *p = w + r * ldw + i;

			v[r] = r < n ? (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + 16),
								    _mm512_loadu_ps(p))
				     : _mm512_setzero_si512();
		}
		transpose16(v);
		for (unsigned r = 0; r < PACK_ROWS; r++)
			_mm512_storeu_si512(out + (size_t)64 * r, v[r]);
	}
}

static void bf16_mul(const void *panels, size_t stride, unsigned n_panels, uint32_t k,
		     const void *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	if (n_panels == 2)
		mul_two(panels, stride, k / 2, x, ldx * 2, cols, y, ldy, first);
	else
		mul_one(panels, k / 2, x, ldx * 2, cols, y, ldy, first);
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const struct kernels kern_avx512bf16 = {
    .name = "avx512bf16",
    .usable = bf16_usable,
    .slow = bf16_slow,
    .base = &kern_avx512,
    .exact = &kern_avx512,
    .p_form = P_BF16,
    .p_bytes = 2,
    .p_form_x = form_x,
    .p_expand = {[PACK_Q4_0] = expand_q4_0,
		 [PACK_Q8_0] = expand_q8_0,
		 [PACK_Q4_K] = expand_q4_k,
		 [PACK_Q5_K] = expand_q5_k,
		 [PACK_Q6_K] = expand_q6_k,
		 [PACK_F16] = expand_f16,
		 [PACK_BF16] = expand_bf16},
    .p_from_f32 = from_f32,
    .p_mul = bf16_mul,
};
#endif
