/* ep_chat.c - POST /v1/chat/completions, plain and streamed: AUTH to store, SUBMIT to engine, and
 * what engine releases to the client. The status line waits for ADMIT or FAIL: a blocked prompt is
 * HTTP 400, streamed or not. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "gate.h"

#define TEXT_MAX (4u << 20) /* one choice of a plain answer, bytes */

static void store_silent(struct gate *g, struct greq *gr)
{
	gate_fail(g, gr, &(struct reply_fault){.code = RS_BOOK_DOWN, .retry_ms = 1000});
}

static void engine_silent(struct gate *g, struct greq *gr)
{
	gate_fail(g, gr, &(struct reply_fault){.code = RS_OVERLOADED, .retry_ms = 1000});
}

void ep_chat(struct gate *g, struct http_req *q)
{
	const struct bearer *b = http_bearer(q);
	const struct gconn *gc = http_conn_user(q);
	enum reason closed = gate_closed(g, true);
	struct msg_AUTH m = {.req = *http_id(q), .endpoint = GE_CHAT};
	struct req_fault fault;
	struct chat_req chat;
	struct greq *gr;

	if (!gate_has_key(g, q))
		return;
	if (chat_req_parse(http_body(q), &chat, &fault) < 0)
		gate_refuse(g, q, fault.code, fault.param, fault.text);
	else if (closed)
		gate_refuse(g, q, closed, NULL, NULL);
	else if ((gr = greq_new(g, q, GK_CHAT)) != NULL) {
		gr->chat = chat;
		m.conn = gc->id;
		m.kid = span_cstr(b->kid);
		memcpy(m.digest, b->digest, sizeof(m.digest));
		m.model = span_cstr(chat.model);
		m.n = chat.n;
		m.max_out = chat.max_out;
		m.stream = chat.stream;
		m.body_len = (uint32_t)http_body(q).n;
		if (CH_SEND(gate_store(g), AUTH, &m) < 0)
			store_silent(g, gr);
		return;
	}
	chat_req_free(&chat);
}

static uint32_t float_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static int submit(struct gate *g, const struct greq *gr, const struct msg_AUTHOK *a)
{
	const struct gconn *gc = http_conn_user(gr->q);
	const struct chat_req *c = &gr->chat;
	struct msg_SUBMIT m = {.req = gr->id, .lease = a->lease, .conn = gc->id};
	struct chan *ch = gate_engine(g, CH_DATA);
	struct err err = {0};
	int fd = -1, rc = E_CLOSED;

	m.model_ix = a->model_ix;
	m.stream = c->stream;
	m.n = c->n;
	m.max_out = a->max_out;
	m.temperature = float_bits(c->temperature);
	m.top_p = float_bits(c->top_p);
	m.min_p = float_bits(c->min_p);
	m.top_k = c->top_k;
	m.has_seed = c->has_seed;
	m.seed = c->seed;
	m.stops = buf_span(&c->stops);
	m.msgs_len = (uint32_t)c->msgs.n;
	if (c->msgs.n > WIRE_BYTES_MAX)
		rc = body_memfd(buf_span(&c->msgs), &fd, &err);
	else
		m.msgs = buf_span(&c->msgs);
	if (ch && (fd >= 0 || m.msgs.n))
		rc = CH_SEND_FD(ch, SUBMIT, &m, fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

void ep_chat_authok(struct gate *g, struct greq *gr, const struct msg_AUTHOK *m)
{
	const struct conf *k = role_conf(g->role);
	char b32[ID_B32 + 1];
	struct req_fault bad;

	if (gr->state != GS_AUTH || gr->kind != GK_CHAT)
		return;
	gr->lease = m->lease;
	gr->has_lease = true;
	gr->limits = *m;
	gr->limits.model = SPAN_LIT("");
	b32_encode(gr->id.b, ID_BYTES, b32);
	snprintf(gr->meta.id, sizeof(gr->meta.id), "chatcmpl-%s", b32);
	memcpy(gr->meta.model, m->model.p, m->model.n); /* a STR: at most 255; the rest is zero */
	gr->meta.created = clock_wall_ms() / 1000;
	gr->meta.include_usage = gr->chat.include_usage;
	if (chat_req_form(&gr->chat, &bad) < 0) { /* now that somebody known asks for it */
		gate_give_back(g, gr->id, gr->lease, bad.code);
		gate_fail(g, gr,
			  &(struct reply_fault){
			      .code = bad.code, .param = bad.param, .detail = bad.text});
		return;
	}
	if (submit(g, gr, m) < 0) {
		gate_give_back(g, gr->id, gr->lease, RS_ENGINE_LOST);
		engine_silent(g, gr);
		return;
	}
	buf_wipe_free(&gr->chat.msgs); /* engine has it now */
	gr->state = GS_QUEUE;
	gr->deadline = clock_mono_ms() + k->queue_ms + k->request_ms + 5000;
}

static void put(struct greq *gr, struct buf *b)
{
	if (buf_ok(b) && http_stream_put(gr->q, buf_span(b)) == E_OK)
		gr->put += b->n;
	gr->last_byte = clock_mono_ms();
}

void ep_chat_admit(struct gate *g, struct greq *gr, const struct msg_ADMIT *m)
{
	struct buf b = BUF_INIT(64 * 1024);
	struct reply r;

	if (gr->state != GS_QUEUE) {
		role_odd(g->role, R_ENGINE, M_ADMIT, E_CONFLICT);
		return;
	}
	gr->state = GS_RUN;
	gr->usage.prompt = m->prompt_tokens;
	gr->usage.cached = m->cached;
	if (!gr->chat.stream)
		return;
	reply_init(&r, 200, "text/event-stream", &gr->id);
	gate_headers(gr->q, gr, &r);
	for (unsigned i = 0; i < gr->chat.n; i++)
		sse_role(&b, &gr->meta, i);
	put(gr, &b); /* before the head is queued: they leave together */
	http_stream(gr->q, &r);
	buf_free(&b);
}

static bool mark_credit(struct greq *gr, uint32_t choice, uint32_t tokens)
{
	struct credit_mark *more;

	if (gr->n_mark == gr->cap_mark) {
		gr->cap_mark = gr->cap_mark ? gr->cap_mark * 2 : 64;
		more = realloc(gr->mark, gr->cap_mark * sizeof(*more));
		if (more == NULL)
			return false;
		gr->mark = more;
	}
	gr->mark[gr->n_mark++] = (struct credit_mark){gr->put, choice, tokens};
	return true;
}

static void give_credit(struct gate *g, const struct greq *gr, uint32_t choice, uint32_t tokens)
{
	struct msg_CREDIT m = {.req = gr->id, .choice = choice, .tokens = tokens};
	struct chan *ch = gate_engine(g, CH_DATA);

	if (ch && tokens)
		CH_SEND(ch, CREDIT, &m);
}

/* As the client's side takes bytes, engine may make more: a slow reader slows only itself. */
void ep_chat_taken(struct gate *g, struct greq *gr, uint64_t total)
{
	uint32_t sum[REQ_N_MAX] = {0};

	while (gr->mark_at < gr->n_mark && gr->mark[gr->mark_at].end <= total) {
		sum[gr->mark[gr->mark_at].choice] += gr->mark[gr->mark_at].tokens;
		gr->mark_at++;
	}
	if (gr->mark_at == gr->n_mark)
		gr->mark_at = gr->n_mark = 0;
	for (uint32_t i = 0; i < gr->chat.n && gr->state == GS_RUN; i++)
		give_credit(g, gr, i, sum[i]);
}

static void internal(struct gate *g, struct greq *gr)
{
	ep_chat_cancel(g, gr);
	gate_fail(g, gr, &(struct reply_fault){.code = RS_INTERNAL});
}

void ep_chat_out(struct gate *g, struct greq *gr, const struct msg_OUT *m)
{
	struct buf b = BUF_INIT(1 << 20);
	const char *finish = finish_name(m->finish);

	if (gr->state != GS_RUN || m->choice >= gr->chat.n || gr->choice[m->choice].finish) {
		role_odd(g->role, R_ENGINE, M_OUT, E_CONFLICT);
		return;
	}
	gr->choice[m->choice].finish = finish;
	if (!gr->chat.stream) {
		if (gr->choice[m->choice].text.max == 0)
			gr->choice[m->choice].text = BUF_INIT(TEXT_MAX);
		buf_span_put(&gr->choice[m->choice].text, m->text);
		give_credit(g, gr, m->choice, m->tokens);
		if (!buf_ok(&gr->choice[m->choice].text))
			internal(g, gr);
		return;
	}
	if (m->text.n)
		sse_text(&b, &gr->meta, m->choice, m->text);
	if (finish)
		sse_finish(&b, &gr->meta, m->choice, finish);
	if (buf_ok(&b) && gr->put + b.n > gr->put) {
		put(gr, &b);
		if (!mark_credit(gr, m->choice, m->tokens))
			b.bad = true;
	} else if (buf_ok(&b)) {
		give_credit(g, gr, m->choice, m->tokens); /* nothing to show: nothing to wait for */
	}
	if (!buf_ok(&b))
		internal(g, gr);
	buf_free(&b);
}

static void whole(struct greq *gr)
{
	struct chat_choice c[REQ_N_MAX];
	struct buf body = BUF_INIT(REPLY_BODY_MAX);

	for (unsigned i = 0; i < gr->chat.n; i++)
		c[i] = (struct chat_choice){buf_span(&gr->choice[i].text), gr->choice[i].finish};
	chat_whole(&body, &gr->meta, c, gr->chat.n, &gr->usage);
	gr->state = GS_OVER;
	gate_answer_json(gr->q, gr, &body);
}

void ep_chat_done(struct gate *g, struct greq *gr, const struct msg_DONE *m)
{
	struct buf b = BUF_INIT(256 * 1024);

	if (gr->state != GS_RUN) {
		role_odd(g->role, R_ENGINE, M_DONE, E_CONFLICT);
		return;
	}
	for (unsigned i = 0; i < gr->chat.n; i++)
		if (gr->choice[i].finish == NULL) { /* a choice without an end is a failure */
			role_odd(g->role, R_ENGINE, M_DONE, E_CONFLICT);
			gate_fail(g, gr, &(struct reply_fault){.code = RS_INTERNAL});
			return;
		}
	gr->usage = (struct usage){m->prompt_tokens, m->completion_tokens, m->cached};
	if (!gr->chat.stream) {
		whole(gr);
		return;
	}
	if (gr->meta.include_usage)
		sse_usage(&b, &gr->meta, &gr->usage);
	sse_done(&b, m->receipt);
	put(gr, &b);
	gr->state = GS_OVER;
	http_stream_end(gr->q);
	buf_free(&b);
}

void ep_chat_cancel(struct gate *g, struct greq *gr)
{
	struct msg_CANCEL m = {.req = gr->id};
	struct chan *ch = gate_engine(g, CH_CTRL);

	if ((gr->state == GS_QUEUE || gr->state == GS_RUN) && ch)
		CH_SEND(ch, CANCEL, &m);
}

void ep_chat_ping(struct greq *gr, uint64_t now)
{
	struct buf b = BUF_INIT(64);

	if (gr->state != GS_RUN || !gr->chat.stream || now < gr->last_byte + GATE_PING_MS)
		return;
	sse_ping(&b);
	put(gr, &b);
	buf_free(&b);
}
