/* t_turns.c - whose turn it is where something is short or goes away: groups of forks, memory for a
 * batch beside another, rows that leave, room to take a token back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "engine_help.h"
#include "engine_priv.h"
#include "fault.h"

static const struct shape shape = {SMALL_SHAPE, .context = 4096, .tied = true};
static struct rig r;

static int open_rig(void **st)
{
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, 64u << 20);
	return 0;
}

static int close_rig(void **st)
{
	rig_close(&r);
	return 0;
}

static job_id generate(struct seq *s, uint32_t n, uint32_t credit)
{
	struct gen_limit limit = {.max_new = n, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	job_id job = 0;

	sampler_init(&smp, 9);
	smp.temperature = 2;
	assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
	seq_credit(s, credit);
	return job;
}

/* Eight forks for one group, then one for another: it does not wait for all of them. */
static void forks_take_turns_in_the_groups_they_work_for(void **st)
{
	struct seq *text = rig_seq_in(&r, 1, PRIO_NORMAL, 1000), *s[9];
	uint32_t groups;

	r.e->chunk = 64;
	append_all(r.e, text, (int32_t[]){1, 2, 3}, 3, NULL);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(seq_fork(text, 3, &s[i], NULL), 0);
		assert_int_equal(seq_group(s[i], i < 8 ? 1 : 2), 0);
		rig_append(&r, s[i], 900);
		assert_int_equal(seq_group(s[i], 3), E_BUSY);
	}
	groups = r.e->n_groups;
	assert_int_equal(groups, 2);
	while (seq_len(s[8]) < 903)
		assert_true(engine_step(r.e, 0) > 0);
	for (uint32_t i = 0, sum = 0; i < 8; i++)
		assert_true((sum += seq_len(s[i])) < 8 * 3 + 900 + 2 * FAIR_ROWS);
	seq_free(s[8]);
	assert_int_equal(r.e->n_groups, 1); /* who has no sequences is forgotten */
	for (int i = 0; i < 8; i++)
		seq_free(s[i]);
	assert_int_equal(seq_group(text, 7), 0);
	assert_int_equal(r.e->n_groups, 1);
#ifdef SP_FAULT
	fault_arm("seq.group", 1, false, 0);
	assert_int_equal(seq_group(text, 8), E_NOMEM);
	fault_disarm();
	assert_int_equal(text->cfg.fair_group, 7);
#endif
	rig_append(&r, text, 10);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(text), 13);
	seq_free(text);
	assert_int_equal(r.e->n_groups, 0);
}

/* Answers are due in the middle of each batch of prompts, and there is never memory for a batch of
 * theirs beside it: then they go before the next one. */
static void answers_go_on_where_no_batch_fits_beside_the_prompts(void **st)
{
#ifdef SP_FAULT
	struct seq *talks = rig_seq_in(&r, 1, PRIO_NORMAL, 200),
		   *prompt = rig_seq_in(&r, 2, PRIO_NORMAL, 4000);
	struct event ev[8];
	uint32_t tokens = 0;
	uint64_t from;
	int n;

	append_all(r.e, talks, (int32_t[]){1, 2}, 2, NULL);
	generate(talks, 190, 190);
	rig_append(&r, prompt, 4000);
	r.e->chunk = 0;
	r.m->ns_prompt = CHUNK_NS / 64;
	from = r.e->batches;
	fault_arm("fwd.alloc", 1, true, 0);
	while (r.e->batches < from + 20) {
		r.m->ns_prompt = CHUNK_NS / 64; /* 64 rows a batch */
		if (r.e->batch.stage == BATCH_LAYERS && r.e->batch.prompt_rows)
			r.e->turn_ns = r.m->fwd.at == 1 ? r.e->turn : 0;
		assert_true(engine_step(r.e, 1) > 0);
		while ((n = engine_poll(r.e, ev, 8)) > 0)
			tokens += (uint32_t)n;
	}
	fault_disarm();
	assert_true(tokens >= 8);
	seq_free(talks);
	seq_free(prompt);
#else
	skip();
#endif
}

/* A batch that most rows left tells nothing of what a row costs: who asks and leaves again and
 * again must not make the next batches long ones. */
static void a_batch_that_rows_left_is_not_measured(void **st)
{
	struct seq *goes = rig_seq_in(&r, 1, PRIO_NORMAL, 600),
		   *stays = rig_seq_in(&r, 2, PRIO_NORMAL, 600);
	const uint64_t known = CHUNK_NS / 100;
	job_id job, other;
	struct event ev;

	append_all(r.e, stays, (int32_t[]){1, 2}, 2, NULL);
	other = rig_append(&r, stays, 20);
	job = rig_append(&r, goes, 400);
	r.e->chunk = 512;
	r.m->ns_prompt = known;
	assert_int_equal(engine_step(r.e, 1), 1);
	assert_int_equal(r.e->batch.prompt_rows, 420);
	job_cancel(r.e, job);
	while (engine_step(r.e, 1) > 0)
		;
	assert_int_equal(seq_len(stays), 22);
	assert_int_equal(seq_len(goes), 0);
	assert_int_equal(r.m->ns_prompt, known);
	assert_true(other > 0);
	while (engine_poll(r.e, &ev, 1) > 0)
		;
	append_all(r.e, goes, (int32_t[]){1, 2, 3, 4}, 4, NULL); /* this one does */
	assert_int_not_equal(r.m->ns_prompt, known);
	seq_free(goes);
	seq_free(stays);
}

/* The page in which the last token lies is a fork's, too, and there is no room for another: the
 * token cannot be taken back, and who goes on must not be told that it was. */
static void a_cancel_without_room_to_take_a_token_back_says_so(void **st)
{
	enum { N = HEAD_ROWS + 2, PROMPT = KV_TOKENS - 1 };
	struct seq *s[N], *child, *last;
	uint32_t taken = 0, failed = 0;
	struct event ev;
	job_id job[N];

	for (int i = 0; i < N; i++) {
		s[i] = rig_seq_in(&r, 0, PRIO_NORMAL, 100);
		rig_append(&r, s[i], PROMPT);
		job[i] = generate(s[i], 30, 0);
	}
	while (engine_step(r.e, 0) > 0)
		;
	for (int i = 0; i < N; i++)
		seq_credit(s[i], 30);
	/* all of them have a row, and the first ones are drawn already */
	while (!(r.e->batch.stage == BATCH_HEADS && r.e->batch.rows == N && r.e->batch.head))
		assert_true(engine_step(r.e, 1) > 0);
	last = r.e->batch.heads[r.e->batch.n_heads - 1].job->seq;
	assert_int_equal(seq_len(last), KV_TOKENS);
	assert_int_equal(seq_fork(last, KV_TOKENS, &child, NULL), 0);
	while (kv_promise(last->kv, 1))
		taken++;
	for (int i = 0; i < N; i++)
		job_cancel(r.e, job[i]);
	while (engine_step(r.e, 0) > 0)
		;
	kv_unpromise(last->kv, taken);
	while (engine_poll(r.e, &ev, 1) > 0)
		if (ev.kind == EV_FAILED) {
			assert_ptr_equal(ev.seq, last);
			assert_int_equal(ev.code, E_BUSY);
			failed++;
		}
	assert_int_equal(failed, 1);
	assert_int_equal(seq_len(last), KV_TOKENS);
	assert_true(last->hidden_ok);
	job[0] = generate(last, 2, 2); /* it can be gone on with as it is */
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(last), KV_TOKENS + 1);
	seq_free(child);
	for (int i = 0; i < N; i++)
		seq_free(s[i]);
	assert_int_equal(r.e->kv.used + r.e->kv.promised, 0);
}

/* Events that wait and cancels that were not seen yet go with their sequences, in whatever order.
 */
static void many_can_go_with_what_they_have_waiting(void **st)
{
	enum { MANY = 200 };
	static const uint32_t step[] = {1, 199, 77, 63}; /* no divisors of MANY: each comes once */
	struct seq *s[MANY];
	job_id job[MANY];
	struct event ev;

	for (uint32_t way = 0; way < 16; way++) {
		uint32_t told = 0, kept = 0;

		for (uint32_t i = 0; i < MANY; i++) {
			s[i] = rig_seq_in(&r, i % 16, PRIO_NORMAL, 64);
			job[i] = rig_append(&r, s[i], 10);
		}
		for (uint32_t i = 0; i < MANY; i++)
			if (i % 5)
				job_cancel(r.e, job[i * step[way / 4] % MANY]);
		if (way % 2)
			assert_int_equal(engine_step(r.e, 1), 1);
		if (way % 4 == 3) /* some are told */
			while (told < 50 && engine_poll(r.e, &ev, 1) == 1)
				told += ev.end == GEN_CANCELLED;
		for (uint32_t i = 0; i < MANY; i++)
			if (i % 20) {
				seq_free(s[i * step[way % 4] % MANY]);
				s[i * step[way % 4] % MANY] = NULL;
			}
		while (engine_step(r.e, 0) > 0)
			;
		while (engine_poll(r.e, &ev, 1) == 1) {
			for (uint32_t i = 0; i < MANY; i++)
				kept += s[i] && ev.seq == s[i];
			told++;
		}
		assert_true(kept <= MANY / 20 && (told < 50 ? told : told - 50) == kept);
		for (uint32_t i = 0; i < MANY; i++)
			seq_free(s[i]);
		assert_int_equal(r.e->stats.jobs_active + r.e->n_groups, 0);
		assert_null(r.e->cancel_list);
	}
}

/* Six prompts of 900 rows wait for the guard while an answer is under way: its tokens meanwhile. */
static uint32_t tokens_beside(enum seq_priority prio, uint32_t *batches)
{
	struct seq_cfg cfg = {.priority = prio, .role = SEQ_GUARD, .max_tokens = 1000};
	struct seq *talks = rig_seq_in(&r, 1, PRIO_NORMAL, 400), *guard[6];
	uint32_t tokens = 0, left = 6;
	struct event ev;

	append_all(r.e, talks, (int32_t[]){1, 2}, 2, NULL);
	generate(talks, 390, 390);
	for (uint32_t i = 0; i < 6; i++) {
		cfg.fair_group = i;
		assert_int_equal(seq_new(r.e, r.m, &cfg, &guard[i], NULL), 0);
		rig_append(&r, guard[i], 900);
	}
	*batches = (uint32_t)r.e->stats.steps;
	while (left) {
		assert_true(engine_step(r.e, 0) >= 0);
		while (engine_poll(r.e, &ev, 1) > 0) {
			tokens += ev.kind == EV_TOKEN;
			left -= ev.kind == EV_DONE && ev.seq != talks;
		}
	}
	*batches = (uint32_t)r.e->stats.steps - *batches;
	for (uint32_t i = 0; i < 6; i++)
		seq_free(guard[i]);
	seq_free(talks);
	return tokens;
}

/* However many prompts wait for the guard, an answer under way goes on beside them; what waits for
 * the check of an answer does not. */
static void answers_take_turns_with_scans_and_wait_for_checks(void **st)
{
	uint32_t tokens, batches;

	r.e->chunk = 64;
	tokens = tokens_beside(PRIO_SCAN, &batches);
	assert_true(batches >= 6 * 900 / 64 + tokens);
	assert_true(tokens + 2 >= batches / 2);
	tokens = tokens_beside(PRIO_GUARD, &batches);
	assert_true(tokens <= 2);
}

/* The check of an answer waits for the scan in flight, not for the answers between. */
static void a_check_goes_before_answers_where_a_scan_rests(void **st)
{
	struct seq_cfg cfg = {.priority = PRIO_SCAN, .role = SEQ_GUARD, .max_tokens = 1000};
	struct seq *talks = rig_seq_in(&r, 1, PRIO_NORMAL, 400), *scan, *check;

	append_all(r.e, talks, (int32_t[]){1, 2}, 2, NULL);
	assert_int_equal(seq_new(r.e, r.m, &cfg, &scan, NULL), 0);
	cfg.priority = PRIO_GUARD;
	assert_int_equal(seq_new(r.e, r.m, &cfg, &check, NULL), 0);
	r.e->chunk = 512;
	rig_append(&r, scan, 900);
	assert_int_equal(engine_step(r.e, 1), 1);
	assert_true(r.e->urgent.stage == BATCH_LAYERS && r.e->urgent.scan);
	r.e->turn = 1;
	generate(talks, 390, 390);
	while (seq_len(talks) < 4) /* rests for them at each fraction */
		assert_true(engine_step(r.e, 1) > 0);
	assert_true(r.e->urgent.stage == BATCH_LAYERS);
	rig_append(&r, check, 40);
	for (uint32_t len = seq_len(talks); seq_len(check) < 40;) {
		assert_true(engine_step(r.e, 1) > 0);
		assert_true(seq_len(talks) <= len + 1); /* the row in flight */
	}
	assert_int_equal(seq_len(scan), 512);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(scan), 900);
	assert_int_equal(seq_len(talks), 391);
	seq_free(check);
	seq_free(scan);
	seq_free(talks);
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(forks_take_turns_in_the_groups_they_work_for),
	    T(answers_go_on_where_no_batch_fits_beside_the_prompts),
	    T(a_batch_that_rows_left_is_not_measured),
	    T(a_cancel_without_room_to_take_a_token_back_says_so),
	    T(answers_take_turns_with_scans_and_wait_for_checks),
	    T(a_check_goes_before_answers_where_a_scan_rests),
	    T(many_can_go_with_what_they_have_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
