/* quant_rows.c - see quant_rows.h. */
#include "quant_rows.h"

#include <math.h>

#include "blocks.h"

#define TINY 1e-12f /* below any half float: such weights are zeros */

/* The whole number of lo..hi next to v; any finite v or infinity. lo <= 0. */
static inline int nearest(float v, int lo, int hi)
{
	v = v < (float)lo ? (float)lo : v;
	v = v > (float)hi ? (float)hi : v;
	return (int)(v - (float)lo + 0.5f) + lo;
}

/* Four at once: where the search spends its time, compilers see no vectors by themselves, because
 * sums would change their order. */
typedef float f4 __attribute__((vector_size(16)));
typedef int i4 __attribute__((vector_size(16)));

static inline f4 load4(const float *x)
{
	f4 v;

	memcpy(&v, x, sizeof(v));
	return v;
}

static inline f4 all4(float f)
{
	return (f4){f, f, f, f};
}

/* nearest() of each, as floats. */
static inline f4 nearest4(f4 v, float lo, float hi)
{
	f4 a = all4(lo), b = all4(hi);
	i4 m = v<a, n = v> b;

	v = (f4)(((i4)a & m) | ((i4)b & n) | ((i4)v & ~(m | n)));
	return __builtin_convertvector(__builtin_convertvector(v - a + 0.5f, i4), f4) + a;
}

static inline float sum4(f4 v)
{
	return (v[0] + v[1]) + (v[2] + v[3]);
}

static float largest(const float *x, int n)
{
	float big = 0;

	for (int i = 0; i < n; i++)
		if (fabsf(x[i]) > fabsf(big))
			big = x[i];
	return big;
}

static inline float inverse(float d)
{
	return fabsf(d) > TINY ? 1 / d : 0;
}

/* The d for which the sum of (x - d l)^2 is least, l of -m .. m - 1 being x / d rounded. */
static float fit_scale(const float *x, int n, int m)
{
	float big = largest(x, n), best = 0, d = 0;

	if (fabsf(big) <= TINY)
		return 0;
	for (int step = -18; step < 20; step++) {
		/* the largest weight at either end of the range, and around it */
		float at = step < 0 ? -(float)m - 0.1f * (float)(step + 9)
				    : (float)(m - 1) + 0.1f * (float)(step - 10);
		f4 xl4 = {0}, ll4 = {0};
		float xl, ll;

		for (int i = 0; i < n; i += 4) {
			f4 v = load4(x + i);
			f4 l = nearest4(v * all4(at / big), (float)-m, (float)(m - 1));

			xl4 += v * l;
			ll4 += l * l;
		}
		xl = sum4(xl4);
		ll = sum4(ll4);
		if (ll > 0 && xl * xl > best * ll) {
			best = xl * xl / ll;
			d = xl / ll;
		}
	}
	return d;
}

/* ---- Q8_0, Q4_0 ---- */

static void put_q8_0(const float *x, uint8_t *p)
{
	uint16_t d = f32_half(fabsf(largest(x, 32)) / 127);
	float id = inverse(half_f32(d));

	put_le16(p, d);
	for (int i = 0; i < 32; i++)
		p[2 + i] = (uint8_t)nearest(x[i] * id, -127, 127);
}

/* Sum of (x - d l)^2, l of -m .. m - 1. */
static float error(const float *x, float d, int n, int m)
{
	float id = inverse(d);
	f4 sum = {0};

	for (int i = 0; i < n; i += 4) {
		f4 v = load4(x + i);
		f4 e = v - all4(d) * nearest4(v * all4(id), (float)-m, (float)(m - 1));

		sum += e * e;
	}
	return sum4(sum);
}

static void put_q4_0(const float *x, uint8_t *p)
{
	float d = half_f32(f32_half(fit_scale(x, 32, 8))), id;

	for (int k = 0; k < 2; k++) { /* the plain scale may still be the better one, rounded */
		float plain = half_f32(f32_half(largest(x, 32) / (k ? 7 : -8)));

		if (error(x, plain, 32, 8) < error(x, d, 32, 8))
			d = plain;
	}
	id = inverse(d);
	put_le16(p, f32_half(d));
	for (int i = 0; i < 16; i++)
		p[2 + i] = (uint8_t)((nearest(x[i] * id, -8, 7) + 8) |
				     (nearest(x[i + 16] * id, -8, 7) + 8) << 4);
}

/* ---- Q6_K ---- */

/* The number next to `at` for which d times it is the best scale. */
static int q6_scale(const float *x, float d, int at)
{
	float least = error(x, d * (float)at, 16, 32);
	int best = at;

	for (int s = at - 1; s <= at + 1; s += 2) {
		float e = s < -128 || s > 127 ? least : error(x, d * (float)s, 16, 32);

		if (e < least) {
			least = e;
			best = s;
		}
	}
	return best;
}

static void put_q6_k(const float *x, uint8_t *p)
{
	float s[16], d, id;
	uint8_t l[QK_K];

	for (int g = 0; g < 16; g++)
		s[g] = fit_scale(x + 16 * g, 16, 32);
	d = half_f32(f32_half(largest(s, 16) / -128));
	id = inverse(d);
	for (int g = 0; g < 16; g++) {
		int sc = q6_scale(x + 16 * g, d, nearest(s[g] * id, -128, 127));
		float is = inverse(d * (float)sc);

		p[192 + g] = (uint8_t)sc;
		for (int i = 16 * g; i < 16 * g + 16; i++)
			l[i] = (uint8_t)(nearest(x[i] * is, -32, 31) + 32);
	}
	put_le16(p + 208, f32_half(d));
	for (int half = 0; half < 2; half++) {
		uint8_t *ql = p + 64 * half, *qh = p + 128 + 32 * half;
		const uint8_t *v = l + 128 * half;

		for (int i = 0; i < 32; i++) {
			ql[i] = (uint8_t)((v[i] & 15) | (v[i + 64] & 15) << 4);
			ql[i + 32] = (uint8_t)((v[i + 32] & 15) | (v[i + 96] & 15) << 4);
			qh[i] = (uint8_t)(v[i] >> 4 | (v[i + 32] >> 4) << 2 |
					  (v[i + 64] >> 4) << 4 | (v[i + 96] >> 4) << 6);
		}
	}
}

/* ---- Q4_K ---- */

static float q4_error(const float *x, const float *w, float scale, float min)
{
	float id = inverse(scale);
	f4 sum = {0};

	for (int i = 0; i < 32; i += 4) {
		f4 v = load4(x + i), l = nearest4((v + all4(min)) * all4(id), 0, 15);
		f4 e = v - (all4(scale) * l - all4(min));

		sum += load4(w + i) * e * e;
	}
	return sum4(sum);
}

/* Scale and minimum (both >= 0) for which the sum of w (x - (scale l - min))^2 is least, l of
 * 0..15. */
static void fit_affine(const float *x, const float *w, float *scale, float *min)
{
	float lo = 0, hi = 0, sum_w = 0, sum_x = 0, most = 0;

	for (int i = 0; i < 32; i++) {
		lo = x[i] < lo ? x[i] : lo;
		hi = x[i] > hi ? x[i] : hi;
		sum_w += w[i];
		sum_x += w[i] * x[i];
	}
	*min = -lo;
	*scale = (hi - lo) / 15;
	if (hi - lo <= TINY)
		return;
	for (int step = -10; step <= 10; step++) {
		float id = (15 + 0.1f * (float)step) / (hi - lo), l1, l2, xl, det, s, m;
		f4 a1 = {0}, a2 = {0}, ax = {0};

		for (int i = 0; i < 32; i += 4) {
			f4 v = load4(x + i), l = nearest4((v - all4(lo)) * all4(id), 0, 15);
			f4 wl = load4(w + i) * l;

			a1 += wl;
			a2 += wl * l;
			ax += wl * v;
		}
		l1 = sum4(a1);
		l2 = sum4(a2);
		xl = sum4(ax);
		det = sum_w * l2 - l1 * l1;
		if (!(det > 0))
			continue;
		s = (sum_w * xl - sum_x * l1) / det;
		m = (l1 * xl - l2 * sum_x) / det;
		if (m < 0) {
			m = 0;
			s = xl / l2;
		}
		/* the error of the fit is the sum of w x^2 less this */
		if (s > 0 && s * xl - m * sum_x > most) {
			most = s * xl - m * sum_x;
			*scale = s;
			*min = m;
		}
	}
}

struct q4_k { /* one block as it will be stored */
	float d, dmin;
	int sc[8], mn[8];
};

/* The stored scale and minimum of group g nearest to the best: rounding each alone is not it. */
static float q4_group(const float *x, const float *w, struct q4_k *b, int g)
{
	int sc = b->sc[g], mn = b->mn[g];
	float least = q4_error(x, w, b->d * (float)sc, b->dmin * (float)mn);

	for (int s = sc - 1; s <= sc + 1; s++)
		for (int m = mn - 1; m <= mn + 1; m++) {
			float e;

			if (s < 0 || s > 63 || m < 0 || m > 63)
				continue;
			e = q4_error(x, w, b->d * (float)s, b->dmin * (float)m);
			if (e < least) {
				least = e;
				b->sc[g] = s;
				b->mn[g] = m;
			}
		}
	return least;
}

/* d and dmin by least squares, given all whole numbers of the block. */
static void q4_refit(const float *x, const float *w, struct q4_k *b)
{
	double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0, det;

	for (int i = 0; i < QK_K; i++) {
		int g = i / 32;
		float id = inverse(b->d * (float)b->sc[g]);
		int l = nearest((x[i] + b->dmin * (float)b->mn[g]) * id, 0, 15);
		double a = (double)b->sc[g] * l, m = -b->mn[g];

		aa += w[i] * a * a;
		ab += w[i] * a * m;
		bb += w[i] * m * m;
		ax += w[i] * a * x[i];
		bx += w[i] * m * x[i];
	}
	det = aa * bb - ab * ab;
	if (!(det > 1e-9 * aa * bb))
		return;
	b->d = half_f32(f32_half((float)((ax * bb - bx * ab) / det)));
	b->dmin = half_f32(f32_half((float)((bx * aa - ax * ab) / det)));
}

static float q4_best(const float *x, const float *w, struct q4_k *b)
{
	float sum = 0;

	for (int g = 0; g < 8; g++)
		sum += q4_group(x + 32 * g, w + 32 * g, b, g);
	return sum;
}

static void q4_search(const float *x, struct q4_k *b)
{
	float w[QK_K], scale[8], min[8], most_s = 0, most_m = 0, least;

	for (int g = 0; g < 8; g++) {
		float sum = 0;

		for (int i = 32 * g; i < 32 * g + 32; i++)
			sum += x[i] * x[i];
		for (int i = 32 * g; i < 32 * g + 32; i++)
			w[i] = sqrtf(sum / 32) + fabsf(x[i]);
		fit_affine(x + 32 * g, w + 32 * g, &scale[g], &min[g]);
		most_s = scale[g] > most_s ? scale[g] : most_s;
		most_m = min[g] > most_m ? min[g] : most_m;
	}
	b->d = half_f32(f32_half(most_s / 63));
	b->dmin = half_f32(f32_half(most_m / 63));
	for (int g = 0; g < 8; g++) {
		b->sc[g] = nearest(scale[g] * inverse(b->d), 0, 63);
		b->mn[g] = nearest(min[g] * inverse(b->dmin), 0, 63);
	}
	least = q4_best(x, w, b);
	for (int round = 0; round < 2; round++) {
		struct q4_k next = *b;
		float e;

		q4_refit(x, w, &next);
		if (!(next.d > 0 && next.dmin >= 0 && next.d < QUANT_MOST))
			return;
		e = q4_best(x, w, &next);
		if (!(e < least))
			return;
		least = e;
		*b = next;
	}
}

static void put_q4_k(const float *x, uint8_t *p)
{
	struct q4_k b;
	uint8_t *s = p + 4;

	q4_search(x, &b);
	put_le16(p, f32_half(b.d));
	put_le16(p + 2, f32_half(b.dmin));
	for (int j = 0; j < 4; j++) {
		s[j] = (uint8_t)(b.sc[j] | (b.sc[j + 4] >> 4) << 6);
		s[j + 4] = (uint8_t)(b.mn[j] | (b.mn[j + 4] >> 4) << 6);
		s[j + 8] = (uint8_t)((b.sc[j + 4] & 15) | (b.mn[j + 4] & 15) << 4);
	}
	memset(p + 16, 0, 128);
	for (int i = 0; i < QK_K; i++) {
		int g = i / 32, l;
		float id = inverse(b.d * (float)b.sc[g]);

		l = nearest((x[i] + b.dmin * (float)b.mn[g]) * id, 0, 15);
		p[16 + g / 2 * 32 + i % 32] |= (uint8_t)(l << g % 2 * 4);
	}
}

bool quant_can(enum gtype type)
{
	return type == GT_F32 || type == GT_F16 || type == GT_Q8_0 || type == GT_Q4_0 ||
	       type == GT_Q4_K || type == GT_Q6_K;
}

void quant_row(enum gtype type, const float *x, uint8_t *row, size_t n)
{
	const struct gtype_info *t = gtype_info(type);

	for (size_t i = 0; i < n; i += t->block_elems, row += t->block_bytes)
		switch (type) {
		case GT_F32:
			put_le32(row, f32_bits(x[i]));
			break;
		case GT_F16:
			put_le16(row, f32_half(x[i]));
			break;
		case GT_Q8_0:
			put_q8_0(x + i, row);
			break;
		case GT_Q4_0:
			put_q4_0(x + i, row);
			break;
		case GT_Q4_K:
			put_q4_k(x + i, row);
			break;
		case GT_Q6_K:
			put_q6_k(x + i, row);
			break;
		default:
			return;
		}
}
