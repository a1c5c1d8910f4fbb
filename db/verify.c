/* verify.c - compares state.db with the fold of the log, row by row, both ways. */
#include "db_priv.h"
#include "fault.h"

struct ctx {
	struct db *db;
	const struct aset *a;
	unsigned repaired, seen;
	int rc;
	struct err *err;
};

static void as_text(const struct owed *o, uint32_t ver, uint64_t entry, struct buf *b)
{
	struct jsonw w;

	jw_init(&w, b);
	owed_new_write(&w, o);
	buf_fmt(b, " ver %u entry %llu", ver, (unsigned long long)entry);
}

/* In state.db and in the log: equal, older (mended), or changed by somebody. */
static int compare(struct ctx *c, const struct owed *db, uint32_t dver, uint64_t dentry,
		   const struct owed *log, uint32_t lver, uint64_t lentry, const char *what,
		   const struct id *id)
{
	struct buf x = BUF_INIT(CANON_MAX), y = BUF_INIT(CANON_MAX);
	char hex[ID_TEXT_MAX];
	bool same;

	c->seen++;
	as_text(db, dver, dentry, &x);
	as_text(log, lver, lentry, &y);
	same = buf_ok(&x) && span_eq(buf_span(&x), buf_span(&y));
	buf_free(&x);
	buf_free(&y);
	if (same)
		return E_OK;
	if (dentry < lentry) {
		c->repaired++;
		return db_authority_put(c->db, log, lentry);
	}
	return err_set(c->err, E_CRYPTO,
		       "state.db: the row %s differs from log entry %llu that made it",
		       id_fmt(what, id, hex), (unsigned long long)lentry);
}

static int forged(struct ctx *c, const char *what, const struct id *id)
{
	char t[ID_TEXT_MAX];

	return err_set(c->err, E_CRYPTO, "state.db: no log entry made the row %s",
		       id_fmt(what, id, t));
}

/* Reads all rows of one table first: a mended row must not disturb the reading. */
#define COLLECT(c, q, type, row, good, each)                                                       \
	do {                                                                                       \
		sqlite3_stmt *st = db_query((c)->db, q, "");                                       \
		struct buf all = BUF_INIT(1u << 30);                                               \
		int rc_;                                                                           \
		while ((rc_ = db_row((c)->db, st)) == 1) {                                         \
			type row;                                                                  \
			if (!(good)) {                                                             \
				rc_ = err_set((c)->err, E_CRYPTO, "state.db: malformed row");      \
				break;                                                             \
			}                                                                          \
			buf_put(&all, &row, sizeof(row));                                          \
		}                                                                                  \
		db_done(st);                                                                       \
		if (rc_ == 0 && !buf_ok(&all))                                                     \
			rc_ = E_NOMEM;                                                             \
		for (size_t i_ = 0; rc_ == 0 && i_ < all.n; i_ += sizeof(type)) {                  \
			type row;                                                                  \
			memcpy(&row, all.p + i_, sizeof(row));                                     \
			rc_ = each;                                                                \
		}                                                                                  \
		buf_free(&all);                                                                    \
		if (rc_ < 0)                                                                       \
			return rc_;                                                                \
	} while (0)

static bool col_officer(sqlite3_stmt *st, struct officer_row *o)
{
	memset(o, 0, sizeof(*o));
	o->state = (enum officer_state)sqlite3_column_int(st, 2);
	o->ver = (uint32_t)sqlite3_column_int64(st, 3);
	o->entry = (uint64_t)sqlite3_column_int64(st, 4);
	return col_bytes(st, 0, o->id.b, ID_BYTES) && col_bytes(st, 1, o->pub, 32);
}

static bool col_lock(sqlite3_stmt *st, struct lock_row *l)
{
	struct span m = col_span(st, 2);

	memset(l, 0, sizeof(*l));
	if (m.n >= MODEL_NAME)
		return false;
	memcpy(l->model, m.n ? m.p : "", m.n);
	l->scope = (enum lock_scope)sqlite3_column_int(st, 0);
	l->on = sqlite3_column_int(st, 3) != 0;
	l->ver = (uint32_t)sqlite3_column_int64(st, 4);
	l->entry = (uint64_t)sqlite3_column_int64(st, 5);
	return col_bytes(st, 1, l->id.b, ID_BYTES);
}

static int one_officer(struct ctx *c, const struct officer_row *r)
{
	const struct officer_row *l = aset_officer(c->a, &r->id);
	struct owed x = {.kind = AK_OFFICER, .u.officer = *r}, y = {.kind = AK_OFFICER};

	if (l == NULL)
		return forged(c, "off", &r->id);
	y.u.officer = *l;
	return compare(c, &x, r->ver, r->entry, &y, l->ver, l->entry, "off", &r->id);
}

static int one_subject(struct ctx *c, const struct subject_row *r)
{
	const struct subject_row *l = aset_subject(c->a, &r->id);
	struct owed x = {.kind = AK_SUBJECT, .u.subject = *r}, y = {.kind = AK_SUBJECT};

	if (l == NULL)
		return forged(c, "sub", &r->id);
	y.u.subject = *l;
	return compare(c, &x, r->ver, r->entry, &y, l->ver, l->entry, "sub", &r->id);
}

static int one_key(struct ctx *c, const struct key_row *r)
{
	const struct key_row *l = aset_key(c->a, &r->id);
	struct owed x = {.kind = AK_KEY, .u.key = *r}, y = {.kind = AK_KEY};

	if (l == NULL)
		return forged(c, "key", &r->id);
	y.u.key = *l;
	return compare(c, &x, r->ver, r->entry, &y, l->ver, l->entry, "key", &r->id);
}

static int one_quota(struct ctx *c, const struct quota_row *r)
{
	const struct quota_row *l = aset_quota(c->a, r->level, &r->id);
	struct owed x = {.kind = AK_QUOTA, .u.quota = *r}, y = {.kind = AK_QUOTA};

	if (l == NULL)
		return forged(c, "quota", &r->id);
	y.u.quota = *l;
	return compare(c, &x, r->ver, r->entry, &y, l->ver, l->entry, "quota", &r->id);
}

static int one_lock(struct ctx *c, const struct lock_row *r)
{
	const struct lock_row *l = aset_lock(c->a, r);
	struct owed x = {.kind = AK_LOCKDOWN, .u.lock = *r}, y = {.kind = AK_LOCKDOWN};

	if (l == NULL)
		return forged(c, "lockdown", &r->id);
	y.u.lock = *l;
	return compare(c, &x, r->ver, r->entry, &y, l->ver, l->entry, "lockdown", &r->id);
}

/* Rows that the log has and the table lacks. */
static bool has_row(struct db *db, enum query q, bool (*hit)(sqlite3_stmt *, const void *),
		    const void *want)
{
	sqlite3_stmt *st = db_query(db, q, "");
	bool found = false;

	while (!found && db_row(db, st) == 1)
		found = hit(st, want);
	db_done(st);
	return found;
}

static int put_subject(void *arg, const struct subject_row *r)
{
	return db_subject_put(arg, r);
}
static int put_key(void *arg, const struct key_row *r)
{
	return db_key_put(arg, r);
}
static int put_quota(void *arg, const struct quota_row *r)
{
	return db_quota_put(arg, r);
}
static int put_lock(void *arg, const struct lock_row *r)
{
	return db_lock_put(arg, r);
}

static int count_one(unsigned *n)
{
	(*n)++;
	return 0;
}
static int n_subject(void *arg, const struct subject_row *r)
{
	return count_one(arg);
}
static int n_key(void *arg, const struct key_row *r)
{
	return count_one(arg);
}
static int n_quota(void *arg, const struct quota_row *r)
{
	return count_one(arg);
}
static int n_lock(void *arg, const struct lock_row *r)
{
	return count_one(arg);
}

static int check_tables(struct ctx *c)
{
	unsigned in_log = 0;
	int rc = E_OK;

	COLLECT(c, Q_OFFICER_EACH, struct officer_row, r, col_officer(st, &r), one_officer(c, &r));
	COLLECT(c, Q_SUBJECT_EACH, struct subject_row, r, col_subject(st, 0, &r),
		one_subject(c, &r));
	COLLECT(c, Q_KEY_EACH, struct key_row, r, col_key(st, 0, &r), one_key(c, &r));
	COLLECT(c, Q_QUOTA_EACH, struct quota_row, r, col_quota(st, &r), one_quota(c, &r));
	COLLECT(c, Q_LOCK_EACH, struct lock_row, r, col_lock(st, &r), one_lock(c, &r));
	while (aset_officer_at(c->a, in_log))
		in_log++;
	aset_each_subject(c->a, n_subject, &in_log);
	aset_each_key(c->a, n_key, &in_log);
	aset_each_quota(c->a, n_quota, &in_log);
	aset_each_lock(c->a, n_lock, &in_log);
	if (in_log == c->seen)
		return E_OK;
	/* Rows are missing: a crash before the apply, or somebody deleted them. Write all again. */
	c->repaired += in_log - c->seen;
	for (unsigned i = 0; rc == E_OK && aset_officer_at(c->a, i); i++)
		rc = db_officer_put(c->db, aset_officer_at(c->a, i));
	if (rc == E_OK)
		rc = aset_each_subject(c->a, put_subject, c->db);
	if (rc == E_OK)
		rc = aset_each_key(c->a, put_key, c->db);
	if (rc == E_OK)
		rc = aset_each_quota(c->a, put_quota, c->db);
	if (rc == E_OK)
		rc = aset_each_lock(c->a, put_lock, c->db);
	return rc;
}

static bool newer_settings(sqlite3_stmt *st, const void *want)
{
	return sqlite3_column_int64(st, 0) > (int64_t)((const struct settings *)want)->ver;
}

static int check_settings(struct ctx *c)
{
	const struct settings *s = aset_settings(c->a);
	sqlite3_stmt *st;
	struct settings have;
	struct owed x = {.kind = AK_SETTINGS}, y = {.kind = AK_SETTINGS};
	struct id dep;
	uint64_t entry = 0;
	int rc;

	if (s == NULL)
		return E_OK;
	if (has_row(c->db, Q_SETTINGS_LAST, newer_settings, s))
		return err_set(c->err, E_CRYPTO, "state.db: no log entry made its settings");
	st = db_query(c->db, Q_SETTINGS_LAST, "");
	rc = db_row(c->db, st);
	if (rc == 1 && !col_settings(st, &have, &entry))
		rc = err_set(c->err, E_CRYPTO, "state.db: malformed settings");
	db_done(st);
	if (rc < 0)
		return rc;
	dep = aset_genesis_doc(c->a)->deployment;
	if (rc == 0 || have.ver < s->ver) {
		c->repaired++;
		return db_settings_put(c->db, s, aset_settings_entry(c->a));
	}
	x.u.settings = have;
	y.u.settings = *s;
	return compare(c, &x, have.ver, entry, &y, s->ver, aset_settings_entry(c->a), "dep", &dep);
}

int db_authority_verify(struct db *db, const struct aset *a, unsigned *repaired, struct err *err)
{
	struct ctx c = {.db = db, .a = a, .err = err};
	int rc = db_begin(db);

	if (err)
		err->text[0] = '\0';
	if (rc == E_OK)
		rc = check_tables(&c);
	if (rc == E_OK)
		rc = check_settings(&c);
	if (rc == E_OK)
		rc = db_commit(db);
	else
		db_rollback(db);
	*repaired = c.repaired;
	if (rc < 0 && err && err->text[0] == '\0')
		err_set(err, rc, "state.db: %s", db_error(db));
	return rc;
}
