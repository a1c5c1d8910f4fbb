/* engine_doubles.c - what store and gate say and check in engine_rig.h, and the turning of the wheel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "cur.h"
#include "engine_rig.h"

static const enum role_id sides[] = {R_STORE, R_GATE};

static struct rig_req *find(struct rig *r, const struct id *id)
{
	for (unsigned i = 0; i < RIG_REQS; i++)
		if (id_eq(&r->rq[i].id, id))
			return &r->rq[i];
	fail_msg("a message of a request nobody made");
	return NULL;
}

bool rig_covered(const struct rig_req *q, uint32_t choice, uint32_t bytes)
{
	struct cur c = cur_init(buf_span(&q->windows));
	uint32_t at = 0;

	while (cur_left(&c) > 0) {
		uint32_t ch = cur_u32(&c), from = cur_u32(&c), to = cur_u32(&c);
		uint8_t action = cur_u8(&c);

		cur_u32(&c);
		cur_u16(&c);
		if (ch == choice && action <= PA_FLAG && from <= at && to > at)
			at = to;
	}
	return cur_done(&c) && at >= bytes;
}

static void on_out(struct rig *r, const struct msg_OUT *m)
{
	struct rig_req *q = find(r, &m->req);

	assert_true(m->choice < q->n);
	assert_true(q->admitted && q->intent_acked);
	if (q->done || q->failed || q->revoked)
		fail_msg("OUT after the end: done %d failed %d (%u) revoked %d", q->done, q->failed,
			 q->fail_code, q->revoked);
	assert_int_equal(q->finish[m->choice], OF_NONE);
	assert_true(q->outcomes == 0 || q->outcome_acked);
	if (!q->outcome_acked)
		assert_true(r->now <= r->last_beat + 500 + 50);
	if (m->finish)
		assert_true(q->outcome_acked);
	buf_span_put(&q->out[m->choice], m->text);
	q->finish[m->choice] = m->finish;
	q->tokens[m->choice] += m->tokens;
	if (m->text.n && !m->finish && !q->first_out_gen)
		q->first_out_gen = eng_find(r->g, &q->id)->ch[m->choice].gen;
}

static void gate_msg(struct rig *r, const struct msg_in *in)
{
	struct rig_req *q;

	switch (in->type) {
	case M_ADMIT: {
		struct msg_ADMIT m;

		assert_int_equal(msg_dec_ADMIT(in->body, &m), 0);
		q = find(r, &m.req);
		assert_true(q->intent_acked && !q->admitted && !q->failed);
		assert_true(q->action <= PA_FLAG);
		q->admitted = true;
		q->admit_cached = m.cached;
		break;
	}
	case M_OUT: {
		struct msg_OUT m;

		assert_int_equal(msg_dec_OUT(in->body, &m), 0);
		on_out(r, &m);
		break;
	}
	case M_DONE: {
		struct msg_DONE m;

		assert_int_equal(msg_dec_DONE(in->body, &m), 0);
		q = find(r, &m.req);
		assert_true(q->outcome_acked && !q->done && !q->failed);
		for (uint32_t c = 0; c < q->n; c++) {
			assert_int_not_equal(q->finish[c], OF_NONE);
			assert_true(rig_covered(q, c, (uint32_t)q->out[c].n));
		}
		q->completion = m.completion_tokens;
		q->done_cached = m.cached;
		q->done = true;
		break;
	}
	case M_FAIL: {
		struct msg_FAIL m;

		assert_int_equal(msg_dec_FAIL(in->body, &m), 0);
		q = find(r, &m.req);
		assert_false(q->done || q->failed);
		q->failed = true;
		q->fail_code = m.code;
		q->fail_status = m.status;
		break;
	}
	case M_ESTATE: {
		struct msg_ESTATE m;

		assert_int_equal(msg_dec_ESTATE(in->body, &m), 0);
		r->ready_reasons = m.reasons;
		break;
	}
	default:
		fail_msg("gate got message %u", in->type);
	}
}

static void on_intent(struct rig *r, const struct msg_INTENT *m)
{
	struct rig_req *q = find(r, &m->req);

	assert_true(id_eq(&m->lease, &q->lease));
	assert_true(q->claims > 0);
	if (q->intents) { /* only ever the same again */
		assert_int_equal(m->rseq, q->intent_rseq);
		q->resent++;
	} else {
		q->intents = 1;
	}
	q->intent_rseq = m->rseq;
	q->action = m->action;
	q->cats = m->cats;
	q->score = m->score_milli;
	memcpy(q->prompt_commit, m->commit, 32);
	memcpy(q->prompt_salt, m->salt, 32);
	assert_int_equal(m->prompt_tokens, q->prompt_tokens);
	if (r->auto_intent)
		rig_ack(r, q, false);
}

static void on_outcome(struct rig *r, const struct msg_OUTCOME *m)
{
	struct rig_req *q = find(r, &m->req);

	assert_true(id_eq(&m->lease, &q->lease));
	if (q->outcomes) {
		assert_int_equal(m->rseq, q->outcome_rseq);
		q->resent++;
	} else {
		q->outcomes = 1;
	}
	q->outcome_rseq = m->rseq;
	q->early = q->intents == 0;
	q->state = m->state;
	q->code = m->code;
	q->out_bytes = m->out_bytes;
	q->released = m->released_bytes;
	q->guard_tokens = m->guard_tokens;
	q->outcome_cached = m->cached;
	assert_true(m->released_bytes <= m->out_bytes);
	assert_true(m->completion_tokens <= (r->cap ? r->cap : q->max_out * q->n));
	memcpy(q->out_commit, m->commit, 32);
	memcpy(q->out_salt, m->salt, 32);
	buf_reset(&q->windows);
	buf_span_put(&q->windows, m->windows);
	if (r->auto_outcome)
		rig_ack(r, q, true);
}

static void store_msg(struct rig *r, const struct msg_in *in)
{
	switch (in->type) {
	case M_CLAIM: {
		struct msg_CLAIM m;
		struct rig_req *q;

		assert_int_equal(msg_dec_CLAIM(in->body, &m), 0);
		q = find(r, &m.req);
		assert_true(id_eq(&m.lease, &q->lease));
		q->claims++;
		q->prompt_tokens = m.prompt_tokens;
		if (r->auto_claim)
			rig_claimok(r, q);
		break;
	}
	case M_INTENT: {
		struct msg_INTENT m;

		assert_int_equal(msg_dec_INTENT(in->body, &m), 0);
		on_intent(r, &m);
		break;
	}
	case M_OUTCOME: {
		struct msg_OUTCOME m;

		assert_int_equal(msg_dec_OUTCOME(in->body, &m), 0);
		on_outcome(r, &m);
		break;
	}
	case M_MODELUP: {
		struct msg_MODELUP m;

		assert_int_equal(msg_dec_MODELUP(in->body, &m), 0);
		r->modelups++;
		r->guard_ok += m.guard && m.ok;
		r->guard_bad += m.guard && !m.ok;
		break;
	}
	case M_ODD: {
		struct msg_ODD m;

		assert_int_equal(msg_dec_ODD(in->body, &m), 0);
		r->odds++;
		r->last_odd = m.code;
		break;
	}
	case M_ETOTALS:
		assert_int_equal(msg_dec_ETOTALS(in->body, &r->totals), 0);
		r->n_totals++;
		break;
	case M_HELLO:
		r->hellos++;
		break;
	case M_PROGRESS:
		break;
	default:
		fail_msg("store got message %u", in->type);
	}
}

static void to_engine(struct rig *r)
{
	for (size_t i = 0; i < 2; i++)
		for (int k = 1; k >= 0; k--) {
			struct msg_in in;
			int rc;

			while (r->mine[sides[i]][k] &&
			       (rc = chan_recv(r->mine[sides[i]][k], &in)) != 0 && rc != E_CLOSED) {
				if (rc < 0) {
					r->odds++;
					continue;
				}
				if (in.type == M_REVOKE) {
					struct msg_REVOKE m;

					msg_dec_REVOKE(in.body, &m);
					for (unsigned q = 0; q < RIG_REQS; q++)
						if (id_eq(&r->rq[q].lease, &m.lease))
							r->rq[q].revoked = true;
				}
				eng_msg(r->g, sides[i], in.type, in.body, &in.fds[0], r->now);
				chan_in_drop(&in);
			}
		}
}

static void from_engine(struct rig *r)
{
	for (size_t i = 0; i < 2; i++)
		for (int k = 0; k < 2; k++) {
			struct msg_in in;
			int rc;

			while (r->peer[sides[i]][k] &&
			       (rc = chan_recv(r->peer[sides[i]][k], &in)) != 0 && rc != E_CLOSED) {
				assert_int_equal(rc, 1);
				if (sides[i] == R_STORE)
					store_msg(r, &in);
				else
					gate_msg(r, &in);
				chan_in_drop(&in);
			}
			if (r->mine[sides[i]][k])
				chan_flush(r->mine[sides[i]][k]);
		}
}

int rig_turn(struct rig *r, uint64_t ms)
{
	int more;

	r->now += ms;
	if (r->beats && r->now >= r->next_beat && r->peer[R_STORE][CH_CTRL]) {
		struct msg_BEAT m = {.life_ms = 500};

		CH_SEND(r->peer[R_STORE][CH_CTRL], BEAT, &m);
		r->next_beat = r->now + 250;
		r->last_beat = r->now;
	}
	/* what the engine said before is seen before it hears anything new: "after REVOKE" is exact
	 */
	from_engine(r);
	to_engine(r);
	more = eng_step(r->g, r->now, 0);
	from_engine(r);
	return more;
}

void rig_turns(struct rig *r, unsigned n, uint64_t ms)
{
	while (n-- > 0)
		rig_turn(r, ms);
}

void rig_settle(struct rig *r)
{
	unsigned quiet = 0;

	for (int i = 0; i < 200000 && quiet < 4; i++)
		quiet = rig_turn(r, 1) ? 0 : quiet + 1;
}

void rig_finish(struct rig *r, struct rig_req *q)
{
	for (int i = 0; i < 200000; i++) {
		rig_turn(r, 1);
		if ((q->done || q->failed) && eng_find(r->g, &q->id) == NULL)
			return;
	}
	fail_msg("the request never ended");
}
