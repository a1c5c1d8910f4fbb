/* authority.h - what the store role asks of state.db on the request path and at start.
 * One struct db belongs to one thread (open one per thread; SQLite WAL lets readers run beside the
 * one writer). Times are arguments. All functions: E_OK or a negative code; E_IO with the reason
 * from db_error(). No function here blocks longer than one SQLite transaction. */
#ifndef SP_DB_AUTHORITY_H
#define SP_DB_AUTHORITY_H

#include "err.h"
#include "rows.h"

struct db;

#define DB_READONLY 1u /* a reader thread's handle: never writes, never migrates */

/* folder: a path (also "/proc/self/fd/N"); opens folder/state.db, WAL, synchronous FULL, foreign
 * keys, and migrates it to this build's schema unless DB_READONLY. kek: 32 bytes, copied into
 * guarded memory. Gives *db; end with db_close. E_CONFLICT: written by a newer build. */
int db_open(const char *folder, unsigned flags, const uint8_t kek[32], struct db **db,
	    struct err *err);
void db_close(struct db *db);		   /* takes; NULL ok */
const char *db_error(const struct db *db); /* text of the last failure; borrowed */

/* Everything AUTH needs about one key, in one read. Only rows whose log entry is committed are
 * ever seen here. E_NOTFOUND: unknown key id (compare a dummy mac all the same). */
struct auth_row {
	struct id kid, sub, org;
	uint8_t mac[32]; /* HMAC-SHA-256(pepper, "sallyport/keymac/v1\n" || kid || digest) */
	enum key_state key_state;
	enum subject_state sub_state;
	enum binding binding;
	uint8_t thumb[32];
	uint8_t tier;
	int64_t key_expires, sub_expires; /* Unix ms, 0 = never */
	unsigned locks;			  /* LOCKBIT(LOCK_ALL | LOCK_SUBJECT | LOCK_ORG); models:
					     settings.model[].locked */
	struct limits lim[LV_COUNT];	  /* quota row of each level, else the tier's default */
};
int db_auth_find(struct db *db, const struct id *kid, struct auth_row *out);

/* Current settings, with lockdowns of models and *locked_all. E_NOTFOUND before genesis. */
int db_settings(struct db *db, struct settings *out, bool *locked_all);

/* What GET /v1/receipts/<id> needs beside the log: where the outcome stands and the salts. */
struct receipt_row {
	struct id req, kid, sub;
	uint64_t intent, outcome; /* log indexes; outcome UINT64_MAX = not yet */
	uint8_t prompt_salt[32], output_salt[32];
};
int db_receipt_put(struct db *db, const struct receipt_row *r); /* inserts or replaces */
int db_receipt_get(struct db *db, const struct id *req, struct receipt_row *out);

/* Several writes in one transaction: begin, calls, commit. db_rollback is always safe. */
int db_begin(struct db *db);
int db_commit(struct db *db);
void db_rollback(struct db *db);

/* Quota balances: a copy of the fold over the log up to applied_seq (exclusive). The caller wraps
 * the puts and db_applied_put in one transaction. period: store's own number (day, month). */
struct balance_row {
	enum level level;
	struct id id;
	uint32_t period; /* yyyymmdd or yyyymm */
	uint64_t req, tok;
};
int db_balance_put(struct db *db, const struct balance_row *r); /* inserts or replaces */
int db_balance_each(struct db *db, int (*fn)(void *arg, const struct balance_row *r), void *arg);
int db_balance_purge(struct db *db, uint32_t day_before, uint32_t month_before);
int db_applied_put(struct db *db, uint64_t applied_seq);
int db_applied_get(struct db *db, uint64_t *applied_seq); /* 0 when never put */
/* Open leases of that same copy, opaque to db (at most 512 bytes each). */
int db_lease_put(struct db *db, const struct id *lease, struct span blob);
int db_lease_del(struct db *db, const struct id *lease);
int db_lease_each(struct db *db, int (*fn)(void *arg, const struct id *lease, struct span blob),
		  void *arg);

#endif
