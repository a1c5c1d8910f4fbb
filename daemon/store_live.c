/* store_live.c - engines come and go; leases end by revocation, by silence, by our own restart.
 * Loop thread, order held. */
#include "clock.h"
#include "cur.h"
#include "log.h"
#include "store.h"

#define SWEEP_MS 1000
#define EXPIRE_MS 250

/* Worst case of what one request still writes: reserve, claim, verdict, intent, windows, outcome.
 */
uint64_t store_lease_cost(void)
{
	return logw_cost(1024) + logw_cost(512) + 3 * logw_cost(1024) + logw_cost(EV_MAX);
}

static void ended(struct store *s, struct lease *l, uint16_t code, struct slog_job *j,
		  struct buf *b)
{
	struct ev e = {.type = EV_ENDED, .req = l->req, .lease = l->id, .code = code};

	e.ts = store_now(s);
	ev_put_ended(b, role_boot(s->r), &e);
	slog_add(j, buf_span(b));
	fold_apply(&s->f, &e, LEASE_NO_INDEX, NULL);
	s->n.ended++;
}

/* Nobody can tell how it went: settled at the last progress record and one window. */
static void unknown(struct store *s, struct lease *l, uint16_t code, struct slog_job *j,
		    struct buf *b)
{
	static const uint8_t none[32];
	struct ev e = {.type = EV_OUTCOME,
		       .req = l->req,
		       .lease = l->id,
		       .code = code,
		       .prompt = l->prompt,
		       .state = OS_UNKNOWN};
	struct ev_outcome_more more = {.commit = none, .out_bytes = l->bytes, .released = l->bytes};

	e.ts = store_now(s);
	e.completion = lease_presumed(l);
	ev_put_outcome(b, role_boot(s->r), &e, &more);
	slog_add(j, buf_span(b));
	l->ending = true;
	fold_apply(&s->f, &e, LEASE_NO_INDEX, NULL);
	s->n.outcomes[OS_UNKNOWN]++;
	s->n.prompt_tokens += e.prompt;
	s->n.completion_tokens += e.completion;
}

static void unknown_done(struct slog_job *j)
{
	struct store *s = j->arg;
	struct lease *l;

	pthread_mutex_lock(&s->order);
	l = lease_match(s->f.leases, &j->lease, &j->req);
	if (l && j->rc == E_OK && j->tag)
		l->outcome_ix = j->index;
	if (j->tag2 && j->rc == E_OK)
		store_ack(s, &j->lease, &j->req, j->tag2, LEASE_NO_INDEX, 0, span_of(NULL, 0));
	else if (j->tag2)
		store_nack(s, &j->lease, &j->req, j->tag2, RS_BOOK_DOWN);
	pthread_mutex_unlock(&s->order);
}

void store_end_lease(struct store *s, struct lease *l, uint16_t code)
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct slog_job *j;
	uint64_t cost = l->cost;

	if (l->state == LS_CLOSED)
		return;
	j = store_job(s);
	j->lease = l->id;
	j->req = l->req;
	j->arg = s;
	j->tag = l->state == LS_INTENT;
	j->tag2 = l->ack_rseq; /* an engine waits for this end */
	j->must = true;
	j->done = unknown_done;
	l->cost = 0;
	if (l->state == LS_INTENT)
		unknown(s, l, code, j, &b);
	else
		ended(s, l, code, j, &b);
	j->paid = cost >= logw_cost(b.n);
	slog_give(s->log, j->paid ? cost - logw_cost(b.n) : cost);
	slog_put(s->log, j);
}

/* ---- HELLO ---- */

#define HELLO_MAX (WIRE_BYTES_MAX / ID_BYTES)

struct hello {
	struct store *s;
	const uint8_t *ids;
	size_t n;
};

static bool named(const struct hello *h, const struct id *lease)
{
	for (size_t i = 0; i < h->n; i++)
		if (memcmp(h->ids + i * ID_BYTES, lease->b, ID_BYTES) == 0)
			return true;
	return false;
}

static int hello_one(void *arg, struct lease *l)
{
	struct hello *h = arg;
	bool ours = id_eq(&l->engine, &h->s->engine);

	if (ours && l->state == LS_RESERVED)
		return 0; /* a GRANT may still be on its way to it */
	if (named(h, &l->id) && (ours || id_is_zero(&l->engine)) &&
	    (l->born || l->state != LS_RESERVED)) {
		l->engine = h->s->engine;
		return 0;
	}
	store_end_lease(h->s, l, RS_ENGINE_LOST);
	return 0;
}

void store_on_hello(struct store *s, const struct msg_HELLO *m)
{
	struct hello h = {.s = s, .ids = (const uint8_t *)m->leases.p, .n = m->leases.n / ID_BYTES};

	if (m->leases.n % ID_BYTES || h.n > HELLO_MAX || id_is_zero(&m->boot)) {
		store_odd(s, R_ENGINE, M_HELLO, RS_ODD_MESSAGE, NULL);
		return;
	}
	s->n.hellos++;
	s->engine = m->boot;
	s->hello_by = 0;
	leases_each(s->f.leases, hello_one, &h);
	log_ev(LOG_INFO_LV, "hello", "leases=%zu open=%u", h.n, leases_open(s->f.leases));
	store_send_settings(s);
}

void store_engine_gone(struct store *s, uint64_t now_ms)
{
	memset(&s->engine, 0, sizeof(s->engine));
	s->totals = (struct msg_ETOTALS){0};
	memset(s->model, 0, sizeof(s->model));
	s->n_early = 0;
	s->set_sent = 0;
	s->hello_by = now_ms + HELLO_WAIT_MS;
}

void store_send_settings(struct store *s)
{
	struct msg_SETTINGS m = {.version = s->set.ver, .demo = s->set.demo};
	struct buf b = BUF_INIT(4096);

	if (!s->have_set)
		return;
	memcpy(m.policy_sha, s->set.policy_sha256, 32);
	for (unsigned i = 0; i < s->set.n_models; i++) {
		const struct model_row *r = &s->set.model[i];
		size_t n = strnlen(r->name, MODEL_NAME);

		buf_u16(&b, (uint16_t)n);
		buf_put(&b, r->name, n);
		buf_put(&b, r->sha256, 32);
		buf_u8(&b, r->chat);
		buf_u8(&b, r->guard);
	}
	m.models = buf_span(&b);
	if (CH_SEND(role_chan(s->r, R_ENGINE, CH_CTRL), SETTINGS, &m) == E_OK)
		s->set_sent = s->set.ver;
	buf_free(&b);
}

void store_on_modelup(struct store *s, const struct msg_MODELUP *m)
{
	const struct model_row *r;

	if (!s->have_set && s->n_early < 2 * MODELS_MAX) {
		s->early[s->n_early++] = *m;
		return;
	}
	if (m->model_ix >= s->set.n_models || m->model_ix >= MODELS_MAX ||
	    memcmp(m->sha, s->set.model[m->model_ix].sha256, 32) != 0) {
		store_odd(s, R_ENGINE, M_MODELUP, RS_ODD_MESSAGE, NULL);
		return;
	}
	r = &s->set.model[m->model_ix];
	if (m->guard ? !r->guard : !r->chat) {
		store_odd(s, R_ENGINE, M_MODELUP, RS_ODD_MESSAGE, NULL);
		return;
	}
	if (m->guard)
		s->model[m->model_ix].guard = m->ok;
	else
		s->model[m->model_ix].up = m->ok;
	log_ev(LOG_INFO_LV, "model_up", "ix=%u guard=%u ok=%u code=%u", m->model_ix, m->guard,
	       m->ok, m->code);
}

void store_early_models(struct store *s)
{
	for (unsigned i = 0; i < s->n_early; i++)
		store_on_modelup(s, &s->early[i]);
	s->n_early = 0;
}

/* ---- revocation ---- */

struct revoking {
	struct store *s;
	const struct revoke_sel *sel;
	unsigned n;
};

static bool selected(const struct revoking *v, const struct lease *l)
{
	const struct revoke_sel *sel = v->sel;

	switch (sel->what) {
	case REV_KEY:
		return id_eq(&l->hold.who.id[QL_KEY], &sel->id);
	case REV_SUBJECT:
		return id_eq(&l->hold.who.id[QL_SUBJECT], &sel->id);
	case REV_ORG:
		return id_eq(&l->hold.who.id[QL_ORG], &sel->id);
	case REV_MODEL:
		return l->model_ix >= v->s->set.n_models || /* not known: stop rather than run on */
		       strncmp(v->s->set.model[l->model_ix].name, sel->model, MODEL_NAME) == 0;
	default:
		return true;
	}
}

static int revoke_one(void *arg, struct lease *l)
{
	struct revoking *v = arg;
	struct msg_REVOKE m = {.lease = l->id, .code = RS_REVOKED};

	if (!selected(v, l))
		return 0;
	v->n++;
	v->s->n.revokes++;
	l->revoked = true;
	CH_SEND(role_chan(v->s->r, R_ENGINE, CH_CTRL), REVOKE, &m);
	if (l->state == LS_RESERVED)
		store_end_lease(v->s, l, RS_REVOKED); /* nothing runs yet; the engine forgets it */
	return 0;
}

void store_revoke(struct store *s, const struct revoke_sel *sel)
{
	struct revoking v = {.s = s, .sel = sel};
	struct msg_FORGET m = {.domain = store_domain(&sel->sub)};
	struct chan *ch = role_chan(s->r, R_ENGINE, CH_CTRL);

	leases_each(s->f.leases, revoke_one, &v);
	if (ch && sel->what != REV_MODEL) /* an engine that is not there has forgotten all */
		CH_SEND(ch, FORGET, &m);
	log_ev(LOG_WARN_LV, "revoke", "what=%d leases=%u", (int)sel->what, v.n);
}

/* ---- time ---- */

static int lost_one(void *arg, struct lease *l)
{
	struct store *s = arg;

	if (!id_eq(&l->engine, &s->engine) || id_is_zero(&s->engine))
		store_end_lease(s, l, RS_ENGINE_LOST);
	return 0;
}

static int stale_one(void *arg, struct lease *l)
{
	struct store *s = arg;
	uint64_t age = clock_mono_ms() - l->born;
	struct msg_REVOKE m = {.lease = l->id, .code = RS_DEADLINE};

	if (l->born == 0 || l->state != LS_RESERVED || age < RESERVED_MAX_MS)
		return 0;
	CH_SEND(role_chan(s->r, R_ENGINE, CH_CTRL), REVOKE, &m);
	store_end_lease(s, l, RS_DEADLINE);
	return 0;
}

/* A grant is for as long as its key and its subject are: what still runs then is stopped. */
static int expire_one(void *arg, struct lease *l)
{
	struct store *s = arg;
	struct msg_REVOKE m = {.lease = l->id, .code = RS_KYC_EXPIRED};

	if (l->revoked || l->expires == 0 || l->expires > store_now(s))
		return 0;
	s->n.revokes++;
	l->revoked = true;
	CH_SEND(role_chan(s->r, R_ENGINE, CH_CTRL), REVOKE, &m);
	if (l->state == LS_RESERVED)
		store_end_lease(s, l, RS_KYC_EXPIRED);
	return 0;
}

static int expiry_one(void *arg, struct lease *l)
{
	struct store *s = arg;

	l->expires =
	    store_admin_expires(s->admin, &l->hold.who.id[QL_KEY], &l->hold.who.id[QL_SUBJECT]);
	return 0;
}

void store_expiries(struct store *s)
{
	leases_each(s->f.leases, expiry_one, s);
}

void store_live_tick(struct store *s, uint64_t now_ms)
{
	if (now_ms >= s->expire_at && !id_is_zero(&s->engine)) {
		s->expire_at = now_ms + EXPIRE_MS;
		leases_each(s->f.leases, expire_one, s);
	}
	if (s->hello_by && now_ms >= s->hello_by) {
		leases_each(s->f.leases, lost_one, s);
		s->hello_by = 0;
	}
	if (now_ms >= s->sweep_at) {
		s->sweep_at = now_ms + SWEEP_MS;
		leases_each(s->f.leases, stale_one, s);
	}
}

struct closing {
	struct store *s;
	uint16_t code;
};

static int close_one(void *arg, struct lease *l)
{
	struct closing *c = arg;

	store_end_lease(c->s, l, c->code);
	return 0;
}

void store_close_all(struct store *s, uint16_t code)
{
	struct closing c = {s, code};

	leases_each(s->f.leases, close_one, &c);
}
