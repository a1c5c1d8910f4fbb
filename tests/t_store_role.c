/* t_store_role.c - a real store process before a gate and an engine that lie. Whatever is sent:
 * refused, recorded, and the next good request is served; nothing acknowledged is lost. What stops
 * it is the matter of t_store_stop.c. */
#include "store_rig.h"

#include <sodium.h>

#include "admin_verbs.h"
#include "authority.h"
#include "receipt.h"

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    CASE(a_flood_of_unknown_keys_fills_no_disk),
	    CASE(a_wrong_secret_or_a_foreign_connection_gets_nothing),
	    CASE(claims_and_records_without_a_grant_are_refused_and_recorded),
	    CASE(a_resent_record_is_answered_and_not_counted_twice),
	    CASE(lies_about_policy_models_and_tokens_do_not_pass),
	    CASE(broken_packets_change_nothing),
	    CASE(a_receipt_is_given_to_its_owner_and_verifies),
	    CASE(balances_in_the_database_follow_the_log),
	};

	drv_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
