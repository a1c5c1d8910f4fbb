/* db_priv.h - inside of db/: the handle and the helpers that run one query. */
#ifndef SP_DB_DB_PRIV_H
#define SP_DB_DB_PRIV_H

#include <sqlite3.h>

#include "db.h"
#include "queries.h"

struct db {
	sqlite3 *h;
	sqlite3_stmt *st[Q_COUNT];
	uint8_t *seal_key; /* guarded memory */
	bool in_tx;
	char error[200];
};

/* One query with its arguments by position: b id, B 32 bytes, x span as blob, s span as text, i
 * int, I int64. db_run: no rows wanted. db_open_q: rows to read with db_row until 0 (or negative),
 * then db_done in every case. */
int db_run(struct db *db, enum query q, const char *types, ...);
sqlite3_stmt *db_query(struct db *db, enum query q, const char *types, ...);
int db_row(struct db *db, sqlite3_stmt *st); /* 1 a row, 0 end, E_IO */
void db_done(sqlite3_stmt *st);		     /* NULL ok */
/* Column i as exactly n bytes; false when it is not. */
bool col_bytes(sqlite3_stmt *st, int i, void *out, size_t n);
struct span col_span(sqlite3_stmt *st, int i); /* borrows until the next step */
/* As the columns of KEY_COLS, SUB_COLS stand, from column `at`. */
bool col_key(sqlite3_stmt *st, int at, struct key_row *k);
bool col_subject(sqlite3_stmt *st, int at, struct subject_row *s);
bool col_quota(sqlite3_stmt *st, struct quota_row *q);
bool col_settings(sqlite3_stmt *st, struct settings *s, uint64_t *entry);
int db_fail(struct db *db, const char *what); /* keeps SQLite's text; E_IO */

#endif
