/* rows.c - authority rows in and out of state.db. Only vetting/'s fold makes them. */
#include "db_priv.h"

int db_officer_put(struct db *db, const struct officer_row *r)
{
	return db_run(db, Q_OFFICER_PUT, "bBiII", &r->id, r->pub, (int)r->state, (int64_t)r->ver,
		      (int64_t)r->entry);
}

int db_subject_put(struct db *db, const struct subject_row *r)
{
	return db_run(db, Q_SUBJECT_PUT, "bbbbiiiBIII", &r->id, &r->org, &r->officer, &r->sponsor,
		      (int)r->kind, (int)r->state, (int)r->tier, r->party, r->expires,
		      (int64_t)r->ver, (int64_t)r->entry);
}

int db_key_put(struct db *db, const struct key_row *r)
{
	return db_run(db, Q_KEY_PUT, "bbbBiiBIII", &r->id, &r->sub, &r->code, r->mac, (int)r->state,
		      (int)r->binding, r->thumb, r->expires, (int64_t)r->ver, (int64_t)r->entry);
}

int db_quota_put(struct db *db, const struct quota_row *r)
{
	const struct limits *l = &r->lim;

	return db_run(db, Q_QUOTA_PUT, "ibIIIIIIIII", (int)r->level, &r->id,
		      (int64_t)l->concurrency, (int64_t)l->req_min, (int64_t)l->req_day,
		      (int64_t)l->req_month, (int64_t)l->tok_min, (int64_t)l->tok_day,
		      (int64_t)l->tok_month, (int64_t)r->ver, (int64_t)r->entry);
}

int db_settings_put(struct db *db, const struct settings *s, uint64_t entry)
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct jsonw w;
	int rc;

	jw_init(&w, &b);
	settings_write(&w, s);
	rc = buf_ok(&b)
		 ? db_run(db, Q_SETTINGS_PUT, "IsI", (int64_t)s->ver, buf_span(&b), (int64_t)entry)
		 : E_RANGE;
	buf_free(&b);
	return rc;
}

int db_lock_put(struct db *db, const struct lock_row *r)
{
	return db_run(db, Q_LOCK_PUT, "ibsiII", (int)r->scope, &r->id, span_cstr(r->model), r->on,
		      (int64_t)r->ver, (int64_t)r->entry);
}

int db_authority_put(struct db *db, const struct owed *row, uint64_t entry)
{
	switch (row->kind) {
	case AK_OFFICER:
		return db_officer_put(db, &row->u.officer);
	case AK_SUBJECT:
		return db_subject_put(db, &row->u.subject);
	case AK_KEY:
		return db_key_put(db, &row->u.key);
	case AK_QUOTA:
		return db_quota_put(db, &row->u.quota);
	case AK_SETTINGS:
		return db_settings_put(db, &row->u.settings, entry);
	case AK_LOCKDOWN:
		return db_lock_put(db, &row->u.lock);
	}
	return E_BUG;
}

bool col_key(sqlite3_stmt *st, int at, struct key_row *k)
{
	memset(k, 0, sizeof(*k));
	k->state = (enum key_state)sqlite3_column_int(st, at + 4);
	k->binding = (enum binding)sqlite3_column_int(st, at + 5);
	k->expires = sqlite3_column_int64(st, at + 7);
	k->ver = (uint32_t)sqlite3_column_int64(st, at + 8);
	k->entry = (uint64_t)sqlite3_column_int64(st, at + 9);
	return col_bytes(st, at, k->id.b, ID_BYTES) && col_bytes(st, at + 1, k->sub.b, ID_BYTES) &&
	       col_bytes(st, at + 2, k->code.b, ID_BYTES) && col_bytes(st, at + 3, k->mac, 32) &&
	       col_bytes(st, at + 6, k->thumb, 32);
}

bool col_subject(sqlite3_stmt *st, int at, struct subject_row *s)
{
	memset(s, 0, sizeof(*s));
	s->kind = (enum subject_kind)sqlite3_column_int(st, at + 4);
	s->state = (enum subject_state)sqlite3_column_int(st, at + 5);
	s->tier = (uint8_t)sqlite3_column_int(st, at + 6);
	s->expires = sqlite3_column_int64(st, at + 8);
	s->ver = (uint32_t)sqlite3_column_int64(st, at + 9);
	s->entry = (uint64_t)sqlite3_column_int64(st, at + 10);
	return s->tier < TIER_COUNT && col_bytes(st, at, s->id.b, ID_BYTES) &&
	       col_bytes(st, at + 1, s->org.b, ID_BYTES) &&
	       col_bytes(st, at + 2, s->officer.b, ID_BYTES) &&
	       col_bytes(st, at + 3, s->sponsor.b, ID_BYTES) && col_bytes(st, at + 7, s->party, 32);
}

bool col_quota(sqlite3_stmt *st, struct quota_row *q)
{
	memset(q, 0, sizeof(*q));
	q->level = (enum level)sqlite3_column_int(st, 0);
	q->lim.concurrency = (uint32_t)sqlite3_column_int64(st, 2);
	q->lim.req_min = (uint64_t)sqlite3_column_int64(st, 3);
	q->lim.req_day = (uint64_t)sqlite3_column_int64(st, 4);
	q->lim.req_month = (uint64_t)sqlite3_column_int64(st, 5);
	q->lim.tok_min = (uint64_t)sqlite3_column_int64(st, 6);
	q->lim.tok_day = (uint64_t)sqlite3_column_int64(st, 7);
	q->lim.tok_month = (uint64_t)sqlite3_column_int64(st, 8);
	q->ver = (uint32_t)sqlite3_column_int64(st, 9);
	q->entry = (uint64_t)sqlite3_column_int64(st, 10);
	return (unsigned)q->level < LV_COUNT && col_bytes(st, 1, q->id.b, ID_BYTES);
}

bool col_settings(sqlite3_stmt *st, struct settings *s, uint64_t *entry)
{
	json_t *o = canon_parse(col_span(st, 1), NULL);
	bool ok;

	memset(s, 0, sizeof(*s));
	ok = o && settings_parse(o, s);
	json_decref(o);
	s->ver = (uint32_t)sqlite3_column_int64(st, 0);
	*entry = (uint64_t)sqlite3_column_int64(st, 2);
	return ok;
}
