/* http.h - an HTTP/1.1 server on descriptors that somebody else accepted. The boundary to
 * libmicrohttpd: nothing outside http_mhd.c knows it. Every byte passes the strict check
 * (http_strict.h) before libmicrohttpd sees it.
 *
 * Threads: none of its own; everything runs in the caller's loop thread, so there are no locks.
 * libmicrohttpd runs in its external epoll mode, its descriptor inside ours. */
#ifndef SP_DAEMON_HTTP_H
#define SP_DAEMON_HTTP_H

#include "bearer.h"
#include "err.h"
#include "id.h"
#include "reply.h"
#include "span.h"

struct http;
struct http_conn; /* one client connection */
struct http_req;  /* one whole request with its body; lives until ops->done returns */

struct http_limits {
	uint32_t head_ms, body_ms, idle_ms; /* deadlines; a late head or body is answered 408 */
	uint64_t max_body;		    /* bytes; more is answered 413 */
	unsigned max_conns;
};

struct http_ops {
	/* A whole request is here. Answer now or later: http_answer or http_stream, once. */
	void (*request)(void *user, struct http_req *q);
	/* The request is over: answered in full, or the client is gone (aborted). Forget q. */
	void (*done)(void *user, struct http_req *q, bool aborted);
	/* Of a stream, `total` bytes put so far were taken towards the client. NULL ok. */
	void (*taken)(void *user, struct http_req *q, uint64_t total);
	/* The connection ended and conn_user (NULL after a failed http_add) can go; its
	 * descriptor is closed. NULL ok. */
	void (*closed)(void *user, void *conn_user);
	/* A refusal (enum reason) given before any handler saw the request. NULL ok. */
	void (*refused)(void *user, unsigned reason);
};

/* Gives *out. ops and lim are copied. */
int http_new(const struct http_limits *lim, const struct http_ops *ops, void *user,
	     struct http **out, struct err *err);
void http_free(struct http *h);	   /* ends all connections; NULL ok */
int http_fd(const struct http *h); /* level-triggered: readable when http_run has work */
void http_run(struct http *h);	   /* never blocks */
void http_tick(struct http *h, uint64_t now_ms); /* deadlines; every 50 to 250 ms */
void http_set_limits(struct http *h, const struct http_limits *lim); /* from now on */
void http_drain(struct http *h); /* from now on each answer is a connection's last */
unsigned http_conns(const struct http *h);

/* Takes fd (a connected stream socket). NULL: no room, fd is closed. */
struct http_conn *http_add(struct http *h, int fd, void *conn_user);
void http_gone(struct http_conn *c); /* its client is gone: ends at once; done and closed follow */

struct span http_method(const struct http_req *q);
struct span http_path(const struct http_req *q);  /* without query */
struct span http_query(const struct http_req *q); /* behind the '?', at most 255 bytes; raw */
struct span http_body(const struct http_req *q);
const struct bearer *http_bearer(const struct http_req *q); /* the secret was wiped before */
bool http_vietnamese(const struct http_req *q);
const struct id *http_id(const struct http_req *q); /* request id */
uint64_t http_since(const struct http_req *q);	    /* monotonic ms when the head was whole */
void *http_conn_user(const struct http_req *q);
void *http_user(const struct http_req *q);
void http_set_user(struct http_req *q, void *user);

/* Whole answer. Takes r's body; r may be reused. A second answer is ignored. */
void http_answer(struct http_req *q, struct reply *r);
/* Starts a stream with r's status and headers. Bytes put before the loop runs on travel with the
 * head in one write. */
void http_stream(struct http_req *q, struct reply *r);
/* Queues bytes; E_BUSY beyond 4 MiB not yet taken. */
int http_stream_put(struct http_req *q, struct span s);
void http_stream_end(struct http_req *q);

/* Raises this process's soft limit of descriptors to n when the hard limit lets it, else logs.
 * Before the sandbox; gate needs three a connection, front two. */
void edge_want_fds(unsigned n);

#endif
