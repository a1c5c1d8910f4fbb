/* sse.h - chat answers on the wire, exactly as the clients in the field read them: whole objects
 * and server-sent events. Pure: appends to a buffer. One id in all chunks, role in the first delta
 * of each choice, finish_reason always, "usage":null on every chunk only when usage was asked for,
 * no id: lines, comments for keep-alive. */
#ifndef SP_DAEMON_SSE_H
#define SP_DAEMON_SSE_H

#include "buf.h"
#include "reply.h"

struct sse_meta {
	char id[48];	 /* chatcmpl-... */
	int64_t created; /* Unix seconds */
	char model[256]; /* canonical name from store */
	bool include_usage;
};

struct usage {
	uint32_t prompt, completion, cached;
};

void sse_role(struct buf *b, const struct sse_meta *m, unsigned choice);
void sse_text(struct buf *b, const struct sse_meta *m, unsigned choice, struct span text);
void sse_finish(struct buf *b, const struct sse_meta *m, unsigned choice, const char *reason);
void sse_usage(struct buf *b, const struct sse_meta *m, const struct usage *u);
void sse_error(struct buf *b, const struct reply_fault *f); /* then end, no [DONE] */
void sse_ping(struct buf *b);
/* The receipt comment directly above [DONE]. receipt: proof text; n = 0 leaves the comment out. */
void sse_done(struct buf *b, struct span receipt);

struct chat_choice {
	struct span text;
	const char *finish;
};
/* chat.completion object. */
void chat_whole(struct buf *b, const struct sse_meta *m, const struct chat_choice *c, unsigned n,
		const struct usage *u);
/* Name of an enum out_finish; NULL for those that do not end a choice well. */
const char *finish_name(unsigned finish);

#endif
