/* store_index.c - see store_index.h. synchronous=OFF: what a crash takes is read again from the
 * log. */
#include "store_index.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"

#define SCHEMA                                                                                     \
	"CREATE TABLE IF NOT EXISTS entry(tenant INTEGER NOT NULL DEFAULT 1, req BLOB NOT NULL,"   \
	" ix INTEGER NOT NULL, PRIMARY KEY(req, ix)) STRICT, WITHOUT ROWID;"                       \
	"CREATE TABLE IF NOT EXISTS applied(one INTEGER PRIMARY KEY CHECK(one = 1),"               \
	" seq INTEGER NOT NULL) STRICT;"                                                           \
	"INSERT OR IGNORE INTO applied VALUES(1, 0);"                                              \
	"PRAGMA user_version = 1;"

struct store_index {
	sqlite3 *db;
	sqlite3_stmt *add, *find, *put;
	uint64_t applied;
	bool open;
};

static int fail(struct store_index *x, struct err *err)
{
	return err_set(err, E_IO, "index.db: %s", x->db ? sqlite3_errmsg(x->db) : "no memory");
}

static bool exec(struct store_index *x, const char *sql)
{
	return sqlite3_exec(x->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool number(struct store_index *x, const char *sql, int64_t *out)
{
	sqlite3_stmt *st = NULL;
	bool ok = sqlite3_prepare_v2(x->db, sql, -1, &st, NULL) == SQLITE_OK &&
		  sqlite3_step(st) == SQLITE_ROW;

	if (ok)
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return ok;
}

static bool begin(struct store_index *x, const char *path)
{
	int64_t version = 0, applied = 0;

	if (sqlite3_open_v2(path, &x->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    !exec(x, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;") ||
	    !number(x, "PRAGMA user_version", &version) || version > 1 || !exec(x, SCHEMA) ||
	    !number(x, "SELECT seq FROM applied WHERE one = 1", &applied) || applied < 0)
		return false;
	x->applied = (uint64_t)applied;
	return sqlite3_prepare_v2(x->db, "INSERT OR IGNORE INTO entry(req, ix) VALUES(?1, ?2)", -1,
				  &x->add, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v2(x->db, "SELECT ix FROM entry WHERE req = ?1 ORDER BY ix LIMIT ?2",
				  -1, &x->find, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v2(x->db, "UPDATE applied SET seq = ?1 WHERE one = 1", -1, &x->put,
				  NULL) == SQLITE_OK;
}

static void end(struct store_index *x)
{
	sqlite3_finalize(x->add);
	sqlite3_finalize(x->find);
	sqlite3_finalize(x->put);
	sqlite3_close(x->db);
	x->add = x->find = x->put = NULL;
	x->db = NULL;
	x->applied = 0;
}

static void remove_all(const char *path)
{
	static const char *const tail[] = {"", "-wal", "-shm"};
	char p[600];

	for (int i = 0; i < 3; i++) {
		snprintf(p, sizeof(p), "%s%s", path, tail[i]);
		unlink(p);
	}
}

int store_index_open(const char *folder, struct store_index **out, struct err *err)
{
	struct store_index *x = calloc(1, sizeof(*x));
	char path[560];
	int rc;

	if (x == NULL)
		return err_set(err, E_NOMEM, "index");
	snprintf(path, sizeof(path), "%s/index.db", folder);
	if (!begin(x, path)) {
		log_ev(LOG_WARN_LV, "index_rebuild", "why=\"%s\"",
		       x->db ? sqlite3_errmsg(x->db) : "open");
		end(x);
		remove_all(path);
		if (!begin(x, path)) {
			rc = fail(x, err);
			end(x);
			free(x);
			return rc;
		}
	}
	*out = x;
	return E_OK;
}

void store_index_close(struct store_index *x)
{
	if (x == NULL)
		return;
	store_index_commit(x, NULL);
	end(x);
	free(x);
}

uint64_t store_index_applied(const struct store_index *x)
{
	return x->applied;
}

int store_index_add(struct store_index *x, uint64_t ix, struct span entry, struct err *err)
{
	static const char key[] = "\"req\":\"";
	const char *at = memmem(entry.p, entry.n, key, sizeof(key) - 1);
	struct id req;
	int rc = SQLITE_DONE;

	if (ix != x->applied)
		return err_set(err, E_CONFLICT, "index.db: entry out of order");
	if (!x->open && !exec(x, "BEGIN"))
		return fail(x, err);
	x->open = true;
	x->applied++;
	if (at == NULL)
		return E_OK;
	at += sizeof(key) - 1;
	if ((size_t)(entry.p + entry.n - at) < 30 || !id_parse("req", span_of(at, 30), &req))
		return E_OK;
	sqlite3_bind_blob(x->add, 1, req.b, ID_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(x->add, 2, (int64_t)ix);
	rc = sqlite3_step(x->add);
	sqlite3_reset(x->add);
	return rc == SQLITE_DONE ? E_OK : fail(x, err);
}

int store_index_commit(struct store_index *x, struct err *err)
{
	int rc;

	if (!x->open)
		return E_OK;
	x->open = false;
	sqlite3_bind_int64(x->put, 1, (int64_t)x->applied);
	rc = sqlite3_step(x->put);
	sqlite3_reset(x->put);
	return rc == SQLITE_DONE && exec(x, "COMMIT") ? E_OK : fail(x, err);
}

int store_index_find(struct store_index *x, const struct id *req, uint64_t *out, unsigned max,
		     struct err *err)
{
	unsigned n = 0;
	int rc;

	sqlite3_bind_blob(x->find, 1, req->b, ID_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(x->find, 2, max);
	while ((rc = sqlite3_step(x->find)) == SQLITE_ROW && n < max)
		out[n++] = (uint64_t)sqlite3_column_int64(x->find, 0);
	sqlite3_reset(x->find);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? (int)n : fail(x, err);
}
