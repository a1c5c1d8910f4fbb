/* p5_nobody_alone.c - promise 5: approval, raising tier or quota, a new model, settings, lifting a
 * lockdown need two humans. Attackers: one officer, one key, root at the database, root who holds
 * the log key, a taken admin role. None may obtain an authority row that verifies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "admin_kit.h"

static struct ak a;
static struct case_payload person;
static char half_a[CODE_HALF_TEXT], half_b[CODE_HALF_TEXT];

/* A realm where one person is vetted and enrolled, and their organisation is locked. */
static int setup(void **st)
{
	struct stmt s;

	ak_init(&a);
	for (unsigned i = 0; i < KIT_OFFICERS; i++)
		ak_confirm(&a, i);
	person = ak_person(&a);
	if (ak_open_case(&a, 0, &person) != 200 ||
	    ak_case(&a, 0, VB_CASE_PROPOSE, &person.id) != 200 || !ak_half(&a, 0, 'A', half_a) ||
	    ak_case(&a, 1, VB_CASE_SIGN, &person.id) != 200 || !ak_half(&a, 1, 'B', half_b) ||
	    ak_enrol(&a, half_a, half_b) != 0)
		return -1;
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	s.lock.scope = LOCK_ORG;
	s.lock.id = person.subject.org;
	return ak_send(&a, 2, &s, NULL) == 200 ? 0 : -1;
}

static int teardown(void **st)
{
	ak_end(&a);
	return 0;
}

static const char *guard(void)
{
	const char *s =
	    json_string_value(json_object_get(json_object_get(a.reply, "error"), "guard"));

	return s ? s : "none";
}

static struct case_payload change(enum case_kind kind)
{
	struct case_payload p = {.id = kit_id(&a.k), .kind = kind, .ver = 2};

	p.subject.id = person.subject.id;
	p.subject.tier = 3;
	if (kind == CK_ONBOARD)
		p = ak_person(&a);
	if (kind == CK_SETTINGS) {
		p.ver = 1;
		p.settings = a.k.gen.settings;
		p.settings.n_models = 2;
		strcpy(p.settings.model[1].name, "another-model");
	}
	if (kind == CK_QUOTA) {
		p.ver = 0;
		p.quota.level = LV_SUBJECT;
		p.quota.id = person.subject.id;
	}
	if (kind == CK_UNLOCK) {
		p.ver = 1;
		p.lock.scope = LOCK_ORG;
		p.lock.id = person.subject.org;
	}
	return p;
}

static void one_officer_alone_gets_no_row_of_any_kind(void **st)
{
	for (int kind = 0; kind < CK_COUNT; kind++) {
		struct case_payload p = change((enum case_kind)kind);
		unsigned rows;

		if (kind == CK_REINSTATE) { /* there must be something to reinstate */
			struct stmt s = ak_stmt(&a, VB_SUBJECT_SUSPEND);

			s.target = person.subject.id;
			s.ver = 2;
			assert_int_equal(ak_send(&a, 1, &s, NULL), 200);
			p.ver = 3;
		}
		if (kind == CK_CLOSE)
			p.ver = 3;
		rows = ak_count(&a, "\"t\":\"authority\"");
		assert_int_equal(ak_open_case(&a, 0, &p), 200);
		assert_int_equal(ak_case(&a, 0, VB_CASE_SIGN, &p.id), 409);
		assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &p.id), 200);
		assert_int_equal(ak_case(&a, 0, VB_CASE_SIGN, &p.id), 403);
		assert_string_equal(guard(), "same_signer");
		assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &p.id), 409);
		assert_int_equal(ak_count(&a, "\"t\":\"authority\""), rows);
	}
}

static void one_officer_signing_for_another_is_refused(void **st)
{
	struct case_payload p = change(CK_TIER);
	uint8_t sk[64];

	assert_int_equal(ak_open_case(&a, 0, &p), 200);
	assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &p.id), 200);
	memcpy(sk, a.k.sk[1], 64);
	memcpy(a.k.sk[1], a.k.sk[0], 64); /* officer 1's name, officer 0's key */
	assert_int_equal(ak_case(&a, 1, VB_CASE_SIGN, &p.id), 401);
	assert_string_equal(guard(), "signature");
	memcpy(a.k.sk[1], sk, 64);
}

static void a_case_changed_after_the_proposal_has_another_digest(void **st)
{
	struct case_payload p = change(CK_TIER), q;
	struct stmt s;

	p.subject.tier = 2;
	assert_int_equal(ak_open_case(&a, 0, &p), 200);
	assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &p.id), 200);
	q = p;
	q.subject.tier = 3; /* what a dishonest screen would have the second officer sign */
	s = ak_stmt(&a, VB_CASE_SIGN);
	s.has_case = true;
	s.target = p.id;
	s.ver = 2;
	case_digest(&q, s.case_digest);
	assert_int_equal(ak_send(&a, 1, &s, NULL), 409);
	assert_string_equal(guard(), "digest");
}

/* What root may try with the database while the daemon is down. */
static void root_at_the_database_is_found_at_start(void **st)
{
	static const char *const edits[] = {
	    "UPDATE subject SET tier = 3",
	    "UPDATE subject SET expires = 0, state = 3, ver = 99",
	    "UPDATE subject SET org = randomblob(16)",
	    "UPDATE api_key SET mac = zeroblob(32)",
	    "UPDATE api_key SET expires = 9999999999999",
	    "UPDATE api_key SET state = 1",
	    "INSERT INTO api_key (id, sub, code, mac, state, binding, thumb, expires, ver, entry) "
	    "SELECT randomblob(16), sub, code, mac, 0, 0, thumb, 0, 1, entry FROM api_key",
	    "INSERT INTO subject (id, org, officer, sponsor, kind, state, tier, party, expires, "
	    "ver, "
	    "entry) SELECT randomblob(16), org, officer, sponsor, kind, 3, 3, party, 0, 1, entry "
	    "FROM subject",
	    "UPDATE lockdown SET stands = 0",
	    "UPDATE officer SET pub = randomblob(32) "
	    "WHERE id = (SELECT min(id) FROM officer)",
	    "INSERT INTO officer (id, pub, state, ver, entry) VALUES (randomblob(16), "
	    "randomblob(32), 1, 2, 3)",
	    "INSERT INTO quota VALUES (1, 1, randomblob(16), 0, 0, 0, 0, 0, 0, 0, 1, 5)",
	    "INSERT INTO settings SELECT 2, tenant, doc, 5 FROM settings",
	    "UPDATE settings SET doc = replace(doc, '\"chat\":true', '\"chat\":false')",
	    "UPDATE subject SET entry = 999999, tier = 3",
	};

	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		char path[100];
		struct err err = {0};
		sqlite3 *h;

		teardown(NULL);
		assert_int_equal(setup(NULL), 0);
		ak_crash(&a);
		snprintf(path, sizeof(path), "%s/state.db", a.dir);
		assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
		if (sqlite3_exec(h, edits[i], NULL, NULL, NULL) != SQLITE_OK)
			fail_msg("%s: %s", edits[i], sqlite3_errmsg(h));
		sqlite3_close(h);
		if (ak_open(&a, &err) != E_CRYPTO)
			fail_msg("not found: %s (%s)", edits[i], err.text);
		assert_non_null(strstr(err.text, "state.db"));
	}
}

static void live_edit(const char *text)
{
	char path[100];
	sqlite3 *h;

	snprintf(path, sizeof(path), "%s/state.db", a.dir);
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
}

/* The same while the daemon runs. */
static void root_at_the_database_is_found_while_serving(void **st)
{
	struct err err = {0};
	struct stmt s;

	assert_int_equal(store_admin_watch(a.sa, &err), E_OK);
	s = ak_stmt(&a, VB_LOCKDOWN_SET); /* our own writes are no news */
	assert_int_equal(ak_send(&a, 0, &s, NULL), 200);
	assert_int_equal(store_admin_watch(a.sa, &err), E_OK);
	live_edit("DELETE FROM lockdown");
	assert_int_equal(store_admin_watch(a.sa, &err), E_OK); /* written anew from the log */
	live_edit("UPDATE subject SET tier = 3");
	assert_int_equal(store_admin_watch(a.sa, &err), E_CRYPTO);
	assert_int_equal(store_admin_watch(a.sa, &err), E_CRYPTO);
	assert_non_null(strstr(err.text, "sub_"));
}

static int replay_with(const struct span *log, uint64_t n, struct aset **out)
{
	struct aset *s = aset_new();
	int rc = E_OK;

	for (uint64_t i = 0; rc == E_OK && i < n; i++)
		rc = aset_feed(s, i, log[i], NULL, NULL);
	if (out)
		*out = s;
	else
		aset_free(s);
	return rc;
}

/* Root who also holds the log key writes what he likes into a log that verifies as a log. */
static int forged(struct span entry)
{
	struct span log[513];

	memcpy(log, a.log, sizeof(a.log[0]) * a.n);
	log[a.n] = entry;
	return replay_with(log, a.n + 1, NULL);
}

static void a_forged_log_entry_makes_no_authority(void **st)
{
	struct owed row = {.kind = AK_SUBJECT, .n_by = 3, .by = {7, 8, 9}};
	struct buf b = BUF_INIT(CANON_MAX), e = BUF_INIT(CANON_MAX);
	struct id key = kit_id(&a.k);
	uint8_t mac[32] = {1}, none[32] = {0}, sig[64];
	struct stmt s = {.verb = VB_LOCKDOWN_SET, .nonce = kit_id(&a.k)};
	struct aset *set;

	assert_int_equal(replay_with(a.log, a.n, &set), E_OK);
	row.u.subject = person.subject;
	row.u.subject.state = SUB_V;
	row.u.subject.tier = 3;
	row.u.subject.ver = 3;
	aset_owed_entry(&row, &a.k.boot, a.k.now, set, &e);
	assert_int_equal(forged(buf_span(&e)), E_CRYPTO);
	buf_reset(&e);
	/* a key for the vetted subject out of a code that was redeemed */
	entry_key_create(&person.id, &key, &person.subject.id, mac, none, &a.k.boot, a.k.now, &e);
	assert_int_equal(forged(buf_span(&e)), E_CRYPTO);
	buf_reset(&e);
	/* a statement in an officer's name, signed with another key */
	s.kid = a.k.off[0];
	memcpy(s.aud, a.k.aud, 32);
	stmt_write(&s, &b);
	stmt_sign(buf_span(&b), a.k.sk[1], sig);
	entry_statement(buf_span(&b), sig, &s, GD_OK, &a.k.boot, a.k.now, &e);
	assert_int_equal(forged(buf_span(&e)), E_CRYPTO);
	/* every entry once more: statements are single use, rows follow only their own statement */
	for (uint64_t i = 0; i < a.n; i++)
		assert_int_equal(forged(a.log[i]), E_CRYPTO);
	aset_free(set);
	buf_free(&b);
	buf_free(&e);
}

static void a_log_cut_short_is_older_than_the_database(void **st)
{
	struct err err = {0};

	ak_crash(&a);
	a.n -= 2; /* the lockdown and its statement */
	assert_int_equal(ak_open(&a, &err), E_CRYPTO);
	a.n += 2;
}

static void as_json(const struct aset *s, struct buf *b)
{
	struct jsonw w;
	struct owed o = {.kind = AK_SUBJECT};
	const struct lock_row like = {.scope = LOCK_ORG, .id = person.subject.org};
	struct id kid;

	jw_init(&w, b);
	jw_arr(&w);
	if (aset_subject(s, &person.subject.id)) {
		o.u.subject = *aset_subject(s, &person.subject.id);
		owed_new_write(&w, &o);
	}
	o.kind = AK_KEY;
	if (id_parse("key", span_cstr(a.api_kid), &kid) && aset_key(s, &kid)) {
		o.u.key = *aset_key(s, &kid);
		owed_new_write(&w, &o);
	}
	o.kind = AK_LOCKDOWN;
	if (aset_lock(s, &like)) {
		o.u.lock = *aset_lock(s, &like);
		owed_new_write(&w, &o);
	}
	settings_write(&w, aset_settings(s));
	jw_end_arr(&w);
}

/* Bytes outside what is signed (boot, ts) may change here: the tree's signature covers those. The
 * key's mac is made by store alone and is covered by the tree, too. */
static void a_changed_byte_anywhere_gives_an_error_or_the_same_authority(void **st)
{
	struct buf want = BUF_INIT(CANON_MAX), got = BUF_INIT(CANON_MAX);
	struct aset *set;
	unsigned refused = 0, same = 0;

	assert_int_equal(replay_with(a.log, a.n, &set), E_OK);
	as_json(set, &want);
	aset_free(set);
	for (uint64_t i = 1; i < a.n; i++) /* entry 0 is held by its digest in every statement */
		for (size_t at = i % 7; at < a.log[i].n; at += 7) {
			char *p = (char *)(uintptr_t)a.log[i].p, old = p[at];

			p[at] ^= 1;
			if (replay_with(a.log, a.n, &set) == E_OK && aset_owed(set) == NULL) {
				buf_reset(&got);
				as_json(set, &got);
				assert_true(span_eq(buf_span(&want), buf_span(&got)));
				same++;
			} else {
				refused++;
			}
			aset_free(set);
			p[at] = old;
		}
	assert_true(refused > same);
	buf_free(&want);
	buf_free(&got);
}

static void a_taken_admin_role_sees_no_half_it_can_open(void **st)
{
	struct case_payload p = change(CK_CODE);
	char t[ID_TEXT_MAX], x[CODE_HALF_TEXT];
	json_t *boxes;

	assert_int_equal(ak_open_case(&a, 0, &p), 200);
	assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &p.id), 200);
	assert_int_equal(ak_case(&a, 1, VB_CASE_SIGN, &p.id), 200);
	boxes = json_object_get(ak_get(&a, AV_CASE_SHOW, id_fmt("cas", &p.id, t)), "code_boxes");
	assert_int_equal(json_array_size(boxes), 2);
	for (size_t i = 0; i < 2; i++) {
		json_object_set(a.reply, "code_box",
				json_object_get(json_array_get(boxes, i), "box"));
		assert_true(ak_half(&a, i ? 1 : 0, 'A', x));
		assert_false(ak_half(&a, i ? 0 : 1, 'A', x));
		assert_false(ak_half(&a, 2, 'A', x));
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(one_officer_alone_gets_no_row_of_any_kind),
	    T(one_officer_signing_for_another_is_refused),
	    T(a_case_changed_after_the_proposal_has_another_digest),
	    T(root_at_the_database_is_found_at_start),
	    T(root_at_the_database_is_found_while_serving),
	    T(a_forged_log_entry_makes_no_authority),
	    T(a_log_cut_short_is_older_than_the_database),
	    T(a_changed_byte_anywhere_gives_an_error_or_the_same_authority),
	    T(a_taken_admin_role_sees_no_half_it_can_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
