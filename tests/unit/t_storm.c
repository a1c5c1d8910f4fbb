/* t_storm.c - many requests, little room, cancels from everywhere: all end, nothing stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine_help.h"
#include "engine_priv.h"

#ifdef SP_SANITIZED
#define STORM 2000
#else
#define STORM 10000
#endif

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
	struct gen_limit limit = {
	    .max_new = n, .end_ids = (int32_t[]){-1}, .n_end = 1, .draft = n % 5};
	struct sampler smp;
	job_id job = 0;

	sampler_init(&smp, 9);
	smp.temperature = 2;
	assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
	return job;
}

enum { CLIENTS = 50, PROMPT = 250, SAYS = 40, READS = PROMPT + SAYS + 30 };

/* A chat and the guard that reads all of it: reserved together or not at all. */
struct client {
	struct seq *chat, *guard;
	bool done;
};

static bool admit(struct client *c, uint64_t group)
{
	struct seq_cfg chat = {
	    .max_tokens = PROMPT + SAYS, .fair_group = group, .priority = PRIO_NORMAL};
	struct seq_cfg guard = {.max_tokens = READS, .role = SEQ_GUARD, .priority = PRIO_GUARD};

	if (seq_new(r.e, r.m, &chat, &c->chat, NULL) < 0)
		return false;
	if (seq_new(r.e, r.m, &guard, &c->guard, NULL) < 0) {
		seq_free(c->chat);
		c->chat = NULL;
		return false;
	}
	rig_append(&r, c->guard, PROMPT); /* the prompt is judged while it is computed */
	rig_append(&r, c->chat, PROMPT);
	generate(c->chat, SAYS);
	seq_credit(c->chat, 3);
	return true;
}

/* What the policy does: judged in pieces, and let go on by what was judged. */
static void goes_on(struct client *c, const struct event *ev, uint32_t *done)
{
	assert_int_not_equal(ev->kind, EV_FAILED);
	if (ev->seq == c->chat && ev->kind == EV_TOKEN)
		rig_append(&r, c->guard, 1);
	if (ev->seq == c->guard && ev->kind == EV_DONE)
		seq_credit(c->chat, 1);
	if (ev->seq != c->chat || ev->kind != EV_DONE || ev->end != GEN_LENGTH)
		return;
	rig_append(&r, c->guard, 30); /* the verdict on all of it */
	c->done = true;
	(*done)++;
}

static void fifty_requests_share_a_budget_for_one_and_a_half(void **st)
{
	struct client c[CLIENTS] = {0};
	uint32_t done = 0;
	uint64_t one, page;
	struct seq *s;

	s = rig_seq_in(&r, 0, PRIO_NORMAL, 64);
	page = s->kv->page_bytes;
	seq_free(s);
	rig_close(&r);
	one = (kv_pages_for(PROMPT + SAYS) + kv_pages_for(READS)) * page;
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, one * 3 / 2);
	while (done < CLIENTS) {
		struct event ev;

		for (uint64_t i = 0; i < CLIENTS; i++) { /* the caller retries */
			if (c[i].done && c[i].guard && !c[i].guard->jobs) {
				seq_free(c[i].chat);
				seq_free(c[i].guard);
				c[i].chat = c[i].guard = NULL;
			}
			if (!c[i].chat && !c[i].done)
				admit(&c[i], i);
		}
		assert_true(engine_step(r.e, 0) >= 0);
		while (engine_poll(r.e, &ev, 1) > 0)
			for (int i = 0; i < CLIENTS; i++)
				if (c[i].chat && (ev.seq == c[i].chat || ev.seq == c[i].guard))
					goes_on(&c[i], &ev, &done);
		assert_true(r.e->kv.used + r.e->kv.idle <= r.e->kv.budget);
	}
	for (int i = 0; i < CLIENTS; i++) {
		seq_free(c[i].chat);
		seq_free(c[i].guard);
	}
	assert_int_equal(r.e->kv.used - r.e->kv.resting + r.e->kv.promised, 0);
}

static void ten_thousand_jobs_leave_nothing_behind(void **st)
{
	struct seq **s = calloc(STORM, sizeof(*s));
	uint32_t done = 0;
	struct event ev[64];
	int n;

	rig_close(&r);
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, 4ull << 30);
	for (int i = 0; i < STORM; i++) {
		s[i] = rig_seq_in(&r, (uint64_t)i % 7, i % 3 ? PRIO_NORMAL : PRIO_GUARD, 64);
		rig_append(&r, s[i], 1 + (uint32_t)i % 5);
	}
	while (engine_step(r.e, 5000000) > 0 || done < STORM)
		while ((n = engine_poll(r.e, ev, 64)) > 0)
			for (int i = 0; i < n; i++)
				done += ev[i].kind == EV_DONE;
	assert_int_equal(done, STORM);
	for (int i = 0; i < STORM; i++)
		seq_free(s[i]);
	free(s);
	assert_int_equal(r.e->kv.used + r.e->kv.promised, 0);
	assert_int_equal(r.e->n_groups, 0);
}

struct storm {
	_Atomic job_id from, to;
	atomic_bool stop;
};

static void *canceller(void *arg)
{
	struct storm *s = arg;
	uint64_t x = 1;

	while (!atomic_load(&s->stop)) {
		job_id from = atomic_load(&s->from), to = atomic_load(&s->to);

		x = x * 6364136223846793005u + 1442695040888963407u;
		if (to > from)
			job_cancel(r.e, from + (x >> 33) % (to - from + 1));
		if ((x >> 60) == 0)
			engine_wake(r.e);
	}
	return NULL;
}

static void cancel_storms_neither_leak_nor_stall(void **st)
{
	struct storm storm = {0};
	struct seq *s[16];
	uint32_t ended = 0, begun = 0;
	pthread_t t;
	struct event ev[16];
	int n;

	for (int i = 0; i < 16; i++)
		s[i] = rig_seq_in(&r, (uint64_t)i % 3, i % 4 ? PRIO_NORMAL : PRIO_GUARD, 400);
	assert_int_equal(pthread_create(&t, NULL, canceller, &storm), 0);
	while (ended < STORM) {
		for (int i = 0; i < 16; i++)
			if (!s[i]->jobs && begun < STORM) {
				job_id job;

				assert_int_equal(seq_truncate(s[i], 0), 0);
				job = rig_append(&r, s[i], 100);
				begun += 2;
				atomic_store(&storm.from, job > 40 ? job - 40 : 1);
				job = generate(s[i], 16 + (uint32_t)i % 5);
				seq_credit(s[i], 20);
				atomic_store(&storm.to, job);
			}
		assert_true(engine_step(r.e, (uint64_t)(ended % 3) * 100000) >= 0);
		while ((n = engine_poll(r.e, ev, 16)) > 0)
			for (int i = 0; i < n; i++)
				ended += ev[i].kind == EV_DONE || ev[i].kind == EV_FAILED;
	}
	atomic_store(&storm.stop, true);
	pthread_join(t, NULL);
	assert_int_equal(ended, begun);
	for (int i = 0; i < 16; i++)
		seq_free(s[i]);
	assert_int_equal(r.e->kv.used + r.e->kv.promised, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
	const struct CMUnitTest tests[] = {
	    T(fifty_requests_share_a_budget_for_one_and_a_half),
	    T(ten_thousand_jobs_leave_nothing_behind),
	    T(cancel_storms_neither_leak_nor_stall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
