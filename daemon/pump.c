/* pump.c - see pump.h. */
#include "pump.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"

#define TURN 32 /* buffers one connection may move before others get a turn */

void pump_init(struct pump *p, SSL *ssl, int tcp, int inner)
{
	memset(p, 0, offsetof(struct pump, up));
	p->up.off = p->up.n = p->down.off = p->down.n = 0;
	p->up.eof = p->up.shut = p->down.eof = p->down.shut = false;
	p->ssl = ssl;
	p->tcp = tcp;
	p->inner = inner;
	p->tcp_r = p->tcp_w = p->in_r = p->in_w = true;
}

void pump_edge(struct pump *p, bool tcp, uint32_t ev)
{
	bool r = ev & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	bool w = ev & (EPOLLOUT | EPOLLHUP | EPOLLERR);

	if (tcp) {
		p->fin |= (ev & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
		p->tcp_r |= r;
		p->tcp_w |= w;
	} else {
		p->in_r |= r;
		p->in_w |= w;
	}
}

/* After a failed TLS call: false = the connection is broken. */
static bool tls_waits(struct pump *p, int rc)
{
	switch (SSL_get_error(p->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		p->tcp_r = false;
		return true;
	case SSL_ERROR_WANT_WRITE:
		p->tcp_w = false;
		return true;
	case SSL_ERROR_ZERO_RETURN:
		p->up.eof = true;
		return true;
	default:
		return false;
	}
}

static bool fill_up(struct pump *p, bool *moved)
{
	int n;

	if (p->up.n || p->up.eof || !p->tcp_r)
		return true;
	ERR_clear_error();
	n = FAULT("pump.ssl_read") ? -1 : SSL_read(p->ssl, p->up.mem, PUMP_BYTES);
	if (n <= 0)
		return tls_waits(p, n);
	p->up.off = 0;
	p->up.n = (size_t)n;
	p->bytes_up += (uint64_t)n;
	*moved = true;
	return true;
}

static void drain_up(struct pump *p, bool *moved)
{
	ssize_t n;

	while (p->up.n && (p->in_w || p->down.eof)) {
		if (p->down.eof) { /* gate has closed: nobody reads this any more */
			p->up.n = 0;
			break;
		}
		n = FAULT("pump.send") ? -1
				       : send(p->inner, p->up.mem + p->up.off, p->up.n - p->up.off,
					      MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			p->in_w = false;
			return;
		}
		if (n < 0 && errno == EINTR)
			continue;
		*moved = true;
		p->up.off += n < 0 ? p->up.n - p->up.off : (size_t)n;
		if (p->up.off == p->up.n)
			p->up.off = p->up.n = 0;
	}
	if (p->up.eof && p->up.n == 0 && !p->up.shut) {
		p->up.shut = true;
		shutdown(p->inner, SHUT_WR);
	}
}

static void fill_down(struct pump *p, bool *moved)
{
	ssize_t n;

	if (p->down.n || p->down.eof || !p->in_r)
		return;
	n = FAULT("pump.recv") ? -1 : recv(p->inner, p->down.mem, PUMP_BYTES, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
		p->in_r = errno == EINTR;
		return;
	}
	*moved = true;
	if (n <= 0) {
		p->down.eof = true;
		return;
	}
	p->down.off = 0;
	p->down.n = (size_t)n;
}

static bool drain_down(struct pump *p, bool *moved)
{
	int n;

	while (p->down.n && p->tcp_w) {
		ERR_clear_error();
		n = FAULT("pump.ssl_write") ? -1
					    : SSL_write(p->ssl, p->down.mem + p->down.off,
							(int)(p->down.n - p->down.off));
		if (n <= 0)
			return tls_waits(p, n);
		*moved = true;
		p->bytes_down += (uint64_t)n;
		p->down.off += (size_t)n;
		if (p->down.off == p->down.n)
			p->down.off = p->down.n = 0;
	}
	if (p->down.eof && p->down.n == 0 && !p->down.shut) {
		p->down.shut = true;
		ERR_clear_error();
		SSL_shutdown(p->ssl); /* close_notify; the client need not answer it */
		shutdown(p->tcp, SHUT_WR);
	}
	return true;
}

enum pump_end pump_run(struct pump *p)
{
	bool moved = !p->fin;

	if (p->fin)
		return PUMP_GONE;
	for (int i = 0; moved && i < TURN; i++) {
		moved = false;
		if (!fill_up(p, &moved))
			return PUMP_GONE;
		drain_up(p, &moved);
		fill_down(p, &moved);
		if (!drain_down(p, &moved))
			return PUMP_GONE;
	}
	if (p->down.shut)
		return p->up.eof ? PUMP_GONE : PUMP_SHUT;
	return moved ? PUMP_MORE : PUMP_ON;
}
