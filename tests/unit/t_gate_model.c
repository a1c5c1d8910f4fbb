/* t_gate_model.c - gate against a model of one request: all orders of what store, engine and the
 * client may do, sensible or not, through gate's real dispatch and a real HTTP connection. Whatever
 * comes when: one answer at most, nothing before its time, every lease submitted or given back,
 * every running answer of a client that left cancelled, nothing kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate.h"

extern const struct role_ops gate_ops;

/* ---- what gate needs of role.h, without processes ---- */

struct role {
	struct chan *mine[R_COUNT][2], *theirs[R_COUNT][2];
	struct conf conf;
	void *user;
	void (*on_http)(void *arg, uint32_t ev);
	void *http;
	unsigned odd;
};
static struct role ro;

struct chan *role_chan(struct role *r, enum role_id peer, enum chan_kind kind)
{
	return r->mine[peer][kind];
}

const struct conf *role_conf(const struct role *r)
{
	return &r->conf;
}

int role_watch(struct role *r, int fd, uint32_t events, void (*fn)(void *, uint32_t), void *arg)
{
	r->on_http = fn;
	r->http = arg;
	return 0;
}

void role_odd(struct role *r, enum role_id who, uint16_t type, int code)
{
	r->odd++;
}

bool role_draining(const struct role *r)
{
	return false;
}

void role_set_user(struct role *r, void *user)
{
	r->user = user;
}

void role_set_serving(struct role *r, bool serving, uint32_t reasons)
{
}

void role_drained(struct role *r, bool clean)
{
}

static struct gate *gate_of(void)
{
	return ro.user;
}

static void join(enum role_id peer, enum chan_kind kind)
{
	int fds[2];

	assert_int_equal(chan_pair(fds, NULL), 0);
	ro.mine[peer][kind] = chan_new(fds[0], R_GATE, peer, kind, 1 << 20);
	ro.theirs[peer][kind] = chan_new(fds[1], peer, R_GATE, kind, 1 << 20);
	chan_set_state(ro.mine[peer][kind], ST_RUN);
	chan_set_state(ro.theirs[peer][kind], ST_RUN);
}

static int set_up(void **st)
{
	struct err err;

	conf_defaults(&ro.conf);
	for (int k = 0; k < 2; k++) {
		join(R_STORE, k);
		join(R_ENGINE, k);
		join(R_FRONT, k);
	}
	assert_int_equal(gate_ops.start(&ro, &err), 0);
	return 0;
}

/* ---- one request and its model ---- */

enum model { AUTH, QUEUE, RUN, OVER, GONE };
static struct {
	int client;
	struct id req;
	char got[65536];
	size_t n;
	unsigned submits, drops, cancels, auths;
	enum model m;
	bool stream, fin, good, began;
	unsigned want_drops, want_submits;
} t;

#define DELIVER(peer, kind, NAME, ...)                                                             \
	do {                                                                                       \
		struct msg_##NAME m_ = {__VA_ARGS__};                                              \
		char mem_[WIRE_MSG_MAX];                                                           \
		struct buf b_ = BUF_FIXED(mem_, sizeof(mem_));                                     \
		struct msg_in in_ = {.type = M_##NAME, .fds = {-1, -1}};                           \
		assert_int_equal(msg_enc_##NAME(&b_, &m_), 0);                                     \
		in_.body = buf_span(&b_);                                                          \
		gate_ops.msg(&ro, ro.mine[peer][kind], &in_);                                      \
	} while (0)

static void listen_to(enum role_id peer)
{
	struct msg_in in;
	struct msg_AUTH a;

	for (int k = 0; k < 2; k++)
		while (chan_recv(ro.theirs[peer][k], &in) == 1) {
			t.auths += in.type == M_AUTH;
			t.submits += in.type == M_SUBMIT;
			t.drops += in.type == M_AUTHDROP;
			t.cancels += in.type == M_CANCEL;
			if (in.type == M_AUTH && msg_dec_AUTH(in.body, &a) == 0)
				t.req = a.req;
			chan_in_drop(&in);
		}
}

static void settle(void)
{
	ssize_t n;

	for (int i = 0; i < 4; i++)
		ro.on_http(ro.http, EPOLLIN);
	listen_to(R_STORE);
	listen_to(R_ENGINE);
	while (t.client >= 0 &&
	       (n = recv(t.client, t.got + t.n, sizeof(t.got) - 1 - t.n, MSG_DONTWAIT)) > 0)
		t.n += (size_t)n;
	t.got[t.n] = '\0';
}

/* A busy machine tells gate later that its client has gone. */
static void client_goes(void)
{
	if (t.client >= 0)
		close(t.client);
	t.client = -1;
	settle();
	for (int i = 0; i < 30000 && (gate_of()->reqs || gate_of()->conns); i++) {
		usleep(1000);
		settle();
	}
}

static void begin_with(bool stream, const char *more)
{
	char key[96], body[400], text[800];
	struct msg_CONN c = {.conn = id_random(), .addr = SPAN_LIT("127.0.0.1")};
	char mem[256];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct msg_in in = {.type = M_CONN, .nfds = 1, .fds = {-1, -1}};
	int fds[2], n;

	memset(&t, 0, sizeof(t));
	t.stream = stream;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	t.client = fds[1];
	DELIVER(R_STORE, CH_CTRL, STATE, .ready = 1);
	DELIVER(R_ENGINE, CH_CTRL, ESTATE, .ready = 1);
	assert_int_equal(msg_enc_CONN(&b, &c), 0);
	in.body = buf_span(&b);
	in.fds[0] = fds[0];
	gate_ops.msg(&ro, ro.mine[R_FRONT][CH_DATA], &in);
	assert_int_equal(in.fds[0], -1);
	snprintf(key, sizeof(key), "sp_%026d_%052d", 0, 0);
	n = snprintf(body, sizeof(body),
		     "{\"model\":\"m\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":"
		     "\"x\"}]%s}",
		     stream ? "true" : "false", more);
	n = snprintf(text, sizeof(text),
		     "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
		     "Content-Length: %d\r\n\r\n%s",
		     key, n, body);
	assert_int_equal(send(t.client, text, (size_t)n, 0), n);
	settle();
	assert_int_equal(t.auths, 1);
	assert_int_equal(t.n, 0);
}

static void begin(bool stream)
{
	begin_with(stream, "");
}

static void to_over(bool good)
{
	t.m = OVER;
	t.good = good;
}

/* The model's side of an event; then the event itself. */
static void event(char e)
{
	bool live = t.m == QUEUE || t.m == RUN;

	switch (e) {
	case 'A':
		t.want_submits += t.m == AUTH;
		t.want_drops += t.m != AUTH;
		t.m = t.m == AUTH ? QUEUE : t.m;
		DELIVER(R_STORE, CH_DATA, AUTHOK, .req = t.req, .lease = id_random(),
			.model = SPAN_LIT("starter"), .max_out = 9);
		break;
	case 'D':
		if (t.m == AUTH)
			to_over(false);
		DELIVER(R_STORE, CH_DATA, DENY, .req = t.req, .status = 429,
			.code = RS_RATE_REQUESTS);
		break;
	case 'M':
		t.began |= t.m == QUEUE;
		t.m = t.m == QUEUE ? RUN : t.m;
		DELIVER(R_ENGINE, CH_DATA, ADMIT, .req = t.req, .prompt_tokens = 3);
		break;
	case 'O':
	case 'F':
		DELIVER(R_ENGINE, CH_DATA, OUT, .req = t.req, .tokens = 1,
			.finish = e == 'F' ? OF_STOP : OF_NONE, .text = SPAN_LIT("TEXT"));
		t.fin |= t.m == RUN && e == 'F';
		break;
	case 'E':
		if (t.m == RUN)
			to_over(t.fin);
		DELIVER(R_ENGINE, CH_DATA, DONE, .req = t.req, .receipt = SPAN_LIT("p"));
		break;
	case 'X':
		if (live)
			to_over(false);
		DELIVER(R_ENGINE, CH_DATA, FAIL, .req = t.req, .status = 403, .code = RS_REVOKED);
		break;
	case 'S': /* store died and came back */
		if (t.m == AUTH)
			to_over(false);
		gate_ops.peer(&ro, R_STORE, false);
		break;
	case 'N': /* engine died and came back */
		if (live)
			to_over(false);
		gate_ops.peer(&ro, R_ENGINE, false);
		break;
	default: /* 'G': the client goes */
		if (t.m != GONE && t.client >= 0) {
			t.m = GONE;
			client_goes();
			if (live)
				assert_true(t.cancels > 0);
		}
	}
	settle();
}

static unsigned count(const char *what)
{
	unsigned n = 0;

	for (const char *at = t.got; (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void check(const char *seq)
{
	unsigned done = count("[DONE]"), errors = count("{\"error\":"), heads = count("HTTP/1.1 ");

#define need(x)                                                                                    \
	if (!(x))                                                                                  \
	fail_msg("%s %s: not " #x "; state %d, submits %u drops %u cancels %u\n%s",                \
		 t.stream ? "stream" : "plain", seq, (int)t.m, t.submits, t.drops, t.cancels,      \
		 t.got)
	need(t.submits == t.want_submits && t.submits <= 1);
	need(t.drops == t.want_drops);
	need(heads <= 1 && done <= 1 && errors <= 1 && !(done && errors));
	need(t.began || count("TEXT") == 0);
	if (t.m == AUTH || t.m == QUEUE || (t.m == RUN && !t.stream))
		need(t.n == 0);
	if (t.m == RUN && t.stream)
		need(heads == 1 && count("HTTP/1.1 200") == 1 && done == 0 && errors == 0);
	if (t.m == OVER && t.stream && t.began)
		need(count("HTTP/1.1 200") == 1 && done == t.good && errors == !t.good);
	if (t.m == OVER && !(t.stream && t.began))
		need(heads == 1 && (count("HTTP/1.1 200") == 1) == t.good && errors == !t.good);
	if (!t.stream && !t.good)
		need(count("TEXT") == 0);
#undef need
}

static void run(const char *seq, bool stream)
{
	bool live;

	begin(stream);
	for (const char *e = seq; *e; e++)
		event(*e);
	check(seq);
	live = t.m == QUEUE || t.m == RUN;
	client_goes();
	if (live && t.cancels == 0)
		fail_msg("%s: a running answer was not cancelled", seq);
	if (gate_of()->reqs || gate_of()->conns)
		fail_msg("%s: something was kept", seq);
}

static const char letters[] = "ADMOFEXSNG";

static void all_orders(unsigned depth, bool stream)
{
	char seq[16];
	unsigned n = 1;

	for (unsigned i = 0; i < depth; i++)
		n *= sizeof(letters) - 1;
	for (unsigned v = 0; v < n; v++) {
		unsigned rest = v;

		for (unsigned i = 0; i < depth; i++, rest /= sizeof(letters) - 1)
			seq[i] = letters[rest % (sizeof(letters) - 1)];
		seq[depth] = '\0';
		run(seq, stream);
	}
}

static void the_straight_way_answers(void **st)
{
	run("AMOFE", true);
	assert_true(t.good && strstr(t.got, "TEXT") && strstr(t.got, "[DONE]"));
	run("AMOOOFE", false);
	assert_true(t.good && strstr(t.got, "TEXTTEXTTEXT"));
	assert_int_equal(ro.odd, 0);
}

/* A schema that nobody could keep to: somebody unknown learns nothing of it, somebody known does,
 * and his lease goes back. */
static void a_schema_is_looked_into_behind_auth(void **st)
{
	static const char form[] =
	    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
	    "\"schema\":{\"oneOf\":[]}}}";

	for (int known = 0; known < 2; known++) {
		begin_with(false, form);
		if (known)
			DELIVER(R_STORE, CH_DATA, AUTHOK, .req = t.req, .lease = id_random(),
				.model = SPAN_LIT("starter"), .max_out = 9);
		else
			DELIVER(R_STORE, CH_DATA, DENY, .req = t.req, .status = 401,
				.code = RS_BAD_KEY);
		settle();
		assert_int_equal(count(known ? "HTTP/1.1 400" : "HTTP/1.1 401"), 1);
		assert_int_equal(count("'oneOf' is not supported"), known);
		assert_int_equal(t.drops, known);
		assert_int_equal(t.submits, 0);
		client_goes();
		assert_null(gate_of()->reqs);
	}
}

static void every_order_of_four_events_keeps_the_rules_streamed(void **st)
{
	all_orders(4, true);
}

static void every_order_of_three_events_keeps_the_rules_plain(void **st)
{
	all_orders(3, false);
}

static void every_continuation_of_an_admitted_request_keeps_the_rules(void **st)
{
	char seq[8] = "AM";

	for (int stream = 0; stream < 2; stream++)
		for (unsigned v = 0; v < 1000; v++) {
			seq[2] = letters[v % 10];
			seq[3] = letters[v / 10 % 10];
			seq[4] = letters[v / 100];
			run(seq, stream);
		}
}

static void long_random_orders_keep_the_rules(void **st)
{
	uint64_t x = 88172645463325252u; /* the same every time */
	char seq[13] = "";

	for (int i = 0; i < 3000; i++) {
		for (int k = 0; k < 12; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			seq[k] = k == 0 ? 'A' : letters[(x >> 33) % 9]; /* no early leaving */
		}
		run(seq, x & 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_straight_way_answers),
	    cmocka_unit_test(a_schema_is_looked_into_behind_auth),
	    cmocka_unit_test(every_order_of_four_events_keeps_the_rules_streamed),
	    cmocka_unit_test(every_order_of_three_events_keeps_the_rules_plain),
	    cmocka_unit_test(every_continuation_of_an_admitted_request_keeps_the_rules),
	    cmocka_unit_test(long_random_orders_keep_the_rules),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, set_up, NULL);
}
