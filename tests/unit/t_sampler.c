/* t_sampler.c - what sampling promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "engine.h"

#define N 50

/* Probabilities 1/2, 1/4, 1/8, ... by id. */
static void halves(float *l)
{
	for (int i = 0; i < N; i++)
		l[i] = -(float)i * (float)M_LN2;
}

static struct sampler plain(uint64_t seed)
{
	return (struct sampler){.temperature = 1, .top_p = 1, .seed = seed};
}

static void greedy_takes_the_lowest_id_of_a_tie(void **st)
{
	struct sampler s = {0};
	float l[5] = {1, 3, 2, 3, 3}, lp;

	assert_int_equal(sampler_draw(&s, l, 5, 0, &lp), 1);
	assert_true(fabs(lp - log(1 / (3 + exp(-1) + exp(-2)))) < 1e-5);
}

static void the_same_seed_and_position_give_the_same_token(void **st)
{
	struct sampler s = plain(99), c;
	float l[N];
	int differ = 0;

	halves(l);
	sampler_copy(&c, &s);
	for (uint64_t p = 0; p < 200; p++) {
		int32_t a = sampler_draw(&s, l, N, p, NULL);

		assert_int_equal(a, sampler_draw(&c, l, N, p, NULL));
		c.seed = 98;
		differ += a != sampler_draw(&c, l, N, p, NULL);
		c.seed = 99;
	}
	assert_true(differ > 50);
}

static void frequencies_follow_the_distribution(void **st)
{
	struct sampler s = plain(5);
	unsigned count[N] = {0};
	float l[N];

	halves(l);
	for (uint64_t p = 0; p < 40000; p++)
		count[sampler_draw(&s, l, N, p, NULL)]++;
	for (int i = 0; i < 6; i++)
		assert_true(fabs(count[i] / 40000.0 - ldexp(1, -1 - i)) < 0.01);
}

static void temperature_sharpens(void **st)
{
	struct sampler s = plain(5);
	unsigned first = 0;
	float l[N];

	halves(l);
	s.temperature = 0.5f; /* 3/4, 3/16, ... */
	for (uint64_t p = 0; p < 20000; p++)
		first += sampler_draw(&s, l, N, p, NULL) == 0;
	assert_true(fabs(first / 20000.0 - 0.75) < 0.015);
	s.temperature = 1e-40f;
	assert_int_equal(sampler_draw(&s, l, N, 1, NULL), 0);
}

/* Which ids come up in many draws, as bits. */
static uint64_t seen(const struct sampler *s, const float *l, uint32_t n)
{
	uint64_t bits = 0;

	for (uint64_t p = 0; p < 5000; p++)
		bits |= 1ull << sampler_draw(s, l, n, p, NULL);
	return bits;
}

static void top_k_top_p_and_min_p_cut(void **st)
{
	struct sampler s = plain(3);
	float l[N];

	halves(l);
	s.top_k = 3;
	assert_int_equal(seen(&s, l, N), 7);
	s.top_k = 0;
	s.top_p = 0.74f; /* 1/2 is too little, 1/2 + 1/4 enough */
	assert_int_equal(seen(&s, l, N), 3);
	s.top_p = 0.01f;
	assert_int_equal(seen(&s, l, N), 1);
	s.top_p = 1;
	s.min_p = 0.2f; /* of the best: 1, 1/2, 1/4 stay */
	assert_int_equal(seen(&s, l, N), 7);
	s.min_p = 0;
	s.top_k = 2; /* 2/3, 1/3 */
	s.top_p = 0.6f;
	assert_int_equal(seen(&s, l, N), 1);
	s.top_k = 1000;
	s.top_p = 0.74f;
	assert_int_equal(seen(&s, l, N), 3);
}

static void ties_at_the_cut_keep_the_lowest_ids(void **st)
{
	struct sampler s = plain(3);
	float l[N];

	for (int i = 0; i < N; i++)
		l[i] = 1;
	s.top_k = 2;
	assert_int_equal(seen(&s, l, N), 3);
	s.top_k = 0;
	s.top_p = 0.05f; /* 3 of 50 */
	assert_int_equal(seen(&s, l, N), 7);
}

static void forbidden_tokens_never_come(void **st)
{
	struct sampler s = plain(3);
	float l[4] = {-INFINITY, 1, -INFINITY, 1};

	assert_int_equal(seen(&s, l, 4), 10);
	s.temperature = 0;
	assert_int_equal(sampler_draw(&s, l, 4, 0, NULL), 1);
}

static void rows_that_are_no_numbers_are_refused(void **st)
{
	struct sampler s = plain(3);
	float nan[3] = {1, NAN, 2}, inf[3] = {1, INFINITY, 2};
	float none[3] = {-INFINITY, -INFINITY, -INFINITY}, lp;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(sampler_draw(&s, nan, 3, 0, &lp), -1);
		assert_int_equal(sampler_draw(&s, inf, 3, 0, &lp), -1);
		assert_int_equal(sampler_draw(&s, none, 3, 0, &lp), -1);
		s.temperature = 0;
	}
}

static void logprob_is_of_the_untempered_row(void **st)
{
	struct sampler s = plain(3);
	float l[N], lp;
	int32_t id;

	halves(l);
	s.temperature = 2;
	s.top_p = 0.9f;
	id = sampler_draw(&s, l, N, 12, &lp);
	assert_true(fabs(lp + (id + 1) * M_LN2) < 1e-4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(greedy_takes_the_lowest_id_of_a_tie),
	    cmocka_unit_test(the_same_seed_and_position_give_the_same_token),
	    cmocka_unit_test(frequencies_follow_the_distribution),
	    cmocka_unit_test(temperature_sharpens),
	    cmocka_unit_test(top_k_top_p_and_min_p_cut),
	    cmocka_unit_test(ties_at_the_cut_keep_the_lowest_ids),
	    cmocka_unit_test(forbidden_tokens_never_come),
	    cmocka_unit_test(rows_that_are_no_numbers_are_refused),
	    cmocka_unit_test(logprob_is_of_the_untempered_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
