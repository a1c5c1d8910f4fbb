/* t_draft.c - guessing ahead changes the time an answer takes and nothing of what is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"
#include "engine_priv.h"

#define PROMPT 60
#define SAID 90

static const struct shape shape = {.embd = 64,
				   .layers = 2,
				   .heads = 8,
				   .kv_heads = 2,
				   .head_dim = 16,
				   .ff = 120,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .tied = true};

struct way {
	uint32_t draft, credit; /* credit: given at once, again when used up */
	uint32_t max_tokens;
	float temperature;
	uint32_t company;
	bool masked, stops, mixed;
	const char *kernel;
	enum kv_type kv;
};

struct said {
	int32_t token[SAID];
	float logprob[SAID], after[SMALL_VOCAB];
	uint32_t n, len, computed;
	enum gen_end end;
	uint64_t steps, drafted, accepted;
};

/* Few tokens are allowed, other ones at each place, so that an answer repeats itself by chance. It
 * counts its calls: each draw asks once, in order. */
static bool few(void *arg, const int32_t *generated, uint32_t n, uint64_t *work, uint64_t *allow)
{
	uint32_t *calls = arg;

	assert_int_equal(n, (*calls)++);
	memset(allow, 0, (SMALL_VOCAB / 64 + 1) * 8);
	allow[1] = n % 3 ? 6 : 24;
	if (n && generated[n - 1] == 65)
		allow[1] |= 1 << 6;
	return true;
}

static job_id begin(struct seq *s, const struct way *w, uint32_t *calls)
{
	struct gen_limit limit = {
	    .max_new = SAID, .end_ids = (int32_t[]){-1}, .n_end = 1, .draft = w->draft};
	static const int32_t stop[] = {70};
	struct sampler smp;
	job_id job;

	if (w->stops) {
		limit.stop_ids = stop;
		limit.n_stop = 1;
	}
	sampler_init(&smp, 42);
	smp.temperature = w->temperature;
	assert_int_equal(seq_generate(s, &smp, &limit, w->masked ? few : NULL, calls, &job, NULL),
			 0);
	return job;
}

static void run(struct rig *r, struct seq *s, job_id job, uint32_t credit, struct said *o)
{
	bool done = false;
	uint32_t had = 0;

	seq_credit(s, credit);
	while (!done) {
		struct event ev;
		int more = engine_step(r->e, 0);

		o->steps++;
		while (engine_poll(r->e, &ev, 1) > 0) {
			if (ev.job != job)
				continue;
			assert_int_not_equal(ev.kind, EV_FAILED);
			if (ev.kind == EV_TOKEN) {
				o->token[o->n] = ev.token;
				o->logprob[o->n++] = ev.logprob;
			}
			if (ev.kind == EV_DONE) {
				done = true;
				o->end = ev.end;
				o->computed = ev.computed;
			}
		}
		assert_true(o->n - had <= credit);
		if (!done && !s->credit) {
			assert_true(more >= 0);
			had = o->n;
			seq_credit(s, credit);
		}
	}
}

static void say(const struct way *w, struct said *o)
{
	struct seq_cfg cfg = {
	    .priority = PRIO_NORMAL, .max_tokens = w->max_tokens, .kv_type = w->kv};
	struct rig r;
	struct seq *s;
	struct engine_stats stats;
	int32_t ids[PROMPT];
	uint32_t calls = 0;
	job_id job;

	memset(o, 0, sizeof(*o));
	rig_open(&r, random_model(w->mixed ? &shape_mixed : &shape, 11, NULL), w->kernel, 2,
		 64u << 20);
	for (uint32_t i = 0; i < w->company; i++) {
		struct seq *c = rig_seq(&r, SEQ_CHAT, 500);

		some_ids(ids, PROMPT, SMALL_VOCAB, i);
		append_all(r.e, c, ids, PROMPT, NULL);
		begin(c, &(struct way){.draft = w->draft, .temperature = 1}, NULL);
		seq_credit(c, SAID);
	}
	assert_int_equal(seq_new(r.e, r.m, &cfg, &s, NULL), 0);
	some_ids(ids, PROMPT, 12, 5); /* twelve tokens: all pairs stand somewhere */
	append_all(r.e, s, ids, PROMPT, NULL);
	job = begin(s, w, &calls);
	run(&r, s, job, w->credit, o);
	o->len = seq_len(s);
	engine_stats(r.e, &stats);
	o->drafted = stats.tokens_drafted;
	o->accepted = stats.tokens_accepted;
	if (o->end != GEN_STOP_ID && o->len < w->max_tokens)
		append_all(r.e, s, o->token + o->n - 1, 1, o->after);
	rig_close(&r);
}

static uint64_t same_with_drafts(struct way w)
{
	static const uint32_t drafts[] = {1, 3, 15, 100};
	struct said *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
	uint64_t accepted = 0;

	w.draft = 0;
	say(&w, a);
	assert_int_equal(a->drafted + a->accepted, 0);
	for (int i = 0; i < 4; i++) {
		w.draft = drafts[i];
		say(&w, b);
		assert_int_equal(b->n, a->n);
		assert_int_equal(b->end, a->end);
		assert_int_equal(b->len, a->len);
		assert_int_equal(b->computed, a->computed);
		assert_memory_equal(b->token, a->token, sizeof(a->token));
		assert_memory_equal(b->logprob, a->logprob, sizeof(a->logprob));
		assert_memory_equal(b->after, a->after, sizeof(a->after));
		assert_true(b->accepted <= b->drafted);
		if (!w.company && w.credit >= SAID)
			assert_int_equal(b->steps + b->accepted, a->steps);
		accepted += b->accepted;
	}
	free(a);
	free(b);
	return accepted;
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

static void greedy_answers_are_the_same_in_fewer_steps(void **st)
{
	for (const char *const *k = paths(); *k; k++)
		assert_true(same_with_drafts(
				(struct way){.credit = SAID, .max_tokens = 300, .kernel = *k}) > 0);
}

static void drawn_answers_are_the_same(void **st)
{
	assert_true(same_with_drafts(
			(struct way){.credit = SAID, .max_tokens = 300, .temperature = 0.3f}) > 0);
	same_with_drafts((struct way){.credit = SAID, .max_tokens = 300, .temperature = 1.5f});
}

static void quantised_models_answer_the_same(void **st)
{
	for (const char *const *k = paths(); *k; k++)
		assert_true(same_with_drafts((struct way){.credit = SAID,
							  .max_tokens = 300,
							  .temperature = 1,
							  .masked = true,
							  .mixed = true,
							  .kernel = *k}) > 0);
}

static void masked_answers_are_the_same(void **st)
{
	assert_true(same_with_drafts((struct way){
			.credit = SAID, .max_tokens = 300, .temperature = 1, .masked = true}) > 0);
}

static void credit_reservations_and_stops_hold_inside_guesses(void **st)
{
	for (uint32_t credit = 1; credit < 8; credit += 2)
		same_with_drafts((struct way){
		    .credit = credit, .max_tokens = 300, .temperature = 1, .masked = true});
	for (uint32_t max = PROMPT + 20; max < PROMPT + 28; max++)
		same_with_drafts((struct way){.credit = SAID, .max_tokens = max, .masked = true});
	same_with_drafts((struct way){
	    .credit = SAID, .max_tokens = 300, .temperature = 1, .masked = true, .stops = true});
}

static void company_that_guesses_too_changes_nothing(void **st)
{
	for (uint32_t company = 1; company < 24; company += 11)
		same_with_drafts((struct way){.credit = SAID,
					      .max_tokens = 300,
					      .temperature = 1,
					      .masked = true,
					      .company = company,
					      .kv = KV_F16});
}

static void cancelled_appends_do_not_add_up(void **st)
{
	int32_t ids[200];
	struct event ev;
	struct seq *s;
	struct rig r;
	job_id job;

	rig_open(&r, random_model(&shape, 5, NULL), NULL, 1, 64u << 20);
	s = rig_seq(&r, SEQ_CHAT, 300);
	some_ids(ids, 200, SMALL_VOCAB, 1);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(seq_append(s, ids, 200, NULL, &job, NULL), 0);
		job_cancel(r.e, job);
		while (engine_step(r.e, 0) > 0 || engine_poll(r.e, &ev, 1) > 0)
			;
		assert_in_range(s->n_past, 200, 600);
	}
	assert_int_equal(seq_len(s), 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(greedy_answers_are_the_same_in_fewer_steps),
	    cmocka_unit_test(drawn_answers_are_the_same),
	    cmocka_unit_test(quantised_models_answer_the_same),
	    cmocka_unit_test(masked_answers_are_the_same),
	    cmocka_unit_test(credit_reservations_and_stops_hold_inside_guesses),
	    cmocka_unit_test(company_that_guesses_too_changes_nothing),
	    cmocka_unit_test(cancelled_appends_do_not_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
