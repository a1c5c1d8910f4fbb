/* aset_feed.c - the fold: what each committed entry does to the authority set. */
#include <sodium.h>
#include <stdlib.h>

#include "aset_priv.h"
#include "hash.h"

static struct owed *owe(struct aset *a, enum auth_kind kind, const uint64_t *by, unsigned n)
{
	struct owed *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	o->kind = kind;
	memcpy(o->by, by, n * sizeof(*by));
	o->n_by = n;
	*a->owed_tail = o;
	a->owed_tail = &o->next;
	return o;
}

static int feed_genesis(struct aset *a, uint64_t index, const json_t *e, struct fed *fed,
			struct err *err)
{
	int rc;

	if (a->born || index != 0)
		return err_set(err, E_CRYPTO, "a genesis that is not the first entry");
	rc = canon_write(&a->doc, json_object_get(e, "doc"));
	if (rc == E_OK)
		rc = genesis_parse(buf_span(&a->doc), &a->gen, err);
	if (rc < 0)
		return err_set(err, E_CRYPTO, "the genesis document is malformed");
	sha256(buf_span(&a->doc), a->digest);
	a->n_officers = a->gen.n_officers;
	for (unsigned i = 0; i < a->n_officers; i++) {
		struct officer_row *o = &a->officer[i];

		o->id = a->gen.officer[i].id;
		memcpy(o->pub, a->gen.officer[i].pub, 32);
		o->state = OFF_PENDING;
		o->ver = 1;
	}
	a->settings = a->gen.settings;
	a->born = true;
	fed->what = FED_GENESIS;
	return E_OK;
}

static int burn_nonce(struct aset *a, const struct id *n)
{
	struct a_nonce *e;

	if (aset_nonce_used(a, n))
		return E_OK;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return E_NOMEM;
	e->id = *n;
	HASH_ADD(hh, a->nonces, id, sizeof(e->id), e);
	return E_OK;
}

static struct span dup_span(struct span s)
{
	char *p = malloc(s.n ? s.n : 1);

	if (p)
		memcpy(p, s.p, s.n);
	return span_of(p, p ? s.n : 0);
}

static int open_case(struct aset *a, uint64_t index, const struct stmt *s, int64_t ts)
{
	struct a_case *c = calloc(1, sizeof(*c));
	struct buf b = BUF_INIT(CANON_MAX);
	struct jsonw w;

	if (c == NULL)
		return E_NOMEM;
	jw_init(&w, &b);
	case_write(&w, &s->payload);
	c->r.body = dup_span(buf_span(&b));
	buf_free(&b);
	c->r.id = s->target;
	c->r.num = ++a->n_cases;
	c->r.kind = s->payload.kind;
	/* No list is configured in this version, so screening has nothing to match and passes. */
	c->r.state = (enum case_state)case_next(CS_O, CE_SUBMIT, false);
	c->r.state = (enum case_state)case_next(c->r.state, CE_START, false);
	c->r.state = (enum case_state)case_next(c->r.state, CE_SCREENED, false);
	c->r.ver = 1;
	memcpy(c->r.digest, s->case_digest, 32);
	c->r.subject = s->payload.subject.id;
	if (s->payload.kind == CK_QUOTA && s->payload.quota.level == LV_SUBJECT)
		c->r.subject = s->payload.quota.id;
	c->r.opener = s->kid;
	c->r.opened = ts;
	c->r.by[0] = index;
	c->r.n_by = 1;
	HASH_ADD(hh, a->cases, r.id, sizeof(c->r.id), c);
	return c->r.body.p ? E_OK : E_NOMEM;
}

static int owe_subject(struct aset *a, const struct subject_row *r, const uint64_t *by, unsigned n)
{
	struct owed *o = owe(a, AK_SUBJECT, by, n);

	if (o == NULL)
		return E_NOMEM;
	o->u.subject = *r;
	o->u.subject.ver++;
	return E_OK;
}

/* What a decided case makes. */
static int owe_decision(struct aset *a, const struct case_row *c, int64_t ts)
{
	struct case_payload p;
	struct subject_row r;
	const struct subject_row *now;
	const struct lock_row *l;
	struct owed *o;
	static const struct subject_facts none;

	if (!aset_payload(c, &p))
		return E_BUG;
	if (c->kind == CK_ONBOARD) {
		r = p.subject;
		r.state = (enum subject_state)subject_next(
		    (enum subject_state)subject_next(SUB_N, SE_SUBMIT, none), SE_ONBOARD, none);
		r.ver = 0;
		return owe_subject(a, &r, c->by, c->n_by);
	}
	if (c->kind == CK_CODE)
		return E_OK;
	if (c->kind == CK_QUOTA || c->kind == CK_SETTINGS || c->kind == CK_UNLOCK) {
		o = owe(a,
			c->kind == CK_QUOTA	 ? AK_QUOTA
			: c->kind == CK_SETTINGS ? AK_SETTINGS
						 : AK_LOCKDOWN,
			c->by, c->n_by);
		if (o == NULL)
			return E_NOMEM;
		if (c->kind == CK_QUOTA) {
			o->u.quota = p.quota;
			o->u.quota.ver = p.ver + 1;
		} else if (c->kind == CK_SETTINGS) {
			o->u.settings = p.settings;
			o->u.settings.ver = p.ver + 1;
		} else {
			l = aset_lock(a, &p.lock);
			o->u.lock = *l;
			o->u.lock.on = false;
			o->u.lock.ver = l->ver + 1;
		}
		return E_OK;
	}
	now = aset_subject(a, &p.subject.id);
	r = *now;
	if (c->kind == CK_TIER)
		r.tier = p.subject.tier;
	else
		r.state = (enum subject_state)subject_next(
		    r.state, c->kind == CK_CLOSE ? SE_CLOSE : SE_REINSTATE,
		    aset_facts(a, &r.id, ts));
	return owe_subject(a, &r, c->by, c->n_by);
}

static int case_event_apply(struct aset *a, uint64_t index, const struct stmt *s, int64_t ts,
			    struct fed *fed)
{
	struct case_row *c = (struct case_row *)(uintptr_t)aset_case(a, &s->target);
	enum case_state before = aset_case_state(c, ts);
	bool quorum;

	c->ver++;
	switch (s->verb) {
	case VB_CASE_PROPOSE:
		c->state = (enum case_state)case_next(before, CE_PROPOSE, false);
		c->proposed = ts;
		c->signer[0] = s->kid;
		c->n_signers = 1;
		c->by[1] = index;
		c->n_by = 2;
		return E_OK;
	case VB_CASE_SIGN:
		quorum = aset_signers(a, c) + 1 >= a->gen.quorum;
		if (c->n_signers >= BY_MAX || c->n_by >= BY_MAX)
			return E_RANGE;
		c->signer[c->n_signers++] = s->kid;
		c->by[c->n_by++] = index;
		c->state = (enum case_state)case_next(before, CE_SIGN, quorum);
		if (!quorum)
			return E_OK;
		c->decided = ts;
		fed->decided = true;
		return owe_decision(a, c, ts);
	case VB_CASE_REFUSE:
		c->state = (enum case_state)case_next(before, CE_REFUSE, false);
		c->n_signers = 0;
		c->n_by = 1;
		return E_OK;
	default:
		c->state = (enum case_state)case_next(before, CE_WITHDRAW, false);
		return E_OK;
	}
}

static int apply_one(struct aset *a, uint64_t index, const struct stmt *s)
{
	static const struct subject_facts none;
	const struct lock_row *l;
	struct subject_row r;
	struct owed *o;

	if (s->verb == VB_SUBJECT_SUSPEND) {
		r = *aset_subject(a, &s->target);
		r.state = (enum subject_state)subject_next(r.state, SE_SUSPEND, none);
		return owe_subject(a, &r, &index, 1);
	}
	o = owe(a,
		s->verb == VB_KEY_REVOKE     ? AK_KEY
		: s->verb == VB_LOCKDOWN_SET ? AK_LOCKDOWN
					     : AK_OFFICER,
		&index, 1);
	if (o == NULL)
		return E_NOMEM;
	if (s->verb == VB_KEY_REVOKE) {
		o->u.key = *aset_key(a, &s->target);
		o->u.key.state = KEY_REVOKED;
		o->u.key.ver++;
	} else if (s->verb == VB_LOCKDOWN_SET) {
		l = aset_lock(a, &s->lock);
		o->u.lock = s->lock;
		o->u.lock.on = true;
		o->u.lock.ver = (l ? l->ver : 0) + 1;
	} else {
		o->u.officer =
		    *aset_officer(a, s->verb == VB_OFFICER_CONFIRM ? &s->kid : &s->target);
		o->u.officer.state = s->verb == VB_OFFICER_CONFIRM ? OFF_ACTIVE : OFF_REVOKED;
		o->u.officer.ver++;
	}
	return E_OK;
}

static int feed_statement(struct aset *a, uint64_t index, const json_t *e, int64_t ts,
			  struct fed *fed, struct err *err)
{
	struct span bytes = jx_str(e, "statement"), result = jx_str(e, "result");
	uint8_t sig[STMT_SIG];
	bool recordable, ok = span_eq(result, SPAN_LIT("ok"));
	enum guard g;
	int rc;

	if (!a->born || !jx_members(e, "boot case kid result sig statement t ts v") ||
	    !jx_b64(e, "sig", sig, sizeof(sig)))
		return err_set(err, E_CRYPTO, "malformed statement entry");
	g = aset_judge(a, bytes, sig, ts, &fed->stmt, &recordable);
	if (!recordable)
		return err_set(err, E_CRYPTO, "a statement that does not verify (%s)",
			       guard_info(g)->name);
	if (ok && (g != GD_OK || a->owed))
		return err_set(err, E_CRYPTO, "statement stands as ok but guard %s refuses it",
			       g != GD_OK ? guard_info(g)->name : "owed");
	if (burn_nonce(a, &fed->stmt.nonce) < 0)
		return err_set(err, E_NOMEM, "no memory");
	fed->what = ok ? FED_STATEMENT : FED_REFUSED;
	if (fed->stmt.has_case)
		fed->case_id = fed->stmt.target;
	if (!ok)
		return E_OK;
	if (fed->stmt.verb == VB_CASE_OPEN)
		rc = open_case(a, index, &fed->stmt, ts);
	else if (fed->stmt.has_case)
		rc = case_event_apply(a, index, &fed->stmt, ts, fed);
	else
		rc = apply_one(a, index, &fed->stmt);
	return rc < 0 ? err_set(err, rc, "statement cannot be applied") : E_OK;
}

static int feed_key(struct aset *a, const json_t *e, int64_t ts, struct fed *fed, struct err *err)
{
	struct case_payload p;
	struct case_row *c;
	struct subject_row s;
	struct owed *o;
	struct id code, key, sub;
	uint8_t mac[32], thumb[32] = {0};
	struct span t = jx_str(e, "thumb");

	if (!a->born || !jx_members(e, "boot code key mac sub t thumb ts v") ||
	    !jx_id(e, "code", "cas", &code) || !jx_id(e, "key", "key", &key) ||
	    !jx_id(e, "sub", "sub", &sub) || !jx_hex(e, "mac", mac, 32) || t.p == NULL ||
	    (t.n && !hex_decode(t, thumb, 32)))
		return err_set(err, E_CRYPTO, "malformed key.create");
	c = (struct case_row *)(uintptr_t)aset_case(a, &code);
	if (a->owed || aset_code_check(a, &code, ts) != GD_OK || !id_eq(&c->subject, &sub) ||
	    aset_key(a, &key) || !aset_payload(c, &p) || (p.binding == BIND_CERT) != (t.n != 0))
		return err_set(err, E_CRYPTO, "a key that no decided case allows");
	c->code_used = true;
	s = *aset_subject(a, &sub);
	o = owe(a, AK_KEY, c->by, c->n_by);
	if (o == NULL)
		return err_set(err, E_NOMEM, "no memory");
	o->u.key = (struct key_row){.id = key,
				    .sub = sub,
				    .code = code,
				    .state = KEY_ACTIVE,
				    .binding = p.binding,
				    .expires = s.expires,
				    .ver = 1};
	memcpy(o->u.key.mac, mac, 32);
	memcpy(o->u.key.thumb, thumb, 32);
	fed->what = FED_KEY;
	fed->case_id = code;
	if (s.state != SUB_A)
		return E_OK;
	s.state = SUB_V;
	return owe_subject(a, &s, c->by, c->n_by);
}

static int feed_authority(struct aset *a, uint64_t index, struct span entry, const json_t *e,
			  int64_t ts, struct fed *fed, struct err *err)
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct owed *o = a->owed;
	struct id boot;
	bool same;
	int rc;

	if (o == NULL || !jx_id(e, "boot", "bot", &boot))
		return err_set(err, E_CRYPTO, "an authority row that no statement made");
	rc = aset_owed_entry(o, &boot, ts, a, &b);
	same = rc == E_OK && span_eq(buf_span(&b), entry);
	buf_free(&b);
	if (!same)
		return err_set(err, E_CRYPTO, "an authority row that differs from what was signed");
	a->owed = o->next;
	if (a->owed == NULL)
		a->owed_tail = &a->owed;
	rc = aset_keep(a, index, o);
	o->next = NULL;
	fed->what = FED_AUTHORITY;
	fed->row = *o;
	free(o);
	return rc < 0 ? err_set(err, rc, "no memory") : E_OK;
}

bool aset_cares(struct span entry)
{
	static const char *const types[] = {"genesis\"", "statement\"", "authority\"",
					    "key.create\""};
	static const char mark[] = "\"t\":\"";
	struct span s = entry;
	const char *at;

	/* Inside a JSON string the quotes would be escaped, so the mark only meets a member. */
	while (s.n && (at = memmem(s.p, s.n, mark, sizeof(mark) - 1))) {
		s = span_from(s, (size_t)(at - s.p) + sizeof(mark) - 1);
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			if (span_starts(s, span_cstr(types[i])))
				return true;
	}
	return false;
}

int aset_feed(struct aset *a, uint64_t index, struct span entry, struct fed *fed, struct err *err)
{
	struct fed own;
	struct span t;
	json_t *e;
	int64_t ts;
	int rc = E_OK;

	fed = fed ? fed : &own;
	fed->what = FED_NONE;
	if (index != a->next)
		return err_set(err, E_CRYPTO, "entry %llu where %llu is next",
			       (unsigned long long)index, (unsigned long long)a->next);
	a->next++;
	if (!aset_cares(entry))
		return E_OK;
	memset(fed, 0, sizeof(*fed));
	e = canon_parse_any(entry, err);
	if (e == NULL) {
		err_prefix(err, "entry %llu", (unsigned long long)index);
		return E_CRYPTO;
	}
	t = jx_str(e, "t");
	if (!jx_int(e, "ts", 0, INT64_MAX, &ts))
		rc = err_set(err, E_CRYPTO, "no time");
	else if (span_eq(t, SPAN_LIT("genesis")))
		rc = feed_genesis(a, index, e, fed, err);
	else if (span_eq(t, SPAN_LIT("statement")))
		rc = feed_statement(a, index, e, ts, fed, err);
	else if (span_eq(t, SPAN_LIT("key.create")))
		rc = feed_key(a, e, ts, fed, err);
	else if (span_eq(t, SPAN_LIT("authority")))
		rc = feed_authority(a, index, entry, e, ts, fed, err);
	json_decref(e);
	if (rc < 0)
		err_prefix(err, "entry %llu", (unsigned long long)index);
	return rc;
}
