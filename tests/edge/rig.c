/* rig.c - starts front, gate and admin as real roles (re-executed, sandboxed) and plays main, store
 * and engine for them over the real wire: the test double of tests/edge/edge_test.py.
 *
 * usage: rig CERT KEY CA SOCKET [key=value ...]   (key=value: lines of [listen "public"])
 * stdout: "port N", then what the doubles saw, one line each, with monotonic milliseconds.
 * stdin: commands, one letter a line: r reload, s silent store, S store speaks, d drain, q quit,
 * e / t a new engine / store in place of the old (its channels close), g kill gate, m print MARK
 * and a number: what the doubles said before stands above it.
 * The last user message tells the engine double what to do: "tokens=40 delay=5", "block",
 * "revoke", "hang", "long". */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uthash.h>

#include <sodium.h>
#include <sys/mman.h>

#include "clock.h"
#include "cur.h"
#include "log.h"
#include "role.h"

extern const struct role_ops front_ops, gate_ops, admin_ops;

enum { FRONT, GATE, ADMIN, N_ROLES };
static const enum role_id ids[N_ROLES] = {R_FRONT, R_GATE, R_ADMIN};
static const char *const names[N_ROLES] = {"front", "gate", "admin"};
static struct chan *ctl[N_ROLES];	   /* main's side */
static struct chan *sf[2], *sg[2], *sa[2]; /* store's sides: front, gate, admin */
static struct chan *eg[2];		   /* engine's side: gate */
static pid_t pids[N_ROLES];
static bool silent, quit;
static struct conf conf;
static const char *cert, *key, *ca;

struct gen { /* one running answer of the engine double */
	struct id req;
	uint32_t n, max, delay, made[8], credit[8];
	uint64_t next;
	bool hang, revoke, finished[8];
	UT_hash_handle hh;
};
static struct gen *gens;

static void say(const char *what, const struct id *req)
{
	char t[ID_TEXT_MAX];

	printf("%s %llu %s\n", what, (unsigned long long)clock_mono_ms(), id_fmt("req", req, t));
	fflush(stdout);
}

static void fail(const struct id *req, unsigned code, unsigned a, unsigned b)
{
	struct msg_FAIL m = {.req = *req,
			     .status = (uint16_t)reason_info(code)->status,
			     .code = (uint16_t)code,
			     .a = a,
			     .b = b};

	CH_SEND(eg[0], FAIL, &m);
}

/* ---- engine ---- */

static uint32_t num(struct span text, const char *name, uint32_t other)
{
	char copy[256];
	const char *at;

	snprintf(copy, sizeof(copy), SPAN_FMT, SPAN_ARG(text));
	at = strstr(copy, name);
	return at ? (uint32_t)strtoul(at + strlen(name), NULL, 10) : other;
}

static struct span last_text(const struct msg_SUBMIT *m, struct span mapped)
{
	struct cur c = cur_init(m->msgs.n ? m->msgs : mapped);
	struct span t = {NULL, 0};

	must(m->msgs_len == (m->msgs.n ? m->msgs.n : mapped.n));
	while (cur_left(&c)) {
		must(cur_u8(&c) <= 3);
		t = cur_span(&c, cur_u32(&c));
	}
	must(cur_done(&c));
	return t;
}

/* What a broken engine might send around its ADMIT. */
static void misbehave(const struct id *req, struct span t, bool before)
{
	struct msg_OUT out = {.req = *req, .choice = before ? 0 : 9, .text = SPAN_LIT("too early")};
	struct msg_DONE done = {.req = *req};
	struct msg_ADMIT again = {.req = *req};
	char junk[40];

	if (span_starts(t, SPAN_LIT("badutf8")) && !before) {
		out.choice = 0;
		out.text = SPAN_LIT("\xff\xfe");
		CH_SEND(eg[0], OUT, &out);
	}
	if (!span_starts(t, SPAN_LIT("odd")))
		return;
	CH_SEND(eg[0], OUT, &out);
	if (before)
		CH_SEND(eg[0], DONE, &done);
	else
		CH_SEND(eg[0], ADMIT, &again);
	memset(junk, 0xaa, sizeof(junk));
	chan_send(eg[0], M_OUT, span_of(junk, sizeof(junk)), NULL, 0);
	chan_send(eg[0], M_FAIL, span_of(junk, 3), NULL, 0);
}

static void on_submit(struct msg_in *in)
{
	struct msg_SUBMIT m;
	struct msg_ADMIT admit = {.prompt_tokens = 9, .cached = 2};
	struct span mapped = {NULL, 0}, t;
	struct gen *g = calloc(1, sizeof(*g));

	must(msg_dec_SUBMIT(in->body, &m) == E_OK && g);
	if (in->nfds)
		must(body_map(in->fds[0], 64 << 20, &mapped, NULL) == E_OK);
	t = last_text(&m, mapped);
	say(in->nfds ? "SUBMITFD" : "SUBMIT", &m.req);
	admit.req = g->req = m.req;
	g->n = m.n;
	g->max = num(t, "tokens=", 5);
	g->delay = num(t, "delay=", 0);
	g->hang = span_starts(t, SPAN_LIT("hang"));
	g->revoke = span_starts(t, SPAN_LIT("revoke"));
	for (int i = 0; i < 8; i++)
		g->credit[i] = 256;
	if (span_starts(t, SPAN_LIT("block")) || span_starts(t, SPAN_LIT("long"))) {
		if (t.p[0] == 'b')
			fail(&m.req, RS_PROMPT_BLOCKED, 0, 0);
		else
			fail(&m.req, RS_TOO_LONG, 5000, 2048);
		free(g);
	} else {
		HASH_ADD(hh, gens, req.b, ID_BYTES, g);
		misbehave(&m.req, t, true);
		CH_SEND(eg[0], ADMIT, &admit);
		misbehave(&m.req, t, false);
		g->next = clock_mono_ms();
	}
	body_unmap(mapped);
}

static struct gen *gen_find(const struct id *req)
{
	struct gen *g = NULL;

	HASH_FIND(hh, gens, req->b, ID_BYTES, g);
	return g;
}

static void gen_drop(struct gen *g)
{
	HASH_DEL(gens, g);
	free(g);
}

/* One token for each choice that has credit. True: still running. */
static bool gen_step(struct gen *g)
{
	struct msg_DONE done = {.req = g->req, .prompt_tokens = 9, .receipt = SPAN_LIT("proof\n")};
	char text[32];
	unsigned open = 0;

	for (uint32_t i = 0; i < g->n; i++) {
		struct msg_OUT m = {.req = g->req, .choice = i, .tokens = 1};

		if (g->finished[i] || g->credit[i] == 0) {
			open += !g->finished[i];
			continue;
		}
		g->credit[i]--;
		g->made[i]++;
		g->finished[i] = g->made[i] == g->max;
		m.finish = g->finished[i] ? OF_STOP : OF_NONE;
		m.text = span_of(text, (size_t)snprintf(text, sizeof(text), "t%u ", g->made[i]));
		if (CH_SEND(eg[0], OUT, &m) < 0)
			return true;
		open += !g->finished[i];
	}
	if (g->revoke && g->made[0] == 3) {
		fail(&g->req, RS_REVOKED, 0, 0);
		gen_drop(g);
		return false;
	}
	if (open)
		return true;
	done.completion_tokens = g->max * g->n;
	CH_SEND(eg[0], DONE, &done);
	say("DONE", &g->req);
	gen_drop(g);
	return false;
}

static void run_gens(void)
{
	uint64_t now = clock_mono_ms();
	struct gen *g, *next;

	HASH_ITER(hh, gens, g, next)
	{
		for (int i = 0; i < 64 && !g->hang && now >= g->next; i++) {
			g->next = now + g->delay;
			if (!gen_step(g))
				break;
		}
	}
}

static void engine_msg(struct msg_in *in)
{
	struct msg_CREDIT c;
	struct msg_CANCEL k;
	struct gen *g;

	if (in->type == M_SUBMIT) {
		on_submit(in);
	} else if (in->type == M_CREDIT && msg_dec_CREDIT(in->body, &c) == E_OK) {
		g = gen_find(&c.req);
		if (g && c.choice < g->n)
			g->credit[c.choice] += c.tokens;
	} else if (in->type == M_CANCEL && msg_dec_CANCEL(in->body, &k) == E_OK) {
		say("CANCEL", &k.req);
		g = gen_find(&k.req);
		if (g)
			gen_drop(g);
	}
}

/* ---- store ---- */

static void deny(const struct id *req, unsigned code, uint32_t retry, bool no_retry)
{
	struct msg_DENY m = {.req = *req,
			     .status = (uint16_t)reason_info(code)->status,
			     .code = (uint16_t)code,
			     .retry_ms = retry,
			     .no_retry = no_retry};

	CH_SEND(sg[0], DENY, &m);
}

static void on_auth(const struct msg_AUTH *m)
{
	struct msg_AUTHOK ok = {.req = m->req,
				.lease = id_random(),
				.model = m->model,
				.max_out = m->max_out ? m->max_out : 512,
				.lim_req = 6000,
				.rem_req = 5999,
				.reset_req_ms = 20,
				.lim_tok = 1000000,
				.rem_tok = 999000,
				.reset_tok_ms = 360000};

	say("AUTH", &m->req);
	if (span_eq(m->model, SPAN_LIT("nomodel")))
		deny(&m->req, RS_NO_MODEL, 0, false);
	else if (span_eq(m->model, SPAN_LIT("ratelimited")))
		deny(&m->req, RS_RATE_REQUESTS, 1500, false);
	else if (span_eq(m->model, SPAN_LIT("spent")))
		deny(&m->req, RS_QUOTA_MONTH, 0, true);
	else if (!span_eq(m->model, SPAN_LIT("mute")))
		CH_SEND(sg[0], AUTHOK, &ok);
}

static void on_peer(const struct msg_PEER *m)
{
	printf("PEER cert=%u addr=" SPAN_FMT " thumb=%02x%02x%02x%02x\n", m->has_cert,
	       SPAN_ARG(m->addr), m->thumb[0], m->thumb[1], m->thumb[2], m->thumb[3]);
	fflush(stdout);
}

static void store_msg(struct msg_in *in)
{
	struct msg_AUTH a;
	struct msg_MODELS mo;
	struct msg_MODELSOK mok = {.names = SPAN_LIT("starter\nother")};
	struct msg_ENROLL en;
	struct msg_ENROLLOK eok = {
	    .kid = SPAN_LIT("kid"), .key = SPAN_LIT("sp_x_y"), .subject = SPAN_LIT("sub_1")};
	struct msg_RCPT rc;
	struct msg_RCPTOK rok = {.body = SPAN_LIT("c2sp.org/tlog-proof@v1\n")};
	struct msg_AUTHDROP drop;
	struct msg_FLOOD fl;
	struct msg_PEER pe;

	if (in->type == M_AUTH && msg_dec_AUTH(in->body, &a) == E_OK) {
		on_auth(&a);
	} else if (in->type == M_MODELS && msg_dec_MODELS(in->body, &mo) == E_OK) {
		mok.req = mo.req;
		CH_SEND(sg[0], MODELSOK, &mok);
	} else if (in->type == M_ENROLL && msg_dec_ENROLL(in->body, &en) == E_OK) {
		eok.req = en.req;
		if (span_eq(en.code_a, SPAN_LIT("A-good")))
			CH_SEND(sg[0], ENROLLOK, &eok);
		else
			deny(&en.req, RS_BAD_CODE, 0, false);
	} else if (in->type == M_RCPT && msg_dec_RCPT(in->body, &rc) == E_OK) {
		rok.req = rc.req;
		CH_SEND(sg[0], RCPTOK, &rok);
	} else if (in->type == M_AUTHDROP && msg_dec_AUTHDROP(in->body, &drop) == E_OK) {
		say("AUTHDROP", &drop.req);
	} else if (in->type == M_FLOOD && msg_dec_FLOOD(in->body, &fl) == E_OK) {
		printf("FLOOD %s %u\n", reason_info(fl.code)->name, fl.count);
		fflush(stdout);
	} else if (in->type == M_PEER && msg_dec_PEER(in->body, &pe) == E_OK) {
		on_peer(&pe);
	} else if (in->type == M_PEERGONE) {
		puts("PEERGONE");
		fflush(stdout);
	}
}

static void admin_side(struct msg_in *in)
{
	struct msg_ADMREQ m;
	struct msg_ADMREP r = {.status = 200};
	struct buf b = BUF_INIT(65536);

	if (in->type != M_ADMREQ || msg_dec_ADMREQ(in->body, &m) < 0)
		return;
	r.req = m.req;
	if (m.verb == 15) { /* METRICS, in two chunks */
		r.more = 1;
		r.body = SPAN_LIT("sallyport_up ");
		CH_SEND(sa[0], ADMREP, &r);
		r.more = 0;
		r.body = SPAN_LIT("1\n");
		CH_SEND(sa[0], ADMREP, &r);
		return;
	}
	buf_fmt(&b, "{\"schema_version\":1,\"verb\":%u,\"uid\":%u,\"got\":", m.verb, m.uid);
	buf_span_put(&b, m.body.n ? m.body : SPAN_LIT("null"));
	buf_puts(&b, "}");
	r.body = buf_span(&b);
	CH_SEND(sa[0], ADMREP, &r);
	buf_free(&b);
}

/* ---- main ---- */

static void send_chan(int role, enum role_id peer, int kind, int fd)
{
	struct msg_CHAN m = {.peer = peer, .kind = (uint8_t)kind, .gen = 1};

	must(CH_SEND_FD(ctl[role], CHAN, &m, fd) == E_OK);
	close(fd);
}

/* A channel between a role and a double (or another role: other >= 0). */
static struct chan *join(int role, enum role_id peer, int kind, int other)
{
	int fds[2];
	struct chan *ch;

	must(chan_pair(fds, NULL) == E_OK);
	send_chan(role, peer, kind, fds[0]);
	if (other >= 0) {
		send_chan(other, ids[role], kind, fds[1]);
		return NULL;
	}
	ch = chan_new(fds[1], peer, ids[role], (enum chan_kind)kind, 8 << 20);
	must(ch != NULL);
	chan_set_state(ch, ST_RUN);
	return ch;
}

static void send_file(int role, const char *name, int fd)
{
	struct msg_FILE m = {.name = span_cstr(name)};

	must(fd >= 0 && CH_SEND_FD(ctl[role], FILE, &m, fd) == E_OK);
	close(fd);
}

static void send_tls(void)
{
	send_file(FRONT, "tls-cert", open(cert, O_RDONLY | O_CLOEXEC));
	send_file(FRONT, "tls-key", open(key, O_RDONLY | O_CLOEXEC));
	send_file(FRONT, "client-ca", open(ca, O_RDONLY | O_CLOEXEC));
}

static void send_conf(int role, uint32_t version)
{
	struct buf text = BUF_INIT(1 << 20);
	struct msg_CONF m = {.version = version};
	int fd = memfd_create("conf", MFD_CLOEXEC);

	conf_dump(&conf, &text);
	must(fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n &&
	     lseek(fd, 0, SEEK_SET) == 0);
	must(CH_SEND_FD(ctl[role], CONF, &m, fd) == E_OK);
	close(fd);
	buf_free(&text);
}

static void spawn(int role)
{
	int fds[2];

	must(chan_pair(fds, NULL) == E_OK);
	pids[role] = fork();
	must(pids[role] >= 0);
	if (pids[role] == 0) {
		if (dup2(fds[1], 3) != 3 || fcntl(3, F_SETFD, 0) < 0)
			_exit(9);
		close_range(4, ~0u, 0);
		execl("/proc/self/exe", "rig", "role", names[role], (char *)NULL);
		_exit(9);
	}
	close(fds[1]);
	ctl[role] = chan_new(fds[0], R_MAIN, ids[role], CH_CTRL, 1 << 20);
	must(ctl[role] != NULL);
	chan_set_state(ctl[role], ST_RUN);
}

static void main_msg(int role, struct msg_in *in)
{
	struct msg_READY ready;
	struct msg_BAD bad;
	struct msg_DRAINED dr;

	if (in->type == M_READY && msg_dec_READY(in->body, &ready) == E_OK) {
		struct msg_GO go = {.version = ready.version};

		CH_SEND(ctl[role], GO, &go);
		printf("READY %s %u\n", names[role], ready.version);
	} else if (in->type == M_BAD && msg_dec_BAD(in->body, &bad) == E_OK) {
		printf("BAD %s " SPAN_FMT "\n", names[role], SPAN_ARG(bad.why));
	} else if (in->type == M_DRAINED && msg_dec_DRAINED(in->body, &dr) == E_OK) {
		printf("DRAINED %s %u\n", names[role], dr.clean);
	}
	fflush(stdout);
}

static struct chan *rejoin(struct chan *old, int role, enum role_id peer, int kind)
{
	chan_close(old);
	return join(role, peer, kind, -1);
}

static void replace_engine(void)
{
	struct gen *g, *next;

	HASH_ITER(hh, gens, g, next)
	gen_drop(g);
	for (int k = 0; k < 2; k++)
		eg[k] = rejoin(eg[k], GATE, R_ENGINE, k);
}

static void replace_store(void)
{
	for (int k = 0; k < 2; k++) {
		sg[k] = rejoin(sg[k], GATE, R_STORE, k);
		sf[k] = rejoin(sf[k], FRONT, R_STORE, k);
		sa[k] = rejoin(sa[k], ADMIN, R_STORE, k);
	}
}

static void command(char c)
{
	struct msg_DRAIN d = {.deadline_ms = 30000};
	static unsigned marks;

	if (c == 'r') {
		send_tls();
		send_conf(FRONT, 2);
	} else if (c == 's' || c == 'S') {
		silent = c == 's';
	} else if (c == 'd') {
		CH_SEND(ctl[FRONT], DRAIN, &d);
		CH_SEND(ctl[GATE], DRAIN, &d);
	} else if (c == 'e') {
		replace_engine();
	} else if (c == 't') {
		replace_store();
	} else if (c == 'g') {
		kill(pids[GATE], SIGKILL);
	} else if (c == 'm') {
		printf("MARK %u\n", ++marks);
		fflush(stdout);
	} else if (c == 'q') {
		quit = true;
	}
}

static int listen_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 512) == 0);
	must(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	printf("port %u\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 64) == 0);
	return fd;
}

static void start(const char *admin_socket)
{
	for (int i = 0; i < N_ROLES; i++)
		spawn(i);
	for (int k = 0; k < 2; k++) {
		sf[k] = join(FRONT, R_STORE, k, -1);
		sg[k] = join(GATE, R_STORE, k, -1);
		sa[k] = join(ADMIN, R_STORE, k, -1);
		eg[k] = join(GATE, R_ENGINE, k, -1);
		join(FRONT, R_GATE, k, GATE);
	}
	send_file(FRONT, "listen:public", listen_port());
	send_file(ADMIN, "listen:admin", listen_unix(admin_socket));
	send_tls();
	for (int i = 0; i < N_ROLES; i++)
		send_conf(i, 1);
}

static void beat(void)
{
	static struct id boot;
	static uint64_t seq, next;
	struct msg_STATE s = {.boot = boot, .seq = ++seq, .ready = 1};
	struct msg_ESTATE e = {.ready = 1};

	if (clock_mono_ms() < next)
		return;
	next = clock_mono_ms() + 50; /* news lives for 500: this process may be held up for long */
	if (!silent)
		CH_SEND(sg[1], STATE, &s);
	CH_SEND(eg[1], ESTATE, &e);
}

static void serve(struct chan *ch, void (*fn)(struct msg_in *))
{
	struct msg_in in;
	int rc;

	if (chan_wants_write(ch))
		chan_flush(ch);
	while ((rc = chan_recv(ch, &in)) != 0) {
		if (rc < 0)
			return; /* the role has left: the driver decides what that means */
		fn(&in);
		chan_in_drop(&in);
	}
}

static void serve_all(void)
{
	struct msg_in in;

	for (int k = 0; k < 2; k++) {
		serve(sf[k], store_msg);
		serve(sg[k], store_msg);
		serve(sa[k], admin_side);
		serve(eg[k], engine_msg);
	}
	for (int i = 0; i < N_ROLES; i++)
		while (chan_recv(ctl[i], &in) == 1) { /* a closed one stays closed */
			main_msg(i, &in);
			chan_in_drop(&in);
		}
}

static void wait_some(void)
{
	struct pollfd p[16];
	nfds_t n = 0;
	char c[16];

	for (int k = 0; k < 2; k++) {
		p[n++].fd = chan_fd(sf[k]);
		p[n++].fd = chan_fd(sg[k]);
		p[n++].fd = chan_fd(sa[k]);
		p[n++].fd = chan_fd(eg[k]);
	}
	for (int i = 0; i < N_ROLES; i++)
		p[n++].fd = chan_fd(ctl[i]);
	p[n++].fd = 0;
	for (nfds_t i = 0; i < n; i++)
		p[i].events = POLLIN;
	poll(p, n, gens ? 1 : 20);
	if (p[n - 1].revents) {
		ssize_t got = read(0, c, sizeof(c));

		for (ssize_t i = 0; i < got; i++)
			command(c[i]);
		quit |= got <= 0;
	}
}

static void loop(void)
{
	while (!quit) {
		wait_some();
		serve_all();
		run_gens();
		beat();
	}
}

int main(int argc, char **argv)
{
	struct buf errors = BUF_INIT(8192), text = BUF_INIT(8192);

	if (sodium_init() < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "role") == 0)
		return role_run(strcmp(argv[2], "front") == 0  ? &front_ops
				: strcmp(argv[2], "gate") == 0 ? &gate_ops
							       : &admin_ops);
	if (argc == 2 && strcmp(argv[1], "has-faults") == 0) {
#ifdef SP_FAULT
		return 0;
#else
		return 1;
#endif
	}
	if (argc < 5)
		return 2;
	cert = argv[1];
	key = argv[2];
	ca = argv[3];
	conf_defaults(&conf);
	buf_puts(&text, "[listen \"public\"]\n");
	for (int i = 5; i < argc; i++)
		buf_fmt(&text, "%s\n", argv[i]);
	if (conf_parse(&conf, buf_span(&text), "rig", &errors) < 0) {
		fputs(buf_cstr(&errors), stderr);
		return 2;
	}
	start(argv[4]);
	loop();
	for (int i = 0; i < N_ROLES; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	return 0;
}
