/* t_store.c - what the store's parts promise: an event is the same as a struct, as an entry and in
 * the fold; a state rebuilt from the log is the live one, wherever it was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "entry.h"
#include "store_fold.h"

static struct id boot;

/* ---- events ---- */

/* The book's own rules for entries of each type. */
static void check_entry(struct span e)
{
	struct err err = {0};

	if (entry_check(e, &err) < 0)
		fail_msg("%s in " SPAN_FMT, err.text, SPAN_ARG(e));
}

static void put_any(struct buf *b, const struct ev *e)
{
	static const uint8_t h[32] = {1, 2, 3};
	struct ev_reserve_more r = {
	    .endpoint = 1, .tier = 2, .n = 1, .max = e->max_total, .model = SPAN_LIT("starter")};
	struct ev_intent_more i = {.commit = h, .model_sha = h, .prompt_bytes = 9};
	struct ev_outcome_more o = {.commit = h, .dur_us = 77, .out_bytes = 5, .released = 5};

	switch (e->type) {
	case EV_RESERVE:
		ev_put_reserve(b, &boot, e, &r);
		break;
	case EV_CLAIM:
		ev_put_claim(b, &boot, e);
		break;
	case EV_INTENT:
		ev_put_intent(b, &boot, e, &i);
		break;
	case EV_PROGRESS:
		ev_put_progress(b, &boot, e);
		break;
	case EV_OUTCOME:
		ev_put_outcome(b, &boot, e, &o);
		break;
	default:
		ev_put_ended(b, &boot, e);
	}
	assert_true(buf_ok(b));
	check_entry(buf_span(b));
}

static struct ev random_ev(enum ev_type t, int64_t ts)
{
	struct ev e = {.type = t, .ts = ts, .req = id_random(), .lease = id_random()};

	if (t == EV_RESERVE) {
		e.conn = id_random();
		e.key = id_random();
		e.sub = id_random();
		if (randombytes_uniform(2))
			e.org = id_random();
		e.max_total = randombytes_uniform(1000);
	}
	if (t == EV_CLAIM || t == EV_OUTCOME)
		e.prompt = randombytes_uniform(1000);
	if (t == EV_CLAIM)
		e.out = randombytes_uniform(1000);
	if (t == EV_OUTCOME)
		e.completion = randombytes_uniform(1000);
	if (t == EV_PROGRESS) {
		e.tokens = randombytes_uniform(1000);
		e.bytes = randombytes_uniform(100000);
	}
	if (t == EV_OUTCOME || t == EV_ENDED)
		e.code = (uint16_t)randombytes_uniform(36);
	if (t == EV_OUTCOME)
		e.state = (uint8_t)randombytes_uniform(10);
	return e;
}

static void an_event_survives_its_entry(void **st)
{
	for (int t = EV_RESERVE; t <= EV_ENDED; t++)
		for (int i = 0; i < 50; i++) {
			char mem[EV_MAX];
			struct buf b = BUF_FIXED(mem, sizeof(mem));
			struct ev e = random_ev((enum ev_type)t, 1764540000000LL + i), back;
			struct err err;

			put_any(&b, &e);
			assert_int_equal(ev_parse(buf_span(&b), &back, &err), E_OK);
			assert_memory_equal(&e, &back, sizeof(e));
			b.p[10 + randombytes_uniform((uint32_t)b.n - 12)] = '\x01';
			assert_int_equal(ev_parse(buf_span(&b), &back, &err), E_FORMAT);
		}
}

static void hostile_bytes_in_a_log_are_refused_not_read(void **st)
{
	static const char *const bad[] = {"",
					  "{",
					  "{}",
					  "[]",
					  "{\"t\"",
					  "{\"t\":\"request.intent",
					  "{\"a\":[[[[[[[[[[[[[[[[[[[",
					  "{\"a\":\"\\",
					  "{\"t\":\"x\",\"ts\":1,\"v\":1}x",
					  "{\"ts\":1,\"t\":\"x\",\"v\":1}",
					  "{\"t\":\"x\",\"t\":\"x\",\"ts\":1,\"v\":1}",
					  "{\"t\":\"x\",\"ts\":-1,\"v\":1}",
					  "{\"t\":\"x\",\"ts\":01,\"v\":1}",
					  "{\"t\":\"x\",\"ts\":99999999999999999999,\"v\":1}",
					  "{\"t\":\"x\",\"ts\":1,\"v\":2}",
					  "{\"t\":\"request.outcome\",\"ts\":1,\"v\":1}"};
	struct err err;
	struct ev e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ev_parse(span_cstr(bad[i]), &e, &err), E_FORMAT);
	assert_int_equal(ev_parse(SPAN_LIT("{\"a\":{\"x\":[\"]\\\"}\"]},\"b\":true,\"c\":null,"
					   "\"t\":\"x\",\"ts\":7,\"v\":1}"),
				  &e, &err),
			 E_OK);
	assert_int_equal(e.ts, 7);
	for (int i = 0; i < 3000; i++) { /* any cut and any changed byte of a real one */
		char mem[EV_MAX], *copy;
		struct buf b = BUF_FIXED(mem, sizeof(mem));
		struct ev r = random_ev(EV_OUTCOME, 1764540000000LL);
		size_t n;

		put_any(&b, &r);
		n = randombytes_uniform((uint32_t)b.n);
		copy = malloc(n + 1); /* exact size: a sanitizer sees every step too far */
		memcpy(copy, b.p, n);
		assert_int_equal(ev_parse(span_of(copy, n), &e, &err), E_FORMAT);
		if (n)
			copy[randombytes_uniform((uint32_t)n)] = (char)randombytes_uniform(256);
		ev_parse(span_of(copy, n), &e, &err);
		free(copy);
	}
}

static void the_other_entries_keep_the_rules_too(void **st)
{
	static const uint8_t h[32] = {9};
	uint64_t count[40] = {[RS_BAD_KEY] = 7, [RS_NO_GRANT] = 2, [RS_ACCESS_PAUSED] = 1};
	struct ev_refused r = {.req = id_random(), .code = RS_NO_MODEL, .stage = "auth"};
	struct ev_verdict v = {.action = PA_BLOCK,
			       .cats = 0x2001,
			       .score_milli = 900,
			       .threshold_milli = 500,
			       .policy_sha = h,
			       .guard_sha = h,
			       .kernel = SPAN_LIT("avx2")};
	struct ev e = random_ev(EV_INTENT, 5);
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));

#define CHECKED(call) (buf_reset(&b), call, assert_true(buf_ok(&b)), check_entry(buf_span(&b)))
	CHECKED(ev_put_input(&b, &boot, &e, &v));
	CHECKED(ev_put_refused(&b, &boot, 5, &r));
	r.key = r.sub = r.org = id_random();
	CHECKED(ev_put_refused(&b, &boot, 5, &r));
	CHECKED(ev_put_odd(&b, &boot, 5, "gate", 50, RS_REPLAY, &(struct id){{0}}));
	CHECKED(ev_put_odd(&b, &boot, 5, "gate", 50, RS_REPLAY, &r.req));
	CHECKED(ev_put_jump(&b, &boot, 5, -4000));
	CHECKED(ev_put_start(&b, &boot, 5, 1, 0, h));
	CHECKED(ev_put_recovered(&b, &boot, 5, 10, 20));
	CHECKED(ev_put_stop(&b, &boot, 5));
	CHECKED(ev_put_aggregate(&b, &boot, 5, 1, 5, count, 40));
}

static void windows_are_merged_to_what_an_entry_holds(void **st)
{
	struct ev_window w[3000];
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct ev e = random_ev(EV_OUTCOME, 1);
	unsigned n;

	for (unsigned i = 0; i < 3000; i++)
		w[i] = (struct ev_window){.choice = i / 600,
					  .from = i * 100,
					  .to = i * 100 + 100,
					  .cats = 1u << (i % 14),
					  .action = i == 7 ? PA_BLOCK : PA_ALLOW,
					  .score = (uint16_t)(i % 1000)};
	n = ev_merge_windows(w, 3000);
	assert_true(n <= EV_WINDOWS);
	assert_int_equal(w[0].action, PA_BLOCK); /* the worst of what was merged */
	for (unsigned i = 1; i < n; i++)
		assert_true(w[i].choice != w[i - 1].choice || w[i].from == w[i - 1].to);
	for (unsigned i = 0; i < n; i++) { /* the largest numbers that can stand in one */
		w[i] = (struct ev_window){UINT32_MAX, UINT32_MAX, UINT32_MAX,
					  UINT32_MAX, PA_REDACT,  UINT16_MAX};
	}
	ev_put_output(&b, &boot, &e, w, n);
	assert_true(buf_ok(&b));
	check_entry(buf_span(&b));
}

/* ---- the fold ---- */

#define LIVE 64
struct sim {
	struct fold f;
	struct buf entries; /* u32 length || bytes */
	uint64_t n;
	struct ev open[LIVE];
	enum lease_state state[LIVE];
	bool used[LIVE];
	int64_t ts;
	struct id key[5], sub[3], org;
};

static void record(struct sim *s, const struct ev *e)
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));

	assert_int_equal(fold_apply(&s->f, e, s->n, NULL), E_OK);
	put_any(&b, e);
	buf_u32(&s->entries, (uint32_t)b.n);
	buf_span_put(&s->entries, buf_span(&b));
	s->n++;
}

static void sim_step(struct sim *s)
{
	unsigned i = randombytes_uniform(LIVE), k = randombytes_uniform(5);
	struct ev *o = &s->open[i], e;

	s->ts += randombytes_uniform(randombytes_uniform(50) ? 400 : 4000000);
	if (!s->used[i]) {
		e = random_ev(EV_RESERVE, s->ts);
		e.key = s->key[k];
		e.sub = s->sub[k / 2];
		memset(&e.org, 0, sizeof(e.org));
		if (k != 4)
			e.org = s->org;
		s->used[i] = true;
		s->state[i] = LS_RESERVED;
	} else if (s->state[i] == LS_RESERVED && randombytes_uniform(5)) {
		e = random_ev(EV_CLAIM, s->ts);
		s->state[i] = LS_CLAIMED;
	} else if (s->state[i] == LS_CLAIMED && randombytes_uniform(5)) {
		e = random_ev(EV_INTENT, s->ts);
		s->state[i] = LS_INTENT;
	} else if (s->state[i] == LS_INTENT && randombytes_uniform(2)) {
		e = random_ev(EV_PROGRESS, s->ts);
	} else {
		e = random_ev(s->state[i] == LS_INTENT ? EV_OUTCOME : EV_ENDED, s->ts);
		s->used[i] = false;
	}
	if (e.type != EV_RESERVE) {
		e.req = o->req;
		e.lease = o->lease;
	} else {
		*o = e;
	}
	record(s, &e);
}

static uint64_t replay(struct fold *f, struct span entries, uint64_t from, uint64_t to)
{
	const char *p = entries.p;
	uint64_t odd = 0;
	struct err err;

	for (uint64_t i = 0; i < to; i++) {
		uint32_t n;

		memcpy(&n, p, 4);
		if (i >= from)
			assert_int_equal(fold_entry(f, span_of(p + 4, n), i, &odd, &err), E_OK);
		p += 4 + n;
	}
	return odd;
}

static void a_state_rebuilt_from_entries_is_the_live_one(void **st)
{
	for (int seed = 0; seed < 6; seed++) {
		struct sim *s = calloc(1, sizeof(*s));
		struct fold f;
		struct zone_now now;

		assert_non_null(s);
		fold_init(&s->f);
		s->entries = BUF_INIT(64u << 20);
		s->ts = 1764540000000LL;
		for (int i = 0; i < 5; i++)
			s->key[i] = id_random();
		for (int i = 0; i < 3; i++)
			s->sub[i] = id_random();
		s->org = id_random();
		for (int i = 0; i < 3000; i++)
			sim_step(s);
		fold_init(&f);
		/* a crash anywhere: what was folded before and after is one fold */
		assert_int_equal(replay(&f, buf_span(&s->entries), 0, s->n / 3), 0);
		assert_int_equal(replay(&f, buf_span(&s->entries), s->n / 3, s->n), 0);
		zone_at(&s->f.zone, s->ts, &now);
		assert_true(quota_equal(s->f.quota, f.quota, &now));
		assert_int_equal(leases_open(s->f.leases), leases_open(f.leases));
		assert_int_equal(s->f.intents, f.intents);
		assert_int_equal(s->f.outcomes, f.outcomes);
		assert_int_equal(s->f.last_ts, f.last_ts);
		/* settling is idempotent: the same entries again change nothing */
		replay(&f, buf_span(&s->entries), s->n - 20, s->n);
		assert_true(quota_equal(s->f.quota, f.quota, &now));
		fold_free(&f);
		fold_free(&s->f);
		buf_free(&s->entries);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_event_survives_its_entry),
	    cmocka_unit_test(hostile_bytes_in_a_log_are_refused_not_read),
	    cmocka_unit_test(the_other_entries_keep_the_rules_too),
	    cmocka_unit_test(windows_are_merged_to_what_an_entry_holds),
	    cmocka_unit_test(a_state_rebuilt_from_entries_is_the_live_one),
	};

	if (sodium_init() < 0)
		return 1;
	boot = id_random();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
