/* t_store_stop.c - a real store process and what stops its work: an officer, time, an engine that
 * dies, a disk or a clock that fails. Nothing acknowledged is lost. */
#include "store_rig.h"

#include <sys/wait.h>

#include "admin_verbs.h"

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
	while ((d.beats < b0 + 8 || d.states < s0 + 8) && clock_mono_ms() < t0 + DRV_PATIENCE_MS)
		drv_poll(&d, 5);
	t0 = clock_mono_ms() - t0; /* four in a second; one more may come at once with news */
	assert_in_range(d.beats - b0, 8, t0 / 250 + 3);
	assert_in_range(d.states - s0, 8, t0 / 250 + 3);
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
	uint64_t end = clock_mono_ms() + DRV_PATIENCE_MS;

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
	assert_true(drv_until(&d, &d.ready, DRV_PATIENCE_MS));
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
	const struct CMUnitTest tests[] = {
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
