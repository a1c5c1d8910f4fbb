/* http_priv.h - shared by http_mhd.c (libmicrohttpd's side) and http_pump.c (the client's side). */
#ifndef SP_DAEMON_HTTP_PRIV_H
#define SP_DAEMON_HTTP_PRIV_H

#include <microhttpd.h>

#include "http.h"
#include "http_strict.h"

#define HTTP_EDGES (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define HTTP_BUF STRICT_HEAD_MAX
#define HTTP_PATH_MAX 256

enum http_state {
	HS_HEAD,   /* collecting a head */
	HS_BODY,   /* following its body */
	HS_WAIT,   /* the request is whole; answer not finished */
	HS_LAST,   /* our own last bytes, or libmicrohttpd's after it closed, are going out */
	HS_LINGER, /* all is out; waits a moment for the client to close */
	HS_DEAD,
};

struct http_conn;
struct http_ref { /* what epoll gives back; c NULL = libmicrohttpd's own set */
	struct http_conn *c;
	bool client;
};

struct http_conn {
	struct http *h;
	struct http_conn *prev, *next, *next_dead;
	struct http_ref fd_ref, in_ref;
	void *user;
	enum http_state state;
	int fd, in;		     /* towards the client; towards libmicrohttpd, -1 = closed */
	int mhd_fd;		     /* the other end of in: libmicrohttpd's */
	bool fd_r, fd_w, in_r, in_w; /* readiness as the last edge told it */
	bool eof;		     /* the client sends no more */
	bool began, finished;	     /* the answer's first byte was seen; its last was produced */
	bool last;		     /* close after this answer */
	struct MHD_Connection *mc;   /* NULL before and after libmicrohttpd has it */
	struct http_req *q;
	size_t up_off, up_ok, up_n; /* up: [off, ok) checked, [ok, n) not yet */
	size_t scan;
	struct strict_body body;
	size_t down_off, down_n;
	uint64_t deadline, moved; /* monotonic ms; deadline 0 = none */
	/* of the current head */
	char method[STRICT_METHOD_MAX + 1], path[HTTP_PATH_MAX], query[HTTP_PATH_MAX];
	size_t path_n, query_n;
	struct bearer bearer;
	struct id id;
	bool vietnamese;
	uint64_t since;
	char up[HTTP_BUF], down[HTTP_BUF];
};

struct http_req {
	struct http_conn *c; /* NULL once the connection is gone */
	void *user;
	struct buf body, out;
	bool told; /* ops->request was called */
	bool over; /* ops->done was called */
	bool suspended, queued, streaming, ended;
	uint64_t taken;
	struct MHD_Response *resp;
	int status;
};

struct http {
	struct http_limits lim;
	struct http_ops ops;
	void *user;
	struct MHD_Daemon *mhd;
	int ep, mhd_ep, kick;
	struct http_conn *conns, *dead;
	struct http_conn **by_fd; /* libmicrohttpd's end -> connection, until it says STARTED */
	size_t n_by_fd;
	unsigned n_conns;
	bool mhd_work, draining;
	uint64_t now;
};

/* http_mhd.c */
int mhd_start(struct http *h, struct err *err);
void mhd_stop(struct http *h);
void mhd_run(struct http *h);		   /* runs libmicrohttpd until it has nothing to do */
bool mhd_add(struct http_conn *c, int fd); /* takes fd */
void mhd_forget(struct http_conn *c);
void mhd_wake(struct http_req *q);		 /* something new for a suspended request */
void req_over(struct http_req *q, bool aborted); /* tells ops->done, once */

/* http_server.c */
void http_kick(struct http *h); /* libmicrohttpd has work: the loop shall come back */

/* http_pump.c */
void conn_finished(struct http_conn *c); /* libmicrohttpd produced the answer's last byte */
void conn_event(struct http_ref *ref, uint32_t events); /* edges of one descriptor */
void conn_turn(struct http_conn *c);			/* moves what can be moved */
void conn_next(struct http_conn *c);			/* ready for a next request */
void conn_late(struct http_conn *c);			/* its deadline has passed */
void conn_bury(struct http_conn *c);	 /* out of all lists; freed after the batch */
void conn_released(struct http_conn *c); /* libmicrohttpd has let go of its end */
void conn_end(struct http_conn *c);	 /* closes both sides now */

#endif
