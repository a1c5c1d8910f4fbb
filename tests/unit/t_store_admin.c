/* t_store_admin.c - the admin side of store: what is answered, what stands after crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "admin_kit.h"
#include "fault.h"

static struct ak a;

static int setup(void **st)
{
	ak_init(&a);
	for (unsigned i = 0; i < KIT_OFFICERS; i++)
		if (ak_confirm(&a, i) != 200)
			return -1;
	return 0;
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

static struct case_payload vetted(char half_a[CODE_HALF_TEXT], char half_b[CODE_HALF_TEXT])
{
	struct case_payload p = ak_person(&a);

	assert_int_equal(ak_open_case(&a, 0, &p), 200);
	assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &p.id), 200);
	assert_true(json_is_true(json_object_get(a.reply, "waits")));
	assert_true(ak_half(&a, 0, 'A', half_a));
	assert_false(ak_half(&a, 1, 'A', half_a)); /* sealed to the proposer alone */
	assert_true(ak_half(&a, 0, 'A', half_a));
	assert_int_equal(ak_case(&a, 1, VB_CASE_SIGN, &p.id), 200);
	assert_true(ak_half(&a, 1, 'B', half_b));
	return p;
}

static struct id key_id(void)
{
	struct id kid;

	assert_true(id_parse("key", span_cstr(a.api_kid), &kid));
	return kid;
}

static void two_officers_and_two_halves_make_a_key_that_works(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
	struct case_payload p = vetted(ha, hb);
	struct auth_row row;
	uint8_t secret[32], digest[32], mac[32];
	struct id kid;

	assert_int_equal(ak_enrol(&a, ha, "B-00000-00000-00000-00000-00000-0"), 30);
	assert_int_equal(ak_enrol(&a, hb, ha), 30);
	assert_int_equal(ak_enrol(&a, ha, hb), 0);
	kid = key_id();
	assert_int_equal(db_auth_find(a.db, &kid, &row), E_OK);
	assert_int_equal(row.sub_state, SUB_V);
	assert_true(id_eq(&row.sub, &p.subject.id) && id_eq(&row.org, &p.subject.org));
	assert_int_equal(row.tier, 1);
	assert_int_equal(row.lim[LV_ORG].concurrency, 256);
	assert_true(b32_decode(span_of(a.api_key + 30, 52), secret, 32));
	api_key_digest(secret, digest);
	api_key_mac(ak_pepper, &kid, digest, mac);
	assert_memory_equal(mac, row.mac, 32);
	assert_int_equal(ak_enrol(&a, ha, hb), 30); /* once */
}

static void names_are_nowhere_in_clear(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT], path[100], cmd[160];

	vetted(ha, hb);
	ak_get(&a, AV_SUBJECT_LS, NULL);
	assert_string_equal(json_string_value(json_object_get(
				json_array_get(json_object_get(a.reply, "subjects"), 0), "name")),
			    "Ada Byron");
	assert_int_equal(ak_count(&a, "Byron"), 0);
	snprintf(path, sizeof(path), "%s", a.dir);
	snprintf(cmd, sizeof(cmd), "! grep -rqa Byron %s", path);
	assert_int_equal(system(cmd), 0);
}

static void a_suspended_subject_is_cut_at_once(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
	struct case_payload p = vetted(ha, hb);
	struct auth_row row;
	struct stmt s;
	struct id kid;

	assert_int_equal(ak_enrol(&a, ha, hb), 0);
	kid = key_id();
	a.revokes = 0;
	s = ak_stmt(&a, VB_SUBJECT_SUSPEND);
	s.target = p.subject.id;
	s.ver = 2;
	s.why = WHY_COMPROMISE;
	assert_int_equal(ak_send(&a, 2, &s, NULL), 200);
	assert_int_equal(a.revokes, 1);
	assert_int_equal(a.sel.what, REV_SUBJECT);
	assert_true(id_eq(&a.sel.id, &p.subject.id));
	assert_int_equal(db_auth_find(a.db, &kid, &row), E_OK);
	assert_int_equal(row.sub_state, SUB_X);
}

static void a_lockdown_shows_in_what_the_request_path_reads(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
	struct case_payload p = vetted(ha, hb);
	struct settings set;
	struct auth_row row;
	struct stmt s;
	struct id kid;
	bool all;

	assert_int_equal(ak_enrol(&a, ha, hb), 0);
	kid = key_id();
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	s.lock.scope = LOCK_ORG;
	s.lock.id = p.subject.org;
	assert_int_equal(ak_send(&a, 0, &s, NULL), 200);
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	s.lock.scope = LOCK_MODEL;
	strcpy(s.lock.model, "starter");
	assert_int_equal(ak_send(&a, 0, &s, NULL), 200);
	assert_int_equal(db_auth_find(a.db, &kid, &row), E_OK);
	assert_int_equal(row.locks, LOCKBIT(LOCK_ORG));
	assert_int_equal(db_settings(a.db, &set, &all), E_OK);
	assert_true(set.model[0].locked);
	assert_false(all);
	assert_true(store_admin_ready(a.sa));
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	assert_int_equal(ak_send(&a, 0, &s, NULL), 200);
	assert_false(store_admin_ready(a.sa));
	assert_int_equal(db_settings(a.db, &set, &all), E_OK);
	assert_true(all);
}

static void a_nonce_not_from_here_or_too_old_is_refused_and_not_recorded(void **st)
{
	struct stmt s = ak_stmt(&a, VB_LOCKDOWN_SET);
	uint64_t before = a.n;

	s.nonce.b[0] ^= 1;
	assert_int_equal(ak_send(&a, 0, &s, NULL), 409);
	assert_string_equal(guard(), "nonce");
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	a.k.now += 11 * 60 * 1000;
	assert_int_equal(ak_send(&a, 0, &s, NULL), 409);
	assert_string_equal(guard(), "nonce");
	assert_int_equal(a.n, before);
}

static void sealed_text_must_fit_its_commitment(void **st)
{
	struct case_payload p = ak_person(&a);
	struct stmt s = ak_stmt(&a, VB_CASE_OPEN);

	s.has_case = true;
	s.payload = p;
	s.target = p.id;
	case_digest(&p, s.case_digest);
	assert_int_equal(ak_send(&a, 0, &s, "{\"name\":\"Somebody Else\"}"), 400);
	assert_string_equal(guard(), "commitment");
	s.nonce = ak_stmt(&a, VB_CASE_OPEN).nonce;
	assert_int_equal(ak_send(&a, 0, &s, NULL), 400);
	assert_string_equal(guard(), "commitment");
}

static void a_log_that_refuses_is_told_and_caught_up(void **st)
{
	struct stmt s = ak_stmt(&a, VB_LOCKDOWN_SET);

	a.refuse = true;
	assert_int_equal(ak_send(&a, 0, &s, NULL), 503);
	assert_true(store_admin_ready(a.sa)); /* not in the log: not in effect */
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	assert_int_equal(ak_send(&a, 1, &s, NULL), 503);
	a.refuse = false;
	a.replies = 0;
	store_admin_tick(a.sa);
	ak_pump(&a);
	assert_false(store_admin_ready(a.sa));
	assert_true(store_admin_idle(a.sa));
	assert_int_equal(a.replies, 0); /* nobody is answered twice */
}

/* A whole vetting, each step repeated until it shows; a crash may come anywhere. */
static bool try_all(struct case_payload *p, char ha[CODE_HALF_TEXT], char hb[CODE_HALF_TEXT])
{
	char t[ID_TEXT_MAX];
	const char *state;

	id_fmt("cas", &p->id, t);
	ak_get(&a, AV_CASE_SHOW, t);
	state = json_string_value(json_object_get(a.reply, "state"));
	if (state == NULL)
		return ak_open_case(&a, 0, p) == 200;
	if (*state == 'W')
		return ak_case(&a, 0, VB_CASE_PROPOSE, &p->id) == 200 && ak_half(&a, 0, 'A', ha);
	if (*state == 'M')
		return ak_case(&a, 1, VB_CASE_SIGN, &p->id) == 200 && ak_half(&a, 1, 'B', hb);
	return true;
}

static bool decided(const struct case_payload *p)
{
	char t[ID_TEXT_MAX];
	const char *s;

	ak_get(&a, AV_CASE_SHOW, id_fmt("cas", &p->id, t));
	s = json_string_value(json_object_get(a.reply, "state"));
	return s && *s == 'Z';
}

static void check_once(const struct case_payload *p)
{
	char t[ID_TEXT_MAX], want[160];
	struct settings set;
	bool all;

	ak_get(&a, AV_SUBJECT_SHOW, id_fmt("sub", &p->subject.id, t));
	assert_int_equal(a.status, 200);
	assert_string_equal(json_string_value(json_object_get(a.reply, "state")), "A");
	snprintf(want, sizeof(want), "\"id\":\"%s\",\"kind\":\"subject\"", t);
	assert_int_equal(ak_count(&a, want), 1);
	assert_int_equal(ak_count(&a, "\"result\":\"ok\""), KIT_OFFICERS + 3);
	assert_int_equal(ak_count(&a, "\"t\":\"genesis\""), 1);
	assert_int_equal(db_settings(a.db, &set, &all), E_OK);
}

/* Cuts between hand-over, durability and answer: the n-th entry is lost, or kept and never told. */
static void a_cut_between_any_two_steps_loses_and_doubles_nothing(void **st)
{
	struct err err;

	for (unsigned kept = 0; kept < 2; kept++)
		for (unsigned cut = 0; cut < 5; cut++) {
			struct case_payload p;
			char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
			unsigned seen = 0, tries = 0;

			teardown(NULL);
			assert_int_equal(setup(NULL), 0);
			p = ak_person(&a);
			while (!decided(&p) && tries++ < 20) {
				a.hold = true;
				try_all(&p, ha, hb);
				while (a.pending) {
					bool now = seen++ == cut;

					a.hold = now;
					if (!now || kept)
						ak_durable(&a);
					if (now) {
						ak_crash(&a);
						assert_int_equal(ak_open(&a, &err), E_OK);
						break;
					}
				}
				a.hold = false;
				ak_pump(&a);
			}
			assert_true(decided(&p));
			check_once(&p);
			assert_true(store_admin_idle(a.sa));
		}
}

#ifdef SP_FAULT
/* Lack of memory is not among them: it ends the process, which is the cut tested above. */
static const char *const points[] = {"db.prepare",  "db.begin",	    "db.step",	  "db.commit",
				     "admin.stage", "admin.append", "admin.apply"};

static bool one_fault(const char *point, unsigned n, bool dies)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
	struct case_payload p;
	struct err err;
	bool fired;

	teardown(NULL);
	assert_int_equal(setup(NULL), 0);
	p = ak_person(&a);
	fault_arm(point, n, false, 0);
	for (int i = 0; i < 3; i++)
		try_all(&p, ha, hb);
	fired = fault_fired();
	fault_disarm();
	if (dies) {
		ak_crash(&a);
		assert_int_equal(ak_open(&a, &err), E_OK);
	} else {
		store_admin_tick(a.sa);
		ak_pump(&a);
	}
	for (int i = 0; i < 4 && !decided(&p); i++)
		try_all(&p, ha, hb);
	assert_true(decided(&p));
	check_once(&p);
	return fired;
}

static void every_fault_point_in_turn_loses_and_doubles_nothing(void **st)
{
	unsigned all = 0;

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		for (unsigned n = 1; one_fault(points[i], n, n % 2); n++)
			all++;
	assert_true(all > 40);
	print_message("%u faults\n", all);
}
#endif

static void sql(const char *text)
{
	char path[100];
	sqlite3 *h;

	snprintf(path, sizeof(path), "%s/state.db", a.dir);
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
}

/* One row in the outbox while the store is down; true when it was refused and nothing appended. */
static bool outbox_refused(const char *row)
{
	uint64_t before = a.n;
	struct err err = {0};
	char text[1400];
	int rc;

	ak_crash(&a);
	snprintf(text, sizeof(text),
		 "DELETE FROM outbox; INSERT INTO outbox(entry) VALUES(CAST('%s' AS BLOB))", row);
	sql(text);
	rc = ak_open(&a, &err);
	if (rc < 0)
		assert_non_null(strstr(err.text, "outbox row"));
	return rc == E_CRYPTO && a.n == before && a.pending == NULL;
}

static void nothing_in_the_outbox_is_believed(void **st)
{
	char row[1200], boot[60], t[ID_TEXT_MAX];
	struct err err;

	snprintf(boot, sizeof(boot), "\"boot\":\"%s\"", id_fmt("bot", &a.k.boot, t));
	assert_true(outbox_refused("{\"boot\":\"x\"}"));
	assert_true(outbox_refused("no JSON at all"));
	snprintf(row, sizeof(row), "{%s,\"t\":\"log.stop\",\"ts\":5,\"v\":1}", boot);
	assert_true(outbox_refused(row));
	snprintf(row, sizeof(row),
		 "{%s,\"by\":[],\"id\":\"*\",\"kind\":\"lockdown\",\"new\":{},"
		 "\"t\":\"authority\",\"ts\":5,\"v\":1,\"ver\":1}",
		 boot);
	assert_true(outbox_refused(row));
	snprintf(row, sizeof(row), "{%s,\"doc\":{},\"t\":\"genesis\",\"ts\":5,\"v\":1}", boot);
	assert_true(outbox_refused(row));
	/* one that stands in the log already, again: its nonce is spent */
	assert_true(a.log[1].n + 1 < sizeof(row));
	snprintf(row, sizeof(row), "%.*s ", (int)a.log[1].n, a.log[1].p);
	assert_true(outbox_refused(row));
	ak_crash(&a);
	sql("DELETE FROM outbox");
	assert_int_equal(ak_open(&a, &err), E_OK);
	assert_true(store_admin_idle(a.sa));
}

static void a_key_that_only_the_outbox_knows_is_forgotten_and_its_code_still_good(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
	struct err err;

	vetted(ha, hb);
	a.hold = true;
	ak_enrol(&a, ha, hb);
	assert_non_null(a.pending);
	ak_crash(&a);
	assert_int_equal(ak_open(&a, &err), E_OK);
	assert_int_equal(ak_count(&a, "key.create"), 0);
	assert_true(store_admin_idle(a.sa));
	assert_int_equal(ak_enrol(&a, ha, hb), 0);
	assert_int_equal(ak_count(&a, "\"t\":\"key.create\""), 1);
}

static void rows_that_only_lack_are_mended_at_start(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT];
	struct case_payload p = vetted(ha, hb);
	struct auth_row row;
	struct err err;
	struct stmt s;
	struct id kid;

	assert_int_equal(ak_enrol(&a, ha, hb), 0);
	kid = key_id();
	s = ak_stmt(&a, VB_LOCKDOWN_SET);
	s.lock.scope = LOCK_SUBJECT;
	s.lock.id = p.subject.id;
	assert_int_equal(ak_send(&a, 0, &s, NULL), 200);
	ak_crash(&a);
	sql("DELETE FROM lockdown; DELETE FROM settings");
	assert_int_equal(ak_open(&a, &err), E_OK);
	assert_int_equal(db_auth_find(a.db, &kid, &row), E_OK);
	assert_int_equal(row.locks, LOCKBIT(LOCK_SUBJECT));
}

static void a_lost_database_is_rebuilt_from_the_log(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT], path[100];
	struct auth_row row;
	struct err err;
	struct id kid;

	vetted(ha, hb);
	assert_int_equal(ak_enrol(&a, ha, hb), 0);
	kid = key_id();
	ak_crash(&a);
	snprintf(path, sizeof(path), "%s/state.db", a.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ak_open(&a, &err), E_OK);
	assert_int_equal(db_auth_find(a.db, &kid, &row), E_OK);
}

static void another_genesis_is_refused(void **st)
{
	struct err err;

	ak_crash(&a);
	a.k.gen.ts++;
	buf_reset(&a.k.doc);
	genesis_write(&a.k.gen, &a.k.doc);
	assert_int_equal(ak_open(&a, &err), E_CRYPTO);
}

static void quota_says_where_it_comes_from(void **st)
{
	char ha[CODE_HALF_TEXT], hb[CODE_HALF_TEXT], t[ID_TEXT_MAX];
	struct case_payload p = vetted(ha, hb), q = {.kind = CK_QUOTA};

	q.id = kit_id(&a.k);
	q.quota.level = LV_SUBJECT;
	q.quota.id = p.subject.id;
	q.quota.lim.req_min = 5;
	assert_int_equal(ak_open_case(&a, 0, &q), 200);
	assert_int_equal(ak_case(&a, 0, VB_CASE_PROPOSE, &q.id), 200);
	assert_int_equal(ak_case(&a, 0, VB_CASE_SIGN, &q.id), 403);
	assert_string_equal(guard(), "same_signer");
	assert_int_equal(ak_case(&a, 2, VB_CASE_SIGN, &q.id), 200);
	ak_get(&a, AV_QUOTA_EXPLAIN, id_fmt("sub", &p.subject.id, t));
	assert_int_equal(a.status, 200);
	assert_string_equal(json_string_value(json_object_get(a.reply, "source")), "quota");
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(a.reply, "limits"), "req_min")), 5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(two_officers_and_two_halves_make_a_key_that_works),
	    T(names_are_nowhere_in_clear),
	    T(a_suspended_subject_is_cut_at_once),
	    T(a_lockdown_shows_in_what_the_request_path_reads),
	    T(a_nonce_not_from_here_or_too_old_is_refused_and_not_recorded),
	    T(sealed_text_must_fit_its_commitment),
	    T(a_log_that_refuses_is_told_and_caught_up),
	    T(a_cut_between_any_two_steps_loses_and_doubles_nothing),
#ifdef SP_FAULT
	    T(every_fault_point_in_turn_loses_and_doubles_nothing),
#endif
	    T(nothing_in_the_outbox_is_believed),
	    T(a_key_that_only_the_outbox_knows_is_forgotten_and_its_code_still_good),
	    T(rows_that_only_lack_are_mended_at_start),
	    T(a_lost_database_is_rebuilt_from_the_log),
	    T(another_genesis_is_refused),
	    T(quota_says_where_it_comes_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
