/* statement.c - see statement.h. */
#include "statement.h"

#include <sodium.h>

#define CONTEXT "sallyport/statement/v1\n"

static const char *const verb_names[] = {
#define X(n, t) t,
    VERBS(X)
#undef X
};
static const char *const why_names[] = {
#define X(n, t) t,
    WHYS(X)
#undef X
};

const char *verb_text(enum verb v)
{
	return (unsigned)v < VB_COUNT ? verb_names[v] : "?";
}

int verb_from(struct span s)
{
	for (int i = 0; i < VB_COUNT; i++)
		if (span_eq(s, span_cstr(verb_names[i])))
			return i;
	return -1;
}

const char *why_text(enum why w)
{
	return (unsigned)w < WHY_COUNT ? why_names[w] : "?";
}

int why_from(struct span s)
{
	for (int i = 0; i < WHY_COUNT; i++)
		if (span_eq(s, span_cstr(why_names[i])))
			return i;
	return -1;
}

/* Object member and id prefix of a verb's body; NULL = none. */
static const char *target_of(enum verb v, const char **prefix)
{
	switch (v) {
	case VB_CASE_PROPOSE:
	case VB_CASE_SIGN:
	case VB_CASE_REFUSE:
	case VB_CASE_WITHDRAW:
		*prefix = "cas";
		return "case";
	case VB_SUBJECT_SUSPEND:
		*prefix = "sub";
		return "subject";
	case VB_KEY_REVOKE:
		*prefix = "key";
		return "key";
	case VB_OFFICER_REVOKE:
		*prefix = "off";
		return "officer";
	default:
		*prefix = NULL;
		return NULL;
	}
}

static bool has_why(enum verb v)
{
	return v != VB_OFFICER_CONFIRM && v != VB_CASE_OPEN;
}

static bool body_parse(const json_t *b, struct stmt *s)
{
	const char *prefix, *member = target_of(s->verb, &prefix);
	struct span note = jx_str(b, "note");
	char names[48];
	int why;

	if (s->verb == VB_OFFICER_CONFIRM)
		return jx_members(b, "");
	if (s->verb == VB_CASE_OPEN) {
		if (!case_parse(b, &s->payload))
			return false;
		s->target = s->payload.id;
		return true;
	}
	why = jx_enum(b, "reason", why_from);
	s->has_note = note.n != 0;
	if (why < 0 || note.p == NULL || (note.n && !hex_decode(note, s->note, 32)))
		return false;
	s->why = (enum why)why;
	if (s->verb == VB_LOCKDOWN_SET)
		return jx_members(b, "note reason scope target") && lock_target_parse(b, &s->lock);
	snprintf(names, sizeof(names), "%s note reason", member);
	return jx_members(b, names) && jx_id(b, member, prefix, &s->target);
}

static bool is_case_verb(enum verb v)
{
	return v >= VB_CASE_OPEN && v <= VB_CASE_WITHDRAW;
}

static bool envelope_parse(const json_t *o, struct stmt *s)
{
	struct span cas = jx_str(o, "case");
	int verb = jx_enum(o, "verb", verb_from);
	int64_t v, ver;

	if (!jx_members(o, "alg aud body case kid nonce ts v ver verb") || verb < 0 ||
	    !span_eq(jx_str(o, "alg"), SPAN_LIT("ed25519")) || !jx_hex(o, "aud", s->aud, 32) ||
	    !jx_id(o, "kid", "off", &s->kid) || !jx_id(o, "nonce", "nce", &s->nonce) ||
	    !jx_int(o, "ts", 0, INT64_MAX, &s->ts) || !jx_int(o, "v", 1, 1, &v) ||
	    !jx_int(o, "ver", 0, UINT32_MAX, &ver) || cas.p == NULL)
		return false;
	s->verb = (enum verb)verb;
	s->ver = (uint32_t)ver;
	s->has_case = cas.n != 0;
	if (s->has_case != is_case_verb(s->verb))
		return false;
	return !s->has_case || hex_decode(cas, s->case_digest, 32);
}

int stmt_parse(struct span bytes, struct stmt *out, struct err *err)
{
	json_t *o;
	int rc = E_OK;

	if (bytes.n > STMT_MAX)
		return err_set(err, E_RANGE, "statement of %zu bytes, at most %u", bytes.n,
			       STMT_MAX);
	o = canon_parse(bytes, err);
	if (o == NULL)
		return E_FORMAT;
	memset(out, 0, sizeof(*out));
	if (!envelope_parse(o, out))
		rc = err_set(err, E_FORMAT, "statement without exactly its members");
	else if (!body_parse(json_object_get(o, "body"), out))
		rc = err_set(err, E_FORMAT, "body does not fit the verb %s", verb_text(out->verb));
	json_decref(o);
	return rc;
}

static void body_write(struct jsonw *w, const struct stmt *s)
{
	const char *prefix, *member = target_of(s->verb, &prefix);
	char t[ID_TEXT_MAX], note[2 * 32 + 1] = "";

	if (s->verb == VB_CASE_OPEN) {
		case_write(w, &s->payload);
		return;
	}
	jw_obj(w);
	if (s->has_note)
		sodium_bin2hex(note, sizeof(note), s->note, sizeof(s->note));
	/* members in order: case, key < note < officer < reason < scope, subject, target */
	if (member && strcmp(member, "note") < 0)
		jw_kcstr(w, member, id_fmt(prefix, &s->target, t));
	if (has_why(s->verb))
		jw_kcstr(w, "note", note);
	if (member && strcmp(member, "note") > 0 && strcmp(member, "reason") < 0)
		jw_kcstr(w, member, id_fmt(prefix, &s->target, t));
	if (has_why(s->verb))
		jw_kcstr(w, "reason", why_text(s->why));
	if (member && strcmp(member, "reason") > 0)
		jw_kcstr(w, member, id_fmt(prefix, &s->target, t));
	if (s->verb == VB_LOCKDOWN_SET)
		lock_target_write(w, &s->lock);
	jw_end_obj(w);
}

int stmt_write(const struct stmt *s, struct buf *out)
{
	struct jsonw w;
	char t[ID_TEXT_MAX];

	jw_init(&w, out);
	jw_obj(&w);
	jw_kcstr(&w, "alg", "ed25519");
	jw_khex(&w, "aud", s->aud, 32);
	jw_key(&w, "body");
	body_write(&w, s);
	jw_key(&w, "case");
	if (s->has_case)
		jw_hex(&w, s->case_digest, 32);
	else
		jw_cstr(&w, "");
	jw_kcstr(&w, "kid", id_fmt("off", &s->kid, t));
	jw_kcstr(&w, "nonce", id_fmt("nce", &s->nonce, t));
	jw_kint(&w, "ts", s->ts);
	jw_kint(&w, "v", 1);
	jw_kint(&w, "ver", s->ver);
	jw_kcstr(&w, "verb", verb_text(s->verb));
	jw_end_obj(&w);
	return buf_ok(out) ? E_OK : E_RANGE;
}

static void prefixed(struct span bytes, struct buf *b)
{
	buf_puts(b, CONTEXT);
	buf_span_put(b, bytes);
}

void stmt_sign(struct span bytes, const uint8_t sk[64], uint8_t sig[STMT_SIG])
{
	struct buf b = BUF_INIT(STMT_MAX + 64);

	prefixed(bytes, &b);
	crypto_sign_detached(sig, NULL, (const uint8_t *)b.p, b.n, sk);
	buf_free(&b);
}

bool stmt_verify(struct span bytes, const uint8_t pub[32], const uint8_t sig[STMT_SIG])
{
	struct buf b = BUF_INIT(STMT_MAX + 64);
	bool ok;

	prefixed(bytes, &b);
	ok = buf_ok(&b) && crypto_sign_verify_detached(sig, (const uint8_t *)b.p, b.n, pub) == 0;
	buf_free(&b);
	return ok;
}
