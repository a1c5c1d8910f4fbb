/* t_statement.c - statements, genesis and the fold that makes authority of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "realm_kit.h"

static struct kit k;

static int setup(void **st)
{
	kit_init(&k);
	kit_birth(&k);
	return 0;
}

static int teardown(void **st)
{
	kit_end(&k);
	return 0;
}

static enum guard judge_text(const char *text, unsigned officer)
{
	uint8_t sig[STMT_SIG];
	struct stmt s;
	bool rec;

	stmt_sign(span_cstr(text), k.sk[officer], sig);
	return aset_judge(k.a, span_cstr(text), sig, k.now, &s, &rec);
}

static void text_of(const struct stmt *s, char *out, size_t cap)
{
	struct buf b = BUF_INIT(CANON_MAX);

	assert_int_equal(stmt_write(s, &b), E_OK);
	assert_true(b.n < cap);
	strcpy(out, buf_cstr(&b));
	buf_free(&b);
}

static void two_officers_make_a_subject(void **st)
{
	struct case_payload p = kit_onboard(&k);
	const struct subject_row *s;

	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_OK);
	s = aset_subject(k.a, &p.subject.id);
	assert_non_null(s);
	assert_int_equal(s->state, SUB_A);
	assert_int_equal(s->tier, 1);
	assert_int_equal(s->ver, 1);
}

static void one_officer_twice_is_refused(void **st)
{
	struct case_payload p = kit_onboard(&k);

	assert_int_equal(kit_decide(&k, &p, 0, 0), GD_SAME_SIGNER);
	assert_null(aset_subject(k.a, &p.subject.id));
}

static void one_key_under_two_names_is_no_genesis(void **st)
{
	struct genesis g = k.gen, out;
	struct buf b = BUF_INIT(CANON_MAX);
	struct err err;

	memcpy(g.officer[1].pub, g.officer[0].pub, 32);
	genesis_write(&g, &b);
	assert_int_equal(genesis_parse(buf_span(&b), &out, &err), E_CONFLICT);
	buf_reset(&b);
	g = k.gen;
	g.officer[1].id = g.officer[0].id;
	genesis_write(&g, &b);
	assert_int_equal(genesis_parse(buf_span(&b), &out, &err), E_CONFLICT);
	buf_reset(&b);
	g = k.gen;
	g.n_officers = 1;
	genesis_write(&g, &b);
	assert_int_equal(genesis_parse(buf_span(&b), &out, &err), E_RANGE);
	buf_reset(&b);
	g = k.gen;
	g.quorum = 1;
	genesis_write(&g, &b);
	assert_int_equal(genesis_parse(buf_span(&b), &out, &err), E_FORMAT);
	buf_reset(&b);
	g = k.gen;
	g.profile = PR_BANK; /* a demo realm can never be promoted */
	genesis_write(&g, &b);
	assert_int_equal(genesis_parse(buf_span(&b), &out, &err), E_FORMAT);
	buf_free(&b);
}

static void subject_and_sponsor_may_not_decide(void **st)
{
	struct case_payload p = kit_onboard(&k);

	p.subject.officer = k.off[1];
	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_IS_SUBJECT);
	p = kit_onboard(&k);
	p.subject.sponsor = k.off[0];
	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_IS_SPONSOR);
	p = kit_onboard(&k);
	p.subject.sponsor = k.off[0];
	assert_int_equal(kit_decide(&k, &p, 1, 2), GD_OK);
	p = (struct case_payload){.id = kit_id(&k),
				  .kind = CK_TIER,
				  .ver = 1,
				  .subject = {.id = p.subject.id, .tier = 3}};
	assert_int_equal(kit_decide(&k, &p, 1, 0), GD_IS_SPONSOR);
}

static void a_replayed_statement_is_refused(void **st)
{
	struct case_payload p = kit_onboard(&k);
	struct stmt s;
	char text[STMT_MAX];

	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_OK);
	s = kit_stmt(&k, 2, VB_SUBJECT_SUSPEND);
	s.target = p.subject.id;
	s.ver = 1;
	s.why = WHY_ABUSE;
	assert_int_equal(kit_send(&k, 2, &s), GD_OK);
	text_of(&s, text, sizeof(text));
	assert_int_equal(judge_text(text, 2), GD_NONCE);
	/* a refused one is spent too */
	s = kit_stmt(&k, 2, VB_SUBJECT_SUSPEND);
	s.target = p.subject.id;
	s.ver = 77;
	assert_int_equal(kit_send(&k, 2, &s), GD_VERSION);
	text_of(&s, text, sizeof(text));
	assert_int_equal(judge_text(text, 2), GD_NONCE);
}

static void another_deployment_or_officer_or_signature_is_refused(void **st)
{
	struct stmt s = kit_stmt(&k, 0, VB_LOCKDOWN_SET);
	char text[STMT_MAX];

	s.aud[3] ^= 1;
	assert_int_equal(kit_send(&k, 0, &s), GD_AUD);
	s = kit_stmt(&k, 0, VB_LOCKDOWN_SET);
	text_of(&s, text, sizeof(text));
	assert_int_equal(judge_text(text, 1), GD_SIGNATURE); /* 1 signs in the name of 0 */
	s.kid = kit_id(&k);
	text_of(&s, text, sizeof(text));
	assert_int_equal(judge_text(text, 0), GD_KID);
}

static void an_altered_case_digest_is_refused(void **st)
{
	struct case_payload p = kit_onboard(&k);
	struct stmt s = kit_open_stmt(&k, 0, &p);

	s.case_digest[0] ^= 1;
	assert_int_equal(kit_send(&k, 0, &s), GD_DIGEST);
	s = kit_open_stmt(&k, 0, &p);
	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	s = kit_case_stmt(&k, 0, VB_CASE_PROPOSE, &p.id);
	s.case_digest[31] ^= 0x80;
	assert_int_equal(kit_send(&k, 0, &s), GD_DIGEST);
	s = kit_case_stmt(&k, 0, VB_CASE_PROPOSE, &p.id);
	s.ver = 9;
	assert_int_equal(kit_send(&k, 0, &s), GD_VERSION);
	s = kit_case_stmt(&k, 0, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&k, 0, &s), GD_CASE_STATE); /* not proposed */
}

static void bytes_that_are_not_exactly_a_statement_are_refused(void **st)
{
	struct stmt s = kit_stmt(&k, 0, VB_LOCKDOWN_SET);
	char good[2048], bad[STMT_MAX], *at;

	text_of(&s, good, sizeof(good));
	/* unknown member */
	snprintf(bad, sizeof(bad), "%.*s,\"x\":1}", (int)strlen(good) - 1, good);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	/* duplicate member */
	snprintf(bad, sizeof(bad), "{\"alg\":\"ed25519\",%s", good + 1);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	/* white space */
	snprintf(bad, sizeof(bad), "{ %s", good + 1);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	/* members in another order */
	at = strstr(good, ",\"verb\"");
	snprintf(bad, sizeof(bad), "{%.*s,%.*s}", (int)strlen(at) - 2, at + 1, (int)(at - good) - 1,
		 good + 1);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	/* another escape for the same text */
	strcpy(bad, good);
	at = strstr(bad, "ed25519");
	memmove(at + 6, at + 1, strlen(at));
	memcpy(at, "\\u0065", 6);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	/* a real, another version, a trailing byte, upper-case ids */
	strcpy(bad, good);
	memcpy(strstr(bad, "\"v\":1"), "\"v\":2", 5);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	snprintf(bad, sizeof(bad), "%s ", good);
	assert_int_equal(judge_text(bad, 0), GD_FORM);
	strcpy(bad, good);
	at = strstr(bad, "nce_");
	for (char *c = at + 4; *c != '"'; c++)
		if (*c >= 'a')
			*c = (char)(*c - 32);
	assert_int_equal(judge_text(bad, 0), strcmp(bad, good) ? GD_FORM : GD_OK);
	assert_int_equal(judge_text(good, 0), GD_OK);
}

static void a_revoked_officer_signs_nothing_and_counts_for_nothing(void **st)
{
	struct case_payload p = kit_onboard(&k);
	struct stmt s = kit_open_stmt(&k, 0, &p);

	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	s = kit_case_stmt(&k, 0, VB_CASE_PROPOSE, &p.id);
	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	s = kit_stmt(&k, 2, VB_OFFICER_REVOKE);
	s.target = k.off[0];
	s.ver = 2;
	s.why = WHY_COMPROMISE;
	assert_int_equal(kit_send(&k, 2, &s), GD_OK);
	s = kit_stmt(&k, 0, VB_LOCKDOWN_SET);
	assert_int_equal(kit_send(&k, 0, &s), GD_OFFICER_STATE);
	/* the proposal of the revoked one is no longer half of a quorum */
	s = kit_case_stmt(&k, 1, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&k, 1, &s), GD_OK);
	assert_null(aset_subject(k.a, &p.subject.id));
	s = kit_case_stmt(&k, 2, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&k, 2, &s), GD_OK);
	assert_non_null(aset_subject(k.a, &p.subject.id));
}

static void nothing_works_before_every_officer_confirmed(void **st)
{
	struct kit n;
	struct buf e = BUF_INIT(CANON_MAX);
	struct stmt s;

	kit_init(&n);
	entry_genesis(buf_span(&n.doc), &n.boot, n.now, &e);
	assert_int_equal(kit_put(&n, buf_span(&e), NULL, NULL), E_OK);
	buf_free(&e);
	s = kit_stmt(&n, 0, VB_LOCKDOWN_SET);
	assert_int_equal(kit_send(&n, 0, &s), GD_OFFICER_STATE);
	s = kit_stmt(&n, 0, VB_OFFICER_CONFIRM);
	s.ver = 1;
	assert_int_equal(kit_send(&n, 0, &s), GD_OK);
	assert_false(aset_confirmed(n.a));
	s = kit_stmt(&n, 0, VB_LOCKDOWN_SET);
	assert_int_equal(kit_send(&n, 0, &s), GD_GENESIS);
	s = kit_stmt(&n, 0, VB_OFFICER_CONFIRM);
	s.ver = 1;
	assert_int_equal(kit_send(&n, 0, &s), GD_OBJECT_STATE);
	kit_end(&n);
}

static void an_old_proposal_goes_back_to_review(void **st)
{
	struct case_payload p = kit_onboard(&k);
	struct stmt s = kit_open_stmt(&k, 0, &p);

	kit_send(&k, 0, &s);
	s = kit_case_stmt(&k, 0, VB_CASE_PROPOSE, &p.id);
	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	k.now += CASE_PROPOSAL_LIFE_MS;
	s = kit_case_stmt(&k, 1, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&k, 1, &s), GD_CASE_STATE);
	s = kit_case_stmt(&k, 1, VB_CASE_PROPOSE, &p.id);
	assert_int_equal(kit_send(&k, 1, &s), GD_OK);
	s = kit_case_stmt(&k, 2, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&k, 2, &s), GD_OK);
}

static void stopping_needs_one_and_lifting_needs_two(void **st)
{
	struct stmt s = kit_stmt(&k, 0, VB_LOCKDOWN_SET);
	struct case_payload p = {.kind = CK_UNLOCK, .ver = 1};
	const struct lock_row *l;

	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	l = aset_lock(k.a, &s.lock);
	assert_true(l && l->on);
	p.id = kit_id(&k);
	assert_int_equal(kit_decide(&k, &p, 0, 0), GD_SAME_SIGNER);
	assert_true(aset_lock(k.a, &s.lock)->on);
	p.id = kit_id(&k);
	assert_int_equal(kit_decide(&k, &p, 0, 2), GD_OK);
	assert_false(aset_lock(k.a, &s.lock)->on);
	s = kit_stmt(&k, 1, VB_LOCKDOWN_SET);
	s.lock.scope = LOCK_MODEL;
	strcpy(s.lock.model, "no-such-model");
	assert_int_equal(kit_send(&k, 1, &s), GD_NOT_FOUND);
}

static void settings_change_only_from_the_version_they_were_made_for(void **st)
{
	struct case_payload p = {.kind = CK_SETTINGS, .ver = 1, .settings = k.gen.settings};

	p.id = kit_id(&k);
	p.settings.demo = false;
	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_PROFILE);
	p.settings.demo = true;
	p.settings.policy_sha256[0] = 9;
	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_OK);
	assert_int_equal(aset_settings(k.a)->ver, 2);
	assert_int_equal(aset_settings(k.a)->policy_sha256[0], 9);
	p.id = kit_id(&k);
	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_VERSION);
}

static int make_key(const struct id *case_id, const struct id *sub, struct err *err)
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct id key = kit_id(&k);
	uint8_t mac[32] = {5}, thumb[32] = {0};
	int rc;

	entry_key_create(case_id, &key, sub, mac, thumb, &k.boot, k.now, &b);
	rc = kit_put(&k, buf_span(&b), NULL, err);
	buf_free(&b);
	return rc < 0 ? rc : kit_settle(&k, err);
}

static void one_decided_case_makes_one_key(void **st)
{
	struct case_payload p = kit_onboard(&k);
	struct err err;

	assert_int_equal(kit_decide(&k, &p, 0, 1), GD_OK);
	assert_int_equal(make_key(&p.id, &p.subject.id, &err), E_OK);
	assert_int_equal(aset_subject(k.a, &p.subject.id)->state, SUB_V);
	assert_int_equal(make_key(&p.id, &p.subject.id, &err), E_CRYPTO);
}

static void a_quorum_of_three_needs_three(void **st)
{
	struct kit n;
	struct case_payload p;
	struct stmt s;

	kit_init(&n);
	n.gen.quorum = 3;
	buf_reset(&n.doc);
	genesis_write(&n.gen, &n.doc);
	sha256(buf_span(&n.doc), n.aud);
	kit_birth(&n);
	p = kit_onboard(&n);
	assert_int_equal(kit_decide(&n, &p, 0, 1), GD_OK);
	assert_null(aset_subject(n.a, &p.subject.id));
	s = kit_case_stmt(&n, 1, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&n, 1, &s), GD_SAME_SIGNER);
	s = kit_case_stmt(&n, 2, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&n, 2, &s), GD_OK);
	assert_non_null(aset_subject(n.a, &p.subject.id));
	kit_end(&n);
}

/* Refused and proposed again: earlier signatures are void. */
static void a_refused_proposal_starts_from_nothing(void **st)
{
	struct case_payload p = kit_onboard(&k);
	struct stmt s = kit_open_stmt(&k, 0, &p);

	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	for (int i = 0; i < 20; i++) {
		s = kit_case_stmt(&k, (unsigned)i % 2, VB_CASE_PROPOSE, &p.id);
		assert_int_equal(kit_send(&k, (unsigned)i % 2, &s), GD_OK);
		s = kit_case_stmt(&k, 2, VB_CASE_REFUSE, &p.id);
		s.why = WHY_EVIDENCE;
		assert_int_equal(kit_send(&k, 2, &s), GD_OK);
		s = kit_case_stmt(&k, 1, VB_CASE_SIGN, &p.id);
		assert_int_equal(kit_send(&k, 1, &s), GD_CASE_STATE);
	}
	assert_null(aset_subject(k.a, &p.subject.id));
	s = kit_case_stmt(&k, 2, VB_CASE_PROPOSE, &p.id);
	assert_int_equal(kit_send(&k, 2, &s), GD_OK);
	s = kit_case_stmt(&k, 0, VB_CASE_SIGN, &p.id);
	assert_int_equal(kit_send(&k, 0, &s), GD_OK);
	assert_non_null(aset_subject(k.a, &p.subject.id));
	s = kit_case_stmt(&k, 1, VB_CASE_WITHDRAW, &p.id);
	assert_int_equal(kit_send(&k, 1, &s), GD_CASE_STATE);
}

static json_t *vector(const char *name)
{
	const char *dir = getenv("SRCDIR");
	char path[512];
	json_t *o;

	snprintf(path, sizeof(path), "%s/tests/vectors/%s", dir ? dir : ".", name);
	o = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (o == NULL)
		fail_msg("cannot read %s", path);
	return o;
}

static void statements_made_by_other_tools_are_read_written_and_verified(void **st)
{
	json_t *v = vector("statement.json"), *one;
	uint8_t want[32];
	size_t i;

	assert_true(jx_hex(v, "case_digest", want, 32));
	json_array_foreach(json_object_get(v, "statements"), i, one)
	{
		struct span text = jx_str(one, "statement");
		struct buf b = BUF_INIT(CANON_MAX);
		uint8_t sig[STMT_SIG], pub[32], d[32];
		struct stmt s;
		struct err err;

		if (stmt_parse(text, &s, &err) < 0)
			fail_msg("%s: %s", json_string_value(json_object_get(one, "verb")),
				 err.text);
		assert_int_equal(stmt_write(&s, &b), E_OK);
		assert_true(span_eq(buf_span(&b), text));
		assert_true(jx_b64(one, "sig", sig, sizeof(sig)) && jx_hex(one, "pub", pub, 32));
		assert_true(stmt_verify(text, pub, sig));
		sig[5] ^= 1;
		assert_false(stmt_verify(text, pub, sig));
		if (s.verb == VB_CASE_OPEN) {
			case_digest(&s.payload, d);
			assert_memory_equal(d, want, 32);
		}
		buf_free(&b);
	}
	assert_true(i >= VB_COUNT);
	json_decref(v);
}

static void a_genesis_made_by_other_tools_is_read_and_written(void **st)
{
	json_t *v = vector("genesis.json");
	struct span doc = jx_str(v, "document");
	struct buf b = BUF_INIT(CANON_MAX);
	uint8_t digest[32], want[32];
	char words[GENESIS_WORDS], expect[GENESIS_WORDS] = "";
	struct genesis g;
	struct err err;

	if (genesis_parse(doc, &g, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(genesis_write(&g, &b), E_OK);
	assert_true(span_eq(buf_span(&b), doc));
	sha256(doc, digest);
	assert_true(jx_hex(v, "digest", want, 32));
	assert_memory_equal(digest, want, 32);
	genesis_words(digest, words);
	for (size_t i = 0; i < 8; i++) {
		json_t *ix = json_array_get(json_object_get(v, "word_indexes"), i);

		if (i)
			strcat(expect, " ");
		strcat(expect, genesis_word_list[json_integer_value(ix)]);
	}
	assert_string_equal(words, expect);
	for (int i = 0; i < 256; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(genesis_word_list[i], genesis_word_list[j]);
	buf_free(&b);
	json_decref(v);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(two_officers_make_a_subject),
	    T(one_officer_twice_is_refused),
	    T(one_key_under_two_names_is_no_genesis),
	    T(subject_and_sponsor_may_not_decide),
	    T(a_replayed_statement_is_refused),
	    T(another_deployment_or_officer_or_signature_is_refused),
	    T(an_altered_case_digest_is_refused),
	    T(bytes_that_are_not_exactly_a_statement_are_refused),
	    T(a_revoked_officer_signs_nothing_and_counts_for_nothing),
	    T(nothing_works_before_every_officer_confirmed),
	    T(an_old_proposal_goes_back_to_review),
	    T(stopping_needs_one_and_lifting_needs_two),
	    T(settings_change_only_from_the_version_they_were_made_for),
	    T(one_decided_case_makes_one_key),
	    T(a_quorum_of_three_needs_three),
	    T(a_refused_proposal_starts_from_nothing),
	    T(statements_made_by_other_tools_are_read_written_and_verified),
	    T(a_genesis_made_by_other_tools_is_read_and_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
