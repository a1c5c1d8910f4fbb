/* store_ev.h - log entries of the request path as structs: to canonical JSON and back
 * (doc/formats.md 4). The live store and the fold over the log apply the same structs, so they
 * cannot differ. Pure; any thread. */
#ifndef SP_DAEMON_STORE_EV_H
#define SP_DAEMON_STORE_EV_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "id.h"
#include "reasons.h"

#define EV_MAX 8192u	/* bytes of any entry made here */
#define EV_WINDOWS 160u /* windows one policy.output holds; more are merged */
#define EV_KERNEL_MAX 31u

enum ev_type {
	EV_OTHER, /* an entry that changes no usage (or one of somebody else) */
	EV_RESERVE,
	EV_CLAIM,
	EV_INTENT,
	EV_PROGRESS,
	EV_OUTCOME,
	EV_ENDED,
};

/* What the fold needs; the other members of an entry are given to the writers below. */
struct ev {
	enum ev_type type;
	int64_t ts;
	struct id req, lease, conn, key, sub, org; /* org zero: none */
	uint32_t max_total;			   /* RESERVE: max x n */
	uint32_t prompt, out, completion;	   /* CLAIM, OUTCOME */
	uint32_t tokens;			   /* PROGRESS */
	uint64_t bytes;
	uint16_t code; /* enum reason: ENDED, OUTCOME */
	uint8_t state; /* enum outcome_state */
};

/* E_OK (EV_OTHER for entries of no interest; ts is set in any case), E_FORMAT. */
int ev_parse(struct span entry, struct ev *e, struct err *err);
/* Does a refusal with this code give the request back? (Rate and quota refusals cost nothing.) */
bool ev_is_free(uint16_t code);
const char *ev_state_name(unsigned state);
const char *ev_action_name(unsigned action);
const char *ev_endpoint_name(unsigned endpoint);
/* Lower-case letters, digits, '.', '_' and '-' only, at most EV_KERNEL_MAX: safe in an entry. */
bool ev_kernel_ok(struct span s);

struct ev_reserve_more {
	uint8_t endpoint, tier;
	uint32_t n, max;
	struct span model; /* canonical name */
	uint8_t src[8];
};
struct ev_verdict {
	uint8_t action;
	uint32_t cats, score_milli, threshold_milli;
	const uint8_t *policy_sha, *guard_sha; /* 32 bytes */
	struct span kernel;
};
struct ev_intent_more {
	const uint8_t *commit, *model_sha; /* 32 bytes */
	uint32_t prompt_bytes, prompt_tokens;
};
struct ev_outcome_more {
	uint32_t cached, guard;
	const uint8_t *commit;
	uint64_t dur_us, out_bytes, released;
};
struct ev_window {
	uint32_t choice, from, to, cats;
	uint8_t action;
	uint16_t score;
};
struct ev_refused {
	struct id req, key, sub, org; /* zero: left out */
	uint16_t code;
	const char *stage; /* auth quota claim submit */
	uint8_t src[8];
};

/* Each appends one entry; b goes bad on overflow. boot: of this process. */
void ev_put_reserve(struct buf *b, const struct id *boot, const struct ev *e,
		    const struct ev_reserve_more *m);
void ev_put_claim(struct buf *b, const struct id *boot, const struct ev *e);
void ev_put_input(struct buf *b, const struct id *boot, const struct ev *e,
		  const struct ev_verdict *v);
void ev_put_intent(struct buf *b, const struct id *boot, const struct ev *e,
		   const struct ev_intent_more *m);
void ev_put_progress(struct buf *b, const struct id *boot, const struct ev *e);
void ev_put_output(struct buf *b, const struct id *boot, const struct ev *e,
		   const struct ev_window *w, unsigned n);
void ev_put_outcome(struct buf *b, const struct id *boot, const struct ev *e,
		    const struct ev_outcome_more *m);
void ev_put_ended(struct buf *b, const struct id *boot, const struct ev *e);
void ev_put_refused(struct buf *b, const struct id *boot, int64_t ts, const struct ev_refused *r);
void ev_put_odd(struct buf *b, const struct id *boot, int64_t ts, const char *from, uint16_t type,
		uint16_t code, const struct id *req);
void ev_put_jump(struct buf *b, const struct id *boot, int64_t ts, int64_t delta_ms);
void ev_put_start(struct buf *b, const struct id *boot, int64_t ts, uint32_t epoch, uint64_t prev,
		  const uint8_t genesis[32]);
void ev_put_recovered(struct buf *b, const struct id *boot, int64_t ts, uint64_t dropped,
		      uint64_t size);
void ev_put_stop(struct buf *b, const struct id *boot, int64_t ts);
/* Counts by reason number; only those above 0 are written. */
void ev_put_aggregate(struct buf *b, const struct id *boot, int64_t ts, int64_t from, int64_t to,
		      const uint64_t *count, unsigned n);
/* Merges neighbours (worst action, all categories, highest score) until at most EV_WINDOWS are
 * left. Gives the new count. Windows of one choice are merged first. */
unsigned ev_merge_windows(struct ev_window *w, unsigned n);

/* `extra` of a receipt: the entry and the salts; salts may be NULL (not known any more). */
void ev_put_extra(struct buf *b, struct span entry, const uint8_t *prompt_salt,
		  const uint8_t *output_salt);

#endif
