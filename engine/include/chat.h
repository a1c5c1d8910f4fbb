/* chat.h - conversations to token ids, in the formats we know by fingerprint. A template inside a
 * model file is foreign code: only its SHA-256 is looked at, never its text.
 * Content is encoded with special parsing OFF: ids of control tokens come from the wrapper alone. */
#ifndef SP_ENGINE_CHAT_H
#define SP_ENGINE_CHAT_H

#include "buf.h"
#include "engine.h"

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };
struct chat_msg {
	enum chat_role role;
	struct span text;
};
enum chat_format {
	CHAT_NONE,       /* unknown template: the model cannot chat */
	CHAT_LLAMA2,     /* [INST] */
	CHAT_LLAMA3,     /* 3.0 */
	CHAT_LLAMA31,    /* 3.1 and 3.3: knowledge and today's date block */
	CHAT_LLAMA32,
	CHAT_STARTER,    /* the bundled model: as CHAT_LLAMA3 */
	CHAT_GUARD3_8B,  /* Llama Guard 3, categories S1..S14 fixed */
	CHAT_GUARD3_1B,
};
/* By the SHA-256 of tokenizer.chat_template; for models without one by what the tokenizer has. */
enum chat_format chat_format_of(const struct model_info *info);
const char *chat_format_name(enum chat_format f);

struct chat_opts {
	struct span today;        /* e.g. "26 Jul 2024": an argument, never the clock; 3.1+ only */
	bool generation_prompt;
};
/* The text as the original template renders it, for tests and display. E_FORMAT with the reason
 * when the format cannot say this conversation (roles that do not alternate, ...). */
int chat_render(enum chat_format f, const struct chat_msg *msgs, size_t n,
		const struct chat_opts *o, struct buf *out, struct err *err);
/* The ids to feed: exactly one BOS. *n as in model_tokenize. */
int chat_ids(const struct model *m, enum chat_format f, const struct chat_msg *msgs, size_t n_msgs,
	     const struct chat_opts *o, int32_t *out, size_t cap, size_t *n, struct err *err);

#endif
