/* front.h - inside of the front role: its connections. Loop thread only. */
#ifndef SP_DAEMON_FRONT_H
#define SP_DAEMON_FRONT_H

#include <uthash.h>

#include "http.h"
#include "id.h"
#include "pump.h"
#include "role.h"
#include "tls.h"

enum fconn_state {
	FC_SNIFF, /* no byte yet */
	FC_SHAKE, /* TLS handshake */
	FC_OPEN,
	FC_LINGER, /* answered and closed on our side: waits a moment for the client's farewell */
	FC_DEAD,
};

/* Connections of one address: IPv4, or an IPv6 /64. */
struct faddr {
	uint8_t key[16];
	unsigned count;
	UT_hash_handle hh;
};

struct fconn;
struct fref { /* what epoll gives back */
	struct fconn *c;
	bool tcp;
};

struct fconn {
	struct fconn *prev, *next, *next_dead;
	struct fref tcp_ref, inner_ref;
	enum fconn_state state;
	int tcp, inner;
	SSL *ssl;
	struct pump *pump; /* from FC_OPEN on */
	struct id id;
	struct faddr *addr;
	char text[64]; /* the peer's address without port */
	bool has_cert, told_store, told_gate;
	uint8_t thumb[32];
	uint64_t deadline, last; /* monotonic ms */
};

struct front {
	struct role *role;
	int ep, listener;
	bool accepting;
	SSL_CTX *ctx;
	struct fconn *conns, *dead;
	struct faddr *addrs;
	unsigned n_conns;
	uint64_t refused, next_report, accept_again, drain_until;
};

void front_events(void *arg, uint32_t ev); /* the epoll set has something */
void front_move(struct front *f, struct fconn *c);
/* Ends a connection and tells gate and store; its memory goes with front_reap(). */
void front_close(struct front *f, struct fconn *c);
void front_reap(struct front *f);
/* PEER to store, then CONN with the descriptor (borrowed) to gate. False: gate cannot take it. */
bool front_hand_over(struct front *f, struct fconn *c, int fd);
void front_farewell(struct front *f, struct fconn *c);
void front_pause_accept(struct front *f); /* descriptors are exhausted: try again soon */

#endif
