/* store_admin_read.c - what officers may read. Answers come from the authority set in memory, names
 * and words beside reasons from the sealed table. */
#include <stdlib.h>

#include "store_admin_int.h"

#define ANSWER_MAX (8u << 20)
#define PIECE 56000u

static struct jsonw *begin(struct store_admin *sa, struct buf *b, struct jsonw *w)
{
	jw_init(w, b);
	w->free_order = true;
	jw_obj(w);
	jw_kint(w, "schema_version", SCHEMA);
	jw_kbool(w, "demo", store_admin_demo(sa));
	return w;
}

void sa_reply(struct store_admin *sa, const struct id *req, struct buf *body)
{
	static const struct guard_info too_large = {
	    "too_large", 500, 1, "the answer is too large", "an officer", "ask for one object"};
	struct span s = buf_span(body);

	if (!buf_ok(body)) {
		sa_error(sa, req, &too_large);
		return;
	}
	while (s.n > PIECE) {
		sa->cb.reply(sa->cb.arg, req, 200, true, span_of(s.p, PIECE));
		s = span_from(s, PIECE);
	}
	sa->cb.reply(sa->cb.arg, req, 200, false, s);
}

void sa_error(struct store_admin *sa, const struct id *req, const struct guard_info *g)
{
	struct buf b = BUF_INIT(4096);
	struct jsonw w;

	begin(sa, &b, &w);
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kcstr(&w, "message", g->what);
	jw_kcstr(&w, "code", g->name);
	jw_kcstr(&w, "guard", g->name);
	jw_kcstr(&w, "who", g->who);
	jw_kcstr(&w, "command", g->command);
	jw_kint(&w, "exit", g->exit_code);
	jw_end_obj(&w);
	jw_end_obj(&w);
	sa->cb.reply(sa->cb.arg, req, (unsigned)g->http, false, buf_span(&b));
	buf_free(&b);
}

void sa_refuse(struct store_admin *sa, const struct id *req, enum guard g)
{
	sa_error(sa, req, guard_info(g));
}

static void put_id(struct jsonw *w, const char *key, const char *prefix, const struct id *i)
{
	char t[ID_TEXT_MAX];

	jw_kcstr(w, key, id_is_zero(i) ? "" : id_fmt(prefix, i, t));
}

/* Object of sealed party data, or NULL. */
static json_t *party_of(struct store_admin *sa, const uint8_t digest[32])
{
	struct buf b = BUF_INIT(CANON_MAX);
	json_t *o = NULL;

	if (db_sealed_get(sa->db, digest, &b) == E_OK && b.n > 32)
		o = canon_parse_any(span_of(b.p + 32, b.n - 32), NULL);
	buf_wipe_free(&b);
	return o;
}

static void put_party(struct store_admin *sa, struct jsonw *w, const uint8_t digest[32])
{
	static const char *const members[] = {"name", "org_name", "note"};
	json_t *o = party_of(sa, digest);

	for (int i = 0; i < 3; i++) {
		struct span s = jx_str(o, members[i]);

		jw_kstr(w, members[i], s.p ? s : SPAN_LIT(""));
	}
	json_decref(o);
}

struct note_ctx {
	struct store_admin *sa;
	struct jsonw *w;
};

static int one_note(void *arg, const struct note_row *r)
{
	struct note_ctx *c = arg;
	struct buf b = BUF_INIT(CANON_MAX);

	jw_obj(c->w);
	jw_kcstr(c->w, "verb", verb_text(r->verb));
	put_id(c->w, "officer", "off", &r->kid);
	jw_kint(c->w, "entry", (int64_t)r->entry);
	if (r->has_note && db_sealed_get(c->sa->db, r->note, &b) == E_OK && b.n >= 32)
		jw_kstr(c->w, "text", span_of(b.p + 32, b.n - 32));
	else
		jw_kcstr(c->w, "text", "");
	jw_end_obj(c->w);
	buf_wipe_free(&b);
	return 0;
}

static void case_boxes(struct store_admin *sa, struct jsonw *w, const struct case_row *c)
{
	struct code_row code;
	bool any = db_code_get(sa->db, &c->id, &code) == E_OK;

	jw_key(w, "code_boxes");
	jw_arr(w);
	for (int i = 0; any && i < 2; i++) {
		if (!(i ? code.has_b : code.has_a))
			continue;
		jw_obj(w);
		jw_kcstr(w, "half", i ? "B" : "A");
		put_id(w, "to", "off", i ? &code.to_b : &code.to_a);
		jw_key(w, "box");
		jw_b64(w, i ? code.box_b : code.box_a, CODE_BOX);
		jw_end_obj(w);
	}
	jw_end_arr(w);
	sodium_memzero(&code, sizeof(code));
}

/* The sealed text as the opener sent it, so that whoever signs can check the commitment. */
static void case_sealed(struct store_admin *sa, struct jsonw *w, const struct case_row *c)
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct case_payload p;

	jw_key(w, "sealed");
	if (aset_case_payload(c, &p) == E_OK && p.kind == CK_ONBOARD &&
	    db_sealed_get(sa->db, p.subject.party, &b) == E_OK) {
		jw_b64(w, b.p, b.n);
		put_party(sa, w, p.subject.party);
	} else {
		jw_null(w);
		jw_key(w, "name");
		jw_null(w);
	}
	buf_wipe_free(&b);
}

static const char *waits_for(const struct case_row *c)
{
	if (c->state == CS_W || c->state == CS_L)
		return "a proposal: sallyport case propose";
	if (c->state == CS_M)
		return "a signature of another officer: sallyport case sign";
	return "";
}

void sa_case_members(struct store_admin *sa, struct jsonw *w, const struct case_row *c)
{
	put_id(w, "id", "cas", &c->id);
	jw_kint(w, "num", c->num);
	jw_kcstr(w, "kind", case_kind_text(c->kind));
	jw_kcstr(w, "state", case_state_text(c->state));
	jw_kcstr(w, "state_word", case_state_word(c->state));
	jw_kint(w, "ver", c->ver);
	put_id(w, "subject", "sub", &c->subject);
	jw_kint(w, "opened", c->opened);
	jw_key(w, "signers");
	jw_arr(w);
	for (unsigned i = 0; i < c->n_signers; i++) {
		char t[ID_TEXT_MAX];

		jw_cstr(w, id_fmt("off", &c->signer[i], t));
	}
	jw_end_arr(w);
	jw_kcstr(w, "waits_for", waits_for(c));
}

static void case_full(struct store_admin *sa, struct jsonw *w, const struct case_row *c)
{
	struct note_ctx notes = {sa, w};

	sa_case_members(sa, w, c);
	jw_khex(w, "digest", c->digest, 32);
	jw_kstr(w, "body", c->body);
	put_id(w, "opener", "off", &c->opener);
	jw_kint(w, "proposed", c->proposed);
	jw_kint(w, "decided", c->decided);
	jw_kint(w, "needs", aset_genesis_doc(sa->a)->quorum);
	case_sealed(sa, w, c);
	jw_key(w, "notes");
	jw_arr(w);
	db_notes_each(sa->db, &c->id, one_note, &notes);
	jw_end_arr(w);
	case_boxes(sa, w, c);
}

const struct case_row *sa_find_case(const struct store_admin *sa, struct span t)
{
	char num[16];
	struct id id;

	if (id_parse("cas", t, &id))
		return aset_case(sa->a, &id);
	if (span_starts(t, SPAN_LIT("C-")) || span_starts(t, SPAN_LIT("c-")))
		t = span_from(t, 2);
	if (t.n == 0 || t.n > 9 || strspn(t.p, "0123456789") < t.n)
		return NULL;
	memcpy(num, t.p, t.n);
	num[t.n] = '\0';
	return aset_case_num(sa->a, (unsigned)strtoul(num, NULL, 10));
}

struct list_ctx {
	struct store_admin *sa;
	struct jsonw *w;
	bool open_only;
	struct id sub; /* zero = all */
};

static int list_case(void *arg, const struct case_row *c)
{
	struct list_ctx *l = arg;

	if (l->open_only && (c->state == CS_Z || c->state == CS_T))
		return 0;
	if (!id_is_zero(&l->sub) && !id_eq(&l->sub, &c->subject))
		return 0;
	jw_obj(l->w);
	sa_case_members(l->sa, l->w, c);
	if (l->open_only)
		jw_kcstr(l->w, "you_may", c->state == CS_M ? "sign, refuse" : "propose");
	jw_end_obj(l->w);
	return 0;
}

static int list_key(void *arg, const struct key_row *k)
{
	struct list_ctx *l = arg;

	if (!id_is_zero(&l->sub) && !id_eq(&l->sub, &k->sub))
		return 0;
	jw_obj(l->w);
	put_id(l->w, "id", "key", &k->id);
	put_id(l->w, "subject", "sub", &k->sub);
	jw_kcstr(l->w, "state", key_state_text(k->state));
	jw_kcstr(l->w, "binding", binding_text(k->binding));
	jw_kint(l->w, "expires", k->expires);
	jw_kint(l->w, "ver", k->ver);
	jw_kint(l->w, "created_entry", (int64_t)k->entry);
	jw_end_obj(l->w);
	return 0;
}

static void subject_members(struct store_admin *sa, struct jsonw *w, const struct subject_row *s)
{
	put_id(w, "id", "sub", &s->id);
	jw_kcstr(w, "state", subject_state_text(s->state));
	jw_kcstr(w, "state_word", subject_state_word(s->state));
	jw_kint(w, "tier", s->tier);
	jw_kcstr(w, "kind", subject_kind_text(s->kind));
	put_id(w, "org", "org", &s->org);
	put_id(w, "officer", "off", &s->officer);
	put_id(w, "sponsor", "off", &s->sponsor);
	jw_kint(w, "expires", s->expires);
	jw_kint(w, "ver", s->ver);
	jw_kint(w, "entry", (int64_t)s->entry);
	put_party(sa, w, s->party);
}

static int list_subject(void *arg, const struct subject_row *s)
{
	struct list_ctx *l = arg;

	jw_obj(l->w);
	subject_members(l->sa, l->w, s);
	jw_end_obj(l->w);
	return 0;
}

static int list_lock(void *arg, const struct lock_row *k)
{
	struct list_ctx *l = arg;

	jw_obj(l->w);
	lock_target_write(l->w, k);
	jw_kbool(l->w, "on", k->on);
	jw_kint(l->w, "ver", k->ver);
	jw_end_obj(l->w);
	return 0;
}

static void put_digest(struct store_admin *sa, struct jsonw *w)
{
	char words[GENESIS_WORDS] = "";
	uint8_t digest[32] = {0};

	if (aset_genesis(sa->a, digest))
		genesis_words(digest, words);
	jw_khex(w, "digest", digest, 32);
	jw_kcstr(w, "words", words);
	jw_kbool(w, "confirmed", store_admin_confirmed(sa));
}

static void read_officers(struct store_admin *sa, struct jsonw *w)
{
	const struct officer_row *o;

	put_digest(sa, w);
	jw_key(w, "officers");
	jw_arr(w);
	for (unsigned i = 0; (o = aset_officer_at(sa->a, i)); i++) {
		jw_obj(w);
		put_id(w, "id", "off", &o->id);
		jw_kcstr(w, "state", officer_state_text(o->state));
		jw_kbool(w, "confirmed", o->state == OFF_ACTIVE);
		jw_khex(w, "pub", o->pub, 32);
		jw_kint(w, "ver", o->ver);
		jw_end_obj(w);
	}
	jw_end_arr(w);
}

static enum guard read_nonce(struct store_admin *sa, struct jsonw *w)
{
	int64_t now = sa->cb.now(sa->cb.arg);
	char words[GENESIS_WORDS];
	uint8_t digest[32];
	struct id n;

	if (!aset_genesis(sa->a, digest))
		return GD_STARTING;
	sa->cb.random(sa->cb.arg, n.b, ID_BYTES);
	if (db_nonce_put(sa->db, &n, now + NONCE_LIFE_MS, now) < 0)
		return GD_NONCE;
	genesis_words(digest, words);
	put_id(w, "nonce", "nce", &n);
	jw_kint(w, "ts", now);
	jw_kint(w, "expires", now + NONCE_LIFE_MS);
	jw_khex(w, "aud", digest, 32);
	jw_kcstr(w, "profile", profile_text(aset_genesis_doc(sa->a)->profile));
	jw_kcstr(w, "words", words);
	jw_kbool(w, "confirmed", aset_confirmed(sa->a));
	return GD_OK;
}

static enum guard read_genesis(struct store_admin *sa, struct jsonw *w)
{
	if (!aset_genesis(sa->a, NULL))
		return GD_STARTING;
	put_digest(sa, w);
	jw_kstr(w, "document", aset_genesis_bytes(sa->a));
	return GD_OK;
}

static enum guard read_subject(struct store_admin *sa, struct jsonw *w, struct span id)
{
	struct list_ctx l = {.sa = sa, .w = w};
	const struct subject_row *s = NULL;

	if (id_parse("sub", id, &l.sub))
		s = aset_subject(sa->a, &l.sub);
	if (s == NULL)
		return GD_NOT_FOUND;
	subject_members(sa, w, s);
	jw_key(w, "keys");
	jw_arr(w);
	aset_each_key(sa->a, list_key, &l);
	jw_end_arr(w);
	jw_key(w, "cases");
	jw_arr(w);
	aset_each_case(sa->a, list_case, &l);
	jw_end_arr(w);
	return GD_OK;
}

static enum guard read_case(struct store_admin *sa, struct jsonw *w, struct span id)
{
	const struct case_row *c = sa_find_case(sa, id);

	if (c == NULL)
		return GD_NOT_FOUND;
	case_full(sa, w, c);
	return GD_OK;
}

static enum guard read_settings(struct store_admin *sa, struct jsonw *w)
{
	struct list_ctx l = {.sa = sa, .w = w};

	if (aset_settings(sa->a) == NULL)
		return GD_STARTING;
	jw_kint(w, "ver", aset_settings(sa->a)->ver);
	jw_kint(w, "entry", (int64_t)aset_settings_entry(sa->a));
	jw_key(w, "settings");
	settings_write(w, aset_settings(sa->a));
	jw_key(w, "lockdowns");
	jw_arr(w);
	aset_each_lock(sa->a, list_lock, &l);
	jw_end_arr(w);
	return GD_OK;
}

static enum guard read_verb(struct store_admin *sa, unsigned verb, struct span id, struct jsonw *w)
{
	struct list_ctx l = {.sa = sa, .w = w, .open_only = verb == AV_QUEUE};

	switch (verb) {
	case AV_NONCE:
		return read_nonce(sa, w);
	case AV_GENESIS:
		return read_genesis(sa, w);
	case AV_OFFICER_LS:
		read_officers(sa, w);
		return GD_OK;
	case AV_SETTINGS_SHOW:
		return read_settings(sa, w);
	case AV_SUBJECT_SHOW:
		return read_subject(sa, w, id);
	case AV_CASE_SHOW:
		return read_case(sa, w, id);
	case AV_QUOTA_SHOW:
	case AV_QUOTA_EXPLAIN:
		return sa_read_quota(sa, w, id, verb == AV_QUOTA_EXPLAIN);
	case AV_SUBJECT_LS:
		jw_key(w, "subjects");
		jw_arr(w);
		aset_each_subject(sa->a, list_subject, &l);
		break;
	case AV_KEY_LS:
		jw_key(w, "keys");
		jw_arr(w);
		aset_each_key(sa->a, list_key, &l);
		break;
	case AV_QUEUE:
	case AV_CASE_LS:
		jw_key(w, "cases");
		jw_arr(w);
		aset_each_case(sa->a, list_case, &l);
		break;
	default:
		return GD_NOT_FOUND;
	}
	jw_end_arr(w);
	return GD_OK;
}

void sa_read(struct store_admin *sa, const struct msg_ADMREQ *m)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	json_t *o = m->body.n ? canon_parse_any(m->body, NULL) : NULL;
	struct span id = jx_str(o, "id");
	struct jsonw w;
	enum guard g;

	begin(sa, &b, &w);
	g = read_verb(sa, m->verb, id, &w);
	if (g == GD_OK) {
		jw_end_obj(&w);
		sa_reply(sa, &m->req, &b);
	} else {
		sa_refuse(sa, &m->req, g);
	}
	json_decref(o);
	buf_wipe_free(&b);
}
