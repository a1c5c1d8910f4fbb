/* attnk_avx2.c - attention with AVX2, FMA and F16C. Only functions below the pragma may use these
 * instructions; a table that names attn_avx2 is usable only where usable() holds. A tile is C
 * columns by two registers of 8 lanes: its accumulators stay in registers over the whole sum. */
#include "attn_kern.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "blocks.h"

static bool usable(void)
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

INLINE unsigned bytes_of(const enum kv_type type)
{
	return type == KV_F32 ? 4 : type == KV_Q8_0 ? 1 : 2;
}

/* Eight numbers, without their scale. */
INLINE __m256 load8(const enum kv_type type, const uint8_t *p)
{
	switch (type) {
	case KV_F16:
		return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
	case KV_BF16:
		return _mm256_castsi256_ps(_mm256_slli_epi32(
		    _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
	case KV_Q8_0:
		return _mm256_cvtepi32_ps(
		    _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
	default:
		return _mm256_loadu_ps((const float *)(const void *)p);
	}
}

/* One number, without its scale. */
INLINE float load1(const enum kv_type type, const uint8_t *p)
{
	float f;

	switch (type) {
	case KV_F16:
		return _cvtsh_ss(get_le16(p));
	case KV_BF16:
		return bits_f32((uint32_t)get_le16(p) << 16);
	case KV_Q8_0:
		return (int8_t)*p;
	default:
		memcpy(&f, p, 4);
		return f;
	}
}

/* A line of what comes next, to the second-level cache: the first has too few places for misses. */
INLINE void fetch(const uint8_t *p)
{
	_mm_prefetch((const char *)p, _MM_HINT_T1);
}

/* The scales of dimensions j.. of a Q8_0 block: 64 half floats, by token. */
INLINE const uint8_t *scales_of(const uint8_t *block, unsigned dim, unsigned j)
{
	return block + (size_t)dim * KV_TOKENS + (size_t)(j / KV_Q) * KV_TOKENS * 2;
}

/* C columns, tokens t .. t + 15. */
INLINE void qk_tile(const enum kv_type type, const unsigned C, const uint8_t *block, unsigned dim,
		    unsigned t, const float *q, size_t ldq, float *s, size_t lds,
		    const uint8_t *ahead)
{
	const unsigned e = bytes_of(type), row = KV_TOKENS * e;
	const uint8_t *k = block + (size_t)t * e;
	__m256 acc[12], d0 = _mm256_setzero_ps(), d1 = d0;

#pragma GCC unroll 12
	for (unsigned i = 0; i < 2 * C; i++)
		acc[i] = _mm256_setzero_ps();
	for (unsigned j = 0; j < dim; j++, k += row) {
		__m256 v0 = load8(type, k), v1 = load8(type, k + (size_t)8 * e);

		if (ahead)
			fetch(ahead + (size_t)j * row + (size_t)t * e);
		if (type == KV_Q8_0) {
			if (j % KV_Q == 0) {
				const uint8_t *at = scales_of(block, dim, j) + (size_t)2 * t;

				d0 = load8(KV_F16, at);
				d1 = load8(KV_F16, at + 16);
			}
			v0 = _mm256_mul_ps(v0, d0);
			v1 = _mm256_mul_ps(v1, d1);
		}
#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++) {
			__m256 b = _mm256_broadcast_ss(q + c * ldq + j);

			acc[2 * c] = _mm256_fmadd_ps(b, v0, acc[2 * c]);
			acc[2 * c + 1] = _mm256_fmadd_ps(b, v1, acc[2 * c + 1]);
		}
	}
#pragma GCC unroll 6
	for (unsigned c = 0; c < C; c++) {
		_mm256_storeu_ps(s + c * lds + t, acc[2 * c]);
		_mm256_storeu_ps(s + c * lds + t + 8, acc[2 * c + 1]);
	}
}

INLINE void qk_cols(const enum kv_type type, const unsigned C, const void *k, unsigned dim,
		    const float *q, size_t ldq, float *s, size_t lds, const uint8_t *ahead)
{
	for (unsigned t = 0; t < KV_TOKENS; t += 16)
		qk_tile(type, C, k, dim, t, q, ldq, s, lds, t * bytes_of(type) % 64 ? NULL : ahead);
}

INLINE void qk(const enum kv_type type, const void *k, unsigned dim, const float *q, size_t ldq,
	       unsigned cols, float *s, size_t lds, const uint8_t *ahead)
{
	unsigned c = 0;

	if (type == KV_F32)
		for (; c + 6 <= cols; c += 6)
			qk_cols(type, 6, k, dim, q + c * ldq, ldq, s + c * lds, lds,
				c ? NULL : ahead);
	for (; c + 4 <= cols; c += 4)
		qk_cols(type, 4, k, dim, q + c * ldq, ldq, s + c * lds, lds, c ? NULL : ahead);
	for (; c < cols; c++)
		qk_cols(type, 1, k, dim, q + c * ldq, ldq, s + c * lds, lds, c ? NULL : ahead);
}

/* What a tile of V works on: some dimensions of V and the same of the sums. */
struct pv {
	const uint8_t *v, *ahead;
	const float *scale; /* by token */
	size_t row;	    /* bytes of a token */
	unsigned t0, t1;
	const float *p;
	size_t ldp, lda;
	float *acc;
};

/* C columns by W registers. */
INLINE void pv_tile(const enum kv_type type, const unsigned C, const unsigned W, struct pv a)
{
	const unsigned step = 8 * bytes_of(type);
	RAW __m256 acc[12], v[2];

#pragma GCC unroll 6
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 2
		for (unsigned i = 0; i < W; i++)
			acc[W * c + i] = _mm256_loadu_ps(a.acc + c * a.lda + (size_t)8 * i);
	for (unsigned t = a.t0; t < a.t1; t++) {
		if (a.ahead)
			fetch(a.ahead + t * a.row);
#pragma GCC unroll 2
		for (unsigned i = 0; i < W; i++) {
			v[i] = load8(type, a.v + t * a.row + step * i);
			if (type == KV_Q8_0)
				v[i] = _mm256_mul_ps(v[i], _mm256_broadcast_ss(a.scale + t));
		}
#pragma GCC unroll 6
		for (unsigned c = 0; c < C; c++) {
			__m256 b = _mm256_broadcast_ss(a.p + c * a.ldp + t);
#pragma GCC unroll 2
			for (unsigned i = 0; i < W; i++)
				acc[W * c + i] = _mm256_fmadd_ps(b, v[i], acc[W * c + i]);
		}
	}
#pragma GCC unroll 6
	for (unsigned c = 0; c < C; c++)
#pragma GCC unroll 2
		for (unsigned i = 0; i < W; i++)
			_mm256_storeu_ps(a.acc + c * a.lda + (size_t)8 * i, acc[W * c + i]);
}

/* The next c columns. */
INLINE void pv_next(struct pv *a, unsigned c)
{
	a->ahead = NULL; /* fetched by now */
	a->p += c * a->ldp;
	a->acc += c * a->lda;
}

/* 16, 8 or 1 dimensions (never 1 of Q8_0). */
INLINE void pv_dims(const enum kv_type type, struct pv a, unsigned cols, unsigned n)
{
	unsigned c = 0;

	if (n == 1)
		for (; c < cols; c++, pv_next(&a, 1))
			for (unsigned t = a.t0; t < a.t1; t++)
				*a.acc =
				    __builtin_fmaf(a.p[t], load1(type, a.v + t * a.row), *a.acc);
	else if (n == 8)
		for (; c < cols; c++, pv_next(&a, 1))
			pv_tile(type, 1, 1, a);
	if (type == KV_F32)
		for (; c + 6 <= cols; c += 6, pv_next(&a, 6))
			pv_tile(type, 6, 2, a);
	for (; c + 4 <= cols; c += 4, pv_next(&a, 4))
		pv_tile(type, 4, 2, a);
	for (; c < cols; c++, pv_next(&a, 1))
		pv_tile(type, 1, 2, a);
}

INLINE void pv(const enum kv_type type, const void *v, unsigned dim, unsigned t0, unsigned t1,
	       const float *p, size_t ldp, unsigned cols, float *acc, size_t lda,
	       const uint8_t *ahead)
{
	const unsigned e = bytes_of(type);
	RAW float scale[KV_TOKENS];

	for (unsigned j = 0, n; j < dim; j += n) {
		struct pv a = {.v = (const uint8_t *)v + (size_t)j * e,
			       .ahead = ahead && j * e % 64 == 0 ? ahead + (size_t)j * e : NULL,
			       .scale = scale,
			       .row = (size_t)dim * e,
			       .t0 = t0,
			       .t1 = t1,
			       .p = p,
			       .ldp = ldp,
			       .lda = lda,
			       .acc = acc + j};

		if (type == KV_Q8_0 && j % KV_Q == 0)
			for (unsigned t = 0; t < KV_TOKENS; t += 8)
				_mm256_storeu_ps(scale + t,
						 load8(KV_F16, scales_of(v, dim, j) + 2 * t));
		n = dim - j >= 16 ? 16 : dim - j >= 8 ? 8 : 1;
		pv_dims(type, a, cols, n);
	}
}

INLINE void expand(const enum kv_type type, const uint8_t *p, size_t n, float *out)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(out + i, load8(type, p + i * bytes_of(type)));
	for (; i < n; i++)
		out[i] = load1(type, p + i * bytes_of(type));
}

static void expand_k_q8_0(const void *k, unsigned dim, float *out)
{
	const uint8_t *p = k;

	for (unsigned j = 0; j < dim; j++)
		for (unsigned t = 0; t < KV_TOKENS; t += 8, p += 8, out += 8)
			_mm256_storeu_ps(out, _mm256_mul_ps(load8(KV_Q8_0, p),
							    load8(KV_F16, scales_of(k, dim, j) +
									      (size_t)2 * t)));
}

static void expand_v_q8_0(const void *v, unsigned dim, unsigned n, float *out)
{
	const uint8_t *p = v;

	for (unsigned t = 0; t < n; t++)
		for (unsigned j = 0; j < dim; j += 8, p += 8, out += 8)
			_mm256_storeu_ps(
			    out, _mm256_mul_ps(load8(KV_Q8_0, p),
					       _mm256_set1_ps(load1(KV_F16, scales_of(v, dim, j) +
										(size_t)2 * t))));
}

/* fp32 to bf16, to nearest even; NaN stays NaN. */
INLINE __m128i to_bf16(__m256 x)
{
	__m256i u = _mm256_castps_si256(x), top = _mm256_srli_epi32(u, 16);
	__m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
	__m256i r = _mm256_srli_epi32(
	    _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);

	r = _mm256_blendv_epi8(r, _mm256_or_si256(top, _mm256_set1_epi32(0x40)),
			       _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
	return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}

/* A vector of half floats or bf16, [j * step]. */
INLINE void store8(const enum kv_type type, uint16_t *to, size_t step, unsigned dim,
		   const float *from)
{
	for (unsigned j = 0; j < dim; j += 8) {
		unsigned n = dim - j < 8 ? dim - j : 8;
		float f[8] = {0};
		uint16_t u[8];
		__m256 x;

		if (n < 8)
			memcpy(f, from + j, n * sizeof(float));
		x = _mm256_loadu_ps(n < 8 ? f : from + j);
		_mm_storeu_si128((__m128i *)u, type == KV_F16
						   ? _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)
						   : to_bf16(x));
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
		store8(T, (uint16_t *)k + t, KV_TOKENS, dim, from);                                \
	}                                                                                          \
	static void store_v_##suffix(void *v, unsigned dim, unsigned t, const float *from)         \
	{                                                                                          \
		store8(T, (uint16_t *)v + (size_t)t * dim, 1, dim, from);                          \
	}
HALVES(KV_F16, f16)
HALVES(KV_BF16, bf16)

/* Lanes i < n all ones, n <= 8. */
INLINE __m256i lanes(unsigned n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n),
				  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* 2^x for x <= 0 or NaN, which stays; 0 below 2^-126. Coefficients of Cephes' exp2f. */
INLINE __m256 exp2_8(__m256 x)
{
	__m256 ok = _mm256_cmp_ps(x, _mm256_set1_ps(-126.0f), _CMP_NLT_UQ);
	__m256 n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r, p;
	__m256i e =
	    _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);

	r = _mm256_sub_ps(x, n);
	p = _mm256_set1_ps(1.535336188e-4f);
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.339887440e-3f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(9.618437357e-3f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.550332471e-2f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(2.402264791e-1f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(6.931472028e-1f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
	return _mm256_and_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(e)), ok);
}

static void softmax(float *s, unsigned n, float *max, float *sum)
{
	const __m256 low = _mm256_set1_ps(-INFINITY);
	__m256 most = low, total = _mm256_setzero_ps();
	__m128 h;

	for (unsigned i = 0; i < n; i += 8) {
		__m256i m = lanes(n - i < 8 ? n - i : 8);

		most = _mm256_max_ps(most, _mm256_blendv_ps(low, _mm256_maskload_ps(s + i, m),
							    _mm256_castsi256_ps(m)));
	}
	h = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
	h = _mm_max_ps(h, _mm_movehl_ps(h, h));
	*max = _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
	most = _mm256_set1_ps(*max);
	for (unsigned i = 0; i < n; i += 8) {
		__m256i m = lanes(n - i < 8 ? n - i : 8);
		__m256 e = exp2_8(_mm256_sub_ps(_mm256_maskload_ps(s + i, m), most));

		_mm256_maskstore_ps(s + i, m, e);
		total = _mm256_add_ps(total, _mm256_and_ps(e, _mm256_castsi256_ps(m)));
	}
	h = _mm_add_ps(_mm256_castps256_ps128(total), _mm256_extractf128_ps(total, 1));
	h = _mm_add_ps(h, _mm_movehl_ps(h, h));
	*sum = _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}

static void merge(float *acc, float a, const float *more, float b, unsigned n)
{
	const __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b);

	for (unsigned i = 0; i < n; i += 8) {
		__m256i m = lanes(n - i < 8 ? n - i : 8);
		__m256 y = _mm256_mul_ps(_mm256_maskload_ps(more + i, m), vb);

		_mm256_maskstore_ps(acc + i, m,
				    _mm256_fmadd_ps(_mm256_maskload_ps(acc + i, m), va, y));
	}
}

static void scale(float *out, const float *x, float by, unsigned n)
{
	for (unsigned i = 0; i < n; i += 8) {
		__m256i m = lanes(n - i < 8 ? n - i : 8);

		_mm256_maskstore_ps(
		    out + i, m, _mm256_mul_ps(_mm256_maskload_ps(x + i, m), _mm256_set1_ps(by)));
	}
}

static void rope(float *h, const float *turn, unsigned dim)
{
	for (unsigned i = 0; i < dim; i += 8) {
		__m256i m = lanes(dim - i < 8 ? dim - i : 8);
		__m256 x = _mm256_maskload_ps(h + i, m), t = _mm256_maskload_ps(turn + i, m);
		__m256 y = _mm256_mul_ps(_mm256_permute_ps(x, 0xb1), _mm256_movehdup_ps(t));

		_mm256_maskstore_ps(h + i, m, _mm256_fmaddsub_ps(x, _mm256_moveldup_ps(t), y));
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

const struct attn_kernels attn_avx2 = {
    .name = "avx2",
    .usable = usable,
    .type = {[KV_F16] = TYPE(f16),
	     [KV_F32] = {qk_f32, pv_f32, NULL, NULL, attn_store_k_f32, attn_store_v_f32},
	     [KV_BF16] = TYPE(bf16),
	     [KV_Q8_0] = {qk_q8_0, pv_q8_0, expand_k_q8_0, expand_v_q8_0, attn_store_k_q8_0,
			  attn_store_v_q8_0}},
    .softmax = softmax,
    .merge = merge,
    .scale = scale,
    .rope = rope,
};
#endif
