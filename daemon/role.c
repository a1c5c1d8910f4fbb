/* role.c - the life every role shares: channels, files, configuration, sandbox, one loop.
 * See role.h. Everything here runs in the loop thread unless it says "any thread". */
#include "role.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "evloop.h"
#include "fdtab.h"
#include "io.h"
#include "log.h"
#include "sandbox.h"

#define CONTROL_FD 3
#define CONF_MAX (256 * 1024)
#define QUEUE_DATA (8u << 20)
#define QUEUE_CTRL (1u << 20)
#define BATCH 64 /* messages taken from one channel before others get a turn */

struct edge {
	struct chan *ch[2];
	uint32_t gen[2];
	bool told_up;
};

struct role {
	const struct role_ops *ops;
	void *user;
	struct evloop ev;
	struct chan *main_ch;
	struct edge edge[R_COUNT];
	struct fdtab files;
	struct conf conf, conf_new;
	uint32_t conf_new_version;
	bool have_new, running, draining, drained, stop;
	struct id boot;
	pthread_mutex_t send_lock;
	uint64_t alive_seq, next_alive, next_tick;
	bool serving;
	uint32_t reasons;
	int status;
};

struct chan *role_chan(struct role *r, enum role_id peer, enum chan_kind kind)
{
	return r->edge[peer].ch[kind];
}

void role_send_lock(struct role *r)
{
	pthread_mutex_lock(&r->send_lock);
}

void role_send_unlock(struct role *r)
{
	pthread_mutex_unlock(&r->send_lock);
}

int role_file(struct role *r, const char *name)
{
	return fdtab_get(&r->files, name);
}

int role_file_at(struct role *r, const char *prefix, unsigned i, const char **name)
{
	return fdtab_at(&r->files, prefix, i, name);
}

const struct conf *role_conf(const struct role *r)
{
	return &r->conf;
}

const struct id *role_boot(const struct role *r)
{
	return &r->boot;
}

bool role_draining(const struct role *r)
{
	return r->draining;
}

void *role_get_user(const struct role *r)
{
	return r->user;
}

void role_set_user(struct role *r, void *user)
{
	r->user = user;
}

void role_set_serving(struct role *r, bool serving, uint32_t reasons)
{
	r->serving = serving;
	r->reasons = reasons;
}

int role_watch(struct role *r, int fd, uint32_t events, void (*fn)(void *, uint32_t), void *arg)
{
	return evloop_watch(&r->ev, fd, events, fn, arg);
}

void role_unwatch(struct role *r, int fd)
{
	evloop_unwatch(&r->ev, fd);
}

/* Any thread. */
void role_post(struct role *r, void (*fn)(void *arg), void *arg)
{
	evloop_post(&r->ev, fn, arg);
}

void role_odd(struct role *r, enum role_id who, uint16_t type, int code)
{
	static uint64_t second, told,
	    kept_back; /* a taken peer must not flood the diagnostic log */
	const struct msg_rule *rule = msg_rule(type);
	uint64_t now = clock_mono_ms() / 1000;

	if (now != second) {
		if (kept_back)
			log_ev(LOG_WARN_LV, "odd", "kept_back=%llu", (unsigned long long)kept_back);
		second = now;
		told = kept_back = 0;
	}
	if (++told > 10)
		kept_back++;
	else
		log_ev(LOG_WARN_LV, "odd", "from=%s msg=%s type=%u code=%s", role_name(who),
		       rule ? rule->name : "?", type, err_name(code));
	if (r->ops->odd)
		r->ops->odd(r, who, type, code);
}

void role_drained(struct role *r, bool clean)
{
	struct msg_DRAINED m = {.clean = clean};

	if (r->drained)
		return;
	r->drained = true;
	CH_SEND(r->main_ch, DRAINED, &m);
	r->status = clean ? 0 : 1;
	r->stop = true;
}

/* ---- channels to peers ---- */

static void drop_chan(struct role *r, enum role_id peer, enum chan_kind kind)
{
	struct edge *e = &r->edge[peer];

	if (e->ch[kind] == NULL)
		return;
	role_unwatch(r, chan_fd(e->ch[kind]));
	role_send_lock(r);
	chan_close(e->ch[kind]);
	e->ch[kind] = NULL;
	role_send_unlock(r);
}

static void peer_down(struct role *r, enum role_id peer)
{
	struct edge *e = &r->edge[peer];

	drop_chan(r, peer, CH_DATA);
	drop_chan(r, peer, CH_CTRL);
	if (!e->told_up)
		return;
	e->told_up = false;
	log_ev(LOG_INFO_LV, "peer_down", "peer=%s", role_name(peer));
	if (r->ops->peer && r->running)
		r->ops->peer(r, peer, false);
}

static void tell_up(struct role *r, enum role_id peer)
{
	struct edge *e = &r->edge[peer];

	if (e->told_up || !r->running || !e->ch[CH_DATA] || !e->ch[CH_CTRL])
		return;
	e->told_up = true;
	if (r->ops->peer)
		r->ops->peer(r, peer, true);
}

struct chan_ref {
	struct role *r;
	enum role_id peer;
	enum chan_kind kind;
};
static struct chan_ref refs[R_COUNT][2]; /* one role per process */

static void serve_chan(struct role *r, enum role_id peer, enum chan_kind kind)
{
	for (int i = 0; i < BATCH; i++) {
		struct chan *ch = r->edge[peer].ch[kind];
		struct msg_in in;
		int rc;

		if (ch == NULL)
			return;
		rc = chan_recv(ch, &in);
		if (rc == 0)
			return;
		if (rc == E_CLOSED) {
			peer_down(r, peer);
			return;
		}
		if (rc < 0) {
			role_odd(r, peer, in.type, rc);
			continue;
		}
		r->ops->msg(r, ch, &in);
		chan_in_drop(&in);
	}
}

static void on_chan(void *arg, uint32_t ev)
{
	struct chan_ref *f = arg;

	if (ev & EPOLLOUT && role_chan(f->r, f->peer, f->kind))
		chan_flush(role_chan(f->r, f->peer, f->kind));
	serve_chan(f->r, f->peer, f->kind);
}

/* Watches for writing only while something is queued. */
static void arm_writes(struct role *r)
{
	for (int p = 0; p < R_COUNT; p++)
		for (int k = 0; k < 2; k++)
			if (r->edge[p].ch[k] && chan_wants_write(r->edge[p].ch[k]))
				chan_flush(r->edge[p].ch[k]);
	if (r->main_ch && chan_wants_write(r->main_ch))
		chan_flush(r->main_ch);
}

static bool any_write_left(struct role *r)
{
	for (int p = 0; p < R_COUNT; p++)
		for (int k = 0; k < 2; k++)
			if (r->edge[p].ch[k] && chan_wants_write(r->edge[p].ch[k]))
				return true;
	return false;
}

static void take_chan(struct role *r, const struct msg_CHAN *m, int fd)
{
	struct edge *e;
	struct chan *ch;

	if (m->peer >= R_COUNT || m->peer == R_MAIN || m->kind > CH_CTRL)
		fatal("chan", "peer=%u", m->peer);
	e = &r->edge[m->peer];
	if (e->told_up || e->ch[m->kind])
		peer_down(r, m->peer);
	ch = chan_new(fd, r->ops->id, m->peer, m->kind, m->kind ? QUEUE_CTRL : QUEUE_DATA);
	if (ch == NULL)
		fatal("chan", "no memory");
	chan_set_state(ch, r->draining ? ST_DRAIN : ST_RUN);
	chan_set_wake(ch, r->ev.wake);
	role_send_lock(r);
	e->ch[m->kind] = ch;
	e->gen[m->kind] = m->gen;
	role_send_unlock(r);
	refs[m->peer][m->kind] = (struct chan_ref){r, m->peer, m->kind};
	if (r->running && role_watch(r, fd, EPOLLIN, on_chan, &refs[m->peer][m->kind]) < 0)
		fatal("chan", "cannot watch");
	tell_up(r, m->peer);
}

/* ---- messages from main ---- */

static void answer_bad(struct role *r, uint32_t version, const char *why)
{
	struct msg_BAD m = {.version = version, .why = span_cstr(why)};

	if (m.why.n > WIRE_STR_MAX)
		m.why.n = WIRE_STR_MAX;
	CH_SEND(r->main_ch, BAD, &m);
}

static void take_conf(struct role *r, const struct msg_CONF *m, int fd)
{
	struct buf text = BUF_INIT(CONF_MAX), errors = BUF_INIT(4096);
	struct msg_READY ok = {.version = m->version};
	struct err err = {0};
	int rc = io_read_fd(fd, CONF_MAX, &text, &err);

	if (rc == E_OK)
		rc = conf_parse(&r->conf_new, buf_span(&text), "configuration", &errors);
	if (rc == E_OK && r->running && r->ops->conf_try)
		rc = r->ops->conf_try(r, &r->conf_new, &err);
	if (rc == E_OK) {
		r->have_new = true;
		r->conf_new_version = m->version;
		if (!r->running) {
			r->conf = r->conf_new;
			if (r->ops->prepare && (rc = r->ops->prepare(r, &err)) < 0)
				fatal("prepare", "%s", err.text);
			if (sandbox_enter(r->ops->id, &r->conf, &err) < 0)
				fatal("sandbox", "%s", err.text);
		}
		CH_SEND(r->main_ch, READY, &ok);
	} else {
		answer_bad(r, m->version, errors.n ? buf_cstr(&errors) : err.text);
	}
	buf_free(&text);
	buf_free(&errors);
}

static void set_level(const struct conf *c)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	for (int i = 0; i < 4; i++)
		if (strcmp(c->log_level, names[i]) == 0)
			log_set_level((enum log_level)i);
}

static void start_running(struct role *r)
{
	struct err err = {0};

	set_level(&r->conf);
	r->running = true;
	if (r->ops->start && r->ops->start(r, &err) < 0)
		fatal("start", "%s", err.text);
	for (int p = 0; p < R_COUNT; p++) {
		for (int k = 0; k < 2; k++)
			if (r->edge[p].ch[k] && role_watch(r, chan_fd(r->edge[p].ch[k]), EPOLLIN,
							   on_chan, &refs[p][k]) < 0)
				fatal("start", "cannot watch a channel");
		tell_up(r, p);
	}
}

static void take_go(struct role *r, const struct msg_GO *m)
{
	if (!r->have_new || m->version != r->conf_new_version)
		return; /* a GO for a configuration that we refused or never saw */
	r->have_new = false;
	r->conf = r->conf_new;
	if (!r->running) {
		start_running(r);
		return;
	}
	set_level(&r->conf);
	if (r->ops->conf_commit)
		r->ops->conf_commit(r, &r->conf);
}

static void take_drain(struct role *r, const struct msg_DRAIN *m)
{
	if (r->draining)
		return;
	r->draining = true;
	for (int p = 0; p < R_COUNT; p++)
		for (int k = 0; k < 2; k++)
			if (r->edge[p].ch[k])
				chan_set_state(r->edge[p].ch[k], ST_DRAIN);
	if (r->ops->drain && r->running)
		r->ops->drain(r, clock_mono_ms() + m->deadline_ms);
	else
		role_drained(r, true);
}

/* Takes what main sent; malformed bytes from main end the role: nothing can be right then. */
static void main_msg(struct role *r, struct msg_in *in)
{
	union {
		struct msg_FILE file;
		struct msg_CHAN chan;
		struct msg_CONF conf;
		struct msg_GO go;
		struct msg_DRAIN drain;
		struct msg_PEERDEAD dead;
	} m;
	int fd = in->nfds ? in->fds[0] : -1, rc = E_FORMAT;

	if (in->type == M_FILE && fd >= 0 && (rc = msg_dec_FILE(in->body, &m.file)) == E_OK) {
		if (!fdtab_put(&r->files, m.file.name, fd))
			fatal("file", "too many files");
		in->fds[0] = -1;
	} else if (in->type == M_CHAN && fd >= 0 &&
		   (rc = msg_dec_CHAN(in->body, &m.chan)) == E_OK) {
		take_chan(r, &m.chan, fd);
		in->fds[0] = -1;
	} else if (in->type == M_CONF && fd >= 0 &&
		   (rc = msg_dec_CONF(in->body, &m.conf)) == E_OK) {
		take_conf(r, &m.conf, fd);
	} else if (in->type == M_GO && (rc = msg_dec_GO(in->body, &m.go)) == E_OK) {
		take_go(r, &m.go);
	} else if (in->type == M_DRAIN && (rc = msg_dec_DRAIN(in->body, &m.drain)) == E_OK) {
		take_drain(r, &m.drain);
	} else if (in->type == M_PEERDEAD && (rc = msg_dec_PEERDEAD(in->body, &m.dead)) == E_OK &&
		   m.dead.peer < R_COUNT) {
		peer_down(r, m.dead.peer);
	}
	if (rc < 0)
		fatal("main", "malformed message type=%u", in->type);
}

static void on_main(void *arg, uint32_t ev)
{
	struct role *r = arg;
	struct msg_in in;
	int rc;

	for (;;) {
		rc = chan_recv(r->main_ch, &in);
		if (rc == 0)
			return;
		if (rc < 0) {
			/* main is gone: stop serving at once, finish what can be finished */
			log_ev(LOG_WARN_LV, "main_gone", "code=%s", err_name(rc));
			role_unwatch(r, CONTROL_FD);
			take_drain(r, &(struct msg_DRAIN){.deadline_ms = 2000});
			if (!r->running)
				r->stop = true;
			return;
		}
		main_msg(r, &in);
		chan_in_drop(&in);
	}
}

static void every_so_often(struct role *r)
{
	uint64_t now = clock_mono_ms();
	struct msg_ALIVE m;

	if (now >= r->next_alive) {
		m = (struct msg_ALIVE){++r->alive_seq, r->serving, r->reasons};
		CH_SEND(r->main_ch, ALIVE, &m);
		r->next_alive = now + 250;
	}
	if (r->running && now >= r->next_tick) {
		r->next_tick = now + (r->ops->tick_ms ? r->ops->tick_ms : 50);
		if (r->ops->tick)
			r->ops->tick(r, now);
	}
}

static int wait_ms(struct role *r)
{
	uint64_t now = clock_mono_ms(), next = r->next_alive;

	if (any_write_left(r))
		return 2;
	if (r->running && r->next_tick < next)
		next = r->next_tick;
	return next <= now ? 0 : (int)(next - now);
}

static void loop(struct role *r)
{
	while (!r->stop) {
		evloop_turn(&r->ev, wait_ms(r));
		arm_writes(r);
		every_so_often(r);
	}
	for (int i = 0; i < 100 && (any_write_left(r) || chan_wants_write(r->main_ch)); i++) {
		arm_writes(r); /* last words: DRAINED, ACKs */
		usleep(2000);
	}
}

int role_run(const struct role_ops *ops)
{
	static struct role r;

	log_init(role_name(ops->id), LOG_INFO_LV);
	r.ops = ops;
	r.boot = id_random();
	r.reasons = 0;
	pthread_mutex_init(&r.send_lock, NULL);
	conf_defaults(&r.conf);
	r.main_ch = chan_new(CONTROL_FD, ops->id, R_MAIN, CH_CTRL, QUEUE_CTRL);
	if (evloop_open(&r.ev) < 0 || r.main_ch == NULL)
		fatal("role", "no descriptors or memory");
	if (role_watch(&r, CONTROL_FD, EPOLLIN, on_main, &r) < 0)
		fatal("role", "cannot watch the control channel");
	loop(&r);
	return r.status;
}
