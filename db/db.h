/* db.h - state.db for the admin side of store: rows of the authority set, cases, nonces, codes, the
 * outbox. Same rules as authority.h: one handle, one thread; E_OK or a negative code. */
#ifndef SP_DB_DB_H
#define SP_DB_DB_H

#include "aset.h"
#include "authority.h"

/* Rows as the log made them; each replaces the row of that id. */
int db_officer_put(struct db *db, const struct officer_row *r);
int db_subject_put(struct db *db, const struct subject_row *r);
int db_key_put(struct db *db, const struct key_row *r);
int db_quota_put(struct db *db, const struct quota_row *r);
int db_settings_put(struct db *db, const struct settings *s, uint64_t entry);
int db_lock_put(struct db *db, const struct lock_row *r);
/* The row a FED_AUTHORITY gave. entry: of settings. */
int db_authority_put(struct db *db, const struct owed *row, uint64_t entry);
int db_case_put(struct db *db, const struct case_row *c);
int db_statement_put(struct db *db, uint64_t entry, const struct stmt *s, bool refused);

/* Compares every authority row with the fold of the log. A row no entry made, or one that differs
 * though it names the entry that made it, is E_CRYPTO with the row named: somebody edited the
 * database. A row that merely lags or lacks is written anew; *repaired counts those. */
int db_authority_verify(struct db *db, const struct aset *a, unsigned *repaired, struct err *err);

/* A number that changes when any other connection has written to state.db. This handle is the only
 * rightful writer. */
int db_foreign_writes(struct db *db, int64_t *out);

/* Text kept under a key derived from the KEK (XChaCha20-Poly1305, the commitment as associated
 * data). nonce: 24 random bytes. get appends to *out; E_NOTFOUND, E_CRYPTO. */
int db_sealed_put(struct db *db, const uint8_t digest[32], struct span text,
		  const uint8_t nonce[24]);
int db_sealed_get(struct db *db, const uint8_t digest[32], struct buf *out);
struct note_row {
	struct id kid;
	enum verb verb;
	bool has_note;
	uint8_t note[32];
	uint64_t entry;
};
int db_notes_each(struct db *db, const struct id *target,
		  int (*fn)(void *arg, const struct note_row *r), void *arg);

/* Nonces: single use, expiring. put is E_BUSY beyond 1,000 outstanding. */
int db_nonce_put(struct db *db, const struct id *n, int64_t expires, int64_t now);
int db_nonce_check(struct db *db, const struct id *n,
		   int64_t now); /* E_NOTFOUND: unknown, expired */
int db_nonce_del(struct db *db, const struct id *n);

/* Enrolment code of a case. half_a stands only until the decision. */
#define CODE_HALF 16
#define CODE_BOX (CODE_HALF + 48) /* crypto_box_seal to the officer's key */
struct code_row {
	struct id case_id, to_a, to_b;
	bool has_half, has_mac, has_a, has_b;
	uint8_t half_a[CODE_HALF], mac[32], box_a[CODE_BOX], box_b[CODE_BOX];
};
int db_code_put(struct db *db, const struct code_row *c, const uint8_t nonce[24]);
int db_code_get(struct db *db, const struct id *case_id, struct code_row *out);
int db_code_find(struct db *db, const uint8_t mac[32], struct id *case_id);
int db_code_del(struct db *db, const struct id *case_id);

/* Exact bytes of entries that the log must get; at most one in flight. next: E_NOTFOUND when empty,
 * bytes appended to *entry. */
int db_outbox_put(struct db *db, struct span entry);
int db_outbox_next(struct db *db, uint64_t *seq, struct buf *entry);
int db_outbox_done(struct db *db, uint64_t seq);

#endif
