/* t_sched.c - scheduling: who goes first, credit, cancelling, ends, storms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "engine_help.h"
#include "engine_priv.h"

static const struct shape shape = {.embd = 32,
				   .layers = 3,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 8,
				   .ff = 40,
				   .vocab = SMALL_VOCAB,
				   .context = 4096,
				   .tied = true};
static struct rig r;

static int open_rig(void **st)
{
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, 64u << 20);
	return 0;
}

static int close_rig(void **st)
{
	struct engine_stats s;

	engine_stats(r.e, &s);
	assert_int_equal(s.jobs_active, 0);
	rig_close(&r);
	return 0;
}

static job_id generate(struct seq *s, uint32_t n)
{
	struct gen_limit limit = {.max_new = n, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	job_id job = 0;

	sampler_init(&smp, 9);
	smp.temperature = 2;
	assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
	return job;
}

static struct outcome out;

static void generation_waits_for_credit(void **st)
{
	struct seq *s = rig_seq_in(&r, 0, PRIO_NORMAL, 100);
	struct event ev[20];
	job_id job;

	rig_append(&r, s, 5);
	job = generate(s, 10); /* queued behind the append */
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(engine_poll(r.e, ev, 20), 1);
	assert_int_equal(ev[0].kind, EV_DONE);
	for (uint32_t credit = 1; credit <= 3; credit++) {
		seq_credit(s, credit);
		while (engine_step(r.e, 0) > 0)
			;
		assert_int_equal(engine_poll(r.e, ev, 20), credit);
		for (uint32_t i = 0; i < credit; i++)
			assert_true(ev[i].kind == EV_TOKEN && ev[i].job == job && ev[i].seq == s);
	}
	seq_credit(s, 100);
	run_job(r.e, job, &out);
	assert_int_equal(out.end, GEN_LENGTH);
	assert_int_equal(out.n_tokens, 4);
	assert_int_equal(out.computed, 10);
	assert_int_equal(seq_len(s), 14); /* the last one is not computed */
	seq_free(s);
}

static void generations_end_where_they_should(void **st)
{
	struct seq *s = rig_seq_in(&r, 0, PRIO_NORMAL, 30);
	struct gen_limit limit = {.max_new = 1000, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler greedy = {0};
	int32_t third, stop;
	job_id job;

	assert_int_equal(seq_generate(s, &greedy, &limit, NULL, NULL, &job, NULL), E_CONFLICT);
	append_all(r.e, s, (int32_t[]){1, 2, 3}, 3, NULL);
	assert_int_equal(seq_generate(s, &greedy, &limit, NULL, NULL, &job, NULL), 0);
	seq_credit(s, 1000);
	run_job(r.e, job, &out);
	assert_int_equal(out.end, GEN_LENGTH); /* of the reservation */
	assert_int_equal(out.n_tokens, 28);
	assert_int_equal(seq_len(s), 30);
	for (third = 2; third < 20 && out.tokens[third] == out.tokens[third - 1]; third++)
		;
	stop = out.tokens[third];
	/* the last token is not in the cache: nothing to go on from */
	assert_int_equal(seq_generate(s, &greedy, &limit, NULL, NULL, &job, NULL), E_CONFLICT);
	for (int as_end = 0; as_end < 2; as_end++) {
		limit = (struct gen_limit){.max_new = 1000,
					   .end_ids = &stop,
					   .n_end = as_end,
					   .stop_ids = &stop,
					   .n_stop = 1};
		assert_int_equal(seq_truncate(s, 0), 0);
		append_all(r.e, s, (int32_t[]){1, 2, 3}, 3, NULL);
		assert_int_equal(seq_generate(s, &greedy, &limit, NULL, NULL, &job, NULL), 0);
		seq_credit(s, 1000);
		run_job(r.e, job, &out);
		assert_int_equal(out.end, as_end ? GEN_END : GEN_STOP_ID);
		assert_true(out.n_tokens <= (uint32_t)third);
		assert_int_equal(out.computed, out.n_tokens + 1);
	}
	limit = (struct gen_limit){.max_new = 10, .deadline_ns = clock_mono_ns() - 1};
	assert_int_equal(seq_truncate(s, 2), 0);
	append_all(r.e, s, (int32_t[]){3}, 1, NULL);
	assert_int_equal(seq_generate(s, &greedy, &limit, NULL, NULL, &job, NULL), 0);
	run_job(r.e, job, &out); /* even without credit */
	assert_int_equal(out.end, GEN_DEADLINE);
	seq_free(s);
}

static bool allow_seven(void *arg, const int32_t *generated, uint32_t n, uint64_t *work,
			uint64_t *allow)
{
	uint32_t *calls = arg;

	assert_int_equal(n, (*calls)++);
	memset(allow, 0, (SMALL_VOCAB / 64 + 1) * 8);
	if (n < 4)
		allow[0] = 1 << 7;
	return true;
}

static void mask_hooks_forbid_tokens(void **st)
{
	struct seq *s = rig_seq_in(&r, 0, PRIO_NORMAL, 30);
	struct gen_limit limit = {.max_new = 10, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	uint32_t calls = 0;
	job_id job;

	sampler_init(&smp, 1);
	append_all(r.e, s, (int32_t[]){1, 2, 3}, 3, NULL);
	assert_int_equal(seq_generate(s, &smp, &limit, allow_seven, &calls, &job, NULL), 0);
	seq_credit(s, 10);
	run_job(r.e, job, &out);
	assert_int_equal(out.kind, EV_FAILED); /* the fifth draw has nothing to choose from */
	assert_int_equal(out.n_tokens, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(out.tokens[i], 7);
	seq_free(s);
}

static void guards_go_first(void **st)
{
	struct seq *chat = rig_seq_in(&r, 0, PRIO_NORMAL, 4000),
		   *guard = rig_seq_in(&r, 0, PRIO_GUARD, 100);
	job_id g;

	r.e->chunk = 64;
	rig_append(&r, chat, 4000);
	engine_step(r.e, 0);
	g = rig_append(&r, guard, 60);
	engine_step(r.e, 0);
	engine_step(r.e, 0);
	assert_int_equal(seq_len(guard), 60);
	assert_true(seq_len(chat) < 300);
	run_job(r.e, g, &out);
	seq_free(chat);
	seq_free(guard);
}

/* Tokens of eight against those of one: however many sequences a group has. */
static void groups_share_alike(void **st)
{
	struct seq *many[8], *one = rig_seq_in(&r, 2, PRIO_NORMAL, 2500);

	r.e->chunk = 64;
	for (int i = 0; i < 8; i++)
		rig_append(&r, many[i] = rig_seq_in(&r, 1, PRIO_NORMAL, 700), 700);
	rig_append(&r, one, 2500);
	for (int step = 0; step < 70; step++) {
		int64_t apart = 0;

		engine_step(r.e, 0);
		apart += seq_len(one);
		for (int i = 0; i < 8; i++)
			apart -= seq_len(many[i]);
		assert_in_range(apart + FAIR_ROWS + 64, 0, 2 * (FAIR_ROWS + 64));
	}
	for (int i = 0; i < 8; i++)
		seq_free(many[i]);
	seq_free(one);
}

static void the_first_token_comes_with_the_prompt(void **st)
{
	struct seq *s = rig_seq_in(&r, 1, PRIO_NORMAL, 100);
	struct event ev[4];

	r.e->chunk = 64;
	rig_append(&r, s, 64);
	generate(s, 5);
	seq_credit(s, 5);
	assert_int_equal(engine_step(r.e, 0), 1);
	assert_int_equal(engine_poll(r.e, ev, 4), 2);
	assert_int_equal(ev[0].kind, EV_DONE);
	assert_int_equal(ev[1].kind, EV_TOKEN);
	engine_step(r.e, 0);
	assert_int_equal(engine_poll(r.e, ev, 4), 1);
	assert_int_equal(ev[0].kind, EV_TOKEN);
	seq_free(s);
}

/* Four clients at once: all prompts in one batch would make each wait for all four. */
static void equal_prompts_are_finished_one_by_one(void **st)
{
	struct seq *s[4];
	uint32_t first[4] = {0}, sum = 0;

	r.e->chunk = 64;
	for (uint32_t i = 0; i < 4; i++) {
		rig_append(&r, s[i] = rig_seq_in(&r, i, PRIO_NORMAL, 600), 512);
		generate(s[i], 32);
		seq_credit(s[i], 32);
	}
	for (uint32_t step = 1; step < 200; step++) {
		struct event ev[32];
		struct engine_stats es;
		int n;

		engine_step(r.e, 0);
		engine_stats(r.e, &es);
		while ((n = engine_poll(r.e, ev, 32)) > 0)
			for (int k = 0; k < n; k++)
				for (int i = 0; i < 4; i++)
					if (ev[k].kind == EV_TOKEN && ev[k].seq == s[i] &&
					    !first[i])
						first[i] = (uint32_t)es.tokens_prompt;
	}
	for (int i = 0; i < 4; i++) {
		assert_in_range(first[i], 1, 4 * 512);
		sum += first[i];
		seq_free(s[i]);
	}
	assert_in_range(sum, 4, 4 * 512 * 5 / 2); /* mean 2.5 prompts, not 4 */
}

static void short_prompts_pass_long_ones_but_not_for_ever(void **st)
{
	struct seq *longer = rig_seq_in(&r, 1, PRIO_NORMAL, 1000),
		   *brief = rig_seq_in(&r, 1, PRIO_NORMAL, 100);
	uint32_t passed = 0;

	r.e->chunk = 50;
	rig_append(&r, longer, 1000);
	engine_step(r.e, 0);
	while (seq_len(longer) < 1000) {
		job_id job;

		assert_int_equal(seq_truncate(brief, 0), 0);
		job = rig_append(&r, brief, 50);
		engine_step(r.e, 0);
		while (brief->jobs)
			engine_step(r.e, 0);
		passed += seq_len(longer) == 50;
		assert_true(job > 0);
	}
	assert_in_range(passed, 1, AGING * 1000 / 50);
	seq_free(longer);
	seq_free(brief);
}

static void long_prompts_do_not_stall_answers(void **st)
{
	struct seq *chat = rig_seq_in(&r, 1, PRIO_NORMAL, 200),
		   *prompt = rig_seq_in(&r, 2, PRIO_NORMAL, 4000);
	struct event ev[8];
	uint64_t tokens = 0, steps = 0;

	r.e->chunk = 64;
	append_all(r.e, chat, (int32_t[]){1, 2}, 2, NULL);
	generate(chat, 190);
	seq_credit(chat, 190);
	rig_append(&r, prompt, 3000);
	while (seq_len(prompt) < 2900) {
		int n;

		engine_step(r.e, 0);
		steps++;
		while ((n = engine_poll(r.e, ev, 8)) > 0)
			tokens += n;
	}
	assert_true(2 * tokens + 2 >= steps); /* one behind each batch of prompts */
	seq_free(chat);
	seq_free(prompt);
}

static void a_cancelled_job_ends_at_the_next_layer(void **st)
{
	struct seq *s = rig_seq_in(&r, 0, PRIO_NORMAL, 500),
		   *other = rig_seq_in(&r, 0, PRIO_NORMAL, 500);
	struct pollfd p = {.fd = engine_wake_fd(r.e), .events = POLLIN};
	struct event ev[4];
	job_id job, stays;

	job = rig_append(&r, s, 100);
	stays = rig_append(&r, other, 100);
	r.e->chunk = 300;
	assert_int_equal(engine_step(r.e, 1), 1); /* a fraction of a layer */
	assert_int_equal(r.m->fwd.at, 1);
	assert_int_equal(engine_poll(r.e, ev, 4), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	job_cancel(r.e, job);
	job_cancel(r.e, job + 1000);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(engine_step(r.e, 1), 1);
	assert_int_equal(engine_poll(r.e, ev, 4), 1);
	assert_true(ev[0].kind == EV_DONE && ev[0].job == job && ev[0].end == GEN_CANCELLED);
	assert_int_equal(ev[0].computed, 0);
	assert_int_equal(seq_len(s), 0);
	run_job(r.e, stays, &out);
	assert_int_equal(seq_len(other), 100);
	append_all(r.e, s, (int32_t[]){1, 2}, 2, NULL); /* still usable */
	assert_int_equal(poll(&p, 1, 0), 0);
	seq_free(s);
	seq_free(other);
}

/* Whenever a generation is cancelled: the token reported last is not in the cache. */
static void a_cancelled_generation_can_be_gone_on_with(void **st)
{
	enum { N = HEAD_ROWS + 2, PROMPT = KV_TOKENS - 1 };
	struct seq *s[N], *child, *last;
	uint32_t reported = 0;
	struct event ev;
	job_id job[N];

	for (int i = 0; i < N; i++) {
		s[i] = rig_seq_in(&r, 0, PRIO_NORMAL, 100);
		rig_append(&r, s[i], PROMPT);
		job[i] = generate(s[i], 30);
	}
	while (engine_step(r.e, 0) > 0)
		;
	for (int i = 0; i < N; i++)
		seq_credit(s[i], 30);
	/* all have a row, and the first ones are drawn already */
	while (!(r.e->batch.stage == BATCH_HEADS && r.e->batch.rows == N && r.e->batch.head))
		assert_true(engine_step(r.e, 1) > 0);
	last = r.e->batch.heads[N - 1].job->seq;
	assert_int_equal(seq_len(last), KV_TOKENS); /* the last place of its page */
	assert_int_equal(seq_fork(last, KV_TOKENS, &child, NULL), 0);
	for (int i = 0; i < N; i++)
		job_cancel(r.e, job[i]);
	while (engine_step(r.e, 0) > 0)
		;
	for (int i = 0; i < N; i++)
		reported -= seq_len(s[i]) - PROMPT + 1;
	/* that place will be written again, but not in the child's page */
	assert_int_equal(seq_len(last), PROMPT);
	assert_ptr_not_equal(last->pages[0], child->pages[0]);
	seq_free(child);
	while (engine_poll(r.e, &ev, 1) > 0) {
		assert_true(ev.kind != EV_FAILED);
		reported += ev.kind == EV_TOKEN;
	}
	assert_int_equal(reported, 0);
	for (int i = 0; i < N; i++)
		seq_free(s[i]);
}

static void paused_and_queued_jobs_can_be_cancelled(void **st)
{
	struct seq *s = rig_seq_in(&r, 0, PRIO_NORMAL, 500);
	job_id a, g;

	a = rig_append(&r, s, 100);
	g = generate(s, 10);
	job_cancel(r.e, g);
	run_job(r.e, g, &out);
	assert_int_equal(out.end, GEN_CANCELLED);
	run_job(r.e, a, &out);
	assert_int_equal(seq_len(s), 100);
	g = generate(s, 10); /* waits for credit */
	assert_int_equal(engine_step(r.e, 0), 0);
	job_cancel(r.e, g);
	run_job(r.e, g, &out);
	assert_int_equal(out.end, GEN_CANCELLED);
	seq_free(s);
}

static void freeing_a_sequence_silences_it(void **st)
{
	struct seq *s = rig_seq_in(&r, 0, PRIO_NORMAL, 500),
		   *t = rig_seq_in(&r, 0, PRIO_NORMAL, 500);
	struct want w = {.rows = WANT_LOGITS_FULL};
	struct event ev[4];
	job_id job;

	rig_append(&r, s, 200);
	rig_append(&r, t, 200);
	engine_step(r.e, 1);
	seq_free(s); /* in the batch in flight */
	seq_free(t);
	assert_int_equal(r.e->batch.stage, BATCH_NONE);
	s = rig_seq_in(&r, 0, PRIO_NORMAL, 500);
	assert_int_equal(seq_append(s, (int32_t[]){1}, 1, &w, &job, NULL), 0);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(engine_poll(r.e, ev, 1), 1); /* ROWS taken, DONE still waits */
	seq_free(s);
	assert_true(ev[0].rows[0] == ev[0].rows[0]); /* borrowed until the next poll */
	assert_int_equal(engine_poll(r.e, ev, 4), 0);
}

/* Steps to the output rows of a batch of one sequence that wants n of them. */
static struct seq *in_output_rows(struct model *m, uint32_t n, job_id *job)
{
	struct seq_cfg cfg = {.priority = PRIO_NORMAL, .max_tokens = 200};
	struct want w = {.rows = WANT_LOGITS_FULL, .all_rows = true};
	static int32_t ids[200];
	struct seq *s = NULL;

	some_ids(ids, n, SMALL_VOCAB, 4);
	assert_int_equal(seq_new(r.e, m, &cfg, &s, NULL), 0);
	assert_int_equal(seq_append(s, ids, n, &w, job, NULL), 0);
	r.e->chunk = n;
	while (r.e->batch.stage != BATCH_HEADS)
		assert_true(engine_step(r.e, 1) > 0);
	assert_int_equal(r.e->batch.n_heads, n);
	return s;
}

static void a_model_can_go_while_its_rows_are_put_out(void **st)
{
	int fd = random_model(&shape, 5, NULL);
	struct engine_stats before, after;
	struct event ev[8];
	struct model *m;
	job_id job;

	assert_int_equal(engine_model_add(r.e, &fd, 1, NULL, &m, NULL), 0);
	close(fd);
	seq_free(in_output_rows(m, 100, &job));
	assert_int_equal(engine_model_drop(r.e, m, NULL), 0);
	assert_int_equal(r.e->batch.stage, BATCH_NONE);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(engine_poll(r.e, ev, 8), 0);
	/* rows that nobody wants any more are not computed */
	in_output_rows(r.m, 100, &job);
	engine_stats(r.e, &before);
	job_cancel(r.e, job);
	assert_int_equal(engine_step(r.e, 1), 0);
	engine_stats(r.e, &after);
	assert_int_equal(after.steps, before.steps + 1);
}

static void two_models_take_turns(void **st)
{
	struct seq_cfg cfg = {.max_tokens = 2000, .priority = PRIO_NORMAL};
	struct seq *a = rig_seq_in(&r, 0, PRIO_NORMAL, 2000), *b;
	int32_t ids[2000];
	struct model *m2;
	job_id ja, jb;
	int fd = random_model(&shape, 77, NULL);

	assert_int_equal(engine_model_add(r.e, &fd, 1, NULL, &m2, NULL), 0);
	assert_int_equal(seq_new(r.e, m2, &cfg, &b, NULL), 0);
	r.e->chunk = 50;
	ja = rig_append(&r, a, 2000);
	some_ids(ids, 2000, SMALL_VOCAB, 1);
	assert_int_equal(seq_append(b, ids, 2000, NULL, &jb, NULL), 0);
	for (int i = 0; i < 20; i++)
		engine_step(r.e, 0);
	assert_int_equal(seq_len(a), 500);
	assert_int_equal(seq_len(b), 500);
	run_job(r.e, ja, &out);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(b), 2000);
	seq_free(a);
	seq_free(b);
	assert_int_equal(engine_model_drop(r.e, m2, NULL), 0);
}

/* Ten thousand wait, half of them prompts of as many groups: a step looks at those it moves. */
static void a_step_does_not_walk_over_those_who_wait(void **st)
{
	enum { MANY = 10000, LOG = 14 };
	struct seq **s = calloc(MANY, sizeof(*s));
	uint64_t before, rows = 0;

	rig_close(&r);
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, 4ull << 30);
	for (uint32_t i = 0; i < MANY; i++) {
		s[i] = rig_seq_in(&r, i % 2 ? i : i % 16, PRIO_NORMAL, 64);
		rig_append(&r, s[i], 1 + i % 40);
		if (i % 4 == 0) {
			generate(s[i], 4);
			seq_credit(s[i], 4);
		}
	}
	/* queueing one costs a path through a heap or two */
	assert_in_range(sched_visits(r.e), 1, (uint64_t)MANY * 8 * LOG);
	r.e->chunk = 32;
	for (int step = 0; step < 200; step++) {
		struct event ev[64];

		before = sched_visits(r.e);
		assert_true(engine_step(r.e, 0) > 0);
		/* of at most so many sequences: into a queue and out, two heaps each */
		assert_in_range(sched_visits(r.e) - before, 1, (uint64_t)(256 + 32) * 12 * LOG);
		rows += sched_visits(r.e) - before;
		while (engine_poll(r.e, ev, 64) > 0)
			;
	}
	assert_in_range(rows, 1, 200ull * 32 * 12 * LOG);
	for (int i = 0; i < MANY; i++)
		seq_free(s[i]);
	free(s);
	assert_int_equal(r.e->n_ready + r.e->n_busy, 0);
}

static void closing_ends_everything(void **st)
{
	struct seq *s = rig_seq_in(&r, 1, PRIO_GUARD, 500);

	rig_append(&r, rig_seq_in(&r, 0, PRIO_NORMAL, 500), 300);
	rig_append(&r, s, 10);
	generate(s, 1);
	engine_step(r.e, 1);
	rig_close(&r);
	open_rig(st);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
	const struct CMUnitTest tests[] = {
	    T(generation_waits_for_credit),
	    T(generations_end_where_they_should),
	    T(mask_hooks_forbid_tokens),
	    T(guards_go_first),
	    T(groups_share_alike),
	    T(the_first_token_comes_with_the_prompt),
	    T(equal_prompts_are_finished_one_by_one),
	    T(short_prompts_pass_long_ones_but_not_for_ever),
	    T(long_prompts_do_not_stall_answers),
	    T(a_cancelled_job_ends_at_the_next_layer),
	    T(a_cancelled_generation_can_be_gone_on_with),
	    T(paused_and_queued_jobs_can_be_cancelled),
	    T(freeing_a_sequence_silences_it),
	    T(a_model_can_go_while_its_rows_are_put_out),
	    T(two_models_take_turns),
	    T(a_step_does_not_walk_over_those_who_wait),
	    T(closing_ends_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
