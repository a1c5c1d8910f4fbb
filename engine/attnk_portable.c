/* attnk_portable.c - attention in plain C, for CPUs without a table of their own, and which tables
 * there are. The inner loops run along the lanes, so that compilers vectorise them. */
#include "attn_kern.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "blocks.h"

static bool always(void)
{
	return true;
}

/* Number i of a block, without its scale. */
static inline float number(enum kv_type type, const void *p, size_t i)
{
	switch (type) {
	case KV_F16:
		return half_f32(((const uint16_t *)p)[i]);
	case KV_BF16:
		return bits_f32((uint32_t)((const uint16_t *)p)[i] << 16);
	case KV_Q8_0:
		return ((const int8_t *)p)[i];
	default:
		return ((const float *)p)[i];
	}
}

/* The scale of dimension j, token t, of a Q8_0 block. */
static inline float scale_of(const void *p, unsigned dim, unsigned j, unsigned t)
{
	const uint8_t *scales = (const uint8_t *)p + (size_t)dim * KV_TOKENS;

	return half_f32(((const uint16_t *)scales)[j / KV_Q * KV_TOKENS + t]);
}

static inline void qk(enum kv_type type, const void *k, unsigned dim, const float *q, size_t ldq,
		      unsigned cols, float *s, size_t lds)
{
	float row[KV_TOKENS];

	for (unsigned c = 0; c < cols; c++)
		memset(s + c * lds, 0, sizeof(row));
	for (unsigned j = 0; j < dim; j++) {
		for (unsigned t = 0; t < KV_TOKENS; t++) {
			row[t] = number(type, k, (size_t)j * KV_TOKENS + t);
			if (type == KV_Q8_0)
				row[t] *= scale_of(k, dim, j, t);
		}
		for (unsigned c = 0; c < cols; c++) {
			float *to = s + c * lds, by = q[c * ldq + j];

			for (unsigned t = 0; t < KV_TOKENS; t++)
				to[t] += by * row[t];
		}
	}
}

/* Part of one token's V: n <= 64 dimensions from j on. */
static inline void v_part(enum kv_type type, const void *v, unsigned dim, unsigned t, unsigned j,
			  unsigned n, float *out)
{
	for (unsigned i = 0; i < n; i++) {
		out[i] = number(type, v, (size_t)t * dim + j + i);
		if (type == KV_Q8_0)
			out[i] *= scale_of(v, dim, j + i, t);
	}
}

static inline void pv(enum kv_type type, const void *v, unsigned dim, unsigned t0, unsigned t1,
		      const float *p, size_t ldp, unsigned cols, float *acc, size_t lda)
{
	float row[64];

	for (unsigned j = 0; j < dim; j += 64) {
		unsigned n = dim - j < 64 ? dim - j : 64;

		for (unsigned t = t0; t < t1; t++) {
			v_part(type, v, dim, t, j, n, row);
			for (unsigned c = 0; c < cols; c++) {
				float *to = acc + c * lda + j, by = p[c * ldp + t];

				for (unsigned i = 0; i < n; i++)
					to[i] += by * row[i];
			}
		}
	}
}

static inline void expand_k(enum kv_type type, const void *k, unsigned dim, float *out)
{
	for (unsigned j = 0; j < dim; j++)
		for (unsigned t = 0; t < KV_TOKENS; t++) {
			float x = number(type, k, (size_t)j * KV_TOKENS + t);

			*out++ = type == KV_Q8_0 ? x * scale_of(k, dim, j, t) : x;
		}
}

static inline void expand_v(enum kv_type type, const void *v, unsigned dim, unsigned n, float *out)
{
	for (unsigned t = 0; t < n; t++)
		for (unsigned j = 0; j < dim; j += 64)
			v_part(type, v, dim, t, j, dim - j < 64 ? dim - j : 64,
			       out + (size_t)t * dim + j);
}

static uint16_t f32_bf16(float f)
{
	uint32_t u = f32_bits(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* 32 numbers to Q8_0, q[i * step]; returns the scale, a half float: NaN when one is not finite. */
static uint16_t to_q8_0(const float *x, int8_t *q, size_t step)
{
	float most = 0, bad = 0, d, by;
	uint16_t half;

	for (int i = 0; i < KV_Q; i++) {
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
		bad += x[i] - x[i]; /* NaN unless finite */
	}
	half = f32_half(most / 127 + bad);
	d = half_f32(half);
	by = d > 0 && d <= 65504 ? 1 / d : 0; /* too large: d is infinite, and 0 * d is NaN */
	for (int i = 0; i < KV_Q; i++) {
		float y = by > 0 ? rintf(x[i] * by) : 0;

		q[i * step] = (int8_t)(y > 127 ? 127 : y < -127 ? -127 : y);
	}
	return half;
}

/* Number j of token t stands at [j][t] in K (step 64), at [t][j] in V (step 1). */
static inline void store(enum kv_type type, void *block, unsigned dim, unsigned t, size_t at,
			 size_t step, const float *from)
{
	if (type == KV_Q8_0) {
		int8_t *q = (int8_t *)block + at;
		uint16_t *scales = (uint16_t *)(void *)((uint8_t *)block + (size_t)dim * KV_TOKENS);

		for (unsigned j = 0; j < dim; j += KV_Q)
			scales[j / KV_Q * KV_TOKENS + t] = to_q8_0(from + j, q + j * step, step);
		return;
	}
	for (unsigned j = 0; j < dim; j++) {
		size_t i = at + j * step;

		if (type == KV_F32)
			((float *)block)[i] = from[j];
		else
			((uint16_t *)block)[i] =
			    type == KV_F16 ? f32_half(from[j]) : f32_bf16(from[j]);
	}
}

#define OF_TYPE(T, suffix)                                                                         \
	static void qk_##suffix(const void *k, unsigned dim, const float *q, size_t ldq,           \
				unsigned cols, float *s, size_t lds, const void *ahead)            \
	{                                                                                          \
		qk(T, k, dim, q, ldq, cols, s, lds);                                               \
	}                                                                                          \
	static void pv_##suffix(const void *v, unsigned dim, unsigned t0, unsigned t1,             \
				const float *p, size_t ldp, unsigned cols, float *acc, size_t lda, \
				const void *ahead)                                                 \
	{                                                                                          \
		pv(T, v, dim, t0, t1, p, ldp, cols, acc, lda);                                     \
	}                                                                                          \
	static void expand_k_##suffix(const void *k, unsigned dim, float *out)                     \
	{                                                                                          \
		expand_k(T, k, dim, out);                                                          \
	}                                                                                          \
	static void expand_v_##suffix(const void *v, unsigned dim, unsigned n, float *out)         \
	{                                                                                          \
		expand_v(T, v, dim, n, out);                                                       \
	}

#define STORES(T, suffix, scope)                                                                   \
	scope void attn_store_k_##suffix(void *k, unsigned dim, unsigned t, const float *from)     \
	{                                                                                          \
		store(T, k, dim, t, t, KV_TOKENS, from);                                           \
	}                                                                                          \
	scope void attn_store_v_##suffix(void *v, unsigned dim, unsigned t, const float *from)     \
	{                                                                                          \
		store(T, v, dim, t, (size_t)t *dim, 1, from);                                      \
	}
STORES(KV_F16, f16, static)
STORES(KV_F32, f32, )
STORES(KV_BF16, bf16, static)
STORES(KV_Q8_0, q8_0, )
OF_TYPE(KV_F16, f16)
OF_TYPE(KV_F32, f32)
OF_TYPE(KV_BF16, bf16)
OF_TYPE(KV_Q8_0, q8_0)

static void softmax(float *s, unsigned n, float *max, float *sum)
{
	float most = s[0], part[8] = {0};

	for (unsigned i = 1; i < n; i++)
		most = s[i] > most ? s[i] : most;
	for (unsigned i = 0; i < n; i++) {
		s[i] = s[i] - most < -126 ? 0 : exp2f(s[i] - most);
		part[i % 8] += s[i];
	}
	*max = most;
	*sum = ((part[0] + part[1]) + (part[2] + part[3])) +
	       ((part[4] + part[5]) + (part[6] + part[7]));
}

static void merge(float *acc, float a, const float *more, float b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		acc[i] = acc[i] * a + more[i] * b;
}

static void scale(float *out, const float *x, float by, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		out[i] = x[i] * by;
}

static void rope(float *h, const float *turn, unsigned dim)
{
	for (unsigned i = 0; i < dim; i += 2) {
		float c = turn[i], s = turn[i + 1], x = h[i], y = h[i + 1];

		h[i] = x * c - y * s;
		h[i + 1] = x * s + y * c;
	}
}

#define TYPE(suffix)                                                                               \
	{                                                                                          \
		qk_##suffix, pv_##suffix, expand_k_##suffix, expand_v_##suffix,                    \
		    attn_store_k_##suffix, attn_store_v_##suffix                                   \
	}

const struct attn_kernels attn_portable = {
    .name = "portable",
    .usable = always,
    .type = {[KV_F16] = TYPE(f16),
	     [KV_F32] = TYPE(f32),
	     [KV_BF16] = TYPE(bf16),
	     [KV_Q8_0] = TYPE(q8_0)},
    .softmax = softmax,
    .merge = merge,
    .scale = scale,
    .rope = rope,
};

static const struct attn_kernels *const all[] = {
#if defined(__x86_64__)
    &attn_avx512,
    &attn_avx2,
#endif
    &attn_portable,
};
#define N_ALL (sizeof(all) / sizeof(all[0]))

static const struct attn_kernels *found[N_ALL + 1];
static pthread_once_t found_once = PTHREAD_ONCE_INIT;

static void fill(void)
{
	size_t n = 0;

	for (size_t i = 0; i < N_ALL; i++)
		if (all[i]->usable())
			found[n++] = all[i];
}

const struct attn_kernels *const *attn_tables(void)
{
	pthread_once(&found_once, fill);
	return found;
}
