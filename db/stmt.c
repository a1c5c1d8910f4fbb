/* stmt.c - runs one prepared query. Statements are prepared on first use and kept. */
#include <stdarg.h>
#include <stdio.h>

#include "db_priv.h"
#include "fault.h"
#include "log.h"

static const char *const sql[] = {
#define X(name, text) [Q_##name] = text,
    QUERIES(X)
#undef X
};

int db_fail(struct db *db, const char *what)
{
	snprintf(db->error, sizeof(db->error), "%s: %s", what, sqlite3_errmsg(db->h));
	return E_IO;
}

const char *db_error(const struct db *db)
{
	return db->error;
}

static int bind_args(struct db *db, sqlite3_stmt *st, const char *types, va_list ap)
{
	int rc = SQLITE_OK;
	struct span s;

	for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
		switch (*types) {
		case 'b':
			rc = sqlite3_bind_blob(st, i, va_arg(ap, const struct id *)->b, ID_BYTES,
					       SQLITE_TRANSIENT);
			break;
		case 'B':
			rc = sqlite3_bind_blob(st, i, va_arg(ap, const uint8_t *), 32,
					       SQLITE_TRANSIENT);
			break;
		case 'x':
			s = va_arg(ap, struct span);
			rc = sqlite3_bind_blob64(st, i, s.n ? s.p : "", s.n, SQLITE_TRANSIENT);
			break;
		case 's':
			s = va_arg(ap, struct span);
			rc = sqlite3_bind_text64(st, i, s.n ? s.p : "", s.n, SQLITE_TRANSIENT,
						 SQLITE_UTF8);
			break;
		case 'i':
			rc = sqlite3_bind_int64(st, i, va_arg(ap, int));
			break;
		default:
			must(*types == 'I');
			rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
			break;
		}
	}
	return rc == SQLITE_OK ? E_OK : db_fail(db, "bind");
}

static sqlite3_stmt *query_va(struct db *db, enum query q, const char *types, va_list ap)
{
	if (db->st[q] == NULL &&
	    (FAULT("db.prepare") || sqlite3_prepare_v3(db->h, sql[q], -1, SQLITE_PREPARE_PERSISTENT,
						       &db->st[q], NULL) != SQLITE_OK)) {
		db_fail(db, "prepare");
		return NULL;
	}
	sqlite3_reset(db->st[q]);
	return bind_args(db, db->st[q], types, ap) == E_OK ? db->st[q] : NULL;
}

sqlite3_stmt *db_query(struct db *db, enum query q, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;

	va_start(ap, types);
	st = query_va(db, q, types, ap);
	va_end(ap);
	return st;
}

int db_row(struct db *db, sqlite3_stmt *st)
{
	int rc;

	if (st == NULL)
		return E_IO;
	rc = FAULT("db.step") ? SQLITE_IOERR : sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : db_fail(db, "step");
}

void db_done(sqlite3_stmt *st)
{
	if (st) {
		sqlite3_reset(st);
		sqlite3_clear_bindings(st);
	}
}

int db_run(struct db *db, enum query q, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int rc;

	va_start(ap, types);
	st = query_va(db, q, types, ap);
	va_end(ap);
	rc = db_row(db, st);
	db_done(st);
	return rc < 0 ? rc : E_OK;
}

int db_begin(struct db *db)
{
	int rc = FAULT("db.begin") ? E_IO : db_run(db, Q_BEGIN, "");

	db->in_tx = rc == E_OK;
	return rc;
}

int db_commit(struct db *db)
{
	int rc = FAULT("db.commit") ? E_IO : db_run(db, Q_COMMIT, "");

	if (rc < 0)
		db_rollback(db);
	db->in_tx = false;
	return rc;
}

void db_rollback(struct db *db)
{
	/* SQLite may have rolled back by itself after an error; asking twice is harmless. */
	if (db->in_tx && !sqlite3_get_autocommit(db->h))
		sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
	db->in_tx = false;
}

int db_foreign_writes(struct db *db, int64_t *out)
{
	sqlite3_stmt *st = db_query(db, Q_DATA_VERSION, "");
	int rc = db_row(db, st);

	*out = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
	db_done(st);
	return rc == 1 ? E_OK : E_IO;
}

struct span col_span(sqlite3_stmt *st, int i)
{
	const void *p = sqlite3_column_blob(st, i);

	return span_of(p, p ? (size_t)sqlite3_column_bytes(st, i) : 0);
}

bool col_bytes(sqlite3_stmt *st, int i, void *out, size_t n)
{
	struct span s = col_span(st, i);

	if (s.n != n)
		return false;
	memcpy(out, s.p, n);
	return true;
}
