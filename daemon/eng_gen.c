/* eng_gen.c - generation under the release gate: tokens in, verdicts, windows out. The only place
 * that sends OUT. */
#include <stdlib.h>

#include "eng.h"
#include "fault.h"
#include "log.h"
#include "num.h"

#define WINDOWS_MAX 256u
#define WINDOW_BYTES 19u
#define OUT_BYTES 32768u

void req_tag(struct req *rq, struct jobtag *t, job_id job, int choice, bool prefill)
{
	req_untag(rq, t);
	*t = (struct jobtag){.job = job, .rq = rq, .choice = choice, .prefill = prefill};
	HASH_ADD(hh, rq->g->jobs, job, sizeof(t->job), t);
}

void req_untag(struct req *rq, struct jobtag *t)
{
	if (t->job == 0)
		return;
	HASH_DEL(rq->g->jobs, t);
	t->job = 0;
}

uint32_t req_completion(const struct req *rq)
{
	uint32_t n = 0;

	for (uint32_t i = 0; rq->ch && i < rq->n; i++) {
		const struct choice *c = &rq->ch[i];
		uint32_t k = c->gen;

		/* behind a stop string or in a blocked window lies what the client must not learn
		 * the length of */
		if (c->rel.end == REL_STOP)
			k = c->rel.tokens;
		else if (c->rel.end == REL_FILTER)
			k = pace_round(k) < rq->per_choice ? pace_round(k) : rq->per_choice;
		n += k;
	}
	return n;
}

/* ---- windows ---- */

/* The last record of a choice, or NULL. */
static uint8_t *last_window(struct req *rq, uint32_t choice)
{
	for (size_t at = rq->windows.n; at >= WINDOW_BYTES; at -= WINDOW_BYTES) {
		uint8_t *w = (uint8_t *)rq->windows.p + at - WINDOW_BYTES;

		if (get_le32(w) == choice)
			return w;
	}
	return NULL;
}

/* One record per verdict; beyond WINDOWS_MAX they are joined with the last one of their choice,
 * keeping what is severest. None is left out: at most ENG_CHOICES more are made. */
static void put_window(struct req *rq, uint32_t choice, uint32_t from, uint32_t to,
		       const struct decision *d)
{
	uint8_t *last = rq->n_windows >= WINDOWS_MAX ? last_window(rq, choice) : NULL;

	must(from <= to);
	if (last) {
		uint16_t score = get_le16(last + 17);

		put_le32(last + 8, to);
		last[12] = last[12] > d->action ? last[12] : (uint8_t)d->action;
		put_le32(last + 13, get_le32(last + 13) | d->cats);
		put_le16(last + 17, score > d->score_milli ? score : (uint16_t)d->score_milli);
		return;
	}
	buf_u32(&rq->windows, choice);
	buf_u32(&rq->windows, from);
	buf_u32(&rq->windows, to);
	buf_u8(&rq->windows, (uint8_t)d->action);
	buf_u32(&rq->windows, d->cats);
	buf_u16(&rq->windows, (uint16_t)d->score_milli);
	rq->n_windows++;
}

static uint8_t finish_of(enum release_end e)
{
	switch (e) {
	case REL_STOP:
		return OF_STOP;
	case REL_LENGTH:
		return OF_LENGTH;
	case REL_FILTER:
		return OF_FILTER;
	default:
		return OF_ERROR;
	}
}

/* Sends text as OUT messages of bounded size. False: gate cannot take it. */
static bool send_out(struct req *rq, uint32_t choice, struct span text, uint32_t tokens,
		     uint8_t finish)
{
	struct msg_OUT m = {.req = rq->id, .choice = choice};

	do {
		size_t n = text.n > OUT_BYTES ? OUT_BYTES : text.n;

		while (n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
			n--;
		m.text = span_of(text.p, n);
		text = span_from(text, n);
		m.tokens = text.n == 0 ? tokens : 0;
		m.finish = text.n == 0 ? finish : OF_NONE;
		if (ENG_SEND(rq->g, R_GATE, CH_DATA, OUT, &m) != 0)
			return false;
	} while (text.n > 0);
	return true;
}

/* ---- one choice ---- */

static void start_check(struct req *rq, uint32_t i)
{
	struct choice *c = &rq->ch[i];
	struct eng *g = rq->g;
	struct err err = {0};
	int rc;

	c->checked_ms = g->now_ms;
	rc = reading_check(c->reading, release_ask(&c->rel),
			   decide_floor(&g->policy, rq->grant.tier), &err);
	if (rc != 0) {
		struct verdict v = {.code = rc};

		log_ev(LOG_WARN_LV, "check", "code=%d", rc);
		req_choice_verdict(rq, (int)i, &v);
	}
}

static void give_credit(struct req *rq, struct choice *c)
{
	uint32_t limit = pace_limit(c->rel.judged_tokens);

	limit = limit < c->credit ? limit : c->credit;
	if (c->generating && limit > c->given) {
		seq_credit(c->seq, limit - c->given);
		c->given = limit;
	}
}

/* Text that is judged goes out, but for the end of the choice: that waits for the OUTCOME's ACK. */
static bool let_out(struct req *rq, uint32_t i)
{
	struct choice *c = &rq->ch[i];
	uint32_t tokens;
	struct span text;

	if (release_over(&c->rel) || release_ready(&c->rel) == 0 || !eng_may_release(rq->g))
		return true;
	text = release_take(&c->rel, &tokens);
	return send_out(rq, i, text, tokens, OF_NONE);
}

static void all_over(struct req *rq)
{
	enum outcome_state st = OS_OK;
	uint16_t code = RS_NONE;

	for (uint32_t i = 0; i < rq->n; i++) {
		enum release_end e = rq->ch[i].rel.end;

		if (!release_over(&rq->ch[i].rel))
			return;
		if (e == REL_ERROR) {
			req_end(rq, OS_FAILED, RS_GUARD_DOWN, true);
			return;
		}
		if (e == REL_FILTER) {
			st = OS_FILTERED;
			code = RS_OUTPUT_BLOCKED;
		} else if (e == REL_LENGTH && st == OS_OK) {
			st = OS_LENGTH;
		}
	}
	req_send_outcome(rq, st, code);
}

void req_pump(struct req *rq)
{
	for (uint32_t i = 0; i < rq->n; i++) {
		struct choice *c = &rq->ch[i];
		uint64_t since = rq->g->now_ms - c->checked_ms;

		if (!c->generating && c->rel.end == REL_OPEN)
			continue;
		if (!release_over(&c->rel) && !reading_busy(c->reading) &&
		    pace_due(c->rel.tokens, c->rel.judged_tokens,
			     since > UINT32_MAX ? UINT32_MAX : (uint32_t)since,
			     c->rel.end != REL_OPEN)) {
			start_check(rq, i);
			if (rq->state != RQ_RUN)
				return;
		}
		give_credit(rq, c);
		if (!let_out(rq, i)) {
			req_end(rq, OS_CANCELLED, RS_CANCELLED, false); /* gate is gone or stuck */
			return;
		}
	}
	all_over(rq);
}

static void stop_choice(struct req *rq, struct choice *c)
{
	if (c->tag.job)
		job_cancel(rq->g->e, c->tag.job);
	c->generating = false;
}

void req_choice_verdict(struct req *rq, int i, const struct verdict *v)
{
	struct choice *c = &rq->ch[i];
	struct eng *g = rq->g;
	struct detect found = {0};
	struct decision d;

	detect_text(span_of(c->rel.text.p, c->rel.asked), reading_seen(c->reading), &found);
	decide(&g->policy, rq->grant.tier, found.found & CAT_TAGS, v, &d);
	rq->guard_tokens += v->tokens;
	put_window(rq, (uint32_t)i, (uint32_t)c->window_from, (uint32_t)c->rel.asked, &d);
	c->window_from = c->rel.asked;
	if (decide_passes(d.action)) {
		release_pass(&c->rel);
		if (c->generating && c->rel.end != REL_OPEN)
			stop_choice(rq, c); /* a stop string passed */
	} else {
		release_block(&c->rel, d.action == DA_ERROR ? REL_ERROR : REL_FILTER);
		stop_choice(rq, c);
	}
}

/* ---- events ---- */

static void generate(struct req *rq, uint32_t i)
{
	struct choice *c = &rq->ch[i];
	struct gen_limit limit = {.max_new = rq->per_choice, .draft = rq->g->cfg.draft};
	struct sampler smp = rq->smp;
	struct err err = {0};
	job_id job;

	smp.seed += (uint64_t)i * 0x9e3779b97f4a7c15u; /* every choice its own randomness */
	if (seq_generate(c->seq, &smp, &limit, c->mask ? mask_try : NULL, c->mask, &job, &err) !=
	    0) {
		log_ev(LOG_ERROR_LV, "generate", "code=%d why=\"%s\"", err.code, err.text);
		req_end(rq, OS_FAILED, RS_INTERNAL, true);
		return;
	}
	req_tag(rq, &c->tag, job, (int)i, false);
	c->generating = true;
	c->checked_ms = rq->g->now_ms;
	give_credit(rq, c);
}

/* The intent is durable; generation starts when the prompt is computed too. */
void req_start(struct req *rq)
{
	struct msg_ADMIT m = {.req = rq->id, .prompt_tokens = (uint32_t)rq->n_ids};

	for (uint32_t i = 0; i < rq->n; i++)
		if (!rq->ch[i].prefilled)
			return;
	rq->state = RQ_RUN;
	rq->told_ms = rq->g->now_ms;
	m.cached = rq->cached;
	if (ENG_SEND(rq->g, R_GATE, CH_DATA, ADMIT, &m) != 0) {
		req_end(rq, OS_CANCELLED, RS_CANCELLED, false);
		return;
	}
	for (uint32_t i = 0; i < rq->n && rq->state == RQ_RUN; i++)
		generate(rq, i);
}

static void gen_done(struct req *rq, struct choice *c, enum gen_end end)
{
	c->generating = false;
	if (end == GEN_DEADLINE) {
		req_end(rq, OS_DEADLINE, RS_DEADLINE, true);
		return;
	}
	if (end == GEN_CANCELLED && c->rel.end == REL_OPEN) {
		req_end(rq, OS_FAILED, RS_INTERNAL, true); /* nobody asked for it */
		return;
	}
	release_finish(&c->rel, end == GEN_LENGTH ? REL_LENGTH : REL_STOP);
	req_pump(rq);
}

static void chat_event(struct req *rq, struct jobtag *t, const struct event *ev)
{
	struct choice *c = &rq->ch[t->choice];
	bool prefill = t->prefill;
	struct span bytes;

	switch (ev->kind) {
	case EV_TOKEN:
		if (c->rel.end != REL_OPEN)
			return; /* on its way when the choice was stopped */
		c->gen++;
		if (model_token_bytes(eng_chat_model(rq->g, rq->model_ix)->m, ev->token, &bytes) !=
		    0)
			bytes = span_of(NULL, 0);
		release_token(&c->rel, bytes);
		if (c->rel.end != REL_OPEN)
			stop_choice(rq, c);
		req_progress(rq);
		req_pump(rq);
		return;
	case EV_DONE:
		req_untag(rq, t);
		if (!prefill) {
			gen_done(rq, c, ev->end);
			return;
		}
		c->prefilled = true;
		if (t->choice == 0)
			rq->cached = ev->cached;
		if (rq->state == RQ_INTENT && rq->intent.acked)
			req_start(rq);
		return;
	case EV_FAILED:
		req_untag(rq, t);
		log_ev(LOG_ERROR_LV, "job", "code=%d", ev->code);
		req_end(rq, OS_FAILED, RS_INTERNAL, true);
		return;
	case EV_ROWS:
		return;
	}
}

bool eng_event(struct eng *g, const struct event *ev)
{
	struct reading *done = NULL;
	struct jobtag *t = NULL;
	struct verdict v;
	struct rback *b;

	HASH_FIND(hh, g->jobs, &ev->job, sizeof(ev->job), t);
	if (t) {
		chat_event(t->rq, t, ev);
		return true;
	}
	if (g->guard == NULL || !guard_event(g->guard, ev, &done, &v))
		return false;
	if (done == NULL)
		return true;
	b = reading_user(done);
	if (b->choice < 0) {
		req_scan_verdict(b->rq, &v);
	} else {
		struct req *rq = b->rq;

		req_choice_verdict(rq, b->choice, &v);
		req_pump(rq);
	}
	return true;
}

/* The OUTCOME is durable: the last bytes of every choice, and DONE. */
void req_last_words(struct req *rq, struct span receipt)
{
	struct msg_DONE m = {.req = rq->id,
			     .prompt_tokens = (uint32_t)rq->n_ids,
			     .completion_tokens = req_completion(rq),
			     .cached = rq->cached,
			     .receipt = receipt};

	for (uint32_t i = 0; i < rq->n; i++) {
		struct release *rel = &rq->ch[i].rel;
		uint32_t tokens;
		struct span text = release_take(rel, &tokens);

		if (!send_out(rq, i, text, tokens, finish_of(rel->end)))
			return;
	}
	ENG_SEND(rq->g, R_GATE, CH_DATA, DONE, &m);
}
