/* store_req.c - one request as engine reports it: CLAIM, INTENT, PROGRESS, OUTCOME. Each event is
 * applied to the fold at once and answered when its entry is durable. Loop thread, order held. */
#include "clock.h"
#include "cur.h"
#include "fault.h"
#include "log.h"
#include "store.h"

#define INT53 9007199254740991ull
#define TAG_INTENT 1
#define TAG_OUTCOME 2
#define WINDOW_BYTES 19u
#define AFTER_CRASH_MS 10000

static struct chan *engine(struct store *s)
{
	return role_chan(s->r, R_ENGINE, CH_DATA);
}

void store_nack(struct store *s, const struct id *lease, const struct id *req, uint32_t rseq,
		uint16_t code)
{
	struct msg_NACK m = {.lease = *lease, .req = *req, .rseq = rseq, .code = code};

	s->n.nacks++;
	CH_SEND(engine(s), NACK, &m);
}

void store_ack(struct store *s, const struct id *lease, const struct id *req, uint32_t rseq,
	       uint64_t index, uint32_t cap, struct span receipt)
{
	struct msg_ACK m = {.lease = *lease,
			    .req = *req,
			    .rseq = rseq,
			    .index = index,
			    .cap = cap,
			    .receipt = receipt};

	if (receipt.n > WIRE_BYTES_MAX)
		m.receipt = span_of(NULL, 0);
	if (FAULT("store.before_ack"))
		return; /* lost on the way: the engine sends the record again */
	CH_SEND(engine(s), ACK, &m);
}

static bool after_crash(const struct store *s)
{
	return s->started_at && clock_mono_ms() < s->started_at + AFTER_CRASH_MS;
}

/* The engine's lease, or NULL and the breach recorded. */
static struct lease *mine(struct store *s, const struct id *lease, const struct id *req,
			  uint16_t type)
{
	struct lease *l = lease_match(s->f.leases, lease, req);

	if (l == NULL) {
		/* a crash may have taken a reserve that was granted and not yet durable */
		if (!after_crash(s))
			store_odd(s, R_ENGINE, type, RS_NO_GRANT, req);
		return NULL;
	}
	if (id_is_zero(&s->engine) || (!id_eq(&l->engine, &s->engine) && l->state != LS_CLOSED)) {
		store_odd(s, R_ENGINE, type, RS_REPLAY, req);
		return NULL;
	}
	return l;
}

static void pay(struct lease *l, struct slog_job *j, struct buf *b)
{
	uint64_t c = logw_cost(b->n);

	slog_add(j, buf_span(b));
	if (l->cost < c)
		j->paid = false; /* opened before our start: room as it is there */
	else
		l->cost -= c;
	buf_reset(b);
}

static struct slog_job *job_of(struct store *s, struct lease *l)
{
	struct slog_job *j = store_job(s);

	j->lease = l->id;
	j->req = l->req;
	j->paid = l->cost > 0;
	j->must = true;
	j->arg = s;
	return j;
}

/* ---- CLAIM ---- */

static void claim_no(struct store *s, const struct msg_CLAIM *m, uint16_t code, uint32_t retry_ms,
		     bool no_retry)
{
	struct msg_CLAIMNO no = {
	    .lease = m->lease, .code = code, .retry_ms = retry_ms, .no_retry = no_retry};

	no.status = (uint16_t)reason_info(code)->status;
	CH_SEND(engine(s), CLAIMNO, &no);
}

static void claim_ok(struct store *s, struct lease *l)
{
	struct msg_CLAIMOK ok = {.lease = l->id, .cap = l->cap};

	CH_SEND(engine(s), CLAIMOK, &ok);
}

void store_on_claim(struct store *s, const struct msg_CLAIM *m)
{
	struct lease *l = mine(s, &m->lease, &m->req, M_CLAIM);
	struct ev e = {
	    .type = EV_CLAIM, .req = m->req, .lease = m->lease, .prompt = m->prompt_tokens};
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct quota_no no;
	struct zone_now now;
	struct slog_job *j;

	if (l == NULL && after_crash(s)) { /* granted, and the crash took the reserve */
		claim_no(s, m, RS_OVERLOADED, 1000, false);
		return;
	}
	if (l == NULL || l->revoked) {
		claim_no(s, m, l ? RS_REVOKED : RS_NO_GRANT, 0, true);
		return;
	}
	if (l->born == 0 && (l->state == LS_RESERVED || l->state == LS_CLOSED)) {
		/* its limits are not known any more: the client starts again */
		claim_no(s, m, RS_OVERLOADED, 1000, false);
		store_end_lease(s, l, RS_OVERLOADED);
		return;
	}
	if (l->state != LS_RESERVED) {
		if (l->state == LS_CLAIMED && l->prompt == m->prompt_tokens) {
			claim_ok(s, l); /* resent over a new channel */
			return;
		}
		store_odd(s, R_ENGINE, M_CLAIM, RS_REPLAY, &m->req);
		claim_no(s, m, RS_REPLAY, 0, true);
		return;
	}
	e.out = l->max_total && m->max_out > l->max_total ? l->max_total : m->max_out;
	e.ts = store_now(s);
	zone_at(&s->f.zone, e.ts, &now);
	s->n.claims++;
	if (quota_can_claim(s->f.quota, &l->hold.who, l->lim, (uint64_t)e.prompt + e.out, &now,
			    &no) < 0) {
		claim_no(s, m, store_quota_reason(&no), no.retry_ms, no.no_retry);
		store_end_lease(s, l, store_quota_reason(&no));
		return;
	}
	if (fold_apply(&s->f, &e, LEASE_NO_INDEX, NULL) < 0) {
		claim_no(s, m, RS_INTERNAL, 0, false);
		store_end_lease(s, l, RS_INTERNAL);
		return;
	}
	ev_put_claim(&b, role_boot(s->r), &e);
	j = job_of(s, l);
	pay(l, j, &b);
	slog_put(s->log, j);
	claim_ok(s, l);
}

/* ---- INTENT ---- */

static void intent_done(struct slog_job *j)
{
	struct store *s = j->arg;
	struct lease *l;
	struct receipt_row row;

	pthread_mutex_lock(&s->order);
	l = lease_match(s->f.leases, &j->lease, &j->req);
	if (j->rc < 0) {
		store_nack(s, &j->lease, &j->req, j->tag2, RS_BOOK_DOWN);
	} else {
		if (l) {
			l->intent_ix = j->index;
			row = (struct receipt_row){.req = l->req,
						   .kid = l->hold.who.id[QL_KEY],
						   .sub = l->hold.who.id[QL_SUBJECT],
						   .intent = j->index,
						   .outcome = UINT64_MAX};
			memcpy(row.prompt_salt, j->salt[0], 32);
			store_receipt_row(s, &row);
		}
		store_ack(s, &j->lease, &j->req, j->tag2, j->index, l ? l->cap : 0,
			  span_of(NULL, 0));
	}
	pthread_mutex_unlock(&s->order);
}

/* Does the record name the policy and models that settings allow? */
static bool intent_true(struct store *s, const struct lease *l, const struct msg_INTENT *m)
{
	bool guard = false, chat = false;

	for (unsigned i = 0; i < s->set.n_models; i++) {
		const struct model_row *r = &s->set.model[i];

		guard |= r->guard && memcmp(r->sha256, m->guard_sha, 32) == 0;
		chat |= r->chat && memcmp(r->sha256, m->model_sha, 32) == 0 &&
			(l->model_ix == i || l->model_ix == LEASE_NO_MODEL);
	}
	return guard && chat && memcmp(s->set.policy_sha256, m->policy_sha, 32) == 0 &&
	       ev_kernel_ok(m->kernel) && m->action <= PA_ERROR && m->prompt_tokens == l->prompt;
}

static void intent_again(struct store *s, struct lease *l, const struct msg_INTENT *m)
{
	s->n.duplicates++;
	if (l->intent_ix != LEASE_NO_INDEX)
		store_ack(s, &m->lease, &m->req, m->rseq, l->intent_ix, l->cap, span_of(NULL, 0));
	else if (l->state == LS_CLOSED && !l->ending) /* ended before: this one came too late */
		store_nack(s, &m->lease, &m->req, m->rseq, RS_NO_GRANT);
	/* else it is on its way to the disk and will be answered from there */
}

void store_on_intent(struct store *s, const struct msg_INTENT *m)
{
	struct lease *l = mine(s, &m->lease, &m->req, M_INTENT);
	struct ev e = {.type = EV_INTENT, .req = m->req, .lease = m->lease};
	struct ev_verdict v = {.action = m->action,
			       .cats = m->cats,
			       .score_milli = m->score_milli,
			       .threshold_milli = m->threshold_milli,
			       .policy_sha = m->policy_sha,
			       .guard_sha = m->guard_sha,
			       .kernel = m->kernel};
	struct ev_intent_more more = {.commit = m->commit,
				      .model_sha = m->model_sha,
				      .prompt_bytes = m->prompt_bytes,
				      .prompt_tokens = m->prompt_tokens};
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct slog_job *j;

	if (l && (l->state == LS_INTENT || l->state == LS_CLOSED)) {
		intent_again(s, l, m);
		return;
	}
	if (l == NULL || l->state != LS_CLAIMED || l->revoked || !intent_true(s, l, m)) {
		uint16_t why = l == NULL ? RS_NO_GRANT : l->revoked ? RS_REVOKED : RS_ODD_MESSAGE;

		if (l && !l->revoked)
			store_odd(s, R_ENGINE, M_INTENT, RS_ODD_MESSAGE, &m->req);
		store_nack(s, &m->lease, &m->req, m->rseq, why);
		return;
	}
	e.ts = store_now(s);
	j = job_of(s, l);
	ev_put_input(&b, role_boot(s->r), &e, &v);
	pay(l, j, &b);
	ev_put_intent(&b, role_boot(s->r), &e, &more);
	pay(l, j, &b);
	must(fold_apply(&s->f, &e, LEASE_NO_INDEX, NULL) == E_OK);
	memcpy(l->prompt_salt, m->salt, 32);
	l->has_salt = true;
	memcpy(j->salt[0], m->salt, 32);
	j->tag = TAG_INTENT;
	j->tag2 = m->rseq;
	j->done = intent_done;
	l->rseq = m->rseq;
	s->n.intents++;
	s->n.guard_tokens += m->guard_tokens;
	s->n.blocked += m->action >= PA_HOLD;
	slog_put(s->log, j);
}

/* ---- PROGRESS ---- */

void store_on_progress(struct store *s, const struct msg_PROGRESS *m)
{
	struct lease *l = mine(s, &m->lease, &m->req, M_PROGRESS);
	struct ev e = {.type = EV_PROGRESS,
		       .req = m->req,
		       .lease = m->lease,
		       .tokens = m->tokens,
		       .bytes = m->bytes};
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));

	if (l == NULL || l->state == LS_CLOSED)
		return;
	if (m->bytes > INT53 || l->state != LS_INTENT) {
		store_odd(s, R_ENGINE, M_PROGRESS, RS_ODD_MESSAGE, &m->req);
		return;
	}
	if (m->rseq <= l->rseq)
		return; /* resent */
	l->rseq = m->rseq;
	s->n.progress++;
	e.ts = store_now(s);
	fold_apply(&s->f, &e, LEASE_NO_INDEX, NULL);
	ev_put_progress(&b, role_boot(s->r), &e);
	store_note(s, &b);
}

/* ---- OUTCOME ---- */

static void outcome_done(struct slog_job *j)
{
	struct store *s = j->arg;
	struct lease *l;
	struct receipt_row row;

	pthread_mutex_lock(&s->order);
	l = lease_match(s->f.leases, &j->lease, &j->req);
	if (j->rc < 0) {
		store_nack(s, &j->lease, &j->req, j->tag2, RS_BOOK_DOWN);
	} else {
		if (l && j->tag == TAG_OUTCOME) {
			l->outcome_ix = j->index;
			row = (struct receipt_row){.req = l->req,
						   .kid = l->hold.who.id[QL_KEY],
						   .sub = l->hold.who.id[QL_SUBJECT],
						   .intent = l->intent_ix,
						   .outcome = j->index};
			memcpy(row.prompt_salt, j->salt[0], 32);
			memcpy(row.output_salt, j->salt[1], 32);
			store_receipt_row(s, &row);
		}
		store_ack(s, &j->lease, &j->req, j->tag2, j->index, 0, buf_span(&j->out));
	}
	pthread_mutex_unlock(&s->order);
}

static unsigned windows(struct span s, struct ev_window *w, unsigned max)
{
	struct cur c = cur_init(s);
	unsigned n = 0;

	while (cur_left(&c) && n < max) {
		w[n].choice = cur_u32(&c);
		w[n].from = cur_u32(&c);
		w[n].to = cur_u32(&c);
		w[n].action = cur_u8(&c);
		w[n].cats = cur_u32(&c);
		w[n].score = cur_u16(&c);
		if (w[n].action > PA_ERROR || w[n].from > w[n].to)
			c.bad = true;
		n++;
	}
	return cur_done(&c) ? n : UINT32_MAX;
}

/* The request ended before any intent: nothing to account for but the reserve. */
static void early(struct store *s, struct lease *l, const struct msg_OUTCOME *m)
{
	l->ack_rseq = m->rseq;
	store_end_lease(s, l, m->code < REASON_COUNT && m->code ? m->code : RS_CANCELLED);
}

/* NULL when the commitment covers bytes that were never released: with its salt a client could test
 * guesses of them offline. */
static const uint8_t *told_salt(const struct msg_OUTCOME *m)
{
	return m->released_bytes < m->out_bytes ? NULL : m->salt;
}

static void outcome_again_done(struct slog_job *j)
{
	struct store *s = j->arg;

	pthread_mutex_lock(&s->order);
	store_ack(s, &j->lease, &j->req, j->tag2, j->index, 0, buf_span(&j->out));
	pthread_mutex_unlock(&s->order);
}

/* A record that is in the log already: answered again, with a receipt against today's tree. */
static void outcome_again(struct store *s, struct lease *l, const struct msg_OUTCOME *m)
{
	struct slog_job *j;

	s->n.duplicates++;
	if (l->outcome_ix == LEASE_NO_INDEX) {
		if (!l->ending) /* ended before any intent; else the disk will answer */
			store_ack(s, &m->lease, &m->req, m->rseq, LEASE_NO_INDEX, 0,
				  span_of(NULL, 0));
		return;
	}
	j = store_job(s);
	j->lease = l->id;
	j->req = l->req;
	j->arg = s;
	j->tag2 = m->rseq;
	j->index = l->outcome_ix;
	j->receipt = true;
	memcpy(j->salt[0], l->prompt_salt, 32);
	memcpy(j->salt[1], m->salt, 32);
	j->has_salt[0] = l->has_salt;
	j->has_salt[1] = !l->presumed && told_salt(m);
	j->done = outcome_again_done;
	slog_put(s->log, j);
}

static bool outcome_true(const struct lease *l, const struct msg_OUTCOME *m)
{
	return m->state <= OS_BLOCKED && m->code < REASON_COUNT && m->dur_us <= INT53 &&
	       m->out_bytes <= INT53 && m->released_bytes <= m->out_bytes &&
	       m->prompt_tokens == l->prompt && m->completion_tokens <= l->cap;
}

static void put_outcome(struct store *s, struct lease *l, const struct msg_OUTCOME *m,
			struct ev_window *w, unsigned n)
{
	struct ev e = {.type = EV_OUTCOME,
		       .req = m->req,
		       .lease = m->lease,
		       .prompt = m->prompt_tokens,
		       .completion = m->completion_tokens,
		       .code = m->code,
		       .state = m->state};
	struct ev_outcome_more more = {.cached = m->cached,
				       .guard = m->guard_tokens,
				       .commit = m->commit,
				       .dur_us = m->dur_us,
				       .out_bytes = m->out_bytes,
				       .released = m->released_bytes};
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct slog_job *j = job_of(s, l);

	e.ts = store_now(s);
	if (n) {
		ev_put_output(&b, role_boot(s->r), &e, w, ev_merge_windows(w, n));
		pay(l, j, &b);
	}
	ev_put_outcome(&b, role_boot(s->r), &e, &more);
	ev_put_extra(&j->extra, buf_span(&b), l->has_salt ? l->prompt_salt : NULL, told_salt(m));
	pay(l, j, &b);
	memcpy(j->salt[0], l->prompt_salt, 32);
	if (told_salt(m))
		memcpy(j->salt[1], m->salt, 32); /* else the row keeps zeros: none */
	j->receipt = true;
	j->tag = TAG_OUTCOME;
	j->tag2 = m->rseq;
	j->done = outcome_done;
	l->ending = true;
	slog_give(s->log, l->cost);
	l->cost = 0;
	must(fold_apply(&s->f, &e, LEASE_NO_INDEX, NULL) == E_OK);
	s->n.outcomes[m->state]++;
	s->n.prompt_tokens += m->prompt_tokens;
	s->n.completion_tokens += m->completion_tokens;
	s->n.guard_tokens += m->guard_tokens;
	slog_put(s->log, j);
}

void store_on_outcome(struct store *s, const struct msg_OUTCOME *m)
{
	struct lease *l = mine(s, &m->lease, &m->req, M_OUTCOME);
	struct ev_window w[WIRE_BYTES_MAX / WINDOW_BYTES + 1];
	unsigned n;

	if (l == NULL) {
		store_nack(s, &m->lease, &m->req, m->rseq, RS_NO_GRANT);
		return;
	}
	if (l->state == LS_CLOSED) {
		outcome_again(s, l, m);
		return;
	}
	if (l->state != LS_INTENT) {
		early(s, l, m);
		return;
	}
	n = windows(m->windows, w, sizeof(w) / sizeof(w[0]));
	if (n == UINT32_MAX || !outcome_true(l, m)) {
		/* an end must be recorded even when the engine's account of it is impossible */
		store_odd(s, R_ENGINE, M_OUTCOME, RS_ODD_MESSAGE, &m->req);
		store_nack(s, &m->lease, &m->req, m->rseq, RS_ODD_MESSAGE);
		store_end_lease(s, l, RS_ODD_MESSAGE);
		return;
	}
	put_outcome(s, l, m, w, n);
}
