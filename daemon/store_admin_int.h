/* store_admin_int.h - inside of store_admin.h: one write at a time, driven by sa_advance(). */
#ifndef SP_DAEMON_STORE_ADMIN_INT_H
#define SP_DAEMON_STORE_ADMIN_INT_H

#include <sodium.h>

#include "admin_verbs.h"
#include "code.h"
#include "db.h"
#include "store_admin.h"

#define OPS_MAX 64
#define NONCE_LIFE_MS (10ll * 60 * 1000)
#define SCHEMA 1

enum op_kind { OP_STATEMENT, OP_ENROL };
struct op {
	enum op_kind kind;
	struct id req;
	struct buf body;  /* OP_STATEMENT: JSON as it came */
	char half[2][48]; /* OP_ENROL */
	bool has_thumb;
	uint8_t thumb[32];
	/* filled when it was staged */
	bool answered;
	enum guard result;
	struct stmt stmt;
	struct id key, sub;
	uint8_t *secret; /* OP_ENROL: guarded, 32 bytes */
	uint64_t index;	 /* of its own entry */
	struct op *next;
};

struct store_admin {
	struct db *db;
	struct store_admin_cb cb;
	uint8_t *pepper; /* guarded, 32 bytes */
	struct id boot;
	struct aset *a;
	uint64_t next; /* next log index expected by replay */
	bool started;
	/* the entry on its way: outbox row -> log -> rows */
	struct buf entry; /* empty = none */
	uint64_t outbox_seq;
	bool inflight;	/* given to cb.append */
	bool fed_waits; /* in the log and in the set, not yet in state.db */
	struct fed fed;
	uint64_t fed_index;
	int64_t foreign; /* db_foreign_writes at the last comparison */
	bool stuck; /* the last try failed; tick tries again */
	struct op *cur, *head, **tail;
	unsigned n_ops;
};

/* store_admin.c */
void sa_advance(struct store_admin *sa);
/* Puts one entry (taken: copied) in the outbox; inside a transaction of the caller.
 * Ends the process when somebody else's row lies before it. */
int sa_stage(struct store_admin *sa, struct span entry);
void sa_op_free(struct op *op);
/* store_admin_outbox.c: may the row found in the outbox at start stand in the log? E_CRYPTO names
 * it. A key.create is taken out instead (the enrolment never came to an answer). */
int sa_outbox_judge(struct store_admin *sa, struct span genesis_doc, struct err *err);
/* store_admin_apply.c: writes what `fed` did into state.db (one transaction, with the outbox row
 * gone) and tells the role. */
int sa_apply(struct store_admin *sa);
void sa_effects(struct store_admin *sa);
/* store_admin_write.c: judge and stage; true = staged, false = answered already. */
bool sa_op_start(struct store_admin *sa, struct op *op);
void sa_op_finish(struct store_admin *sa, struct op *op);
void sa_op_unavailable(struct store_admin *sa, struct op *op);
/* store_admin_read.c */
void sa_read(struct store_admin *sa, const struct msg_ADMREQ *m);
/* store_admin_quota.c */
enum guard sa_read_quota(struct store_admin *sa, struct jsonw *w, struct span id, bool explain);
void sa_refuse(struct store_admin *sa, const struct id *req, enum guard g);
void sa_error(struct store_admin *sa, const struct id *req, const struct guard_info *g);
void sa_reply(struct store_admin *sa, const struct id *req, struct buf *body); /* 200; chunks */
const struct case_row *sa_find_case(const struct store_admin *sa, struct span text);
void sa_case_members(struct store_admin *sa, struct jsonw *w, const struct case_row *c);

#endif
