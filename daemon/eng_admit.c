/* eng_admit.c - memory before work: the answer's sequences and the guard's whole reading of it are
 * reserved together, so that they never wait for each other. Groups take turns, within one group
 * who came first is first; one that does not fit lets others pass, but not for ever. */
#include <stdlib.h>

#include "cur.h"
#include "eng.h"
#include "fault.h"
#include "log.h"

#define TRIES 4u	 /* requests that may fail to fit in one go */
#define PASSED_MAX 32u	 /* pass the first of the queue; then all wait for it */
#define CONTEXT_MAX 512u /* tokens of conversation that the guard keeps beside a long answer */

void req_enqueue(struct req *rq)
{
	struct eng *g = rq->g;

	rq->state = RQ_QUEUED;
	rq->since_ms = g->now_ms;
	rq->qnext = NULL;
	*g->queue_end = rq;
	g->queue_end = &rq->qnext;
	g->n_queued++;
	g->full = false; /* it may fit where the others do not */
	eng_admit_queue(g);
}

void req_unqueue(struct req *rq)
{
	struct eng *g = rq->g;

	for (struct req **at = &g->queue; *at; at = &(*at)->qnext)
		if (*at == rq) {
			*at = rq->qnext;
			if (g->queue_end == &rq->qnext)
				g->queue_end = at;
			g->n_queued--;
			return;
		}
}

void req_drop_work(struct req *rq)
{
	for (uint32_t i = 0; rq->ch && i < rq->n; i++) {
		struct choice *c = &rq->ch[i];

		req_untag(rq, &c->tag);
		seq_free(c->seq);
		mask_free(c->mask);
		reading_free(c->reading);
		c->seq = NULL;
		c->mask = NULL;
		c->reading = NULL;
	}
	reading_free(rq->reading);
	rq->reading = NULL;
	scan_free(rq->scan);
	rq->scan = NULL;
	if (rq->active) {
		rq->active = false;
		rq->g->active--;
	}
	if (rq->ch && rq->state == RQ_ENDING && !rq->silent && rq->fail == 0)
		return; /* the text that waits for the ACK */
	for (uint32_t i = 0; rq->ch && i < rq->n; i++)
		release_free(&rq->ch[i].rel);
	free(rq->ch);
	rq->ch = NULL;
}

static int put_stops(struct release *rel, struct span list)
{
	struct cur c = cur_init(list);

	while (cur_left(&c) > 0)
		if (release_stop(rel, cur_span(&c, cur_u16(&c))) != 0)
			return E_RANGE;
	return 0;
}

static int make_choice(struct req *rq, unsigned i, const struct eng_model *em, struct span turns,
		       uint32_t need, struct err *err)
{
	struct eng *g = rq->g;
	struct choice *c = &rq->ch[i];
	struct seq_cfg cfg = {.cache_domain = rq->grant.domain,
			      .fair_group = rq->grant.group,
			      .priority = PRIO_NORMAL,
			      .max_tokens = (uint32_t)rq->n_ids + rq->per_choice,
			      .kv_type = KV_AUTO,
			      .role = SEQ_CHAT};
	uint32_t spare;
	int rc;

	release_init(&c->rel, (size_t)rq->per_choice * 64 + 4096);
	c->credit = ENG_CREDIT;
	c->back = (struct rback){rq, (int)i};
	c->tag.rq = NULL;
	rc = put_stops(&c->rel, buf_span(&rq->stops));
	if (rc == 0)
		rc = seq_new(g->e, em->m, &cfg, &c->seq, err);
	if (rc == 0 && rq->schema)
		rc = mask_new(em->m, rq->schema, &c->mask, err);
	if (rc == 0)
		rc = reading_new(g->guard, GUARD_AGENT, rq->grant.domain, rq->grant.group, need,
				 &c->reading, err);
	if (rc != 0)
		return rc;
	reading_set_user(c->reading, &c->back);
	/* leave the answer at least half of the window */
	need = reading_room(c->reading) / 2;
	spare = 2 * rq->per_choice + 96;
	return reading_context(c->reading, turns, need < spare ? need : spare, err);
}

static int reserve(struct req *rq, const struct eng_model *em, struct err *err)
{
	struct eng *g = rq->g;
	struct buf turns = BUF_INIT(ENG_MSGS_MAX * 4u);
	enum guard_role last;
	size_t ctx = 0;
	int rc;

	rq->ch = FAULT("engine.admit") ? NULL : calloc(rq->n, sizeof(*rq->ch));
	if (rq->ch == NULL)
		return err_set(err, E_BUSY, "memory");
	rq->active = true;
	g->active++;
	gp_turns(rq->msgs, rq->n_msgs, &turns, &last);
	buf_puts(&turns, last == GUARD_AGENT ? GP_USER GP_AGENT : GP_AGENT);
	(void)model_tokenize(g->model[g->guard_ix].m, buf_span(&turns), TOK_CONT, NULL, 0, &ctx);
	ctx = ctx < CONTEXT_MAX ? ctx : CONTEXT_MAX;
	rc = buf_ok(&turns) ? 0 : E_RANGE;
	if (rc == 0)
		rc = reading_new(g->guard, GUARD_USER, rq->grant.domain, rq->grant.group,
				 rq->scan_need, &rq->reading, err);
	for (uint32_t i = 0; i < rq->n && rc == 0; i++)
		rc = make_choice(rq, i, em, buf_span(&turns),
				 (uint32_t)ctx + 2 * rq->per_choice + 128, err);
	buf_wipe_free(&turns);
	if (rc != 0) {
		struct scan *keep = rq->scan;

		rq->scan = NULL;
		req_drop_work(rq);
		rq->scan = keep;
		return rc;
	}
	rq->back = (struct rback){rq, -1};
	reading_set_user(rq->reading, &rq->back);
	return 0;
}

/* The prompt's check goes on, or is decided. */
static void scan_go(struct req *rq)
{
	const struct decision *d;
	struct err err = {0};
	int rc = scan_next(rq->scan, rq->reading, &err);

	if (rc == 1)
		return;
	if (rc < 0) {
		struct verdict v = {.code = rc};

		scan_verdict(rq->scan, &v);
	}
	d = scan_decision(rq->scan);
	rq->guard_tokens += scan_tokens(rq->scan);
	rq->state = RQ_INTENT;
	rq->since_ms = rq->g->now_ms;
	req_send_intent(rq, d->action, d);
	if (!decide_passes(d->action)) {
		rq->fail = d->action == DA_ERROR ? RS_GUARD_DOWN : RS_PROMPT_BLOCKED;
		req_send_outcome(rq, OS_BLOCKED, rq->fail);
		return;
	}
	reading_free(rq->reading);
	rq->reading = NULL;
	scan_free(rq->scan);
	rq->scan = NULL;
}

void req_scan_verdict(struct req *rq, const struct verdict *v)
{
	scan_verdict(rq->scan, v);
	scan_go(rq);
}

static int prefill(struct req *rq, struct err *err)
{
	struct want none = {.rows = WANT_NONE};

	for (uint32_t i = 0; i < rq->n; i++) {
		job_id job;
		int rc = seq_append(rq->ch[i].seq, rq->ids, rq->n_ids, &none, &job, err);

		if (rc != 0)
			return rc;
		req_tag(rq, &rq->ch[i].tag, job, (int)i, true);
	}
	return 0;
}

/* 1: admitted or ended; 0: no memory now. */
static int admit(struct req *rq)
{
	struct eng *g = rq->g;
	const struct eng_model *em = eng_chat_model(g, rq->model_ix);
	struct err err = {0};
	int rc = 0;

	if (em == NULL || !g->policy_ok || g->guard == NULL || g->guard_ix == ENG_MODELS ||
	    guard_state(g->guard, NULL) != GUARD_READY) {
		req_unqueue(rq);
		req_refuse(rq, em ? RS_GUARD_DOWN : RS_NO_MODEL, 2000, 0, 0);
		return 1;
	}
	if (rq->scan == NULL)
		rc = scan_new(g->model[g->guard_ix].m, &g->policy, rq->grant.tier, rq->msgs,
			      rq->n_msgs, rq->n_form ? schema_words(rq->schema) : SPAN_LIT(""),
			      &rq->scan, &rq->scan_need, &err);
	if (rc == 0)
		rc = reserve(rq, em, &err);
	if (rc == E_BUSY || rc == E_NOMEM)
		return 0;
	req_unqueue(rq);
	if (rc != 0) {
		log_ev(LOG_WARN_LV, "admit", "code=%d why=\"%s\"", rc, err.text);
		req_refuse(rq, RS_NO_ROOM, 5000, 0, 0);
		return 1;
	}
	rq->state = RQ_CHECK;
	rq->since_ms = g->now_ms;
	if (prefill(rq, &err) != 0) {
		req_refuse(rq, RS_INTERNAL, 0, 0, 0);
		return 1;
	}
	scan_go(rq);
	return 1;
}

/* 0: not served lately; else the higher the later. */
static unsigned turn_of(const struct eng *g, uint64_t group)
{
	for (unsigned i = 0; i < ENG_TURNS; i++)
		if (g->turn[i] == group)
			return i + 1;
	return 0;
}

static void served(struct eng *g, uint64_t group)
{
	unsigned at = turn_of(g, group);

	at = at ? at - 1 : 0;
	memmove(g->turn + at, g->turn + at + 1, (ENG_TURNS - 1 - at) * sizeof(*g->turn));
	g->turn[ENG_TURNS - 1] = group;
}

/* Of the groups not tried yet the one served longest ago; its request that came first. */
static struct req *next_to_try(const struct eng *g, const uint64_t *tried, unsigned n_tried)
{
	struct req *best = NULL;
	unsigned turn = 0;

	for (struct req *rq = g->queue; rq; rq = rq->qnext) {
		bool again = false;

		for (unsigned i = 0; i < n_tried; i++)
			again = again || tried[i] == rq->grant.group;
		if (!again && (best == NULL || turn_of(g, rq->grant.group) < turn)) {
			best = rq;
			turn = turn_of(g, rq->grant.group);
		}
		if (g->queue->passed >= PASSED_MAX)
			break; /* it alone */
	}
	return best;
}

static uint64_t reserved(const struct eng *g)
{
	struct engine_stats st;

	engine_stats(g->e, &st);
	return st.kv_pages_reserved;
}

/* A try reads all of a conversation: not at every step while nothing is given back. */
static bool still_full(const struct eng *g)
{
	return g->full && g->now_ms < g->full_ms + ENG_FULL_MS && reserved(g) >= g->full_pages;
}

void eng_admit_queue(struct eng *g)
{
	uint64_t tried[TRIES];
	unsigned n = 0;
	struct req *rq;

	if (g->queue == NULL || still_full(g))
		return;
	while (n < TRIES && (rq = next_to_try(g, tried, n)) != NULL) {
		struct req *first = g->queue == rq ? NULL : g->queue;
		uint64_t group = rq->grant.group;

		if (!admit(rq)) { /* which may free it */
			tried[n++] = group;
			continue;
		}
		served(g, group);
		if (first)
			first->passed++;
	}
	g->full = n > 0;
	g->full_pages = reserved(g);
	g->full_ms = g->now_ms;
}
