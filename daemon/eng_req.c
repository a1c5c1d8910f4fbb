/* eng_req.c - the beginning of a request: grant and submit find each other, its messages become
 * tokens, CLAIM. Every number of gate is checked against the grant. */
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "chan.h"
#include "clock.h"
#include "cur.h"
#include "eng.h"
#include "fault.h"
#include "log.h"

struct req *eng_find(struct eng *g, const struct id *id)
{
	struct req *rq = NULL;

	HASH_FIND(hh, g->by_id, id, sizeof(*id), rq);
	return rq;
}

struct req *eng_find_lease(struct eng *g, const struct id *lease)
{
	struct req *rq = NULL;

	HASH_FIND(hl, g->by_lease, lease, sizeof(*lease), rq);
	return rq;
}

void req_free(struct req *rq)
{
	struct eng *g = rq->g;

	rq->silent = true; /* nothing waits for its text any more */
	req_unqueue(rq);
	req_drop_work(rq);
	HASH_DELETE(hh, g->by_id, rq);
	HASH_DELETE(hl, g->by_lease, rq);
	buf_wipe_free(&rq->text);
	buf_wipe_free(&rq->stops);
	buf_free(&rq->windows);
	buf_free(&rq->intent.body);
	buf_free(&rq->outcome.body);
	buf_free(&rq->early.body);
	schema_free(rq->schema);
	free(rq->msgs);
	if (rq->ids)
		explicit_bzero(rq->ids, rq->cap_ids * sizeof(*rq->ids));
	free(rq->ids);
	free(rq);
}

/* ---- SUBMIT's contents ---- */

/* The form of the answer, when the first record is one. */
static bool take_form(struct req *rq, struct cur *c)
{
	struct span text;

	if (rq->text.n == 0 || (uint8_t)rq->text.p[0] != WIRE_ROLE_FORM)
		return true;
	cur_u8(c);
	text = cur_span(c, cur_u32(c));
	rq->formed = true;
	if (text.n > 0)
		rq->msgs[rq->n_form++] = (struct chat_msg){CHAT_USER, text};
	return text.n <= WIRE_FORM_MAX;
}

static bool take_messages(struct req *rq)
{
	struct cur c = cur_init(buf_span(&rq->text));
	size_t n = 0;

	while (cur_left(&c) > 0) {
		cur_u8(&c);
		cur_span(&c, cur_u32(&c));
		n++;
	}
	if (!cur_done(&c) || n == 0)
		return false;
	rq->msgs = calloc(n, sizeof(*rq->msgs));
	if (rq->msgs == NULL)
		return false;
	c = cur_init(buf_span(&rq->text));
	if (!take_form(rq, &c))
		return false;
	for (rq->n_msgs = rq->n_form; cur_left(&c) > 0; rq->n_msgs++) {
		uint8_t role = cur_u8(&c);

		if (role > CHAT_TOOL)
			return false;
		rq->msgs[rq->n_msgs].role = (enum chat_role)role;
		rq->msgs[rq->n_msgs].text = cur_span(&c, cur_u32(&c));
	}
	return rq->n_msgs > rq->n_form;
}

static float bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static bool within(float v, float lo, float hi)
{
	return isfinite(v) && v >= lo && v <= hi;
}

static bool take_sampler(struct req *rq, const struct msg_SUBMIT *m)
{
	struct sampler *s = &rq->smp;
	uint64_t seed = m->seed;

	if (!m->has_seed)
		rq->g->cfg.random(rq->g->cfg.arg, &seed, sizeof(seed));
	sampler_init(s, seed);
	s->temperature = bits(m->temperature);
	s->top_p = bits(m->top_p);
	s->min_p = bits(m->min_p);
	s->top_k = m->top_k;
	return within(s->temperature, 0, 5) && within(s->top_p, 0, 1) && within(s->min_p, 0, 1);
}

static bool stops_good(struct span list)
{
	struct cur c = cur_init(list);
	unsigned n = 0;

	for (; cur_left(&c) > 0; n++) {
		uint16_t len = cur_u16(&c);

		if (len == 0 || len > RELEASE_STOP_BYTES || n == RELEASE_STOPS)
			return false;
		cur_span(&c, len);
	}
	return cur_done(&c);
}

/* ---- from grant to claim ---- */

static size_t tokenise(struct req *rq, const struct eng_model *em, uint16_t *code)
{
	char today[32];
	time_t t = (time_t)(rq->g->cfg.wall_ms(rq->g->cfg.arg) / 1000);
	struct chat_opts o = {.generation_prompt = true};
	struct tm tm;
	size_t n = 0, cap = model_info(em->m)->context;
	int rc;

	gmtime_r(&t, &tm);
	o.today = span_of(today, strftime(today, sizeof(today), "%d %b %Y", &tm));
	rq->cap_ids = cap;
	rq->ids = calloc(cap, sizeof(*rq->ids));
	if (rq->ids == NULL) {
		*code = RS_INTERNAL;
		return 0;
	}
	rc = chat_ids(em->m, em->format, rq->msgs + rq->n_form, rq->n_msgs - rq->n_form, &o,
		      rq->ids, cap, &n, NULL);
	*code = rc == 0 ? RS_NONE : rc == E_RANGE && n > cap ? RS_TOO_LONG : RS_BAD_REQUEST;
	return n;
}

/* Gate has looked at the schema too and speaks of what is wrong with it. */
static uint16_t compile_form(struct req *rq, const struct eng_model *em)
{
	struct err err = {0};
	int rc = mask_prepare(em->m, &err);

	if (rc == 0 && rq->n_form)
		rc = schema_compile(rq->msgs[0].text, &rq->schema, &err);
	else if (rc == 0)
		rc = schema_any_object(&rq->schema, &err);
	if (rc < 0)
		log_ev(LOG_WARN_LV, "form", "code=%d", rc);
	return rc == 0 ? RS_NONE : rc == E_NOMEM ? RS_OVERLOADED : RS_UNSUPPORTED;
}

void req_send_claim(struct req *rq)
{
	struct msg_CLAIM m = {
	    .lease = rq->lease, .req = rq->id, .prompt_tokens = (uint32_t)rq->n_ids};

	m.max_out = rq->max_out * rq->n;
	ENG_SEND(rq->g, R_STORE, CH_DATA, CLAIM, &m);
}

/* The grant is here and fits: look at the request. */
static void begin(struct req *rq)
{
	struct eng *g = rq->g;
	struct eng_model *em = eng_chat_model(g, rq->model_ix);
	uint32_t context, why = eng_why_not(g);
	uint16_t code;
	size_t n;

	rq->since_ms = g->now_ms;
	if (g->draining)
		return req_refuse(rq, RS_SHUTDOWN, 2000, 0, 0);
	if (em == NULL)
		return req_refuse(rq, RS_NO_MODEL, 0, 0, 0);
	if (why & (NR_GUARD | NR_SETTINGS))
		return req_refuse(rq, RS_GUARD_DOWN, 2000, 0, 0);
	if (why & NR_STORE)
		return req_refuse(rq, RS_BOOK_DOWN, 1000, 0, 0);
	if (HASH_CNT(hh, g->by_id) > g->cfg.max_requests)
		return req_refuse(rq, RS_OVERLOADED, 1000, 0, 0);
	context = model_info(em->m)->context;
	n = tokenise(rq, em, &code);
	if (code != RS_NONE)
		return req_refuse(rq, code, 0, (uint32_t)n, context);
	if (rq->formed && (code = compile_form(rq, em)) != RS_NONE)
		return req_refuse(rq, code, 0, 0, 0);
	/* 0: whatever the grant and the context allow */
	if (rq->max_out == 0)
		rq->max_out = n < context ? context - (uint32_t)n : 1;
	if (rq->grant.max_out && rq->max_out > rq->grant.max_out)
		rq->max_out = rq->grant.max_out;
	if (n + rq->max_out > context)
		return req_refuse(rq, RS_TOO_LONG, 0, (uint32_t)n, context);
	rq->n_ids = n;
	rq->state = RQ_CLAIM;
	req_send_claim(rq);
}

static bool fits(const struct req *rq, const struct grant *gr)
{
	return id_eq(&gr->req, &rq->id) && id_eq(&gr->conn, &rq->conn) &&
	       gr->model_ix == rq->model_ix;
}

/* A SUBMIT that no grant stands behind: told, reported, forgotten. */
static void stranger(struct req *rq, uint16_t code)
{
	struct eng *g = rq->g;

	eng_odd(g, R_GATE, M_SUBMIT, code, &rq->id);
	eng_fail(g, &rq->id, code, 0, 0, 0);
	req_free(rq);
}

static void join(struct req *rq, struct grant *gr)
{
	struct early_cancel *c = NULL;
	struct eng *g = rq->g;

	if (gr->used)
		return stranger(rq, RS_REPLAY);
	if (!fits(rq, gr))
		return stranger(rq, RS_NO_GRANT);
	gr->used = true;
	rq->grant = *gr;
	HASH_FIND(hh, g->cancels, &rq->id, sizeof(rq->id), c);
	if (c) {
		HASH_DEL(g->cancels, c);
		free(c);
		rq->gone = true;
		return req_refuse(rq, RS_CANCELLED, 0, 0, 0);
	}
	begin(rq);
}

void eng_on_grant(struct eng *g, const struct msg_GRANT *m)
{
	struct grant *gr = NULL, *tmp;
	struct req *rq = eng_find_lease(g, &m->lease);

	HASH_FIND(hh, g->grants, &m->lease, sizeof(m->lease), gr);
	if (gr && id_is_zero(&gr->req)) { /* revoked before it came */
		gr->req = m->req;
		gr->conn = m->conn;
		grant_end(g, gr, RS_REVOKED);
		return;
	}
	if (gr) {
		eng_odd(g, R_STORE, M_GRANT, RS_REPLAY, &m->req);
		return;
	}
	if (HASH_CNT(hh, g->grants) >= ENG_USED_MAX) /* the oldest that was used */
		HASH_ITER(hh, g->grants, gr, tmp)
	if (gr->used && eng_find_lease(g, &gr->lease) == NULL) {
		HASH_DEL(g->grants, gr);
		free(gr);
		break;
	}
	gr = FAULT("engine.grant") ? NULL : calloc(1, sizeof(*gr));
	if (gr == NULL)
		return; /* its SUBMIT will find none */
	*gr = (struct grant){.lease = m->lease,
			     .req = m->req,
			     .conn = m->conn,
			     .domain = m->domain,
			     .group = m->group,
			     .born_ms = g->now_ms,
			     .tier = m->tier,
			     .purpose = m->purpose,
			     .model_ix = m->model_ix,
			     .max_out = m->max_out};
	HASH_ADD(hh, g->grants, lease, sizeof(gr->lease), gr);
	if (rq && rq->state == RQ_WAIT_GRANT)
		join(rq, gr);
}

static struct req *req_make(struct eng *g, const struct msg_SUBMIT *m)
{
	struct req *rq = FAULT("engine.req") ? NULL : calloc(1, sizeof(*rq));

	if (rq == NULL)
		return NULL;
	rq->g = g;
	rq->id = m->req;
	rq->lease = m->lease;
	rq->conn = m->conn;
	rq->born_ms = rq->since_ms = g->now_ms;
	rq->started_us = clock_mono_ns() / 1000;
	rq->model_ix = m->model_ix;
	rq->n = m->n ? m->n : 1;
	rq->max_out = m->max_out;
	rq->text = BUF_INIT(ENG_MSGS_MAX);
	rq->stops = BUF_INIT(WIRE_BYTES_MAX);
	rq->windows = BUF_INIT(WIRE_BYTES_MAX);
	rq->intent.body = rq->outcome.body = rq->early.body = BUF_INIT(WIRE_MSG_MAX);
	HASH_ADD(hh, g->by_id, id, sizeof(rq->id), rq);
	HASH_ADD(hl, g->by_lease, lease, sizeof(rq->lease), rq);
	return rq;
}

static bool take_body(struct req *rq, const struct msg_SUBMIT *m, int *fd)
{
	struct span s = m->msgs;
	bool mapped = false, ok;

	if (s.n == 0 && fd && *fd >= 0) {
		if (body_map(*fd, ENG_MSGS_MAX, &s, NULL) != 0)
			return false;
		mapped = true;
	}
	buf_span_put(&rq->text, s);
	ok = buf_ok(&rq->text) && rq->text.n == m->msgs_len;
	if (mapped)
		body_unmap(s);
	buf_span_put(&rq->stops, m->stops);
	return ok && take_messages(rq) && take_sampler(rq, m) && stops_good(buf_span(&rq->stops)) &&
	       rq->n <= ENG_CHOICES && rq->max_out <= UINT32_MAX / ENG_CHOICES;
}

void eng_on_submit(struct eng *g, const struct msg_SUBMIT *m, int *fd)
{
	struct grant *gr = NULL;
	struct req *rq;

	HASH_FIND(hh, g->grants, &m->lease, sizeof(m->lease), gr);
	if (eng_find(g, &m->req) || eng_find_lease(g, &m->lease)) {
		/* the running request is not told: whoever replays it learns nothing and stops
		 * nothing */
		eng_odd(g, R_GATE, M_SUBMIT, RS_REPLAY, &m->req);
		if (!eng_find(g, &m->req))
			eng_fail(g, &m->req, RS_REPLAY, 0, 0, 0);
		return;
	}
	rq = req_make(g, m);
	if (rq == NULL) {
		eng_fail(g, &m->req, RS_OVERLOADED, 1000, 0, 0);
		return;
	}
	if (!take_body(rq, m, fd)) {
		/* gate speaks for the client here; a lease behind it ends unused */
		if (gr && !gr->used && fits(rq, gr)) {
			gr->used = true;
			rq->grant = *gr;
			req_refuse(rq, RS_BAD_REQUEST, 0, 0, 0);
		} else {
			stranger(rq, gr && gr->used ? RS_REPLAY : RS_NO_GRANT);
		}
		return;
	}
	if (gr)
		join(rq, gr);
	else
		rq->state = RQ_WAIT_GRANT;
}

void eng_on_claimok(struct eng *g, const struct msg_CLAIMOK *m)
{
	struct req *rq = eng_find_lease(g, &m->lease);

	if (rq == NULL || rq->state != RQ_CLAIM)
		return; /* ended meanwhile, or answered twice */
	rq->cap = m->cap;
	rq->per_choice = m->cap / rq->n < rq->max_out ? m->cap / rq->n : rq->max_out;
	if (rq->per_choice == 0)
		return req_refuse(rq, RS_RATE_TOKENS, 1000, 0, 0);
	req_enqueue(rq);
}

void eng_on_claimno(struct eng *g, const struct msg_CLAIMNO *m)
{
	struct req *rq = eng_find_lease(g, &m->lease);

	if (rq == NULL || rq->state != RQ_CLAIM)
		return;
	/* store has closed the lease by itself: no record is owed */
	if (!rq->silent)
		eng_fail(g, &rq->id, m->code, m->retry_ms, 0, 0);
	req_free(rq);
}
