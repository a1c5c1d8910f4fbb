/* engine_role.c - the engine as a process: the loop thread takes messages, a second thread owns the
 * inference engine and every request (eng.h). Messages go over by copy; answers are sent by the
 * owner itself, under role_send_lock(). Beats are noted at once, so that a long layer is not a
 * silent store. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "eng.h"
#include "fault.h"
#include "id.h"
#include "io.h"
#include "log.h"
#include "role.h"

#define INBOX_BYTES (64u << 20) /* SUBMITs beyond it are refused; control always goes in */
#define STEP_NS 4000000u
#define IDLE_MS 20

enum item_kind { IT_MSG, IT_PEER, IT_FILE, IT_DRAIN };

struct item {
	struct item *next;
	enum item_kind kind;
	enum role_id from;
	uint16_t type;
	bool up;
	uint64_t ms; /* IT_DRAIN: deadline */
	int fd;
	size_t n;
	char data[]; /* body, or a file's name with its NUL */
};

struct engine_role {
	struct role *r;
	struct eng *g;
	pthread_t owner;
	int wake;
	pthread_mutex_t lock;
	struct item *head, **tail;
	size_t bytes;
	_Atomic bool drained;
	bool told;
};

static struct engine_role me; /* one role per process */

static void put(struct item *it)
{
	uint64_t one = 1;

	pthread_mutex_lock(&me.lock);
	it->next = NULL;
	*me.tail = it;
	me.tail = &it->next;
	me.bytes += it->n;
	pthread_mutex_unlock(&me.lock);
	if (write(me.wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		fatal("eventfd", "errno=%d", errno);
}

static struct item *item_new(enum item_kind kind, struct span data)
{
	struct item *it = calloc(1, sizeof(*it) + data.n);

	if (it == NULL)
		fatal("memory", "bytes=%zu", data.n);
	it->kind = kind;
	it->fd = -1;
	it->n = data.n;
	if (data.n)
		memcpy(it->data, data.p, data.n);
	return it;
}

/* ---- the owner thread ---- */

static int owner_send(void *arg, enum role_id to, enum chan_kind kind, uint16_t type,
		      struct span body)
{
	struct chan *ch;
	int rc = E_CLOSED;

	role_send_lock(me.r);
	ch = role_chan(me.r, to, kind);
	if (ch)
		rc = chan_send(ch, type, body, NULL, 0);
	role_send_unlock(me.r);
	return rc;
}

static int64_t owner_wall(void *arg)
{
	return clock_wall_ms();
}

static void owner_random(void *arg, void *p, size_t n)
{
	randombytes_buf(p, n);
}

static void handle(struct item *it)
{
	switch (it->kind) {
	case IT_MSG:
		eng_msg(me.g, it->from, it->type, span_of(it->data, it->n), &it->fd,
			clock_mono_ms());
		break;
	case IT_PEER:
		eng_peer(me.g, it->from, it->up, clock_mono_ms());
		break;
	case IT_FILE:
		eng_file(me.g, it->data, it->fd);
		it->fd = -1;
		break;
	case IT_DRAIN:
		eng_drain(me.g, it->ms);
		break;
	}
	if (it->fd >= 0)
		close(it->fd);
	sodium_memzero(it->data, it->n); /* prompts */
	free(it);
}

static void handle_inbox(void)
{
	for (;;) {
		struct item *it;

		pthread_mutex_lock(&me.lock);
		it = me.head;
		if (it) {
			me.head = it->next;
			if (me.head == NULL)
				me.tail = &me.head;
			me.bytes -= it->n;
		}
		pthread_mutex_unlock(&me.lock);
		if (it == NULL)
			return;
		handle(it);
	}
}

static void *owner_main(void *arg)
{
	for (;;) {
		struct pollfd p = {.fd = me.wake, .events = POLLIN};
		uint64_t n;
		int more;

		handle_inbox();
		more = eng_step(me.g, clock_mono_ms(), STEP_NS);
		if (eng_drained(me.g))
			atomic_store(&me.drained, true);
		if (more)
			continue;
		if (poll(&p, 1, IDLE_MS) > 0 && read(me.wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
			fatal("eventfd", "errno=%d", errno);
	}
}

/* ---- the loop thread ---- */

static void give_files(struct role *r, const char *prefix)
{
	const char *name;
	int fd;

	for (unsigned i = 0; (fd = role_file_at(r, prefix, i, &name)) >= 0; i++) {
		struct item *it = item_new(IT_FILE, span_of(name, strlen(name) + 1));

		it->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (it->fd < 0)
			fatal("dup", "errno=%d", errno);
		put(it);
	}
}

static int start(struct role *r, struct err *err)
{
	const struct conf *c = role_conf(r);
	struct eng_cfg cfg = {.threads = c->threads,
			      .kernel = strcmp(c->kernel, "auto") == 0 ? NULL : c->kernel,
			      .kv_bytes = c->kv_memory,
			      .cache_idle_ms = c->cache_idle_ms,
			      .draft = c->draft,
			      .max_requests = c->max_requests,
			      .queue_ms = c->queue_ms,
			      .request_ms = c->request_ms,
			      .boot = *role_boot(r),
			      .wall_ms = owner_wall,
			      .random = owner_random,
			      .send = owner_send};
	sigset_t all, old;
	int rc;

	me.r = r;
	me.tail = &me.head;
	pthread_mutex_init(&me.lock, NULL);
	me.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (me.wake < 0)
		return err_sys(err, "eventfd");
	/* threads made in the sandbox are inside it; they take no signals */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = eng_new(&cfg, &me.g, err);
	if (rc == 0) {
		give_files(r, "policy");
		give_files(r, "model:");
		rc = pthread_create(&me.owner, NULL, owner_main, NULL);
		if (rc != 0)
			rc = err_set(err, E_IO, "pthread_create: %d", rc);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

/* The inbox is full of work: the client is told to come again; the lease runs out by itself. */
static bool refuse_if_full(struct role *r, struct chan *ch, const struct msg_in *in)
{
	struct msg_FAIL no = {.status = 503, .code = RS_OVERLOADED, .retry_ms = 1000};
	struct msg_SUBMIT m;
	bool full;

	pthread_mutex_lock(&me.lock);
	full = me.bytes > INBOX_BYTES;
	pthread_mutex_unlock(&me.lock);
	if (in->type != M_SUBMIT || !full || msg_dec_SUBMIT(in->body, &m) < 0)
		return false;
	no.req = m.req;
	CH_SEND(ch, FAIL, &no);
	return true;
}

static void on_msg(struct role *r, struct chan *ch, struct msg_in *in)
{
	struct msg_BEAT beat;
	struct item *it;

	if (in->type == M_BEAT) {
		if (msg_dec_BEAT(in->body, &beat) == 0)
			eng_beat(me.g, beat.life_ms, clock_mono_ms());
		else
			role_odd(r, chan_peer(ch), in->type, E_FORMAT);
		return;
	}
	if (refuse_if_full(r, ch, in))
		return;
	it = item_new(IT_MSG, in->body);
	it->from = chan_peer(ch);
	it->type = in->type;
	if (in->nfds > 0) {
		it->fd = in->fds[0];
		in->fds[0] = -1;
	}
	put(it);
}

static void on_peer(struct role *r, enum role_id peer, bool up)
{
	struct item *it = item_new(IT_PEER, span_of(NULL, 0));

	it->from = peer;
	it->up = up;
	put(it);
}

static void on_tick(struct role *r, uint64_t now_ms)
{
	uint32_t why = eng_reasons(me.g);

	role_set_serving(r, why == 0, why);
	if (atomic_load(&me.drained) && !me.told) {
		me.told = true;
		role_drained(r, true);
	}
}

static int conf_try(struct role *r, const struct conf *c, struct err *err)
{
	struct buf text = BUF_INIT(1 << 20), errors = BUF_INIT(4096);
	struct policy p;
	int fd = role_file(r, "policy"), rc = 0;

	if (fd >= 0 && lseek(fd, 0, SEEK_SET) == 0)
		rc = io_read_fd(fd, 1 << 20, &text, err);
	if (fd >= 0 && rc == 0 && policy_parse(buf_span(&text), "policy", &p, &errors) != 0)
		rc = err_set(err, E_FORMAT, "%s", buf_cstr(&errors));
	buf_free(&text);
	buf_free(&errors);
	return rc;
}

static void conf_commit(struct role *r, const struct conf *c)
{
	give_files(r, "policy");
	give_files(r, "model:");
}

static void on_drain(struct role *r, uint64_t deadline_ms)
{
	struct item *it = item_new(IT_DRAIN, span_of(NULL, 0));

	it->ms = deadline_ms;
	put(it);
}

static void on_odd(struct role *r, enum role_id who, uint16_t type, int code)
{
	struct msg_ODD m = {.who = (uint8_t)who, .type = type, .code = RS_ODD_MESSAGE};
	struct chan *ch = role_chan(r, R_STORE, CH_CTRL);

	if (ch)
		CH_SEND(ch, ODD, &m);
}

/* What the kernels ask the system for (AMX tiles) is refused inside the sandbox. */
static int prepare(struct role *r, struct err *err)
{
	return *engine_kernel_paths() ? 0 : err_set(err, E_UNSUPPORTED, "no kernels for this CPU");
}

extern const struct role_ops engine_ops;
const struct role_ops engine_ops = {
    .id = R_ENGINE,
    .tick_ms = 50,
    .prepare = prepare,
    .start = start,
    .msg = on_msg,
    .peer = on_peer,
    .tick = on_tick,
    .conf_try = conf_try,
    .conf_commit = conf_commit,
    .drain = on_drain,
    .odd = on_odd,
};
