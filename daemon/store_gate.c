/* store_gate.c - the first door: who may enter, with which limits. Loop thread, order held. */
#include "clock.h"
#include "log.h"
#include "secret.h"
#include "store.h"

#define PURPOSE_NONE 0
#define N_MAX 128

void store_deny(struct store *s, const struct id *req, uint16_t code, uint32_t retry_ms,
		bool no_retry)
{
	struct msg_DENY m = {.req = *req, .code = code, .retry_ms = retry_ms, .no_retry = no_retry};

	m.status = (uint16_t)reason_info(code)->status;
	if (code < REASON_COUNT)
		s->n.denied[code]++;
	CH_SEND(role_chan(s->r, R_GATE, CH_DATA), DENY, &m);
}

void store_refused(struct store *s, const struct pend *p, const struct peer *peer, uint16_t code,
		   const char *stage)
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct ev_refused r = {.req = p->req, .code = code, .stage = stage};

	if (!store_single_ok(s)) {
		store_flood(s, code, 1);
		return;
	}
	r.key = p->row.kid;
	r.sub = p->row.sub;
	r.org = p->row.org;
	memcpy(r.src, peer->src, sizeof(r.src));
	ev_put_refused(&b, role_boot(s->r), store_now(s), &r);
	store_note(s, &b);
}

uint16_t store_quota_reason(const struct quota_no *no)
{
	static const uint16_t code[QW_COUNT] = {
	    [QW_RPM] = RS_RATE_REQUESTS,    [QW_TPM] = RS_RATE_TOKENS,
	    [QW_RPD] = RS_QUOTA_DAY,	    [QW_TPD] = RS_QUOTA_DAY,
	    [QW_RPMON] = RS_QUOTA_MONTH,    [QW_TPMON] = RS_QUOTA_MONTH,
	    [QW_CONC] = RS_RATE_CONCURRENCY};

	return code[no->what];
}

static uint64_t lim(uint64_t v)
{
	return v ? v : QUOTA_OPEN;
}

void store_limits(const struct limits in[LV_COUNT], struct quota_limits out[QL_COUNT])
{
	for (int l = 0; l < QL_COUNT; l++) {
		out[l].max[QW_RPM] = lim(in[l].req_min);
		out[l].max[QW_TPM] = lim(in[l].tok_min);
		out[l].max[QW_RPD] = lim(in[l].req_day);
		out[l].max[QW_TPD] = lim(in[l].tok_day);
		out[l].max[QW_RPMON] = lim(in[l].req_month);
		out[l].max[QW_TPMON] = lim(in[l].tok_month);
		out[l].max[QW_CONC] = lim(in[l].concurrency);
	}
}

/* Is the secret right? The same work is done for a key nobody has. */
static bool secret_ok(struct store *s, const struct pend *p)
{
	static const char label[] = "sallyport/keymac/v1\n";
	crypto_auth_hmacsha256_state h;
	uint8_t mac[32];
	bool same;

	crypto_auth_hmacsha256_init(&h, s->pepper, 32);
	crypto_auth_hmacsha256_update(&h, (const uint8_t *)label, sizeof(label) - 1);
	crypto_auth_hmacsha256_update(&h, p->kid.b, ID_BYTES);
	crypto_auth_hmacsha256_update(&h, p->digest, 32);
	crypto_auth_hmacsha256_final(&h, mac);
	same = secret_eq(mac, p->row.mac, 32);
	return same && p->rc == E_OK;
}

static bool bound(const struct auth_row *row, const struct peer *peer)
{
	switch (row->binding) {
	case BIND_NONE:
		return true;
	case BIND_CERT:
		return peer->has_cert && secret_eq(peer->thumb, row->thumb, 32);
	default:
		return false; /* networks are not told apart in this version: refuse */
	}
}

/* Who is it? RS_NONE, or why not; *known: the secret was right, so the subject may be named. */
static uint16_t who(struct store *s, const struct pend *p, const struct peer *peer, bool *known)
{
	const struct auth_row *row = &p->row;
	int64_t now = store_now(s);

	*known = false;
	if (p->rc < 0 && p->rc != E_NOTFOUND)
		return RS_BOOK_DOWN;
	if (!secret_ok(s, p) || row->key_state != KEY_ACTIVE ||
	    (row->key_expires && row->key_expires <= now))
		return RS_BAD_KEY;
	if (!bound(row, peer))
		return RS_BINDING;
	*known = true;
	if (row->locks)
		return RS_LOCKDOWN;
	if (row->sub_state == SUB_N || row->sub_state == SUB_P || row->sub_state == SUB_A)
		return RS_KYC_REQUIRED;
	if (row->sub_state != SUB_V && row->sub_state != SUB_D)
		return RS_ACCESS_PAUSED;
	if (row->sub_expires && row->sub_expires <= now)
		return RS_KYC_EXPIRED;
	return row->tier < TIER_COUNT ? RS_NONE : RS_TIER;
}

static int model_of(const struct store *s, const char *name)
{
	for (unsigned i = 0; i < s->set.n_models; i++)
		if (s->set.model[i].chat && strcmp(s->set.model[i].name, name) == 0)
			return s->set.model[i].locked ? -1 : (int)i;
	return -1;
}

uint64_t store_domain(const struct id *i)
{
	uint64_t v;

	memcpy(&v, i->b, sizeof(v));
	return v;
}

/* Tells engine, then gate: the grant is never behind the SUBMIT it is for by gate's doing. */
static int hand_out(struct store *s, const struct pend *p, struct lease *l, int ix, uint32_t max,
		    const struct zone_now *now)
{
	struct msg_GRANT g = {.lease = l->id,
			      .req = l->req,
			      .conn = l->conn,
			      .tier = p->row.tier,
			      .purpose = PURPOSE_NONE,
			      .model_ix = (uint32_t)ix,
			      .max_out = max};
	struct msg_AUTHOK ok = {
	    .req = l->req, .lease = l->id, .model_ix = (uint32_t)ix, .max_out = max};
	struct quota_head h;
	int rc;

	g.domain = store_domain(&p->row.sub);
	g.group = store_domain(id_is_zero(&p->row.org) ? &p->row.sub : &p->row.org);
	rc = CH_SEND(role_chan(s->r, R_ENGINE, CH_CTRL), GRANT, &g);
	if (rc < 0)
		return rc;
	quota_heads(s->f.quota, &l->hold.who, l->lim, now, &h);
	ok.model = span_cstr(s->set.model[ix].name);
	ok.lim_req = h.lim_req;
	ok.rem_req = h.rem_req;
	ok.reset_req_ms = h.reset_req_ms;
	ok.lim_tok = h.lim_tok;
	ok.rem_tok = h.rem_tok;
	ok.reset_tok_ms = h.reset_tok_ms;
	return CH_SEND(role_chan(s->r, R_GATE, CH_DATA), AUTHOK, &ok);
}

/* A reserve that does not become durable ends with the process: the log is poisoned by then. */
static void reserve(struct store *s, struct pend *p, const struct peer *peer, int ix, uint64_t cost,
		    const struct quota_limits lims[QL_COUNT])
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct ev e = {.type = EV_RESERVE,
		       .req = p->req,
		       .lease = id_random(),
		       .conn = p->conn,
		       .key = p->row.kid,
		       .sub = p->row.sub,
		       .org = p->row.org};
	struct ev_reserve_more more = {
	    .endpoint = p->endpoint, .tier = p->row.tier, .n = p->n, .max = p->max_out};
	struct slog_job *j;
	struct zone_now now;
	struct lease *l;

	e.ts = store_now(s);
	e.max_total = p->max_out * p->n;
	zone_at(&s->f.zone, e.ts, &now);
	if (fold_apply(&s->f, &e, LEASE_NO_INDEX, &l) < 0) {
		slog_give(s->log, cost);
		store_deny(s, &p->req, RS_NO_ROOM, 1000, false);
		return;
	}
	l->engine = s->engine;
	l->model_ix = (uint32_t)ix;
	l->born = clock_mono_ms();
	l->expires = lease_sooner(p->row.key_expires, p->row.sub_expires);
	memcpy(l->lim, lims, sizeof(l->lim));
	more.model = span_cstr(s->set.model[ix].name);
	memcpy(more.src, peer->src, sizeof(more.src));
	ev_put_reserve(&b, role_boot(s->r), &e, &more);
	l->cost = cost - logw_cost(b.n);
	j = store_job(s);
	slog_add(j, buf_span(&b));
	j->paid = j->must = true;
	slog_put(s->log, j);
	s->n.auth_ok++;
	if (hand_out(s, p, l, ix, p->max_out, &now) < 0) {
		store_end_lease(s, l, RS_OVERLOADED);
		store_deny(s, &p->req, RS_OVERLOADED, 1000, false);
	}
}

static void admit(struct store *s, struct pend *p, const struct peer *peer)
{
	struct quota_who w = {.id = {p->row.kid, p->row.sub, p->row.org}};
	struct quota_limits lims[QL_COUNT];
	struct quota_no no;
	struct zone_now now;
	uint64_t cost = store_lease_cost();
	uint16_t code;
	int ix = model_of(s, p->model);

	if (p->n == 0 || p->n > N_MAX || (p->max_out && p->n > UINT32_MAX / p->max_out)) {
		store_refused(s, p, peer, RS_BAD_REQUEST, "auth");
		store_deny(s, &p->req, RS_BAD_REQUEST, 0, true);
		return;
	}
	if (ix < 0) {
		store_refused(s, p, peer, RS_NO_MODEL, "auth");
		store_deny(s, &p->req, RS_NO_MODEL, 0, true);
		return;
	}
	store_limits(p->row.lim, lims);
	zone_at(&s->f.zone, store_now(s), &now);
	if (quota_can_admit(s->f.quota, &w, lims, &now, &no) < 0) {
		code = store_quota_reason(&no);
		store_refused(s, p, peer, code, "quota");
		store_deny(s, &p->req, code, no.retry_ms, no.no_retry);
		return;
	}
	if (!slog_take(s->log, cost)) {
		code = slog_poisoned(s->log) || slog_low(s->log) ? RS_BOOK_DOWN : RS_NO_ROOM;
		store_flood(s, code, 1);
		store_deny(s, &p->req, code, 2000, false);
		return;
	}
	reserve(s, p, peer, ix, cost, lims);
}

static void models(struct store *s, const struct pend *p)
{
	struct buf b = BUF_INIT(MODELS_MAX * (MODEL_NAME + 1));
	struct msg_MODELSOK m = {.req = p->req};

	for (unsigned i = 0; i < s->set.n_models; i++)
		if (s->set.model[i].chat && !s->set.model[i].locked) {
			if (b.n)
				buf_putc(&b, '\n');
			buf_puts(&b, s->set.model[i].name);
		}
	m.names = buf_span(&b);
	CH_SEND(role_chan(s->r, R_GATE, CH_DATA), MODELSOK, &m);
	buf_free(&b);
}

void store_decide(struct store *s, struct pend *p, const struct peer *peer)
{
	bool known = false;
	uint16_t code;

	if (peer == NULL) {
		/* gate names a connection front never told of, or one that is gone */
		store_odd(s, R_GATE, M_AUTH, RS_NO_GRANT, &p->req);
		store_flood(s, RS_NO_GRANT, 1);
		store_deny(s, &p->req, RS_NO_GRANT, 0, true);
		return;
	}
	code = who(s, p, peer, &known);
	if (code) {
		if (known)
			store_refused(s, p, peer, code, "auth");
		else
			store_flood(s, code, 1);
		store_deny(s, &p->req, code, code == RS_BOOK_DOWN ? 2000 : 0, code != RS_BOOK_DOWN);
		return;
	}
	if (p->kind == PEND_AUTH)
		admit(s, p, peer);
	else if (p->kind == PEND_MODELS)
		models(s, p);
	else
		store_rcpt(s, p);
}
