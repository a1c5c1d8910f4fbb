/* gate.h - inside of the gate role: requests between a client, store and engine. Loop thread only.
 * gate holds no file, no key, no right: what it lets through, store and engine check again. */
#ifndef SP_DAEMON_GATE_H
#define SP_DAEMON_GATE_H

#include <uthash.h>

#include "http.h"
#include "req_json.h"
#include "role.h"
#include "sse.h"

#define GATE_STATE_LIFE_MS 500 /* older news of store: nothing is admitted */
#define GATE_AUTH_MS 5000
#define GATE_PING_MS 15000

/* AUTH.endpoint */
enum gate_endpoint { GE_CHAT = 1 };

struct gconn {
	struct id id;
	struct http_conn *hc;
	UT_hash_handle hh;
};

enum greq_kind { GK_CHAT, GK_MODELS, GK_ENROLL, GK_RECEIPT };
enum greq_state {
	GS_AUTH,  /* store is asked */
	GS_QUEUE, /* submitted, not admitted */
	GS_RUN,	  /* admitted: bytes flow */
	GS_OVER,  /* answered; the client may still be reading */
};

struct credit_mark { /* when the client's side took `end` bytes, engine may go on */
	uint64_t end;
	uint32_t choice, tokens;
};

struct greq {
	struct id id;
	struct http_req *q;
	enum greq_kind kind;
	enum greq_state state;
	uint64_t deadline, last_byte; /* monotonic ms */
	UT_hash_handle hh;
	char want[256]; /* GK_MODELS: the one asked for, "" = all */
	/* GK_CHAT */
	struct chat_req chat;
	struct id lease;
	bool has_lease;
	struct msg_AUTHOK limits; /* spans are not kept */
	struct sse_meta meta;
	struct {
		struct buf text; /* plain answers */
		const char *finish;
	} choice[REQ_N_MAX];
	struct usage usage;
	uint64_t put; /* bytes of the stream */
	struct credit_mark *mark;
	unsigned mark_at, n_mark, cap_mark;
};

struct gate {
	struct role *role;
	struct http *http;
	struct gconn *conns;
	struct greq *reqs;
	bool store_ready, engine_ready;
	uint32_t store_reasons, engine_reasons;
	uint64_t state_seen, next_flood, drain_until;
	int64_t started;
	uint32_t flood[64];
};

/* gate_role.c */
struct greq *greq_new(struct gate *g, struct http_req *q, enum greq_kind kind); /* NULL: answered */
struct greq *greq_find(struct gate *g, const struct id *req);
/* Common headers of an answer. gr NULL ok. */
void gate_headers(struct http_req *q, const struct greq *gr, struct reply *r);
/* Answers with an error before store was asked: counted, reported by FLOOD. */
void gate_refuse(struct gate *g, struct http_req *q, enum reason code, const char *param,
		 const char *detail);
/* A detail in the client's language. */
static inline const char *gate_say(const struct http_req *q, const char *en, const char *vi)
{
	return http_vietnamese(q) ? vi : en;
}
/* Ends gr with an error: an HTTP answer, or an event when its stream has begun. */
void gate_fail(struct gate *g, struct greq *gr, const struct reply_fault *f);
void gate_answer_json(struct http_req *q, const struct greq *gr, struct buf *body); /* takes body */
/* 0 when a request may be tried now, else the reason to refuse with. */
enum reason gate_closed(const struct gate *g, bool needs_engine);
/* Key present and well formed? Else refused with 401. */
bool gate_has_key(struct gate *g, struct http_req *q);
uint32_t gate_reasons(const struct gate *g);
struct chan *gate_store(struct gate *g);
/* Tells store that nothing will be asked of engine under this lease. */
void gate_give_back(struct gate *g, struct id req, struct id lease, enum reason code);
struct chan *gate_engine(struct gate *g, enum chan_kind kind);

/* route.c */
void route(struct gate *g, struct http_req *q);

/* one file an endpoint */
void ep_chat(struct gate *g, struct http_req *q);
void ep_chat_authok(struct gate *g, struct greq *gr, const struct msg_AUTHOK *m);
void ep_chat_admit(struct gate *g, struct greq *gr, const struct msg_ADMIT *m);
void ep_chat_out(struct gate *g, struct greq *gr, const struct msg_OUT *m);
void ep_chat_done(struct gate *g, struct greq *gr, const struct msg_DONE *m);
void ep_chat_taken(struct gate *g, struct greq *gr, uint64_t total);
void ep_chat_cancel(struct gate *g, struct greq *gr); /* the client is gone, or we give up */
void ep_chat_ping(struct greq *gr, uint64_t now);
void ep_models(struct gate *g, struct http_req *q);
void ep_models_one(struct gate *g, struct http_req *q);
void ep_models_ok(struct gate *g, struct greq *gr, const struct msg_MODELSOK *m);
void ep_enroll(struct gate *g, struct http_req *q);
void ep_enroll_ok(struct gate *g, struct greq *gr, const struct msg_ENROLLOK *m);
void ep_receipt(struct gate *g, struct http_req *q);
void ep_receipt_ok(struct gate *g, struct greq *gr, const struct msg_RCPTOK *m);
void ep_healthz(struct gate *g, struct http_req *q);
void ep_readyz(struct gate *g, struct http_req *q);
void ep_notfound(struct gate *g, struct http_req *q);
void ep_method(struct gate *g, struct http_req *q, const char *allow);

#endif
