/* t_db.c - state.db: what the request path keeps there, and what open refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "db.h"

static char dir[40];
static const uint8_t kek[32] = {7};
static struct db *db;

static int setup(void **st)
{
	struct err err;

	strcpy(dir, "/tmp/spdbXXXXXX");
	return sodium_init() < 0 || !mkdtemp(dir) || db_open(dir, 0, kek, &db, &err) < 0 ? -1 : 0;
}

static int teardown(void **st)
{
	char cmd[80];

	db_close(db);
	db = NULL;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static int sum(void *arg, const struct balance_row *r)
{
	*(uint64_t *)arg += r->tok;
	return 0;
}

static int count(void *arg, const struct id *lease, struct span blob)
{
	assert_true(span_eq(blob, SPAN_LIT("lease")));
	++*(unsigned *)arg;
	return 0;
}

static void balances_and_their_place_in_the_log_change_together(void **st)
{
	struct balance_row r = {.level = LV_ORG, .period = 20261123, .req = 1, .tok = 100};
	uint64_t tok = 0, seq = 9;

	assert_int_equal(db_applied_get(db, &seq), E_OK);
	assert_int_equal(seq, 0);
	assert_int_equal(db_begin(db), E_OK);
	assert_int_equal(db_balance_put(db, &r), E_OK);
	assert_int_equal(db_applied_put(db, 5), E_OK);
	db_rollback(db);
	db_balance_each(db, sum, &tok);
	assert_int_equal(tok, 0);
	assert_int_equal(db_begin(db), E_OK);
	assert_int_equal(db_balance_put(db, &r), E_OK);
	r.tok = 250; /* replaces */
	assert_int_equal(db_balance_put(db, &r), E_OK);
	r.period = 202611;
	assert_int_equal(db_balance_put(db, &r), E_OK);
	assert_int_equal(db_applied_put(db, 5), E_OK);
	assert_int_equal(db_commit(db), E_OK);
	assert_int_equal(db_balance_each(db, sum, &tok), E_OK);
	assert_int_equal(tok, 500);
	assert_int_equal(db_balance_purge(db, 20261124, 202611), E_OK);
	tok = 0;
	db_balance_each(db, sum, &tok);
	assert_int_equal(tok, 250); /* the month stays */
	assert_int_equal(db_applied_get(db, &seq), E_OK);
	assert_int_equal(seq, 5);
}

static void leases_and_receipts_are_found_again(void **st)
{
	struct id l = {{1}}, req = {{2}};
	struct receipt_row r = {.req = req, .intent = 4, .outcome = UINT64_MAX}, got;
	unsigned n = 0;

	assert_int_equal(db_lease_put(db, &l, SPAN_LIT("lease")), E_OK);
	assert_int_equal(db_lease_each(db, count, &n), E_OK);
	assert_int_equal(n, 1);
	assert_int_equal(db_lease_del(db, &l), E_OK);
	assert_int_equal(db_lease_each(db, count, &n), E_OK);
	assert_int_equal(n, 1);
	assert_int_equal(db_receipt_get(db, &req, &got), E_NOTFOUND);
	assert_int_equal(db_receipt_put(db, &r), E_OK);
	assert_int_equal(db_receipt_get(db, &req, &got), E_OK);
	assert_true(got.outcome == UINT64_MAX && got.intent == 4);
}

static void an_unknown_key_and_a_realm_without_genesis_are_not_found(void **st)
{
	struct auth_row row;
	struct settings set;
	struct id kid = {{3}};
	bool locked = false;

	assert_int_equal(db_auth_find(db, &kid, &row), E_NOTFOUND);
	assert_int_equal(db_settings(db, &set, &locked), E_NOTFOUND);
	assert_true(locked);
}

static void a_reader_never_writes(void **st)
{
	struct db *rd = NULL;
	struct err err;

	assert_int_equal(db_open(dir, DB_READONLY, kek, &rd, &err), E_OK);
	assert_int_equal(db_applied_put(rd, 1), E_IO);
	assert_true(db_error(rd)[0] != '\0');
	db_close(rd);
}

static void a_newer_schema_is_refused_and_left_alone(void **st)
{
	char path[60];
	struct err err;
	sqlite3 *h;

	db_close(db);
	db = NULL;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
	assert_int_equal(db_open(dir, 0, kek, &db, &err), E_CONFLICT);
}

static void sealed_text_opens_only_in_its_place_and_with_its_key(void **st)
{
	uint8_t a[32] = {1}, b[32] = {2}, nonce[24] = {0}, other[32] = {8};
	struct buf out = BUF_INIT(1000);
	struct err err;

	assert_int_equal(db_sealed_put(db, a, SPAN_LIT("Ada"), nonce), E_OK);
	assert_int_equal(db_sealed_get(db, a, &out), E_OK);
	assert_true(span_eq(buf_span(&out), SPAN_LIT("Ada")));
	assert_int_equal(db_sealed_get(db, b, &out), E_NOTFOUND);
	db_close(db);
	assert_int_equal(db_open(dir, 0, other, &db, &err), E_OK);
	buf_reset(&out);
	assert_int_equal(db_sealed_get(db, a, &out), E_CRYPTO);
	assert_int_equal(out.n, 0);
	buf_free(&out);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(balances_and_their_place_in_the_log_change_together),
	    T(leases_and_receipts_are_found_again),
	    T(an_unknown_key_and_a_realm_without_genesis_are_not_found),
	    T(a_reader_never_writes),
	    T(a_newer_schema_is_refused_and_left_alone),
	    T(sealed_text_opens_only_in_its_place_and_with_its_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
