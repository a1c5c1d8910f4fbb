/* http_mhd.c - libmicrohttpd's side of http.h: request bodies in, answers out, suspension while an
 * answer is not there yet. All its callbacks run inside mhd_run(). */
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "http_priv.h"
#include "log.h"

#define POOL_BYTES (64 * 1024) /* a head of 16 KiB, its 100 fields and the answer's head */
#define OUT_MAX (4u << 20)
#define BLOCK 16384

void req_over(struct http_req *q, bool aborted)
{
	struct http *h = q->c ? q->c->h : NULL;

	if (q->over || h == NULL)
		return;
	q->over = true;
	if (q->told)
		h->ops.done(h->user, q, aborted);
	q->user = NULL;
}

static void req_free(struct http_req *q)
{
	buf_wipe_free(&q->body);
	buf_wipe_free(&q->out);
	if (q->resp)
		MHD_destroy_response(q->resp);
	free(q);
}

void mhd_wake(struct http_req *q)
{
	struct http_conn *c = q->c;

	if (c == NULL || c->mc == NULL || !q->suspended)
		return;
	q->suspended = false;
	MHD_resume_connection(c->mc);
	http_kick(c->h);
}

static void req_suspend(struct http_req *q)
{
	if (!q->suspended && q->c && q->c->mc) {
		q->suspended = true;
		MHD_suspend_connection(q->c->mc);
	}
}

/* ---- callbacks ---- */

static struct http_req *req_new(struct http_conn *c)
{
	struct http_req *q = FAULT("http.req") ? NULL : calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->c = c;
	q->body = BUF_INIT((size_t)c->body.max);
	q->out = BUF_INIT(OUT_MAX);
	c->q = q;
	return q;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mc, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *n, void **slot)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(mc, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_conn *c = info ? info->socket_context : NULL;
	struct http_req *q = *slot;

	if (c == NULL || c->state == HS_DEAD)
		return MHD_NO;
	if (q == NULL) {
		*slot = req_new(c);
		return *slot ? MHD_YES : MHD_NO;
	}
	if (q->over)
		return MHD_NO;
	if (*n) {
		buf_put(&q->body, data, *n);
		*n = 0;
		return buf_ok(&q->body) ? MHD_YES : MHD_NO;
	}
	if (!q->told) {
		q->told = true;
		c->h->ops.request(c->h->user, q);
	}
	if (q->resp == NULL) {
		req_suspend(q);
		return MHD_YES;
	}
	if (q->queued)
		return MHD_YES;
	q->queued = true;
	return MHD_queue_response(mc, (unsigned)q->status, q->resp);
}

static void on_completed(void *cls, struct MHD_Connection *mc, void **slot,
			 enum MHD_RequestTerminationCode code)
{
	struct http_req *q = *slot;
	struct http_conn *c = q ? q->c : NULL;

	*slot = NULL;
	if (q == NULL)
		return;
	req_over(q, code != MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (c) {
		c->q = NULL;
		conn_finished(c);
	}
	req_free(q);
}

static void on_connection(void *cls, struct MHD_Connection *mc, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct http *h = cls;
	struct http_conn *c = *context;

	if (code != MHD_CONNECTION_NOTIFY_STARTED) {
		*context = NULL;
		if (c)
			conn_released(c);
		return;
	}
	info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info == NULL || info->connect_fd < 0 || (size_t)info->connect_fd >= h->n_by_fd)
		return;
	c = h->by_fd[info->connect_fd];
	h->by_fd[info->connect_fd] = NULL;
	*context = c;
	if (c)
		c->mc = mc;
}

/* Answers larger than the inner socket and all streams are pulled from here. */
static ssize_t on_pull(void *cls, uint64_t pos, char *mem, size_t max)
{
	struct http_req *q = cls;
	size_t n = q->out.n < max ? q->out.n : max;

	if (q->over || !buf_ok(&q->out))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n == 0 && q->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n == 0) {
		req_suspend(q);
		return 0;
	}
	memcpy(mem, q->out.p, n);
	buf_consume(&q->out, n);
	q->taken += n;
	if (q->c && q->c->h->ops.taken)
		q->c->h->ops.taken(q->c->h->user, q, q->taken);
	return (ssize_t)n;
}

/* ---- answers ---- */

static void put_headers(struct http_req *q, const struct reply *r)
{
	for (unsigned i = 0; i < r->n_headers; i++)
		MHD_add_response_header(q->resp, r->header[i].name, r->header[i].value);
	if (q->c && (q->c->last || q->c->h->draining)) {
		q->c->last = true;
		MHD_add_response_header(q->resp, "Connection", "close");
	}
	q->status = r->status;
}

static void start_answer(struct http_req *q, struct reply *r, struct MHD_Response *resp)
{
	if (resp == NULL) {
		log_ev(LOG_WARN_LV, "answer", "no memory");
		if (q->c)
			conn_end(q->c);
		return;
	}
	q->resp = resp;
	put_headers(q, r);
	mhd_wake(q);
}

void http_answer(struct http_req *q, struct reply *r)
{
	struct MHD_Response *resp = NULL;

	if (q->over || q->resp || q->c == NULL) {
		reply_free(r);
		return;
	}
	if (buf_ok(&r->body) && !FAULT("http.answer"))
		resp = MHD_create_response_from_buffer(
		    r->body.n, r->body.n ? r->body.p : (char *)"", MHD_RESPMEM_MUST_COPY);
	start_answer(q, r, resp);
	reply_free(r);
}

void http_stream(struct http_req *q, struct reply *r)
{
	struct MHD_Response *resp;

	if (q->over || q->resp || q->c == NULL) {
		reply_free(r);
		return;
	}
	q->streaming = true;
	resp = FAULT("http.stream")
		   ? NULL
		   : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, on_pull, q, NULL);
	start_answer(q, r, resp);
	reply_free(r);
}

int http_stream_put(struct http_req *q, struct span s)
{
	if (q->over || q->ended)
		return E_CLOSED;
	if (q->out.n + s.n > OUT_MAX)
		return E_BUSY;
	buf_span_put(&q->out, s);
	mhd_wake(q);
	return buf_ok(&q->out) ? E_OK : E_NOMEM;
}

void http_stream_end(struct http_req *q)
{
	q->ended = true;
	mhd_wake(q);
}

/* ---- the daemon ---- */

int mhd_start(struct http *h, struct err *err)
{
	const union MHD_DaemonInfo *info;

	/* without MHD_USE_ERROR_LOG: its messages can quote what a client sent */
	h->mhd = FAULT("http.start")
		     ? NULL
		     : MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
					    MHD_ALLOW_SUSPEND_RESUME,
					0, NULL, NULL, on_request, h, MHD_OPTION_NOTIFY_COMPLETED,
					on_completed, h, MHD_OPTION_NOTIFY_CONNECTION,
					on_connection, h, MHD_OPTION_CONNECTION_LIMIT,
					h->lim.max_conns, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
					(size_t)POOL_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
					MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (h->mhd == NULL)
		return err_set(err, E_IO, "libmicrohttpd does not start");
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		return err_set(err, E_UNSUPPORTED, "libmicrohttpd has no epoll here");
	h->mhd_ep = info->epoll_fd;
	return E_OK;
}

void mhd_stop(struct http *h)
{
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	h->mhd = NULL;
}

/* Several rounds, so that a head and the first bytes behind it are both out before they are
 * carried on: one write to the client. */
void mhd_run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 1;

	h->mhd_work = false;
	for (int i = 0; i < 8; i++) {
		MHD_run(h->mhd);
		if (MHD_get_timeout(h->mhd, &ms) != MHD_YES || ms > 0)
			return;
	}
	h->mhd_work = true;
}

/* Newer versions start a connection later, in MHD_run: so it is found by its descriptor. */
static bool note_fd(struct http *h, int fd, struct http_conn *c)
{
	size_t n = h->n_by_fd ? h->n_by_fd : 64;
	struct http_conn **more;

	while (n <= (size_t)fd)
		n *= 2;
	if (n != h->n_by_fd) {
		more = FAULT("http.table") ? NULL : realloc(h->by_fd, n * sizeof(*more));
		if (more == NULL)
			return false;
		memset(more + h->n_by_fd, 0, (n - h->n_by_fd) * sizeof(*more));
		h->by_fd = more;
		h->n_by_fd = n;
	}
	h->by_fd[fd] = c;
	return true;
}

void mhd_forget(struct http_conn *c)
{
	struct http *h = c->h;

	if (c->mhd_fd >= 0 && (size_t)c->mhd_fd < h->n_by_fd && h->by_fd[c->mhd_fd] == c)
		h->by_fd[c->mhd_fd] = NULL;
}

bool mhd_add(struct http_conn *c, int fd)
{
	static const struct sockaddr sa = {.sa_family = AF_UNIX};

	c->mhd_fd = fd;
	if (!note_fd(c->h, fd, c) || FAULT("http.mhd_add")) {
		close(fd);
		mhd_forget(c);
		return false;
	}
	if (MHD_add_connection(c->h->mhd, fd, &sa, sizeof(sa)) != MHD_YES) {
		mhd_forget(c);
		return false; /* libmicrohttpd has closed fd */
	}
	c->h->mhd_work = true;
	return true;
}
