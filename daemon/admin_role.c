/* admin_role.c - the officers' and operators' door: HTTP/1.1 on a Unix socket, one route a verb of
 * admin_verbs.h, passed on to store with the peer's uid. It signs nothing, approves nothing and has
 * no message towards engine or gate. One thread. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uthash.h>

#include "admin_verbs.h"
#include "clock.h"
#include "fault.h"
#include "http.h"
#include "jsonw.h"
#include "log.h"
#include "req_json.h"
#include "role.h"

#define CONNS 64
#define ANSWER_MAX (32u << 20)
#define STORE_MS 30000

struct aconn {
	uint32_t uid;
};

struct areq {
	struct id id;
	struct http_req *q;
	struct buf body; /* chunks so far */
	uint64_t deadline;
	UT_hash_handle hh;
};

static struct admin {
	struct role *role;
	struct http *http;
	struct areq *reqs;
	int listener;
	uint64_t drain_until;
} admin;

static const struct {
	uint16_t verb;
	const char *method, *route;
} verbs[] = {
#define X(num, name, method, route) {num, method, route},
    ADMIN_VERBS(X)
#undef X
};

static void fail(struct http_req *q, enum reason code, int status, const char *detail)
{
	struct reply_fault f = {.code = code,
				.status = status,
				.detail = detail,
				.retry_ms = code == RS_BOOK_DOWN ? 1000 : 0,
				.vietnamese = http_vietnamese(q)};
	struct reply r;

	reply_error(&r, http_id(q), &f);
	http_answer(q, &r);
}

/* ---- routes ---- */

/* Does path fit route, where ":id" stands for one part? */
static bool fits(struct span path, const char *route, struct span *id)
{
	const char *colon = strstr(route, ":id");
	struct span head = {route, colon ? (size_t)(colon - route) : strlen(route)};
	struct span tail = span_cstr(colon ? colon + 3 : "");
	const char *slash;

	if (colon == NULL)
		return span_eq(path, head);
	if (!span_starts(path, head) || path.n < head.n + tail.n + 1)
		return false;
	*id = span_of(path.p + head.n, path.n - head.n - tail.n);
	slash = memchr(id->p, '/', id->n);
	return slash == NULL && span_eq(span_from(path, path.n - tail.n), tail);
}

static bool plain_word(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '_' || c == '-' || c == '.' || c == ':'))
			return false;
	}
	return s.n > 0 && s.n < 128;
}

/* {"id": ..., and the query's pairs as strings}. False: something is not a plain word. */
static bool body_of_get(struct http_req *q, struct span id, struct buf *out)
{
	struct span left = http_query(q);
	struct jsonw w;

	jw_init(&w, out);
	w.free_order = true;
	jw_obj(&w);
	if (id.n) {
		if (!plain_word(id))
			return false;
		jw_kstr(&w, "id", id);
	}
	while (left.n) {
		const char *amp = memchr(left.p, '&', left.n);
		struct span pair = {left.p, amp ? (size_t)(amp - left.p) : left.n}, key, v;
		const char *eq = memchr(pair.p, '=', pair.n);
		char name[32];

		left = span_from(left, pair.n + (amp != NULL));
		key = span_of(pair.p, eq ? (size_t)(eq - pair.p) : pair.n);
		v = span_from(pair, key.n + 1);
		if (!plain_word(key) || !plain_word(v) || key.n >= sizeof(name) ||
		    (key.n == 2 && memcmp(key.p, "id", 2) == 0))
			return false;
		memcpy(name, key.p, key.n);
		name[key.n] = '\0';
		jw_kstr(&w, name, v);
	}
	jw_end_obj(&w);
	return buf_ok(out);
}

static void ask_store(struct http_req *q, uint16_t verb, struct span body)
{
	struct chan *ch = role_chan(admin.role, R_STORE, CH_DATA);
	const struct aconn *ac = http_conn_user(q);
	struct msg_ADMREQ m = {.req = *http_id(q), .verb = verb, .uid = ac->uid, .body = body};
	struct areq *a = NULL;

	if (body.n > WIRE_BYTES_MAX) {
		fail(q, RS_TOO_LARGE, 0, NULL);
		return;
	}
	if (ch && !FAULT("admin.req"))
		a = calloc(1, sizeof(*a));
	if (a == NULL || CH_SEND(ch, ADMREQ, &m) < 0) {
		free(a);
		fail(q, RS_BOOK_DOWN, 0, "store does not answer.");
		return;
	}
	a->id = m.req;
	a->q = q;
	a->body = BUF_INIT(ANSWER_MAX);
	a->deadline = clock_mono_ms() + STORE_MS;
	HASH_ADD(hh, admin.reqs, id.b, ID_BYTES, a);
	http_set_user(q, a);
}

static void run_verb(struct http_req *q, unsigned i, struct span id)
{
	struct buf body = BUF_INIT(16384);
	bool get = strcmp(verbs[i].method, "GET") == 0;

	if (get && !body_of_get(q, id, &body))
		fail(q, RS_BAD_REQUEST, 0, "Ids and query values are plain words here.");
	else if (!get && !json_depth_ok(http_body(q), REQ_DEPTH_MAX))
		fail(q, RS_BAD_REQUEST, 0, "The JSON is nested too deeply.");
	else
		ask_store(q, verbs[i].verb, get ? buf_span(&body) : http_body(q));
	buf_free(&body);
}

static void say_alive(struct http_req *q)
{
	bool store = role_chan(admin.role, R_STORE, CH_DATA) != NULL;
	struct reply r;

	reply_init(&r, 200, "application/json", http_id(q));
	buf_fmt(&r.body, "{\"schema_version\":1,\"status\":\"alive\",\"store\":%s}\n",
		store ? "true" : "false");
	http_answer(q, &r);
}

static void on_request(void *user, struct http_req *q)
{
	static const struct span prefix = {"/admin/v1", 9};
	struct span path = http_path(q), id = {NULL, 0};
	bool exists = false;

	if (span_eq(path, SPAN_LIT("/healthz"))) {
		say_alive(q);
		return;
	}
	if (span_starts(path, prefix))
		path = span_from(path, prefix.n);
	else if (!span_eq(path, SPAN_LIT("/metrics")))
		path = SPAN_LIT("");
	for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!fits(path, verbs[i].route, &id))
			continue;
		exists = true;
		if (span_eq(http_method(q), span_cstr(verbs[i].method))) {
			run_verb(q, i, id);
			return;
		}
	}
	if (exists)
		fail(q, RS_NOT_FOUND, 405, "This route takes another method.");
	else
		fail(q, RS_NOT_FOUND, 0,
		     "Routes are below /admin/v1: status, nonce, statements, queue, cases, "
		     "subjects, "
		     "officers, keys, quotas, requests, receipts, checkpoint, settings, genesis; "
		     "and "
		     "/metrics, /healthz.");
}

static void on_done(void *user, struct http_req *q, bool aborted)
{
	struct areq *a = http_user(q);

	if (a == NULL)
		return;
	HASH_DEL(admin.reqs, a);
	buf_wipe_free(&a->body);
	free(a);
}

static void on_closed(void *user, void *conn_user)
{
	free(conn_user);
}

/* ---- answers of store ---- */

static const char *type_of(struct span body)
{
	if (body.n && (body.p[0] == '{' || body.p[0] == '['))
		return "application/json";
	return "text/plain; charset=utf-8";
}

static void take_reply(const struct msg_ADMREP *m)
{
	struct areq *a = NULL;
	struct reply r;

	HASH_FIND(hh, admin.reqs, m->req.b, ID_BYTES, a);
	if (a == NULL)
		return; /* its client has gone */
	buf_span_put(&a->body, m->body);
	a->deadline = clock_mono_ms() + STORE_MS;
	if (m->more && buf_ok(&a->body))
		return;
	if (!buf_ok(&a->body)) {
		fail(a->q, RS_INTERNAL, 0, "The answer is too large; ask for less.");
		return;
	}
	reply_init(&r, m->status, type_of(buf_span(&a->body)), &a->id);
	buf_free(&r.body);
	r.body = a->body;
	a->body = BUF_INIT(0);
	http_answer(a->q, &r);
}

static void admin_msg(struct role *r, struct chan *ch, struct msg_in *in)
{
	struct msg_ADMREP m;

	if (in->type != M_ADMREP || msg_dec_ADMREP(in->body, &m) < 0 || m.status < 200 ||
	    m.status > 599)
		role_odd(r, chan_peer(ch), in->type, E_FORMAT);
	else
		take_reply(&m);
}

static void fail_all(uint64_t later_than)
{
	struct areq *a, *next;

	HASH_ITER(hh, admin.reqs, a, next)
	if (a->deadline <= later_than)
		fail(a->q, RS_BOOK_DOWN, 0, "store does not answer.");
}

static void admin_peer(struct role *r, enum role_id peer, bool up)
{
	if (peer == R_STORE && !up)
		fail_all(UINT64_MAX);
}

/* ---- connections, time ---- */

static void on_accept(void *arg, uint32_t ev)
{
	for (int i = 0; i < 16; i++) {
		struct ucred who = {.uid = UINT32_MAX};
		socklen_t n = sizeof(who);
		struct aconn *ac;
		int fd = accept4(admin.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		ac = calloc(1, sizeof(*ac));
		if (ac == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0) {
			free(ac);
			close(fd);
			continue;
		}
		ac->uid = who.uid;
		if (http_add(admin.http, fd, ac) == NULL)
			free(ac);
	}
}

static void on_http(void *arg, uint32_t ev)
{
	http_run(arg);
}

static void admin_tick(struct role *r, uint64_t now)
{
	fail_all(now);
	http_tick(admin.http, now);
	role_set_serving(r, role_chan(r, R_STORE, CH_DATA) != NULL, 0);
	if (admin.drain_until == 0)
		return;
	if (admin.reqs == NULL || now >= admin.drain_until) {
		http_run(admin.http);
		role_drained(r, admin.reqs == NULL);
	}
}

static void admin_drain(struct role *r, uint64_t deadline_ms)
{
	role_unwatch(r, admin.listener);
	admin.drain_until = deadline_ms;
	http_drain(admin.http);
}

static int admin_start(struct role *r, struct err *err)
{
	static const struct http_ops ops = {on_request, on_done, NULL, on_closed, NULL};
	const struct conf *c = role_conf(r);
	struct http_limits lim = {.head_ms = c->head_ms,
				  .body_ms = c->body_ms,
				  .idle_ms = c->idle_ms,
				  .max_body = c->max_body,
				  .max_conns = CONNS};
	int rc;

	signal(SIGPIPE, SIG_IGN);
	admin.role = r;
	role_set_user(r, &admin);
	admin.listener = role_file(r, "listen:admin");
	if (admin.listener < 0)
		return err_set(err, E_NOTFOUND, "listen:admin was not given");
	rc = http_new(&lim, &ops, &admin, &admin.http, err);
	if (rc == E_OK)
		rc = role_watch(r, http_fd(admin.http), EPOLLIN, on_http, admin.http);
	return rc < 0 ? rc : role_watch(r, admin.listener, EPOLLIN, on_accept, NULL);
}

const struct role_ops admin_ops = {
    .id = R_ADMIN,
    .tick_ms = 100,
    .start = admin_start,
    .msg = admin_msg,
    .peer = admin_peer,
    .tick = admin_tick,
    .drain = admin_drain,
};
