/* t_prefix_text.c - registered texts in the prefix cache; every allocation of it fails in turn. */
#include "fault.h"
#include "prefix_help.h"

static struct seq *text(const int32_t *what, uint32_t n)
{
	struct seq_cfg cfg = {.priority = PRIO_GUARD, .role = SEQ_GUARD};
	struct outcome *o = calloc(1, sizeof(*o));
	uint8_t digest[32];
	struct seq *s = NULL;
	job_id job;

	engine_text_digest(what, n, digest);
	assert_int_equal(seq_new_text(r.e, r.m, &cfg, what, n, digest, &s, &job, NULL), 0);
	run_job(r.e, job, o);
	free(o);
	return s;
}

static void a_registered_text_is_everybodys_and_nothing_behind_it(void **st)
{
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	struct seq *t, *t2, *a;

	open_rig(NULL, 60);
	visit(0, ids, 400, want);
	t = text(ids, 150);
	assert_int_equal(visit(1, ids, 400, got), 128);
	assert_memory_equal(got, want, sizeof(got));
	assert_int_equal(visit(2, ids, 400, NULL), 128);
	assert_int_equal(visit(1, ids, 400, NULL), 384); /* the rest is each one's own */
	assert_int_equal(visit(0, ids, 400, NULL), 0);
	/* a second text with the same beginning takes what is there */
	t2 = text(ids, 200);
	assert_ptr_equal(t2->pages[1], t->pages[1]);
	assert_int_equal(visit(3, ids, 400, NULL), 192);
	seq_free(t2);
	assert_int_equal(visit(4, ids, 400, NULL), 128);
	/* a fork of it is nobody's until it is said whose */
	assert_int_equal(seq_fork(t, 150, &a, NULL), 0);
	assert_int_equal(seq_reserve(a, 400), 0);
	assert_int_equal(put(a, ids + 150, 250, NULL), 0);
	assert_int_equal(seq_domain(a, 1), E_CONFLICT);
	assert_int_equal(seq_truncate(a, 150), 0);
	assert_int_equal(seq_domain(a, 1), 0);
	assert_int_equal(put(a, ids + 150, 250, got), 384 - 150);
	assert_memory_equal(got, want, sizeof(got));
	seq_free(a);
	engine_cache_clear(r.e, 1);
	assert_int_equal(visit(1, ids, 400, NULL), 128); /* the text stays */
	seq_free(t);
	for (uint64_t d = 1; d <= 4; d++)
		engine_cache_clear(r.e, d);
	assert_int_equal(r.e->prefix.n, 0);
	assert_int_equal(r.e->kv.used + r.e->kv.promised, 0);
	rig_close(&r);
}

static void a_text_that_ended_is_matched_no_more(void **st)
{
	struct seq *t, *a;

	open_rig(NULL, 60);
	t = text(ids, 150);
	assert_int_equal(seq_fork(t, 150, &a, NULL), 0);
	assert_int_equal(seq_reserve(a, 400), 0);
	assert_int_equal(seq_domain(a, 1), 0);
	put(a, ids + 150, 100, NULL);
	visit(2, ids, 400, NULL);
	seq_free(t);
	assert_int_equal(r.e->prefix.n, 0);
	assert_int_equal(r.e->kv.used, 4 * page);
	put(a, ids + 250, 100, NULL); /* lives on, gives nothing */
	assert_int_equal(r.e->prefix.n, 0);
	assert_int_equal(visit(1, ids, 400, NULL), 0);
	assert_int_equal(visit(2, ids, 400, NULL), 0);
	seq_free(a);
	rig_close(&r);
}

static void texts_are_what_was_registered_and_bounded(void **st)
{
	struct seq_cfg cfg = {.role = SEQ_GUARD};
	uint8_t digest[32];
	struct seq *t, *s;
	job_id job;

	open_rig(NULL, 8);
	engine_text_digest(ids, 150, digest);
	assert_int_equal(seq_new_text(r.e, r.m, &cfg, ids, 149, digest, &s, &job, NULL), E_CRYPTO);
	assert_int_equal(seq_new_text(r.e, r.m, &cfg, other, 150, digest, &s, &job, NULL),
			 E_CRYPTO);
	t = text(ids, 150); /* 3 pages of at most 4 */
	assert_int_equal(seq_append(t, ids, 1, NULL, &job, NULL), E_DENIED);
	assert_int_equal(seq_truncate(t, 1), E_DENIED);
	assert_int_equal(seq_reserve(t, 200), E_DENIED);
	assert_int_equal(seq_domain(t, 1), E_CONFLICT);
	engine_text_digest(other, 65, digest);
	assert_int_equal(seq_new_text(r.e, r.m, &cfg, other, 65, digest, &s, &job, NULL), E_RANGE);
	seq_free(t);
	t = text(other, 65);
	seq_free(t);
	assert_int_equal(r.e->prefix.texts, 0);
	assert_int_equal(r.e->kv.used, 0);
	rig_close(&r);
}

#ifdef SP_FAULT
/* Two requests with a common beginning, and what the guard does. 0 or the first error. */
static int chats(void)
{
	struct seq_cfg cfg = {.cache_domain = 1, .max_tokens = 300};
	uint8_t digest[32];
	struct seq *t = NULL, *a = NULL, *b = NULL;
	struct event ev[16];
	job_id job;
	int rc, n;

	engine_text_digest(other, 70, digest);
	rc = seq_new_text(r.e, r.m, &cfg, other, 70, digest, &t, &job, NULL);
	for (int i = 0; rc == 0 && i < 3; i++) {
		if (i == 0)
			rc = seq_new(r.e, r.m, &cfg, &a, NULL);
		else if (i == 1)
			rc = seq_fork(a, 130, &b, NULL);
		else if ((rc = seq_truncate(a, 100)) == 0)
			rc = seq_reserve(a, 500);
		if (rc == 0)
			rc = seq_append(i == 1 ? b : a, ids, 150, NULL, &job, NULL);
		while (engine_step(r.e, 0) > 0)
			;
		while ((n = engine_poll(r.e, ev, 16)) > 0)
			for (int k = 0; k < n; k++)
				if (ev[k].kind == EV_FAILED)
					rc = ev[k].code;
	}
	seq_free(b);
	seq_free(a);
	seq_free(t);
	return rc;
}
#endif

/* A node that cannot be made is a page that is not cached, and no error. */
static void every_fault_is_survived(void **st)
{
#ifdef SP_FAULT
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	unsigned n = 0;
	bool fired;

	open_rig(NULL, 60);
	visit(0, ids, 150, want);
	do {
		fault_arm("*", ++n, false, 0);
		(void)chats();
		fired = fault_fired();
		fault_disarm();
		assert_true(r.e->kv.used == r.e->kv.resting && r.e->kv.promised == 0);
		visit(1, ids, 150, got);
		assert_memory_equal(got, want, sizeof(got));
		engine_cache_clear(r.e, 1);
		assert_int_equal(r.e->kv.used, 0);
	} while (fired);
	print_message("%u fault points passed\n", n - 1);
	assert_true(n > 12);
	rig_close(&r);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_registered_text_is_everybodys_and_nothing_behind_it),
	    cmocka_unit_test(a_text_that_ended_is_matched_no_more),
	    cmocka_unit_test(texts_are_what_was_registered_and_bounded),
	    cmocka_unit_test(every_fault_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
