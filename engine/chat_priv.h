/* chat_priv.h - where the formats of chat.h write to. Only for engine/chat*.c. */
#ifndef SP_ENGINE_CHAT_PRIV_H
#define SP_ENGINE_CHAT_PRIV_H

#include "chat.h"
#include "tok_priv.h"

/* Either text (tok NULL) or ids: plain text gathers in `text` until a special token, and is then
 * encoded as a whole, because pieces of it may merge. The first error sticks. */
struct chat_sink {
	const struct tok *tok;
	struct buf *text;
	struct tok_out out;
	int rc;
	struct err *err;
};

void sink_text(struct chat_sink *s, struct span text);
void sink_puts(struct chat_sink *s, const char *own);
void sink_special(struct chat_sink *s, const char *name);
/* The text without white space at both ends (Python's str.strip, which Jinja's trim is). */
struct span chat_trim(struct span s);

int chat_llama2(struct chat_sink *s, const struct chat_msg *m, size_t n);
int chat_llama3(struct chat_sink *s, enum chat_format f, const struct chat_msg *m, size_t n,
		const struct chat_opts *o);
int chat_guard3(struct chat_sink *s, enum chat_format f, const struct chat_msg *m, size_t n,
		const struct chat_opts *o);

#endif
