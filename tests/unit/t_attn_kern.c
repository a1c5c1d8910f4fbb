/* t_attn_kern.c - every table of attention kernels: what blocks of every type hold, and products
 * and powers that depend on their own inputs alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn_help.h"

/* Largest error of a stored number; most: the largest of its group of 32. */
static double rounding(enum kv_type t, double x, double most)
{
	switch (t) {
	case KV_F16:
		return fabs(x) * 0x1p-11 + 0x1p-25;
	case KV_BF16:
		return fabs(x) * 0x1p-8;
	case KV_Q8_0:
		return most / 127 * 0.51;
	default:
		return 0;
	}
}

static void fill(const struct attn_type *t, uint8_t *k, uint8_t *v, unsigned dim, const float *x)
{
	for (unsigned i = 0; i < KV_TOKENS; i++) {
		t->store_k(k, dim, i, x + (size_t)i * dim);
		t->store_v(v, dim, i, x + (size_t)i * dim);
	}
}

static void blocks_hold_what_was_stored(void **st)
{
	static const unsigned dims[] = {2, 6, 8, 24, 64, 80, 96, 128};
	uint8_t *k = aligned_alloc(64, 1 << 16), *v = aligned_alloc(64, 1 << 16);
	float *x = malloc(128 * KV_TOKENS * 4), *out = malloc(128 * KV_TOKENS * 4);

	EACH(a)
	EACH_TYPE(type)
	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++) {
		unsigned dim = dims[d];
		const struct attn_type *t = &a->type[type];

		if (!kv_fits(type, dim))
			continue;
		for (unsigned i = 0; i < dim * KV_TOKENS; i++)
			x[i] = ldexpf(unit(), (int)(rnd() % 9) - 4);
		fill(t, k, v, dim, x);
		for (unsigned i = 0; i < KV_TOKENS; i++)
			for (unsigned j = 0; j < dim; j++) {
				const float *row = x + (size_t)i * dim;
				double most = 0, e;

				for (unsigned g = j / 32 * 32; g < j / 32 * 32 + 32 && g < dim; g++)
					most = fmax(most, fabs(row[g]));
				e = rounding(type, row[j], most);
				assert_true(fabs(number(type, k, dim, true, i, j) - row[j]) <= e);
				assert_true(fabs(number(type, v, dim, false, i, j) - row[j]) <= e);
			}
		if (!t->expand_k)
			continue;
		t->expand_k(k, dim, out);
		for (unsigned i = 0; i < dim * KV_TOKENS; i++)
			assert_true(out[i] ==
				    number(type, k, dim, true, i % KV_TOKENS, i / KV_TOKENS));
		t->expand_v(v, dim, 37, out);
		for (unsigned i = 0; i < dim * 37; i++)
			assert_true(out[i] == number(type, v, dim, false, i / dim, i % dim));
	}
	free(k);
	free(v);
	free(x);
	free(out);
}

static void what_is_not_finite_stays_so(void **st)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
	uint8_t *k = aligned_alloc(64, 1 << 16), *v = aligned_alloc(64, 1 << 16);
	float x[64 * KV_TOKENS];

	EACH(a)
	EACH_TYPE(type)
	for (int b = 0; b < 4; b++) {
		for (int i = 0; i < 64 * KV_TOKENS; i++)
			x[i] = i % 7 ? 1e-9f : 0;
		x[5 * 64 + 33] = bad[b];
		fill(&a->type[type], k, v, 64, x);
		if (b < 3 || type == KV_F16 || type == KV_Q8_0) {
			assert_false(isfinite(number(type, k, 64, true, 5, 33)));
			assert_false(isfinite(number(type, v, 64, false, 5, 33)));
		}
		assert_true(fabsf(number(type, k, 64, true, 4, 33)) <= 1e-7f);
		assert_true(fabsf(number(type, v, 64, false, 5, 31)) <= 1e-7f);
	}
	free(k);
	free(v);
}

static void products_do_not_depend_on_their_company(void **st)
{
	enum { C = 15, LQ = 131, LS = 70 };
	static const unsigned dims[] = {2, 6, 24, 64, 96, 128};
	uint8_t *k = aligned_alloc(64, 1 << 16), *v = aligned_alloc(64, 1 << 16);
	float *x = malloc(128 * KV_TOKENS * 4), *wide = malloc(128 * KV_TOKENS * 4);
	float q[C * LQ], s[C * LS], one[KV_TOKENS], acc[C * LQ], again[128];

	EACH(a)
	EACH_TYPE(type)
	for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
		for (unsigned cols = 1; cols <= C; cols++) {
			unsigned dim = dims[d], c = rnd() % cols;
			const struct attn_type *t = &a->type[type];

			if (!kv_fits(type, dim))
				continue;
			for (unsigned i = 0; i < dim * KV_TOKENS; i++)
				x[i] = unit();
			for (int i = 0; i < C * LQ; i++)
				q[i] = unit();
			fill(t, k, v, dim, x);
			t->qk(k, dim, q, LQ, cols, s, LS, v);
			t->qk(k, dim, q + c * LQ, LQ, 1, one, LS, NULL);
			assert_memory_equal(one, s + c * LS, sizeof(one));
			if (t->expand_k) {
				t->expand_k(k, dim, wide);
				a->type[KV_F32].qk(wide, dim, q + c * LQ, LQ, 1, one, LS, NULL);
				assert_memory_equal(one, s + c * LS, sizeof(one));
			}
			memset(acc, 0, sizeof(acc));
			memset(again, 0, sizeof(again));
			t->pv(v, dim, 0, 60, s, LS, cols, acc, LQ, k);
			if (t->expand_v) {
				t->expand_v(v, dim, KV_TOKENS, wide);
				a->type[KV_F32].pv(wide, dim, 0, 23, s + c * LS, LS, 1, again, LQ,
						   NULL);
			} else {
				t->pv(v, dim, 0, 23, s + c * LS, LS, 1, again, LQ, NULL);
			}
			t->pv(v, dim, 23, 60, s + c * LS, LS, 1, again, LQ, NULL);
			assert_memory_equal(again, acc + c * LQ, dim * sizeof(float));
			assert_true(acc[c * LQ + dim] == 0);
		}
	free(k);
	free(v);
	free(x);
	free(wide);
}

static void softmax_and_rope_match_double(void **st)
{
	float s[256], h[80], turn[80];
	double want[256], total;

	EACH(a)
	for (unsigned n = 1; n <= 256; n += n < 40 ? 1 : 36) {
		float max, sum, top = -INFINITY;

		for (unsigned i = 0; i < n; i++) {
			s[i] = unit() * 70;
			top = s[i] > top ? s[i] : top;
		}
		total = 0;
		for (unsigned i = 0; i < n; i++)
			total += want[i] = exp2((double)(s[i] - (float)top));
		a->softmax(s, n, &max, &sum);
		assert_true(max == top);
		assert_true(fabs(sum - total) <= 1e-6 * total);
		for (unsigned i = 0; i < n; i++)
			assert_true(fabs(s[i] - want[i]) <= 4e-7 * want[i] + 1e-37);
		s[rnd() % n] = NAN;
		a->softmax(s, n, &max, &sum);
		assert_true(isnan(sum));
	}
	EACH(a)
	for (unsigned dim = 2; dim <= 80; dim += 2) {
		float was[80];

		for (unsigned i = 0; i < dim; i += 2) {
			was[i] = h[i] = unit();
			was[i + 1] = h[i + 1] = unit();
			turn[i] = cosf((float)i);
			turn[i + 1] = sinf((float)i);
		}
		h[dim < 80 ? dim : 79] = dim < 80 ? 9 : h[79];
		a->rope(h, turn, dim);
		for (unsigned i = 0; i < dim; i += 2) {
			double c = turn[i], d = turn[i + 1];

			assert_true(fabs(h[i] - (was[i] * c - was[i + 1] * d)) < 1e-6);
			assert_true(fabs(h[i + 1] - (was[i] * d + was[i + 1] * c)) < 1e-6);
		}
		assert_true(dim == 80 || h[dim] == 9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blocks_hold_what_was_stored),
	    cmocka_unit_test(what_is_not_finite_stays_so),
	    cmocka_unit_test(products_do_not_depend_on_their_company),
	    cmocka_unit_test(softmax_and_rope_match_double),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
