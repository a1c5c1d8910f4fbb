/* http_pump.c - the client's side of http.h: owns the descriptor, checks head and framing, feeds
 * libmicrohttpd through an inner pair of sockets, carries answers back, keeps the deadlines.
 * Refusals of its own are ONE whole answer, then the connection ends. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "http_priv.h"
#include "secret.h"

#define LINGER_MS 2000
#define TURN 64

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* ---- ending ---- */

void conn_bury(struct http_conn *c)
{
	struct http *h = c->h;

	mhd_forget(c);
	if (h->ops.closed)
		h->ops.closed(h->user, c->user);
	if (c->prev)
		c->prev->next = c->next;
	else
		h->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	h->n_conns--;
	c->next_dead = h->dead; /* events of this batch may still name it */
	h->dead = c;
}

static void close_inner(struct http_conn *c)
{
	if (c->in >= 0)
		close(c->in);
	c->in = -1;
}

/* The request is nobody's any more; libmicrohttpd is woken so that it lets go. */
static void drop_request(struct http_conn *c, bool aborted)
{
	struct http_req *q = c->q;

	c->q = NULL;
	if (q == NULL)
		return;
	req_over(q, aborted);
	mhd_wake(q);
	q->c = NULL;
}

void conn_end(struct http_conn *c)
{
	if (c->state == HS_DEAD)
		return;
	c->state = HS_DEAD;
	drop_request(c, true);
	close_inner(c);
	close(c->fd);
	c->fd = -1;
	c->h->mhd_work = true;
	sodium_memzero(c->up, sizeof(c->up));
	if (c->mc == NULL)
		conn_bury(c);
}

void conn_released(struct http_conn *c)
{
	c->mc = NULL;
	if (c->state == HS_DEAD)
		conn_bury(c);
}

void conn_finished(struct http_conn *c)
{
	c->finished = true;
}

/* ---- refusals of our own ---- */

static void refuse(struct http_conn *c, int status, enum reason code, enum strict_why why)
{
	struct reply_fault f = {.code = code, .status = status, .vietnamese = c->vietnamese};
	struct buf out = BUF_FIXED(c->down, sizeof(c->down));
	struct reply r;

	if (c->began) { /* an answer is under way: a second one would be a lie */
		conn_end(c);
		return;
	}
	f.detail = strict_text(why, c->vietnamese);
	if (status == 408)
		f.detail = c->vietnamese ? "Yêu cầu đến quá chậm."
					 : "The request took too long to arrive.";
	if (why == SW_LARGE)
		f.detail = NULL;
	if (c->h->ops.refused)
		c->h->ops.refused(c->h->user, code);
	drop_request(c, true);
	close_inner(c); /* nothing of libmicrohttpd's may follow */
	c->h->mhd_work = true;
	reply_error(&r, &c->id, &f);
	c->down_off = 0;
	reply_raw(&r, &out);
	c->down_n = out.n;
	reply_free(&r);
	c->state = HS_LAST;
	c->deadline = c->h->now + c->h->lim.idle_ms;
	sodium_memzero(c->up, sizeof(c->up));
	c->up_off = c->up_ok = c->up_n = 0;
}

static void refuse_head(struct http_conn *c, enum strict_why w)
{
	if (w == SW_LARGE)
		refuse(c, 413, RS_TOO_LARGE, w);
	else
		refuse(c, 400, RS_BAD_REQUEST, w);
}

/* ---- from the client ---- */

void conn_next(struct http_conn *c)
{
	c->state = HS_HEAD;
	c->began = c->finished = false;
	c->scan = 0;
	c->id = id_random();
	c->vietnamese = false;
	c->deadline = c->h->now + (c->up_n > c->up_off ? c->h->lim.head_ms : c->h->lim.idle_ms);
}

/* Keeps what handlers will ask for. */
static void take_head(struct http_conn *c, const struct strict_head *s)
{
	const char *end = memchr(s->target.p, '?', s->target.n);

	c->bearer = (struct bearer){0};
	if (s->has_auth)
		bearer_parse(s->auth, &c->bearer);
	memcpy(c->method, s->method.p, s->method.n);
	c->method[s->method.n] = '\0';
	c->path_n = end ? (size_t)(end - s->target.p) : s->target.n;
	if (c->path_n > sizeof(c->path))
		c->path_n = 0; /* longer than anything here: not found */
	memcpy(c->path, s->target.p, c->path_n);
	c->query_n = end ? s->target.n - (size_t)(end + 1 - s->target.p) : 0;
	if (c->query_n > sizeof(c->query))
		c->query_n = 0;
	memcpy(c->query, end ? end + 1 : "", c->query_n);
	c->vietnamese = s->vietnamese;
	c->last = s->close;
	c->since = c->h->now;
}

/* True while something was understood. */
static bool read_head(struct http_conn *c)
{
	struct span in = {c->up + c->up_off, c->up_n - c->up_off};
	struct strict_head s;
	enum strict_why w;
	size_t len = 0;

	if (in.n == 0)
		return false;
	if (c->scan == 0)
		c->deadline = c->h->now + c->h->lim.head_ms;
	w = strict_scan(in, &c->scan, &len);
	if (w == SW_MORE)
		return false;
	if (w == SW_OK)
		w = strict_head(span_of(in.p, len), &s);
	if (w == SW_OK && s.length > c->h->lim.max_body)
		w = SW_LARGE;
	if (w != SW_OK) {
		refuse_head(c, w);
		return false;
	}
	take_head(c, &s);
	strict_blank(c->up + c->up_off, len); /* libmicrohttpd gets no key, path or cookie */
	strict_body_init(&c->body, &s, c->h->lim.max_body);
	c->up_ok = c->up_off + len;
	c->state = HS_BODY;
	c->deadline = c->h->now + c->h->lim.body_ms;
	return true;
}

static bool read_body(struct http_conn *c)
{
	struct span in = {c->up + c->up_ok, c->up_n - c->up_ok};
	size_t used = 0;
	enum strict_why w = strict_body_feed(&c->body, in, &used);

	if (w != SW_OK && w != SW_MORE) {
		refuse_head(c, w);
		return false;
	}
	c->up_ok += used;
	if (w == SW_OK) {
		c->state = HS_WAIT;
		c->deadline = 0;
	}
	return w == SW_OK;
}

/* Looks at what came until there is nothing more to understand. */
static void understand(struct http_conn *c)
{
	bool on = true;

	while (on) {
		if (c->state == HS_HEAD)
			on = read_head(c);
		else if (c->state == HS_BODY)
			on = read_body(c);
		else
			on = false;
	}
	if (c->state == HS_WAIT && c->up_n > c->up_ok && !c->began)
		refuse_head(c, SW_EARLY);
}

/* Shall more be read? After the answer began, later bytes stay unread until it is out. */
static bool wants_bytes(const struct http_conn *c)
{
	if (c->eof || !c->fd_r || c->up_n == sizeof(c->up))
		return false;
	return c->state == HS_HEAD || c->state == HS_BODY || (c->state == HS_WAIT && !c->began);
}

static bool fill_up(struct http_conn *c)
{
	ssize_t n;

	if (c->up_off == c->up_n && (c->state != HS_WAIT || !c->began))
		c->up_off = c->up_ok = c->up_n = 0;
	if (c->up_off && c->up_n == sizeof(c->up)) {
		memmove(c->up, c->up + c->up_off, c->up_n - c->up_off);
		c->up_n -= c->up_off;
		c->up_ok -= c->up_off;
		c->up_off = 0;
		sodium_memzero(c->up + c->up_n, sizeof(c->up) - c->up_n);
	}
	if (!wants_bytes(c))
		return false;
	n = FAULT("http.recv")
		? -1
		: recv(c->fd, c->up + c->up_n, sizeof(c->up) - c->up_n, MSG_DONTWAIT);
	if (n < 0 && would_block()) {
		c->fd_r = errno == EINTR;
		return false;
	}
	if (n <= 0) {
		c->eof = true;
		if (n < 0)
			conn_end(c);
		return n == 0;
	}
	c->up_n += (size_t)n;
	c->moved = c->h->now;
	understand(c);
	return true;
}

/* Checked bytes go to libmicrohttpd. */
static bool drain_up(struct http_conn *c)
{
	ssize_t n;

	if (c->up_off == c->up_ok || !c->in_w || c->in < 0)
		return false;
	n = send(c->in, c->up + c->up_off, c->up_ok - c->up_off, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && would_block()) {
		c->in_w = errno == EINTR;
		return false;
	}
	if (n < 0) { /* it closed: its last answer may still lie there to be read */
		c->up_off = c->up_ok;
		return true;
	}
	sodium_memzero(c->up + c->up_off, (size_t)n);
	c->up_off += (size_t)n;
	c->h->mhd_work = true;
	return true;
}

/* ---- to the client ---- */

static bool fill_down(struct http_conn *c)
{
	ssize_t n;

	if (c->down_off < c->down_n || !c->in_r || c->in < 0)
		return false;
	n = recv(c->in, c->down, sizeof(c->down), MSG_DONTWAIT);
	if (n < 0 && would_block()) {
		c->in_r = errno == EINTR;
		return false;
	}
	if (n <= 0) { /* libmicrohttpd closed: that was the last answer */
		close_inner(c);
		c->state = HS_LAST;
		c->deadline = c->h->now + c->h->lim.idle_ms;
		return true;
	}
	c->down_off = 0;
	c->down_n = (size_t)n;
	if (c->state == HS_WAIT ||
	    !span_starts(span_of(c->down, c->down_n), SPAN_LIT("HTTP/1.1 100")))
		c->began = true;
	return true;
}

static bool drain_down(struct http_conn *c)
{
	ssize_t n;

	if (c->down_off == c->down_n || !c->fd_w)
		return false;
	n = FAULT("http.send") ? -1
			       : send(c->fd, c->down + c->down_off, c->down_n - c->down_off,
				      MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && would_block()) {
		c->fd_w = errno == EINTR;
		return false;
	}
	if (n < 0) {
		conn_end(c);
		return false;
	}
	c->down_off += (size_t)n;
	c->moved = c->h->now;
	return true;
}

/* All of our last bytes are out: say so, and give the client a moment to read them. */
static void say_goodbye(struct http_conn *c)
{
	shutdown(c->fd, SHUT_WR);
	c->state = HS_LINGER;
	c->deadline = c->h->now + LINGER_MS;
}

static void linger(struct http_conn *c)
{
	char junk[4096];
	ssize_t n = 1;

	for (int i = 0; i < 16 && n > 0; i++)
		n = recv(c->fd, junk, sizeof(junk), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && !would_block()))
		conn_end(c);
}

void conn_turn(struct http_conn *c)
{
	struct epoll_event ev = {.events = HTTP_EDGES, .data.ptr = &c->fd_ref};
	bool moved = true;

	for (int i = 0; i < TURN && moved && c->state != HS_DEAD && c->state != HS_LINGER; i++) {
		moved = fill_up(c);
		moved = (c->state != HS_DEAD && drain_up(c)) || moved;
		moved = (c->state != HS_DEAD && fill_down(c)) || moved;
		moved = (c->state != HS_DEAD && drain_down(c)) || moved;
		if (c->state == HS_LAST && c->down_off == c->down_n)
			say_goodbye(c);
		if (c->state == HS_WAIT && c->finished && c->in >= 0 && !c->in_r &&
		    c->down_off == c->down_n && c->up_off == c->up_ok) {
			conn_next(c);
			understand(c);
			moved = true;
		}
		if (c->eof && (c->state == HS_HEAD || c->state == HS_BODY))
			conn_end(c); /* nothing more will come, and nothing is owed */
	}
	if (c->state == HS_LINGER)
		linger(c);
	else if (moved && c->state != HS_DEAD) /* others first: arming again brings the edge back */
		epoll_ctl(c->h->ep, EPOLL_CTL_MOD, c->fd, &ev);
}

void conn_event(struct http_ref *ref, uint32_t ev)
{
	struct http_conn *c = ref->c;
	bool r = ev & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	bool w = ev & (EPOLLOUT | EPOLLHUP | EPOLLERR);

	if (c->state == HS_DEAD)
		return;
	if (ref->client && (ev & (EPOLLHUP | EPOLLERR))) {
		conn_end(c); /* both directions are closed: the client is gone */
		return;
	}
	if (ref->client) {
		c->fd_r |= r;
		c->fd_w |= w;
	} else {
		c->in_r |= r;
		c->in_w |= w;
	}
	conn_turn(c);
}

void conn_late(struct http_conn *c)
{
	if (c->state == HS_BODY || (c->state == HS_HEAD && c->up_n > c->up_off))
		refuse(c, 408, RS_BAD_REQUEST, SW_OK);
	else
		conn_end(c); /* idle, or does not take its last bytes */
}
