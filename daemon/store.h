/* store.h - inside the store role: state shared by store_*.c. Not for other roles.
 *
 * Threads: the loop (control) thread owns struct store and never waits for a disk; log writer
 * (store_log.c); the database writer, which also runs the admin side, and the reader
 * (store_work.c). `order` is held by the loop thread while it handles a message and by the database
 * thread while it takes a decision time and a place in the log queue: so times in the log never
 * decrease. */
#ifndef SP_DAEMON_STORE_H
#define SP_DAEMON_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "authority.h"
#include "role.h"
#include "store_admin.h"
#include "store_fold.h"
#include "store_log.h"
#include "store_work.h"

#define PEERS_MAX 65536u
#define PENDS_MAX 4096u
#define SINGLE_BURST 200 /* refusals with an entry of their own at once; then 20 a second */
#define PEER_WAIT_MS 500
#define HELLO_WAIT_MS 3000
#define BEAT_MS 250
#define BEAT_LIFE_MS 500
#define ADDR_MAX 64
#define RESERVED_MAX_MS 30000 /* an AUTHOK nobody claims */
#define POISON_LINGER_MS 300  /* NACKs still go out, then the process ends */

enum { REASON_COUNT = 64 };

/* One connection as front told it. */
struct peer {
	struct id conn;
	bool has_cert;
	uint8_t thumb[32];
	uint8_t src[8]; /* keyed pseudonym of the address */
	UT_hash_handle hh;
};

#define STASH_MAX (8u << 20)
/* A record of engine that came before its HELLO. */
struct stash {
	struct stash *next;
	uint16_t type;
	size_t n;
	char data[];
};

/* A request of gate that waits for PEER or for the database. */
enum pend_kind { PEND_AUTH, PEND_MODELS, PEND_RCPT };
struct pend {
	enum pend_kind kind;
	struct id req, conn, kid, of;
	bool kid_ok, looked; /* key id is well-formed; the row has been read */
	int rc;		     /* of the read */
	uint64_t gen;	     /* authority generation before the read */
	struct auth_row row;
	uint8_t digest[32];
	char model[WIRE_STR_MAX + 1];
	uint8_t endpoint;
	uint32_t n, max_out;
	uint64_t deadline; /* monotonic ms: PEER must be here by then */
	struct store *s;
	bool busy; /* a read is under way: the worker holds a pointer */
	bool dead; /* answered while busy */
	struct pend *next;
};

#define RCPT_BATCH 256
struct receipt_rows {
	unsigned n;
	struct receipt_row row[RCPT_BATCH];
};

enum db_job_kind { DBJ_START, DBJ_ADMREQ, DBJ_ENROLL, DBJ_APPENDED, DBJ_TICK, DBJ_ROWS };

struct counters {
	uint64_t auth_ok, denied[REASON_COUNT], aggregated[REASON_COUNT];
	uint64_t claims, intents, blocked, progress, outcomes[10], ended, duplicates;
	uint64_t prompt_tokens, completion_tokens, guard_tokens;
	uint64_t odd[R_COUNT], dropped_entries, nacks, hellos, revokes, enrolled, receipts;
};

#define ADM_HELD_MAX 64
struct adm_copy; /* store_db.c */
struct store {
	struct role *r;
	struct fold f;
	struct slog *log;
	struct work *rd, *wr, *ix; /* database reader, writer, index writer */
	struct store_index *index; /* index thread only, after start */
	struct fold rep;	   /* index thread: the fold of what is durable */
	uint64_t rep_ver, rep_written, rep_at;
	struct receipt_rows *rows; /* not yet handed to the writer */
	uint64_t rows_at, admin_tick_at;
	unsigned db_jobs, owed; /* jobs of wr not back; (writer thread) entries not durable */
	unsigned db_kind[DBJ_ROWS + 1];		/* of them, by kind */
	bool admin_started, admin_idle, reload; /* reload: writer thread */
	struct db *db_rd, *db_wr;
	struct store_admin *admin; /* db writer thread only */
	pthread_mutex_t order;	   /* last_ms and the order of the log queue */
	int64_t last_ms;
	struct slog_hold *hold; /* db writer thread: of the job under way */
	int64_t hold_ms;
	bool may_write;
	uint8_t *pepper; /* 32 bytes, guarded memory */
	uint8_t genesis[32];
	char origin[NOTE_NAME_MAX + 1];
	uint32_t epoch;
	struct buf genesis_doc;
	struct logw_report found; /* at open */
	uint8_t log_pub[32];
	struct adm_copy *held[ADM_HELD_MAX]; /* admin requests that came before that */
	unsigned n_held;
	bool log_begun, log_started; /* log.start is on its way; durable */
	atomic_ullong auth_gen;	     /* rises whenever rows of the authority set may have changed */

	char zone_name[TZ_NAME];
	struct settings set;
	bool have_set, locked_all, confirmed;
	uint32_t set_sent;
	struct peer *peers;
	struct pend *pends;
	unsigned n_pends;

	struct stash *stash, **stash_tail;
	size_t stash_bytes;
	struct id engine;  /* boot of the engine that said HELLO; zero = none */
	struct msg_ETOTALS totals; /* its last; zero = none */
	uint64_t hello_by; /* monotonic ms; 0 = nothing to wait for */
	struct {
		bool up, guard;
	} model[MODELS_MAX];
	struct msg_MODELUP early[2 * MODELS_MAX]; /* came before our settings were read */
	unsigned n_early;

	uint32_t told_why;
	uint64_t started_at, beat_at, beat_seq;
	int64_t clock_off, clock_base; /* wall - monotonic, last seen and at the last good time */
	int64_t clock_shift;	       /* 0 but in tests */
	bool clock_bad;
	uint64_t poisoned_at;
	uint64_t drain_by;
	bool stopping, stopped;
	uint64_t bucket_at; /* budget of single refusal entries */
	unsigned bucket;
	uint64_t flood[REASON_COUNT];
	int64_t flood_from;
	uint64_t flood_at;
	uint64_t sweep_at, expire_at;
	struct counters n;
};

/* ---- store_role.c ---- */
int64_t store_now(struct store *s);	 /* decision time; order held */
uint32_t store_reasons(struct store *s); /* NR_ bits */
void store_beat(struct store *s, uint64_t now_ms);
struct slog_job *store_job(struct store *s); /* never NULL: ends the process without memory */
/* One entry nobody waits for; lost without room. Takes the job away with it. */
void store_note(struct store *s, struct buf *entry);

/* ---- store_auth.c: gate and front ---- */
void store_on_peer(struct store *s, const struct msg_PEER *m);
void store_on_peergone(struct store *s, const struct id *conn);
void store_drop_peers(struct store *s);
struct peer *store_peer(struct store *s, const struct id *conn);
void store_on_auth(struct store *s, const struct msg_AUTH *m);
void store_on_models(struct store *s, const struct msg_MODELS *m);
void store_on_rcpt(struct store *s, const struct msg_RCPT *m);
void store_on_authdrop(struct store *s, const struct msg_AUTHDROP *m);
void store_pends_tick(struct store *s, uint64_t now_ms);
void store_drop_pends(struct store *s);
/* ---- store_gate.c: decisions ---- */
void store_decide(struct store *s, struct pend *p, const struct peer *peer);
void store_deny(struct store *s, const struct id *req, uint16_t code, uint32_t retry_ms,
		bool no_retry);
void store_refused(struct store *s, const struct pend *p, const struct peer *peer, uint16_t code,
		   const char *stage);
uint16_t store_quota_reason(const struct quota_no *no);
void store_limits(const struct limits in[LV_COUNT], struct quota_limits out[QL_COUNT]);
/* ---- store_req.c: engine ---- */
void store_on_claim(struct store *s, const struct msg_CLAIM *m);
void store_on_intent(struct store *s, const struct msg_INTENT *m);
void store_on_progress(struct store *s, const struct msg_PROGRESS *m);
void store_on_outcome(struct store *s, const struct msg_OUTCOME *m);
void store_ack(struct store *s, const struct id *lease, const struct id *req, uint32_t rseq,
	       uint64_t index, uint32_t cap, struct span receipt);
void store_nack(struct store *s, const struct id *lease, const struct id *req, uint32_t rseq,
		uint16_t code);
/* ---- store_live.c: engines come and go, leases end ---- */
void store_on_hello(struct store *s, const struct msg_HELLO *m);
void store_on_modelup(struct store *s, const struct msg_MODELUP *m);
void store_early_models(struct store *s);
void store_engine_gone(struct store *s, uint64_t now_ms);
void store_expiries(struct store *s); /* of leases from before our start; after the replay */
void store_live_tick(struct store *s, uint64_t now_ms);
void store_revoke(struct store *s, const struct revoke_sel *sel);
uint64_t store_domain(const struct id *i); /* how GRANT and FORGET name a subject or a group */
void store_send_settings(struct store *s);
/* Ends a lease on our own account: outcome `unknown` after an intent, request.ended before. */
void store_end_lease(struct store *s, struct lease *l, uint16_t code);
void store_close_all(struct store *s, uint16_t code);
uint64_t store_lease_cost(void);
/* ---- store_flood.c ---- */
void store_flood(struct store *s, uint16_t code, uint32_t count);
void store_flood_tick(struct store *s, uint64_t now_ms, bool now);
bool store_single_ok(struct store *s); /* may one more refusal have its own entry? */
void store_odd(struct store *s, enum role_id who, uint16_t type, uint16_t code,
	       const struct id *req);
/* ---- store_db.c ---- */
int store_db_open(struct store *s, int state_fd, const uint8_t kek[32], struct err *err);
void store_db_close(struct store *s);
void store_on_admreq(struct store *s, const struct msg_ADMREQ *m);
void store_release_held(struct store *s); /* once log.start is durable */
void store_on_enroll(struct store *s, const struct msg_ENROLL *m);
void store_db_tick(struct store *s, uint64_t now_ms);
bool store_db_idle(struct store *s);
void store_rows_flush(struct store *s);
void store_db_begin(struct store *s);
/* ---- store_open.c ---- */
int store_db_start(struct store *s, struct err *err);
/* ---- store_rcpt.c ---- */
void store_committed(void *ctx, const struct slog_job *j); /* log thread */
void store_receipt_row(struct store *s, const struct receipt_row *row);
struct store_admin_cb store_admin_callbacks(struct store *s);
void store_reload_settings(struct store *s);
void store_rcpt(struct store *s, const struct pend *p);
void store_admin_own(struct store *s, const struct msg_ADMREQ *m); /* verbs the role answers */
void store_adm_reply(struct store *s, const struct id *req, unsigned status, bool more,
		     struct span body);
/* ---- store_balance.c ---- */
void store_balance_entry(struct store *s, struct span entry);
void store_balance_write(struct store *s, bool now);
void store_balance_compare(struct store *s);
void store_balance_zone(struct store *s);
/* ---- store_metrics.c ---- */
void store_metrics(struct store *s, struct buf *out);
void store_status_json(struct store *s, struct buf *out);

#endif
