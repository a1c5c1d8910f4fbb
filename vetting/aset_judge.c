/* aset_judge.c - the guards: may this officer do this now? Order matters: the first guard that
 * fails is the one that is named. */
#include "aset_priv.h"

/* Officer who is the subject, and officer who vouches for it, of what a case is about. */
static void parties(const struct aset *a, const struct case_payload *p, struct id *is,
		    struct id *by)
{
	const struct subject_row *s = &p->subject;
	const struct key_row *k;

	memset(is, 0, sizeof(*is));
	memset(by, 0, sizeof(*by));
	if (p->kind == CK_QUOTA && p->quota.level == LV_KEY) {
		k = aset_key(a, &p->quota.id);
		s = k ? aset_subject(a, &k->sub) : NULL;
	} else if (p->kind == CK_QUOTA || p->kind == CK_UNLOCK) {
		s = aset_subject(a, p->kind == CK_QUOTA ? &p->quota.id : &p->lock.id);
	} else if (p->kind != CK_ONBOARD) {
		s = aset_subject(a, &p->subject.id);
	}
	if (s) {
		*is = s->officer;
		*by = s->sponsor;
	}
}

static enum guard onboard_check(const struct aset *a, const struct case_payload *p)
{
	const struct subject_row *s = &p->subject;

	if (aset_subject(a, &s->id))
		return GD_EXISTS;
	if (!id_is_zero(&s->officer) && !aset_officer(a, &s->officer))
		return GD_NOT_FOUND;
	if (!id_is_zero(&s->sponsor) && !aset_officer(a, &s->sponsor))
		return GD_NOT_FOUND;
	return GD_OK;
}

static enum guard subject_check(const struct aset *a, const struct case_payload *p)
{
	const struct subject_row *s = aset_subject(a, &p->subject.id);
	static const struct subject_facts none;
	bool ok;

	if (s == NULL)
		return GD_NOT_FOUND;
	if (s->ver != p->ver)
		return GD_VERSION;
	switch (p->kind) {
	case CK_CODE:
		ok = subject_next(s->state, SE_ENROL, none) >= 0;
		break;
	case CK_TIER:
		ok = s->state == SUB_A || s->state == SUB_V || s->state == SUB_D;
		break;
	case CK_REINSTATE:
		ok = subject_next(s->state, SE_REINSTATE, none) >= 0;
		break;
	default:
		ok = subject_next(s->state, SE_CLOSE, none) >= 0;
		break;
	}
	return ok ? GD_OK : GD_SUBJECT_STATE;
}

static enum guard quota_check(const struct aset *a, const struct case_payload *p)
{
	const struct quota_row *q = aset_quota(a, p->quota.level, &p->quota.id);

	if (p->quota.level == LV_KEY && !aset_key(a, &p->quota.id))
		return GD_NOT_FOUND;
	if (p->quota.level == LV_SUBJECT && !aset_subject(a, &p->quota.id))
		return GD_NOT_FOUND;
	return (q ? q->ver : 0) == p->ver ? GD_OK : GD_VERSION;
}

/* Does the thing a case is about still stand as the case assumes? */
static enum guard target_check(const struct aset *a, const struct case_payload *p)
{
	const struct lock_row *l;

	switch (p->kind) {
	case CK_ONBOARD:
		return onboard_check(a, p);
	case CK_QUOTA:
		return quota_check(a, p);
	case CK_SETTINGS:
		if (p->ver != a->settings.ver)
			return GD_VERSION;
		return p->settings.demo == a->settings.demo ? GD_OK : GD_PROFILE;
	case CK_UNLOCK:
		l = aset_lock(a, &p->lock);
		if (l == NULL)
			return GD_NOT_FOUND;
		if (l->ver != p->ver)
			return GD_VERSION;
		return l->on ? GD_OK : GD_OBJECT_STATE;
	default:
		return subject_check(a, p);
	}
}

static enum guard open_check(const struct aset *a, const struct stmt *s)
{
	uint8_t d[32];

	if (s->ver != 0)
		return GD_VERSION;
	if (aset_case(a, &s->target))
		return GD_EXISTS;
	case_digest(&s->payload, d);
	if (memcmp(d, s->case_digest, 32) != 0)
		return GD_DIGEST;
	return target_check(a, &s->payload);
}

static bool has_signed(const struct aset *a, const struct case_row *c, const struct stmt *s)
{
	const struct officer_row *me = aset_officer(a, &s->kid), *o;

	for (unsigned i = 0; i < c->n_signers; i++) {
		o = aset_officer(a, &c->signer[i]);
		if (id_eq(&c->signer[i], &s->kid) || (o && me && memcmp(o->pub, me->pub, 32) == 0))
			return true;
	}
	return false;
}

static enum guard case_check(const struct aset *a, const struct stmt *s, int64_t now)
{
	static const enum case_event event[VB_COUNT] = {[VB_CASE_PROPOSE] = CE_PROPOSE,
							[VB_CASE_SIGN] = CE_SIGN,
							[VB_CASE_REFUSE] = CE_REFUSE,
							[VB_CASE_WITHDRAW] = CE_WITHDRAW};
	const struct case_row *c = aset_case(a, &s->target);
	struct case_payload p;
	struct id is, by;

	if (c == NULL)
		return GD_NOT_FOUND;
	if (memcmp(c->digest, s->case_digest, 32) != 0)
		return GD_DIGEST;
	if (case_next(aset_case_state(c, now), event[s->verb], false) < 0)
		return GD_CASE_STATE;
	if (s->verb == VB_CASE_SIGN && has_signed(a, c, s))
		return GD_SAME_SIGNER;
	if (c->ver != s->ver)
		return GD_VERSION;
	if (s->verb == VB_CASE_REFUSE || s->verb == VB_CASE_WITHDRAW)
		return GD_OK;
	if (!aset_payload(c, &p))
		return GD_BODY;
	parties(a, &p, &is, &by);
	if (id_eq(&is, &s->kid))
		return GD_IS_SUBJECT;
	if (id_eq(&by, &s->kid))
		return GD_IS_SPONSOR;
	return target_check(a, &p);
}

static enum guard suspend_check(const struct aset *a, const struct stmt *s)
{
	const struct subject_row *r = aset_subject(a, &s->target);
	static const struct subject_facts none;

	if (r == NULL)
		return GD_NOT_FOUND;
	if (r->ver != s->ver)
		return GD_VERSION;
	return subject_next(r->state, SE_SUSPEND, none) >= 0 ? GD_OK : GD_SUBJECT_STATE;
}

static enum guard lock_check(const struct aset *a, const struct stmt *s)
{
	const struct lock_row *l = aset_lock(a, &s->lock);

	if (s->lock.scope == LOCK_SUBJECT && !aset_subject(a, &s->lock.id))
		return GD_NOT_FOUND;
	if (s->lock.scope == LOCK_MODEL) {
		unsigned i = 0;

		while (i < a->settings.n_models &&
		       strcmp(a->settings.model[i].name, s->lock.model) != 0)
			i++;
		if (i == a->settings.n_models)
			return GD_NOT_FOUND;
	}
	if (l && l->on)
		return GD_OBJECT_STATE;
	return (l ? l->ver : 0) == s->ver ? GD_OK : GD_VERSION;
}

static enum guard revoke_check(uint32_t ver, uint32_t expected, bool revoked)
{
	if (revoked)
		return GD_OBJECT_STATE;
	return ver == expected ? GD_OK : GD_VERSION;
}

enum guard aset_check(const struct aset *a, const struct stmt *s, int64_t now)
{
	const struct officer_row *o;
	const struct key_row *k;

	switch (s->verb) {
	case VB_OFFICER_CONFIRM:
		o = aset_officer(a, &s->kid);
		return o && o->ver == s->ver ? GD_OK : GD_VERSION;
	case VB_OFFICER_REVOKE:
		o = aset_officer(a, &s->target);
		return o ? revoke_check(o->ver, s->ver, o->state == OFF_REVOKED) : GD_NOT_FOUND;
	case VB_CASE_OPEN:
		return open_check(a, s);
	case VB_CASE_PROPOSE:
	case VB_CASE_SIGN:
	case VB_CASE_REFUSE:
	case VB_CASE_WITHDRAW:
		return case_check(a, s, now);
	case VB_SUBJECT_SUSPEND:
		return suspend_check(a, s);
	case VB_KEY_REVOKE:
		k = aset_key(a, &s->target);
		return k ? revoke_check(k->ver, s->ver, k->state == KEY_REVOKED) : GD_NOT_FOUND;
	case VB_LOCKDOWN_SET:
		return lock_check(a, s);
	default:
		return GD_FORM;
	}
}

enum guard aset_judge(const struct aset *a, struct span bytes, const uint8_t sig[STMT_SIG],
		      int64_t now, struct stmt *out, bool *recordable)
{
	const struct officer_row *o;
	struct err err;

	*recordable = false;
	if (stmt_parse(bytes, out, &err) < 0)
		return GD_FORM;
	o = aset_officer(a, &out->kid);
	if (o == NULL)
		return GD_KID;
	if (!stmt_verify(bytes, o->pub, sig))
		return GD_SIGNATURE;
	if (memcmp(out->aud, a->digest, 32) != 0)
		return GD_AUD;
	if (aset_nonce_used(a, &out->nonce))
		return GD_NONCE;
	*recordable = true;
	if (o->state == OFF_REVOKED)
		return GD_OFFICER_STATE;
	if (out->verb == VB_OFFICER_CONFIRM)
		return o->state == OFF_PENDING ? aset_check(a, out, now) : GD_OBJECT_STATE;
	if (o->state != OFF_ACTIVE)
		return GD_OFFICER_STATE;
	if (!aset_confirmed(a))
		return GD_GENESIS;
	return aset_check(a, out, now);
}

enum guard aset_code_check(const struct aset *a, const struct id *case_id, int64_t now)
{
	const struct case_row *c = aset_case(a, case_id);
	const struct subject_row *s = c ? aset_subject(a, &c->subject) : NULL;
	static const struct subject_facts none;

	if (c == NULL || s == NULL)
		return GD_NOT_FOUND;
	if ((c->kind != CK_ONBOARD && c->kind != CK_CODE) || c->state != CS_Z || c->code_used ||
	    now - c->decided >= CODE_LIFE_MS)
		return GD_CASE_STATE;
	return subject_next(s->state, SE_ENROL, none) >= 0 ? GD_OK : GD_SUBJECT_STATE;
}
