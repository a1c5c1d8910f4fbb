/* kern_avx2.c - the kernels with AVX2, FMA and F16C. The rest of the program is compiled without
 * them: only functions below the pragma may use these instructions, and kern_pick() calls them only
 * where avx2_usable() holds. Tiles change how many sums run side by side, never their order. */
#include "kern_avx2.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>

#include "attn_kern.h"
#include "blocks.h"
#include "expand.h"

static bool avx2_usable(void)
{
	unsigned a, b, c, d;

	/* clang's builtin does not know f16c: CPUID leaf 1, ECX bit 29 */
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 29);
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Lanes i < n all ones, n <= 8. */
INLINE __m256i lanes(unsigned n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n),
				  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The fixed tree of four vectors at once: ((0+1)+(2+3))+((4+5)+(6+7)) of each. */
INLINE __m128 tree4(__m256 a, __m256 b, __m256 c, __m256 d)
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));

	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

INLINE float tree1(__m256 a)
{
	return _mm_cvtss_f32(tree4(a, a, a, a));
}

INLINE float half1(const uint8_t *p)
{
	return _cvtsh_ss(get_le16(p));
}

/* Eight bytes to eight floats. */
INLINE __m256 u8_ps(__m128i b)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b));
}

INLINE __m256 i8_ps(__m128i b)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b));
}

static void expand_f32(const void *row, float *out, size_t n)
{
	memcpy(out, row, n * sizeof(float));
}

static void half_to_f32(const uint16_t *h, float *out, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i,
				 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(h + i))));
	for (; i < n; i++)
		out[i] = _cvtsh_ss(h[i]);
}

static void f32_to_half(const float *f, uint16_t *out, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(f + i),
								       _MM_FROUND_TO_NEAREST_INT));
	for (; i < n; i++)
		out[i] = (uint16_t)_cvtss_sh(f[i], _MM_FROUND_TO_NEAREST_INT);
}

static void expand_f16(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i,
				 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))));
	for (; i < n; i++)
		out[i] = half1(p + 2 * i);
}

static void expand_bf16(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		__m128i h = _mm_loadu_si128((const __m128i *)(p + 2 * i));

		_mm256_storeu_si256((__m256i *)(out + i),
				    _mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
	}
	for (; i < n; i++)
		out[i] = bits_f32((uint32_t)get_le16(p + 2 * i) << 16);
}

static void expand_q8_0(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q8_0_BYTES) {
		__m256 d = _mm256_set1_ps(half1(p));

		for (int j = 0; j < 32; j += 8) {
			__m128i q = _mm_loadl_epi64((const __m128i *)(p + 2 + j));

			_mm256_storeu_ps(out + i + j, _mm256_mul_ps(d, i8_ps(q)));
		}
	}
}

static void expand_q4_0(const void *row, float *out, size_t n)
{
	const __m128i low = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q4_0_BYTES) {
		__m256 d = _mm256_set1_ps(half1(p));
		__m128i b = _mm_loadu_si128((const __m128i *)(p + 2));
		__m128i lo = _mm_sub_epi8(_mm_and_si128(b, low), eight);
		__m128i hi = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(b, 4), low), eight);

		_mm256_storeu_ps(out + i, _mm256_mul_ps(d, i8_ps(lo)));
		_mm256_storeu_ps(out + i + 8, _mm256_mul_ps(d, i8_ps(_mm_srli_si128(lo, 8))));
		_mm256_storeu_ps(out + i + 16, _mm256_mul_ps(d, i8_ps(hi)));
		_mm256_storeu_ps(out + i + 24, _mm256_mul_ps(d, i8_ps(_mm_srli_si128(hi, 8))));
	}
}

static void expand_q4_k(const void *row, float *out, size_t n)
{
	const __m128i low = _mm_set1_epi8(15);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q4_K_BYTES) {
		float d = half1(p), dmin = half1(p + 2), *y = out + i;

		for (unsigned g = 0; g < 8; g += 2, y += 64) {
			const uint8_t *q = p + 16 + g * 16;
			unsigned s0, m0, s1, m1;
			__m256 d0, d1, b0, b1;

			q4_k_scale(p + 4, g, &s0, &m0);
			q4_k_scale(p + 4, g + 1, &s1, &m1);
			d0 = _mm256_set1_ps(d * (float)s0);
			d1 = _mm256_set1_ps(d * (float)s1);
			b0 = _mm256_set1_ps(dmin * (float)m0);
			b1 = _mm256_set1_ps(dmin * (float)m1);
			for (int l = 0; l < 32; l += 8) {
				__m128i b = _mm_loadl_epi64((const __m128i *)(q + l));
				__m128i hi = _mm_and_si128(_mm_srli_epi16(b, 4), low);
				__m256 v0 = u8_ps(_mm_and_si128(b, low)), v1 = u8_ps(hi);

				_mm256_storeu_ps(y + l, _mm256_fmsub_ps(d0, v0, b0));
				_mm256_storeu_ps(y + l + 32, _mm256_fmsub_ps(d1, v1, b1));
			}
		}
	}
}

/* Eight 6-bit numbers less 32, times the scale. */
INLINE void put_q6(float *y, __m128i lo, __m128i hi, float scale)
{
	__m128i q = _mm_or_si128(lo, _mm_slli_epi16(_mm_and_si128(hi, _mm_set1_epi8(3)), 4));

	q = _mm_sub_epi8(q, _mm_set1_epi8(32));
	_mm256_storeu_ps(y, _mm256_mul_ps(_mm256_set1_ps(scale), i8_ps(q)));
}

static void expand_q6_k(const void *row, float *out, size_t n)
{
	const __m128i low = _mm_set1_epi8(15);
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q6_K_BYTES) {
		const uint8_t *ql = p, *qh = p + 128;
		const int8_t *sc = (const int8_t *)p + 192;
		float d = half1(p + 208), *y = out + i;

		for (int half = 0; half < 2; half++, ql += 64, qh += 32, sc += 8, y += 128)
			for (int l = 0; l < 32; l += 8) {
				__m128i a = _mm_loadl_epi64((const __m128i *)(ql + l));
				__m128i b = _mm_loadl_epi64((const __m128i *)(ql + l + 32));
				__m128i h = _mm_loadl_epi64((const __m128i *)(qh + l));
				__m128i a4 = _mm_and_si128(_mm_srli_epi16(a, 4), low);
				__m128i b4 = _mm_and_si128(_mm_srli_epi16(b, 4), low);
				int s = l / 16;

				put_q6(y + l, _mm_and_si128(a, low), h, d * sc[s]);
				put_q6(y + l + 32, _mm_and_si128(b, low), _mm_srli_epi16(h, 2),
				       d * sc[s + 2]);
				put_q6(y + l + 64, a4, _mm_srli_epi16(h, 4), d * sc[s + 4]);
				put_q6(y + l + 96, b4, _mm_srli_epi16(h, 6), d * sc[s + 6]);
			}
	}
}

/* R rows by C columns, R a multiple of 4; both are constants where it is called. */
INLINE void tile(const unsigned R, const unsigned C, const float *w, size_t ldw, const float *x,
		 size_t ldx, unsigned k, float *y, size_t ldy)
{
	const __m256i tail = lanes(k & 7);
	RAW __m256 acc[12], v[3];
	unsigned i = 0;

#pragma GCC unroll 12
	for (unsigned j = 0; j < R * C; j++)
		acc[j] = _mm256_setzero_ps();
	for (; i + 8 <= k; i += 8) {
#pragma GCC unroll 3
		for (unsigned c = 0; c < C; c++)
			v[c] = _mm256_loadu_ps(x + c * ldx + i);
#pragma GCC unroll 8
		for (unsigned r = 0; r < R; r++) {
			__m256 a = _mm256_loadu_ps(w + r * ldw + i);
#pragma GCC unroll 3
			for (unsigned c = 0; c < C; c++)
				acc[r * C + c] = _mm256_fmadd_ps(a, v[c], acc[r * C + c]);
		}
	}
	if (i < k)
		for (unsigned r = 0; r < R; r++) {
			__m256 a = _mm256_maskload_ps(w + r * ldw + i, tail);

			for (unsigned c = 0; c < C; c++)
				acc[r * C + c] = _mm256_fmadd_ps(
				    a, _mm256_maskload_ps(x + c * ldx + i, tail), acc[r * C + c]);
		}
#pragma GCC unroll 2
	for (unsigned r = 0; r < R; r += 4)
#pragma GCC unroll 3
		for (unsigned c = 0; c < C; c++)
			_mm_storeu_ps(y + c * ldy + r,
				      tree4(acc[r * C + c], acc[(r + 1) * C + c],
					    acc[(r + 2) * C + c], acc[(r + 3) * C + c]));
}

/* One row, any number of columns: the rows left over behind the tiles. */
static void row1(const float *w, const float *x, size_t ldx, unsigned cols, unsigned k, float *y,
		 size_t ldy)
{
	const __m256i tail = lanes(k & 7);

	for (unsigned c = 0; c < cols; c++) {
		const float *b = x + c * ldx;
		__m256 acc = _mm256_setzero_ps();
		unsigned i = 0;

		for (; i + 8 <= k; i += 8)
			acc = _mm256_fmadd_ps(_mm256_loadu_ps(w + i), _mm256_loadu_ps(b + i), acc);
		if (i < k)
			acc = _mm256_fmadd_ps(_mm256_maskload_ps(w + i, tail),
					      _mm256_maskload_ps(b + i, tail), acc);
		y[c * ldy] = tree1(acc);
	}
}

static void gemm(const float *w, size_t ldw, unsigned rows, const float *x, size_t ldx,
		 unsigned cols, unsigned k, float *y, size_t ldy)
{
	unsigned c = 0, r, full = rows & ~3u;

	for (; c + 3 <= cols; c += 3)
		for (r = 0; r < full; r += 4)
			tile(4, 3, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
	if (cols - c == 2)
		for (r = 0; r < full; r += 4)
			tile(4, 2, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
	if (cols - c == 1) {
		for (r = 0; r + 8 <= full; r += 8)
			tile(8, 1, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
		for (; r < full; r += 4)
			tile(4, 1, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
	}
	for (r = full; r < rows; r++)
		row1(w + r * ldw, x, ldx, cols, k, y + r, ldy);
}

/* exp to about 2 ulp (Cephes coefficients); below -87.3 it is 0, above 88.7 infinity, NaN stays:
 * min and max return their second operand when one is NaN. */
INLINE __m256 exp8(__m256 x)
{
	__m256 in = x, n, r, p;
	__m256i e;

	x = _mm256_max_ps(_mm256_set1_ps(-87.33f), _mm256_min_ps(_mm256_set1_ps(88.72f), x));
	n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
			    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
	r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
	p = _mm256_set1_ps(1.9875691500e-4f);
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
	p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
	/* 2^n in two steps, so that n = 128 does not overflow the exponent field */
	e = _mm256_cvtps_epi32(n);
	p = _mm256_mul_ps(
	    p, _mm256_castsi256_ps(_mm256_slli_epi32(
		   _mm256_add_epi32(_mm256_srai_epi32(e, 1), _mm256_set1_epi32(127)), 23)));
	e = _mm256_sub_epi32(e, _mm256_srai_epi32(e, 1));
	p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(
				 _mm256_add_epi32(e, _mm256_set1_epi32(127)), 23)));
	p = _mm256_andnot_ps(_mm256_cmp_ps(in, _mm256_set1_ps(-87.33f), _CMP_LT_OQ), p);
	p = _mm256_blendv_ps(p, _mm256_set1_ps(INFINITY),
			     _mm256_cmp_ps(in, _mm256_set1_ps(88.72f), _CMP_GT_OQ));
	return _mm256_blendv_ps(p, in, _mm256_cmp_ps(in, in, _CMP_UNORD_Q));
}

static void rmsnorm(const float *x, const float *w, float *out, unsigned n, float eps)
{
	__m256 s = _mm256_setzero_ps(), scale;
	__m256i m;
	float sum;

	for (unsigned i = 0; i < n; i += 8) {
		__m256 v;

		m = lanes(n - i < 8 ? n - i : 8);
		v = _mm256_maskload_ps(x + i, m);
		s = _mm256_fmadd_ps(v, v, s);
	}
	sum = tree1(s);
	scale = _mm256_set1_ps(1.0f / sqrtf(sum / (float)n + eps) + 0.0f * sum);
	for (unsigned i = 0; i < n; i += 8) {
		m = lanes(n - i < 8 ? n - i : 8);
		_mm256_maskstore_ps(
		    out + i, m,
		    _mm256_mul_ps(_mm256_mul_ps(_mm256_maskload_ps(x + i, m), scale),
				  _mm256_maskload_ps(w + i, m)));
	}
}

static void swiglu(const float *gate, const float *up, float *out, unsigned n)
{
	const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);

	for (unsigned i = 0; i < n; i += 8) {
		__m256i m = lanes(n - i < 8 ? n - i : 8);
		__m256 g = _mm256_maskload_ps(gate + i, m), u = _mm256_maskload_ps(up + i, m);
		__m256 e = exp8(_mm256_xor_ps(g, sign));

		g = _mm256_div_ps(g, _mm256_add_ps(one, e));
		_mm256_maskstore_ps(out + i, m, _mm256_mul_ps(g, u));
	}
}

static void add(float *x, const float *y, unsigned n)
{
	unsigned i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(x + i,
				 _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
	for (; i < n; i++)
		x[i] += y[i];
}

static float exp_sum(float *s, unsigned n, float max)
{
	const __m256 top = _mm256_set1_ps(max);
	__m256 sum = _mm256_setzero_ps();

	for (unsigned i = 0; i < n; i += 8) {
		__m256i m = lanes(n - i < 8 ? n - i : 8);
		__m256 e = exp8(_mm256_sub_ps(_mm256_maskload_ps(s + i, m), top));

		e = _mm256_and_ps(e, _mm256_castsi256_ps(m));
		_mm256_maskstore_ps(s + i, m, e);
		sum = _mm256_add_ps(sum, e);
	}
	return tree1(sum);
}

/* B vectors of 8 dimensions at a time stay in registers over all n values. */
INLINE void weigh_block(const unsigned B, float *acc, __m256 scale, const float *p, unsigned n,
			const float *v, size_t ldv)
{
	RAW __m256 a[8];

#pragma GCC unroll 8
	for (unsigned b = 0; b < B; b++)
		a[b] = _mm256_mul_ps(_mm256_loadu_ps(acc + 8 * b), scale);
	for (unsigned t = 0; t < n; t++) {
		__m256 w = _mm256_broadcast_ss(p + t);
#pragma GCC unroll 8
		for (unsigned b = 0; b < B; b++)
			a[b] = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + t * ldv + 8 * b), a[b]);
	}
#pragma GCC unroll 8
	for (unsigned b = 0; b < B; b++)
		_mm256_storeu_ps(acc + 8 * b, a[b]);
}

static void weigh(float *acc, unsigned dim, float scale, const float *p, unsigned n, const float *v,
		  size_t ldv)
{
	const __m256 s = _mm256_set1_ps(scale);
	unsigned j = 0;

	for (; j + 64 <= dim; j += 64)
		weigh_block(8, acc + j, s, p, n, v + j, ldv);
	for (; j + 8 <= dim; j += 8)
		weigh_block(1, acc + j, s, p, n, v + j, ldv);
	for (; j < dim; j++) {
		float a = acc[j] * scale;

		for (unsigned t = 0; t < n; t++)
			a = __builtin_fmaf(p[t], v[t * ldv + j], a);
		acc[j] = a;
	}
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const struct kernels kern_avx2 = {
    .name = "avx2",
    .usable = avx2_usable,
    .base = &kern_portable,
    .expand = {[GT_F32] = expand_f32,
	       [GT_F16] = expand_f16,
	       [GT_BF16] = expand_bf16,
	       [GT_Q8_0] = expand_q8_0,
	       [GT_Q4_0] = expand_q4_0,
	       [GT_Q4_K] = expand_q4_k,
	       [GT_Q6_K] = expand_q6_k,
	       EXPAND_RARE_AVX2},
    .gemm = gemm,
    .half_to_f32 = half_to_f32,
    .f32_to_half = f32_to_half,
    .rmsnorm = rmsnorm,
    .swiglu = swiglu,
    .add = add,
    .exp_sum = exp_sum,
    .weigh = weigh,
    .attn = &attn_avx2,
    .exact = &kern_avx2f32,
    .p_form = P_I16,
    .p_bytes = 4,
    .p_form_x = avx2i_p_form_x,
    .p_expand = {[PACK_Q4_0] = avx2i_p_expand_q4_0,
		 [PACK_Q8_0] = avx2i_p_expand_q8_0,
		 [PACK_Q4_K] = avx2i_p_expand_q4_k,
		 [PACK_Q5_K] = avx2i_p_expand_q5_k,
		 [PACK_Q6_K] = avx2i_p_expand_q6_k,
		 [PACK_F16] = avx2i_p_expand_f16,
		 [PACK_BF16] = avx2i_p_expand_bf16},
    .p_from_f32 = avx2i_p_from_f32,
    .p_mul = avx2i_p_mul,
    .d_form_x = avx2_d_form_x,
    .d_mul = {[PACK_Q4_0] = avx2_d_mul_q4_0,
	      [PACK_Q8_0] = avx2_d_mul_q8_0,
	      [PACK_Q4_K] = avx2_d_mul_q4_k,
	      [PACK_Q5_K] = avx2_d_mul_q5_k,
	      [PACK_Q6_K] = avx2_d_mul_q6_k,
	      [PACK_F16] = avx2_d_mul_f16,
	      [PACK_BF16] = avx2_d_mul_bf16},
};
#endif
