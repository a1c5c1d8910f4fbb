/* reply.h - one answer: status, headers, body. Errors come from the catalogue in reasons.h, in
 * English or Vietnamese. Used for answers through libmicrohttpd and for those the strict check
 * gives by itself. Nothing a client chose stands in it. */
#ifndef SP_DAEMON_REPLY_H
#define SP_DAEMON_REPLY_H

#include "buf.h"
#include "id.h"
#include "reasons.h"

#define REPLY_HEADERS 24
#define REPLY_BODY_MAX (16u << 20)

struct reply {
	int status;
	unsigned n_headers;
	struct {
		const char *name; /* static */
		char value[96];
	} header[REPLY_HEADERS];
	struct buf body;
};

/* What an error says besides its catalogue entry. */
struct reply_fault {
	unsigned code;	    /* enum reason */
	int status;	    /* 0 = the catalogue's */
	const char *param;  /* NULL or "" = null */
	const char *detail; /* NULL = none; one sentence of our own */
	uint32_t retry_ms;  /* 0 = none given */
	bool no_retry;
	bool vietnamese;
};

/* Content type, x-request-id, Cache-Control, X-Accel-Buffering. */
void reply_init(struct reply *r, int status, const char *content_type, const struct id *req);
void reply_free(struct reply *r);
/* name: static. Values longer than 95 bytes are cut. A name that is there is replaced. */
__attribute__((format(printf, 3, 4))) void reply_header(struct reply *r, const char *name,
							const char *fmt, ...);
const char *reply_get(const struct reply *r, const char *name); /* NULL = not set */
void reply_error(struct reply *r, const struct id *req, const struct reply_fault *f);
/* The {"error":{...}} object alone, for streams. */
void reply_error_json(struct buf *b, const struct reply_fault *f);
/* Whole HTTP/1.1 answer with Connection: close. */
void reply_raw(const struct reply *r, struct buf *out);
const char *http_status_text(int status);
/* Durations as clients read them: "20ms", "1s", "1.5s", "6m0s", "2h0m0s". */
const char *reply_duration(uint64_t ms, char out[32]);

#endif
