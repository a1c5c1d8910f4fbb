/* t_store_role.c - a real store process before a gate and an engine that lie, an officer who stops
 * somebody, a disk that fails. Whatever is sent: refused, recorded, and the next good request is
 * served; nothing acknowledged is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin_verbs.h"
#include "authority.h"
#include "clock.h"
#include "receipt.h"
#include "store_drv.h"

static struct drv d;
static const bool never;

static int setup_until(int64_t expires)
{
	char dir[200];

	memset(&d, 0, sizeof(d));
	d.expires = expires;
	snprintf(dir, sizeof(dir), "%s/t_store_role.%d.%llx",
		 getenv("BUILDDIR") ? getenv("BUILDDIR") : ".", (int)getpid(),
		 (unsigned long long)clock_mono_ns());
	d.sandbox = true;
	drv_realm(&d, dir);
	if (!drv_start(&d, false))
		return -1;
	drv_birth(&d);
	return 0;
}

static int setup(void **st)
{
	return setup_until(0);
}

static int teardown(void **st)
{
	char cmd[300];
	int rc = 0;

	if (d.pid)
		drv_kill(&d);
	snprintf(cmd, sizeof(cmd), "rm -rf -- '%s'", d.dir);
	rc = system(cmd);
	drv_realm_free(&d);
	return rc;
}

/* A busy machine may be late for a test that has only so long: then again with another realm. */
static void again(int64_t expires)
{
	assert_int_equal(teardown(NULL), 0);
	assert_int_equal(setup_until(expires), 0);
}

static void wait_step(struct req *r, enum req_step step)
{
	uint64_t end = clock_mono_ms() + DRV_PATIENCE_MS;

	while (r->step != step && clock_mono_ms() < end)
		drv_poll(&d, 5);
	assert_int_equal(r->step, step);
}

static struct req *good_request(void)
{
	struct req *r = drv_request(&d);

	wait_step(r, RQ_DONE);
	assert_true(r->outcome_acked);
	return r;
}

static void stop_clean(void)
{
	struct drv_sums s;

	assert_int_equal(drv_stop(&d), 0);
	drv_check_log(&d);
	assert_int_equal(d.lost, 0);
	assert_int_equal(d.receipts_bad, 0);
	drv_sums(&d, &s);
	assert_int_equal(s.intents, s.outcomes);
	assert_int_equal(s.open, 0);
	assert_int_equal(s.conc, 0);
	assert_int_equal(s.used_month, s.tokens);
	assert_true(drv_verify(&d, true));
}

static struct req *raw_auth(const char *kid, const struct id *conn)
{
	struct req *r = calloc(1, sizeof(*r));
	struct msg_AUTH m = {.kid = span_cstr(kid),
			     .endpoint = 1,
			     .n = 1,
			     .max_out = 10,
			     .model = SPAN_LIT("starter")};

	assert_non_null(r);
	r->req = m.req = id_random();
	m.conn = *conn;
	memcpy(m.digest, d.key_digest, 32);
	HASH_ADD(hh, d.reqs, req, sizeof(r->req), r);
	d.in_flight++;
	CH_SEND(d.gate, AUTH, &m);
	return r;
}

static void a_flood_of_unknown_keys_fills_no_disk(void **st)
{
	struct req *r = NULL;
	struct drv_sums before, after;
	char kid[ID_B32 + 1];

	drv_sums(&d, &before);
	for (int i = 0; i < 3000; i++) {
		struct id k = id_random();

		b32_encode(k.b, ID_BYTES, kid);
		r = raw_auth(i % 3 ? kid : "not a key id at all", &d.conn[0]);
		if (i % 200 == 0)
			drv_poll(&d, 0);
	}
	wait_step(r, RQ_GONE);
	assert_int_equal(r->denied, RS_BAD_KEY);
	good_request();
	assert_true(d.denies >= 2900);
	stop_clean();
	drv_sums(&d, &after);
	assert_in_range(after.entries - before.entries, 6, 20);
	assert_in_range(after.aggregates, 1, 3);
}

static void a_wrong_secret_or_a_foreign_connection_gets_nothing(void **st)
{
	struct id stranger = id_random();
	struct req *r = raw_auth(d.kid, &stranger);

	wait_step(r, RQ_GONE); /* after the 500 ms that a PEER may need */
	assert_int_equal(r->denied, RS_NO_GRANT);
	d.key_digest[5] ^= 1;
	r = raw_auth(d.kid, &d.conn[0]);
	wait_step(r, RQ_GONE);
	assert_int_equal(r->denied, RS_BAD_KEY);
	d.key_digest[5] ^= 1;
	good_request();
	stop_clean();
	assert_true(drv_count(&d, "peer.odd") >= 1);
}

static void claims_and_records_without_a_grant_are_refused_and_recorded(void **st)
{
	struct msg_CLAIM c = {.lease = id_random(), .req = id_random(), .prompt_tokens = 5};
	struct msg_OUTCOME o = {.lease = c.lease, .req = c.req, .rseq = 2};
	struct msg_PROGRESS p = {.lease = c.lease, .req = c.req, .rseq = 1};
	uint64_t denies = d.denies, nacks = d.nacks;
	struct req *r;

	CH_SEND(d.eng, CLAIM, &c);
	CH_SEND(d.eng, OUTCOME, &o);
	CH_SEND(d.eng, PROGRESS, &p);
	r = good_request();
	assert_int_equal(d.denies, denies + 1);
	assert_int_equal(d.nacks, nacks + 1);
	c.lease = r->lease; /* a settled lease again, and one under another request's name */
	c.req = r->req;
	CH_SEND(d.eng, CLAIM, &c);
	c.req = id_random();
	CH_SEND(d.eng, CLAIM, &c);
	good_request();
	assert_int_equal(d.denies, denies + 3);
	stop_clean();
	assert_true(drv_count(&d, "peer.odd") >= 5);
}

static void a_resent_record_is_answered_and_not_counted_twice(void **st)
{
	struct req *r = good_request();
	uint64_t ix = r->outcome_ix, acks;

	drv_intent(&d, r); /* step INTENT again: as an engine that lost its ACKs would */
	r->intent_acked = false;
	wait_step(r, RQ_DONE);
	assert_int_equal(r->outcome_ix, ix);
	acks = d.acks;
	d.in_flight++;
	drv_outcome(&d, r, OS_OK);
	wait_step(r, RQ_DONE);
	assert_int_equal(d.acks, acks + 1);
	assert_int_equal(r->outcome_ix, ix);
	stop_clean();
}

static void lies_about_policy_models_and_tokens_do_not_pass(void **st)
{
	struct req *r;
	uint8_t keep = d.gen.settings.policy_sha256[0];
	uint32_t cap;

	d.gen.settings.policy_sha256[0] ^= 1;
	r = drv_request(&d);
	wait_step(r, RQ_GONE);
	assert_int_equal(r->denied, RS_ODD_MESSAGE);
	d.gen.settings.policy_sha256[0] = keep;
	d.hold_outcomes = 1000;
	do {
		r = drv_request(&d);
		wait_step(r, r->blocked ? RQ_DONE : RQ_RUN);
	} while (r->blocked);
	cap = r->cap;
	r->out = cap + 1; /* more than was reserved */
	d.lies = true;
	d.hold_outcomes = 0;
	drv_outcome(&d, r, OS_OK);
	wait_step(r, RQ_GONE);
	good_request();
	assert_true(drv_count(&d, "peer.odd") >= 2);
	stop_clean();
}

static void broken_packets_change_nothing(void **st)
{
	uint8_t raw[64] = {0x50, 0x53, M_GRANT, 0, 40};

	for (int t = 0; t < 256; t++) { /* every type from gate, also those it has no right to */
		raw[2] = (uint8_t)t;
		assert_int_equal(write(chan_fd(d.gate), raw, sizeof(raw)), sizeof(raw));
		assert_int_equal(write(chan_fd(d.eng), raw, sizeof(raw)), sizeof(raw));
		assert_int_equal(write(chan_fd(d.adm), raw, sizeof(raw)), sizeof(raw));
	}
	for (int n = 0; n < 60; n++) { /* right head, malformed body */
		char junk[60];

		randombytes_buf(junk, sizeof(junk));
		chan_send(d.gate, M_AUTH, span_of(junk, (size_t)n), NULL, 0);
		chan_send(d.gate, M_RCPT, span_of(junk, (size_t)n), NULL, 0);
		chan_send(d.gate, M_ENROLL, span_of(junk, (size_t)n), NULL, 0);
		chan_send(d.eng, M_INTENT, span_of(junk, (size_t)n), NULL, 0);
		chan_send(d.eng, M_OUTCOME, span_of(junk, (size_t)n), NULL, 0);
		chan_send(d.adm, M_ADMREQ, span_of(junk, (size_t)n), NULL, 0);
		drv_poll(&d, 0);
	}
	good_request();
	assert_int_equal(drv_admin(&d, 9999, SPAN_LIT("{}")), 404);
	assert_int_equal(drv_admin(&d, AV_REQUEST_SHOW, SPAN_LIT("{\"id\":\"\\u0000\"}")), 400);
	stop_clean();
	assert_in_range(drv_count(&d, "peer.odd"), 20, 260); /* the rest in aggregates */
}

static void ask_receipt(const struct id *of)
{
	struct msg_RCPT m = {
	    .req = id_random(), .conn = d.conn[1], .kid = span_cstr(d.kid), .of = *of};

	memcpy(m.digest, d.key_digest, 32);
	d.asked = m.req;
	d.answered = false;
	d.status = 0;
	buf_reset(&d.answer);
	CH_SEND(d.gate, RCPT, &m);
	assert_true(drv_until(&d, &d.answered, DRV_PATIENCE_MS));
}

static void a_receipt_is_given_to_its_owner_and_verifies(void **st)
{
	struct req *r = good_request();
	struct id none = id_random();
	struct receipt rc;
	char body[80], id[ID_TEXT_MAX];

	ask_receipt(&r->req);
	assert_int_equal(d.status, 200);
	assert_int_equal(receipt_parse(buf_span(&d.answer), &rc, NULL), 0);
	assert_int_equal(receipt_check(&rc, span_of(NULL, 0), &d.vkey, NULL, NULL), 0);
	assert_true(rc.has_prompt && rc.has_output);
	assert_memory_equal(rc.prompt_salt, r->salt, 32);
	receipt_free(&rc);
	ask_receipt(&none);
	assert_int_equal(d.status, 404);
	snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id_fmt("req", &r->req, id));
	assert_int_equal(drv_admin(&d, AV_REQUEST_SHOW, span_cstr(body)), 200);
	assert_non_null(strstr(buf_cstr(&d.answer), "request.reserve"));
	assert_non_null(strstr(buf_cstr(&d.answer), "policy.input"));
	assert_non_null(strstr(buf_cstr(&d.answer), "request.outcome"));
	assert_int_equal(drv_admin(&d, AV_RECEIPT_SHOW, span_cstr(body)), 200);
	assert_int_equal(drv_admin(&d, AV_STATUS, SPAN_LIT("{}")), 200);
	assert_non_null(strstr(buf_cstr(&d.answer), "\"ready\":true"));
	assert_int_equal(drv_admin(&d, AV_METRICS, SPAN_LIT("{}")), 200);
	assert_non_null(strstr(buf_cstr(&d.answer), "sallyport_intents_total 1\n"));
	assert_int_equal(drv_admin(&d, AV_CHECKPOINT, SPAN_LIT("{}")), 200);
	assert_non_null(strstr(buf_cstr(&d.answer), d.vkey.name));
	stop_clean();
}

static int sum_month(void *arg, const struct balance_row *r)
{
	if (r->level == LV_SUBJECT && r->period < 1000000)
		*(uint64_t *)arg += r->tok;
	return 0;
}

static void balances_in_the_database_follow_the_log(void **st)
{
	char folder[300];
	uint8_t kek[32];
	uint64_t applied = 0, tok = 0;
	struct drv_sums s;
	struct db *db = NULL;
	struct err err;

	for (int i = 0; i < 20; i++)
		good_request();
	drv_kill(&d);
	assert_true(drv_start(&d, true)); /* with balances that lag */
	good_request();
	stop_clean();
	drv_sums(&d, &s);
	snprintf(folder, sizeof(folder), "%s/state", d.dir);
	assert_int_equal(pread(d.kek_fd, kek, 32, 0), 32);
	assert_int_equal(db_open(folder, DB_READONLY, kek, &db, &err), 0);
	assert_int_equal(db_applied_get(db, &applied), 0);
	assert_int_equal(db_balance_each(db, sum_month, &tok), 0);
	db_close(db);
	assert_int_equal(applied, s.entries);
	assert_int_equal(tok, s.tokens);
}

/* One answer under way that the driver's engine does not end by itself. */
static struct req *one_that_runs(void)
{
	struct req *r;

	d.hold_outcomes = 1000;
	do {
		r = drv_request(&d);
		wait_step(r, r->blocked ? RQ_DONE : RQ_RUN);
	} while (r->blocked);
	return r;
}

static void suspend(void)
{
	struct stmt s = {.verb = VB_SUBJECT_SUSPEND, .why = WHY_ABUSE, .target = d.sub};

	for (s.ver = 1; s.ver < 6 && drv_statement(&d, 0, &s, span_of(NULL, 0)) != 200; s.ver++)
		; /* the version it has after onboarding and enrolment */
	assert_int_equal(d.status, 200);
}

/* Milliseconds from an officer's word to the end of what ran. */
static uint64_t suspension_takes(void)
{
	struct req *r = one_that_runs();
	uint64_t t0 = clock_mono_ms();

	suspend();
	wait_step(r, RQ_DONE); /* the driver's engine answers REVOKE with the outcome `revoked` */
	assert_true(d.revokes >= 1);
	return clock_mono_ms() - t0;
}

static void suspension_stops_what_runs_within_a_second(void **st)
{
	struct req *r;

	for (int i = 0; suspension_takes() >= 1000; i++) {
		assert_true(i < 4);
		again(0);
	}
	r = drv_request(&d);
	wait_step(r, RQ_GONE);
	assert_int_equal(r->denied, RS_ACCESS_PAUSED);
	d.hold_outcomes = 0;
	stop_clean();
}

static void what_runs_when_its_subject_expires_is_stopped_within_a_second(void **st)
{
	int64_t born = clock_wall_ms(), life;
	struct req *r;
	bool soon = false;

	again(0);
	life = 2000 + 8 * (clock_wall_ms() - born); /* a realm is born well within it */
	for (int i = 0; i < 5 && !soon; i++) {
		again(clock_wall_ms() + life);
		r = one_that_runs();
		if (clock_wall_ms() >= d.expires)
			continue; /* late, and no wonder if it is stopped before it is asked for */
		while (r->step == RQ_RUN && clock_wall_ms() < d.expires + 1000)
			drv_poll(&d, 5);
		assert_true(clock_wall_ms() >= d.expires); /* not before */
		soon = d.revokes >= 1;
		wait_step(r, RQ_DONE);
	}
	assert_true(soon);
	r = drv_request(&d);
	wait_step(r, RQ_GONE);
	assert_true(r->denied == RS_KYC_EXPIRED || r->denied == RS_BAD_KEY);
	stop_clean();
}

static void a_suspension_while_a_request_waits_for_its_peer_counts(void **st)
{
	struct msg_PEER m = {.conn = id_random(), .addr = SPAN_LIT("127.0.0.1")};
	struct req *r;

	for (int i = 0;; i++) {
		r = raw_auth(d.kid, &m.conn);
		drv_until(&d, &never, 60); /* its row has been read: all is well with the subject */
		suspend();
		if (r->step == RQ_AUTH)
			break; /* the word fell within the 500 ms that it waits */
		assert_true(i < 10);
		again(0);
	}
	CH_SEND(d.front, PEER, &m);
	wait_step(r, RQ_GONE);
	assert_int_equal(r->denied, RS_ACCESS_PAUSED);
	stop_clean();
}

static void a_flood_of_enrolments_does_not_keep_an_officer_from_stopping(void **st)
{
	struct msg_ENROLL m = {.code_a = SPAN_LIT("A-00000-00000-00000-00000-00000-0"),
			       .code_b = SPAN_LIT("B-00000-00000-00000-00000-00000-0")};
	uint64_t t0;

	for (int tries = 0;; tries++) {
		m.conn = d.conn[0];
		for (int i = 0; i < 3000; i++) {
			m.req = id_random();
			CH_SEND(d.gate, ENROLL, &m);
		}
		t0 = clock_mono_ms();
		suspend();
		if (clock_mono_ms() - t0 < 3000)
			break;
		assert_true(tries < 3);
		again(0);
	}
	stop_clean();
	assert_true(drv_count(&d, "refused.aggregate") <= 3);
}

static void beats_go_on_and_say_when_there_is_no_engine(void **st)
{
	uint64_t t0 = clock_mono_ms(), b0, s0;
	bool gone = false;

	drv_poll(&d, 0); /* nothing of before is left to be read */
	b0 = d.beats;
	s0 = d.states;
	while ((d.beats < b0 + 4 || d.states < s0 + 4) && clock_mono_ms() < t0 + DRV_PATIENCE_MS)
		drv_poll(&d, 5);
	t0 = clock_mono_ms() - t0; /* four in a second; one more may come at once with news */
	assert_in_range(d.beats - b0, 4, t0 / 250 + 3);
	assert_in_range(d.states - s0, 4, t0 / 250 + 3);
	d.hold_outcomes = 1;
	while (!gone) {
		struct req *r = drv_request(&d);

		wait_step(r, r->blocked ? RQ_DONE : RQ_RUN);
		gone = !r->blocked;
		if (gone) { /* the engine dies with one answer running */
			d.in_flight--;
			r->step = RQ_GONE;
		}
	}
	drv_engine_restart(&d);
	assert_true(drv_until(&d, &d.ready, DRV_PATIENCE_MS));
	good_request();
	stop_clean(); /* what it took with it was settled as unknown: intents = outcomes */
}

static void wait_metric(const char *line)
{
	uint64_t end = clock_mono_ms() + 5000;

	do
		assert_int_equal(drv_admin(&d, AV_METRICS, SPAN_LIT("{}")), 200);
	while (!strstr(buf_cstr(&d.answer), line) && clock_mono_ms() < end);
	assert_non_null(strstr(buf_cstr(&d.answer), line));
}

static void what_the_engine_counts_is_shown_while_it_lives(void **st)
{
	struct msg_ETOTALS m = {.kv_total = 1 << 20,
				.kv_used = 5,
				.kv_reserved = 6,
				.kv_cached = UINT64_MAX,
				.kv_resting = 8,
				.steps = 9,
				.preempted = 10,
				.cached = 11,
				.guard = 12,
				.drafted = 14,
				.accepted = 13,
				.mask_waits = 15};
	static const char *const lines[] = {"kv_bytes{state=\"total\"} 1048576",
					    "kv_bytes{state=\"used\"} 5",
					    "kv_bytes{state=\"reserved\"} 6",
					    "kv_bytes{state=\"cached\"} 18446744073709551615",
					    "kv_bytes{state=\"resting\"} 8",
					    "preempted_total 10",
					    "cached_tokens_total 11",
					    "guard_tokens_total 12",
					    "accepted_tokens_total 13",
					    "drafted_tokens_total 14",
					    "mask_waits_total 15"};

	wait_metric("\nsallyport_engine_steps_total 0\n");
	CH_SEND(d.eng_c, ETOTALS, &m);
	wait_metric("\nsallyport_engine_steps_total 9\n");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char line[100];

		snprintf(line, sizeof(line), "\nsallyport_engine_%s\n", lines[i]);
		assert_non_null(strstr(buf_cstr(&d.answer), line));
	}
	drv_engine_restart(&d);
	wait_metric("\nsallyport_engine_steps_total 0\n");
	assert_true(drv_until(&d, &d.ready, 5000));
	good_request();
	stop_clean();
}

static void a_full_disk_refuses_new_work_and_lets_the_old_finish(void **st)
{
	struct req *r = one_that_runs(), *n;
	uint64_t end;

	drv_kill(&d);
	d.disk_reserve = "1000GiB";
	d.hold_outcomes = 0;
	drv_start(&d, false); /* the driver sends the outcome that is still owed */
	wait_step(r, RQ_DONE);
	assert_true(r->outcome_ix != UINT64_MAX);
	end = clock_mono_ms() + DRV_PATIENCE_MS;
	while ((d.reasons & ~(uint32_t)NR_BOOK || !d.states) && clock_mono_ms() < end)
		drv_poll(&d, 10);
	assert_true(d.reasons & NR_BOOK);
	n = drv_request(&d);
	wait_step(n, RQ_GONE);
	assert_int_equal(n->denied, RS_BOOK_DOWN);
	assert_int_equal(drv_admin(&d, AV_STATUS, SPAN_LIT("{}")), 200);
	assert_non_null(strstr(buf_cstr(&d.answer), "book_not_writable"));
	stop_clean();
}

static void a_large_step_of_the_clock_stops_readiness_and_is_recorded(void **st)
{
#ifdef SP_FAULT
	uint64_t end = clock_mono_ms() + DRV_PATIENCE_MS;

	assert_int_equal(drv_stop(&d), 0);
	d.fault = "store.clock:60";
	assert_true(drv_start(&d, true));
	good_request();
	while (!(d.reasons & NR_CLOCK) && clock_mono_ms() < end)
		drv_poll(&d, 20);
	assert_true(d.reasons & NR_CLOCK);
	assert_false(d.ready);
	stop_clean();
	assert_int_equal(drv_count(&d, "clock.jump"), 1);
#else
	skip();
#endif
}

static void a_failing_disk_ends_the_process_and_loses_nothing(void **st)
{
#ifdef SP_FAULT
	static const char *const faults[] = {
	    "log.fdatasync:20",		"slog.commit:20",	   "slog.append:60",
	    "slog.append:90:kill",	"slog.commit:25:kill",	   "slog.after_commit:25:kill",
	    "store.before_ack:40:kill", "store.after_fold:70:kill"};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		uint64_t end;
		int st_ = 0;

		assert_int_equal(drv_stop(&d), 0);
		d.fault = faults[i];
		drv_start(&d, true);
		end = clock_mono_ms() + DRV_PATIENCE_MS;
		while (waitpid(d.pid, &st_, WNOHANG) == 0 && clock_mono_ms() < end) {
			while (d.in_flight < 70)
				drv_request(&d);
			drv_poll(&d, 2);
		}
		assert_true(clock_mono_ms() < end); /* it ended by itself, not with success */
		assert_false(WIFEXITED(st_) && WEXITSTATUS(st_) == 0);
		drv_reap(&d);
		drv_check_log(&d);
		assert_int_equal(d.lost, 0);
		d.fault = NULL;
		assert_true(drv_start(&d, true));
		good_request();
		end = clock_mono_ms() + DRV_PATIENCE_MS;
		while (d.in_flight && clock_mono_ms() < end)
			drv_poll(&d, 5);
		assert_int_equal(d.in_flight, 0);
	}
	stop_clean();
#else
	skip();
#endif
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(a_flood_of_unknown_keys_fills_no_disk),
	    CASE(a_wrong_secret_or_a_foreign_connection_gets_nothing),
	    CASE(claims_and_records_without_a_grant_are_refused_and_recorded),
	    CASE(a_resent_record_is_answered_and_not_counted_twice),
	    CASE(lies_about_policy_models_and_tokens_do_not_pass),
	    CASE(broken_packets_change_nothing),
	    CASE(a_receipt_is_given_to_its_owner_and_verifies),
	    CASE(balances_in_the_database_follow_the_log),
	    CASE(suspension_stops_what_runs_within_a_second),
	    CASE(what_runs_when_its_subject_expires_is_stopped_within_a_second),
	    CASE(a_suspension_while_a_request_waits_for_its_peer_counts),
	    CASE(a_flood_of_enrolments_does_not_keep_an_officer_from_stopping),
	    CASE(beats_go_on_and_say_when_there_is_no_engine),
	    CASE(what_the_engine_counts_is_shown_while_it_lives),
	    CASE(a_full_disk_refuses_new_work_and_lets_the_old_finish),
	    CASE(a_large_step_of_the_clock_stops_readiness_and_is_recorded),
	    CASE(a_failing_disk_ends_the_process_and_loses_nothing),
	};

	drv_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
