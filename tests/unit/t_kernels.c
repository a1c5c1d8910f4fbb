/* t_kernels.c - every kernel table computes what kernels.h says, and every value alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocks.h"
#include "kernels.h"
#include "pool.h"

static uint64_t rnd_state = 1;

static uint32_t rnd(void)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rnd_state >> 32);
}

static float unit(void)
{
	return (float)rnd() / 2147483648.0f - 1;
}

#define EACH(k)                                                                                    \
	for (const char *const *k##_name = kern_names(); *k##_name; k##_name++)                    \
		for (const struct kernels *k = kern_pick(*k##_name); k; k = NULL)

static void unknown_paths_are_refused(void **st)
{
	assert_null(kern_pick("no such path"));
	assert_string_equal(kern_pick(NULL)->name, kern_names()[0]);
	assert_string_equal(kern_pick("portable")->name, "portable");
}

static void every_half_is_expanded_and_rounded_right(void **st)
{
	EACH(k)
	for (uint32_t h = 0; h < 65536; h += 8) {
		uint16_t in[8], back[8];
		float f[8];

		for (uint32_t i = 0; i < 8; i++)
			in[i] = (uint16_t)(h + i);
		k->half_to_f32(in, f, 8);
		k->f32_to_half(f, back, 8);
		for (uint32_t i = 0; i < 8; i++) {
			uint32_t e = in[i] >> 10 & 31, m = in[i] & 1023;
			double want = e ? ldexp(1024 + m, (int)e - 25) : ldexp(m, -24);

			if (e == 31) {
				assert_true(m ? isnan(f[i]) : isinf(f[i]));
				assert_true(m ? (back[i] & 0x7fff) > 0x7c00 : back[i] == in[i]);
				continue;
			}
			assert_true(f[i] == (float)(in[i] & 0x8000 ? -want : want));
			assert_int_equal(back[i], in[i]);
		}
	}
}

static void floats_round_to_the_nearest_even_half(void **st)
{
	EACH(k)
	for (int i = 0; i < 200000; i++) {
		float f = ldexpf(unit(), (int)(rnd() % 60) - 40), down, up;
		uint16_t h, lower, upper;

		k->f32_to_half(&f, &h, 1);
		assert_int_equal(h, f32_half(f));
		if (fabsf(f) > 65000)
			continue;
		lower = (uint16_t)(h - 1);
		upper = (uint16_t)(h + 1);
		down = (h & 0x7fff) ? half_f32(lower) : 0;
		up = half_f32(upper);
		if (!(h & 0x7fff))
			down = up;
		assert_true(fabsf(half_f32(h) - f) <= fabsf(down - f));
		assert_true(isinf(up) || fabsf(half_f32(h) - f) <= fabsf(up - f));
	}
}

static const struct {
	enum gtype type;
	int scales[2]; /* where a block has its half floats; -1: none */
} types[] = {{GT_F32, {-1, -1}},   {GT_F16, {0, -1}},	 {GT_BF16, {-1, -1}}, {GT_Q8_0, {0, -1}},
	     {GT_Q4_0, {0, -1}},   {GT_Q4_1, {0, 2}},	 {GT_Q5_0, {0, -1}},  {GT_Q5_1, {0, 2}},
	     {GT_Q2_K, {80, 82}},  {GT_Q3_K, {108, -1}}, {GT_Q4_K, {0, 2}},   {GT_Q5_K, {0, 2}},
	     {GT_Q6_K, {208, -1}}, {GT_IQ4_NL, {0, -1}}, {GT_IQ4_XS, {0, -1}}};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

static bool same(float a, float b)
{
	return f32_bits(a) == f32_bits(b) || (isnan(a) && isnan(b));
}

static void every_table_has_all_types(void **st)
{
	EACH(k)
	{
		unsigned n = 0;

		for (uint32_t t = 0; t < GT_COUNT; t++)
			n += k->expand[t] != NULL;
		assert_int_equal(n, N_TYPES);
		for (size_t t = 0; t < N_TYPES; t++)
			assert_non_null(k->expand[types[t].type]);
	}
}

/* Scales small, large, zero, subnormal, infinite and NaN; weights all zeros, all ones, random. */
static void fill_blocks(size_t t, uint8_t *row, size_t bytes, unsigned round)
{
	static const uint16_t odd[] = {0,      0x8000, 1,      0x83ff, 0x7bff,
				       0xfbff, 0x7c00, 0xfc00, 0x7e01};
	const struct gtype_info *i = gtype_info(types[t].type);

	for (size_t b = 0; b < bytes; b++)
		row[b] = round % 8 == 0 ? 0 : round % 8 == 1 ? 0xff : (uint8_t)rnd();
	for (size_t b = 0; b < bytes; b += i->block_bytes)
		for (int s = 0; s < 2; s++)
			if (types[t].scales[s] >= 0)
				put_le16(row + b + types[t].scales[s],
					 round % 2 ? f32_half(unit() * 0.01f) : odd[rnd() % 9]);
}

static void tables_agree_on_expanded_weights_bit_for_bit(void **st)
{
	for (size_t t = 0; t < N_TYPES; t++)
		for (unsigned round = 0; round < 200; round++) {
			const struct gtype_info *i = gtype_info(types[t].type);
			size_t n = i->block_elems * 3, bytes = i->block_bytes * 3;
			uint8_t *mem = malloc(bytes + 1), *row = mem + 1; /* badly aligned */
			float want[768], got[769];

			fill_blocks(t, row, bytes, round);
			kern_portable.expand[types[t].type](row, want, n);
			EACH(k)
			{
				got[n] = 12345;
				k->expand[types[t].type](row, got, n);
				for (size_t j = 0; j < n; j++)
					assert_true(same(got[j], want[j]));
				assert_true(got[n] == 12345);
			}
			free(mem);
		}
}

static void gemm_values_do_not_depend_on_their_company(void **st)
{
	enum { R = 13, C = 11, K = 83, LD = 91 };
	float w[R * LD], x[C * LD], all[C * R], one, want;

	for (int i = 0; i < R * LD; i++)
		w[i] = unit();
	for (int i = 0; i < C * LD; i++)
		x[i] = unit();
	EACH(k)
	for (unsigned n = 1; n <= K; n += 9)
		for (unsigned rows = 1; rows <= R; rows++)
			for (unsigned cols = 1; cols <= C; cols++) {
				unsigned r = rnd() % rows, c = rnd() % cols;
				double sum = 0;

				k->gemm(w, LD, rows, x, LD, cols, n, all, R);
				k->gemm(w + r * LD, LD, 1, x + c * LD, LD, 1, n, &one, 1);
				want = all[c * R + r];
				assert_memory_equal(&one, &want, sizeof(one));
				for (unsigned i = 0; i < n; i++)
					sum += (double)w[r * LD + i] * x[c * LD + i];
				assert_true(fabs(sum - one) < 1e-5);
			}
}

static void exponentials_are_exact_to_a_few_ulp(void **st)
{
	EACH(k)
	for (int i = 0; i < 3000; i++) {
		unsigned n = 1 + rnd() % 64;
		float s[64], in[64], sum;
		double want = 0;

		for (unsigned j = 0; j < n; j++)
			in[j] = s[j] = -30 * fabsf(unit());
		sum = k->exp_sum(s, n, 0);
		for (unsigned j = 0; j < n; j++) {
			assert_true(fabs(s[j] / exp(in[j]) - 1) < 1e-6);
			want += exp(in[j]);
		}
		assert_true(fabs(sum / want - 1) < 1e-6);
	}
}

static void edges_of_exp_are_kept(void **st)
{
	EACH(k)
	{
		float s[9] = {0, -INFINITY, -200, -1000, NAN, -88, -87, -1, -0.0f};

		assert_true(isnan(k->exp_sum(s, 9, 0)));
		assert_true(s[0] == 1 && s[1] == 0 && s[2] == 0 && s[3] == 0 && isnan(s[4]));
		assert_true(s[5] < 1e-37f && s[6] > 0 && s[8] == 1);
	}
}

static void norms_and_gates_match_their_definition(void **st)
{
	EACH(k)
	for (unsigned n = 1; n < 70; n++) {
		float x[70], w[70], out[70], g[70];
		double ss = 0;

		for (unsigned i = 0; i < n; i++) {
			x[i] = 10 * unit();
			w[i] = unit();
			ss += (double)x[i] * x[i];
		}
		out[n] = 12345;
		k->rmsnorm(x, w, out, n, 1e-5f);
		for (unsigned i = 0; i < n; i++)
			assert_true(fabs(out[i] - x[i] / sqrt(ss / n + 1e-5) * w[i]) < 1e-5);
		k->swiglu(x, w, g, n);
		for (unsigned i = 0; i < n; i++)
			assert_true(fabs(g[i] - x[i] / (1 + exp(-x[i])) * w[i]) < 1e-5);
		assert_true(out[n] == 12345);
		memcpy(g, x, sizeof(g));
		k->add(g, w, n);
		for (unsigned i = 0; i < n; i++)
			assert_true(g[i] == x[i] + w[i]);
	}
}

static void what_is_too_large_to_norm_is_no_number(void **st)
{
	static const float bad[] = {2e19f, -3e38f, INFINITY, NAN};
	float x[70], out[70], w[70];

	EACH(k)
	for (unsigned i = 0; i < 4 * 70; i++) {
		unsigned n = i % 70 + 1;

		for (unsigned j = 0; j < n; j++)
			x[j] = w[j] = 1;
		x[rnd() % n] = bad[i / 70];
		k->rmsnorm(x, w, out, n, 1e-5f);
		for (unsigned j = 0; j < n; j++)
			assert_true(isnan(out[j]));
	}
}

static void weighing_matches_its_definition(void **st)
{
	EACH(k)
	for (unsigned dim = 2; dim <= 150; dim += 7) {
		float acc[150], v[64 * 150], p[64];
		double want[150];

		for (unsigned j = 0; j < dim; j++)
			want[j] = 0.5 * (double)(acc[j] = unit());
		for (unsigned t = 0; t < 64; t++) {
			p[t] = unit();
			for (unsigned j = 0; j < dim; j++)
				want[j] += (double)p[t] * (v[t * 150 + j] = unit());
		}
		k->weigh(acc, dim, 0.5f, p, 64, v, 150);
		for (unsigned j = 0; j < dim; j++)
			assert_true(fabs(acc[j] - want[j]) < 1e-4);
	}
}

/* ---- the pool ---- */

struct tally {
	atomic_uint n[500];
};

static void tick(void *arg, unsigned i, unsigned worker)
{
	struct tally *t = arg;

	atomic_fetch_add(&t->n[i], 1);
}

static void every_item_runs_once(void **st)
{
	for (unsigned threads = 1; threads <= 5; threads++) {
		struct tally *t = calloc(1, sizeof(*t));
		struct pool *p;
		unsigned want[500] = {0};

		assert_int_equal(pool_open(threads, &p, NULL), 0);
		assert_int_equal(pool_threads(p), threads);
		for (int run = 0; run < 2000; run++) {
			unsigned n = rnd() % 500;

			pool_run(p, tick, t, n);
			for (unsigned i = 0; i < n; i++)
				want[i]++;
		}
		for (unsigned i = 0; i < 500; i++)
			assert_int_equal(atomic_load(&t->n[i]), want[i]);
		pool_close(p);
		free(t);
	}
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void idle_threads_park(void **st)
{
	struct tally *t = calloc(1, sizeof(*t));
	struct pool *p;
	double from, used = 1;

	assert_int_equal(pool_open(4, &p, NULL), 0);
	pool_run(p, tick, t, 500);
	for (int i = 0; i < 100 && used >= 0.02; i++) { /* a busy machine lets them park late */
		from = cpu_seconds();
		nanosleep(&(struct timespec){0, 200000000}, NULL);
		used = cpu_seconds() - from;
	}
	assert_true(used < 0.02);
	pool_run(p, tick, t, 500);
	assert_int_equal(atomic_load(&t->n[499]), 2);
	pool_close(p);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unknown_paths_are_refused),
	    cmocka_unit_test(every_half_is_expanded_and_rounded_right),
	    cmocka_unit_test(floats_round_to_the_nearest_even_half),
	    cmocka_unit_test(every_table_has_all_types),
	    cmocka_unit_test(tables_agree_on_expanded_weights_bit_for_bit),
	    cmocka_unit_test(gemm_values_do_not_depend_on_their_company),
	    cmocka_unit_test(exponentials_are_exact_to_a_few_ulp),
	    cmocka_unit_test(edges_of_exp_are_kept),
	    cmocka_unit_test(norms_and_gates_match_their_definition),
	    cmocka_unit_test(what_is_too_large_to_norm_is_no_number),
	    cmocka_unit_test(weighing_matches_its_definition),
	    cmocka_unit_test(every_item_runs_once),
	    cmocka_unit_test(idle_threads_park),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
