/* t_preempt.c - guards go before a batch in flight, which rests and goes on as if nothing had been;
 * answers go before one of prompts likewise;
 * what a chat says does not depend on it, nor on company, chunks or threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"
#include "engine_priv.h"

#define PROMPT 130
#define SAID 16
#define READ 33

static const struct shape shape = {.embd = 64,
				   .layers = 2,
				   .heads = 8,
				   .kv_heads = 2,
				   .head_dim = 16,
				   .ff = 120,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .freqs = true,
				   .tied = true};

struct when {
	const char *kernel;
	uint32_t threads, chunk, company, guard_every; /* fractions between two guards; 0 = none */
	bool other_model;			       /* the guards' is another one */
	bool mixed;				       /* quantised, all types */
	bool eager; /* answers go before prompts at every fraction, not each so many ms */
	bool scan;  /* guards of prompts: answers go before them likewise */
};

/* What one chat and the guards beside it came to, bit for bit. */
struct said {
	int32_t token[SAID];
	float logprob[SAID], after[SMALL_VOCAB], read[SMALL_VOCAB];
	uint32_t n, guards, rested; /* rested: times a guard went before a batch in flight */
	uint32_t talked;	    /* times answers did */
	uint32_t scan_rested;	    /* before a guard in flight, of these */
};

struct stage_of {
	struct rig r;
	struct model *gm; /* the guards' */
	const struct when *w;
	struct said *o;
	struct seq *guard;
	job_id reading;
};

static void say(struct seq *s, uint32_t n, uint64_t seed)
{
	struct gen_limit limit = {.max_new = n, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	job_id job;

	sampler_init(&smp, seed);
	smp.temperature = 1.5f;
	assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
	seq_credit(s, n);
}

static void add_company(struct rig *r, uint32_t n)
{
	int32_t ids[600];
	job_id job;

	for (uint32_t i = 0; i < n; i++) {
		struct seq *s = rig_seq(r, SEQ_CHAT, 1100);

		some_ids(ids, 600, SMALL_VOCAB, i);
		assert_int_equal(seq_append(s, ids, i % 2 ? 600 : 3 + i, NULL, &job, NULL), 0);
		say(s, 400, i);
	}
}

static void begin_reading(struct stage_of *t)
{
	struct want w = {.rows = WANT_LOGITS_FULL};
	struct seq_cfg cfg = {.priority = t->w && t->w->scan ? PRIO_SCAN : PRIO_GUARD,
			      .role = SEQ_GUARD,
			      .max_tokens = READ};
	int32_t ids[READ];

	some_ids(ids, READ, SMALL_VOCAB, 77);
	assert_int_equal(seq_new(t->r.e, t->gm, &cfg, &t->guard, NULL), 0);
	assert_int_equal(seq_append(t->guard, ids, READ, &w, &t->reading, NULL), 0);
	t->o->rested += t->r.e->batch.stage != BATCH_NONE;
}

static void read_event(struct stage_of *t, const struct event *ev)
{
	float *row = t->o->read;

	if (ev->kind == EV_ROWS && t->o->guards == 0)
		memcpy(row, ev->rows, sizeof(t->o->read));
	else if (ev->kind == EV_ROWS) /* one reading is as the other */
		assert_memory_equal(row, ev->rows, sizeof(t->o->read));
	if (ev->kind != EV_DONE)
		return;
	t->o->guards++;
	seq_free(t->guard);
	t->guard = NULL;
}

/* Steps a fraction at a time until the chat has said all, with guards coming in between. */
static void run(struct stage_of *t, struct seq *chat)
{
	struct said *o = t->o;
	uint32_t ago = 0;
	bool done = false;
	enum stage was;

	while (!done) {
		struct event ev[4];
		int n;

		if (t->w->guard_every && !t->guard && ++ago % t->w->guard_every == 0)
			begin_reading(t);
		was = t->r.e->talk.stage;
		assert_true(engine_step(t->r.e, 1) >= 0);
		if (was == BATCH_NONE && t->r.e->talk.stage != BATCH_NONE) {
			o->talked++;
			o->scan_rested += t->r.e->urgent.stage != BATCH_NONE;
		}
		while ((n = engine_poll(t->r.e, ev, 1)) > 0) {
			if (t->guard && ev[0].seq == t->guard)
				read_event(t, &ev[0]);
			else if (ev[0].seq == chat && ev[0].kind == EV_TOKEN) {
				o->token[o->n] = ev[0].token;
				o->logprob[o->n++] = ev[0].logprob;
			} else if (ev[0].seq == chat && ev[0].kind == EV_DONE) {
				done = o->n == SAID;
			}
			assert_int_not_equal(ev[0].kind, EV_FAILED);
		}
	}
}

static void hear(const struct when *w, struct said *o)
{
	struct stage_of t = {.w = w, .o = o};
	struct engine_stats stats;
	struct seq *chat;
	int32_t ids[PROMPT];
	job_id job;
	int fd;

	memset(o, 0, sizeof(*o));
	rig_open(&t.r, random_model(w->mixed ? &shape_mixed : &shape, 11, NULL), w->kernel,
		 w->threads, 64u << 20);
	t.gm = t.r.m;
	fd = w->other_model ? random_model(w->mixed ? &shape_mixed : &shape, 11, NULL) : -1;
	if (fd >= 0)
		assert_int_equal(engine_model_add(t.r.e, &fd, 1, NULL, &t.gm, NULL), 0);
	t.r.e->chunk = w->chunk;
	t.r.e->turn = w->eager ? 1 : t.r.e->turn;
	add_company(&t.r, w->company);
	chat = rig_seq(&t.r, SEQ_CHAT, 300);
	some_ids(ids, PROMPT, SMALL_VOCAB, 5);
	assert_int_equal(seq_append(chat, ids, PROMPT, NULL, &job, NULL), 0);
	say(chat, SAID, 1234);
	run(&t, chat);
	engine_stats(t.r.e, &stats); /* counts what we saw; the last guard may not have begun */
	if (w->scan)		     /* lets a pass of answers end */
		assert_true(stats.preempted >= o->scan_rested);
	else if (w->guard_every)
		assert_true(stats.preempted + 1 >= o->rested + o->talked);
	else
		assert_int_equal(stats.preempted, o->talked);
	if (t.guard)
		seq_free(t.guard);
	append_all(t.r.e, chat, o->token + SAID - 1, 1, o->after);
	rig_close(&t.r);
}

static void same(const struct said *a, const struct said *b)
{
	assert_int_equal(a->n, SAID);
	assert_int_equal(b->n, SAID);
	assert_memory_equal(a->token, b->token, sizeof(a->token));
	assert_memory_equal(a->logprob, b->logprob, sizeof(a->logprob));
	assert_memory_equal(a->after, b->after, sizeof(a->after));
	if (a->guards && b->guards)
		assert_memory_equal(a->read, b->read, sizeof(a->read));
}

/* All kernel paths; the best one where a sanitizer makes each of them slow. */
static const char *const *paths(void)
{
#ifdef SP_SANITIZED
	static const char *best[2];

	best[0] = engine_kernel_paths()[0];
	return best;
#else
	return engine_kernel_paths();
#endif
}

static void chats_do_not_depend_on_company_chunks_or_threads(void **st)
{
	static const uint32_t chunks[] = {1, 7, 64, 512};
	struct said a, b;

	for (const char *const *k = paths(); *k; k++) {
		hear(&(struct when){*k, 1, 512, 0, 0, false, false, false, false}, &a);
		for (uint32_t i = 0; i < 4; i++) {
			hear(&(struct when){*k, 1 + i, chunks[i], 0, 0, false, false, false, false},
			     &b);
			same(&a, &b);
			hear(&(struct when){*k, 1 + i, chunks[i], 7, 0, false, false, false, false},
			     &b);
			same(&a, &b);
		}
	}
}

static void chats_and_guards_do_not_depend_on_preemption(void **st)
{
	static const uint32_t every[] = {2, 3, 5, 8, 11};
	struct said alone, a, b;

	for (const char *const *k = paths(); *k; k++) {
		hear(&(struct when){*k, 1, 512, 0, 0, false, false, false, false}, &alone);
		hear(&(struct when){*k, 1, 512, 0, 1000000, false, false, false, false}, &a);
		for (uint32_t i = 0; i < 5; i++) {
			hear(&(struct when){*k, 1 + i % 3, 1 + 50 * i, i, every[i], i % 2, false,
					    false, false},
			     &b);
			same(&alone, &b);
			assert_true(b.rested > 3 && b.guards > 3);
			if (a.guards)
				same(&a, &b);
			a = b;
		}
	}
}

static void chats_and_guards_do_not_depend_on_who_talks_first(void **st)
{
	struct said alone, guard, b;

	for (const char *const *k = paths(); *k; k++)
		for (int big = 0; big < 2; big++) {
			hear(&(struct when){.kernel = *k, .threads = 1, .chunk = 512, .mixed = big},
			     &alone);
			hear(&(struct when){.kernel = *k,
					    .threads = 1,
					    .chunk = 512,
					    .guard_every = 3,
					    .mixed = big},
			     &guard);
			same(&alone, &guard);
			for (uint32_t i = 0; i < 3; i++) {
				hear(&(struct when){.kernel = *k,
						    .threads = 1 + i,
						    .chunk = i == 1 ? 0 : 100 + i,
						    .company = 2 + i,
						    .guard_every = i ? 7 + i : 0,
						    .mixed = big,
						    .eager = true},
				     &b);
				same(&alone, &b);
				if (i)
					same(&guard, &b);
				assert_true(b.talked > 3 && (!i || b.rested > 3));
			}
		}
}

/* A guard that scans a prompt rests in its middle for answers, too, and reads the same. */
static void scans_of_prompts_do_not_depend_on_answers_between(void **st)
{
	struct said guard, b;

	for (const char *const *k = paths(); *k; k++)
		for (int big = 0; big < 2; big++) {
			hear(&(struct when){.kernel = *k,
					    .threads = 1,
					    .chunk = 512,
					    .guard_every = 3,
					    .mixed = big},
			     &guard);
			for (uint32_t i = 0; i < 4; i++) {
				hear(&(struct when){.kernel = *k,
						    .threads = 1 + i % 3,
						    .chunk = i == 1 ? 0 : 20 + 100 * i,
						    .company = 2 + i,
						    .guard_every = 4 + i,
						    .other_model = i == 3,
						    .mixed = big,
						    .eager = true,
						    .scan = true},
				     &b);
				same(&guard, &b);
				assert_true(b.guards > 0 && b.scan_rested > 3);
			}
		}
}

static struct seq *prompt_in_flight(struct rig *r, uint32_t n, job_id *job)
{
	struct seq *s = rig_seq(r, SEQ_CHAT, 600);
	int32_t ids[600];

	r->e->chunk = 512;
	some_ids(ids, n, SMALL_VOCAB, 6);
	assert_int_equal(seq_append(s, ids, n, NULL, job, NULL), 0);
	assert_int_equal(engine_step(r->e, 1), 1);
	assert_int_equal(r->e->batch.stage, BATCH_LAYERS);
	return s;
}

/* However long the batch of prompts in flight: an answer that may go on has its row at once, and
 * then again when the prompts have been computed for a turn. */
static void an_answer_does_not_wait_for_a_batch_of_prompts(void **st)
{
	struct rig r;
	struct seq *chat, *talks;
	struct event ev;
	uint32_t tokens = 0;
	job_id job;

	rig_open(&r, random_model(&shape, 11, NULL), NULL, 2, 64u << 20);
	talks = rig_seq(&r, SEQ_CHAT, 100);
	append_all(r.e, talks, (int32_t[]){1, 2, 3}, 3, NULL);
	chat = prompt_in_flight(&r, 500, &job);
	say(talks, 90, 1);
	r.e->turn = 1;
	for (uint32_t at = 1; at < 8; at++) {
		assert_int_equal(r.m->fwd.at, at);
		while (r.m->fwd.at == at)
			engine_step(r.e, 1);
		while (engine_poll(r.e, &ev, 1) > 0)
			tokens += ev.kind == EV_TOKEN && ev.seq == talks;
		assert_true(tokens >= at);
	}
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(chat), 500);
	assert_int_equal(seq_len(talks), 92);
	rig_close(&r);
}

static void quantised_chats_do_not_depend_on_anything(void **st)
{
	struct said a, b;

	for (const char *const *k = paths(); *k; k++) {
		hear(&(struct when){*k, 1, 512, 0, 0, false, true, false, false}, &a);
		hear(&(struct when){*k, 2, 7, 3, 29, false, true, false, false}, &b);
		same(&a, &b);
		hear(&(struct when){*k, 3, 64, 0, 17, true, true, false, false}, &b);
		same(&a, &b);
		assert_true(b.rested > 0 && b.guards > 0);
	}
}

/* The guard's model is the answer's, the prompt's is another one: three batches in flight. */
static void guards_and_answers_of_one_model_beside_prompts_of_another(void **st)
{
	float said[2][READ];

	for (int guards = 0; guards < 2; guards++) {
		struct said *o = calloc(1, sizeof(*o));
		struct stage_of t = {.o = o};
		struct seq_cfg cfg = {.priority = PRIO_NORMAL, .max_tokens = 100};
		struct seq *talks = NULL;
		struct event ev;
		uint32_t n = 0;
		job_id job;
		int fd = random_model(&shape, 12, NULL);

		rig_open(&t.r, random_model(&shape, 11, NULL), NULL, 2, 64u << 20);
		assert_int_equal(engine_model_add(t.r.e, &fd, 1, NULL, &t.gm, NULL), 0);
		assert_int_equal(seq_new(t.r.e, t.gm, &cfg, &talks, NULL), 0);
		append_all(t.r.e, talks, (int32_t[]){1, 2, 3}, 3, NULL);
		prompt_in_flight(&t.r, 500, &job);
		say(talks, READ, 1);
		t.r.e->turn = 1;
		for (uint32_t ago = 0; n < READ;) {
			if (guards && !t.guard && t.r.e->talk.stage == BATCH_LAYERS &&
			    ++ago % 3 == 0)
				begin_reading(&t);
			engine_step(t.r.e, 1);
			while (engine_poll(t.r.e, &ev, 1) > 0)
				if (ev.seq == talks && ev.kind == EV_TOKEN)
					said[guards][n++] = ev.logprob;
				else if (t.guard && ev.seq == t.guard)
					read_event(&t, &ev);
		}
		assert_true(!guards || o->guards >= 4);
		rig_close(&t.r);
		free(o);
	}
	assert_memory_equal(said[0], said[1], sizeof(said[0]));
}

/* However long the batch in flight: the guard's answer comes before anything more of it. */
static void a_guard_does_not_wait_for_the_batch_in_flight(void **st)
{
	struct rig r;
	struct seq *chat, *guard;
	struct outcome *o = calloc(1, sizeof(*o));
	int32_t ids[20];
	job_id job, g;

	rig_open(&r, random_model(&shape, 11, NULL), NULL, 2, 64u << 20);
	chat = prompt_in_flight(&r, 500, &job);
	for (uint32_t at = 1; at < 8; at++) {
		guard = rig_seq(&r, SEQ_GUARD, 20);
		some_ids(ids, 20, SMALL_VOCAB, at);
		assert_int_equal(seq_append(guard, ids, 20, NULL, &g, NULL), 0);
		run_job(r.e, g, o);
		assert_int_equal(o->kind, EV_DONE);
		assert_int_equal(r.m->fwd.at, at); /* the batch that rests has not moved */
		assert_int_equal(r.e->batch.stage, BATCH_LAYERS);
		seq_free(guard);
		assert_int_equal(engine_step(r.e, 1), at < 7);
	}
	assert_int_equal(seq_len(chat), 500 * (r.e->batch.stage != BATCH_LAYERS));
	run_job(r.e, job, o);
	assert_int_equal(seq_len(chat), 500);
	rig_close(&r);
	free(o);
}

static void a_resting_batch_can_be_left_and_cancelled(void **st)
{
	struct rig r;
	struct seq *chat, *guard;
	struct outcome *o = calloc(1, sizeof(*o));
	int32_t ids[300];
	job_id job, g;

	rig_open(&r, random_model(&shape, 11, NULL), NULL, 2, 64u << 20);
	some_ids(ids, 300, SMALL_VOCAB, 1);
	for (int way = 0; way < 4; way++) {
		chat = prompt_in_flight(&r, 400, &job);
		guard = rig_seq(&r, SEQ_GUARD, 300);
		assert_int_equal(seq_append(guard, ids, 300, NULL, &g, NULL), 0);
		assert_int_equal(engine_step(r.e, 1), 1);
		assert_int_equal(r.e->urgent.stage, BATCH_LAYERS);
		if (way == 0) {
			job_cancel(r.e, job); /* the one that rests */
			run_job(r.e, job, o);
			assert_int_equal(o->end, GEN_CANCELLED);
			assert_int_equal(r.e->batch.stage, BATCH_NONE);
		} else if (way == 1) {
			seq_free(chat);
			chat = NULL;
		} else if (way == 2) {
			job_cancel(r.e, g); /* the one that goes on */
			run_job(r.e, g, o);
			assert_int_equal(o->end, GEN_CANCELLED);
			assert_int_equal(r.e->urgent.stage, BATCH_NONE);
		} else {
			seq_free(guard);
			guard = NULL;
		}
		while (engine_step(r.e, 0) > 0)
			;
		if (chat)
			assert_int_equal(seq_len(chat), way ? 400 : 0);
		if (guard)
			assert_int_equal(seq_len(guard), way == 2 ? 0 : 300);
		seq_free(chat);
		seq_free(guard);
		while (engine_poll(r.e, &(struct event){0}, 1))
			;
	}
	rig_close(&r);
	free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chats_do_not_depend_on_company_chunks_or_threads),
	    cmocka_unit_test(chats_and_guards_do_not_depend_on_preemption),
	    cmocka_unit_test(quantised_chats_do_not_depend_on_anything),
	    cmocka_unit_test(chats_and_guards_do_not_depend_on_who_talks_first),
	    cmocka_unit_test(scans_of_prompts_do_not_depend_on_answers_between),
	    cmocka_unit_test(an_answer_does_not_wait_for_a_batch_of_prompts),
	    cmocka_unit_test(guards_and_answers_of_one_model_beside_prompts_of_another),
	    cmocka_unit_test(a_guard_does_not_wait_for_the_batch_in_flight),
	    cmocka_unit_test(a_resting_batch_can_be_left_and_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
