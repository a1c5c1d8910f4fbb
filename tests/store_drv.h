/* store_drv.h - drives a real store process: plays main, front, gate, engine and admin over the
 * wire, keeps its own list of what store acknowledged, kills the process and starts it again.
 * One thread. Failures of the set-up end the program; findings are counted. */
#ifndef SP_TESTS_STORE_DRV_H
#define SP_TESTS_STORE_DRV_H

#include <sys/types.h>
#include <uthash.h>

#include "chan.h"
#include "genesis.h"
#include "lease.h"
#include "note.h"
#include "reasons.h"
#include "statement.h"

#define DRV_CONNS 8
#define DRV_OFFICERS 2
#define DRV_PATIENCE_MS 60000 /* for what must come; only a failure takes so long */

enum req_step { RQ_AUTH, RQ_CLAIM, RQ_INTENT, RQ_RUN, RQ_OUTCOME, RQ_DONE, RQ_GONE };

struct req {
	struct id req, conn, lease;
	enum req_step step;
	uint32_t prompt, max_out, cap, out, rseq;
	bool blocked;
	uint8_t salt[32], commit[32];
	/* what was acknowledged */
	bool intent_acked, outcome_acked, checked;
	uint64_t intent_ix, outcome_ix;
	uint16_t denied;
	uint64_t at[5]; /* ns: AUTH sent, AUTHOK, CLAIMOK, intent ACK, outcome ACK */
	UT_hash_handle hh, hl;
};

struct drv {
	char dir[256]; /* realm: state/, log/, genesis.json, secret/ */
	int state_fd, log_fd, genesis_fd, key_fd, pepper_fd, kek_fd;
	struct genesis gen;
	struct buf doc;
	uint8_t aud[32];
	uint8_t off_sk[DRV_OFFICERS][64];
	struct vkey vkey;
	uint8_t key_digest[32]; /* of the API key's secret */
	char kid[ID_B32 + 1];
	struct id sub, org;
	int64_t expires; /* of the subject, Unix ms; 0 never */
	bool sandbox;
	const char *disk_reserve; /* NULL: 1MiB */
	const char *fault;	  /* SALLYPORT_FAULT of the child; NULL none */

	pid_t pid;
	struct chan *main, *front, *front_c, *gate, *gate_c, *eng, *eng_c, *adm, *adm_c;
	bool ready;
	uint32_t reasons;
	uint64_t beats, states;
	struct id engine_boot;
	struct id conn[DRV_CONNS];
	bool drained, drained_clean;
	/* answer of the last ADMREQ, ENROLL or RCPT */
	struct id asked;
	bool answered;
	unsigned status;
	uint16_t deny_code;
	struct buf answer;

	struct req *reqs, *by_lease;
	unsigned in_flight;	/* not DONE, not GONE */
	unsigned hold_outcomes; /* requests that stay in RUN */
	uint64_t acks, denies, nacks, revokes, receipts_bad, done;
	bool lies;     /* this engine lies: its outcomes may be refused */
	uint64_t lost; /* findings */
};

/* First call of main(): with --as-store the program is the store process itself. */
void drv_main(int argc, char **argv);
/* Makes a realm under dir (which must not exist) with two officers and no log yet. */
void drv_realm(struct drv *d, const char *dir);
void drv_realm_free(struct drv *d);
/* Starts store, says HELLO with what the engine still holds, resends; waits for readiness when
 * wait_ready. False: the process ended or was not ready in time. */
bool drv_start(struct drv *d, bool wait_ready);
/* Officers confirm; a subject is onboarded; its code is redeemed. */
void drv_birth(struct drv *d);
/* Serves messages until *flag or ms have passed; false on time or a dead process. */
bool drv_until(struct drv *d, const bool *flag, unsigned ms);
void drv_poll(struct drv *d, int ms);
/* A new request of gate; step to step by itself up to its outcome. */
struct req *drv_request(struct drv *d);
void drv_intent(struct drv *d, struct req *r);
void drv_outcome(struct drv *d, struct req *r, enum outcome_state st);
void drv_serve(struct drv *d, struct msg_in *in); /* one message of store */
/* SIGKILL and reap. Requests that no engine would still know are forgotten. */
void drv_kill(struct drv *d);
/* As drv_kill for a process that ended by itself and was waited for. */
void drv_reap(struct drv *d);
/* The engine dies and comes back with another boot and nothing in its hands. */
void drv_engine_restart(struct drv *d);
/* DRAIN and reap; gives the exit status. */
int drv_stop(struct drv *d);
/* Looks every new acknowledgement up in the log folder; counts d->lost. */
void drv_check_log(struct drv *d);
/* Folds the whole log: intents, outcomes, open, tokens. */
struct drv_sums {
	uint64_t entries, reserves, intents, outcomes, ended, tokens, odd, aggregates;
	uint64_t used_month, conc;
	unsigned open;
};
void drv_sums(struct drv *d, struct drv_sums *s);
/* The auditor's own check of the folder; prints what is wrong. */
bool drv_verify(struct drv *d, bool clean);
/* Asks an admin verb; gives the status, body in d->answer. */
unsigned drv_admin(struct drv *d, unsigned verb, struct span body);
/* An officer's signed statement (nonce, aud, kid and ts are filled in); gives the status. */
unsigned drv_statement(struct drv *d, unsigned officer, struct stmt *s, struct span sealed);
/* Counts entries of type t ("peer.odd"). */
uint64_t drv_count(struct drv *d, const char *t);
void drv_fail(const char *what) __attribute__((noreturn));

#endif
