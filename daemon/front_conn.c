/* front_conn.c - one connection of front from accept to close. See front.h. */
#include "front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "log.h"

#define LINGER_MS 2000
#define INNER_BUFFER (32 * 1024)
#define TCP_BUFFER                                                                                 \
	(128 * 1024) /* what a client that does not read can hold of the kernel's memory */
#define EDGES (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* ---- addresses and limits ---- */

static void addr_key(const struct sockaddr_storage *ss, uint8_t key[16], char text[64])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)ss;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)ss;

	memset(key, 0, 16);
	text[0] = '\0';
	if (ss->ss_family == AF_INET) {
		memcpy(key + 12, &v4->sin_addr, 4);
		inet_ntop(AF_INET, &v4->sin_addr, text, 64);
	} else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		memcpy(key + 12, v6->sin6_addr.s6_addr + 12, 4);
		inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, 64);
	} else if (ss->ss_family == AF_INET6) {
		memcpy(key, &v6->sin6_addr, 8); /* one household or host has a /64 */
		inet_ntop(AF_INET6, &v6->sin6_addr, text, 64);
	}
}

static struct faddr *addr_get(struct front *f, const uint8_t key[16])
{
	struct faddr *a = NULL;

	HASH_FIND(hh, f->addrs, key, 16, a);
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return NULL;
	memcpy(a->key, key, 16);
	HASH_ADD(hh, f->addrs, key, 16, a);
	return a;
}

static void addr_put(struct front *f, struct faddr *a)
{
	if (a->count == 0) {
		HASH_DEL(f->addrs, a);
		free(a);
	}
}

static struct fconn *conn_new(struct front *f, int tcp, const struct sockaddr_storage *ss)
{
	const struct conf *k = role_conf(f->role);
	struct fconn *c = calloc(1, sizeof(*c));
	uint8_t key[16];

	if (c == NULL)
		return NULL;
	addr_key(ss, key, c->text);
	c->addr = addr_get(f, key);
	if (c->addr == NULL || f->n_conns >= k->max_connections ||
	    c->addr->count >= k->max_per_address) {
		if (c->addr)
			addr_put(f, c->addr);
		free(c);
		return NULL;
	}
	c->addr->count++;
	c->tcp = tcp;
	c->inner = -1;
	c->tcp_ref = (struct fref){c, true};
	c->inner_ref = (struct fref){c, false};
	c->last = clock_mono_ms();
	c->deadline = c->last + k->handshake_ms;
	c->next = f->conns;
	if (f->conns)
		f->conns->prev = c;
	f->conns = c;
	f->n_conns++;
	return c;
}

void front_close(struct front *f, struct fconn *c)
{
	if (c->state == FC_DEAD)
		return;
	c->state = FC_DEAD;
	front_farewell(f, c);
	SSL_free(c->ssl); /* NULL ok */
	c->ssl = NULL;
	close(c->tcp);
	if (c->inner >= 0)
		close(c->inner);
	free(c->pump);
	c->pump = NULL;
	if (c->prev)
		c->prev->next = c->next;
	else
		f->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->addr->count--;
	addr_put(f, c->addr);
	f->n_conns--;
	c->next_dead = f->dead;
	f->dead = c;
}

void front_reap(struct front *f)
{
	struct fconn *c;

	while ((c = f->dead)) {
		f->dead = c->next_dead;
		free(c);
	}
}

/* ---- accept ---- */

static void take(struct front *f, int tcp, const struct sockaddr_storage *ss)
{
	struct fconn *c = conn_new(f, tcp, ss);
	struct epoll_event ev = {.events = EDGES};
	int on = 1, size = TCP_BUFFER;

	if (c == NULL) {
		f->refused++;
		close(tcp);
		return;
	}
	setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(tcp, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	ev.data.ptr = &c->tcp_ref;
	if (FAULT("front.epoll") || epoll_ctl(f->ep, EPOLL_CTL_ADD, tcp, &ev) < 0)
		front_close(f, c);
}

static void accept_some(struct front *f)
{
	struct sockaddr_storage ss;

	for (int i = 0; i < 64 && f->accepting; i++) {
		socklen_t n = sizeof(ss);
		int tcp = FAULT("front.accept") ? -1
						: accept4(f->listener, (struct sockaddr *)&ss, &n,
							  SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (tcp >= 0) {
			take(f, tcp, &ss);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_ev(LOG_WARN_LV, "accept", "errno=%d", errno);
			front_pause_accept(f);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* ---- the first bytes ---- */

static void linger(struct fconn *c)
{
	c->state = FC_LINGER;
	c->deadline = clock_mono_ms() + LINGER_MS;
}

/* Somebody speaks plain HTTP to the TLS port: one whole answer that says so. */
static void answer_plain(struct fconn *c)
{
	static const char body[] =
	    "{\"error\":{\"message\":\"This port speaks TLS. Use https:// instead of http:// in "
	    "the address.\",\"type\":\"invalid_request_error\",\"param\":null,"
	    "\"code\":\"tls_required\"}}\n";
	char text[768], req[ID_TEXT_MAX];
	struct id id = id_random();
	int n;

	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
		     "Content-Length: %zu\r\nConnection: close\r\nCache-Control: no-store\r\n"
		     "x-request-id: %s\r\n\r\n%s",
		     sizeof(body) - 1, id_fmt("req", &id, req), body);
	if (send(c->tcp, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return; /* gone already; the deadline closes it */
	shutdown(c->tcp, SHUT_WR);
}

static void sniff(struct front *f, struct fconn *c)
{
	uint8_t first;
	ssize_t n = recv(c->tcp, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n <= 0) {
		front_close(f, c);
	} else if (first == 0x16) { /* TLS handshake record */
		ERR_clear_error();
		c->ssl = FAULT("front.ssl") ? NULL : SSL_new(f->ctx);
		if (c->ssl == NULL || SSL_set_fd(c->ssl, c->tcp) != 1) {
			front_close(f, c);
			return;
		}
		SSL_set_accept_state(c->ssl);
		c->state = FC_SHAKE;
	} else if (first >= 'A' && first <= 'Z') {
		answer_plain(c);
		linger(c);
	} else {
		front_close(f, c);
	}
}

static void swallow(struct front *f, struct fconn *c)
{
	char junk[4096];
	ssize_t n;

	for (int i = 0; i < 64; i++) {
		n = recv(c->tcp, junk, sizeof(junk), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			front_close(f, c);
			return;
		}
	}
	front_close(f, c); /* it goes on talking: enough */
}

/* The handshake is done: join the client with gate by a pair of sockets. */
static void open_up(struct front *f, struct fconn *c)
{
	struct epoll_event ev = {.events = EDGES, .data.ptr = &c->inner_ref};
	int pair[2], size = INNER_BUFFER;
	bool ok;

	c->pump = malloc(sizeof(*c->pump));
	if (c->pump == NULL || FAULT("front.pair") ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		front_close(f, c);
		return;
	}
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	c->inner = pair[0];
	c->id = id_random();
	c->has_cert = tls_thumbprint(c->ssl, c->thumb);
	pump_init(c->pump, c->ssl, c->tcp, c->inner);
	c->state = FC_OPEN;
	c->last = clock_mono_ms();
	ok = epoll_ctl(f->ep, EPOLL_CTL_ADD, c->inner, &ev) == 0 && front_hand_over(f, c, pair[1]);
	close(pair[1]);
	if (!ok)
		front_close(f, c);
}

static void shake(struct front *f, struct fconn *c)
{
	int rc, why;

	ERR_clear_error();
	rc = SSL_do_handshake(c->ssl);
	if (rc == 1) {
		open_up(f, c);
		return;
	}
	why = SSL_get_error(c->ssl, rc);
	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
		front_close(f, c);
}

void front_move(struct front *f, struct fconn *c)
{
	uint64_t before = c->pump->bytes_up + c->pump->bytes_down;
	struct epoll_event ev = {.events = EDGES};
	enum pump_end end = pump_run(c->pump);

	if (c->pump->bytes_up + c->pump->bytes_down != before)
		c->last = clock_mono_ms();
	switch (end) {
	case PUMP_ON:
		return;
	case PUMP_MORE: /* arming again makes the edge come back */
		ev.data.ptr = &c->tcp_ref;
		epoll_ctl(f->ep, EPOLL_CTL_MOD, c->tcp, &ev);
		return;
	case PUMP_SHUT:
		if (c->state == FC_OPEN) {
			front_farewell(f, c);
			linger(c);
		}
		return;
	case PUMP_GONE:
		front_close(f, c);
	}
}

static void conn_event(struct front *f, struct fref *ref, uint32_t ev)
{
	struct fconn *c = ref->c;

	if (c->state == FC_SNIFF)
		sniff(f, c);
	if (c->state == FC_SHAKE)
		shake(f, c);
	if (c->pump && c->state != FC_DEAD) {
		pump_edge(c->pump, ref->tcp, ev);
		front_move(f, c);
	} else if (c->state == FC_LINGER) {
		swallow(f, c);
	}
}

void front_events(void *arg, uint32_t events)
{
	struct front *f = arg;
	struct epoll_event ev[128];
	int n = epoll_wait(f->ep, ev, 128, 0);

	for (int i = 0; i < n; i++) {
		struct fref *ref = ev[i].data.ptr;

		if (ref == NULL)
			accept_some(f);
		else if (ref->c->state != FC_DEAD)
			conn_event(f, ref, ev[i].events);
	}
	front_reap(f);
}
