/* kern_avx512.c - the kernels with AVX-512 (F, BW, VL, DQ and VNNI: Ice Lake, Zen 4 and later). As
 * in kern_avx2.c only functions below the pragma may use these instructions. Sums of this table
 * are sixteen: element i goes to sum i mod 16, added in the fixed tree of the compiler's
 * reduction. What is missing here is the AVX2 table's. */
#include "kern_avx512.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "attn_kern.h"
#include "blocks.h"

static bool avx512_usable(void)
{
	return kern_avx2.usable() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

#ifdef __clang__
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq"))),                   \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Lanes i < n, for any n. */
INLINE __mmask16 lanes(size_t n)
{
	return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffff);
}

/* R rows by C columns; both are constants where it is called. */
INLINE void tile(const unsigned R, const unsigned C, const float *w, size_t ldw, const float *x,
		 size_t ldx, unsigned k, float *y, size_t ldy)
{
	RAW __m512 acc[24], v[6];

#pragma GCC unroll 24
	for (unsigned j = 0; j < R * C; j++)
		acc[j] = _mm512_setzero_ps();
	for (unsigned i = 0; i < k; i += 16) {
		const __mmask16 m = lanes(k - i);

#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++)
			v[c] = _mm512_maskz_loadu_ps(m, x + c * ldx + i);
#pragma GCC unroll 4
		for (unsigned r = 0; r < R; r++) {
			__m512 a = _mm512_maskz_loadu_ps(m, w + r * ldw + i);
#pragma GCC unroll 6
			for (unsigned c = 0; c < C; c++)
				acc[r * C + c] = _mm512_fmadd_ps(a, v[c], acc[r * C + c]);
		}
	}
#pragma GCC unroll 4
	for (unsigned r = 0; r < R; r++)
#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++)
			y[c * ldy + r] = _mm512_reduce_add_ps(acc[r * C + c]);
}

/* All rows times C columns. */
INLINE void band(const unsigned C, const float *w, size_t ldw, unsigned rows, const float *x,
		 size_t ldx, unsigned k, float *y, size_t ldy)
{
	unsigned r = 0;

	for (; r + 4 <= rows; r += 4)
		tile(4, C, w + r * ldw, ldw, x, ldx, k, y + r, ldy);
	for (; r < rows; r++)
		tile(1, C, w + r * ldw, ldw, x, ldx, k, y + r, ldy);
}

static void gemm(const float *w, size_t ldw, unsigned rows, const float *x, size_t ldx,
		 unsigned cols, unsigned k, float *y, size_t ldy)
{
	unsigned c = 0;

	for (; c + 6 <= cols; c += 6)
		band(6, w, ldw, rows, x + c * ldx, ldx, k, y + c * ldy, ldy);
	for (; c + 2 <= cols; c += 2)
		band(2, w, ldw, rows, x + c * ldx, ldx, k, y + c * ldy, ldy);
	if (c < cols)
		band(1, w, ldw, rows, x + c * ldx, ldx, k, y + c * ldy, ldy);
}

/* exp to about 2 ulp (Cephes coefficients); below -87.3 it is 0, above 88.7 infinity, NaN stays:
 * min and max return their second operand when one is NaN. */
INLINE __m512 exp16(__m512 x)
{
	const __m512 low = _mm512_set1_ps(-87.33f), high = _mm512_set1_ps(88.72f);
	__m512 in = x, n, r, p;

	x = _mm512_max_ps(low, _mm512_min_ps(high, x));
	n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
				 _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
	r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
	p = _mm512_set1_ps(1.9875691500e-4f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
	p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
	p = _mm512_scalef_ps(p, n);
	p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(in, low, _CMP_LT_OQ), _mm512_setzero_ps());
	p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(in, high, _CMP_GT_OQ),
			       _mm512_set1_ps(INFINITY));
	return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(in, in, _CMP_UNORD_Q), in);
}

static void rmsnorm(const float *x, const float *w, float *out, unsigned n, float eps)
{
	__m512 s = _mm512_setzero_ps(), scale;
	float sum;

	for (unsigned i = 0; i < n; i += 16) {
		__m512 v = _mm512_maskz_loadu_ps(lanes(n - i), x + i);

		s = _mm512_fmadd_ps(v, v, s);
	}
	sum = _mm512_reduce_add_ps(s);
	scale = _mm512_set1_ps(1.0f / sqrtf(sum / (float)n + eps) + 0.0f * sum);
	for (unsigned i = 0; i < n; i += 16) {
		__mmask16 m = lanes(n - i);
		__m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);

		_mm512_mask_storeu_ps(out + i, m,
				      _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)));
	}
}

static void swiglu(const float *gate, const float *up, float *out, unsigned n)
{
	const __m512 one = _mm512_set1_ps(1.0f);

	for (unsigned i = 0; i < n; i += 16) {
		__mmask16 m = lanes(n - i);
		__m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i);

		g = _mm512_div_ps(
		    g, _mm512_add_ps(one, exp16(_mm512_xor_ps(g, _mm512_set1_ps(-0.0f)))));
		_mm512_mask_storeu_ps(out + i, m, _mm512_mul_ps(g, u));
	}
}

static void add(float *x, const float *y, unsigned n)
{
	for (unsigned i = 0; i < n; i += 16) {
		__mmask16 m = lanes(n - i);

		_mm512_mask_storeu_ps(x + i, m,
				      _mm512_add_ps(_mm512_maskz_loadu_ps(m, x + i),
						    _mm512_maskz_loadu_ps(m, y + i)));
	}
}

static float exp_sum(float *s, unsigned n, float max)
{
	const __m512 top = _mm512_set1_ps(max);
	__m512 sum = _mm512_setzero_ps();

	for (unsigned i = 0; i < n; i += 16) {
		__mmask16 m = lanes(n - i);
		__m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, s + i), top));

		e = _mm512_maskz_mov_ps(m, e);
		_mm512_mask_storeu_ps(s + i, m, e);
		sum = _mm512_add_ps(sum, e);
	}
	return _mm512_reduce_add_ps(sum);
}

/* Nearest, ties to even: 16 numbers times scale to bytes; returns their sum. */
INLINE int32_t to_bytes(__m512 x, __m512 scale, int8_t *q)
{
	__m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(x, scale));

	_mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(v));
	return _mm512_reduce_add_epi32(v);
}

static void form_x(const float *x, struct dblock *out, size_t n)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);

	for (size_t i = 0; i < n; i += 32, out++) {
		__m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16), scale;
		__m512i m = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
					     _mm512_and_si512(_mm512_castps_si512(b), magnitude));
		uint32_t top = _mm512_reduce_max_epu32(m);
		float amax = bits_f32(top);

		memset(out, 0, sizeof(*out));
		if (top < D_SMALLEST)
			continue;
		out->dx = amax / 127;
		if (top < 0x7f800000u) {
			scale = _mm512_set1_ps(127 / amax);
			out->lo = to_bytes(a, scale, out->q);
			out->hi = to_bytes(b, scale, out->q + 16);
		}
		out->sx = out->dx * (float)(out->lo + out->hi);
	}
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const struct kernels kern_avx512 = {
    .name = "avx512",
    .usable = avx512_usable,
    .base = &kern_avx2,
    .gemm = gemm,
    .rmsnorm = rmsnorm,
    .swiglu = swiglu,
    .add = add,
    .exp_sum = exp_sum,
    .attn = &attn_avx512,
    .p_form = P_F32,
    .p_bytes = sizeof(float),
    .p_form_x = p512_form_x,
    .p_expand = {[PACK_Q4_0] = p512_q4_0,
		 [PACK_Q8_0] = p512_q8_0,
		 [PACK_Q4_K] = p512_q4_k,
		 [PACK_Q5_K] = p512_q5_k,
		 [PACK_Q6_K] = p512_q6_k,
		 [PACK_F16] = p512_f16,
		 [PACK_BF16] = p512_bf16},
    .p_from_f32 = p512_from_f32,
    .p_mul = p512_mul,
    .d_form_x = form_x,
    .d_mul = {[PACK_Q4_0] = d512_q4_0,
	      [PACK_Q8_0] = d512_q8_0,
	      [PACK_Q4_K] = d512_q4_k,
	      [PACK_Q5_K] = d512_q5_k,
	      [PACK_Q6_K] = d512_q6_k,
	      [PACK_F16] = d512_f16,
	      [PACK_BF16] = d512_bf16},
};
#endif
