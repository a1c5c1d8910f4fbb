/* chan.c - see chan.h. */
#include "chan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cur.h"
#include "fault.h"
#include "log.h"

#define HEAD 16
#define MAGIC 0x5350

struct packet {
	struct packet *next;
	size_t n;
	int fds[WIRE_FDS_MAX];
	unsigned nfds;
	char data[];
};

struct chan {
	int fd, wake;
	enum role_id self, peer;
	enum chan_kind kind;
	unsigned state;
	pthread_mutex_t lock; /* guards everything below up to rx */
	uint64_t tx_seq;
	struct packet *head, **tail;
	size_t queued, queue_max;
	bool closed;
	uint64_t rx_seq; /* loop thread only, with rx */
	char rx[HEAD + WIRE_MSG_MAX];
};

struct chan *chan_new(int fd, enum role_id self, enum role_id peer, enum chan_kind kind,
		      size_t queue_max)
{
	struct chan *ch = calloc(1, sizeof(*ch));
	int size = 1 << 20;

	if (ch == NULL)
		return NULL;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* best effort */
	*ch = (struct chan){.fd = fd, .wake = -1, .self = self, .peer = peer, .kind = kind};
	ch->queue_max = queue_max;
	ch->state = ST_CONF;
	ch->tail = &ch->head;
	pthread_mutex_init(&ch->lock, NULL);
	return ch;
}

static void packet_free(struct packet *p)
{
	for (unsigned i = 0; i < p->nfds; i++)
		close(p->fds[i]);
	free(p);
}

void chan_close(struct chan *ch)
{
	struct packet *p;

	if (ch == NULL)
		return;
	while ((p = ch->head)) {
		ch->head = p->next;
		packet_free(p);
	}
	close(ch->fd);
	pthread_mutex_destroy(&ch->lock);
	free(ch);
}

int chan_fd(const struct chan *ch)
{
	return ch->fd;
}

enum role_id chan_peer(const struct chan *ch)
{
	return ch->peer;
}

enum chan_kind chan_kind(const struct chan *ch)
{
	return ch->kind;
}

void chan_set_state(struct chan *ch, unsigned state)
{
	ch->state = state;
}

void chan_set_wake(struct chan *ch, int eventfd_fd)
{
	ch->wake = eventfd_fd;
}

static ssize_t send_now(int fd, const void *p, size_t n, const int *fds, unsigned nfds)
{
	struct iovec io = {(void *)(uintptr_t)p, n};
	union {
		char space[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
		struct cmsghdr align;
	} c;
	struct msghdr mh = {.msg_iov = &io, .msg_iovlen = 1};
	struct cmsghdr *cm;

	if (nfds) {
		memset(&c, 0, sizeof(c));
		mh.msg_control = c.space;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * nfds);
	}
	if (FAULT("chan.sendmsg"))
		return -1;
	return sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool would_block(int e)
{
	return e == EAGAIN || e == EWOULDBLOCK || e == ENOBUFS || e == EINTR;
}

/* Lock held. Sends what is queued; false when the peer is gone. */
static bool flush_locked(struct chan *ch)
{
	struct packet *p;

	while ((p = ch->head)) {
		if (send_now(ch->fd, p->data, p->n, p->fds, p->nfds) < 0) {
			if (would_block(errno))
				return true;
			ch->closed = true;
			return false;
		}
		ch->head = p->next;
		if (ch->head == NULL)
			ch->tail = &ch->head;
		ch->queued -= p->n;
		packet_free(p);
	}
	return true;
}

/* Lock held. Keeps a copy for later. */
static int enqueue(struct chan *ch, const char *data, size_t n, const int *fds, unsigned nfds)
{
	struct packet *p;

	if (n > ch->queue_max - ch->queued)
		return E_BUSY;
	p = malloc(sizeof(*p) + n);
	if (p == NULL)
		return E_BUSY;
	*p = (struct packet){.n = n};
	memcpy(p->data, data, n);
	for (unsigned i = 0; i < nfds; i++) {
		p->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (p->fds[i] < 0) {
			packet_free(p);
			return E_BUSY;
		}
		p->nfds++;
	}
	*ch->tail = p;
	ch->tail = &p->next;
	ch->queued += n;
	if (ch->wake >= 0 && write(ch->wake, &(uint64_t){1}, 8) < 0)
		return E_OK; /* counter is full: the loop wakes anyway */
	return E_OK;
}

int chan_send(struct chan *ch, uint16_t type, struct span body, const int *fds, unsigned nfds)
{
	const struct msg_rule *r = msg_rule(type);
	char data[HEAD + WIRE_MSG_MAX];
	int rc = E_OK;

	if (ch == NULL)
		return E_CLOSED;
	if (r == NULL || !msg_allowed(type, ch->self, ch->peer, ch->kind, r->states) ||
	    nfds > r->max_fds)
		return soft_bug("message not in the table"), E_DENIED;
	if (body.n > WIRE_MSG_MAX)
		return E_RANGE;
	put_le16((uint8_t *)data, MAGIC);
	put_le16((uint8_t *)data + 2, type);
	put_le32((uint8_t *)data + 4, (uint32_t)body.n);
	if (body.n)
		memcpy(data + HEAD, body.p, body.n);
	pthread_mutex_lock(&ch->lock);
	put_le64((uint8_t *)data + 8, ch->tx_seq + 1);
	if (ch->closed || !flush_locked(ch))
		rc = E_CLOSED;
	else if (ch->head)
		rc = enqueue(ch, data, HEAD + body.n, fds, nfds);
	else if (send_now(ch->fd, data, HEAD + body.n, fds, nfds) < 0)
		rc = would_block(errno) ? enqueue(ch, data, HEAD + body.n, fds, nfds) : E_CLOSED;
	if (rc == E_OK)
		ch->tx_seq++;
	pthread_mutex_unlock(&ch->lock);
	return rc;
}

bool chan_wants_write(struct chan *ch)
{
	bool w;

	pthread_mutex_lock(&ch->lock);
	w = ch->head != NULL && !ch->closed;
	pthread_mutex_unlock(&ch->lock);
	return w;
}

int chan_flush(struct chan *ch)
{
	bool ok;

	pthread_mutex_lock(&ch->lock);
	ok = flush_locked(ch);
	pthread_mutex_unlock(&ch->lock);
	return ok ? E_OK : E_CLOSED;
}

void chan_in_drop(struct msg_in *in)
{
	for (unsigned i = 0; i < WIRE_FDS_MAX; i++) {
		if (i < in->nfds && in->fds[i] >= 0)
			close(in->fds[i]);
		in->fds[i] = -1;
	}
	in->nfds = 0;
}

static void take_fds(struct msghdr *mh, struct msg_in *in)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		size_t n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			if (in->nfds < WIRE_FDS_MAX)
				in->fds[in->nfds++] = fd;
			else
				close(fd);
		}
	}
}

static int check(struct chan *ch, struct msg_in *in, size_t n, int flags)
{
	struct cur c = cur_init(span_of(ch->rx, n));
	uint16_t magic = cur_u16(&c);
	uint32_t len;
	uint64_t seq;
	const struct msg_rule *r;

	in->type = cur_u16(&c);
	len = cur_u32(&c);
	seq = cur_u64(&c);
	in->body = cur_span(&c, len);
	if (flags & (MSG_TRUNC | MSG_CTRUNC) || magic != MAGIC || !cur_done(&c) ||
	    seq != ch->rx_seq + 1)
		return E_FORMAT;
	ch->rx_seq = seq;
	r = msg_rule(in->type);
	if (!msg_allowed(in->type, ch->peer, ch->self, ch->kind, ch->state) ||
	    in->nfds > r->max_fds)
		return E_DENIED;
	return 1;
}

int chan_recv(struct chan *ch, struct msg_in *in)
{
	struct iovec io = {ch->rx, sizeof(ch->rx)};
	union {
		char space[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
		struct cmsghdr align;
	} c;
	struct msghdr mh = {.msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = c.space,
			    .msg_controllen = sizeof(c.space)};
	ssize_t n;
	int rc;

	*in = (struct msg_in){.fds = {-1, -1}};
	n = recvmsg(ch->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return would_block(errno) ? 0 : E_CLOSED;
	if (n == 0)
		return E_CLOSED;
	take_fds(&mh, in);
	rc = check(ch, in, (size_t)n, mh.msg_flags);
	if (rc < 0)
		chan_in_drop(in);
	return rc;
}

int chan_pair(int fds[2], struct err *err)
{
	if (FAULT("chan.pair") || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, "socketpair");
	return E_OK;
}
