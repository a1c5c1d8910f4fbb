/* store_drv_msg.c - the driver's gate and engine: what they do when store answers. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "receipt.h"
#include "role.h"
#include "store_drv.h"

/* ---- requests ---- */

struct req *drv_request(struct drv *d)
{
	struct req *r = calloc(1, sizeof(*r));
	struct msg_AUTH m = {
	    .kid = span_cstr(d->kid), .endpoint = 1, .n = 1, .stream = 1, .body_len = 100};

	r->req = id_random();
	r->conn = d->conn[randombytes_uniform(DRV_CONNS)];
	r->prompt = 1 + randombytes_uniform(200);
	r->max_out = 16 + randombytes_uniform(600);
	r->blocked = randombytes_uniform(8) == 0;
	randombytes_buf(r->salt, 32);
	randombytes_buf(r->commit, 32);
	r->intent_ix = r->outcome_ix = UINT64_MAX;
	HASH_ADD(hh, d->reqs, req, sizeof(r->req), r);
	d->in_flight++;
	m.req = r->req;
	m.conn = r->conn;
	m.max_out = r->max_out;
	m.model = span_cstr(d->gen.settings.model[0].name);
	memcpy(m.digest, d->key_digest, 32);
	r->at[0] = clock_mono_ns();
	CH_SEND(d->gate, AUTH, &m);
	return r;
}

static struct req *find(struct drv *d, const struct id *req)
{
	struct req *r;

	HASH_FIND(hh, d->reqs, req, sizeof(*req), r);
	return r;
}

static void gone(struct drv *d, struct req *r, uint16_t code)
{
	if (r->step == RQ_GONE || r->step == RQ_DONE)
		return;
	r->denied = code;
	r->step = RQ_GONE;
	d->in_flight--;
}

static void on_authok(struct drv *d, const struct msg_AUTHOK *m)
{
	struct req *r = find(d, &m->req);
	struct msg_CLAIM c = {.lease = m->lease, .req = m->req};

	if (r == NULL || r->step != RQ_AUTH)
		drv_fail("AUTHOK for nobody");
	r->at[1] = clock_mono_ns();
	r->lease = m->lease;
	HASH_ADD(hl, d->by_lease, lease, sizeof(r->lease), r);
	r->step = RQ_CLAIM;
	c.prompt_tokens = r->prompt;
	c.max_out = r->max_out;
	CH_SEND(d->eng, CLAIM, &c);
}

static void on_deny(struct drv *d, const struct msg_DENY *m)
{
	struct req *r = find(d, &m->req);

	d->denies++;
	if (r)
		gone(d, r, m->code);
	if (id_eq(&m->req, &d->asked)) {
		d->answered = true;
		d->status = m->status;
		d->deny_code = m->code;
	}
}

static struct req *by_lease(struct drv *d, const struct id *lease)
{
	struct req *r;

	HASH_FIND(hl, d->by_lease, lease, sizeof(*lease), r);
	return r;
}

static void on_claimok(struct drv *d, const struct msg_CLAIMOK *m)
{
	struct req *r = by_lease(d, &m->lease);

	if (r == NULL || r->step != RQ_CLAIM)
		return;
	if (m->cap > r->max_out)
		drv_fail("cap above what was asked");
	r->cap = m->cap;
	r->at[2] = clock_mono_ns();
	drv_intent(d, r);
}

static void after_intent(struct drv *d, struct req *r)
{
	struct msg_PROGRESS p = {.lease = r->lease, .req = r->req, .rseq = 2};

	r->step = RQ_RUN;
	if (r->blocked) {
		r->out = 0;
		drv_outcome(d, r, OS_BLOCKED);
		return;
	}
	r->out = randombytes_uniform(r->cap + 1);
	if (r->out > 256) {
		p.tokens = 256;
		p.bytes = 1024;
		CH_SEND(d->eng, PROGRESS, &p);
	}
	if (d->hold_outcomes)
		d->hold_outcomes--;
	else
		drv_outcome(d, r, OS_OK);
}

/* Proof, signature, entry and salts of a receipt, as a client would check them. */
static bool receipt_ok(struct drv *d, const struct req *r, struct span body)
{
	struct receipt rc;
	char id[ID_TEXT_MAX];
	struct err err = {0};
	bool ok = receipt_parse(body, &rc, &err) == E_OK;

	id_fmt("req", &r->req, id);
	ok = ok && receipt_check(&rc, span_of(NULL, 0), &d->vkey, NULL, &err) == E_OK &&
	     rc.p.index == r->outcome_ix && memmem(rc.entry.p, rc.entry.n, id, strlen(id)) != NULL;
	if (!ok && d->receipts_bad < 3)
		fprintf(stderr, "finding: receipt: %s\n", err.text);
	receipt_free(&rc);
	return ok;
}

static void on_ack(struct drv *d, const struct msg_ACK *m)
{
	struct req *r = find(d, &m->req);

	d->acks++;
	if (r == NULL)
		drv_fail("ACK for nobody");
	if (m->rseq == 1) {
		r->intent_acked = true;
		r->at[3] = clock_mono_ns();
		r->intent_ix = m->index;
		if (r->step == RQ_INTENT)
			after_intent(d, r);
		return;
	}
	if (r->step != RQ_OUTCOME)
		return;
	r->outcome_acked = true;
	r->at[4] = clock_mono_ns();
	r->outcome_ix = m->index;
	r->step = RQ_DONE;
	d->in_flight--;
	d->done++;
	if (m->index != UINT64_MAX && !receipt_ok(d, r, m->receipt))
		d->receipts_bad++;
}

static void on_nack(struct drv *d, const struct msg_NACK *m)
{
	struct req *r = find(d, &m->req);

	d->nacks++;
	if (r == NULL)
		return;
	if (m->code == RS_BOOK_DOWN)
		return; /* the engine keeps the record and sends it again to the next store */
	if (r->intent_acked && m->rseq == 1 && r->step == RQ_INTENT)
		d->lost++;
	if (r->step == RQ_OUTCOME && r->intent_acked && !d->lies) {
		fprintf(stderr, "finding: outcome of an acknowledged intent refused, code %u\n",
			m->code);
		d->lost++;
	}
	gone(d, r, m->code);
}

#define TAKE(NAME, fn)                                                                             \
	case M_##NAME: {                                                                           \
		struct msg_##NAME m;                                                               \
		if (msg_dec_##NAME(in->body, &m) < 0)                                              \
			drv_fail("malformed " #NAME);                                              \
		fn(d, &m);                                                                         \
		break;                                                                             \
	}

static void on_state(struct drv *d, const struct msg_STATE *m)
{
	d->states++;
	d->ready = m->ready;
	d->reasons = m->reasons;
}

static void on_beat(struct drv *d, const struct msg_BEAT *m)
{
	d->beats++;
}

static void on_revoke(struct drv *d, const struct msg_REVOKE *m)
{
	struct req *r = by_lease(d, &m->lease);

	d->revokes++;
	if (r == NULL)
		return;
	if (r->step == RQ_RUN)
		drv_outcome(d, r, OS_REVOKED);
	else if (r->step == RQ_CLAIM)
		gone(d, r, m->code);
}

static void on_claimno(struct drv *d, const struct msg_CLAIMNO *m)
{
	struct req *r = by_lease(d, &m->lease);

	d->denies++;
	if (r)
		gone(d, r, m->code);
}

static void keep(struct drv *d, const struct id *req, unsigned status, struct span body)
{
	if (!id_eq(req, &d->asked))
		return;
	d->status = status;
	buf_span_put(&d->answer, body);
	d->answered = true;
}

static void on_admrep(struct drv *d, const struct msg_ADMREP *m)
{
	keep(d, &m->req, m->status, m->body);
	d->answered = d->answered && !m->more;
}

static void on_rcptok(struct drv *d, const struct msg_RCPTOK *m)
{
	keep(d, &m->req, 200, m->body);
}

static void on_modelsok(struct drv *d, const struct msg_MODELSOK *m)
{
	keep(d, &m->req, 200, m->names);
}

static void on_enrollok(struct drv *d, const struct msg_ENROLLOK *m)
{
	keep(d, &m->req, 200, m->key);
}

static void on_drained(struct drv *d, const struct msg_DRAINED *m)
{
	d->drained = true;
	d->drained_clean = m->clean;
}

void drv_serve(struct drv *d, struct msg_in *in)
{
	switch (in->type) {
		TAKE(AUTHOK, on_authok)
		TAKE(DENY, on_deny)
		TAKE(CLAIMOK, on_claimok)
		TAKE(CLAIMNO, on_claimno)
		TAKE(ACK, on_ack)
		TAKE(NACK, on_nack)
		TAKE(STATE, on_state)
		TAKE(BEAT, on_beat)
		TAKE(REVOKE, on_revoke)
		TAKE(ADMREP, on_admrep)
		TAKE(RCPTOK, on_rcptok)
		TAKE(MODELSOK, on_modelsok)
		TAKE(ENROLLOK, on_enrollok)
		TAKE(DRAINED, on_drained)
	default:
		break;
	}
}
