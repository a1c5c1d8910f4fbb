/* kern_portable.c - the kernels in plain C, for every CPU. The order of operations is that of
 * kernels.h; loops over eight partial sums are written so that compilers make vectors of them. */
#include <math.h>

#include "attn_kern.h"
#include "blocks.h"
#include "expand.h"
#include "kern_port.h"

static bool always(void)
{
	return true;
}

static void expand_f32(const void *row, float *out, size_t n)
{
	memcpy(out, row, n * sizeof(float)); /* the file is little-endian, as are we */
}

static void expand_f16(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i++)
		out[i] = half_at(p + 2 * i);
}

static void expand_bf16(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i++)
		out[i] = bits_f32((uint32_t)get_le16(p + 2 * i) << 16);
}

static void expand_q8_0(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q8_0_BYTES) {
		const int8_t *q = (const int8_t *)p + 2;
		float d = half_at(p);

		for (int j = 0; j < 32; j++)
			out[i + j] = d * q[j];
	}
}

static void expand_q4_0(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q4_0_BYTES) {
		float d = half_at(p);

		for (int j = 0; j < 16; j++) {
			out[i + j] = d * ((p[2 + j] & 15) - 8);
			out[i + j + 16] = d * ((p[2 + j] >> 4) - 8);
		}
	}
}

static void expand_q4_k(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q4_K_BYTES) {
		float d = half_at(p), dmin = half_at(p + 2), *y = out + i;
		const uint8_t *q = p + 16;

		for (unsigned g = 0; g < 8; g += 2, q += 32, y += 64) {
			unsigned s0, m0, s1, m1;

			q4_k_scale(p + 4, g, &s0, &m0);
			q4_k_scale(p + 4, g + 1, &s1, &m1);
			for (int l = 0; l < 32; l++) {
				y[l] = d * s0 * (q[l] & 15) - dmin * m0;
				y[l + 32] = d * s1 * (q[l] >> 4) - dmin * m1;
			}
		}
	}
}

static void expand_q6_k(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q6_K_BYTES) {
		const uint8_t *ql = p, *qh = p + 128;
		const int8_t *sc = (const int8_t *)p + 192;
		float d = half_at(p + 208), *y = out + i;

		for (int half = 0; half < 2; half++, ql += 64, qh += 32, sc += 8, y += 128)
			for (int l = 0; l < 32; l++) {
				int s = l / 16;

				y[l] = d * sc[s] * ((ql[l] & 15) + (qh[l] & 3) * 16 - 32);
				y[l + 32] = d * sc[s + 2] *
					    ((ql[l + 32] & 15) + (qh[l] >> 2 & 3) * 16 - 32);
				y[l + 64] =
				    d * sc[s + 4] * ((ql[l] >> 4) + (qh[l] >> 4 & 3) * 16 - 32);
				y[l + 96] =
				    d * sc[s + 6] * ((ql[l + 32] >> 4) + (qh[l] >> 6) * 16 - 32);
			}
	}
}

static float tree8(const float *s)
{
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* Four floats side by side; compilers without such registers take them one by one. */
typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));

static inline f4 load4(const float *p)
{
	return *(const f4 *)p;
}

/* R rows by C columns; both are constants where it is called. */
static inline __attribute__((always_inline)) void tile(const unsigned R, const unsigned C,
						       const float *w, size_t ldw, const float *x,
						       size_t ldx, unsigned k, float *y, size_t ldy)
{
	f4 lo[4] = {{0}}, hi[4] = {{0}};
	unsigned i = 0;

	for (; i + 8 <= k; i += 8) {
#pragma GCC unroll 2
		for (unsigned r = 0; r < R; r++) {
			f4 a = load4(w + r * ldw + i), b = load4(w + r * ldw + i + 4);
#pragma GCC unroll 2
			for (unsigned c = 0; c < C; c++) {
				lo[r * C + c] += a * load4(x + c * ldx + i);
				hi[r * C + c] += b * load4(x + c * ldx + i + 4);
			}
		}
	}
#pragma GCC unroll 2
	for (unsigned r = 0; r < R; r++)
#pragma GCC unroll 2
		for (unsigned c = 0; c < C; c++) {
			float s[8];

			memcpy(s, &lo[r * C + c], 16);
			memcpy(s + 4, &hi[r * C + c], 16);
			for (unsigned j = 0; i + j < k; j++)
				s[j] += w[r * ldw + i + j] * x[c * ldx + i + j];
			y[c * ldy + r] = tree8(s);
		}
}

static void gemm(const float *w, size_t ldw, unsigned rows, const float *x, size_t ldx,
		 unsigned cols, unsigned k, float *y, size_t ldy)
{
	unsigned c, r;

	for (c = 0; c + 2 <= cols; c += 2) {
		for (r = 0; r + 2 <= rows; r += 2)
			tile(2, 2, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
		if (r < rows)
			tile(1, 2, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
	}
	if (c == cols)
		return;
	for (r = 0; r + 2 <= rows; r += 2)
		tile(2, 1, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
	if (r < rows)
		tile(1, 1, w + r * ldw, ldw, x + c * ldx, ldx, k, y + c * ldy + r, ldy);
}

static void half_to_f32(const uint16_t *h, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = half_f32(h[i]);
}

static void f32_to_half(const float *f, uint16_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f32_half(f[i]);
}

static void rmsnorm(const float *x, const float *w, float *out, unsigned n, float eps)
{
	float s[8] = {0}, sum, scale;

	for (unsigned i = 0; i < n; i++)
		s[i & 7] += x[i] * x[i];
	sum = tree8(s);
	scale = 1.0f / sqrtf(sum / (float)n + eps) + 0.0f * sum;
	for (unsigned i = 0; i < n; i++)
		out[i] = x[i] * scale * w[i];
}

static void swiglu(const float *gate, const float *up, float *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void add(float *x, const float *y, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		x[i] += y[i];
}

static float exp_sum(float *s, unsigned n, float max)
{
	float sum[8] = {0};

	for (unsigned i = 0; i < n; i++) {
		s[i] = expf(s[i] - max);
		sum[i & 7] += s[i];
	}
	return tree8(sum);
}

static void weigh(float *acc, unsigned dim, float scale, const float *p, unsigned n, const float *v,
		  size_t ldv)
{
	for (unsigned j = 0; j < dim; j++)
		acc[j] *= scale;
	for (unsigned t = 0; t < n; t++)
		for (unsigned j = 0; j < dim; j++)
			acc[j] += p[t] * v[t * ldv + j];
}

const struct kernels kern_portable = {
    .name = "portable",
    .usable = always,
    .expand = {[GT_F32] = expand_f32,
	       [GT_F16] = expand_f16,
	       [GT_BF16] = expand_bf16,
	       [GT_Q8_0] = expand_q8_0,
	       [GT_Q4_0] = expand_q4_0,
	       [GT_Q4_K] = expand_q4_k,
	       [GT_Q6_K] = expand_q6_k,
	       EXPAND_RARE},
    .gemm = gemm,
    .half_to_f32 = half_to_f32,
    .f32_to_half = f32_to_half,
    .rmsnorm = rmsnorm,
    .swiglu = swiglu,
    .add = add,
    .exp_sum = exp_sum,
    .weigh = weigh,
    .attn = &attn_portable,
    .p_form = P_F32,
    .p_bytes = sizeof(float),
    .p_form_x = port_p_form_x,
    .p_expand = PORT_P_EXPAND,
    .p_from_f32 = port_p_from_f32,
    .p_mul = port_p_mul,
    .d_form_x = port_d_form_x,
    .d_mul = PORT_D_MUL,
};
