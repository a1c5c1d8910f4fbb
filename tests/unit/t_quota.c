/* t_quota.c - limits hold under every interleaving; the engine equals a naive model that keeps
 * every event for ever; leases are single use; days and months end where the zone says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "err.h"
#include "lease.h"
#include "quota.h"

static uint64_t rnd_state;

static uint64_t rnd(uint64_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state % n;
}

/* The naive model: every hold ever, nothing aggregated. */
#define HOLDS 4000
static struct model {
	struct quota_hold h; /* the engine's */
	struct quota_who who;
	struct zone_now req_at, tok_at;
	uint64_t tokens; /* reserved or used */
	bool counted, live, claimed;
} m[HOLDS];
static unsigned nm;

static void naive_used(enum quota_level l, const struct id *id, const struct zone_now *now,
		       uint64_t u[QW_COUNT])
{
	memset(u, 0, sizeof(uint64_t) * QW_COUNT);
	for (unsigned i = 0; i < nm; i++) {
		struct model *e = &m[i];

		if (!id_eq(&e->who.id[l], id))
			continue;
		if (e->counted) {
			u[QW_RPM] += now->ms / 1000 - e->req_at.ms / 1000 < QUOTA_BUCKETS;
			u[QW_RPD] += now->day == e->req_at.day;
			u[QW_RPMON] += now->month == e->req_at.month;
		}
		if (now->ms / 1000 - e->tok_at.ms / 1000 < QUOTA_BUCKETS)
			u[QW_TPM] += e->tokens;
		u[QW_TPD] += now->day == e->tok_at.day ? e->tokens : 0;
		u[QW_TPMON] += now->month == e->tok_at.month ? e->tokens : 0;
		u[QW_CONC] += e->live;
	}
}

static bool naive_fits(const struct quota_who *who, const struct quota_limits *lim, bool admit,
		       uint64_t tok, const struct zone_now *now)
{
	for (int l = 0; l < QL_COUNT; l++) {
		uint64_t u[QW_COUNT];

		if (id_is_zero(&who->id[l]))
			continue;
		naive_used((enum quota_level)l, &who->id[l], now, u);
		if (admit &&
		    (u[QW_RPM] + 1 > lim[l].max[QW_RPM] || u[QW_RPD] + 1 > lim[l].max[QW_RPD] ||
		     u[QW_RPMON] + 1 > lim[l].max[QW_RPMON] ||
		     u[QW_CONC] + 1 > lim[l].max[QW_CONC]))
			return false;
		if (u[QW_TPM] + tok > lim[l].max[QW_TPM] || u[QW_TPD] + tok > lim[l].max[QW_TPD] ||
		    u[QW_TPMON] + tok > lim[l].max[QW_TPMON])
			return false;
	}
	return true;
}

static struct id num_id(uint8_t n)
{
	struct id i = {{0}};

	i.b[0] = 1;
	i.b[15] = n;
	return i;
}

static void pick_who(struct quota_who *w)
{
	uint64_t key = rnd(6), sub = key / 2;

	memset(w, 0, sizeof(*w));
	w->id[QL_KEY] = num_id((uint8_t)key);
	w->id[QL_SUBJECT] = num_id((uint8_t)(100 + sub));
	if (sub != 2)
		w->id[QL_ORG] = num_id(200);
}

static void check_all(struct quota *q, const struct quota_limits *lim, const struct zone_now *now)
{
	static const uint8_t ids[QL_COUNT][6] = {{0, 1, 2, 3, 4, 5}, {100, 101, 102}, {200}};
	static const unsigned n[QL_COUNT] = {6, 3, 1};

	for (int l = 0; l < QL_COUNT; l++)
		for (unsigned i = 0; i < n[l]; i++) {
			struct id id = num_id(ids[l][i]);
			uint64_t a[QW_COUNT], b[QW_COUNT];

			quota_used(q, (enum quota_level)l, &id, now, a);
			naive_used((enum quota_level)l, &id, now, b);
			for (int w = 0; w < QW_COUNT; w++) {
				assert_int_equal(a[w], b[w]);
				assert_true(a[w] <= lim[l].max[w]); /* never over, by one token */
			}
		}
}

static void step(struct quota *q, const struct quota_limits *lim, const struct zone_now *now)
{
	struct model *e = nm ? &m[rnd(nm)] : NULL;
	struct quota_no no;
	int rc;

	for (int i = 0; e && !e->live && i < 20; i++)
		e = &m[rnd(nm)];
	if (rnd(3) == 0 && nm < HOLDS) {
		struct quota_who who;
		bool fits;

		pick_who(&who);
		fits = naive_fits(&who, lim, true, 1, now);
		e = &m[nm];
		*e = (struct model){.who = who, .req_at = *now, .tok_at = *now};
		rc = quota_admit(q, &who, lim, now, &e->h, &no);
		assert_int_equal(rc == E_OK, fits);
		assert_true(rc == E_OK || no.retry_ms > 0);
		if (rc == E_OK) {
			e->counted = e->live = true;
			nm++;
		}
	} else if (e && e->live && !e->claimed) {
		uint64_t tok = 1 + rnd(60);
		bool fits = naive_fits(&e->who, lim, false, tok, now);

		rc = quota_claim(q, &e->h, lim, tok, now, &no);
		assert_int_equal(rc == E_OK, fits);
		if (rc == E_OK) {
			e->claimed = true;
			e->tokens = tok;
			e->tok_at = *now;
		} else { /* rate refusal: costs nothing */
			quota_refund(q, &e->h, false);
			e->live = e->counted = false;
		}
	} else if (e && e->live) {
		uint64_t used = rnd(e->tokens + 1);

		if (rnd(8) == 0) {
			quota_refund(q, &e->h, true);
			used = 0;
		} else {
			quota_settle(q, &e->h, used);
			quota_settle(q, &e->h, used + 5); /* idempotent */
		}
		e->tokens = used;
		e->live = false;
	}
}

static void limits_equal_a_naive_model_under_random_interleavings(void **st)
{
	struct quota_limits lim[QL_COUNT] = {{{8, 250, 60, 2000, 300, 9000, 3}},
					     {{12, 400, 90, 3000, 400, 12000, 5}},
					     {{20, 700, 150, 6000, 700, 20000, 8}}};

	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct quota *q = quota_new();
		struct zone z;
		struct zone_now now;
		int64_t t = 1764540000000LL + (int64_t)seed * 3600000; /* late in November 2025 */

		rnd_state = seed * 0x9e3779b97f4a7c15u;
		nm = 0;
		zone_utc(&z);
		z.first = 7 * 3600;
		for (int i = 0; i < 6000; i++) {
			t += (int64_t)(rnd(40) == 0 ? rnd(9000000) : rnd(2500));
			zone_at(&z, t, &now);
			step(q, lim, &now);
			if (i % 16 == 0)
				check_all(q, lim, &now);
		}
		quota_free(q);
	}
}

static void parallel_requests_cannot_overshoot_by_one_token(void **st)
{
	struct quota_limits lim[QL_COUNT];
	struct quota *q = quota_new();
	struct quota_who who = {.id = {num_id(1), num_id(2), num_id(3)}};
	struct quota_hold h[200];
	struct quota_no no;
	struct zone z;
	struct zone_now now;
	uint64_t u[QW_COUNT], got = 0;

	zone_utc(&z);
	zone_at(&z, 1764540000123LL, &now);
	memset(lim, 0xff, sizeof(lim));
	lim[QL_SUBJECT].max[QW_TPM] = 10007;
	for (int i = 0; i < 200; i++)
		assert_int_equal(quota_admit(q, &who, lim, &now, &h[i], &no), E_OK);
	for (int i = 0; i < 200; i++) /* all in flight before any claims */
		if (quota_claim(q, &h[i], lim, 100, &now, &no) == E_OK)
			got += 100;
	assert_int_equal(got, 10000);
	assert_int_equal(quota_claim(q, &h[199], lim, 8, &now, &no), E_BUSY);
	assert_int_equal(no.what, QW_TPM);
	assert_int_equal(no.level, QL_SUBJECT);
	assert_int_equal(quota_claim(q, &h[199], lim, 7, &now, &no), E_OK);
	quota_used(q, QL_KEY, &who.id[QL_KEY], &now, u);
	assert_int_equal(u[QW_TPM], 10007); /* a refused level took nothing from the others */
	quota_settle(q, &h[0], 1);
	assert_int_equal(quota_claim(q, &h[198], lim, 100, &now, &no), E_BUSY);
	assert_int_equal(quota_claim(q, &h[198], lim, 99, &now, &no), E_OK);
	assert_int_equal(quota_claim(q, &h[197], lim, 20000, &now, &no), E_BUSY);
	assert_true(no.no_retry); /* can never fit */
	quota_free(q);
}

static void the_minute_slides_and_headers_say_when(void **st)
{
	struct quota_limits lim[QL_COUNT];
	struct quota *q = quota_new();
	struct quota_who who = {.id = {num_id(1)}};
	struct quota_hold h;
	struct quota_no no;
	struct quota_head head;
	struct zone z;
	struct zone_now now;

	zone_utc(&z);
	memset(lim, 0xff, sizeof(lim));
	lim[QL_KEY].max[QW_RPM] = 3;
	for (int i = 0; i < 3; i++) {
		zone_at(&z, 1000000500 + i * 1000, &now);
		assert_int_equal(quota_admit(q, &who, lim, &now, &h, &no), E_OK);
		quota_settle(q, &h, 0);
	}
	assert_int_equal(quota_admit(q, &who, lim, &now, &h, &no), E_BUSY);
	assert_int_equal(no.what, QW_RPM);
	assert_int_equal(no.retry_ms, 61000 - 2500);
	quota_heads(q, &who, lim, &now, &head);
	assert_int_equal(head.lim_req, 3);
	assert_int_equal(head.rem_req, 0);
	assert_int_equal(head.reset_req_ms, 63000 - 2500);
	assert_true(head.lim_tok == QUOTA_OPEN);
	zone_at(&z, now.ms + no.retry_ms - 1, &now);
	assert_int_equal(quota_admit(q, &who, lim, &now, &h, &no), E_BUSY);
	zone_at(&z, now.ms + 1, &now);
	assert_int_equal(quota_admit(q, &who, lim, &now, &h, &no), E_OK);
	quota_free(q);
}

static void days_and_months_follow_the_zone(void **st)
{
	struct zone z;
	struct zone_now a, b;
	struct err err;

	assert_int_equal(zone_load(&z, "", "+07:00", 0, &err), E_OK);
	zone_at(&z, 1767200399999LL, &a); /* 2025-12-31 23:59:59.999 +07 */
	zone_at(&z, 1767200400000LL, &b); /* 2026-01-01 00:00 +07 */
	assert_int_equal(b.day, a.day + 1);
	assert_int_equal(b.month, a.month + 1);
	assert_int_equal(a.day_end, 1767200400000LL);
	assert_int_equal(a.month_end, 1767200400000LL);
	assert_int_equal(b.month, (2026 - 1970) * 12);
	assert_int_equal(b.month_end, 1767200400000LL + 31LL * 86400000);
	assert_int_equal(zone_load(&z, "/usr/share/zoneinfo", "../../etc/passwd", 0, &err),
			 E_FORMAT);
	if (zone_load(&z, "/usr/share/zoneinfo", "Europe/Berlin", 1764540000000LL, &err) < 0)
		skip();
	zone_at(&z, 1774738800000LL, &a); /* 2026-03-29 00:00 CET, a day of 23 hours */
	assert_int_equal(a.day_end - 1774738800000LL, 23 * 3600000LL);
	zone_at(&z, 1764543600000LL - 1, &a); /* 2025-12-01 00:00 CET */
	zone_at(&z, 1764543600000LL, &b);
	assert_int_equal(b.month, a.month + 1);
}

static void a_lease_is_single_use(void **st)
{
	struct leases *t = leases_new();
	struct id id = id_random(), req = id_random(), conn = id_random(), other = id_random();
	struct lease *l = lease_add(t, &id, &req, &conn);

	assert_non_null(l);
	assert_null(lease_add(t, &id, &other, &conn)); /* an id is never given twice */
	assert_null(lease_match(t, &id, &other));
	assert_ptr_equal(lease_match(t, &id, &req), l);
	assert_int_equal(lease_intent(t, l), E_CONFLICT); /* no intent before a claim */
	assert_int_equal(lease_claimed(t, l, 10, 300), E_OK);
	assert_int_equal(lease_claimed(t, l, 10, 300), E_CONFLICT);
	assert_int_equal(lease_intent(t, l), E_OK);
	assert_int_equal(lease_intent(t, l), E_CONFLICT);
	l->tokens = 100;
	assert_int_equal(lease_presumed(l), 228);
	l->tokens = 256;
	assert_int_equal(lease_presumed(l), 300); /* never beyond the cap */
	assert_int_equal(leases_open(t), 1);
	assert_int_equal(lease_closed(t, l), E_OK);
	assert_int_equal(lease_closed(t, l), E_CONFLICT);
	assert_int_equal(lease_claimed(t, l, 1, 1), E_CONFLICT);
	assert_ptr_equal(lease_find(t, &id), l); /* remembered, so a replay is known as one */
	for (unsigned i = 0; i < LEASE_CLOSED_MAX; i++) {
		struct id x = id_random();

		lease_closed(t, lease_add(t, &x, &req, &conn));
	}
	assert_null(lease_find(t, &id)); /* and the table stays bounded */
	assert_int_equal(leases_in(t, LS_CLOSED), LEASE_CLOSED_MAX);
	leases_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(limits_equal_a_naive_model_under_random_interleavings),
	    cmocka_unit_test(parallel_requests_cannot_overshoot_by_one_token),
	    cmocka_unit_test(the_minute_slides_and_headers_say_when),
	    cmocka_unit_test(days_and_months_follow_the_zone),
	    cmocka_unit_test(a_lease_is_single_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
