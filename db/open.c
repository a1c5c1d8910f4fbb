/* open.c - opens state.db and brings its schema up to this build. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "db_priv.h"
#include "fault.h"
#include "secret.h"
#include "sql_gen.h"

#define N_MIGRATIONS ((int)(sizeof(db_migrations) / sizeof(db_migrations[0])))

static int user_version(struct db *db, int *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->h, "PRAGMA user_version", -1, &st, NULL);

	if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		*out = sqlite3_column_int(st, 0);
	else
		rc = SQLITE_ERROR;
	sqlite3_finalize(st);
	return rc == SQLITE_OK ? E_OK : db_fail(db, "user_version");
}

static int exec(struct db *db, const char *text)
{
	if (FAULT("db.exec") || sqlite3_exec(db->h, text, NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(db, "exec");
	return E_OK;
}

static int migrate(struct db *db, bool readonly, struct err *err)
{
	char pragma[40];
	int have = 0, rc = user_version(db, &have);

	if (rc == E_OK && have > N_MIGRATIONS)
		return err_set(err, E_CONFLICT, "state.db has schema %d, this build knows %d", have,
			       N_MIGRATIONS);
	if (rc == E_OK && readonly && have < N_MIGRATIONS)
		return err_set(err, E_CONFLICT, "state.db has schema %d, not yet %d", have,
			       N_MIGRATIONS);
	for (; rc == E_OK && have < N_MIGRATIONS; have++) {
		rc = db_begin(db);
		if (rc == E_OK)
			rc = exec(db, db_migrations[have]);
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", have + 1);
		if (rc == E_OK)
			rc = exec(db, pragma);
		if (rc == E_OK)
			rc = db_commit(db);
		else
			db_rollback(db);
	}
	return rc < 0 ? err_set(err, rc, "state.db: %s", db->error) : E_OK;
}

static int prepare(struct db *db, unsigned flags, struct err *err)
{
	bool ro = flags & DB_READONLY;

	sqlite3_extended_result_codes(db->h, 1);
	sqlite3_busy_timeout(db->h, 5000);
	sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if ((!ro && exec(db, "PRAGMA journal_mode = WAL") < 0) ||
	    exec(db, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		     "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;"
		     "PRAGMA cell_size_check = ON") < 0)
		return err_set(err, E_IO, "state.db: %s", db->error);
	return migrate(db, ro, err);
}

int db_open(const char *folder, unsigned flags, const uint8_t kek[32], struct db **out,
	    struct err *err)
{
	struct db *db = calloc(1, sizeof(*db));
	char path[600];
	int sf = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, rc;

	if (db == NULL || (db->seal_key = sodium_malloc(32)) == NULL) {
		free(db);
		return err_set(err, E_NOMEM, "no memory");
	}
	crypto_kdf_derive_from_key(db->seal_key, 32, 1, "sp-party", kek);
	/* A folder descriptor is a link by nature; NOFOLLOW would refuse it. */
	if (strncmp(folder, "/proc/self/fd/", 14) == 0)
		sf &= ~SQLITE_OPEN_NOFOLLOW;
	snprintf(path, sizeof(path), "%s/state.db", folder);
	sf |=
	    flags & DB_READONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	rc = FAULT("db.open") ? SQLITE_CANTOPEN : sqlite3_open_v2(path, &db->h, sf, NULL);
	if (rc != SQLITE_OK)
		rc = err_set(err, E_IO, "%s: %s", path, sqlite3_errstr(rc));
	else
		rc = prepare(db, flags, err);
	if (rc < 0) {
		db_close(db);
		return rc;
	}
	*out = db;
	return E_OK;
}

void db_close(struct db *db)
{
	if (db == NULL)
		return;
	for (int i = 0; i < Q_COUNT; i++)
		sqlite3_finalize(db->st[i]);
	sqlite3_close(db->h);
	sodium_free(db->seal_key);
	free(db);
}
