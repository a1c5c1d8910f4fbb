/* eng_end.c - how requests end before their time: refusals, cancel, revocation, silence, deadlines;
 * and every timer of the role. */
#include <stdlib.h>

#include "eng.h"
#include "fault.h"
#include "log.h"

void eng_fail(struct eng *g, const struct id *req, uint16_t code, uint32_t retry_ms, uint32_t a,
	      uint32_t b)
{
	struct msg_FAIL m = {.req = *req,
			     .status = (uint16_t)reason_info(code)->status,
			     .code = code,
			     .retry_ms = retry_ms,
			     .a = a,
			     .b = b};

	ENG_SEND(g, R_GATE, CH_DATA, FAIL, &m);
}

/* The lease was granted: its end is a record too, kept until ACK. */
void req_refuse(struct req *rq, uint16_t code, uint32_t retry_ms, uint32_t a, uint32_t b)
{
	if (!rq->gone && !rq->silent)
		eng_fail(rq->g, &rq->id, code, retry_ms, a, b);
	rq->silent = true;
	req_unqueue(rq);
	req_send_outcome(rq, code == RS_CANCELLED ? OS_CANCELLED : OS_FAILED, code);
}

void req_end(struct req *rq, enum outcome_state st, uint16_t code, bool tell)
{
	if (!tell)
		rq->gone = true;
	if (rq->state == RQ_WAIT_GRANT) {
		/* no lease stands behind it yet; its GRANT, when it comes, is a fresh one */
		if (tell)
			eng_fail(rq->g, &rq->id, code, 0, 0, 0);
		req_free(rq);
		return;
	}
	if (rq->state != RQ_ENDING && !rq->intent.type) {
		req_refuse(rq, code, 0, 0, 0);
		return;
	}
	if (tell && !rq->silent)
		eng_fail(rq->g, &rq->id, code, 0, 0, 0);
	rq->silent = true;
	if (rq->state != RQ_ENDING)
		req_send_outcome(rq, st, code);
}

/* A lease without a request goes back. Sent once: store ends it by itself when this is lost. */
void grant_end(struct eng *g, struct grant *gr, uint16_t code)
{
	struct msg_OUTCOME m = {.lease = gr->lease,
				.req = gr->req,
				.rseq = 1,
				.code = code,
				.state = code == RS_CANCELLED ? OS_CANCELLED : OS_REVOKED};

	gr->used = true;
	ENG_SEND(g, R_STORE, CH_DATA, OUTCOME, &m);
}

/* A cancel of something that is not here yet is remembered. */
void eng_on_cancel(struct eng *g, const struct msg_CANCEL *m)
{
	struct req *rq = eng_find(g, &m->req);
	struct early_cancel *c = NULL;

	if (rq && rq->state != RQ_WAIT_GRANT) {
		req_end(rq, OS_CANCELLED, RS_CANCELLED, false);
		return;
	}
	HASH_FIND(hh, g->cancels, &m->req, sizeof(m->req), c);
	if (c || HASH_CNT(hh, g->cancels) >= 2 * g->cfg.max_requests + 64)
		return;
	c = FAULT("engine.cancel") ? NULL : calloc(1, sizeof(*c));
	if (c == NULL)
		return;
	c->req = m->req;
	c->at_ms = g->now_ms;
	HASH_ADD(hh, g->cancels, req, sizeof(c->req), c);
}

void eng_on_revoke(struct eng *g, const struct msg_REVOKE *m)
{
	struct req *rq = eng_find_lease(g, &m->lease);
	uint16_t code = m->code ? m->code : RS_REVOKED;
	uint64_t domain = rq ? rq->grant.domain : 0;
	struct grant *gr = NULL;

	HASH_FIND(hh, g->grants, &m->lease, sizeof(m->lease), gr);
	if (gr == NULL && rq == NULL && HASH_CNT(hh, g->grants) < ENG_USED_MAX) {
		/* before its GRANT: remembered as one that was used, for a request nobody knows */
		gr = calloc(1, sizeof(*gr));
		if (gr) {
			gr->lease = m->lease;
			HASH_ADD(hh, g->grants, lease, sizeof(gr->lease), gr);
		}
	}
	if (gr)
		gr->used = true; /* never to begin */
	if (rq)
		req_end(rq, OS_REVOKED, code, true);
	if (domain && code == RS_KYC_EXPIRED) /* an officer's revocation comes with a FORGET */
		engine_cache_clear(g->e, domain);
}

bool eng_may_release(const struct eng *g)
{
	uint64_t beat = atomic_load(&g->beat_ms);
	uint32_t life = atomic_load(&g->beat_life);

	return beat != 0 && g->now_ms <= beat + (life && life < 500 ? life : 500);
}

/* ---- timers ---- */

static bool guard_late(const struct req *rq)
{
	uint64_t now = rq->g->now_ms;

	if (rq->state == RQ_CHECK)
		return now > rq->since_ms + ENG_GUARD_LATE_MS;
	for (uint32_t i = 0; rq->state == RQ_RUN && i < rq->n; i++)
		if (reading_busy(rq->ch[i].reading) &&
		    now > rq->ch[i].checked_ms + ENG_GUARD_LATE_MS)
			return true;
	return false;
}

static void req_timers(struct req *rq)
{
	struct eng *g = rq->g;
	uint64_t now = g->now_ms;

	switch (rq->state) {
	case RQ_WAIT_GRANT:
		if (now > rq->born_ms + ENG_WAIT_GRANT_MS) {
			eng_odd(g, R_GATE, M_SUBMIT, RS_NO_GRANT, &rq->id);
			req_end(rq, OS_FAILED, RS_NO_GRANT, true);
		}
		return;
	case RQ_QUEUED:
		if (now > rq->since_ms + g->cfg.queue_ms) {
			req_refuse(rq, RS_OVERLOADED, 1000, 0, 0);
			return;
		}
		break;
	case RQ_CHECK:
	case RQ_RUN:
		if (guard_late(rq)) {
			req_end(rq, OS_FAILED, RS_GUARD_DOWN, true);
			return;
		}
		break;
	case RQ_ENDING:
		return;
	default:
		break;
	}
	if (now > rq->born_ms + g->cfg.request_ms) {
		req_end(rq, OS_DEADLINE, RS_DEADLINE, true);
		return;
	}
	if (rq->state == RQ_RUN) {
		req_progress(rq);
		req_pump(rq);
	}
}

/* Silence of store: streams end; what waits for its answer ends too. */
static void store_silent(struct eng *g)
{
	uint64_t beat = atomic_load(&g->beat_ms);
	struct req *rq, *tmp;

	if (beat == 0 || g->now_ms <= beat + ENG_LOST_MS)
		return;
	HASH_ITER(hh, g->by_id, rq, tmp)
	if (rq->state != RQ_WAIT_GRANT && !rq->silent)
		req_end(rq, OS_STORE_LOST, RS_STORE_LOST, true);
}

static void forget_old(struct eng *g)
{
	struct early_cancel *c, *ctmp;
	struct grant *gr, *gtmp;

	HASH_ITER(hh, g->cancels, c, ctmp)
	{
		if (g->now_ms <= c->at_ms + ENG_EARLY_CANCEL_MS)
			break; /* insertion order */
		HASH_DEL(g->cancels, c);
		free(c);
	}
	HASH_ITER(hh, g->grants, gr, gtmp)
	{
		if (gr->used)
			continue;
		if (g->now_ms <= gr->born_ms + ENG_GRANT_MS)
			break;
		grant_end(g, gr, RS_CANCELLED); /* nobody came for it */
	}
}

static void tell_gate(struct eng *g)
{
	struct msg_ESTATE m = {.active = g->active, .queued = g->n_queued};

	if (g->now_ms < g->next_estate_ms || !g->gate_up)
		return;
	g->next_estate_ms = g->now_ms + 250;
	m.reasons = atomic_load(&g->reasons);
	m.ready = m.reasons == 0;
	ENG_SEND(g, R_GATE, CH_CTRL, ESTATE, &m);
}

static void tell_totals(struct eng *g)
{
	struct msg_ETOTALS m = {.active = g->active, .queued = g->n_queued};
	struct engine_stats st;

	if (g->now_ms < g->next_totals_ms || !g->store_up)
		return;
	g->next_totals_ms = g->now_ms + ENG_TOTALS_MS;
	engine_stats(g->e, &st);
	m.seqs = st.seqs;
	m.kv_total = st.kv_pages_total * ENGINE_KV_UNIT;
	m.kv_used = st.kv_pages_used * ENGINE_KV_UNIT;
	m.kv_reserved = st.kv_pages_reserved * ENGINE_KV_UNIT;
	m.kv_cached = st.kv_pages_tree * ENGINE_KV_UNIT;
	m.kv_resting = st.kv_pages_resting * ENGINE_KV_UNIT;
	m.steps = st.steps;
	m.preempted = st.preempted;
	m.prompt = st.tokens_prompt;
	m.generated = st.tokens_generated;
	m.guard = st.tokens_guard;
	m.cached = st.tokens_cached;
	m.drafted = st.tokens_drafted;
	m.accepted = st.tokens_accepted;
	m.mask_waits = st.mask_waits;
	ENG_SEND(g, R_STORE, CH_CTRL, ETOTALS, &m);
}

void eng_timers(struct eng *g)
{
	struct req *rq, *tmp;

	store_silent(g);
	HASH_ITER(hh, g->by_id, rq, tmp)
	req_timers(rq);
	if (g->draining && g->now_ms >= g->drain_ms)
		HASH_ITER(hh, g->by_id, rq, tmp)
	if (!rq->silent)
		req_end(rq, OS_FAILED, RS_SHUTDOWN, true);
	forget_old(g);
	eng_guard_tick(g);
	eng_admit_queue(g);
	if (g->resend)
		eng_resend(g, false);
	atomic_store(&g->reasons, eng_why_not(g));
	tell_gate(g);
	tell_totals(g);
}
