/* t_prefix_idle.c - what nobody came back to: pages of the prefix cache that rest for too long are
 * wiped. Time is a number here. */
#include "prefix_help.h"

#define IDLE 1000

static bool zero(const struct kv_page *p)
{
	for (size_t i = 0; i < page - sizeof(*p); i++)
		if (p->data[i])
			return false;
	return true;
}

/* All that is due. */
static void age(uint64_t now)
{
	while (engine_cache_age(r.e, now, IDLE))
		;
}

/* Pages that rest, from the one resting longest. */
static uint32_t resting(struct kv_page **out, uint32_t most)
{
	uint32_t n = 0;

	for (struct pnode *at = r.e->prefix.oldest; at; at = at->newer, n++)
		if (n < most)
			out[n] = at->page;
	return n;
}

static bool is_idle(const struct kv_class *c, const struct kv_page *p)
{
	for (const struct kv_page *at = c->idle; at; at = at->next)
		if (at == p)
			return true;
	return false;
}

static void pages_nobody_came_back_to_are_zero(void **st)
{
	struct kv_page *p[8];
	struct kv_class *c;
	struct seq *s;

	open_rig(NULL, 40);
	engine_cache_age(r.e, 5000, IDLE);
	s = seq_in(1, 300);
	c = s->kv;
	put(s, ids, 300, NULL);
	age(5000 + 10 * IDLE); /* in use: it may last as long as it likes */
	assert_int_equal(r.e->prefix.n, 4);
	seq_free(s);
	assert_int_equal(resting(p, 8), 4);
	age(5000 + 11 * IDLE - 1);
	assert_int_equal(r.e->prefix.n, 4);
	for (int i = 0; i < 4; i++)
		assert_false(zero(p[i]));
	age(5000 + 11 * IDLE);
	assert_int_equal(r.e->prefix.n + r.e->prefix.bytes + r.e->kv.used + r.e->kv.resting, 0);
	for (int i = 0; i < 4; i++)
		assert_true(zero(p[i]) && is_idle(c, p[i]));
	assert_int_equal(visit(1, ids, 300, NULL), 0);
	assert_int_equal(visit(1, ids, 300, NULL), 256);
	rig_close(&r);
}

static void coming_back_renews_what_was_used(void **st)
{
	open_rig(NULL, 40);
	engine_cache_age(r.e, 1, IDLE);
	visit(1, ids, 300, NULL);
	age(IDLE);
	assert_int_equal(visit(1, ids, 150, NULL), 128); /* two of the four pages */
	age(IDLE + 1);
	assert_int_equal(r.e->prefix.n, 2);
	age(2 * IDLE - 1);
	assert_int_equal(visit(1, ids, 300, NULL), 128);
	age(2 * IDLE - 2); /* a clock that goes back changes nothing */
	age(3 * IDLE - 2);
	assert_int_equal(r.e->prefix.n, 4);
	age(3 * IDLE - 1);
	assert_int_equal(r.e->prefix.n, 0);
	rig_close(&r);
}

static void zero_is_never(void **st)
{
	open_rig(NULL, 40);
	visit(1, ids, 300, NULL);
	assert_false(engine_cache_age(r.e, UINT64_MAX, 0));
	assert_int_equal(r.e->prefix.n, 4);
	assert_int_equal(visit(1, ids, 300, NULL), 256);
	rig_close(&r);
}

static void texts_stay_and_what_domains_had_behind_them_goes(void **st)
{
	struct seq_cfg cfg = {.role = SEQ_CHAT};
	struct outcome *o = calloc(1, sizeof(*o));
	struct seq *text;
	uint8_t digest[32];
	job_id job;

	open_rig(NULL, 40);
	engine_text_digest(ids, 130, digest);
	assert_int_equal(seq_new_text(r.e, r.m, &cfg, ids, 130, digest, &text, &job, NULL), 0);
	run_job(r.e, job, o);
	assert_int_equal(visit(1, ids, 400, NULL), 128);
	assert_int_equal(visit(2, ids, 300, NULL), 128);
	assert_int_equal(r.e->prefix.n, 2 + 4 + 2);
	age(100 * IDLE);
	assert_int_equal(r.e->prefix.n, 2);
	assert_int_equal(visit(1, ids, 400, NULL), 128);
	seq_free(text);
	assert_int_equal(r.e->prefix.n, 0);
	free(o);
	rig_close(&r);
}

/* A sequence that is cut in the middle of a page lets go of that page first, then of the deeper
 * ones. */
static void a_page_that_rests_before_those_below_it_goes_with_them(void **st)
{
	struct kv_page *p[8];
	struct seq *s;

	open_rig(NULL, 40);
	s = seq_in(1, 300);
	put(s, ids, 257, NULL);
	assert_int_equal(seq_truncate(s, 74), 0);
	assert_int_equal(resting(p, 8), 3);
	assert_non_null(r.e->prefix.oldest->child);
	age(IDLE);
	assert_int_equal(r.e->prefix.n, 1);
	for (int i = 0; i < 3; i++)
		assert_true(zero(p[i]));
	put(s, ids + 74, 200, NULL); /* goes on as if nothing had been */
	seq_free(s);
	age(2 * IDLE);
	assert_int_equal(r.e->prefix.n + r.e->kv.used, 0);
	rig_close(&r);
}

/* A call looks at no page that stays, however many there are, and wipes a bounded amount. */
static void the_cost_of_a_call_does_not_grow_with_the_cache(void **st)
{
	uint64_t looked, calls = 0, domains = 40, a_call;
	bool more = true;

	open_rig(NULL, 420);
	a_call = (AGE_BYTES + page - 1) / page;
	engine_cache_age(r.e, 1, IDLE);
	for (uint64_t d = 1; d <= domains; d++) {
		visit(d, ids, 641, NULL);
		if (d != 1 && d != domains)
			continue;
		looked = r.e->visits;
		for (int i = 0; i < 1000; i++)
			assert_false(engine_cache_age(r.e, IDLE, IDLE));
		assert_int_equal(r.e->visits, looked);
	}
	assert_int_equal(r.e->prefix.n, domains * 10);
	while (more) {
		uint64_t had = r.e->prefix.n;

		looked = r.e->visits;
		more = engine_cache_age(r.e, 2 * IDLE, IDLE);
		calls++;
		assert_true(had - r.e->prefix.n <= a_call);
		assert_int_equal(r.e->visits - looked, had - r.e->prefix.n);
		assert_true(more == (r.e->prefix.n > 0));
	}
	assert_int_equal(r.e->prefix.n, 0);
	assert_int_equal(calls, (domains * 10 + a_call - 1) / a_call);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pages_nobody_came_back_to_are_zero),
	    cmocka_unit_test(coming_back_renews_what_was_used),
	    cmocka_unit_test(zero_is_never),
	    cmocka_unit_test(texts_stay_and_what_domains_had_behind_them_goes),
	    cmocka_unit_test(a_page_that_rests_before_those_below_it_goes_with_them),
	    cmocka_unit_test(the_cost_of_a_call_does_not_grow_with_the_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
