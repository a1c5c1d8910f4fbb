/* gate_role.c - the HTTP door: connections from front, news from store and engine, time, drain.
 * One thread; the endpoints are in ep_*.c. */
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <stdio.h>

#include "clock.h"
#include "fault.h"
#include "gate.h"
#include "log.h"

static struct gate gate; /* one role per process */

static void on_request(void *user, struct http_req *q)
{
	route(user, q);
}

static void on_done(void *user, struct http_req *q, bool aborted)
{
	struct gate *g = user;
	struct greq *gr = http_user(q);

	if (gr == NULL)
		return;
	if (aborted)
		ep_chat_cancel(g, gr); /* in GS_AUTH nothing runs yet: a late AUTHOK is dropped */
	HASH_DEL(g->reqs, gr);
	chat_req_free(&gr->chat);
	for (unsigned i = 0; i < REQ_N_MAX; i++)
		buf_wipe_free(&gr->choice[i].text);
	free(gr->mark);
	free(gr);
}

static void on_taken(void *user, struct http_req *q, uint64_t total)
{
	struct greq *gr = http_user(q);

	if (gr)
		ep_chat_taken(user, gr, total);
}

static void on_closed(void *user, void *conn_user)
{
	struct gate *g = user;
	struct gconn *gc = conn_user;

	if (gc) {
		HASH_DEL(g->conns, gc);
		free(gc);
	}
}

static void on_refused(void *user, unsigned code)
{
	((struct gate *)user)->flood[code % 64]++;
}

/* ---- messages ---- */

static void take_conn(struct gate *g, struct msg_in *in)
{
	struct msg_CONN m;
	struct gconn *gc, *old = NULL;

	if (msg_dec_CONN(in->body, &m) < 0 || in->nfds != 1) {
		role_odd(g->role, R_FRONT, in->type, E_FORMAT);
		return;
	}
	HASH_FIND(hh, g->conns, m.conn.b, ID_BYTES, old);
	gc = old || FAULT("gate.conn") ? NULL : calloc(1, sizeof(*gc));
	if (gc == NULL)
		return; /* the descriptor is closed with the message: front sees the end */
	gc->id = m.conn;
	gc->hc = http_add(g->http, in->fds[0], gc);
	in->fds[0] = -1;
	if (gc->hc == NULL) {
		free(gc);
		return;
	}
	HASH_ADD(hh, g->conns, id.b, ID_BYTES, gc);
}

static void take_gone(struct gate *g, struct msg_in *in)
{
	struct msg_GONE m;
	struct gconn *gc = NULL;

	if (msg_dec_GONE(in->body, &m) < 0) {
		role_odd(g->role, R_FRONT, in->type, E_FORMAT);
		return;
	}
	HASH_FIND(hh, g->conns, m.conn.b, ID_BYTES, gc);
	if (gc)
		http_gone(gc->hc); /* else its descriptor will tell */
}

static void take_authok(struct gate *g, const struct msg_AUTHOK *m)
{
	struct greq *gr = greq_find(g, &m->req);

	if (gr && gr->kind == GK_CHAT && gr->state == GS_AUTH)
		ep_chat_authok(g, gr, m);
	else
		gate_give_back(g, m->req, m->lease, RS_CANCELLED);
}

static void take_deny(struct gate *g, const struct msg_DENY *m)
{
	struct greq *gr = greq_find(g, &m->req);

	if (gr && gr->state == GS_AUTH)
		gate_fail(g, gr,
			  &(struct reply_fault){.code = m->code,
						.status = m->status,
						.param = m->code == RS_NO_MODEL ? "model" : NULL,
						.retry_ms = m->retry_ms,
						.no_retry = m->no_retry});
}

static void take_fail(struct gate *g, const struct msg_FAIL *m)
{
	struct greq *gr = greq_find(g, &m->req);
	struct reply_fault f = {.code = m->code, .status = m->status, .retry_ms = m->retry_ms};
	char detail[96];

	if (gr == NULL || gr->kind != GK_CHAT)
		return;
	if (gr->state != GS_QUEUE && gr->state != GS_RUN) {
		role_odd(g->role, R_ENGINE, M_FAIL, E_CONFLICT);
		return;
	}
	if (m->code == RS_TOO_LONG && m->a) {
		snprintf(detail, sizeof(detail), "(%u prompt tokens; the context holds %u.)", m->a,
			 m->b);
		f.detail = detail;
		f.param = "messages";
	}
	gate_fail(g, gr, &f);
}

static void take_state(struct gate *g, const struct msg_STATE *m)
{
	g->store_ready = m->ready;
	g->store_reasons = m->reasons;
	g->state_seen = clock_mono_ms();
}

static void take_estate(struct gate *g, const struct msg_ESTATE *m)
{
	g->engine_ready = m->ready;
	g->engine_reasons = m->reasons;
}

#define ON(NAME, call)                                                                             \
	case M_##NAME: {                                                                           \
		struct msg_##NAME m;                                                               \
		rc = msg_dec_##NAME(in->body, &m);                                                 \
		if (rc == E_OK)                                                                    \
			call;                                                                      \
		break;                                                                             \
	}
/* For an answer to a request that is gone nothing is left to do. */
#define ON_REQ(NAME, want, fn)                                                                     \
	case M_##NAME: {                                                                           \
		struct msg_##NAME m;                                                               \
		struct greq *gr;                                                                   \
		rc = msg_dec_##NAME(in->body, &m);                                                 \
		gr = rc == E_OK ? greq_find(g, &m.req) : NULL;                                     \
		if (gr && gr->kind == (want) && gr->state != GS_OVER)                              \
			fn(g, gr, &m);                                                             \
		break;                                                                             \
	}

static void gate_msg(struct role *r, struct chan *ch, struct msg_in *in)
{
	struct gate *g = &gate;
	int rc = E_OK;

	switch (in->type) {
	case M_CONN:
		take_conn(g, in);
		break;
	case M_GONE:
		take_gone(g, in);
		break;
		ON(AUTHOK, take_authok(g, &m))
		ON(DENY, take_deny(g, &m))
		ON(STATE, take_state(g, &m))
		ON(ESTATE, take_estate(g, &m))
		ON(FAIL, take_fail(g, &m))
		ON_REQ(ADMIT, GK_CHAT, ep_chat_admit)
		ON_REQ(OUT, GK_CHAT, ep_chat_out)
		ON_REQ(DONE, GK_CHAT, ep_chat_done)
		ON_REQ(MODELSOK, GK_MODELS, ep_models_ok)
		ON_REQ(ENROLLOK, GK_ENROLL, ep_enroll_ok)
		ON_REQ(RCPTOK, GK_RECEIPT, ep_receipt_ok)
	default:
		rc = E_DENIED;
	}
	if (rc < 0)
		role_odd(r, chan_peer(ch), in->type, rc);
}

/* ---- peers, time, drain ---- */

static void fail_where(struct gate *g, bool (*which)(const struct greq *), enum reason code)
{
	struct greq *gr, *next;

	HASH_ITER(hh, g->reqs, gr, next)
	{
		if (!which(gr))
			continue;
		ep_chat_cancel(g, gr);
		gate_fail(g, gr, &(struct reply_fault){.code = code, .retry_ms = 1000});
	}
}

static bool waits_for_store(const struct greq *gr)
{
	return gr->state == GS_AUTH;
}

static bool waits_for_engine(const struct greq *gr)
{
	return gr->state == GS_QUEUE || gr->state == GS_RUN;
}

static bool waits_at_all(const struct greq *gr)
{
	return gr->state != GS_OVER;
}

static void gate_peer(struct role *r, enum role_id peer, bool up)
{
	struct gate *g = &gate;
	struct gconn *gc, *next;

	if (peer == R_STORE) {
		g->store_ready = false;
		g->store_reasons = 0;
		g->state_seen = 0;
		if (!up)
			fail_where(g, waits_for_store, RS_BOOK_DOWN);
	} else if (peer == R_ENGINE) {
		g->engine_ready = false;
		g->engine_reasons = 0;
		fail_where(g, waits_for_engine, RS_ENGINE_LOST);
	} else if (peer == R_FRONT && !up) {
		HASH_ITER(hh, g->conns, gc, next)
		{
			http_gone(gc->hc);
		}
	}
}

static void report_flood(struct gate *g)
{
	struct chan *ch = gate_store(g);

	for (uint16_t i = 0; i < 64 && ch; i++) {
		struct msg_FLOOD m = {.code = i, .count = g->flood[i]};

		if (g->flood[i] && CH_SEND(ch, FLOOD, &m) == E_OK)
			g->flood[i] = 0;
	}
}

static void gate_tick(struct role *r, uint64_t now)
{
	struct gate *g = &gate;
	struct greq *gr, *next;

	HASH_ITER(hh, g->reqs, gr, next)
	{
		if (gr->state != GS_OVER && now >= gr->deadline) {
			ep_chat_cancel(g, gr);
			gate_fail(g, gr,
				  &(struct reply_fault){.code = gr->state == GS_AUTH ? RS_BOOK_DOWN
										     : RS_DEADLINE,
							.retry_ms = 1000});
		} else if (gr->kind == GK_CHAT) {
			ep_chat_ping(gr, now);
		}
	}
	if (now >= g->next_flood) {
		g->next_flood = now + 1000;
		report_flood(g);
	}
	http_tick(g->http, now);
	role_set_serving(r, gate_reasons(g) == 0, gate_reasons(g));
	if (g->drain_until == 0)
		return;
	if (now >= g->drain_until) /* the deadline: say why, and leave */
		fail_where(g, waits_at_all, RS_SHUTDOWN);
	if (http_conns(g->http) == 0 || now >= g->drain_until + 500) {
		bool clean = http_conns(g->http) == 0;

		report_flood(g);
		http_run(g->http);
		role_drained(r, clean);
	}
}

/* Ends a little before main's deadline, so that the last events still reach the clients. */
static void gate_drain(struct role *r, uint64_t deadline_ms)
{
	uint64_t now = clock_mono_ms();

	gate.drain_until = deadline_ms > now + 1500 ? deadline_ms - 1000 : now + 1;
	http_drain(gate.http);
}

static void on_http(void *arg, uint32_t ev)
{
	http_run(arg);
}

static struct http_limits limits_of(const struct conf *c)
{
	return (struct http_limits){.head_ms = c->head_ms,
				    .body_ms = c->body_ms,
				    .idle_ms = c->idle_ms,
				    .max_body = c->max_body,
				    .max_conns = c->max_connections + 64};
}

/* jansson's memory held prompts and enrolment codes. */
static void wipe_free(void *p)
{
	if (p)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

static int gate_prepare(struct role *r, struct err *err)
{
	edge_want_fds(3 * role_conf(r)->max_connections + 256);
	json_set_alloc_funcs(malloc, wipe_free);
	return E_OK;
}

static int gate_start(struct role *r, struct err *err)
{
	static const struct http_ops ops = {on_request, on_done, on_taken, on_closed, on_refused};
	struct http_limits lim = limits_of(role_conf(r));
	struct gate *g = &gate;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	g->role = r;
	role_set_user(r, g);
	g->started = clock_wall_ms() / 1000;
	rc = http_new(&lim, &ops, g, &g->http, err);
	return rc < 0 ? rc : role_watch(r, http_fd(g->http), EPOLLIN, on_http, g->http);
}

static void gate_conf_commit(struct role *r, const struct conf *c)
{
	struct http_limits lim = limits_of(c);

	http_set_limits(gate.http, &lim);
}

const struct role_ops gate_ops = {
    .id = R_GATE,
    .tick_ms = 50,
    .prepare = gate_prepare,
    .start = gate_start,
    .msg = gate_msg,
    .peer = gate_peer,
    .tick = gate_tick,
    .conf_commit = gate_conf_commit,
    .drain = gate_drain,
};
