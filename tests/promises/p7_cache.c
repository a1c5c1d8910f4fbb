/* p7_cache.c - promise 7, the prefix cache: what one subject asked is never a hit for another, and
 * no number nor any amount of work tells of it; what was revoked is gone, and what nobody came back
 * to in time; an answer that nobody has seen (promise 2) leaves no trace. Work is counted in
 * tokens, not in time. Skipped where the bundled model is absent. */
#include "engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define STORY                                                                                      \
	"Tell me a short story about a lighthouse keeper and her cat. The lighthouse stands on a " \
	"small island in the north. In winter the sea is rough and no boat can come for weeks. "   \
	"The keeper bakes bread, writes letters that nobody will fetch before spring, and "        \
	"repairs the lamp. The cat watches the gulls from the window and sleeps near the stove. "  \
	"One night the lamp goes out, and a ship is near. "

static struct rig *r;

struct work { /* until the request was admitted: prompts of chat and guard */
	uint64_t computed, cached;
	uint32_t told; /* ADMIT */
};

static int setup(void **s)
{
	r = rig_new(500, -1, true);
	return 0;
}

static int teardown(void **s)
{
	rig_free(r);
	return 0;
}

static struct engine_stats now(void)
{
	struct engine_stats st;

	engine_stats(r->g->e, &st);
	return st;
}

static struct rig_req *ask(uint64_t domain, const char *prompt, uint32_t n, uint32_t max_out)
{
	struct rig_req *q = rig_req(r, n, max_out);

	r->domain = domain;
	rig_grant(r, q);
	rig_submit(r, q, prompt);
	return q;
}

static struct work admit(struct rig_req *q)
{
	struct engine_stats from = now(), to;

	while (!q->admitted && !q->failed)
		rig_turn(r, 1);
	assert_true(q->admitted);
	to = now();
	return (struct work){to.tokens_prompt - from.tokens_prompt,
			     to.tokens_cached - from.tokens_cached, q->admit_cached};
}

static struct work work(uint64_t domain, const char *prompt, uint32_t n)
{
	struct rig_req *q = ask(domain, prompt, n, 4);
	struct work w = admit(q);

	rig_finish(r, q);
	assert_true(q->done);
	assert_int_equal(q->done_cached, w.told);
	assert_int_equal(q->outcome_cached, w.told);
	return w;
}

static void same(struct work a, struct work b)
{
	assert_int_equal(a.computed, b.computed);
	assert_int_equal(a.cached, b.cached);
	assert_int_equal(a.told, b.told);
}

static void another_subjects_prompt_is_never_a_hit(void **s)
{
	struct work first, again;

	if (!r)
		skip();
	first = work(11, STORY "What does she do?", 1);
	assert_int_equal(first.cached, 0);
	assert_int_equal(first.told, 0);
	again = work(11, STORY "What does she do?", 1);
	assert_true(again.told > 0 && again.cached > again.told); /* the guard's reading too */
	assert_int_equal(again.computed + again.cached, first.computed);
	/* for all others it is as if nobody had asked it: to the token */
	for (uint64_t d = 12; d < 15; d++)
		same(work(d, STORY "What does she do?", 1), first);
	same(work(11, STORY "What does she do?", 1), again);
}

static void a_common_beginning_helps_its_own_subject_alone(void **s)
{
	struct work first, other;

	if (!r)
		skip();
	first = work(21, STORY "What does she do?", 1);
	other = work(22, STORY "Where is the cat?", 1);
	assert_int_equal(other.cached, 0);
	assert_true(work(21, STORY "Where is the cat?", 1).told > 0);
	same(work(23, STORY "What does she do?", 1), first);
}

static void choices_prefill_once(void **s)
{
	struct rig_req *q;
	struct work one, three;

	if (!r)
		skip();
	one = work(31, STORY, 1);
	q = ask(32, STORY, 3, 4);
	three = admit(q);
	rig_finish(r, q);
	assert_int_equal(three.told, 0);
	assert_int_equal(three.cached, 2 * ((q->prompt_tokens - 1) / 64 * 64));
	assert_int_equal(three.computed, one.computed + 2 * q->prompt_tokens - three.cached);
}

/* Records and bills say what was read, not what was computed. */
static void a_hit_changes_no_record(void **s)
{
	uint32_t prompt = 0, guard = 0;

	if (!r)
		skip();
	for (int i = 0; i < 3; i++) {
		struct rig_req *q = ask(41, STORY, 1, 1);

		rig_finish(r, q);
		assert_true(q->done);
		assert_true((q->outcome_cached > 0) == (i > 0));
		assert_true(i == 0 || (q->prompt_tokens == prompt && q->guard_tokens == guard));
		prompt = q->prompt_tokens;
		guard = q->guard_tokens;
	}
	assert_true(guard > prompt);
}

static void what_was_revoked_is_gone(void **s)
{
	struct work first;
	struct rig_req *q;
	uint64_t empty, used;

	if (!r)
		skip();
	rig_forget(r, 0);
	rig_settle(r);
	empty = now().kv_pages_tree; /* the guard's own beginnings */
	used = now().kv_pages_used;
	assert_int_equal(now().kv_pages_resting, 0);
	first = work(51, STORY, 1);
	assert_true(now().kv_pages_tree > empty);
	rig_forget(r, 51);
	rig_settle(r);
	assert_int_equal(now().kv_pages_tree, empty);
	same(work(51, STORY, 1), first);
	rig_forget(r, 51);
	/* in the middle of an answer */
	q = ask(51, STORY, 1, 200);
	admit(q);
	rig_revoke(r, q);
	rig_forget(r, 51); /* as store does */
	rig_finish(r, q);
	rig_settle(r);
	assert_int_equal(now().kv_pages_tree, empty);
	assert_int_equal(now().kv_pages_used, used);
	same(work(51, STORY, 1), first);
	/* one subject's end takes nothing from another */
	work(52, STORY, 1);
	rig_forget(r, 51);
	rig_settle(r);
	assert_true(work(52, STORY, 1).told > 0);
}

/* So much later; store has gone on beating. */
static void later(uint64_t ms)
{
	r->now += ms;
	r->next_beat = 0;
	rig_settle(r);
}

static void what_nobody_comes_back_to_is_gone_in_time(void **s)
{
	const uint64_t idle = 600000;
	struct work first, again;
	uint64_t empty, used;

	if (!r)
		skip();
	rig_forget(r, 0);
	rig_settle(r);
	empty = now().kv_pages_tree;
	used = now().kv_pages_used;
	r->g->cfg.cache_idle_ms = (uint32_t)idle;
	first = work(71, STORY, 1);
	later(idle - 5000);	    /* some turns of the request itself have passed, too */
	again = work(71, STORY, 1); /* which begins the time anew */
	assert_true(again.told > 0);
	later(idle - 5000);
	assert_true(now().kv_pages_tree > empty);
	later(5000);
	assert_int_equal(now().kv_pages_tree, empty);
	assert_int_equal(now().kv_pages_used, used);
	same(work(71, STORY, 1), first);
	r->g->cfg.cache_idle_ms = 0;
	later(10 * idle);
	assert_true(work(71, STORY, 1).told > 0);
}

/* The pages a request leaves do not depend on its answer: of 1 token or 150, released or blocked.
 */
static void an_answer_leaves_no_trace(void **s)
{
	uint64_t before, left[3];

	if (!r)
		skip();
	for (int i = 0; i < 3; i++) {
		struct rig_req *q;

		before = now().kv_pages_tree;
		q = ask(61 + (uint64_t)i, STORY, 1, i == 0 ? 1 : 150);
		admit(q);
		for (int t = 0; i == 2 && t < POLICY_TIERS; t++)
			for (int c = 0; c < POLICY_CATS; c++)
				r->g->policy.rule[t][c].threshold_milli = 0;
		rig_finish(r, q);
		for (int t = 0; t < POLICY_TIERS; t++)
			for (int c = 0; c < POLICY_CATS; c++)
				r->g->policy.rule[t][c].threshold_milli = 500;
		assert_true(q->done);
		assert_true(i != 2 || q->released == 0);
		left[i] = now().kv_pages_tree - before;
	}
	assert_true(left[0] > 0);
	assert_int_equal(left[1], left[0]);
	assert_int_equal(left[2], left[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(another_subjects_prompt_is_never_a_hit),
	    cmocka_unit_test(a_common_beginning_helps_its_own_subject_alone),
	    cmocka_unit_test(choices_prefill_once),
	    cmocka_unit_test(a_hit_changes_no_record),
	    cmocka_unit_test(what_was_revoked_is_gone),
	    cmocka_unit_test(what_nobody_comes_back_to_is_gone_in_time),
	    cmocka_unit_test(an_answer_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
