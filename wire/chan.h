/* chan.h - one end of a SOCK_SEQPACKET socketpair between two roles. Typed messages, descriptor
 * passing, a bounded send queue; nobody ever blocks.
 *
 * Header of a packet, 16 bytes little-endian: u16 magic 0x5350, u16 type, u32 body length, u64
 * sequence from 1. A packet that breaks the table of msgs.h, the sequence or the sizes is a
 * violation: the receiver refuses it, and the role must count and report it.
 * Threads: chan_send from any; chan_recv, chan_flush and chan_close by the owner's loop thread. */
#ifndef SP_WIRE_CHAN_H
#define SP_WIRE_CHAN_H

#include "msgs.h"

#define WIRE_FDS_MAX 2

struct chan;
struct msg_in {
	uint16_t type;
	struct span body;      /* borrows the channel's buffer until the next chan_recv */
	int fds[WIRE_FDS_MAX]; /* given to the caller, -1 = none; chan_in_drop() closes what is left */
	unsigned nfds;
};

/* Takes fd (set non-blocking, close-on-exec). queue_max: most bytes kept when the peer is slow.
 * NULL without memory. */
struct chan *chan_new(int fd, enum role_id self, enum role_id peer, enum chan_kind kind,
		      size_t queue_max);
void chan_close(struct chan *ch); /* takes; NULL ok */
int chan_fd(const struct chan *ch);
enum role_id chan_peer(const struct chan *ch);
enum chan_kind chan_kind(const struct chan *ch);
void chan_set_state(struct chan *ch, unsigned state); /* our state: ST_CONF, ST_RUN, ST_DRAIN */
/* Written to (eventfd) when a send had to be queued, so that the loop polls for writing. */
void chan_set_wake(struct chan *ch, int eventfd_fd);

/* Queues or sends. fds are borrowed (duplicated by the kernel or here). E_BUSY: queue full, nothing
 * was sent; E_CLOSED: peer gone; E_DENIED: the table forbids it (our bug); E_RANGE: too long. */
int chan_send(struct chan *ch, uint16_t type, struct span body, const int *fds, unsigned nfds);
/* CH_SEND(ch, AUTH, &m) encodes struct msg_AUTH and sends it without descriptors. */
#define CH_SEND(ch, NAME, m) CH_SEND_FD(ch, NAME, m, -1)
#define CH_SEND_FD(ch, NAME, m, fd)                                                                \
	({                                                                                         \
		char mem_[WIRE_MSG_MAX];                                                           \
		struct buf b_ = BUF_FIXED(mem_, sizeof(mem_));                                     \
		int fd_ = (fd), rc_ = msg_enc_##NAME(&b_, (m));                                    \
		rc_ < 0 ? rc_                                                                      \
			: chan_send((ch), M_##NAME, buf_span(&b_), &fd_, fd_ >= 0 ? 1 : 0);        \
	})
bool chan_wants_write(struct chan *ch);
int chan_flush(struct chan *ch); /* 0, or E_CLOSED */
/* 1 = a message; 0 = none now; E_CLOSED = peer gone; E_DENIED or E_FORMAT = a violation (in->type
 * says which type when known, descriptors are already closed): the channel stays usable. */
int chan_recv(struct chan *ch, struct msg_in *in);
void chan_in_drop(struct msg_in *in); /* closes descriptors still in *in */

/* Both ends of a new pair. */
int chan_pair(int fds[2], struct err *err);
/* Sealed read-only memfd over a copy of s (gives *fd), and its checked opposite: maps a descriptor
 * only when it is fully sealed and at most max bytes; gives *s, end with body_unmap. */
int body_memfd(struct span s, int *fd, struct err *err);
int body_map(int fd, size_t max, struct span *s, struct err *err);
void body_unmap(struct span s);

#endif
