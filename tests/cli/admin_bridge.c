/* admin_bridge.c - for test_cli.py: the real admin side of store (state.db, statements, cases,
 * codes) behind DIR/admin.sock, without the other roles, so that the officer's commands can be
 * tried where no engine runs. The log is memory. Ends when its standard input closes. One
 * connection at a time. admin_bridge DIR     DIR was made by sallyport init POST /enroll
 * {"code_a","code_b"} redeems a code as the gate would. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "admin_verbs.h"
#include "canon.h"
#include "clock.h"
#include "db.h"
#include "io.h"
#include "store_admin.h"

#define HEAD_MAX 65536u

static struct {
	struct store_admin *sa;
	struct buf pending; /* entry handed over and not yet answered */
	uint64_t n;
	struct buf reply;
	unsigned status;
	bool done;
} b;

static int64_t on_now(void *arg)
{
	return clock_wall_ms();
}

static int on_append(void *arg, struct span e)
{
	buf_reset(&b.pending);
	buf_span_put(&b.pending, e);
	return E_OK;
}

static void on_reply(void *arg, const struct id *req, unsigned status, bool more, struct span body)
{
	b.status = status;
	buf_span_put(&b.reply, body);
	b.done = !more;
}

static void on_enrolled(void *arg, const struct id *req, unsigned reason, const char *kid,
			const char *key, const char *sub)
{
	b.status = reason ? 403 : 200;
	buf_fmt(&b.reply, "{\"api_key\":\"%s\",\"key\":\"%s\",\"reason\":%u,\"subject\":\"%s\"}",
		key, kid, reason, sub);
	b.done = true;
}

static void on_revoke(void *arg, const struct revoke_sel *sel)
{
}

static void on_changed(void *arg)
{
}

static void random_bytes(void *arg, void *p, size_t n)
{
	randombytes_buf(p, n);
}

static void pump(void)
{
	while (b.pending.n) {
		buf_reset(&b.pending);
		store_admin_appended(b.sa, E_OK, b.n++);
	}
}

static _Noreturn void stop(const char *why)
{
	fprintf(stderr, "admin_bridge: %s\n", why);
	exit(1);
}

static void read_named(const char *dir, const char *name, struct buf *out)
{
	char path[600];
	struct err err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (io_read_file(path, CANON_MAX, out, &err) < 0)
		stop(err.text);
}

static void start(const char *dir)
{
	struct store_admin_cb cb = {NULL,      on_now,	   on_append, on_reply,	   on_enrolled,
				    on_revoke, on_changed, NULL,      random_bytes};
	struct buf pepper = BUF_INIT(64), kek = BUF_INIT(64), doc = BUF_INIT(CANON_MAX);
	char path[600];
	struct id boot = id_random();
	struct db *db;
	struct err err;

	read_named(dir, "state/secret/pepper", &pepper);
	read_named(dir, "state/secret/kek", &kek);
	read_named(dir, "genesis.json", &doc);
	snprintf(path, sizeof(path), "%s/state", dir);
	if (pepper.n != 32 || kek.n != 32)
		stop("secrets are not 32 bytes");
	if (db_open(path, 0, (const uint8_t *)kek.p, &db, &err) < 0 ||
	    store_admin_new(db, &cb, (const uint8_t *)pepper.p, &boot, &b.sa, &err) < 0 ||
	    store_admin_start(b.sa, buf_span(&doc), &err) < 0)
		stop(err.text);
	pump();
	buf_free(&pepper);
	buf_free(&kek);
	buf_free(&doc);
}

struct route {
	unsigned verb;
	const char *method, *path;
};

/* The verb for a path, and what stands at ":id". */
static unsigned route_of(const char *method, const char *path, char id[128])
{
	static const struct route routes[] = {
#define X(num, name, method, route) {num, method, route},
	    ADMIN_VERBS(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const char *r = routes[i].path, *p = path;
		size_t n = 0;

		while (*r && *p) {
			if (strncmp(r, ":id", 3) == 0) {
				while (p[n] && p[n] != '/' && n < 127)
					n++;
				memcpy(id, p, n);
				id[n] = '\0';
				p += n;
				r += 3;
			} else if (*r++ != *p++) {
				break;
			}
		}
		if (*r == '\0' && *p == '\0' && strcmp(method, routes[i].method) == 0)
			return routes[i].verb;
	}
	return 0;
}

static void serve(const char *method, const char *path, struct span body)
{
	char id[128] = "", text[200];
	struct msg_ADMREQ m = {.req = id_random()};
	struct msg_ENROLL e = {.req = id_random()};
	json_t *o;

	buf_reset(&b.reply);
	b.done = false;
	if (strcmp(path, "/enroll") == 0) {
		o = canon_parse_any(body, NULL);
		e.code_a = jx_str(o, "code_a");
		e.code_b = jx_str(o, "code_b");
		store_admin_enrol(b.sa, &e, NULL);
		pump();
		json_decref(o);
		return;
	}
	if (strncmp(path, "/admin/v1", 9) == 0)
		m.verb = (uint16_t)route_of(method, path + 9, id);
	if (m.verb == 0 || !store_admin_handles(m.verb)) {
		b.status = 404;
		buf_puts(&b.reply, "{\"error\":{\"message\":\"no such route here\"}}");
		b.done = true;
		return;
	}
	snprintf(text, sizeof(text), "{\"id\":\"%s\"}", id);
	m.body = id[0] ? span_cstr(text) : body;
	store_admin_request(b.sa, &m);
	pump();
}

/* One request: head, then Content-Length bytes. */
static void connection(int fd)
{
	static char in[HEAD_MAX + 1];
	char method[8] = "", path[256] = "", head[128];
	const char *end = NULL, *cl;
	size_t n = 0, want = 0;
	ssize_t r;

	while (n < HEAD_MAX && (r = read(fd, in + n, HEAD_MAX - n)) > 0) {
		n += (size_t)r;
		in[n] = '\0';
		end = strstr(in, "\r\n\r\n");
		if (end == NULL)
			continue;
		cl = strcasestr(in, "\r\ncontent-length:");
		want = cl && cl < end ? strtoul(cl + 17, NULL, 10) : 0;
		if (n >= (size_t)(end - in) + 4 + want)
			break;
	}
	if (end == NULL || sscanf(in, "%7s %255s", method, path) != 2)
		return;
	serve(method, path, span_of(end + 4, want));
	if (!b.done)
		stop("a request was not answered");
	r = snprintf(head, sizeof(head),
		     "HTTP/1.1 %u X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", b.status,
		     b.reply.n);
	if (io_write_all(fd, head, (size_t)r, NULL) == E_OK)
		io_write_all(fd, b.reply.p, b.reply.n, NULL);
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};
	int fd;

	if (argc != 2 || sodium_init() < 0)
		stop("usage: admin_bridge DIR");
	b.pending = b.reply = BUF_INIT(16u << 20);
	start(argv[1]);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/admin.sock", argv[1]);
	p[1].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p[1].fd < 0 || bind(p[1].fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(p[1].fd, 8) < 0)
		stop(strerror(errno));
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			stop(strerror(errno));
		if (p[0].revents)
			return 0;
		if (p[1].revents == 0 || (fd = accept4(p[1].fd, NULL, NULL, SOCK_CLOEXEC)) < 0)
			continue;
		connection(fd);
		close(fd);
	}
}
