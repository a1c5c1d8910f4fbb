/* ref64.c - a Llama forward pass in double precision, written from the definition (Touvron et al.,
 * 2023; rope of Su et al., 2021) and sharing no code with the engine: no cache, no blocks, plain
 * softmax. Slow on purpose. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"

static void matvec(const double *w, const double *x, double *y, uint32_t rows, uint32_t cols)
{
	for (uint32_t r = 0; r < rows; r++) {
		double s = 0;

		for (uint32_t c = 0; c < cols; c++)
			s += w[(size_t)r * cols + c] * x[c];
		y[r] = s;
	}
}

static void norm(const double *x, const double *w, double *y, uint32_t n)
{
	double s = 0;

	for (uint32_t i = 0; i < n; i++)
		s += x[i] * x[i];
	for (uint32_t i = 0; i < n; i++)
		y[i] = x[i] / sqrt(s / n + 1e-5f) * w[i];
}

static void turn(double *h, uint32_t dim, uint32_t pos, const double *freqs)
{
	for (uint32_t p = 0; p < dim / 2; p++) {
		double a = pos * pow(10000, -2.0 * p / dim) / (freqs ? freqs[p] : 1);
		double x = h[2 * p], y = h[2 * p + 1];

		h[2 * p] = x * cos(a) - y * sin(a);
		h[2 * p + 1] = x * sin(a) + y * cos(a);
	}
}

/* What one head of token t reads from tokens 0..t. k, v: [t][stride], at this head. */
static void attend(const double *q, const double *k, const double *v, size_t stride, uint32_t t,
		   uint32_t dim, double *out, double *p)
{
	double max = -INFINITY, sum = 0;

	for (uint32_t i = 0; i <= t; i++) {
		double s = 0;

		for (uint32_t j = 0; j < dim; j++)
			s += q[j] * k[i * stride + j];
		p[i] = s / sqrt(dim);
		max = p[i] > max ? p[i] : max;
	}
	memset(out, 0, dim * sizeof(*out));
	for (uint32_t i = 0; i <= t; i++) {
		p[i] = exp(p[i] - max);
		sum += p[i];
		for (uint32_t j = 0; j < dim; j++)
			out[j] += p[i] * v[i * stride + j];
	}
	for (uint32_t j = 0; j < dim; j++)
		out[j] /= sum;
}

static void one_layer(const struct ref_model *r, const struct ref_layer *l, double *x, uint32_t n)
{
	const struct shape *s = &r->s;
	uint32_t d = s->embd, hd = s->head_dim, q = s->heads * hd, kv = s->kv_heads * hd;
	double *qs = calloc((size_t)n * q, sizeof(double)),
	       *ks = calloc((size_t)n * kv, sizeof(double));
	double *vs = calloc((size_t)n * kv, sizeof(double)), *p = calloc(n, sizeof(double));
	double *a = calloc(q + d, sizeof(double)), *b = calloc(s->ff + d, sizeof(double));
	double *c = calloc(s->ff + d, sizeof(double));

	for (uint32_t t = 0; t < n; t++) {
		norm(x + (size_t)t * d, l->attn_norm, a, d);
		matvec(l->q, a, qs + (size_t)t * q, q, d);
		matvec(l->k, a, ks + (size_t)t * kv, kv, d);
		matvec(l->v, a, vs + (size_t)t * kv, kv, d);
		for (uint32_t h = 0; h < s->heads; h++)
			turn(qs + (size_t)t * q + h * hd, hd, t, r->freqs);
		for (uint32_t h = 0; h < s->kv_heads; h++)
			turn(ks + (size_t)t * kv + h * hd, hd, t, r->freqs);
	}
	for (uint32_t t = 0; t < n; t++) {
		double *xt = x + (size_t)t * d;

		for (uint32_t h = 0; h < s->heads; h++) {
			size_t at = (size_t)(h / (s->heads / s->kv_heads)) * hd;

			attend(qs + (size_t)t * q + h * hd, ks + at, vs + at, kv, t, hd, a + h * hd,
			       p);
		}
		matvec(l->o, a, b, d, q);
		for (uint32_t i = 0; i < d; i++)
			xt[i] += b[i];
		norm(xt, l->ffn_norm, a, d);
		matvec(l->gate, a, b, s->ff, d);
		matvec(l->up, a, c, s->ff, d);
		for (uint32_t i = 0; i < s->ff; i++)
			b[i] = b[i] / (1 + exp(-b[i])) * c[i];
		matvec(l->down, b, c, d, s->ff);
		for (uint32_t i = 0; i < d; i++)
			xt[i] += c[i];
	}
	free(qs);
	free(ks);
	free(vs);
	free(p);
	free(a);
	free(b);
	free(c);
}

void ref_logits(const struct ref_model *r, const int32_t *ids, uint32_t n, double *out)
{
	uint32_t d = r->s.embd;
	double *x = calloc((size_t)(n + 1) * d, sizeof(double));

	for (uint32_t t = 0; t < n; t++)
		memcpy(x + (size_t)t * d, r->embd + (size_t)ids[t] * d, d * sizeof(double));
	for (uint32_t i = 0; i < r->s.layers; i++)
		one_layer(r, &r->layers[i], x, n);
	norm(x + (size_t)(n - 1) * d, r->output_norm, x + (size_t)n * d, d);
	matvec(r->output ? r->output : r->embd, x + (size_t)n * d, out, r->s.vocab, d);
	free(x);
}
