/* eng.h - the engine role without its process: requests, models, guard, records. engine_role.c
 * gives it messages and threads; tests drive the same functions over socketpairs.
 *
 * Threads: one, the owner of the inference engine; only eng_beat() may be called from another.
 * Time: milliseconds of CLOCK_MONOTONIC, always an argument; eng_cfg.wall for the date in prompts.
 *
 * One request (doc/formats.md 5.2):
 *   GRANTED     GRANT is here, SUBMIT is not        WAIT_GRANT  the other way round, 1 s at most
 *   CLAIM       tokenised, CLAIM sent               QUEUED      claimed, waits for KV memory
 *   CHECK       guard reads the prompt, model prefills
 *   INTENT      verdict known, INTENT sent          RUN         ACK is here: generation, windows
 *   ENDING      OUTCOME sent, the last bytes wait for its ACK (or only the record is left) */
#ifndef SP_DAEMON_ENG_H
#define SP_DAEMON_ENG_H

#include <stdatomic.h>
#include <uthash.h>

#include "chat.h"
#include "engine.h"
#include "guard.h"
#include "mask.h"
#include "msgs.h"
#include "pace.h"
#include "policy_file.h"
#include "reasons.h"
#include "release.h"
#include "scan.h"
#include "split.h"

#define ENG_CHOICES 16
#define ENG_MODELS 16
#define ENG_FILES 16
#define ENG_CREDIT 256u /* tokens each choice may give before gate grants more */
#define ENG_PROGRESS 128u /* tokens; store's LEASE_WINDOW: a crash hides one at most */
#define ENG_WAIT_GRANT_MS 1000u
#define ENG_EARLY_CANCEL_MS 10000u
#define ENG_GRANT_MS 30000u /* a grant nobody uses is ended */
#define ENG_TOTALS_MS 1000u /* between two ETOTALS */
#define ENG_LOST_MS 1000u   /* silence of store that ends streams */
#define ENG_GUARD_LATE_MS 60000u
#define ENG_MSGS_MAX (16u << 20)
#define ENG_TURNS 16u /* groups whose last turn at memory is remembered */
#define ENG_FULL_MS 1000u /* nothing fits: tried again when memory came back, or so much later */
#define ENG_USED_MAX 8192u /* leases remembered to tell a replay */

struct eng_cfg {
	uint32_t threads;
	const char *kernel; /* NULL = best */
	uint64_t kv_bytes;
	uint32_t cache_idle_ms; /* so long unused, what the prefix cache keeps goes; 0 = never */
	uint32_t draft; /* gen_limit.draft of every answer; 0 = off */
	uint32_t max_requests, queue_ms, request_ms;
	struct id boot;
	int64_t (*wall_ms)(void *arg);
	void (*random)(void *arg, void *p, size_t n);
	/* Sends one message: 0, E_BUSY (peer slow) or E_CLOSED (peer gone). */
	int (*send)(void *arg, enum role_id to, enum chan_kind kind, uint16_t type,
		    struct span body);
	void *arg;
};

struct eng;
struct req;

enum req_state { RQ_WAIT_GRANT, RQ_CLAIM, RQ_QUEUED, RQ_CHECK, RQ_INTENT, RQ_RUN, RQ_ENDING };

struct grant {
	struct id lease; /* key */
	struct id req, conn;
	uint64_t domain, group, born_ms;
	uint8_t tier, purpose;
	uint32_t model_ix, max_out;
	bool used;
	UT_hash_handle hh;
};

/* What an engine job or a reading belongs to. choice -1 = the prompt. */
struct jobtag {
	job_id job; /* key */
	struct req *rq;
	int choice;
	bool prefill;
	UT_hash_handle hh;
};

struct rback { /* whom a reading works for; choice -1 = the prompt */
	struct req *rq;
	int choice;
};

struct choice {
	struct seq *seq;
	struct mask *mask; /* NULL: any text */
	struct reading *reading;
	struct jobtag tag;
	struct rback back; /* reading_user() */
	struct release rel;
	bool prefilled, generating, done;
	uint32_t gen;		/* tokens generated */
	uint32_t credit, given; /* by gate; to the engine */
	uint64_t checked_ms;	/* when the last check began */
	size_t window_from;	/* text already in a window record */
};

struct record { /* kept until ACK */
	uint16_t type;
	uint32_t rseq;
	bool sent, acked;
	struct buf body;
};

struct req {
	struct eng *g;
	struct id id, lease; /* keys of two tables */
	struct id conn;
	enum req_state state;
	struct grant grant; /* copy */
	uint64_t born_ms, since_ms, started_us;
	uint32_t model_ix, n, max_out, cap, per_choice;
	struct sampler smp;
	struct buf text; /* the messages, as SUBMIT carries them */
	struct buf stops;
	struct chat_msg *msgs; /* for the guard: the form's text is one, the first */
	size_t n_msgs, n_form; /* n_form: of msgs, that are no part of the conversation */
	bool formed;	       /* the answer is JSON: by the first of msgs, or any object */
	struct schema *schema;
	int32_t *ids;
	size_t n_ids, cap_ids;
	uint32_t cached, guard_tokens;
	struct scan *scan;
	struct reading *reading; /* of the prompt */
	struct rback back;
	uint32_t scan_need;
	struct choice *ch;
	struct buf windows;
	uint32_t n_windows;
	uint32_t rseq;
	struct record intent, outcome, early; /* early: OUTCOME of a request without intent */
	uint32_t told_tokens;		      /* by the last PROGRESS */
	uint64_t told_ms;
	bool active;   /* holds sequences */
	bool silent;   /* nothing more to gate */
	bool gone;     /* gate cancelled */
	uint16_t fail; /* what to tell gate at the OUTCOME's ACK; 0 = the answer's end */
	UT_hash_handle hh, hl;
	struct req *qnext; /* queue for memory */
	uint32_t passed;   /* admitted behind it while it stood first */
};

struct eng_model {
	uint8_t sha[32];
	bool chat, guard, tried;
	struct model *m; /* NULL: not loaded */
	enum chat_format format;
};

struct eng_file { /* of one model */
	char name[80];
	int fd[SPLIT_MAX]; /* its parts in order */
	unsigned n;
	bool hashed;
	uint8_t sha[32]; /* split_digest() */
	struct model *m; /* loaded from it */
};

struct early_cancel {
	struct id req; /* key */
	uint64_t at_ms;
	UT_hash_handle hh;
};

struct eng {
	struct eng_cfg cfg;
	struct engine *e;
	struct eng_file file[ENG_FILES];
	unsigned n_files;
	struct eng_model model[ENG_MODELS];
	unsigned n_models;
	struct msg_SETTINGS set; /* models points nowhere after the call */
	bool have_set, policy_ok;
	int policy_fd;
	struct policy policy;
	struct guard *guard;
	uint32_t guard_ix;
	bool guard_told;
	struct req *by_id, *by_lease;
	struct grant *grants; /* insertion order: oldest first */
	struct early_cancel *cancels;
	struct jobtag *jobs;
	struct req *queue, **queue_end;
	uint64_t turn[ENG_TURNS]; /* fair groups admitted last, the newest at the end */
	unsigned n_queued, active; /* active: holding sequences */
	bool full; /* nothing of the queue fitted beside full_pages of KV that were reserved */
	uint64_t full_pages, full_ms;
	bool store_up, gate_up, draining, resend;
	uint64_t drain_ms, next_estate_ms, next_totals_ms, now_ms;
	_Atomic uint64_t beat_ms; /* arrival of the last beat; 0 = none yet */
	_Atomic uint32_t beat_life;
	_Atomic uint32_t reasons; /* why not ready; 0 = ready */
};

/* ---- for engine_role.c and tests ---- */
int eng_new(const struct eng_cfg *cfg, struct eng **g, struct err *err);
void eng_free(struct eng *g); /* takes; NULL ok. Records not acknowledged are lost with it. */
/* A descriptor main gave: "policy" or "model:<name>". Takes fd; one of the same name is replaced.
 */
void eng_file(struct eng *g, const char *name, int fd);
/* One message that the table allows; *fd (NULL ok) is taken by setting it to -1. */
void eng_msg(struct eng *g, enum role_id from, uint16_t type, struct span body, int *fd,
	     uint64_t now_ms);
void eng_peer(struct eng *g, enum role_id peer, bool up, uint64_t now_ms);
/* A BEAT arrived; any thread. */
void eng_beat(struct eng *g, uint32_t life_ms, uint64_t now_ms);
/* Works for about budget_ns, looks at every timer. 1: there is more to do now; 0: idle. */
int eng_step(struct eng *g, uint64_t now_ms, uint64_t budget_ns);
void eng_drain(struct eng *g, uint64_t deadline_ms);
bool eng_drained(const struct eng *g); /* nothing runs and every record is acknowledged */
unsigned eng_open(const struct eng *g);
uint32_t eng_reasons(const struct eng *g); /* any thread */

/* ---- between its files ---- */
#define ENG_SEND(g, to, kind, NAME, m)                                                             \
	({                                                                                         \
		char mem_[WIRE_MSG_MAX];                                                           \
		struct buf b_ = BUF_FIXED(mem_, sizeof(mem_));                                     \
		int rc_ = msg_enc_##NAME(&b_, (m));                                                \
		rc_ < 0 ? rc_                                                                      \
			: (g)->cfg.send((g)->cfg.arg, (to), (kind), M_##NAME, buf_span(&b_));      \
	})
/* eng_load.c */
void eng_settings(struct eng *g, const struct msg_SETTINGS *m);
void eng_guard_tick(struct eng *g);
uint32_t eng_why_not(struct eng *g);
struct eng_model *eng_chat_model(struct eng *g, uint32_t ix);
/* eng_req.c */
void eng_on_submit(struct eng *g, const struct msg_SUBMIT *m, int *fd);
void eng_on_grant(struct eng *g, const struct msg_GRANT *m);
void eng_on_claimok(struct eng *g, const struct msg_CLAIMOK *m);
void eng_on_claimno(struct eng *g, const struct msg_CLAIMNO *m);
struct req *eng_find(struct eng *g, const struct id *req);
struct req *eng_find_lease(struct eng *g, const struct id *lease);
void req_send_claim(struct req *rq);
void req_free(struct req *rq); /* takes */
/* eng_admit.c */
void eng_admit_queue(struct eng *g);
void req_enqueue(struct req *rq);
void req_unqueue(struct req *rq);
void req_drop_work(struct req *rq); /* sequences, readings, scan: all given back */
void req_scan_verdict(struct req *rq, const struct verdict *v);
/* eng_gen.c */
void req_tag(struct req *rq, struct jobtag *t, job_id job, int choice, bool prefill);
void req_untag(struct req *rq, struct jobtag *t);
bool eng_event(struct eng *g, const struct event *ev); /* false: nobody's job */
void req_start(struct req *rq);
void req_pump(struct req *rq);
void req_choice_verdict(struct req *rq, int choice, const struct verdict *v);
void req_last_words(struct req *rq, struct span receipt); /* after the OUTCOME's ACK */
uint32_t req_completion(const struct req *rq);
/* eng_rec.c */
void req_send_intent(struct req *rq, enum decide_action a, const struct decision *d);
void req_send_outcome(struct req *rq, enum outcome_state st, uint16_t code);
void req_progress(struct req *rq);
void eng_on_ack(struct eng *g, const struct msg_ACK *m);
void eng_on_nack(struct eng *g, const struct msg_NACK *m);
void eng_hello(struct eng *g);
void eng_resend(struct eng *g, bool all);
/* eng_end.c */
/* Ends a request before any intent: FAIL to gate, the lease given back. */
void req_refuse(struct req *rq, uint16_t code, uint32_t retry_ms, uint32_t a, uint32_t b);
/* Ends it wherever it stands. tell: FAIL goes to gate at once. */
void req_end(struct req *rq, enum outcome_state st, uint16_t code, bool tell);
void grant_end(struct eng *g, struct grant *gr, uint16_t code);
void eng_fail(struct eng *g, const struct id *req, uint16_t code, uint32_t retry_ms, uint32_t a,
	      uint32_t b);
void eng_on_cancel(struct eng *g, const struct msg_CANCEL *m);
void eng_on_revoke(struct eng *g, const struct msg_REVOKE *m);
void eng_timers(struct eng *g);
bool eng_may_release(const struct eng *g);
void eng_odd(struct eng *g, enum role_id who, uint16_t type, uint16_t code, const struct id *req);

#endif
