/* case.c - cases as canonical JSON; see settings.h. */
#include <sodium.h>

#include "hash.h"
#include "settings.h"

static const char *const kind_names[] = {
#define X(n, t) t,
    CASE_KINDS(X)
#undef X
};

const char *case_kind_text(enum case_kind k)
{
	return (unsigned)k < CK_COUNT ? kind_names[k] : "?";
}

int case_kind_from(struct span s)
{
	for (int i = 0; i < CK_COUNT; i++)
		if (span_eq(s, span_cstr(kind_names[i])))
			return i;
	return -1;
}

static bool onboard_parse(const json_t *o, struct case_payload *p)
{
	struct subject_row *s = &p->subject;
	int kind = jx_enum(o, "kind", subject_kind_from),
	    bind = jx_enum(o, "binding", binding_from);
	int64_t tier;

	if (!jx_members(o, "binding expires kind officer org party sponsor subject tier ver") ||
	    kind < 0 || bind < 0 || !jx_int(o, "expires", 0, INT64_MAX, &s->expires) ||
	    !jx_id_opt(o, "officer", "off", &s->officer) || !jx_id(o, "org", "org", &s->org) ||
	    !jx_hex(o, "party", s->party, 32) || !jx_id_opt(o, "sponsor", "off", &s->sponsor) ||
	    !jx_id(o, "subject", "sub", &s->id) || !jx_int(o, "tier", 0, TIER_COUNT - 1, &tier) ||
	    p->ver != 0)
		return false;
	s->kind = (enum subject_kind)kind;
	s->tier = (uint8_t)tier;
	p->binding = (enum binding)bind;
	return true;
}

static bool quota_parse(const json_t *o, struct case_payload *p)
{
	static const char *const prefix[] = {"key", "sub", "org"};
	int lv = jx_enum(o, "level", level_from);

	p->quota.level = (enum level)lv;
	return lv >= 0 && jx_members(o, "level limits target ver") &&
	       jx_id(o, "target", prefix[lv], &p->quota.id) &&
	       limits_parse(json_object_get(o, "limits"), &p->quota.lim);
}

static bool payload_parse(const json_t *o, struct case_payload *p)
{
	int64_t tier;
	int bind;

	switch (p->kind) {
	case CK_ONBOARD:
		return onboard_parse(o, p);
	case CK_CODE:
		bind = jx_enum(o, "binding", binding_from);
		p->binding = (enum binding)bind;
		return bind >= 0 && jx_members(o, "binding subject ver") &&
		       jx_id(o, "subject", "sub", &p->subject.id);
	case CK_TIER:
		if (!jx_members(o, "subject tier ver") ||
		    !jx_id(o, "subject", "sub", &p->subject.id) ||
		    !jx_int(o, "tier", 0, TIER_COUNT - 1, &tier))
			return false;
		p->subject.tier = (uint8_t)tier;
		return true;
	case CK_QUOTA:
		return quota_parse(o, p);
	case CK_SETTINGS:
		return jx_members(o, "settings ver") &&
		       settings_parse(json_object_get(o, "settings"), &p->settings);
	case CK_UNLOCK:
		return jx_members(o, "scope target ver") && lock_target_parse(o, &p->lock);
	case CK_REINSTATE:
	case CK_CLOSE:
		return jx_members(o, "subject ver") && jx_id(o, "subject", "sub", &p->subject.id);
	default:
		return false;
	}
}

bool lock_target_parse(const json_t *o, struct lock_row *l)
{
	int scope = jx_enum(o, "scope", lock_scope_from);
	struct span t = jx_str(o, "target");

	if (scope < 0 || t.p == NULL)
		return false;
	memset(l, 0, sizeof(*l));
	l->scope = (enum lock_scope)scope;
	switch (l->scope) {
	case LOCK_ALL:
		return t.n == 0;
	case LOCK_SUBJECT:
		return jx_id(o, "target", "sub", &l->id);
	case LOCK_ORG:
		return jx_id(o, "target", "org", &l->id);
	case LOCK_MODEL:
		if (!model_name_ok(t))
			return false;
		memcpy(l->model, t.p, t.n);
		return true;
	}
	return false;
}

void lock_target_write(struct jsonw *w, const struct lock_row *l)
{
	jw_kcstr(w, "scope", lock_scope_text(l->scope));
	jw_key(w, "target");
	lock_target_text(w, l);
}

void lock_target_text(struct jsonw *w, const struct lock_row *l)
{
	char t[ID_TEXT_MAX];

	if (l->scope == LOCK_MODEL)
		jw_cstr(w, l->model);
	else if (l->scope == LOCK_ALL)
		jw_cstr(w, "");
	else
		jw_cstr(w, id_fmt(l->scope == LOCK_ORG ? "org" : "sub", &l->id, t));
}

bool case_parse(const json_t *o, struct case_payload *out)
{
	const json_t *payload = json_object_get(o, "payload");
	int kind = jx_enum(o, "kind", case_kind_from);
	int64_t ver;

	memset(out, 0, sizeof(*out));
	if (!jx_members(o, "case kind payload") || kind < 0 || !jx_id(o, "case", "cas", &out->id) ||
	    !jx_int(payload, "ver", 0, UINT32_MAX, &ver))
		return false;
	out->kind = (enum case_kind)kind;
	out->ver = (uint32_t)ver;
	return payload_parse(payload, out);
}

static void put_id(struct jsonw *w, const char *key, const char *prefix, const struct id *i)
{
	char t[ID_TEXT_MAX];

	jw_kcstr(w, key, id_is_zero(i) ? "" : id_fmt(prefix, i, t));
}

void case_payload_write(struct jsonw *w, const struct case_payload *p)
{
	static const char *const prefix[] = {"key", "sub", "org"};
	const struct subject_row *s = &p->subject;

	jw_obj(w);
	switch (p->kind) {
	case CK_ONBOARD:
		jw_kcstr(w, "binding", binding_text(p->binding));
		jw_kint(w, "expires", s->expires);
		jw_kcstr(w, "kind", subject_kind_text(s->kind));
		put_id(w, "officer", "off", &s->officer);
		put_id(w, "org", "org", &s->org);
		jw_khex(w, "party", s->party, 32);
		put_id(w, "sponsor", "off", &s->sponsor);
		put_id(w, "subject", "sub", &s->id);
		jw_kint(w, "tier", s->tier);
		break;
	case CK_CODE:
		jw_kcstr(w, "binding", binding_text(p->binding));
		put_id(w, "subject", "sub", &s->id);
		break;
	case CK_TIER:
		put_id(w, "subject", "sub", &s->id);
		jw_kint(w, "tier", s->tier);
		break;
	case CK_QUOTA:
		jw_kcstr(w, "level", level_text(p->quota.level));
		jw_key(w, "limits");
		limits_write(w, &p->quota.lim);
		put_id(w, "target", prefix[p->quota.level], &p->quota.id);
		break;
	case CK_SETTINGS:
		jw_key(w, "settings");
		settings_write(w, &p->settings);
		break;
	case CK_UNLOCK:
		lock_target_write(w, &p->lock);
		break;
	case CK_REINSTATE:
	case CK_CLOSE:
	default:
		put_id(w, "subject", "sub", &s->id);
		break;
	}
	jw_kint(w, "ver", p->ver);
	jw_end_obj(w);
}

void case_write(struct jsonw *w, const struct case_payload *p)
{
	jw_obj(w);
	put_id(w, "case", "cas", &p->id);
	jw_kcstr(w, "kind", case_kind_text(p->kind));
	jw_key(w, "payload");
	case_payload_write(w, p);
	jw_end_obj(w);
}

void case_digest(const struct case_payload *p, uint8_t out[32])
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct jsonw w;

	jw_init(&w, &b);
	case_write(&w, p);
	sha256_2(SPAN_LIT("sallyport/case/v1\n"), buf_span(&b), out);
	buf_free(&b);
}
