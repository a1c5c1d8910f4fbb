/* quota.h - what may be used and what was used: requests, tokens and concurrency at key, subject
 * and organisation, over minute, day and month. Pure: no I/O, no clock; time is an argument. One
 * thread.
 *
 * quota_admit / quota_claim check every level before they take anything from any (all or nothing).
 * quota_*_apply take without a check: the fold over the log uses them, so that a state rebuilt from
 * entries is equal to the live one. A hold remembers where its amounts were taken, so that settling
 * and refunds go back to the same second, day and month.
 * Minutes: 1 s buckets; the current second and the 60 before it count, so that no 60 s of real time
 * hold more than the limit. Days and months: numbers given by the caller (zone.h). */
#ifndef SP_DAEMON_QUOTA_H
#define SP_DAEMON_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "id.h"
#include "zone.h"

enum quota_level { QL_KEY, QL_SUBJECT, QL_ORG, QL_COUNT };
/* requests, tokens per minute; per day; per month; requests at once */
enum quota_what { QW_RPM, QW_TPM, QW_RPD, QW_TPD, QW_RPMON, QW_TPMON, QW_CONC, QW_COUNT };

#define QUOTA_OPEN UINT64_MAX /* no limit */
#define QUOTA_BUCKETS 61

struct quota_limits {
	uint64_t max[QW_COUNT];
};

/* A zero id leaves the level out (a subject without organisation). */
struct quota_who {
	struct id id[QL_COUNT];
};

struct quota_hold {
	struct quota_who who;
	struct zone_now req_at, tok_at; /* when the request and the tokens were taken */
	uint64_t tokens;		/* reserved now */
	bool open, claimed;
};

/* Why not. retry_ms 0 with no_retry: waiting does not help (it can never fit). */
struct quota_no {
	enum quota_level level;
	enum quota_what what;
	uint64_t limit, used, asked;
	uint32_t retry_ms;
	bool no_retry;
};

/* For the x-ratelimit headers: the level with the least left. Open limits give UINT64_MAX. */
struct quota_head {
	uint64_t lim_req, rem_req, lim_tok, rem_tok;
	uint32_t reset_req_ms, reset_tok_ms;
};

struct quota_bucket {
	int64_t sec;
	uint64_t req, tok;
};

/* One account: a level and an id. Public for snapshots; change it only through functions. */
struct quota_acct {
	enum quota_level level;
	struct id id;
	struct quota_bucket min[QUOTA_BUCKETS];
	int32_t day, month;
	uint64_t day_req, day_tok, mon_req, mon_tok, conc;
	uint64_t ver; /* rises with each change; snapshots write what is newer than they saw */
};

struct quota;

struct quota *quota_new(void);	  /* NULL without memory */
void quota_free(struct quota *q); /* NULL ok */

/* Would it fit? Takes nothing. E_OK or E_BUSY with *no set. */
int quota_can_admit(struct quota *q, const struct quota_who *who,
		    const struct quota_limits lim[QL_COUNT], const struct zone_now *now,
		    struct quota_no *no);
int quota_can_claim(struct quota *q, const struct quota_who *who,
		    const struct quota_limits lim[QL_COUNT], uint64_t tokens,
		    const struct zone_now *now, struct quota_no *no);
/* Takes one request and one place at once on all levels. Needs at least one token to be left.
 * E_OK and *h is open; E_BUSY with *no set and nothing taken; E_NOMEM. now must not decrease. */
int quota_admit(struct quota *q, const struct quota_who *who,
		const struct quota_limits lim[QL_COUNT], const struct zone_now *now,
		struct quota_hold *h, struct quota_no *no);
int quota_admit_apply(struct quota *q, const struct quota_who *who, const struct zone_now *now,
		      struct quota_hold *h);
/* Takes tokens on all levels; once per hold (a second claim is E_CONFLICT). E_BUSY as above. */
int quota_claim(struct quota *q, struct quota_hold *h, const struct quota_limits lim[QL_COUNT],
		uint64_t tokens, const struct zone_now *now, struct quota_no *no);
int quota_claim_apply(struct quota *q, struct quota_hold *h, uint64_t tokens,
		      const struct zone_now *now);
/* Ends the hold with what was really used (more than reserved is counted too: the truth). A closed
 * hold is left alone: settling twice changes nothing. */
void quota_settle(struct quota *q, struct quota_hold *h, uint64_t used);
/* Ends the hold and gives all tokens back; keep_request: the request itself stays counted. */
void quota_refund(struct quota *q, struct quota_hold *h, bool keep_request);

void quota_heads(struct quota *q, const struct quota_who *who,
		 const struct quota_limits lim[QL_COUNT], const struct zone_now *now,
		 struct quota_head *out);
/* What is used now; 0 everywhere for an account nobody has used. */
void quota_used(struct quota *q, enum quota_level level, const struct id *id,
		const struct zone_now *now, uint64_t used[QW_COUNT]);
const char *quota_level_name(enum quota_level l);
const char *quota_what_name(enum quota_what w);

/* Accounts in no order; fn returning non-zero ends the walk with that value. */
int quota_each(struct quota *q, int (*fn)(void *arg, const struct quota_acct *a), void *arg);
const struct quota_acct *quota_acct(struct quota *q, enum quota_level level, const struct id *id);
uint64_t quota_version(const struct quota *q); /* of the last change */
/* Same accounts with the same numbers (buckets outside of the last minute before now aside). */
bool quota_equal(struct quota *a, struct quota *b, const struct zone_now *now);

#endif
