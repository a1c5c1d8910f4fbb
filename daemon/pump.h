/* pump.h - carries bytes between one TLS connection and one inner socket, edge-triggered, with one
 * bounded buffer a direction that is refilled only when empty: that is the whole back-pressure.
 * close_notify alone is a half close: the answer still flows. A TCP FIN, with or without it, means
 * that the client is gone: clients that close properly send both, and their work must stop now.
 * Any TLS error ends this connection only. Loop thread of front. */
#ifndef SP_DAEMON_PUMP_H
#define SP_DAEMON_PUMP_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUMP_BYTES 16384

struct pump_half {
	size_t off, n; /* bytes [off, n) of mem wait to be written */
	bool eof;      /* the source ended */
	bool shut;     /* the destination was told so */
	char mem[PUMP_BYTES];
};

struct pump {
	SSL *ssl;		       /* borrowed */
	int tcp, inner;		       /* borrowed */
	bool tcp_r, tcp_w, in_r, in_w; /* readiness as the last edge told it */
	bool fin;		       /* the client's TCP side has ended */
	uint64_t bytes_up, bytes_down;
	struct pump_half up, down; /* client to gate, gate to client */
};

enum pump_end {
	PUMP_ON,   /* waits for the next edge */
	PUMP_MORE, /* its turn is over but there is more: arm its descriptors again */
	PUMP_SHUT, /* the answer side is closed and flushed; only the client's farewell is missing
		    */
	PUMP_GONE, /* the client is gone, or both sides are finished */
};

void pump_init(struct pump *p, SSL *ssl, int tcp, int inner);
/* events: EPOLL bits for the TCP or inner descriptor since the last call. */
void pump_edge(struct pump *p, bool tcp, uint32_t events);
enum pump_end pump_run(struct pump *p);

#endif
