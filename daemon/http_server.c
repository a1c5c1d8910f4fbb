/* http_server.c - the outside of http.h: connections come, the loop turns, time passes, and what
 * handlers may ask of a request. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "http_priv.h"
#include "log.h"

#define INNER_BUFFER (32 * 1024)

int http_new(const struct http_limits *lim, const struct http_ops *ops, void *user,
	     struct http **out, struct err *err)
{
	struct http *h = calloc(1, sizeof(*h));
	struct epoll_event ev = {.events = EPOLLIN};
	int rc;

	if (h == NULL)
		return err_set(err, E_NOMEM, "no memory");
	h->lim = *lim;
	h->ops = *ops;
	h->user = user;
	h->now = clock_mono_ms();
	h->ep = epoll_create1(EPOLL_CLOEXEC);
	h->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = h->ep < 0 || h->kick < 0 ? err_sys(err, "epoll") : mhd_start(h, err);
	if (rc == E_OK && (epoll_ctl(h->ep, EPOLL_CTL_ADD, h->kick, &ev) < 0 ||
			   epoll_ctl(h->ep, EPOLL_CTL_ADD, h->mhd_ep, &ev) < 0))
		rc = err_sys(err, "epoll");
	if (rc < 0) {
		http_free(h);
		return rc;
	}
	*out = h;
	return E_OK;
}

static void reap(struct http *h)
{
	struct http_conn *c;

	while ((c = h->dead)) {
		h->dead = c->next_dead;
		free(c);
	}
}

void http_free(struct http *h)
{
	struct http_conn *c, *next;

	if (h == NULL)
		return;
	for (c = h->conns; c; c = next) {
		next = c->next;
		conn_end(c);
	}
	if (h->mhd)
		mhd_run(h); /* all are resumed by now: stopping with a suspended one would panic */
	mhd_stop(h);
	free(h->by_fd);
	reap(h);
	if (h->ep >= 0)
		close(h->ep);
	if (h->kick >= 0)
		close(h->kick);
	free(h);
}

struct http_conn *http_add(struct http *h, int fd, void *conn_user)
{
	struct http_conn *c = h->n_conns < h->lim.max_conns ? calloc(1, sizeof(*c)) : NULL;
	struct epoll_event ev = {.events = HTTP_EDGES};
	int pair[2], size = INNER_BUFFER;

	if (c == NULL || FAULT("http.pair") ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		free(c);
		close(fd);
		return NULL;
	}
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*c = (struct http_conn){.h = h, .user = conn_user, .fd = fd, .in = pair[0]};
	c->fd_ref = (struct http_ref){c, true};
	c->in_ref = (struct http_ref){c, false};
	c->fd_r = c->fd_w = c->in_r = c->in_w = true;
	h->now = clock_mono_ms();
	c->moved = h->now;
	conn_next(c);
	if (!mhd_add(c, pair[1])) {
		close(pair[0]);
		close(fd);
		free(c);
		return NULL;
	}
	c->next = h->conns;
	if (h->conns)
		h->conns->prev = c;
	h->conns = c;
	h->n_conns++;
	ev.data.ptr = &c->fd_ref;
	if (epoll_ctl(h->ep, EPOLL_CTL_ADD, fd, &ev) == 0) {
		ev.data.ptr = &c->in_ref;
		if (epoll_ctl(h->ep, EPOLL_CTL_ADD, c->in, &ev) == 0)
			return c;
	}
	c->user = NULL; /* the caller's again */
	conn_end(c);
	return NULL;
}

void http_kick(struct http *h)
{
	if (!h->mhd_work)
		eventfd_write(h->kick, 1);
	h->mhd_work = true;
}

void http_gone(struct http_conn *c)
{
	http_kick(c->h);
	conn_end(c);
}

void http_run(struct http *h)
{
	struct epoll_event ev[128];
	eventfd_t kicks;
	int n;

	h->now = clock_mono_ms();
	for (int round = 0; round < 16; round++) {
		n = epoll_wait(h->ep, ev, 128, 0);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr)
				conn_event(ev[i].data.ptr, ev[i].events);
			else
				h->mhd_work = true;
		}
		eventfd_read(h->kick, &kicks);
		if (!h->mhd_work && n <= 0)
			break;
		if (h->mhd_work)
			mhd_run(h);
	}
	if (h->mhd_work)
		eventfd_write(h->kick, 1);
	reap(h);
}

void http_tick(struct http *h, uint64_t now)
{
	struct http_conn *c, *next;

	h->now = now;
	for (c = h->conns; c; c = next) {
		next = c->next;
		if (c->state == HS_DEAD)
			continue;
		if (c->deadline && now >= c->deadline)
			conn_late(c);
		else if (c->down_off < c->down_n && now > c->moved + h->lim.idle_ms)
			conn_end(c); /* does not read its answer */
		else if (h->draining && c->state == HS_HEAD && c->up_n == c->up_off)
			conn_end(c);
		if (c->state != HS_DEAD)
			conn_turn(c);
	}
	http_run(h);
}

void http_set_limits(struct http *h, const struct http_limits *lim)
{
	unsigned max = h->lim.max_conns; /* libmicrohttpd keeps its own */

	h->lim = *lim;
	h->lim.max_conns = max;
}

void http_drain(struct http *h)
{
	h->draining = true;
}

unsigned http_conns(const struct http *h)
{
	return h->n_conns;
}

int http_fd(const struct http *h)
{
	return h->ep;
}

void edge_want_fds(unsigned n)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur >= n)
		return;
	lim.rlim_cur = n < lim.rlim_max ? n : lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur < n)
		log_ev(LOG_WARN_LV, "few_descriptors", "want=%u have=%llu", n,
		       (unsigned long long)lim.rlim_cur);
}

/* ---- what handlers may ask ---- */

struct span http_method(const struct http_req *q)
{
	return span_cstr(q->c->method);
}

struct span http_path(const struct http_req *q)
{
	return span_of(q->c->path, q->c->path_n);
}

struct span http_query(const struct http_req *q)
{
	return span_of(q->c->query, q->c->query_n);
}

struct span http_body(const struct http_req *q)
{
	return buf_span(&q->body);
}

const struct bearer *http_bearer(const struct http_req *q)
{
	return &q->c->bearer;
}

bool http_vietnamese(const struct http_req *q)
{
	return q->c->vietnamese;
}

const struct id *http_id(const struct http_req *q)
{
	return &q->c->id;
}

uint64_t http_since(const struct http_req *q)
{
	return q->c->since;
}

void *http_conn_user(const struct http_req *q)
{
	return q->c->user;
}

void *http_user(const struct http_req *q)
{
	return q->user;
}

void http_set_user(struct http_req *q, void *user)
{
	q->user = user;
}
