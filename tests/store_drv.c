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
	int null = open("/dev/null", O_RDWR), err = null;

	if (getenv("DRV_VERBOSE"))
		err = 2;
	dup2(null, 0);
	dup2(err, 2);
	dup2(ctl, 3);
	for (int fd = 4; fd < 256; fd++)
		close(fd);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	if (d->fault) { /* a new image: this one has looked at its environment long ago */
		setenv("SALLYPORT_FAULT", d->fault, 1);
		fcntl(3, F_SETFD, 0);
		execl("/proc/self/exe", "store", "--as-store", (char *)NULL);
		_exit(127);
	}
	_exit(role_run(&store_ops));
}

void drv_main(int argc, char **argv)
{
	if (sodium_init() < 0)
		exit(1);
	if (argc == 2 && strcmp(argv[1], "--as-store") == 0)
		_exit(role_run(&store_ops)); /* no leak check in a non-dumpable process */
}

static void send_conf(struct drv *d)
{
	struct msg_CONF m = {.version = 1};
	struct msg_GO go = {.version = 1};
	struct buf b = BUF_INIT(8192);
	int fd;

	buf_fmt(&b,
		"[realm]\nstate-dir = %s/state\nlog-dir = %s/log\ngenesis = %s/genesis.json\n"
		"[store]\nsegment-size = 4MiB\ndisk-reserve = %s\n"
		"[roles]\nsandbox = %s\n[log]\nlevel = info\n",
		d->dir, d->dir, d->dir, d->disk_reserve ? d->disk_reserve : "1MiB",
		d->sandbox ? "on" : "off");
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
			       &d->eng,	 &d->eng_c, &d->adm,	 &d->adm_c};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		chan_close(*all[i]);
		*all[i] = NULL;
	}
}

static bool engine_holds(const struct req *r)
{
	return r->step == RQ_INTENT || r->step == RQ_RUN || r->step == RQ_OUTCOME;
}

void drv_intent(struct drv *d, struct req *r)
{
	struct msg_INTENT m = {.lease = r->lease,
			       .req = r->req,
			       .rseq = 1,
			       .action = r->blocked ? PA_BLOCK : PA_ALLOW,
			       .cats = r->blocked ? 1 : 0,
			       .score_milli = r->blocked ? 900 : 10,
			       .threshold_milli = 500,
			       .prompt_bytes = r->prompt * 4,
			       .prompt_tokens = r->prompt,
			       .guard_tokens = 300,
			       .kernel = SPAN_LIT("avx2"),
			       .build = SPAN_LIT("test")};

	memcpy(m.policy_sha, d->gen.settings.policy_sha256, 32);
	memcpy(m.guard_sha, d->gen.settings.model[0].sha256, 32);
	memcpy(m.model_sha, d->gen.settings.model[0].sha256, 32);
	memcpy(m.salt, r->salt, 32);
	memcpy(m.commit, r->commit, 32);
	r->rseq = 1;
	r->step = RQ_INTENT;
	CH_SEND(d->eng, INTENT, &m);
}

void drv_outcome(struct drv *d, struct req *r, enum outcome_state st)
{
	struct buf w = BUF_INIT(4096);
	struct msg_OUTCOME m = {.lease = r->lease,
				.req = r->req,
				.rseq = 9,
				.state = (uint8_t)st,
				.code = st == OS_BLOCKED ? RS_PROMPT_BLOCKED : RS_NONE,
				.prompt_tokens = r->prompt,
				.completion_tokens = r->out,
				.guard_tokens = 50,
				.dur_us = 1234,
				.out_bytes = r->out * 4u,
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
	HASH_ITER(hh, d->reqs, r, tmp)
	{
		if (r->step == RQ_INTENT)
			drv_intent(d, r);
		else if (r->step == RQ_OUTCOME || r->step == RQ_RUN)
			drv_outcome(d, r, r->blocked ? OS_BLOCKED : OS_OK);
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
	return drv_until(d, wait_ready ? &d->ready : &never, wait_ready ? DRV_PATIENCE_MS : 0) ||
	       !wait_ready;
}

void drv_engine_restart(struct drv *d)
{
	static const bool never;

	chan_close(d->eng);
	chan_close(d->eng_c);
	drv_until(d, &never, 0);
	d->engine_boot = id_random();
	d->ready = false;
	d->eng = give(d, R_ENGINE, CH_DATA);
	d->eng_c = give(d, R_ENGINE, CH_CTRL);
	hello(d);
}

void drv_kill(struct drv *d)
{
	int st;

	kill(d->pid, SIGKILL);
	waitpid(d->pid, &st, 0);
	drv_reap(d);
}

void drv_reap(struct drv *d)
{
	struct req *r, *tmp;

	drv_poll(d, 0); /* what it sent before it died counts as acknowledged too */
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
	drv_until(d, &d->drained, DRV_PATIENCE_MS);
	drop_all(d);
	waitpid(d->pid, &st, 0);
	d->pid = 0;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* Everything that is there; false when store is gone. */
static bool drain_chan(struct drv *d, struct chan *ch)
{
	struct msg_in in;
	int rc;

	while ((rc = chan_recv(ch, &in)) == 1) {
		drv_serve(d, &in);
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
	bool gone = false;

	while (!*flag && !gone && clock_mono_ms() < end) {
		siginfo_t si = {0}; /* asked before the last look at what it sent */

		gone =
		    waitid(P_PID, (id_t)d->pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid;
		drv_poll(d, gone ? 0 : 5);
	}
	return *flag;
}
