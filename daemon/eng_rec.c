/* eng_rec.c - records of a request on their way to the book: made once, kept until acknowledged,
 * sent again in order over a new channel. */
#include "clock.h"
#include "commit.h"
#include "eng.h"
#include "log.h"
#include "version.h"

static void record_send(struct req *rq, struct record *r)
{
	struct eng *g = rq->g;

	if (!g->store_up)
		return;
	r->sent = g->cfg.send(g->cfg.arg, R_STORE, CH_DATA, r->type, buf_span(&r->body)) == 0;
	if (!r->sent)
		g->resend = true;
}

static void add_guard_and_model(struct req *rq, struct msg_INTENT *m, struct engine_stats *st)
{
	struct eng *g = rq->g;

	engine_stats(g->e, st);
	memcpy(m->policy_sha, g->policy.sha256, 32);
	if (g->guard_ix < g->n_models)
		memcpy(m->guard_sha, g->model[g->guard_ix].sha, 32);
	memcpy(m->model_sha, g->model[rq->model_ix].sha, 32);
	m->kernel = span_cstr(st->kernel_path);
	m->build = SPAN_LIT(SALLYPORT_VERSION);
}

void req_send_intent(struct req *rq, enum decide_action a, const struct decision *d)
{
	struct msg_INTENT m = {.lease = rq->lease,
			       .req = rq->id,
			       .rseq = ++rq->rseq,
			       .action = (uint8_t)a,
			       .cats = d->cats,
			       .score_milli = d->score_milli,
			       .threshold_milli = d->threshold_milli,
			       .prompt_tokens = (uint32_t)rq->n_ids,
			       .guard_tokens = rq->guard_tokens};
	struct engine_stats st;
	struct commitment c;

	add_guard_and_model(rq, &m, &st);
	for (size_t i = 0; i < rq->n_msgs; i++)
		m.prompt_bytes += (uint32_t)rq->msgs[i].text.n;
	rq->g->cfg.random(rq->g->cfg.arg, m.salt, 32);
	commit_start(&c, m.salt);
	commit_put(&c, buf_span(&rq->text));
	commit_end(&c, m.commit);
	rq->intent.type = M_INTENT;
	rq->intent.rseq = m.rseq;
	must(msg_enc_INTENT(&rq->intent.body, &m) == 0);
	record_send(rq, &rq->intent);
}

/* The one OUTCOME of a request; its work is given back. */
void req_send_outcome(struct req *rq, enum outcome_state st, uint16_t code)
{
	struct msg_OUTCOME m = {.lease = rq->lease,
				.req = rq->id,
				.rseq = ++rq->rseq,
				.state = (uint8_t)st,
				.code = code,
				.prompt_tokens = rq->intent.type ? (uint32_t)rq->n_ids : 0,
				.completion_tokens = req_completion(rq),
				.guard_tokens = rq->guard_tokens,
				.cached = rq->cached,
				.dur_us = clock_mono_ns() / 1000 - rq->started_us};
	struct record *r = rq->intent.type ? &rq->outcome : &rq->early;
	struct commitment c;

	if (soft_bug(rq->state == RQ_ENDING))
		return;
	rq->g->cfg.random(rq->g->cfg.arg, m.salt, 32);
	commit_start(&c, m.salt);
	for (uint32_t i = 0; rq->ch && i < rq->n; i++) {
		const struct release *rel = &rq->ch[i].rel;
		bool last_words = !rq->silent && rq->fail == 0 && rel->end != REL_FILTER;

		commit_choice(&c, i, buf_span(&rel->text));
		m.out_bytes += rel->text.n;
		m.released_bytes += last_words ? rel->text.n : rel->released;
	}
	commit_end(&c, m.commit);
	m.windows = buf_span(&rq->windows);
	r->type = M_OUTCOME;
	r->rseq = m.rseq;
	must(msg_enc_OUTCOME(&r->body, &m) == 0);
	rq->state = RQ_ENDING;
	rq->since_ms = rq->g->now_ms;
	record_send(rq, r);
	req_drop_work(rq);
}

/* Every 128 tokens (store's lease window) or second; it bounds what a crash can hide. Not
 * acknowledged, not sent again. */
void req_progress(struct req *rq)
{
	struct msg_PROGRESS m = {.lease = rq->lease, .req = rq->id, .tokens = req_completion(rq)};

	if (rq->state != RQ_RUN || m.tokens == rq->told_tokens ||
	    (m.tokens - rq->told_tokens < ENG_PROGRESS && rq->g->now_ms - rq->told_ms < 1000))
		return;
	for (uint32_t i = 0; i < rq->n; i++)
		m.bytes += rq->ch[i].rel.text.n;
	m.rseq = ++rq->rseq;
	rq->told_tokens = m.tokens;
	rq->told_ms = rq->g->now_ms;
	ENG_SEND(rq->g, R_STORE, CH_DATA, PROGRESS, &m);
}

/* The intent is in the book. */
static void intent_acked(struct req *rq, uint32_t cap)
{
	if (rq->intent.acked)
		return;
	rq->intent.acked = true;
	if (rq->state != RQ_INTENT)
		return; /* blocked or ended meanwhile: the OUTCOME is on its way */
	if (cap && cap / rq->n < rq->per_choice)
		rq->per_choice = cap / rq->n ? cap / rq->n : 1;
	req_start(rq);
}

static void ended_acked(struct req *rq, struct span receipt)
{
	if (!rq->silent && rq->fail)
		eng_fail(rq->g, &rq->id, rq->fail, rq->fail == RS_GUARD_DOWN ? 2000 : 0, 0, 0);
	else if (!rq->silent)
		req_last_words(rq, receipt);
	req_free(rq);
}

void eng_on_ack(struct eng *g, const struct msg_ACK *m)
{
	struct req *rq = eng_find_lease(g, &m->lease);

	if (rq == NULL || !id_eq(&rq->id, &m->req))
		return; /* answered twice after a resend */
	if (rq->intent.type && m->rseq == rq->intent.rseq) {
		intent_acked(rq, m->cap);
	} else if (rq->outcome.type && m->rseq == rq->outcome.rseq) {
		ended_acked(rq, m->receipt);
	} else if (rq->early.type && m->rseq == rq->early.rseq) {
		req_free(rq);
	} else {
		eng_odd(g, R_STORE, M_ACK, RS_ODD_MESSAGE, &m->req);
	}
}

void eng_on_nack(struct eng *g, const struct msg_NACK *m)
{
	struct req *rq = eng_find_lease(g, &m->lease);
	uint16_t code = m->code ? m->code : RS_BOOK_DOWN;

	if (rq == NULL || !id_eq(&rq->id, &m->req))
		return;
	if (rq->intent.type && m->rseq == rq->intent.rseq) {
		if (rq->intent.acked)
			return;
		if (rq->state == RQ_INTENT) {
			req_end(rq, OS_FAILED, code, true);
		} else if (!rq->silent) {
			rq->silent = true; /* a block that could not be written down */
			eng_fail(g, &rq->id, code, 1000, 0, 0);
		}
		return;
	}
	/* the end could not be written: nothing more goes out. Refused for good, it is dropped;
	 * else it is kept for the next channel */
	if (!rq->silent) {
		rq->silent = true;
		eng_fail(g, &rq->id, code, 1000, 0, 0);
	}
	if (code != RS_BOOK_DOWN)
		req_free(rq);
}

void eng_hello(struct eng *g)
{
	struct msg_HELLO m = {.boot = g->cfg.boot};
	struct buf ids = BUF_INIT(WIRE_BYTES_MAX);
	struct req *rq, *tmp;
	struct grant *gr, *gtmp;

	HASH_ITER(hh, g->by_id, rq, tmp)
	if (rq->state != RQ_WAIT_GRANT)
		buf_put(&ids, rq->lease.b, ID_BYTES);
	HASH_ITER(hh, g->grants, gr, gtmp)
	if (!gr->used)
		buf_put(&ids, gr->lease.b, ID_BYTES);
	m.leases = buf_span(&ids);
	ENG_SEND(g, R_STORE, CH_CTRL, HELLO, &m);
	buf_free(&ids);
	eng_resend(g, true);
}

/* all: a new channel, everything unacknowledged goes again; else what could not be sent. */
void eng_resend(struct eng *g, bool all)
{
	struct req *rq, *tmp;

	g->resend = false;
	HASH_ITER(hh, g->by_id, rq, tmp)
	{
		if (all && rq->state == RQ_CLAIM)
			req_send_claim(rq);
		if (rq->intent.type && !rq->intent.acked && (all || !rq->intent.sent))
			record_send(rq, &rq->intent);
		if (rq->outcome.type && (all || !rq->outcome.sent))
			record_send(rq, &rq->outcome);
		if (rq->early.type && (all || !rq->early.sent))
			record_send(rq, &rq->early);
	}
}
