/* gate_req.c - what all endpoints of gate share: whether a request may be tried, how answers and
 * refusals look, and the table of requests in flight. */
#include <stdlib.h>

#include "clock.h"
#include "fault.h"
#include "gate.h"

struct chan *gate_store(struct gate *g)
{
	return role_chan(g->role, R_STORE, CH_DATA);
}

void gate_give_back(struct gate *g, struct id req, struct id lease, enum reason code)
{
	struct msg_AUTHDROP drop = {.req = req, .lease = lease, .code = code};

	if (gate_store(g))
		CH_SEND(gate_store(g), AUTHDROP, &drop);
}

struct chan *gate_engine(struct gate *g, enum chan_kind kind)
{
	return role_chan(g->role, R_ENGINE, kind);
}

/* ---- may a request be tried ---- */

uint32_t gate_reasons(const struct gate *g)
{
	uint32_t why = g->store_reasons | g->engine_reasons;

	if (clock_mono_ms() > g->state_seen + GATE_STATE_LIFE_MS || g->state_seen == 0)
		why |= NR_STORE;
	else if (!g->store_ready && why == 0)
		why |= NR_BOOK;
	if (!g->engine_ready && !(g->engine_reasons & (NR_GUARD | NR_MODEL)))
		why |= NR_ENGINE;
	if (role_draining(g->role))
		why |= NR_DRAIN;
	return why;
}

enum reason gate_closed(const struct gate *g, bool needs_engine)
{
	uint32_t why = gate_reasons(g);

	if (!needs_engine)
		return gate_store((struct gate *)(uintptr_t)g) && !(why & NR_STORE) ? RS_NONE
										    : RS_BOOK_DOWN;
	if (why & NR_DRAIN)
		return RS_SHUTDOWN;
	if (why & (NR_STORE | NR_BOOK))
		return RS_BOOK_DOWN;
	if (why & NR_GUARD)
		return RS_GUARD_DOWN;
	if (why & (NR_ENGINE | NR_MODEL))
		return RS_OVERLOADED;
	return RS_NONE; /* the rest (lockdown, genesis, clock) is store's to say, per subject */
}

bool gate_has_key(struct gate *g, struct http_req *q)
{
	const struct bearer *b = http_bearer(q);

	if (b->ok)
		return true;
	gate_refuse(g, q, RS_BAD_KEY, NULL,
		    b->present
			? gate_say(q, "It must be: Authorization: Bearer sp_...",
				   "Khóa phải có dạng: Authorization: Bearer sp_...")
			: gate_say(q, "No key was sent; send it as: Authorization: Bearer sp_...",
				   "Chưa gửi khóa; hãy gửi dạng: Authorization: Bearer sp_..."));
	return false;
}

/* ---- answers ---- */

static void put_limits(struct reply *r, const struct msg_AUTHOK *m)
{
	char t[32];

	if (m->lim_req) {
		reply_header(r, "x-ratelimit-limit-requests", "%llu",
			     (unsigned long long)m->lim_req);
		reply_header(r, "x-ratelimit-remaining-requests", "%llu",
			     (unsigned long long)m->rem_req);
		reply_header(r, "x-ratelimit-reset-requests", "%s",
			     reply_duration(m->reset_req_ms, t));
	}
	if (m->lim_tok) {
		reply_header(r, "x-ratelimit-limit-tokens", "%llu", (unsigned long long)m->lim_tok);
		reply_header(r, "x-ratelimit-remaining-tokens", "%llu",
			     (unsigned long long)m->rem_tok);
		reply_header(r, "x-ratelimit-reset-tokens", "%s",
			     reply_duration(m->reset_tok_ms, t));
	}
}

void gate_headers(struct http_req *q, const struct greq *gr, struct reply *r)
{
	char text[ID_TEXT_MAX];

	reply_header(r, "openai-processing-ms", "%llu",
		     (unsigned long long)(clock_mono_ms() - http_since(q)));
	if (gr && gr->has_lease) {
		reply_header(r, "x-sallyport-receipt", "%s", id_fmt("rcp", &gr->id, text));
		put_limits(r, &gr->limits);
	}
}

void gate_answer_json(struct http_req *q, const struct greq *gr, struct buf *body)
{
	struct reply_fault f = {.code = RS_INTERNAL, .vietnamese = http_vietnamese(q)};
	struct reply r;

	if (buf_ok(body)) {
		reply_init(&r, 200, "application/json", http_id(q));
		buf_free(&r.body);
		r.body = *body;
	} else { /* too large, or text that is not UTF-8 */
		buf_wipe_free(body);
		reply_error(&r, http_id(q), &f);
	}
	gate_headers(q, gr, &r);
	http_answer(q, &r);
}

void gate_refuse(struct gate *g, struct http_req *q, enum reason code, const char *param,
		 const char *detail)
{
	struct reply_fault f = {.code = code,
				.param = param,
				.detail = detail,
				.retry_ms = reason_info(code)->status == 503 ? 1000 : 0,
				.vietnamese = http_vietnamese(q)};
	struct reply r;

	g->flood[code % 64]++;
	reply_error(&r, http_id(q), &f);
	gate_headers(q, NULL, &r);
	http_answer(q, &r);
}

void gate_fail(struct gate *g, struct greq *gr, const struct reply_fault *fault)
{
	struct reply_fault f = *fault;
	struct buf b = BUF_INIT(8192);
	struct reply r;

	f.vietnamese = http_vietnamese(gr->q);
	if (gr->state == GS_OVER)
		return;
	if (gr->state == GS_RUN && gr->chat.stream) { /* the head is out: an event, then the end */
		sse_error(&b, &f);
		http_stream_put(gr->q, buf_span(&b));
		http_stream_end(gr->q);
		buf_free(&b);
	} else {
		reply_error(&r, &gr->id, &f);
		gate_headers(gr->q, gr, &r);
		http_answer(gr->q, &r);
	}
	gr->state = GS_OVER;
}

/* ---- requests ---- */

struct greq *greq_find(struct gate *g, const struct id *req)
{
	struct greq *gr = NULL;

	HASH_FIND(hh, g->reqs, req->b, ID_BYTES, gr);
	return gr;
}

struct greq *greq_new(struct gate *g, struct http_req *q, enum greq_kind kind)
{
	struct greq *gr = NULL;

	if (gate_closed(g, false) == RS_NONE && !FAULT("gate.greq"))
		gr = calloc(1, sizeof(*gr));
	if (gr == NULL) {
		gate_refuse(g, q, RS_BOOK_DOWN, NULL, NULL);
		return NULL;
	}
	gr->id = *http_id(q);
	gr->q = q;
	gr->kind = kind;
	gr->deadline = clock_mono_ms() + GATE_AUTH_MS;
	HASH_ADD(hh, g->reqs, id.b, ID_BYTES, gr);
	http_set_user(q, gr);
	return gr;
}
