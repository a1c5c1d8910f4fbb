/* attnk_avx512.c - attention with AVX-512. Only functions below the pragma may use its
 * instructions; a table that names attn_avx512 is usable only where usable() holds. A tile is C
 * columns by four registers of 16 lanes: its accumulators stay in registers over the whole sum. */
#include "attn_kern.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

static bool usable(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#ifdef __clang__
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))),                   \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE unsigned bytes_of(const enum kv_type type)
{
	return type == KV_F32 ? 4 : type == KV_Q8_0 ? 1 : 2;
}

/* The lanes of m of 16 numbers, without their scale. */
INLINE __m512 load_some(const enum kv_type type, const uint8_t *p, __mmask16 m)
{
	switch (type) {
	case KV_F16:
		return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p));
	case KV_BF16:
		return _mm512_castsi512_ps(
		    _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
	case KV_Q8_0:
		return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(m, p)));
	default:
		return _mm512_maskz_loadu_ps(m, p);
	}
}

INLINE __m512 load16(const enum kv_type type, const uint8_t *p)
{
	switch (type) {
	case KV_F16:
		return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
	case KV_BF16:
		return _mm512_castsi512_ps(_mm512_slli_epi32(
		    _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
	case KV_Q8_0:
		return _mm512_cvtepi32_ps(
		    _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
	default:
		return _mm512_loadu_ps(p);
	}
}

/* n bytes of what comes next, to the second-level cache: the first has too few places for misses.
 */
INLINE void fetch(const uint8_t *p, unsigned n)
{
#pragma GCC unroll 4
	for (unsigned i = 0; i < n; i += 64)
		_mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* The scales of dimensions j.. of a Q8_0 block: 64 half floats, by token. */
INLINE const uint8_t *scales_of(const uint8_t *block, unsigned dim, unsigned j)
{
	return block + (size_t)dim * KV_TOKENS + (size_t)(j / KV_Q) * KV_TOKENS * 2;
}

INLINE void qk_tile(const enum kv_type type, const unsigned C, const uint8_t *k, unsigned dim,
		    const float *q, size_t ldq, float *s, size_t lds, const uint8_t *ahead)
{
	const unsigned row = KV_TOKENS * bytes_of(type);
	RAW __m512 acc[24], v[4], d[4];

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		d[i] = _mm512_setzero_ps();
#pragma GCC unroll 24
	for (unsigned i = 0; i < 4 * C; i++)
		acc[i] = _mm512_setzero_ps();
	for (unsigned j = 0; j < dim; j++, k += row) {
		if (type == KV_Q8_0 && j % KV_Q == 0) {
			const uint8_t *at = scales_of(k - (size_t)j * row, dim, j);
#pragma GCC unroll 4
			for (unsigned i = 0; i < 4; i++)
				d[i] = load16(KV_F16, at + 32 * i);
		}
		if (ahead)
			fetch(ahead + (size_t)j * row, row);
#pragma GCC unroll 4
		for (unsigned i = 0; i < 4; i++) {
			v[i] = load16(type, k + row / 4 * i);
			if (type == KV_Q8_0)
				v[i] = _mm512_mul_ps(v[i], d[i]);
		}
#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++) {
			__m512 b = _mm512_set1_ps(q[c * ldq + j]);
#pragma GCC unroll 4
			for (unsigned i = 0; i < 4; i++)
				acc[4 * c + i] = _mm512_fmadd_ps(b, v[i], acc[4 * c + i]);
		}
	}
#pragma GCC unroll 6
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 4
		for (unsigned i = 0; i < 4; i++)
			_mm512_storeu_ps(s + c * lds + 16 * i, acc[4 * c + i]);
}

INLINE void qk(const enum kv_type type, const void *k, unsigned dim, const float *q, size_t ldq,
	       unsigned cols, float *s, size_t lds, const uint8_t *ahead)
{
	unsigned c = 0;

	if (type == KV_F32)
		for (; c + 6 <= cols; c += 6)
			qk_tile(type, 6, k, dim, q + c * ldq, ldq, s + c * lds, lds,
				c ? NULL : ahead);
	for (; c + 4 <= cols; c += 4)
		qk_tile(type, 4, k, dim, q + c * ldq, ldq, s + c * lds, lds, c ? NULL : ahead);
	for (; c + 2 <= cols; c += 2)
		qk_tile(type, 2, k, dim, q + c * ldq, ldq, s + c * lds, lds, c ? NULL : ahead);
	if (c < cols)
		qk_tile(type, 1, k, dim, q + c * ldq, ldq, s + c * lds, lds, c ? NULL : ahead);
}

/* What pv_tile() works on: some dimensions of V and the same of the sums. */
struct pv {
	const uint8_t *v, *scales, *ahead;
	size_t row; /* bytes of a token */
	unsigned t0, t1;
	const float *p;
	size_t ldp, lda;
	float *acc;
};

/* C columns by W registers; the last of them, and then the only one, has the lanes of m. */
INLINE void pv_tile(const enum kv_type type, const unsigned C, const unsigned W, struct pv a,
		    __mmask16 m)
{
	const unsigned step = 16 * bytes_of(type);
	RAW float scale[2][KV_TOKENS];
	RAW __m512 acc[24], v[4];

	if (type == KV_Q8_0)
		for (unsigned i = 0; i < (W == 4 ? 8 : 4); i++)
			_mm512_storeu_ps(&scale[i / 4][i % 4 * 16],
					 load16(KV_F16, a.scales + 32 * i));
#pragma GCC unroll 6
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 4
		for (unsigned i = 0; i < W; i++)
			acc[W * c + i] = W == 1
					     ? _mm512_maskz_loadu_ps(m, a.acc + c * a.lda)
					     : _mm512_loadu_ps(a.acc + c * a.lda + (size_t)16 * i);
	for (unsigned t = a.t0; t < a.t1; t++) {
		const uint8_t *at = a.v + t * a.row;

		if (a.ahead && W == 4)
			fetch(a.ahead + t * a.row, 4 * step);
#pragma GCC unroll 4
		for (unsigned i = 0; i < W; i++) {
			v[i] = W == 1 ? load_some(type, at, m) : load16(type, at + step * i);
			if (type == KV_Q8_0)
				v[i] = _mm512_mul_ps(v[i], _mm512_set1_ps(scale[i / 2][t]));
		}
#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++) {
			__m512 b = _mm512_set1_ps(a.p[c * a.ldp + t]);
#pragma GCC unroll 4
			for (unsigned i = 0; i < W; i++)
				acc[W * c + i] = _mm512_fmadd_ps(b, v[i], acc[W * c + i]);
		}
	}
#pragma GCC unroll 6
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 4
		for (unsigned i = 0; i < W; i++)
			if (W == 1)
				_mm512_mask_storeu_ps(a.acc + c * a.lda, m, acc[c]);
			else
				_mm512_storeu_ps(a.acc + c * a.lda + (size_t)16 * i,
						 acc[W * c + i]);
}

/* The next c columns. */
INLINE void pv_next(struct pv *a, unsigned c)
{
	a->ahead = NULL; /* fetched by now */
	a->p += c * a->ldp;
	a->acc += c * a->lda;
}

/* 64 dimensions, or n < 64 of them sixteen at a time. */
INLINE void pv_dims(const enum kv_type type, struct pv a, unsigned cols, unsigned n)
{
	__mmask16 m = (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffff);
	unsigned c = 0;

	if (n < 64) {
		for (; c + 4 <= cols; c += 4, pv_next(&a, 4))
			pv_tile(type, 4, 1, a, m);
		for (; c < cols; c++, pv_next(&a, 1))
			pv_tile(type, 1, 1, a, m);
		return;
	}
	if (type == KV_F32)
		for (; c + 6 <= cols; c += 6, pv_next(&a, 6))
			pv_tile(type, 6, 4, a, 0xffff);
	for (; c + 4 <= cols; c += 4, pv_next(&a, 4))
		pv_tile(type, 4, 4, a, 0xffff);
	for (; c + 2 <= cols; c += 2, pv_next(&a, 2))
		pv_tile(type, 2, 4, a, 0xffff);
	if (c < cols)
		pv_tile(type, 1, 4, a, 0xffff);
}

INLINE void pv(const enum kv_type type, const void *v, unsigned dim, unsigned t0, unsigned t1,
	       const float *p, size_t ldp, unsigned cols, float *acc, size_t lda,
	       const uint8_t *ahead)
{
	const unsigned e = bytes_of(type);

	for (unsigned j = 0, n; j < dim; j += n < 64 ? 16 : 64) {
		struct pv a = {.v = (const uint8_t *)v + (size_t)j * e,
			       .ahead = ahead ? ahead + (size_t)j * e : NULL,
			       .scales = scales_of(v, dim, j),
			       .row = (size_t)dim * e,
			       .t0 = t0,
			       .t1 = t1,
			       .p = p,
			       .ldp = ldp,
			       .lda = lda,
			       .acc = acc + j};

		n = dim - j;
		pv_dims(type, a, cols, n);
	}
}

INLINE void expand(const enum kv_type type, const uint8_t *p, size_t n, float *out)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		_mm512_storeu_ps(out + i, load16(type, p + i * bytes_of(type)));
	if (i < n) {
		__mmask16 m = (__mmask16)((1u << (n - i)) - 1);

		_mm512_mask_storeu_ps(out + i, m, load_some(type, p + i * bytes_of(type), m));
	}
}

static void expand_k_q8_0(const void *k, unsigned dim, float *out)
{
	const uint8_t *p = k;

	for (unsigned j = 0; j < dim; j++)
		for (unsigned t = 0; t < KV_TOKENS; t += 16, p += 16, out += 16)
			_mm512_storeu_ps(out, _mm512_mul_ps(load16(KV_Q8_0, p),
							    load16(KV_F16, scales_of(k, dim, j) +
									       (size_t)2 * t)));
}

static void expand_v_q8_0(const void *v, unsigned dim, unsigned n, float *out)
{
	const uint8_t *p = v;

	for (unsigned t = 0; t < n; t++)
		for (unsigned j = 0; j < dim; j += 16, p += 16, out += 16) {
			uint16_t d;

			memcpy(&d, scales_of(v, dim, j) + (size_t)2 * t, 2);
			_mm512_storeu_ps(
			    out, _mm512_mul_ps(load16(KV_Q8_0, p), _mm512_set1_ps(_cvtsh_ss(d))));
		}
}

/* fp32 to bf16 in the low halves, to nearest even; NaN stays NaN. */
INLINE __m512i round_bf16(__m512 x)
{
	__m512i u = _mm512_castps_si512(x);
	__m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
	__m512i r = _mm512_srli_epi32(
	    _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
	__m512i nan = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));

	return _mm512_mask_mov_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), nan);
}

INLINE __m256i to_bf16(__m512 x)
{
	return _mm512_cvtepi32_epi16(round_bf16(x));
}

static void panels(const float *x, unsigned k, unsigned n, uint16_t *out)
{
	for (unsigned i = 0; i < n; i += 16)
		for (unsigned j = 0; j < k; j += 2, out += 32) {
			const float *at = x + (size_t)j * n + i;
			__m512i even = round_bf16(_mm512_loadu_ps(at));
			__m512i odd = round_bf16(_mm512_loadu_ps(at + n));

			_mm512_storeu_si512(out, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
		}
}

/* A vector of half floats or bf16, [j * step]. */
INLINE void store16(const enum kv_type type, uint16_t *to, size_t step, unsigned dim,
		    const float *from)
{
	for (unsigned j = 0; j < dim; j += 16) {
		unsigned n = dim - j < 16 ? dim - j : 16;
		__mmask16 m = (__mmask16)((1u << n) - 1);
		__m512 x = _mm512_maskz_loadu_ps(m, from + j);
		__m256i h =
		    type == KV_F16 ? _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT) : to_bf16(x);
		uint16_t u[16];

		if (step == 1) {
			_mm256_mask_storeu_epi16(to + j, m, h);
			continue;
		}
		_mm256_storeu_si256((__m256i *)u, h);
		for (unsigned i = 0; i < n; i++)
			to[(j + i) * step] = u[i];
	}
}

#define PRODUCTS(T, suffix)                                                                        \
	static void qk_##suffix(const void *k, unsigned dim, const float *q, size_t ldq,           \
				unsigned cols, float *s, size_t lds, const void *ahead)            \
	{                                                                                          \
		qk(T, k, dim, q, ldq, cols, s, lds, ahead);                                        \
	}                                                                                          \
	static void pv_##suffix(const void *v, unsigned dim, unsigned t0, unsigned t1,             \
				const float *p, size_t ldp, unsigned cols, float *acc, size_t lda, \
				const void *ahead)                                                 \
	{                                                                                          \
		pv(T, v, dim, t0, t1, p, ldp, cols, acc, lda, ahead);                              \
	}
PRODUCTS(KV_F16, f16)
PRODUCTS(KV_F32, f32)
PRODUCTS(KV_BF16, bf16)
PRODUCTS(KV_Q8_0, q8_0)

#define HALVES(T, suffix)                                                                          \
	static void expand_k_##suffix(const void *k, unsigned dim, float *out)                     \
	{                                                                                          \
		expand(T, k, (size_t)dim *KV_TOKENS, out);                                         \
	}                                                                                          \
	static void expand_v_##suffix(const void *v, unsigned dim, unsigned n, float *out)         \
	{                                                                                          \
		expand(T, v, (size_t)n *dim, out);                                                 \
	}                                                                                          \
	static void store_k_##suffix(void *k, unsigned dim, unsigned t, const float *from)         \
	{                                                                                          \
		store16(T, (uint16_t *)k + t, KV_TOKENS, dim, from);                               \
	}                                                                                          \
	static void store_v_##suffix(void *v, unsigned dim, unsigned t, const float *from)         \
	{                                                                                          \
		store16(T, (uint16_t *)v + (size_t)t * dim, 1, dim, from);                         \
	}
HALVES(KV_F16, f16)
HALVES(KV_BF16, bf16)

/* 2^x for x <= 0 or NaN, which stays; 0 below 2^-126. Coefficients of Cephes' exp2f. */
INLINE __m512 exp2_16(__m512 x)
{
	__m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r, p;

	r = _mm512_sub_ps(x, n);
	p = _mm512_set1_ps(1.535336188e-4f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.339887440e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.618437357e-3f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550332471e-2f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402264791e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931472028e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ),
				      p, n);
}

static void softmax(float *s, unsigned n, float *max, float *sum)
{
	const __m512 low = _mm512_set1_ps(-INFINITY);
	__mmask16 tail = (__mmask16)((1u << n % 16) - 1);
	unsigned full = n & ~15u;
	__m512 most = low, total = _mm512_setzero_ps(), e;

	for (unsigned i = 0; i < full; i += 16)
		most = _mm512_max_ps(most, _mm512_loadu_ps(s + i));
	if (tail)
		most = _mm512_max_ps(most, _mm512_mask_loadu_ps(low, tail, s + full));
	*max = _mm512_reduce_max_ps(most);
	most = _mm512_set1_ps(*max);
	for (unsigned i = 0; i < full; i += 16) {
		e = exp2_16(_mm512_sub_ps(_mm512_loadu_ps(s + i), most));
		_mm512_storeu_ps(s + i, e);
		total = _mm512_add_ps(total, e);
	}
	if (tail) {
		e = exp2_16(_mm512_sub_ps(_mm512_maskz_loadu_ps(tail, s + full), most));
		_mm512_mask_storeu_ps(s + full, tail, e);
		total = _mm512_mask_add_ps(total, tail, total, e);
	}
	*sum = _mm512_reduce_add_ps(total);
}

static void merge(float *acc, float a, const float *more, float b, unsigned n)
{
	const __m512 va = _mm512_set1_ps(a), vb = _mm512_set1_ps(b);

	for (unsigned i = 0; i < n; i += 16) {
		__mmask16 m = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);
		__m512 y = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, more + i), vb);

		_mm512_mask_storeu_ps(acc + i, m,
				      _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, acc + i), va, y));
	}
}

static void scale(float *out, const float *x, float by, unsigned n)
{
	for (unsigned i = 0; i < n; i += 16) {
		__mmask16 m = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);

		_mm512_mask_storeu_ps(
		    out + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_set1_ps(by)));
	}
}

static void rope(float *h, const float *turn, unsigned dim)
{
	for (unsigned i = 0; i < dim; i += 16) {
		__mmask16 m = (__mmask16)(dim - i < 16 ? (1u << (dim - i)) - 1 : 0xffff);
		__m512 x = _mm512_maskz_loadu_ps(m, h + i);
		__m512 t = _mm512_maskz_loadu_ps(m, turn + i);
		__m512 y = _mm512_mul_ps(_mm512_permute_ps(x, 0xb1), _mm512_movehdup_ps(t));

		_mm512_mask_storeu_ps(h + i, m, _mm512_fmaddsub_ps(x, _mm512_moveldup_ps(t), y));
	}
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#define TYPE(suffix)                                                                               \
	{                                                                                          \
		qk_##suffix, pv_##suffix, expand_k_##suffix, expand_v_##suffix, store_k_##suffix,  \
		    store_v_##suffix                                                               \
	}

const struct attn_kernels attn_avx512 = {
    .name = "avx512",
    .usable = usable,
    .type = {[KV_F16] = TYPE(f16),
	     [KV_F32] = {qk_f32, pv_f32, NULL, NULL, attn_store_k_f32, attn_store_v_f32},
	     [KV_BF16] = TYPE(bf16),
	     [KV_Q8_0] = {qk_q8_0, pv_q8_0, expand_k_q8_0, expand_v_q8_0, attn_store_k_q8_0,
			  attn_store_v_q8_0}},
    .softmax = softmax,
    .merge = merge,
    .scale = scale,
    .panels = panels,
    .rope = rope,
};
#endif
