/* kern_pack_portable.c - the classes P and D of pack.h in plain C. Loops over the 16 rows of a
 * panel are inmost, so that compilers make vectors of them. Integers are kept in floats: sums of
 * 32 products of bytes stay below 2^24 and are exact there. */
#include <math.h>

#include "blocks.h"
#include "kern_port.h"

#define R PACK_ROWS

/* A cell's integers, offset taken off, k by k: u[k][row]. */
typedef float cell[PACK_K][R];

static void cell_nibbles(const uint8_t *nib, int offset, cell u)
{
	for (unsigned j = 0; j < 4; j++)
		for (unsigned r = 0; r < R; r++)
			for (unsigned e = 0; e < 4; e++) {
				int b = nib[64 * j + 4 * r + e];

				u[4 * j + e][r] = (float)((b & 15) - offset);
				u[4 * j + e + 16][r] = (float)((b >> 4) - offset);
			}
}

static void cell_bytes(const uint8_t *b, cell u)
{
	for (unsigned j = 0; j < 8; j++)
		for (unsigned r = 0; r < R; r++)
			for (unsigned e = 0; e < 4; e++)
				u[4 * j + e][r] = (float)((int)b[64 * j + 4 * r + e] - 128);
}

static void cell_q5_k(const uint8_t *g, unsigned c, cell u)
{
	cell_nibbles(g + 320 + 256 * c, 0, u);
	for (unsigned k = 0; k < PACK_K; k++)
		for (unsigned r = 0; r < R; r++)
			u[k][r] += (float)((g[2368 + 64 * c + 4 * r + k % 4] >> (k / 4) & 1) << 4);
}

static void cell_q6_k(const uint8_t *g, unsigned c, cell u)
{
	cell_nibbles(g + 288 + 256 * c, 32, u);
	for (unsigned k = 0; k < PACK_K; k++) {
		const uint8_t *hi = g + 2336 + 128 * c + 64 * (k / 16) + k % 4;

		for (unsigned r = 0; r < R; r++)
			u[k][r] += (float)((hi[4 * r] >> (2 * (k / 4 % 4)) & 3) << 4);
	}
}

static void halves(const uint8_t *p, float *out)
{
	for (unsigned r = 0; r < R; r++)
		out[r] = half_at(p + 2 * r);
}

/* d sc and dmin mn of cell c of a Q4_K or Q5_K group. */
static void k_scales(const uint8_t *g, unsigned c, float *dsc, float *dmn)
{
	for (unsigned r = 0; r < R; r++) {
		dsc[r] = half_at(g + 2 * r) * g[64 + 16 * c + r];
		dmn[r] = half_at(g + 32 + 2 * r) * g[192 + 16 * c + r];
	}
}

/* d sc of the 16 k from 16 s on. */
static void q6_scales(const uint8_t *g, unsigned s, float *dsc)
{
	for (unsigned r = 0; r < R; r++)
		dsc[r] = half_at(g + 2 * r) * (int8_t)g[32 + 16 * s + r];
}

/* ---- class P ---- */

void port_p_form_x(const float *x, void *out, size_t n)
{
	memcpy(out, x, n * sizeof(float));
}

/* n numbers k of each row times the rows' scales. */
static void put_scaled(float *out, float (*u)[R], unsigned n, const float *d)
{
	for (unsigned k = 0; k < n; k++)
		for (unsigned r = 0; r < R; r++)
			out[k * R + r] = d[r] * u[k][r];
}

void port_p_expand_q4_0(const uint8_t *g, uint32_t k, void *out)
{
	float *y = out, d[R];
	cell u;

	for (uint32_t at = 0; at < k; at += 32, g += pack_group_bytes(PACK_Q4_0), y += 32 * R) {
		halves(g, d);
		cell_nibbles(g + 32, 8, u);
		put_scaled(y, u, 32, d);
	}
}

void port_p_expand_q8_0(const uint8_t *g, uint32_t k, void *out)
{
	float *y = out, d[R];
	cell u;

	for (uint32_t at = 0; at < k; at += 32, g += pack_group_bytes(PACK_Q8_0), y += 32 * R) {
		halves(g, d);
		cell_bytes(g + 32, u);
		put_scaled(y, u, 32, d);
	}
}

static void expand_k(enum pack_kind kind, const uint8_t *g, uint32_t k, float *y)
{
	float dsc[R], dmn[R];
	cell u;

	for (uint32_t at = 0; at < k; at += 256, g += pack_group_bytes(kind))
		for (unsigned c = 0; c < 8; c++, y += 32 * R) {
			if (kind == PACK_Q4_K)
				cell_nibbles(g + 320 + 256 * c, 0, u);
			else
				cell_q5_k(g, c, u);
			k_scales(g, c, dsc, dmn);
			for (unsigned i = 0; i < 32; i++)
				for (unsigned r = 0; r < R; r++)
					y[i * R + r] = dsc[r] * u[i][r] - dmn[r];
		}
}

void port_p_expand_q4_k(const uint8_t *g, uint32_t k, void *out)
{
	expand_k(PACK_Q4_K, g, k, out);
}

void port_p_expand_q5_k(const uint8_t *g, uint32_t k, void *out)
{
	expand_k(PACK_Q5_K, g, k, out);
}

void port_p_expand_q6_k(const uint8_t *g, uint32_t k, void *out)
{
	float *y = out, d[R];
	cell u;

	for (uint32_t at = 0; at < k; at += 256, g += pack_group_bytes(PACK_Q6_K))
		for (unsigned c = 0; c < 8; c++, y += 32 * R) {
			cell_q6_k(g, c, u);
			q6_scales(g, 2 * c, d);
			put_scaled(y, u, 16, d);
			q6_scales(g, 2 * c + 1, d);
			put_scaled(y + 16 * R, u + 16, 16, d);
		}
}

static float number_16(enum pack_kind kind, const uint8_t *p)
{
	return kind == PACK_F16 ? half_at(p) : bits_f32((uint32_t)get_le16(p) << 16);
}

static void expand_16(enum pack_kind kind, const uint8_t *g, uint32_t k, float *y)
{
	for (uint32_t i = 0; i < k; i++)
		for (unsigned r = 0; r < R; r++)
			y[i * R + r] = number_16(kind, g + 64 * (i / 2) + 4 * r + 2 * (i % 2));
}

void port_p_expand_f16(const uint8_t *g, uint32_t k, void *out)
{
	expand_16(PACK_F16, g, k, out);
}

void port_p_expand_bf16(const uint8_t *g, uint32_t k, void *out)
{
	expand_16(PACK_BF16, g, k, out);
}

void port_p_from_f32(const float *w, size_t ldw, unsigned n, uint32_t k, void *out)
{
	float *y = out;

	for (unsigned r = 0; r < R; r++)
		for (uint32_t i = 0; i < k; i++)
			y[(size_t)i * R + r] = r < n ? w[r * ldw + i] : 0;
}

typedef float f4 __attribute__((vector_size(16), aligned(4), may_alias));

/* One panel by C columns; C is a constant where it is called. */
static inline __attribute__((always_inline)) void mul_cols(const unsigned C, const float *w,
							   uint32_t k, const float *x, size_t ldx,
							   float *y, size_t ldy, bool first)
{
	f4 acc[8] = {{0}};

	for (unsigned i = 0; i < 4 * C && !first; i++)
		acc[i] = *(const f4 *)(y + i / 4 * ldy + i % 4 * 4);
	for (uint32_t i = 0; i < k; i++, w += R)
#pragma GCC unroll 2
		for (unsigned c = 0; c < C; c++) {
			float b = x[c * ldx + i];
			f4 v = {b, b, b, b};
#pragma GCC unroll 4
			for (unsigned j = 0; j < 4; j++)
				acc[4 * c + j] += *(const f4 *)(w + 4 * j) * v;
		}
	for (unsigned i = 0; i < 4 * C; i++)
		*(f4 *)(y + i / 4 * ldy + i % 4 * 4) = acc[i];
}

void port_p_mul(const void *panels, size_t panel_stride, unsigned n_panels, uint32_t k,
		const void *x, size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	for (unsigned p = 0; p < n_panels; p++, y += R) {
		const float *w =
		    (const float *)(const void *)((const char *)panels + p * panel_stride);
		const float *v = x;
		unsigned c = 0;

		for (; c + 2 <= cols; c += 2)
			mul_cols(2, w, k, v + c * ldx, ldx, y + c * ldy, ldy, first);
		if (c < cols)
			mul_cols(1, w, k, v + c * ldx, ldx, y + c * ldy, ldy, first);
	}
}

/* ---- class D ---- */

void port_d_form_x(const float *x, struct dblock *out, size_t n)
{
	for (; n; n -= 32, x += 32, out++) {
		uint32_t top = 0; /* of the magnitudes' bits: NaN is above infinity above all */
		float inv;

		for (int i = 0; i < 32; i++) {
			uint32_t m = f32_bits(x[i]) & 0x7fffffff;

			top = m > top ? m : top;
		}
		*out = (struct dblock){.dx = bits_f32(top) / 127};
		if (top >= 0x7f800000u) { /* q stays 0, and 0 times dx is NaN */
			out->sx = out->dx * 0.0f;
			continue;
		}
		if (top < D_SMALLEST) {
			out->dx = 0;
			continue;
		}
		inv = 127 / bits_f32(top);
		for (int i = 0; i < 32; i++) {
			/* adding 1.5 * 2^23 rounds to the nearest integer, ties to even */
			float v = x[i] * inv + 12582912.0f;

			out->q[i] = (int8_t)((int)f32_bits(v) - 0x4b400000);
			if (i < 16)
				out->lo += out->q[i];
			else
				out->hi += out->q[i];
		}
		out->sx = out->dx * (float)(out->lo + out->hi);
	}
}

/* I[r] = sum of u[k][r] q[k] over n k. */
static void dots(float (*u)[R], const int8_t *q, unsigned n, float *sum)
{
	for (unsigned r = 0; r < R; r++)
		sum[r] = 0;
	for (unsigned k = 0; k < n; k++) {
		float v = q[k];

		for (unsigned r = 0; r < R; r++)
			sum[r] += u[k][r] * v;
	}
}

/* acc = fma(sum, d * dx, acc) */
static void scale_add(float *acc, const float *sum, const float *d, float dx)
{
	for (unsigned r = 0; r < R; r++)
		acc[r] = fmaf(sum[r], d[r] * dx, acc[r]);
}

static void zero_rows(float *y, size_t ldy, unsigned cols)
{
	for (unsigned c = 0; c < cols; c++)
		memset(y + c * ldy, 0, R * sizeof(float));
}

static void mul_32(enum pack_kind kind, const uint8_t *g, uint32_t k, const struct dblock *x,
		   size_t ldx, unsigned cols, float *y, size_t ldy)
{
	float d[R], sum[R];
	cell u;

	zero_rows(y, ldy, cols);
	for (uint32_t b = 0; b < k / 32; b++, g += pack_group_bytes(kind)) {
		halves(g, d);
		if (kind == PACK_Q4_0)
			cell_nibbles(g + 32, 8, u);
		else
			cell_bytes(g + 32, u);
		for (unsigned c = 0; c < cols; c++) {
			const struct dblock *v = &x[c * ldx + b];

			dots(u, v->q, 32, sum);
			scale_add(y + c * ldy, sum, d, v->dx);
		}
	}
}

void port_d_mul_q4_0(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy)
{
	mul_32(PACK_Q4_0, panel, k, x, ldx, cols, y, ldy);
}

void port_d_mul_q8_0(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy)
{
	mul_32(PACK_Q8_0, panel, k, x, ldx, cols, y, ldy);
}

static void mul_k(enum pack_kind kind, const uint8_t *g, uint32_t k, const struct dblock *x,
		  size_t ldx, unsigned cols, float *y, size_t ldy)
{
	float dsc[R], dmn[R], sum[R];
	cell u;

	zero_rows(y, ldy, cols);
	for (uint32_t b = 0; b < k / 32; b++) {
		unsigned c8 = b % 8;

		if (kind == PACK_Q4_K)
			cell_nibbles(g + 320 + 256 * c8, 0, u);
		else
			cell_q5_k(g, c8, u);
		k_scales(g, c8, dsc, dmn);
		for (unsigned c = 0; c < cols; c++) {
			const struct dblock *v = &x[c * ldx + b];
			float *acc = y + c * ldy;

			dots(u, v->q, 32, sum);
			scale_add(acc, sum, dsc, v->dx);
			for (unsigned r = 0; r < R; r++)
				acc[r] = fmaf(dmn[r], -v->sx, acc[r]);
		}
		if (c8 == 7)
			g += pack_group_bytes(kind);
	}
}

void port_d_mul_q4_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy)
{
	mul_k(PACK_Q4_K, panel, k, x, ldx, cols, y, ldy);
}

void port_d_mul_q5_k(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy)
{
	mul_k(PACK_Q5_K, panel, k, x, ldx, cols, y, ldy);
}

void port_d_mul_q6_k(const uint8_t *g, uint32_t k, const void *xs, size_t ldx, unsigned cols,
		     float *y, size_t ldy)
{
	const struct dblock *x = xs;
	float lo[R], hi[R], sum[R];
	cell u;

	zero_rows(y, ldy, cols);
	for (uint32_t b = 0; b < k / 32; b++) {
		cell_q6_k(g, b % 8, u);
		q6_scales(g, b % 8 * 2, lo);
		q6_scales(g, b % 8 * 2 + 1, hi);
		for (unsigned c = 0; c < cols; c++) {
			const struct dblock *v = &x[c * ldx + b];

			dots(u, v->q, 16, sum);
			scale_add(y + c * ldy, sum, lo, v->dx);
			dots(u + 16, v->q + 16, 16, sum);
			scale_add(y + c * ldy, sum, hi, v->dx);
		}
		if (b % 8 == 7)
			g += pack_group_bytes(PACK_Q6_K);
	}
}

static void mul_16(enum pack_kind kind, const uint8_t *g, uint32_t k, const float *x, size_t ldx,
		   unsigned cols, float *y, size_t ldy)
{
	for (unsigned c = 0; c < cols; c++)
		for (unsigned r = 0; r < R; r++) {
			float s[4] = {0};

			for (uint32_t i = 0; i < k; i++) {
				const uint8_t *w = g + 64 * (i / 2) + 4 * r + 2 * (i % 2);

				s[i % 4] = fmaf(number_16(kind, w), x[c * ldx + i], s[i % 4]);
			}
			y[c * ldy + r] = (s[0] + s[1]) + (s[2] + s[3]);
		}
}

void port_d_mul_f16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		    float *y, size_t ldy)
{
	mul_16(PACK_F16, panel, k, x, ldx, cols, y, ldy);
}

void port_d_mul_bf16(const uint8_t *panel, uint32_t k, const void *x, size_t ldx, unsigned cols,
		     float *y, size_t ldy)
{
	mul_16(PACK_BF16, panel, k, x, ldx, cols, y, ldy);
}
