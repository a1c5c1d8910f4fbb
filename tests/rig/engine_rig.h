/* engine_rig.h - the engine role's own dispatch between two doubles, store and gate, over real
 * socketpairs and the real table of messages. Time is a number the test moves. The rig watches the
 * promises itself and fails the test when one breaks:
 *   no OUT before the ACK of INTENT, none after REVOKE or while beats are too old; no DONE before
 * the ACK of OUTCOME; one OUTCOME for one INTENT; windows cover every byte that left. */
#ifndef SP_TESTS_ENGINE_RIG_H
#define SP_TESTS_ENGINE_RIG_H

#include "chan.h"
#include "eng.h"

#define RIG_REQS 256
#define RIG_CHOICES 4

struct rig_req {
	struct id id, lease, conn;
	uint32_t n, max_out;
	/* what gate saw */
	bool admitted, done, failed;
	uint16_t fail_code, fail_status;
	struct buf out[RIG_CHOICES];
	uint8_t finish[RIG_CHOICES];
	uint32_t tokens[RIG_CHOICES], first_out_gen;
	uint32_t completion, admit_cached, done_cached;
	/* what store saw */
	unsigned claims, intents, outcomes, resent;
	uint8_t action, state;
	uint16_t code;
	uint32_t intent_rseq, outcome_rseq, prompt_tokens, cats, score;
	uint32_t guard_tokens, outcome_cached;
	bool intent_acked, outcome_acked, early;
	uint64_t out_bytes, released;
	struct buf windows;
	uint8_t prompt_commit[32], prompt_salt[32], out_commit[32], out_salt[32];
	bool revoked; /* REVOKE has been read by the engine */
};

struct rig {
	struct eng *g;
	struct chan *mine[R_COUNT][2]; /* the engine's ends */
	struct chan *peer[R_COUNT][2]; /* the doubles' ends */
	uint64_t now, next_beat, last_beat;
	bool beats;
	/* what the store double does by itself */
	bool auto_claim, auto_intent, auto_outcome;
	uint32_t cap;	/* 0 = as asked */
	uint64_t group, domain; /* of the next grants; 0 = 1 */
	unsigned odds, hellos, modelups, guard_ok, guard_bad;
	uint16_t last_odd;
	uint32_t ready_reasons;
	struct msg_ETOTALS totals; /* the last */
	unsigned n_totals;
	struct rig_req rq[RIG_REQS];
	unsigned n;
};

/* NULL when the bundled model is not there: skip. SALLYPORT_STARTER names another file. threshold
 * in milli for the policy. guard_file: descriptor of another guard, -1 = the model itself. */
extern int rig_parts[8]; /* further files of the guard, for rig_new() */
extern unsigned rig_n_parts;
extern uint32_t rig_draft; /* [engine] draft of the next rig_new() */
struct rig *rig_new(uint32_t threshold_milli, int guard_fd, bool demo);
void rig_free(struct rig *r);
int rig_starter(void); /* descriptor or -1 */

/* Makes a request's ids; nothing is sent. */
struct rig_req *rig_req(struct rig *r, uint32_t n, uint32_t max_out);
void rig_grant(struct rig *r, struct rig_req *q);
void rig_submit(struct rig *r, struct rig_req *q, const char *prompt);
void rig_submit_ex(struct rig *r, struct rig_req *q, const struct chat_msg *msgs, size_t n_msgs,
		   const char *stop, float temperature, bool stream);
void rig_cancel(struct rig *r, struct rig_req *q);
void rig_revoke(struct rig *r, struct rig_req *q);
void rig_forget(struct rig *r, uint64_t domain);
void rig_claimok(struct rig *r, struct rig_req *q);
void rig_ack(struct rig *r, struct rig_req *q, bool outcome);
void rig_peer(struct rig *r, enum role_id peer, bool up);

/* Delivers what is there, steps the engine once (ms: how far time moves). 1 = more to do. */
int rig_turn(struct rig *r, uint64_t ms);
/* Turns until nothing is to do, or n turns. */
void rig_settle(struct rig *r);
void rig_turns(struct rig *r, unsigned n, uint64_t ms);
/* Turns until the request is done or failed and its records are acknowledged. */
void rig_finish(struct rig *r, struct rig_req *q);
/* Windows of choice cover [0, bytes). */
bool rig_covered(const struct rig_req *q, uint32_t choice, uint32_t bytes);

#endif
