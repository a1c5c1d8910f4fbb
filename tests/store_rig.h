/* store_rig.h - a realm with one store process for each test, and what tests say to it through
 * store_drv.h. cmocka's asserts. */
#ifndef SP_TESTS_STORE_RIG_H
#define SP_TESTS_STORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "store_drv.h"

static struct drv d; /* of the test that runs */
static const bool never; /* a flag for drv_until() that only lets time pass */

static inline int setup_until(int64_t expires)
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

static inline int setup(void **st)
{
	return setup_until(0);
}

static inline int teardown(void **st)
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
static inline void again(int64_t expires)
{
	assert_int_equal(teardown(NULL), 0);
	assert_int_equal(setup_until(expires), 0);
}

static inline void wait_step(struct req *r, enum req_step step)
{
	uint64_t end = clock_mono_ms() + DRV_PATIENCE_MS;

	while (r->step != step && clock_mono_ms() < end)
		drv_poll(&d, 5);
	assert_int_equal(r->step, step);
}

static inline struct req *good_request(void)
{
	struct req *r = drv_request(&d);

	wait_step(r, RQ_DONE);
	assert_true(r->outcome_acked);
	return r;
}

static inline void stop_clean(void)
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

static inline struct req *raw_auth(const char *kid, const struct id *conn)
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

/* One answer under way that the driver's engine does not end by itself. */
static inline struct req *one_that_runs(void)
{
	struct req *r;

	d.hold_outcomes = 1000;
	do {
		r = drv_request(&d);
		wait_step(r, r->blocked ? RQ_DONE : RQ_RUN);
	} while (r->blocked);
	return r;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
