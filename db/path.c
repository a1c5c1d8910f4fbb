/* path.c - what the request path reads and keeps: authority of one key, settings, receipts, the
 * quota fold's copy. */
#include "db_priv.h"

static int limits_of(struct db *db, const struct settings *set, const struct auth_row *a,
		     enum level lv, struct limits *out)
{
	const struct id *id = lv == LV_KEY ? &a->kid : lv == LV_SUBJECT ? &a->sub : &a->org;
	sqlite3_stmt *st = db_query(db, Q_QUOTA_GET, "ib", (int)lv, id);
	struct quota_row q;
	int rc = db_row(db, st);

	if (rc == 1 && !col_quota(st, &q))
		rc = E_FORMAT;
	db_done(st);
	if (rc < 0)
		return rc;
	*out = rc == 1 ? q.lim : set->tier[a->tier][lv];
	return E_OK;
}

static int read_settings(struct db *db, struct settings *out)
{
	sqlite3_stmt *st = db_query(db, Q_SETTINGS_LAST, "");
	uint64_t entry;
	int rc = db_row(db, st);

	if (rc == 0)
		rc = E_NOTFOUND;
	else if (rc == 1)
		rc = col_settings(st, out, &entry) ? E_OK : E_FORMAT;
	db_done(st);
	return rc;
}

int db_auth_find(struct db *db, const struct id *kid, struct auth_row *out)
{
	sqlite3_stmt *st = db_query(db, Q_AUTH, "b", kid);
	struct settings set;
	struct key_row k;
	struct subject_row s;
	int rc = db_row(db, st);

	memset(out, 0, sizeof(*out));
	if (rc == 0)
		rc = E_NOTFOUND;
	else if (rc == 1)
		rc = col_key(st, 0, &k) && col_subject(st, 10, &s) ? E_OK : E_FORMAT;
	if (rc == E_OK)
		for (int i = 0; i < 3; i++)
			out->locks |= sqlite3_column_int(st, 21 + i) ? 1u << i : 0;
	db_done(st);
	if (rc < 0)
		return rc;
	out->kid = k.id;
	out->sub = s.id;
	out->org = s.org;
	memcpy(out->mac, k.mac, 32);
	memcpy(out->thumb, k.thumb, 32);
	out->key_state = k.state;
	out->sub_state = s.state;
	out->binding = k.binding;
	out->tier = s.tier;
	out->key_expires = k.expires;
	out->sub_expires = s.expires;
	rc = read_settings(db, &set);
	for (int lv = 0; rc == E_OK && lv < LV_COUNT; lv++)
		rc = limits_of(db, &set, out, (enum level)lv, &out->lim[lv]);
	return rc;
}

static void mark_lock(struct settings *s, struct span model)
{
	for (unsigned i = 0; i < s->n_models; i++)
		if (span_eq(span_cstr(s->model[i].name), model))
			s->model[i].locked = true;
}

int db_settings(struct db *db, struct settings *out, bool *locked_all)
{
	sqlite3_stmt *st;
	int rc = read_settings(db, out);

	*locked_all = true; /* until proved otherwise */
	if (rc < 0)
		return rc;
	st = db_query(db, Q_LOCK_EACH, "");
	*locked_all = false;
	while ((rc = db_row(db, st)) == 1) {
		if (!sqlite3_column_int(st, 3))
			continue;
		if (sqlite3_column_int(st, 0) == LOCK_ALL)
			*locked_all = true;
		if (sqlite3_column_int(st, 0) == LOCK_MODEL)
			mark_lock(out, col_span(st, 2));
	}
	db_done(st);
	if (rc < 0)
		*locked_all = true;
	return rc;
}

int db_receipt_put(struct db *db, const struct receipt_row *r)
{
	return db_run(db, Q_RECEIPT_PUT, "bbbIIBB", &r->req, &r->kid, &r->sub, (int64_t)r->intent,
		      (int64_t)r->outcome, r->prompt_salt, r->output_salt);
}

int db_receipt_get(struct db *db, const struct id *req, struct receipt_row *out)
{
	sqlite3_stmt *st = db_query(db, Q_RECEIPT_GET, "b", req);
	int rc = db_row(db, st);

	if (rc == 0)
		rc = E_NOTFOUND;
	else if (rc == 1)
		rc = col_bytes(st, 0, out->req.b, ID_BYTES) &&
			     col_bytes(st, 1, out->kid.b, ID_BYTES) &&
			     col_bytes(st, 2, out->sub.b, ID_BYTES) &&
			     col_bytes(st, 5, out->prompt_salt, 32) &&
			     col_bytes(st, 6, out->output_salt, 32)
			 ? E_OK
			 : E_FORMAT;
	if (rc == E_OK) {
		out->intent = (uint64_t)sqlite3_column_int64(st, 3);
		out->outcome = (uint64_t)sqlite3_column_int64(st, 4);
	}
	db_done(st);
	return rc;
}

int db_balance_put(struct db *db, const struct balance_row *r)
{
	return db_run(db, Q_BALANCE_PUT, "ibIII", (int)r->level, &r->id, (int64_t)r->period,
		      (int64_t)r->req, (int64_t)r->tok);
}

int db_balance_each(struct db *db, int (*fn)(void *, const struct balance_row *), void *arg)
{
	sqlite3_stmt *st = db_query(db, Q_BALANCE_EACH, "");
	struct balance_row r;
	int rc;

	while ((rc = db_row(db, st)) == 1) {
		memset(&r, 0, sizeof(r));
		r.level = (enum level)sqlite3_column_int(st, 0);
		r.period = (uint32_t)sqlite3_column_int64(st, 2);
		r.req = (uint64_t)sqlite3_column_int64(st, 3);
		r.tok = (uint64_t)sqlite3_column_int64(st, 4);
		rc = col_bytes(st, 1, r.id.b, ID_BYTES) ? fn(arg, &r) : E_FORMAT;
		if (rc != 0)
			break;
	}
	db_done(st);
	return rc;
}

int db_balance_purge(struct db *db, uint32_t day_before, uint32_t month_before)
{
	return db_run(db, Q_BALANCE_PURGE, "II", (int64_t)day_before, (int64_t)month_before);
}

int db_applied_put(struct db *db, uint64_t seq)
{
	return db_run(db, Q_APPLIED_PUT, "I", (int64_t)seq);
}

int db_applied_get(struct db *db, uint64_t *seq)
{
	sqlite3_stmt *st = db_query(db, Q_APPLIED_GET, "");
	int rc = db_row(db, st);

	*seq = rc == 1 ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	db_done(st);
	return rc < 0 ? rc : E_OK;
}

int db_lease_put(struct db *db, const struct id *lease, struct span blob)
{
	return db_run(db, Q_LEASE_PUT, "bx", lease, blob);
}

int db_lease_del(struct db *db, const struct id *lease)
{
	return db_run(db, Q_LEASE_DEL, "b", lease);
}

int db_lease_each(struct db *db, int (*fn)(void *, const struct id *, struct span), void *arg)
{
	sqlite3_stmt *st = db_query(db, Q_LEASE_EACH, "");
	struct id lease;
	int rc;

	while ((rc = db_row(db, st)) == 1) {
		rc = col_bytes(st, 0, lease.b, ID_BYTES) ? fn(arg, &lease, col_span(st, 1))
							 : E_FORMAT;
		if (rc != 0)
			break;
	}
	db_done(st);
	return rc;
}
