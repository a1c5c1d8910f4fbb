/* store_admin.h - the admin side of the store process: statements, cases, enrolment, and what
 * officers may read. It knows no channel and no log writer; the role gives callbacks, so that a
 * unit test can drive it. Single thread: the one that owns the struct db given here.
 *
 * The log is the truth. Every write is: check against the authority set -> one FULL transaction in
 * state.db (payload, nonce spent, exact entry bytes in the outbox) -> cb.append -> the role calls
 * store_admin_appended() when the entry is durable -> rows change in state.db, cb.revoke and
 * cb.changed run, further entries that the change owes are appended the same way -> cb.reply.
 * One write is in flight at a time; others wait in a bounded queue (then 503).
 *
 * Start: store_admin_new; then, for EVERY log entry from index 0 in order, store_admin_replay
 * (cheap for types it does not know); then store_admin_start. start verifies state.db against the
 * log: a row that no statement made, or that differs, is E_CRYPTO with the row named and the store
 * must not serve. So is an outbox row that is not, byte for byte, what the statements owe or what an
 * officer signed: nothing of it is appended. It repairs what merely lags (a row whose entry is in the log) and appends what a
 * crash left in the outbox. On an empty log give the genesis document to store_admin_start: it
 * becomes entry 0 (append log.start after store_admin_idle() says true). */
#ifndef SP_DAEMON_STORE_ADMIN_H
#define SP_DAEMON_STORE_ADMIN_H

#include "authority.h"
#include "err.h"
#include "msgs.h"

struct store_admin;

/* Which live leases must end now (cb.revoke). */
struct revoke_sel {
	enum { REV_KEY, REV_SUBJECT, REV_ORG, REV_MODEL, REV_ALL } what;
	struct id id;		/* key, subject, organisation */
	struct id sub;		/* whose prompts the engine forgets; zero: everybody's */
	char model[MODEL_NAME]; /* REV_MODEL */
};

struct usage_row {
	uint32_t concurrency;
	uint64_t req_min, req_day, req_month, tok_min, tok_day, tok_month;
};

struct store_admin_cb {
	void *arg;
	/* Decision time, Unix ms, never decreasing. */
	int64_t (*now)(void *arg);
	/* Hand one entry (borrowed; copy it) to the log writer. 0 = accepted: call
	 * store_admin_appended() later, from the loop, never from inside. Negative: refused now. */
	int (*append)(void *arg, struct span entry);
	/* Answer of an ADMREQ. more: further chunks of the same answer follow. */
	void (*reply)(void *arg, const struct id *req, unsigned status, bool more,
		      struct span body);
	/* Answer of an ENROLL: reason 0 = ok and the three texts, else enum reason. */
	void (*enrolled)(void *arg, const struct id *req, unsigned reason, const char *kid,
			 const char *key, const char *subject);
	/* End live leases; called after the entry is durable and before the reply. */
	void (*revoke)(void *arg, const struct revoke_sel *sel);
	/* Settings, lockdowns or readiness changed: read db_settings and store_admin_ready again.
	 */
	void (*changed)(void *arg);
	/* Quota in use now; false = nothing known of this id. May be NULL. */
	bool (*usage)(void *arg, enum level lv, const struct id *id, struct usage_row *out);
	/* n random bytes. */
	void (*random)(void *arg, void *p, size_t n);
};

/* Borrows db (writable) and cb's arg for its life; copies pepper (32 bytes) into guarded memory.
 * boot: id of this process for the entries. */
int store_admin_new(struct db *db, const struct store_admin_cb *cb, const uint8_t pepper[32],
		    const struct id *boot, struct store_admin **sa, struct err *err);
void store_admin_free(struct store_admin *sa); /* NULL ok */

/* Next log entry, index counting from 0 without gaps. E_CRYPTO: a forged or impossible entry. */
int store_admin_replay(struct store_admin *sa, uint64_t index, struct span entry, struct err *err);
/* After the last replay. genesis_doc: bytes of genesis.json (checked against entry 0 if there is
 * one; may be empty then). */
int store_admin_start(struct store_admin *sa, struct span genesis_doc, struct err *err);

/* The entry of the last cb.append is durable at index (rc 0), or cannot be written (rc < 0). After
 * a failure writes are refused with 503 until store_admin_tick() has brought it in. */
void store_admin_appended(struct store_admin *sa, int rc, uint64_t index);
/* Now and then (100 ms while not idle, else every second): retries a failed append; ends the
 * process when store_admin_watch finds an edited row, and the next start refuses it. */
void store_admin_tick(struct store_admin *sa);
/* Compares state.db with the authority set again if anybody but us has written to it since the
 * last time. E_CRYPTO as in store_admin_start; E_IO when it cannot be read now. */
int store_admin_watch(struct store_admin *sa, struct err *err);

/* Does this module answer the verb? STATUS, REQUEST_SHOW, RECEIPT_SHOW, CHECKPOINT, METRICS are the
 * role's. */
bool store_admin_handles(unsigned verb);
void store_admin_request(struct store_admin *sa, const struct msg_ADMREQ *m);
/* Redeems an enrolment code; thumb NULL when the connection has no client certificate. */
void store_admin_enrol(struct store_admin *sa, const struct msg_ENROLL *m, const uint8_t *thumb);

/* Nothing is in flight or owed. */
bool store_admin_idle(const struct store_admin *sa);
/* Genesis is confirmed by every officer and no lockdown of all stands. */
bool store_admin_ready(const struct store_admin *sa);
bool store_admin_confirmed(const struct store_admin *sa);
/* When this key of this subject expires by the log (Unix ms, 0 = never); 1, long ago, when the log
 * does not know them. */
int64_t store_admin_expires(const struct store_admin *sa, const struct id *key,
			    const struct id *sub);
bool store_admin_demo(const struct store_admin *sa);
/* SHA-256 of the genesis document; false before genesis. */
bool store_admin_genesis_digest(const struct store_admin *sa, uint8_t out[32]);

#endif
