/* store_drv.c - see store_drv.h: the process, the channels, the messages. */
#include "store_drv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint.h"
#include "clock.h"
#include "role.h"
#include "secret.h"

extern const struct role_ops store_ops;

void drv_fail(const char *what)
{
	fprintf(stderr, "driver: %s (errno %d)\n", what, errno);
	exit(1);
}

/* ---- process and channels ---- */

static struct chan *give(struct drv *d, enum role_id peer, enum chan_kind kind)
{
	static uint32_t gen;
	struct msg_CHAN m = {.peer = (uint8_t)peer, .kind = kind, .gen = ++gen};
	struct chan *ch;
	int fds[2];

	if (chan_pair(fds, NULL) < 0)
		drv_fail("socketpair");
	ch = chan_new(fds[0], peer, R_STORE, kind, 64u << 20);
	chan_set_state(ch, ST_RUN);
	CH_SEND_FD(d->main, CHAN, &m, fds[1]);
	close(fds[1]);
	return ch;
}

static void give_file(struct drv *d, const char *name, int fd)
{
	struct msg_FILE m = {.name = span_cstr(name)};

	if (CH_SEND_FD(d->main, FILE, &m, fd) < 0)
		drv_fail("FILE");
}

static void child(struct drv *d, int ctl)
{
	char env[160];
	int null = open("/dev/null", O_RDWR), err = null;

	if (getenv("DRV_VERBOSE"))
		err = 2;
	dup2(null, 0);
	dup2(err, 2);
	dup2(ctl, 3);
	for (int fd = 4; fd < 256; fd++)
		close(fd);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	if (d->fault) {
		snprintf(env, sizeof(env), "%s", d->fault);
		setenv("SALLYPORT_FAULT", env, 1);
	}
	_exit(role_run(&store_ops));
}

static void send_conf(struct drv *d)
{
	struct msg_CONF m = {.version = 1};
	struct msg_GO go = {.version = 1};
	struct buf b = BUF_INIT(8192);
	int fd;

	buf_fmt(&b,
		"[realm]\nstate-dir = %s/state\nlog-dir = %s/log\ngenesis = %s/genesis.json\n"
		"[store]\nsegment-size = 4MiB\ndisk-reserve = 1MiB\n"
		"[roles]\nsandbox = %s\n[log]\nlevel = info\n",
		d->dir, d->dir, d->dir, d->sandbox ? "on" : "off");
	if (body_memfd(buf_span(&b), &fd, NULL) < 0)
		drv_fail("memfd");
	lseek(fd, 0, SEEK_SET);
	CH_SEND_FD(d->main, CONF, &m, fd);
	close(fd);
	buf_free(&b);
	CH_SEND(d->main, GO, &go);
}

static void spawn(struct drv *d)
{
	int ctl[2];

	if (chan_pair(ctl, NULL) < 0)
		drv_fail("socketpair");
	d->pid = fork();
	if (d->pid < 0)
		drv_fail("fork");
	if (d->pid == 0)
		child(d, ctl[1]);
	close(ctl[1]);
	d->main = chan_new(ctl[0], R_MAIN, R_STORE, CH_CTRL, 16u << 20);
	chan_set_state(d->main, ST_RUN);
	give_file(d, "state-dir", d->state_fd);
	give_file(d, "log-dir", d->log_fd);
	give_file(d, "genesis", d->genesis_fd);
	give_file(d, "secret:log-key", d->key_fd);
	give_file(d, "secret:pepper", d->pepper_fd);
	give_file(d, "secret:kek", d->kek_fd);
	d->front = give(d, R_FRONT, CH_DATA);
	d->front_c = give(d, R_FRONT, CH_CTRL);
	d->gate = give(d, R_GATE, CH_DATA);
	d->gate_c = give(d, R_GATE, CH_CTRL);
	d->eng = give(d, R_ENGINE, CH_DATA);
	d->eng_c = give(d, R_ENGINE, CH_CTRL);
	d->adm = give(d, R_ADMIN, CH_DATA);
	d->adm_c = give(d, R_ADMIN, CH_CTRL);
	send_conf(d);
}

static void drop_all(struct drv *d)
{
	struct chan **all[] = {&d->main, &d->front, &d->front_c, &d->gate, &d->gate_c,
			       &d->eng,  &d->eng_c, &d->adm,	 &d->adm_c};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		chan_close(*all[i]);
		*all[i] = NULL;
	}
}

static bool engine_holds(const struct req *r)
{
	return r->step == RQ_INTENT || r->step == RQ_RUN || r->step == RQ_OUTCOME;
}

static void send_intent(struct drv *d, struct req *r)
{
	struct msg_INTENT m = {.lease = r->lease, .req = r->req, .rseq = 1,
			       .action = r->blocked ? PA_BLOCK : PA_ALLOW,
			       .cats = r->blocked ? 1 : 0, .score_milli = r->blocked ? 900 : 10,
			       .threshold_milli = 500, .prompt_bytes = r->prompt * 4,
			       .prompt_tokens = r->prompt, .guard_tokens = 300,
			       .kernel = SPAN_LIT("avx2"), .build = SPAN_LIT("test")};

	memcpy(m.policy_sha, d->gen.settings.policy_sha256, 32);
	memcpy(m.guard_sha, d->gen.settings.model[0].sha256, 32);
	memcpy(m.model_sha, d->gen.settings.model[0].sha256, 32);
	memcpy(m.salt, r->salt, 32);
	memcpy(m.commit, r->commit, 32);
	r->rseq = 1;
	r->step = RQ_INTENT;
	CH_SEND(d->eng, INTENT, &m);
}

static void send_outcome(struct drv *d, struct req *r, enum outcome_state st)
{
	struct buf w = BUF_INIT(4096);
	struct msg_OUTCOME m = {.lease = r->lease, .req = r->req, .rseq = 9, .state = (uint8_t)st,
				.code = st == OS_BLOCKED ? RS_PROMPT_BLOCKED : RS_NONE,
				.prompt_tokens = r->prompt, .completion_tokens = r->out,
				.guard_tokens = 50, .dur_us = 1234, .out_bytes = r->out * 4u,
				.released_bytes = r->out * 4u};

	for (uint32_t t = 0; t < r->out; t += 32) {
		buf_u32(&w, 0);
		buf_u32(&w, t * 4);
		buf_u32(&w, (t + 32) * 4);
		buf_u8(&w, PA_ALLOW);
		buf_u32(&w, 0);
		buf_u16(&w, 12);
	}
	m.windows = buf_span(&w);
	memcpy(m.salt, r->salt, 32);
	memcpy(m.commit, r->commit, 32);
	r->step = RQ_OUTCOME;
	CH_SEND(d->eng, OUTCOME, &m);
	buf_free(&w);
}

void drv_outcome(struct drv *d, struct req *r, enum outcome_state st)
{
	send_outcome(d, r, st);
}

static void hello(struct drv *d)
{
	struct buf b = BUF_INIT(WIRE_BYTES_MAX);
	struct msg_HELLO m = {.boot = d->engine_boot};
	struct msg_MODELUP up = {.model_ix = 0, .ok = 1};
	struct req *r, *tmp;

	HASH_ITER(hh, d->reqs, r, tmp)
		if (engine_holds(r))
			buf_put(&b, r->lease.b, ID_BYTES);
	m.leases = buf_span(&b);
	CH_SEND(d->eng_c, HELLO, &m);
	buf_free(&b);
	memcpy(up.sha, d->gen.settings.model[0].sha256, 32);
	CH_SEND(d->eng_c, MODELUP, &up);
	up.guard = 1;
	CH_SEND(d->eng_c, MODELUP, &up);
	HASH_ITER(hh, d->reqs, r, tmp) {
		if (r->step == RQ_INTENT)
			send_intent(d, r);
		else if (r->step == RQ_OUTCOME || r->step == RQ_RUN)
			send_outcome(d, r, r->blocked ? OS_BLOCKED : OS_OK);
	}
}

static void tell_peers(struct drv *d)
{
	for (int i = 0; i < DRV_CONNS; i++) {
		struct msg_PEER m = {.addr = SPAN_LIT("127.0.0.1")};

		d->conn[i] = id_random();
		m.conn = d->conn[i];
		CH_SEND(d->front, PEER, &m);
	}
}

bool drv_start(struct drv *d, bool wait_ready)
{
	static const bool never;

	d->ready = d->drained = false;
	d->reasons = 0;
	spawn(d);
	tell_peers(d);
	hello(d);
	return drv_until(d, wait_ready ? &d->ready : &never, wait_ready ? 10000 : 0) || !wait_ready;
}

void drv_kill(struct drv *d)
{
	struct req *r, *tmp;
	int st;

	kill(d->pid, SIGKILL);
	/* what it had sent before it died was received: those are acknowledgements too */
	waitpid(d->pid, &st, 0);
	drv_poll(d, 0);
	d->pid = 0;
	drop_all(d);
	HASH_ITER(hh, d->reqs, r, tmp)
		if (r->step == RQ_AUTH || r->step == RQ_CLAIM) {
			r->step = RQ_GONE; /* gate answered 503; engine had nothing to resend */
			d->in_flight--;
		}
}

int drv_stop(struct drv *d)
{
	struct msg_DRAIN m = {.deadline_ms = 5000};
	int st = 0;

	CH_SEND(d->main, DRAIN, &m);
	drv_until(d, &d->drained, 8000);
	drop_all(d);
	waitpid(d->pid, &st, 0);
	d->pid = 0;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* ---- requests ---- */

struct req *drv_request(struct drv *d)
{
	struct req *r = calloc(1, sizeof(*r));
	struct msg_AUTH m = {.kid = span_cstr(d->kid), .endpoint = 1, .n = 1, .stream = 1,
			     .body_len = 100};

	r->req = id_random();
	r->conn = d->conn[randombytes_uniform(DRV_CONNS)];
	r->prompt = 1 + randombytes_uniform(200);
	r->max_out = 16 + randombytes_uniform(600);
	r->blocked = randombytes_uniform(8) == 0;
	randombytes_buf(r->salt, 32);
	randombytes_buf(r->commit, 32);
	r->intent_ix = r->outcome_ix = UINT64_MAX;
	HASH_ADD(hh, d->reqs, req, sizeof(r->req), r);
	d->in_flight++;
	m.req = r->req;
	m.conn = r->conn;
	m.max_out = r->max_out;
	m.model = span_cstr(d->gen.settings.model[0].name);
	memcpy(m.digest, d->key_digest, 32);
	CH_SEND(d->gate, AUTH, &m);
	return r;
}

static struct req *find(struct drv *d, const struct id *req)
{
	struct req *r;

	HASH_FIND(hh, d->reqs, req, sizeof(*req), r);
	return r;
}

static void gone(struct drv *d, struct req *r, uint16_t code)
{
	if (r->step == RQ_GONE || r->step == RQ_DONE)
		return;
	r->denied = code;
	r->step = RQ_GONE;
	d->in_flight--;
}

static void on_authok(struct drv *d, const struct msg_AUTHOK *m)
{
	struct req *r = find(d, &m->req);
	struct msg_CLAIM c = {.lease = m->lease, .req = m->req};

	if (r == NULL || r->step != RQ_AUTH)
		drv_fail("AUTHOK for nobody");
	r->lease = m->lease;
	r->step = RQ_CLAIM;
	c.prompt_tokens = r->prompt;
	c.max_out = r->max_out;
	CH_SEND(d->eng, CLAIM, &c);
}

static void on_deny(struct drv *d, const struct msg_DENY *m)
{
	struct req *r = find(d, &m->req);

	d->denies++;
	if (r)
		gone(d, r, m->code);
	if (id_eq(&m->req, &d->asked)) {
		d->answered = true;
		d->status = m->status;
		d->deny_code = m->code;
	}
}

static struct req *by_lease(struct drv *d, const struct id *lease)
{
	struct req *r, *tmp;

	HASH_ITER(hh, d->reqs, r, tmp)
		if (id_eq(&r->lease, lease))
			return r;
	return NULL;
}

static void on_claimok(struct drv *d, const struct msg_CLAIMOK *m)
{
	struct req *r = by_lease(d, &m->lease);

	if (r == NULL || r->step != RQ_CLAIM)
		return;
	if (m->cap > r->max_out)
		drv_fail("cap above what was asked");
	r->cap = m->cap;
	send_intent(d, r);
}

static void after_intent(struct drv *d, struct req *r)
{
	struct msg_PROGRESS p = {.lease = r->lease, .req = r->req, .rseq = 2};

	r->step = RQ_RUN;
	if (r->blocked) {
		r->out = 0;
		send_outcome(d, r, OS_BLOCKED);
		return;
	}
	r->out = randombytes_uniform(r->cap + 1);
	if (r->out > 256) {
		p.tokens = 256;
		p.bytes = 1024;
		CH_SEND(d->eng, PROGRESS, &p);
	}
	if (d->hold_outcomes)
		d->hold_outcomes--;
	else
		send_outcome(d, r, OS_OK);
}

/* Proof, signature and entry of a receipt, as a client would check them. */
static bool receipt_ok(struct drv *d, const struct req *r, struct span body)
{
	struct tlog_proof p;
	struct err err;
	uint8_t leaf[32];
	uint8_t extra[16384];
	char id[ID_TEXT_MAX];
	long n;
	const char *from, *to;
	struct buf e = BUF_INIT(16384);
	bool ok;

	if (tlog_proof_parse(body, &p, &err) < 0)
		return false;
	n = note_unbase64(p.extra_b64, extra, sizeof(extra));
	if (n <= 0)
		return false;
	/* {"entry":"{\"boot\"...}","output_salt":...}: no escapes but \" occur in our entries */
	from = memmem(extra, (size_t)n, "\"entry\":\"", 9);
	to = memmem(extra, (size_t)n, "}\",\"", 4);
	if (from == NULL || to == NULL)
		return false;
	for (const char *c = from + 9; c <= to; c++)
		if (*c != '\\')
			buf_putc(&e, *c);
	merkle_leaf(buf_span(&e), leaf);
	id_fmt("req", &r->req, id);
	ok = tlog_proof_check(&p, leaf, &d->vkey, NULL, &err) == E_OK && p.index == r->outcome_ix &&
	     memmem(e.p, e.n, id, strlen(id)) != NULL;
	buf_free(&e);
	return ok;
}

static void on_ack(struct drv *d, const struct msg_ACK *m)
{
	struct req *r = find(d, &m->req);

	d->acks++;
	if (r == NULL)
		drv_fail("ACK for nobody");
	if (m->rseq == 1) {
		r->intent_acked = true;
		r->intent_ix = m->index;
		if (r->step == RQ_INTENT)
			after_intent(d, r);
		return;
	}
	if (r->step != RQ_OUTCOME)
		return;
	r->outcome_acked = true;
	r->outcome_ix = m->index;
	r->step = RQ_DONE;
	d->in_flight--;
	d->done++;
	if (m->index != UINT64_MAX && !receipt_ok(d, r, m->receipt))
		d->receipts_bad++;
}

static void on_nack(struct drv *d, const struct msg_NACK *m)
{
	struct req *r = find(d, &m->req);

	d->nacks++;
	if (r == NULL)
		return;
	if (m->code == RS_BOOK_DOWN)
		return; /* the engine keeps the record and sends it again to the next store */
	if (r->intent_acked && m->rseq == 1 && r->step == RQ_INTENT)
		d->lost++;
	if (r->step == RQ_OUTCOME && r->intent_acked) {
		fprintf(stderr, "finding: outcome of an acknowledged intent refused, code %u\n",
			m->code);
		d->lost++;
	}
	gone(d, r, m->code);
}

#define TAKE(NAME, fn)                                                                             \
	case M_##NAME: {                                                                           \
		struct msg_##NAME m;                                                               \
		if (msg_dec_##NAME(in->body, &m) < 0)                                              \
			drv_fail("malformed " #NAME);                                              \
		fn(d, &m);                                                                         \
		break;                                                                             \
	}

static void on_state(struct drv *d, const struct msg_STATE *m)
{
	d->states++;
	d->ready = m->ready;
	d->reasons = m->reasons;
}

static void on_beat(struct drv *d, const struct msg_BEAT *m)
{
	d->beats++;
}

static void on_revoke(struct drv *d, const struct msg_REVOKE *m)
{
	struct req *r = by_lease(d, &m->lease);

	d->revokes++;
	if (r == NULL)
		return;
	if (r->step == RQ_RUN)
		send_outcome(d, r, OS_REVOKED);
	else if (r->step == RQ_CLAIM)
		gone(d, r, m->code);
}

static void on_claimno(struct drv *d, const struct msg_CLAIMNO *m)
{
	struct req *r = by_lease(d, &m->lease);

	d->denies++;
	if (r)
		gone(d, r, m->code);
}

static void keep(struct drv *d, const struct id *req, unsigned status, struct span body)
{
	if (!id_eq(req, &d->asked))
		return;
	d->status = status;
	buf_span_put(&d->answer, body);
	d->answered = true;
}

static void on_admrep(struct drv *d, const struct msg_ADMREP *m)
{
	keep(d, &m->req, m->status, m->body);
	d->answered = d->answered && !m->more;
}

static void on_rcptok(struct drv *d, const struct msg_RCPTOK *m)
{
	keep(d, &m->req, 200, m->body);
}

static void on_modelsok(struct drv *d, const struct msg_MODELSOK *m)
{
	keep(d, &m->req, 200, m->names);
}

static void on_enrollok(struct drv *d, const struct msg_ENROLLOK *m)
{
	keep(d, &m->req, 200, m->key);
}

static void on_drained(struct drv *d, const struct msg_DRAINED *m)
{
	d->drained = true;
	d->drained_clean = m->clean;
}

static void serve(struct drv *d, struct msg_in *in)
{
	switch (in->type) {
		TAKE(AUTHOK, on_authok)
		TAKE(DENY, on_deny)
		TAKE(CLAIMOK, on_claimok)
		TAKE(CLAIMNO, on_claimno)
		TAKE(ACK, on_ack)
		TAKE(NACK, on_nack)
		TAKE(STATE, on_state)
		TAKE(BEAT, on_beat)
		TAKE(REVOKE, on_revoke)
		TAKE(ADMREP, on_admrep)
		TAKE(RCPTOK, on_rcptok)
		TAKE(MODELSOK, on_modelsok)
		TAKE(ENROLLOK, on_enrollok)
		TAKE(DRAINED, on_drained)
	default:
		break;
	}
}

/* Everything that is there; false when store is gone. */
static bool drain_chan(struct drv *d, struct chan *ch)
{
	struct msg_in in;
	int rc;

	while ((rc = chan_recv(ch, &in)) == 1) {
		serve(d, &in);
		chan_in_drop(&in);
	}
	if (rc == E_DENIED || rc == E_FORMAT)
		drv_fail("store broke the table");
	chan_flush(ch);
	return rc != E_CLOSED;
}

void drv_poll(struct drv *d, int ms)
{
	struct chan *all[] = {d->main, d->gate, d->gate_c, d->eng, d->eng_c, d->adm};
	struct pollfd p[6];

	for (int i = 0; i < 6; i++)
		p[i] = (struct pollfd){.fd = chan_fd(all[i]), .events = POLLIN};
	if (ms)
		poll(p, 6, ms);
	for (int i = 0; i < 6; i++)
		drain_chan(d, all[i]);
}

bool drv_until(struct drv *d, const bool *flag, unsigned ms)
{
	uint64_t end = clock_mono_ms() + ms;
	struct pollfd p = {.fd = chan_fd(d->main), .events = POLLIN};

	while (!*flag && clock_mono_ms() < end) {
		drv_poll(d, 5);
		if (poll(&p, 1, 0) == 1 && p.revents & POLLHUP && !(p.revents & POLLIN))
			return *flag;
	}
	return *flag;
}
