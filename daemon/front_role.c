/* front_role.c - the TLS door: accepts, limits, shakes hands, tells store who came (PEER) and hands
 * gate a plain descriptor (CONN). Sees no HTTP meaning. One thread: an epoll set of its own inside
 * the role's loop, edge-triggered. See front.h for the parts. */
#include "front.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "log.h"

static struct front front; /* one role per process */

static int build_ctx(struct role *r, const struct conf *c, SSL_CTX **out, struct err *err)
{
	struct tls_cfg t = {.cert_fd = role_file(r, "tls-cert"),
			    .key_fd = role_file(r, "tls-key"),
			    .ca_fd = role_file(r, "client-ca"),
			    .client_cert = c->client_cert};

	memcpy(t.server_name, c->server_name, sizeof(t.server_name));
	t.server_name[sizeof(t.server_name) - 1] = '\0';
	return tls_ctx_new(&t, out, err);
}

static int front_prepare(struct role *r, struct err *err)
{
	struct front *f = &front;

	f->role = r;
	edge_want_fds(2 * role_conf(r)->max_connections + 128);
	role_set_user(r, f);
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
	OPENSSL_init_ssl(0, NULL);
	f->ep = epoll_create1(EPOLL_CLOEXEC);
	if (f->ep < 0)
		return err_sys(err, "epoll");
	return build_ctx(r, role_conf(r), &f->ctx, err);
}

static int front_start(struct role *r, struct err *err)
{
	struct front *f = &front;
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}; /* NULL: the listener */

	f->listener = role_file(r, "listen:public");
	if (f->listener < 0)
		return err_set(err, E_NOTFOUND, "listen:public was not given");
	if (epoll_ctl(f->ep, EPOLL_CTL_ADD, f->listener, &ev) < 0)
		return err_sys(err, "watch the listener");
	f->accepting = true;
	return role_watch(r, f->ep, EPOLLIN, front_events, f);
}

static void set_accepting(struct front *f, bool on)
{
	struct epoll_event ev = {.events = on ? EPOLLIN : 0u, .data.ptr = NULL};

	if (f->accepting != on && epoll_ctl(f->ep, EPOLL_CTL_MOD, f->listener, &ev) == 0)
		f->accepting = on;
}

/* ---- who is connected, told to store and gate ---- */

static void tell_store(struct front *f, struct fconn *c)
{
	struct chan *ch = role_chan(f->role, R_STORE, CH_DATA);
	struct msg_PEER m = {.conn = c->id, .has_cert = c->has_cert, .addr = span_cstr(c->text)};

	memcpy(m.thumb, c->thumb, sizeof(m.thumb));
	c->told_store = ch && CH_SEND(ch, PEER, &m) == E_OK;
}

bool front_hand_over(struct front *f, struct fconn *c, int fd)
{
	struct chan *ch = role_chan(f->role, R_GATE, CH_DATA);
	struct msg_CONN m = {.conn = c->id, .addr = span_cstr(c->text)};

	tell_store(f, c); /* before CONN, so that store can join it; a silent store refuses later */
	c->told_gate = ch && CH_SEND_FD(ch, CONN, &m, fd) == E_OK;
	return c->told_gate;
}

void front_farewell(struct front *f, struct fconn *c)
{
	struct chan *gate = role_chan(f->role, R_GATE, CH_CTRL);
	struct chan *store = role_chan(f->role, R_STORE, CH_DATA);
	struct msg_GONE gone = {.conn = c->id};
	struct msg_PEERGONE peergone = {.conn = c->id};

	if (c->told_gate && gate)
		CH_SEND(gate, GONE, &gone);
	if (c->told_store && store)
		CH_SEND(store, PEERGONE, &peergone);
	c->told_gate = c->told_store = false;
}

static void front_peer(struct role *r, enum role_id peer, bool up)
{
	struct front *f = &front;
	struct fconn *c, *next;

	for (c = f->conns; c; c = next) {
		next = c->next;
		if (c->state != FC_OPEN)
			continue;
		if (peer == R_STORE)
			c->told_store = false;
		if (peer == R_STORE && up)
			tell_store(f, c); /* a new store knows nobody */
		if (peer == R_GATE && !up) {
			c->told_gate = false;
			front_close(f, c);
		}
	}
	front_reap(f);
}

/* ---- time ---- */

static bool overdue(const struct front *f, const struct fconn *c, uint64_t now)
{
	const struct conf *k = role_conf(f->role);
	uint64_t silence = now - c->last;

	if (c->state != FC_OPEN)
		return now >= c->deadline;
	if (c->pump->bytes_up == 0 || c->pump->down.n)
		return silence > k->idle_ms; /* never spoke, or does not read its answer */
	return silence > (uint64_t)k->request_ms + k->idle_ms; /* gate ends idle ones earlier */
}

static void front_tick(struct role *r, uint64_t now)
{
	struct front *f = &front;
	struct fconn *c, *next;

	for (c = f->conns; c; c = next) {
		next = c->next;
		if (overdue(f, c, now)) {
			front_close(f, c);
			continue;
		}
		if (c->state == FC_OPEN && !c->told_store && role_chan(r, R_STORE, CH_DATA))
			tell_store(f, c);
	}
	front_reap(f);
	if (!role_draining(r) && now >= f->accept_again)
		set_accepting(f, true);
	if (f->refused && now >= f->next_report) {
		log_ev(LOG_WARN_LV, "refused_connections", "count=%llu open=%u",
		       (unsigned long long)f->refused, f->n_conns);
		f->refused = 0;
		f->next_report = now + 1000;
	}
	if (role_draining(r) && (f->n_conns == 0 || now >= f->drain_until))
		role_drained(r, f->n_conns == 0);
	role_set_serving(r, !role_draining(r) && role_chan(r, R_GATE, CH_DATA) != NULL, 0);
}

void front_pause_accept(struct front *f)
{
	set_accepting(f, false);
	f->accept_again = clock_mono_ms() + 100;
}

/* No more requests will come: gate sees the end on every connection, answers what it has, and
 * closes; front leaves when all are gone. */
static void front_drain(struct role *r, uint64_t deadline_ms)
{
	struct front *f = &front;
	struct fconn *c, *next;

	set_accepting(f, false);
	f->drain_until = deadline_ms;
	for (c = f->conns; c; c = next) {
		next = c->next;
		if (c->state != FC_OPEN) {
			front_close(f, c);
			continue;
		}
		c->pump->up.eof = true;
		front_move(f, c);
	}
	front_reap(f);
}

/* ---- reload ---- */

static int front_conf_try(struct role *r, const struct conf *c, struct err *err)
{
	SSL_CTX *ctx = NULL;
	int rc = build_ctx(r, c, &ctx, err);

	if (rc == E_OK)
		SSL_CTX_free(ctx);
	return rc;
}

static void front_conf_commit(struct role *r, const struct conf *c)
{
	struct err err = {0};
	SSL_CTX *ctx = NULL;

	if (build_ctx(r, c, &ctx, &err) < 0) {
		log_ev(LOG_ERROR_LV, "tls_reload", "%s", err.text); /* the old one goes on */
		return;
	}
	SSL_CTX_free(front.ctx);
	front.ctx = ctx;
}

static void front_msg(struct role *r, struct chan *ch, struct msg_in *in)
{
	role_odd(r, chan_peer(ch), in->type, E_DENIED); /* nobody has anything to tell front */
}

const struct role_ops front_ops = {
    .id = R_FRONT,
    .tick_ms = 50,
    .prepare = front_prepare,
    .start = front_start,
    .msg = front_msg,
    .peer = front_peer,
    .tick = front_tick,
    .conf_try = front_conf_try,
    .conf_commit = front_conf_commit,
    .drain = front_drain,
};
