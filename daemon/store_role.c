/* store_role.c - the store role: start, messages, beats, stop. See store.h for the threads. */
#include <stdlib.h>
#include <sys/stat.h>

#include "clock.h"
#include "fault.h"
#include "io.h"
#include "log.h"
#include "secret.h"
#include "store.h"
#include "store_start.h"

#define JUMP_MS 500
#define JUMP_STOP_MS 3600000

static struct store *the_store(struct role *r)
{
	return role_get_user(r);
}

/* The wall clock; a test build can make it step. */
static int64_t wall(struct store *s)
{
	return clock_wall_ms() + s->clock_shift;
}

int64_t store_now(struct store *s)
{
	int64_t now = wall(s);

	if (now > s->last_ms)
		s->last_ms = now;
	return s->last_ms;
}

struct slog_job *store_job(struct store *s)
{
	struct slog_job *j = slog_job_new();

	must(j != NULL);
	j->arg = s;
	return j;
}

static void note_done(struct slog_job *j)
{
	if (j->rc < 0)
		((struct store *)j->arg)->n.dropped_entries++;
}

void store_note(struct store *s, struct buf *entry)
{
	struct slog_job *j;

	if (s->log == NULL || !buf_ok(entry))
		return;
	j = store_job(s);
	slog_add(j, buf_span(entry));
	j->done = note_done;
	slog_put(s->log, j);
}

uint32_t store_reasons(struct store *s)
{
	uint32_t r = 0;
	bool chat = false, guard = false;

	for (unsigned i = 0; i < MODELS_MAX; i++) {
		chat |= s->model[i].up;
		guard |= s->model[i].guard;
	}
	if (!s->confirmed)
		r |= NR_GENESIS;
	if (s->log == NULL || slog_poisoned(s->log) || slog_low(s->log) || !s->log_started ||
	    s->hello_by)
		r |= NR_BOOK;
	if (!s->have_set)
		r |= NR_SETTINGS;
	if (s->locked_all)
		r |= NR_LOCKDOWN;
	if (s->clock_bad)
		r |= NR_CLOCK;
	if (role_draining(s->r))
		r |= NR_DRAIN;
	if (id_is_zero(&s->engine))
		r |= NR_ENGINE;
	else
		r |= (chat ? 0 : NR_MODEL) | (guard ? 0 : NR_GUARD);
	return r;
}

void store_beat(struct store *s, uint64_t now_ms)
{
	uint32_t why = store_reasons(s);
	struct msg_STATE st = {
	    .boot = *role_boot(s->r), .seq = ++s->beat_seq, .ready = why == 0, .reasons = why};
	struct msg_BEAT beat = {.boot = st.boot, .seq = st.seq, .life_ms = BEAT_LIFE_MS};

	s->beat_at = now_ms + BEAT_MS;
	s->told_why = why;
	CH_SEND(role_chan(s->r, R_GATE, CH_CTRL), STATE, &st);
	/* a beat says: what you send me is written. A poisoned log says nothing. */
	if (s->log && !slog_poisoned(s->log))
		CH_SEND(role_chan(s->r, R_ENGINE, CH_CTRL), BEAT, &beat);
	role_set_serving(s->r, why == 0, why);
}

static void watch_clock(struct store *s, uint64_t now_ms)
{
	int64_t off, delta;
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));

	if (FAULT("store.clock"))
		s->clock_shift += 2ll * JUMP_STOP_MS;
	off = wall(s) - (int64_t)clock_mono_ms();
	delta = off - s->clock_off;
	s->clock_off = off;
	if (delta > JUMP_MS || delta < -JUMP_MS) {
		log_ev(LOG_WARN_LV, "clock_jump", "delta_ms=%lld", (long long)delta);
		ev_put_jump(&b, role_boot(s->r), store_now(s), delta);
		store_note(s, &b);
	}
	delta = off - s->clock_base;
	s->clock_bad = delta > JUMP_STOP_MS || delta < -JUMP_STOP_MS;
	if (!s->clock_bad)
		s->clock_base = off; /* slow drift is followed */
}

static void watch_poison(struct store *s, uint64_t now_ms)
{
	if (s->log == NULL || !slog_poisoned(s->log))
		return;
	if (s->poisoned_at == 0) {
		s->poisoned_at = now_ms;
		store_beat(s, now_ms);
	} else if (now_ms >= s->poisoned_at + POISON_LINGER_MS) {
		fatal("log_poisoned", "why=\"%s\"", slog_why(s->log));
	}
}

/* ---- stop ---- */

static void stop_done(struct slog_job *j)
{
	struct store *s = j->arg;
	struct err err = {0};
	bool clean = j->rc == E_OK;

	s->stopped = true;
	store_db_close(s);
	if (slog_stop(s->log, clean, &err) < 0) {
		log_ev(LOG_ERROR_LV, "log_close", "why=\"%s\"", err.text);
		clean = false;
	}
	s->log = NULL;
	role_drained(s->r, clean);
}

static void stop_when_done(struct store *s, uint64_t now_ms)
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct slog_job *j;

	if (!s->drain_by || s->stopping)
		return;
	if (leases_open(s->f.leases) && now_ms < s->drain_by)
		return;
	store_close_all(s, RS_SHUTDOWN);
	store_flood_tick(s, now_ms, true);
	if ((slog_queued(s->log) || !store_db_idle(s)) && now_ms < s->drain_by)
		return;
	s->stopping = true;
	j = store_job(s);
	ev_put_stop(&b, role_boot(s->r), store_now(s));
	slog_add(j, buf_span(&b));
	j->done = stop_done;
	slog_put(s->log, j);
}

static void drain(struct role *r, uint64_t deadline_ms)
{
	struct store *s = the_store(r);

	pthread_mutex_lock(&s->order);
	s->drain_by = deadline_ms;
	store_beat(s, clock_mono_ms());
	stop_when_done(s, clock_mono_ms());
	pthread_mutex_unlock(&s->order);
}

static void tick(struct role *r, uint64_t now_ms)
{
	struct store *s = the_store(r);

	if (s->stopped)
		return;
	pthread_mutex_lock(&s->order);
	watch_clock(s, now_ms);
	if (now_ms >= s->beat_at || store_reasons(s) != s->told_why)
		store_beat(s, now_ms);
	watch_poison(s, now_ms);
	store_pends_tick(s, now_ms);
	store_live_tick(s, now_ms);
	store_flood_tick(s, now_ms, false);
	store_db_tick(s, now_ms);
	stop_when_done(s, now_ms);
	pthread_mutex_unlock(&s->order);
}

/* ---- messages ---- */

#define TAKE(NAME, fn)                                                                             \
	case M_##NAME: {                                                                           \
		struct msg_##NAME m;                                                               \
		rc = msg_dec_##NAME(in->body, &m);                                                 \
		if (rc == E_OK)                                                                    \
			fn(s, &m);                                                                 \
		break;                                                                             \
	}

static void on_gone(struct store *s, const struct msg_PEERGONE *m)
{
	store_on_peergone(s, &m->conn);
}

static void on_flood(struct store *s, const struct msg_FLOOD *m)
{
	store_flood(s, m->code, m->count);
}

static void on_odd(struct store *s, const struct msg_ODD *m)
{
	store_odd(s, m->who < R_COUNT ? (enum role_id)m->who : R_ENGINE, m->type,
		  m->code < REASON_COUNT ? m->code : RS_ODD_MESSAGE, &m->req);
}

static void on_totals(struct store *s, const struct msg_ETOTALS *m)
{
	s->totals = *m;
}

static int dispatch(struct store *s, struct msg_in *in)
{
	int rc = E_FORMAT;

	switch (in->type) {
		TAKE(PEER, store_on_peer)
		TAKE(PEERGONE, on_gone)
		TAKE(AUTH, store_on_auth)
		TAKE(AUTHDROP, store_on_authdrop)
		TAKE(MODELS, store_on_models)
		TAKE(ENROLL, store_on_enroll)
		TAKE(RCPT, store_on_rcpt)
		TAKE(FLOOD, on_flood)
		TAKE(HELLO, store_on_hello)
		TAKE(MODELUP, store_on_modelup)
		TAKE(CLAIM, store_on_claim)
		TAKE(INTENT, store_on_intent)
		TAKE(PROGRESS, store_on_progress)
		TAKE(OUTCOME, store_on_outcome)
		TAKE(ODD, on_odd)
		TAKE(ETOTALS, on_totals)
		TAKE(ADMREQ, store_on_admreq)
	default:
		break;
	}
	return rc;
}

/* Records may overtake HELLO (another channel): they wait for it. */
static void stash(struct store *s, const struct msg_in *in)
{
	struct stash *k;

	if (s->stash_bytes + in->body.n > STASH_MAX) {
		store_odd(s, R_ENGINE, in->type, RS_ODD_MESSAGE, NULL);
		return;
	}
	k = malloc(sizeof(*k) + in->body.n);
	must(k != NULL);
	*k = (struct stash){.type = in->type, .n = in->body.n};
	if (k->n)
		memcpy(k->data, in->body.p, k->n);
	*s->stash_tail = k;
	s->stash_tail = &k->next;
	s->stash_bytes += k->n;
}

static void unstash(struct store *s, bool serve)
{
	struct stash *k;

	while ((k = s->stash)) {
		struct msg_in in = {.type = k->type, .body = span_of(k->data, k->n)};

		s->stash = k->next;
		if (s->stash == NULL)
			s->stash_tail = &s->stash;
		s->stash_bytes -= k->n;
		if (serve && dispatch(s, &in) < 0)
			store_odd(s, R_ENGINE, k->type, RS_ODD_MESSAGE, NULL);
		free(k);
	}
}

static void msg(struct role *r, struct chan *ch, struct msg_in *in)
{
	struct store *s = the_store(r);
	enum role_id from = chan_peer(ch);
	int rc = E_OK;

	if (s->stopping)
		return;
	pthread_mutex_lock(&s->order);
	if (from == R_ENGINE && chan_kind(ch) == CH_DATA && id_is_zero(&s->engine))
		stash(s, in);
	else
		rc = dispatch(s, in);
	if (in->type == M_HELLO && !id_is_zero(&s->engine))
		unstash(s, true);
	pthread_mutex_unlock(&s->order);
	if (rc < 0)
		role_odd(r, from, in->type, rc);
}

static void odd(struct role *r, enum role_id who, uint16_t type, int code)
{
	struct store *s = the_store(r);

	if (s == NULL || s->stopping)
		return;
	pthread_mutex_lock(&s->order);
	store_odd(s, who, type, RS_ODD_MESSAGE, NULL);
	pthread_mutex_unlock(&s->order);
}

static void peer(struct role *r, enum role_id who, bool up)
{
	struct store *s = the_store(r);
	uint64_t now = clock_mono_ms();

	if (s->stopping)
		return;
	pthread_mutex_lock(&s->order);
	if (who == R_FRONT && !up)
		store_drop_peers(s);
	if (who == R_GATE && !up)
		store_drop_pends(s);
	if (who == R_ENGINE && !up) {
		store_engine_gone(s, now);
		unstash(s, false);
	}
	if (who == R_ENGINE && up)
		store_send_settings(s);
	if (up)
		store_beat(s, now);
	pthread_mutex_unlock(&s->order);
}

const struct role_ops store_ops = {
    .id = R_STORE,
    .tick_ms = 20,
    .prepare = store_prepare,
    .start = store_start,
    .msg = msg,
    .peer = peer,
    .tick = tick,
    .drain = drain,
    .odd = odd,
};
