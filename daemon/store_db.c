/* store_db.c - the database writer thread: the admin side (store_admin.h), receipt rows, the index.
 * The loop hands it jobs; its callbacks come back as posts. See store.h for `order` and holds. */
#include <stdio.h>
#include <stdlib.h>

#include "admin_verbs.h"
#include "clock.h"
#include "log.h"
#include "store_start.h"

#define RCPT_MS 100
#define ADMIN_TICK_MS 100
#define ADMIN_WATCH_MS 1000 /* how long an edit of state.db by somebody else may go unseen */

/* ---- callbacks of the admin side; writer thread ---- */

static int64_t cb_now(void *arg)
{
	struct store *s = arg;
	int64_t t;

	if (s->hold)
		return s->hold_ms;
	pthread_mutex_lock(&s->order);
	t = store_now(s);
	if (s->may_write) {
		s->hold_ms = t;
		s->hold = slog_hold_open(s->log);
	}
	pthread_mutex_unlock(&s->order);
	return t;
}

static void put_job(struct store *s, enum db_job_kind kind, void *m, int rc, uint64_t index);

static void appended(struct slog_job *j)
{
	put_job(j->arg, DBJ_APPENDED, NULL, j->rc, j->index);
}

static int cb_append(void *arg, struct span entry)
{
	struct store *s = arg;
	struct slog_job *j;

	if (slog_poisoned(s->log))
		return E_IO;
	cb_now(s); /* takes the place in the queue, if the caller asked for no time */
	j = store_job(s);
	slog_add(j, entry);
	j->done = appended;
	s->owed++;
	slog_hold_put(s->hold, j);
	return E_OK;
}

struct reply {
	struct store *s;
	struct id req;
	unsigned status;
	bool more;
	size_t n;
	char body[];
};

static void reply_in_loop(void *arg)
{
	struct reply *p = arg;

	store_adm_reply(p->s, &p->req, p->status, p->more, span_of(p->body, p->n));
	free(p);
}

static void cb_reply(void *arg, const struct id *req, unsigned status, bool more, struct span body)
{
	struct store *s = arg;
	struct reply *p = malloc(sizeof(*p) + body.n);

	must(p != NULL);
	*p = (struct reply){.s = s, .req = *req, .status = status, .more = more, .n = body.n};
	if (body.n)
		memcpy(p->body, body.p, body.n);
	role_post(s->r, reply_in_loop, p);
}

struct enrolled {
	struct store *s;
	struct id req;
	unsigned reason;
	char kid[WIRE_STR_MAX], key[WIRE_STR_MAX], subject[WIRE_STR_MAX];
};

static void enrolled_in_loop(void *arg)
{
	struct enrolled *e = arg;
	struct store *s = e->s;
	struct msg_ENROLLOK ok = {.req = e->req,
				  .kid = span_cstr(e->kid),
				  .key = span_cstr(e->key),
				  .subject = span_cstr(e->subject)};

	pthread_mutex_lock(&s->order);
	if (e->reason) {
		store_flood(s, (uint16_t)e->reason, 1);
		store_deny(s, &e->req, (uint16_t)e->reason, 0, true);
	} else {
		s->n.enrolled++;
		CH_SEND(role_chan(s->r, R_GATE, CH_DATA), ENROLLOK, &ok);
	}
	pthread_mutex_unlock(&s->order);
	sodium_memzero(e, sizeof(*e)); /* the user's secret was in it */
	free(e);
}

static void cb_enrolled(void *arg, const struct id *req, unsigned reason, const char *kid,
			const char *key, const char *subject)
{
	struct enrolled *e = calloc(1, sizeof(*e));

	must(e != NULL);
	*e = (struct enrolled){.s = arg, .req = *req, .reason = reason};
	snprintf(e->kid, sizeof(e->kid), "%s", kid ? kid : "");
	snprintf(e->key, sizeof(e->key), "%s", key ? key : "");
	snprintf(e->subject, sizeof(e->subject), "%s", subject ? subject : "");
	role_post(e->s->r, enrolled_in_loop, e);
}

struct revoked {
	struct store *s;
	struct revoke_sel sel;
};

static void revoked_in_loop(void *arg)
{
	struct revoked *v = arg;

	pthread_mutex_lock(&v->s->order);
	store_revoke(v->s, &v->sel);
	pthread_mutex_unlock(&v->s->order);
	free(v);
}

static void cb_revoke(void *arg, const struct revoke_sel *sel)
{
	struct store *s = arg;
	struct revoked *v = calloc(1, sizeof(*v));

	must(v != NULL);
	*v = (struct revoked){s, *sel};
	atomic_fetch_add(&s->auth_gen,
			 1); /* before the sweep: no read of old rows grants after it */
	role_post(s->r, revoked_in_loop, v);
}

static void cb_changed(void *arg)
{
	struct store *s = arg;

	atomic_fetch_add(&s->auth_gen, 1);
	s->reload = true;
}

static bool cb_usage(void *arg, enum level lv, const struct id *id, struct usage_row *out)
{
	struct store *s = arg;
	uint64_t u[QW_COUNT];
	struct zone_now now;

	pthread_mutex_lock(&s->order);
	zone_at(&s->f.zone, store_now(s), &now);
	quota_used(s->f.quota, (enum quota_level)lv, id, &now, u);
	pthread_mutex_unlock(&s->order);
	*out = (struct usage_row){.concurrency = (uint32_t)u[QW_CONC],
				  .req_min = u[QW_RPM],
				  .req_day = u[QW_RPD],
				  .req_month = u[QW_RPMON],
				  .tok_min = u[QW_TPM],
				  .tok_day = u[QW_TPD],
				  .tok_month = u[QW_TPMON]};
	return true;
}

static void cb_random(void *arg, void *p, size_t n)
{
	randombytes_buf(p, n);
}

struct store_admin_cb store_admin_callbacks(struct store *s)
{
	return (struct store_admin_cb){.arg = s,
				       .now = cb_now,
				       .append = cb_append,
				       .reply = cb_reply,
				       .enrolled = cb_enrolled,
				       .revoke = cb_revoke,
				       .changed = cb_changed,
				       .usage = cb_usage,
				       .random = cb_random};
}

/* ---- jobs ---- */

struct db_job {
	struct work_job w; /* first */
	struct store *s;
	enum db_job_kind kind;
	int rc;
	uint64_t index;
	bool read_only;
	void *m; /* copied message or rows; freed by the job */
	struct err err;
	/* what the loop is told */
	struct settings set;
	bool have_set, locked_all, idle, confirmed;
};

struct adm_copy {
	struct msg_ADMREQ m;
	char body[];
};

struct enrol_copy {
	struct msg_ENROLL m;
	bool has_cert;
	uint8_t thumb[32];
	char a[WIRE_STR_MAX], b[WIRE_STR_MAX];
};

static void put_rows(struct store *s, const struct receipt_rows *r)
{
	int rc = db_begin(s->db_wr);

	for (unsigned i = 0; i < r->n && rc == E_OK; i++)
		rc = db_receipt_put(s->db_wr, &r->row[i]);
	if (rc == E_OK)
		rc = db_commit(s->db_wr);
	if (rc < 0) {
		/* receipts can still be made from the log, without their salts */
		log_ev(LOG_WARN_LV, "receipt_rows", "why=\"%s\"", db_error(s->db_wr));
		db_rollback(s->db_wr);
	}
}

static void run(struct work_job *w)
{
	struct db_job *j = (struct db_job *)w;
	struct store *s = j->s;
	struct enrol_copy *e = j->m;

	s->may_write = j->kind != DBJ_ROWS && !j->read_only;
	switch (j->kind) {
	case DBJ_START:
		j->rc = store_admin_start(s->admin, buf_span(&s->genesis_doc), &j->err);
		s->reload = true;
		break;
	case DBJ_ADMREQ:
		store_admin_request(s->admin, &((struct adm_copy *)j->m)->m);
		break;
	case DBJ_ENROLL:
		store_admin_enrol(s->admin, &e->m, e->has_cert ? e->thumb : NULL);
		break;
	case DBJ_APPENDED:
		s->owed--;
		store_admin_appended(s->admin, j->rc, j->index);
		break;
	case DBJ_TICK:
		store_admin_tick(s->admin);
		break;
	case DBJ_ROWS:
		put_rows(s, j->m);
		break;
	}
	if (s->hold) {
		slog_hold_close(s->hold);
		s->hold = NULL;
	}
	if (s->may_write)
		atomic_fetch_add(&s->auth_gen, 1);
	j->idle = store_admin_idle(s->admin) && s->owed == 0;
	j->confirmed = store_admin_confirmed(s->admin);
	if (s->reload) {
		s->reload = false;
		j->have_set = db_settings(s->db_wr, &j->set, &j->locked_all) == E_OK;
	}
}

static void take_settings(struct store *s, const struct db_job *j)
{
	bool same = s->have_set && s->set_sent == j->set.ver;
	struct err err = {0};
	struct zone z;

	if (strcmp(j->set.timezone, s->zone_name) != 0) {
		if (zone_load(&z, "", j->set.timezone, clock_wall_ms(), &err) == E_OK) {
			s->f.zone = z;
			store_balance_zone(s);
			memcpy(s->zone_name, j->set.timezone, sizeof(s->zone_name));
		} else {
			log_ev(LOG_WARN_LV, "timezone", "not UTC, +hh:mm or genesis': not taken");
		}
	}
	s->set = j->set;
	s->have_set = true;
	s->locked_all = j->locked_all;
	if (!same)
		store_send_settings(s);
	store_early_models(s);
	store_beat(s, clock_mono_ms());
}

static void done(struct work_job *w)
{
	struct db_job *j = (struct db_job *)w;
	struct store *s = j->s;

	if (j->kind == DBJ_START && j->rc < 0)
		fatal("admin_start", "why=\"%s\"", j->err.text);
	pthread_mutex_lock(&s->order);
	s->db_jobs--;
	s->db_kind[j->kind]--;
	s->confirmed = j->confirmed;
	s->admin_idle = j->idle;
	if (j->have_set)
		take_settings(s, j);
	if (j->kind == DBJ_START)
		s->admin_started = true;
	if (s->admin_started && j->idle && s->log)
		store_log_begin(s);
	pthread_mutex_unlock(&s->order);
	if (j->kind == DBJ_ENROLL)
		sodium_memzero(j->m, sizeof(struct enrol_copy));
	free(j->m);
	free(j);
}

/* Strangers may ask for enrolment: they never keep an officer from stopping somebody. */
static const unsigned at_once[] = {[DBJ_ADMREQ] = 64, [DBJ_ENROLL] = 16, [DBJ_ROWS] = 0};

static int new_job(struct store *s, enum db_job_kind kind, void *m, int rc, uint64_t index,
		   bool read_only)
{
	struct db_job *j;

	if (at_once[kind] && s->db_kind[kind] >= at_once[kind])
		return E_BUSY;
	j = calloc(1, sizeof(*j));
	must(j != NULL);
	*j = (struct db_job){.w = {.run = run, .done = done},
			     .s = s,
			     .kind = kind,
			     .m = m,
			     .rc = rc,
			     .index = index,
			     .read_only = read_only};
	work_put(s->wr, &j->w, true);
	s->db_kind[kind]++;
	s->db_jobs++;
	return E_OK;
}

static void put_job(struct store *s, enum db_job_kind kind, void *m, int rc, uint64_t index)
{
	new_job(s, kind, m, rc, index, false);
}

static void queue_admreq(struct store *s, struct adm_copy *c)
{
	struct id req = c->m.req;

	if (new_job(s, DBJ_ADMREQ, c, 0, 0, c->m.verb != AV_STATEMENT && c->m.verb != AV_NONCE) <
	    0) {
		free(c);
		store_adm_reply(s, &req, 503, false, SPAN_LIT("{\"error\":\"busy\"}"));
	}
}

void store_on_admreq(struct store *s, const struct msg_ADMREQ *m)
{
	struct adm_copy *c;

	if (!store_admin_handles(m->verb)) {
		store_admin_own(s, m);
		return;
	}
	c = malloc(sizeof(*c) + m->body.n);
	must(c != NULL);
	c->m = *m;
	if (m->body.n)
		memcpy(c->body, m->body.p, m->body.n);
	c->m.body = span_of(c->body, m->body.n);
	if (!s->log_started && s->n_held < ADM_HELD_MAX) {
		s->held[s->n_held++] =
		    c; /* the genesis entry is not durable yet: answered right after */
		return;
	}
	queue_admreq(s, c);
}

void store_release_held(struct store *s)
{
	for (unsigned i = 0; i < s->n_held; i++)
		queue_admreq(s, s->held[i]);
	s->n_held = 0;
}

void store_on_enroll(struct store *s, const struct msg_ENROLL *m)
{
	struct peer *p = store_peer(s, &m->conn);
	struct enrol_copy *c;

	if (p == NULL || !s->log_started) {
		store_deny(s, &m->req, p ? RS_OVERLOADED : RS_NO_GRANT, 1000, false);
		return;
	}
	c = calloc(1, sizeof(*c));
	must(c != NULL);
	c->m = *m;
	memcpy(c->a, m->code_a.p, m->code_a.n);
	memcpy(c->b, m->code_b.p, m->code_b.n);
	c->m.code_a.p = c->a;
	c->m.code_b.p = c->b;
	c->has_cert = p->has_cert;
	memcpy(c->thumb, p->thumb, 32);
	if (new_job(s, DBJ_ENROLL, c, 0, 0, false) < 0) {
		free(c);
		store_deny(s, &m->req, RS_OVERLOADED, 1000, false);
	}
}

void store_rows_flush(struct store *s)
{
	if (s->rows == NULL)
		return;
	put_job(s, DBJ_ROWS, s->rows, 0, 0);
	s->rows = NULL;
}

void store_receipt_row(struct store *s, const struct receipt_row *row)
{
	if (s->rows == NULL) {
		s->rows = calloc(1, sizeof(*s->rows));
		must(s->rows != NULL);
		s->rows_at = clock_mono_ms() + RCPT_MS;
	}
	s->rows->row[s->rows->n++] = *row;
	if (s->rows->n == RCPT_BATCH)
		store_rows_flush(s);
}

void store_db_tick(struct store *s, uint64_t now_ms)
{
	if (s->rows && now_ms >= s->rows_at)
		store_rows_flush(s);
	if (now_ms >= s->admin_tick_at && s->admin_started && !s->stopping) {
		s->admin_tick_at = now_ms + (s->admin_idle ? ADMIN_WATCH_MS : ADMIN_TICK_MS);
		put_job(s, DBJ_TICK, NULL, 0, 0);
	}
}

bool store_db_idle(struct store *s)
{
	store_rows_flush(s);
	return s->db_jobs == 0;
}

void store_db_begin(struct store *s)
{
	put_job(s, DBJ_START, NULL, 0, 0);
}
