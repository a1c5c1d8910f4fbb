/* lease.h - the table of leases: what store has promised to whom, and how far each request is.
 * Pure: no I/O, no clock. One thread.
 *
 *   RESERVED (AUTHOK) -> CLAIMED (CLAIMOK) -> INTENT (intent and verdict in the log) -> CLOSED
 *
 * An id is 128 random bits, made by store, good for one request on one connection by one engine
 * process (boot). Closed leases stay for a while, so that resent records are answered again and
 * replays are told from strangers; the oldest go first. */
#ifndef SP_DAEMON_LEASE_H
#define SP_DAEMON_LEASE_H

#include <stdint.h>
#include <uthash.h>

#include "quota.h"

#define LEASE_OPEN_MAX 65536u
#define LEASE_CLOSED_MAX 8192u
/* Tokens an engine may have made beyond its last progress record: one window (formats.md 4). */
#define LEASE_WINDOW 128u
#define LEASE_NO_INDEX UINT64_MAX
#define LEASE_NO_MODEL UINT32_MAX

enum lease_state { LS_RESERVED, LS_CLAIMED, LS_INTENT, LS_CLOSED };

struct lease {
	struct id id, req, conn;
	struct id engine; /* boot of the engine it was granted to; zero = from before our start */
	enum lease_state state;
	struct quota_hold hold;
	uint32_t
	    max_total; /* output tokens over all choices that the grant allows; 0 = none asked */
	uint32_t prompt, cap;
	uint32_t tokens; /* of the last progress record */
	uint64_t bytes;
	uint32_t rseq;			/* highest record number seen from the engine */
	uint64_t intent_ix, outcome_ix; /* log indexes; LEASE_NO_INDEX = not (yet) durable */
	bool ending;			/* its outcome or end is appended, not yet durable */
	bool revoked;
	bool presumed;	   /* its outcome is `unknown`: ours, not the engine's */
	uint64_t cost;	   /* bytes set aside in the log for records to come */
	uint32_t model_ix; /* LEASE_NO_MODEL: not known (opened before our start) */
	uint64_t born;	   /* monotonic ms */
	int64_t expires;   /* of its key or subject, whichever is sooner; Unix ms, 0 = never */
	struct quota_limits lim[QL_COUNT]; /* as they stood at the grant */
	uint32_t ack_rseq; /* record that ends it and waits for an answer; 0 = none */
	uint8_t prompt_salt[32];
	bool has_salt;
	UT_hash_handle hh;
	struct lease *prev, *next; /* closed ones, oldest first */
};

struct leases;

struct leases *leases_new(void);	      /* NULL without memory */
void leases_free(struct leases *t);	      /* NULL ok */
unsigned leases_open(const struct leases *t); /* not CLOSED */
unsigned leases_in(const struct leases *t, enum lease_state s);

/* Borrowed until it is closed and pushed out. NULL: E_BUSY table full or id known. */
struct lease *lease_add(struct leases *t, const struct id *id, const struct id *req,
			const struct id *conn);
struct lease *lease_find(struct leases *t, const struct id *id); /* any state; NULL */
/* The request is part of what binds a lease: NULL when the pair does not belong together. */
struct lease *lease_match(struct leases *t, const struct id *id, const struct id *req);
/* State machine; E_CONFLICT from any other state, nothing changed. */
int lease_claimed(struct leases *t, struct lease *l, uint32_t prompt, uint32_t cap);
int lease_intent(struct leases *t, struct lease *l);
/* E_CONFLICT when it is closed already: settling is idempotent. */
int lease_closed(struct leases *t, struct lease *l);
/* Output tokens to settle for when the engine is gone: last progress and one window, within cap. */
uint32_t lease_presumed(const struct lease *l);

/* The sooner of two expiries; 0 = never. */
int64_t lease_sooner(int64_t a, int64_t b);

/* Open ones, any order; fn may close the lease it is given, nothing else. Non-zero ends the walk.
 */
int leases_each(struct leases *t, int (*fn)(void *arg, struct lease *l), void *arg);

#endif
