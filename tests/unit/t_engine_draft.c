/* t_engine_draft.c - [engine] draft in the engine role: answers, finishes and what is counted are
 * those without guesses; judging, credit, cancelling and revoking hold as ever. The rig (tests/rig)
 * watches every message. t_engine_role and promises/p2_gate run with guesses, too; the engine alone
 * is t_draft's. Skipped where the bundled model is absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_rig.h"

#define GUESS 15
/* one string over and over: about three hundred tokens, whatever is drawn */
#define CHORUS                                                                                     \
	"{\"type\":\"array\",\"minItems\":110,\"maxItems\":110,\"items\":{\"enum\":[\"la\","       \
	"\"lo\"]}}"

static struct rig *r;

static int setup(void **s)
{
	r = rig_new(1000, -1, true); /* blocking is p2_gate's matter */
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

struct asked {
	const char *prompt, *schema, *stop;
	float temperature;
	uint32_t n, max_out;
};

static struct rig_req *ask(const struct asked *a, uint32_t draft)
{
	struct chat_msg m[2] = {
	    {(enum chat_role)WIRE_ROLE_FORM, span_cstr(a->schema ? a->schema : "")},
	    {CHAT_USER, span_cstr(a->prompt)}};
	struct rig_req *q = rig_req(r, a->n, a->max_out);

	r->g->cfg.draft = draft;
	rig_grant(r, q);
	if (a->schema)
		rig_submit_ex(r, q, m, 2, a->stop, a->temperature, true);
	else
		rig_submit_ex(r, q, m + 1, 1, a->stop, a->temperature, true);
	return q;
}

static struct rig_req *song(uint32_t draft)
{
	return ask(&(struct asked){"Sing a song.", CHORUS, NULL, 1, 1, 400}, draft);
}

/* Guesses made and come true while it was asked. */
static struct rig_req *whole(const struct asked *a, uint32_t draft, uint64_t *guessed,
			     uint64_t *right)
{
	struct engine_stats from = now(), to;
	struct rig_req *q = ask(a, draft);

	rig_finish(r, q);
	assert_true(q->done);
	to = now();
	*guessed += to.tokens_drafted - from.tokens_drafted;
	*right += to.tokens_accepted - from.tokens_accepted;
	return q;
}

/* The same to the byte and to the token; only the rows computed may be more. */
static void same(const struct asked *a, uint64_t *guessed, uint64_t *right)
{
	uint64_t none = 0;
	struct rig_req *x = whole(a, 0, &none, &none), *y = whole(a, GUESS, guessed, right);

	assert_int_equal(none, 0); /* off is off */
	assert_int_equal(x->state, y->state);
	assert_int_equal(x->completion, y->completion);
	assert_int_equal(x->prompt_tokens, y->prompt_tokens);
	assert_int_equal(x->out_bytes, y->out_bytes);
	assert_int_equal(x->released, y->released);
	for (uint32_t c = 0; c < a->n; c++) {
		assert_true(span_eq(buf_span(&x->out[c]), buf_span(&y->out[c])));
		assert_int_equal(x->finish[c], y->finish[c]);
		assert_int_equal(x->tokens[c], y->tokens[c]);
	}
}

static void answers_are_the_same_to_the_token(void **s)
{
	static const struct asked plain[] = {
	    {.prompt = "Tell me a very long story."},
	    {.prompt = "Write a poem."},
	    {.prompt = "List the days of the week."},
	    {.prompt = "Tell me a short story about a lighthouse keeper and her cat."},
	};
	static const float heat[] = {0, 0.5f, 1};
	uint64_t guessed = 0, right = 0;

	if (!r)
		skip();
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		for (size_t h = 0; h < sizeof(heat) / sizeof(heat[0]); h++) {
			struct asked a = plain[i];

			a.temperature = heat[h];
			a.n = 1 + i % 2 * 2;
			a.max_out = i % 2 ? 40 : 160;
			same(&a, &guessed, &right);
		}
	assert_true(guessed > 0 && right > 0 && right < guessed);
}

static void answers_by_a_schema_are_the_same(void **s)
{
	static const struct asked forms[] = {
	    {"Sing a song.", CHORUS, NULL, 0, 1, 200},
	    {"Sing a song.", CHORUS, NULL, 1, 2, 200},
	    {"Tell me a story.", "", NULL, 0.5f, 1, 60},
	};

	if (!r)
		skip();
	for (size_t i = 0; i < 2; i++) {
		uint64_t guessed = 0, right = 0;

		same(&forms[i], &guessed, &right);
		assert_true(right > forms[i].max_out / 2);
	}
	same(&forms[2], &(uint64_t){0}, &(uint64_t){0});
}

/* What is charged is what was generated for the client: no guess, and of what lies behind a stop
 * string nothing beyond the check that found it. */
static void guesses_are_not_charged(void **s)
{
	struct engine_stats from, to;
	struct rig_req *q;

	if (!r)
		skip();
	from = now();
	q = ask(&(struct asked){"Sing a song.", CHORUS, NULL, 1, 1, 90}, GUESS);
	rig_finish(r, q);
	to = now();
	assert_true(q->done);
	assert_true(to.tokens_accepted > from.tokens_accepted);
	assert_int_equal(q->completion, 90);
	assert_int_equal(q->tokens[0], 90);
	assert_int_equal(to.tokens_generated - from.tokens_generated, 90);
	q = ask(&(struct asked){"Sing a song.", CHORUS, "la", 0, 1, 90}, GUESS);
	rig_finish(r, q);
	assert_true(q->done);
	assert_int_equal(q->finish[0], OF_STOP);
	assert_null(memmem(q->out[0].p ? q->out[0].p : "", q->out[0].n, "la", 2));
	assert_int_equal(q->tokens[0], q->completion);
	assert_true(q->completion <= 90);
}

/* In steps of many tokens none is there before its credit, and credit follows verdicts. */
static void no_step_runs_ahead_of_the_verdicts(void **s)
{
	struct msg_CREDIT more = {.tokens = 400};
	struct rig_req *q;
	uint32_t most = 0;

	if (!r)
		skip();
	q = song(GUESS);
	while (!q->done && !q->failed && most < ENG_CREDIT) {
		struct req *rq;
		const struct choice *c;

		rig_turn(r, 0); /* time stands still: tokens alone pace */
		rq = eng_find(r->g, &q->id);
		c = rq && rq->state == RQ_RUN ? &rq->ch[0] : NULL;
		if (c == NULL)
			continue;
		most = c->gen;
		assert_true(c->gen <= c->given);
		assert_true(c->given <= pace_limit(c->rel.judged_tokens));
		assert_true(q->out[0].n <= c->rel.judged);
		assert_true(c->rel.judged_tokens > 0 || q->out[0].n == 0);
	}
	assert_int_equal(most, ENG_CREDIT); /* the client has taken nothing yet */
	rig_settle(r);
	assert_int_equal(eng_find(r->g, &q->id)->ch[0].gen, ENG_CREDIT);
	more.req = q->id;
	CH_SEND(r->peer[R_GATE][CH_DATA], CREDIT, &more);
	rig_finish(r, q);
	assert_true(q->done);
	assert_in_range(q->completion, ENG_CREDIT + 1, 400);
}

/* Until guesses come true in the middle of an answer. */
static struct rig_req *guessing(void)
{
	uint64_t right = now().tokens_accepted;
	struct rig_req *q = song(GUESS);

	while (!q->done && !q->failed && (q->out[0].n == 0 || now().tokens_accepted < right + 20))
		rig_turn(r, 1);
	assert_true(!q->done && !q->failed);
	return q;
}

static void revoking_and_cancelling_give_everything_back(void **s)
{
	struct engine_stats before, after;

	if (!r)
		skip();
	for (int i = 0; i < 2; i++) {
		struct rig_req *q;

		before = now();
		q = guessing();
		if (i == 0)
			rig_cancel(r, q);
		else
			rig_revoke(r, q); /* the rig fails on any OUT behind it */
		rig_settle(r);
		rig_settle(r);
		assert_int_equal(q->state, i == 0 ? OS_CANCELLED : OS_REVOKED);
		assert_int_equal(q->outcomes, 1);
		after = now();
		assert_int_equal(after.seqs, before.seqs);
		assert_int_equal(after.kv_pages_reserved, before.kv_pages_reserved);
		assert_int_equal(eng_open(r->g), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_are_the_same_to_the_token),
	    cmocka_unit_test(answers_by_a_schema_are_the_same),
	    cmocka_unit_test(guesses_are_not_charged),
	    cmocka_unit_test(no_step_runs_ahead_of_the_verdicts),
	    cmocka_unit_test(revoking_and_cancelling_give_everything_back),
	};

	return cmocka_run_group_tests_name("engine role guessing", tests, setup, teardown);
}
