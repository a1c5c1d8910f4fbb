/* eng.c - the engine role's owner: life, dispatch of messages, one step of work. See eng.h. */
#include "eng.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

int eng_new(const struct eng_cfg *cfg, struct eng **out, struct err *err)
{
	struct eng *g = calloc(1, sizeof(*g));
	struct engine_cfg ec = {
	    .threads = cfg->threads, .kernel_path = cfg->kernel, .kv_bytes = cfg->kv_bytes};
	int rc;

	if (g == NULL)
		return err_set(err, E_NOMEM, "engine role");
	g->cfg = *cfg;
	g->policy_fd = -1;
	g->queue_end = &g->queue;
	g->guard_ix = ENG_MODELS;
	rc = engine_open(&ec, &g->e, err);
	if (rc != 0) {
		free(g);
		return rc;
	}
	atomic_store(&g->reasons, eng_why_not(g));
	*out = g;
	return 0;
}

void eng_free(struct eng *g)
{
	struct req *rq, *tmp;
	struct grant *gr, *gtmp;
	struct early_cancel *c, *ctmp;

	if (g == NULL)
		return;
	HASH_ITER(hh, g->by_id, rq, tmp)
	req_free(rq);
	HASH_ITER(hh, g->grants, gr, gtmp)
	{
		HASH_DEL(g->grants, gr);
		free(gr);
	}
	HASH_ITER(hh, g->cancels, c, ctmp)
	{
		HASH_DEL(g->cancels, c);
		free(c);
	}
	guard_free(g->guard);
	engine_close(g->e);
	for (unsigned i = 0; i < g->n_files; i++)
		while (g->file[i].n)
			close(g->file[i].fd[--g->file[i].n]);
	if (g->policy_fd >= 0)
		close(g->policy_fd);
	free(g);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino && x.st_size == y.st_size &&
	       x.st_mtim.tv_sec == y.st_mtim.tv_sec && x.st_mtim.tv_nsec == y.st_mtim.tv_nsec;
}

/* "model:NAME" or, of a split model, "model:NAME/2" and so on behind it. */
static struct eng_file *file_named(struct eng *g, const char *name, unsigned *part)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : strlen(name);
	struct eng_file *f;

	*part = 0;
	for (const char *d = slash ? slash + 1 : ""; *d >= '0' && *d <= '9' && *part < 100; d++)
		*part = *part * 10 + (unsigned)(*d - '0');
	*part -= *part > 0;
	for (unsigned i = 0; i < g->n_files; i++)
		if (strlen(g->file[i].name) == n && memcmp(g->file[i].name, name, n) == 0)
			return &g->file[i];
	if (g->n_files == ENG_FILES || n >= sizeof(f->name))
		return NULL;
	f = &g->file[g->n_files++];
	memcpy(f->name, name, n);
	return f;
}

void eng_file(struct eng *g, const char *name, int fd)
{
	struct eng_file *f;
	unsigned part;

	if (strcmp(name, "policy") == 0) {
		if (g->policy_fd >= 0)
			close(g->policy_fd);
		g->policy_fd = fd;
		return;
	}
	f = file_named(g, name, &part);
	if (f == NULL || part > f->n || part >= SPLIT_MAX) {
		close(fd);
		return;
	}
	if (part == f->n || !same_file(f->fd[part], fd)) {
		f->hashed = false;
		f->m = NULL; /* what was loaded stays the engine's */
	}
	if (part < f->n)
		close(f->fd[part]);
	else
		f->n++;
	f->fd[part] = fd;
}

unsigned eng_open(const struct eng *g)
{
	return HASH_CNT(hh, g->by_id);
}

uint32_t eng_reasons(const struct eng *g)
{
	return atomic_load(&g->reasons);
}

void eng_beat(struct eng *g, uint32_t life_ms, uint64_t now_ms)
{
	atomic_store(&g->beat_life, life_ms);
	atomic_store(&g->beat_ms, now_ms);
}

void eng_odd(struct eng *g, enum role_id who, uint16_t type, uint16_t code, const struct id *req)
{
	struct msg_ODD m = {.who = (uint8_t)who, .type = type, .code = code};

	if (req)
		m.req = *req;
	log_ev(LOG_WARN_LV, "odd", "from=%s type=%u code=%u", role_name(who), type, code);
	ENG_SEND(g, R_STORE, CH_CTRL, ODD, &m);
}

static void on_credit(struct eng *g, const struct msg_CREDIT *m)
{
	struct req *rq = eng_find(g, &m->req);

	if (rq == NULL)
		return; /* it ended meanwhile */
	if (m->choice >= rq->n) {
		eng_odd(g, R_GATE, M_CREDIT, RS_ODD_MESSAGE, &m->req);
		return;
	}
	if (rq->ch) {
		struct choice *c = &rq->ch[m->choice];

		c->credit = m->tokens > UINT32_MAX - c->credit ? UINT32_MAX : c->credit + m->tokens;
		if (rq->state == RQ_RUN)
			req_pump(rq);
	}
}

#define TAKE(NAME, call)                                                                           \
	case M_##NAME: {                                                                           \
		struct msg_##NAME m;                                                               \
		if (msg_dec_##NAME(body, &m) < 0)                                                  \
			eng_odd(g, from, type, RS_ODD_MESSAGE, NULL);                              \
		else                                                                               \
			call;                                                                      \
		break;                                                                             \
	}

void eng_msg(struct eng *g, enum role_id from, uint16_t type, struct span body, int *fd,
	     uint64_t now_ms)
{
	g->now_ms = now_ms;
	switch (type) {
		TAKE(SUBMIT, eng_on_submit(g, &m, fd))
		TAKE(CREDIT, on_credit(g, &m))
		TAKE(CANCEL, eng_on_cancel(g, &m))
		TAKE(SETTINGS, eng_settings(g, &m))
		TAKE(GRANT, eng_on_grant(g, &m))
		TAKE(REVOKE, eng_on_revoke(g, &m))
		TAKE(FORGET, engine_cache_clear(g->e, m.domain))
		TAKE(BEAT, eng_beat(g, m.life_ms, now_ms))
		TAKE(CLAIMOK, eng_on_claimok(g, &m))
		TAKE(CLAIMNO, eng_on_claimno(g, &m))
		TAKE(ACK, eng_on_ack(g, &m))
		TAKE(NACK, eng_on_nack(g, &m))
	default:
		eng_odd(g, from, type, RS_ODD_MESSAGE, NULL);
	}
}

void eng_peer(struct eng *g, enum role_id peer, bool up, uint64_t now_ms)
{
	struct req *rq, *tmp;

	g->now_ms = now_ms;
	if (peer == R_STORE) {
		g->store_up = up;
		if (up)
			eng_hello(g);
	} else if (peer == R_GATE) {
		g->gate_up = up;
		if (up)
			return;
		/* every client of it is gone */
		HASH_ITER(hh, g->by_id, rq, tmp)
		req_end(rq, OS_CANCELLED, RS_CANCELLED, false);
	}
}

int eng_step(struct eng *g, uint64_t now_ms, uint64_t budget_ns)
{
	struct event ev[64];
	int more, n;
	bool old;

	g->now_ms = now_ms;
	old = engine_cache_age(g->e, now_ms, g->cfg.cache_idle_ms);
	more = engine_step(g->e, budget_ns);
	if (more < 0)
		fatal("engine", "code=%d", more);
	while ((n = engine_poll(g->e, ev, 64)) > 0)
		for (int i = 0; i < n; i++)
			eng_event(g, &ev[i]);
	eng_timers(g);
	return more || old;
}

void eng_drain(struct eng *g, uint64_t deadline_ms)
{
	g->draining = true;
	g->drain_ms = deadline_ms;
}

bool eng_drained(const struct eng *g)
{
	return g->draining && HASH_CNT(hh, g->by_id) == 0;
}
