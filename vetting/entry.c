/* entry.c - the exact bytes of the log entries that admin work makes (doc/formats.md 4). */
#include "aset.h"

const char *auth_kind_text(enum auth_kind k)
{
	static const char *const names[] = {"officer", "subject",  "key",
					    "quota",   "settings", "lockdown"};

	return (unsigned)k < 6 ? names[k] : "?";
}

static void put_id(struct jsonw *w, const char *key, const char *prefix, const struct id *i)
{
	char t[ID_TEXT_MAX];

	jw_kcstr(w, key, id_is_zero(i) ? "" : id_fmt(prefix, i, t));
}

static void thumb_write(struct jsonw *w, const uint8_t thumb[32])
{
	static const uint8_t none[32];

	if (memcmp(thumb, none, 32) == 0)
		jw_kcstr(w, "thumb", "");
	else
		jw_khex(w, "thumb", thumb, 32);
}

static void subject_write(struct jsonw *w, const struct subject_row *s)
{
	jw_obj(w);
	jw_kint(w, "expires", s->expires);
	jw_kcstr(w, "kind", subject_kind_text(s->kind));
	put_id(w, "officer", "off", &s->officer);
	put_id(w, "org", "org", &s->org);
	jw_khex(w, "party", s->party, 32);
	put_id(w, "sponsor", "off", &s->sponsor);
	jw_kcstr(w, "state", subject_state_text(s->state));
	jw_kint(w, "tier", s->tier);
	jw_end_obj(w);
}

static void key_write(struct jsonw *w, const struct key_row *k)
{
	jw_obj(w);
	jw_kcstr(w, "binding", binding_text(k->binding));
	put_id(w, "code", "cas", &k->code);
	jw_kint(w, "expires", k->expires);
	jw_khex(w, "mac", k->mac, 32);
	jw_kcstr(w, "state", key_state_text(k->state));
	put_id(w, "sub", "sub", &k->sub);
	thumb_write(w, k->thumb);
	jw_end_obj(w);
}

void owed_new_write(struct jsonw *w, const struct owed *o)
{
	switch (o->kind) {
	case AK_OFFICER:
		jw_obj(w);
		jw_khex(w, "pub", o->u.officer.pub, 32);
		jw_kcstr(w, "state", officer_state_text(o->u.officer.state));
		jw_end_obj(w);
		return;
	case AK_SUBJECT:
		subject_write(w, &o->u.subject);
		return;
	case AK_KEY:
		key_write(w, &o->u.key);
		return;
	case AK_QUOTA:
		jw_obj(w);
		jw_kcstr(w, "level", level_text(o->u.quota.level));
		jw_key(w, "limits");
		limits_write(w, &o->u.quota.lim);
		jw_end_obj(w);
		return;
	case AK_SETTINGS:
		settings_write(w, &o->u.settings);
		return;
	case AK_LOCKDOWN:
		jw_obj(w);
		jw_kbool(w, "on", o->u.lock.on);
		lock_target_write(w, &o->u.lock);
		jw_end_obj(w);
		return;
	}
}

static uint32_t owed_id(struct jsonw *w, const struct owed *o, const struct aset *a)
{
	static const char *const prefix[] = {"key", "sub", "org"};

	switch (o->kind) {
	case AK_OFFICER:
		put_id(w, "id", "off", &o->u.officer.id);
		return o->u.officer.ver;
	case AK_SUBJECT:
		put_id(w, "id", "sub", &o->u.subject.id);
		return o->u.subject.ver;
	case AK_KEY:
		put_id(w, "id", "key", &o->u.key.id);
		return o->u.key.ver;
	case AK_QUOTA:
		put_id(w, "id", prefix[o->u.quota.level], &o->u.quota.id);
		return o->u.quota.ver;
	case AK_SETTINGS:
		put_id(w, "id", "dep", &aset_genesis_doc(a)->deployment);
		return o->u.settings.ver;
	default:
		jw_key(w, "id");
		lock_target_text(w, &o->u.lock);
		return o->u.lock.ver;
	}
}

int aset_owed_entry(const struct owed *o, const struct id *boot, int64_t ts, const struct aset *a,
		    struct buf *out)
{
	struct jsonw w;
	uint32_t ver;

	jw_init(&w, out);
	jw_obj(&w);
	put_id(&w, "boot", "bot", boot);
	jw_key(&w, "by");
	jw_arr(&w);
	for (unsigned i = 0; i < o->n_by; i++)
		jw_int(&w, (int64_t)o->by[i]);
	jw_end_arr(&w);
	ver = owed_id(&w, o, a);
	jw_kcstr(&w, "kind", auth_kind_text(o->kind));
	jw_key(&w, "new");
	owed_new_write(&w, o);
	jw_kcstr(&w, "t", "authority");
	jw_kint(&w, "ts", ts);
	jw_kint(&w, "v", 1);
	jw_kint(&w, "ver", ver);
	jw_end_obj(&w);
	return buf_ok(out) ? E_OK : E_RANGE;
}

static void entry_end(struct jsonw *w, const char *type, int64_t ts)
{
	jw_kcstr(w, "t", type);
	jw_kint(w, "ts", ts);
	jw_kint(w, "v", 1);
	jw_end_obj(w);
}

int entry_genesis(struct span doc, const struct id *boot, int64_t ts, struct buf *out)
{
	struct jsonw w;

	jw_init(&w, out);
	jw_obj(&w);
	put_id(&w, "boot", "bot", boot);
	jw_key(&w, "doc");
	jw_raw(&w, doc);
	entry_end(&w, "genesis", ts);
	return buf_ok(out) ? E_OK : E_RANGE;
}

int entry_statement(struct span bytes, const uint8_t sig[STMT_SIG], const struct stmt *s,
		    enum guard result, const struct id *boot, int64_t ts, struct buf *out)
{
	struct id none = {{0}};
	struct jsonw w;

	jw_init(&w, out);
	jw_obj(&w);
	put_id(&w, "boot", "bot", boot);
	put_id(&w, "case", "cas", s->has_case ? &s->target : &none);
	put_id(&w, "kid", "off", &s->kid);
	jw_kcstr(&w, "result", guard_info(result)->name);
	jw_key(&w, "sig");
	jw_b64(&w, sig, STMT_SIG);
	jw_kstr(&w, "statement", bytes);
	entry_end(&w, "statement", ts);
	return buf_ok(out) ? E_OK : E_RANGE;
}

int entry_key_create(const struct id *case_id, const struct id *key, const struct id *sub,
		     const uint8_t mac[32], const uint8_t thumb[32], const struct id *boot,
		     int64_t ts, struct buf *out)
{
	struct jsonw w;

	jw_init(&w, out);
	jw_obj(&w);
	put_id(&w, "boot", "bot", boot);
	put_id(&w, "code", "cas", case_id);
	put_id(&w, "key", "key", key);
	jw_khex(&w, "mac", mac, 32);
	put_id(&w, "sub", "sub", sub);
	jw_kcstr(&w, "t", "key.create");
	thumb_write(&w, thumb);
	jw_kint(&w, "ts", ts);
	jw_kint(&w, "v", 1);
	jw_end_obj(&w);
	return buf_ok(out) ? E_OK : E_RANGE;
}
