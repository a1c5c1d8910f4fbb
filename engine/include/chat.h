/* chat.h - conversations to token ids, in the formats we know by fingerprint. A template inside a
 * model file is foreign code: only its SHA-256 is looked at, never its text.
 * Content is encoded with special parsing OFF: ids of control tokens come from the wrapper alone.
 */
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
	CHAT_NONE,    /* unknown template: the model cannot chat */
	CHAT_LLAMA2,  /* [INST] */
	CHAT_LLAMA3,  /* 3.0 */
	CHAT_LLAMA31, /* 3.1 and 3.3: knowledge and today's date block */
	CHAT_LLAMA32,
	CHAT_STARTER,	/* the bundled model: as CHAT_LLAMA3 */
	CHAT_GUARD3_8B, /* Llama Guard 3, categories S1..S14 fixed */
	CHAT_GUARD3_1B,
};
/* By the SHA-256 of tokenizer.chat_template; for models without one by what the tokenizer has. */
enum chat_format chat_format_of(const struct model_info *info);
const char *chat_format_name(enum chat_format f);

/* Tools of the 3.1, 3.2 and 3.3 formats. */
struct chat_call { /* the assistant's one call; name.n == 0: a message without a call */
	struct span name, args; /* args: JSON object as it shall stand there */
};
struct chat_tools {
	const struct span *defs; /* JSON definitions, laid out as they shall stand there */
	size_t n_defs;
	bool in_system;		    /* definitions in the system block, not the first message */
	const struct span *builtin; /* names of built-in tools; 3.1 and 3.3 only */
	size_t n_builtin;
	const struct chat_call *calls; /* one per message; NULL = none */
};
/* Categories of Llama Guard 3 1B instead of its own S1..S13: {"S1", "Violent Crimes."}. */
struct chat_cat {
	struct span key, text;
};
struct chat_cats {
	const struct chat_cat *list;
	size_t n;
};

struct chat_opts {
	struct span today; /* e.g. "26 Jul 2024": an argument, never the clock; 3.1+ only;
			    * empty = the templates' own "26 Jul 2024" */
	bool generation_prompt;
	const struct chat_tools *tools; /* NULL = none */
	const struct chat_cats *cats;	/* NULL = the format's own */
};
/* The text as the original template renders it, for tests and display. E_FORMAT with the reason
 * when the format cannot say this conversation (roles that do not alternate, ...). */
int chat_render(enum chat_format f, const struct chat_msg *msgs, size_t n,
		const struct chat_opts *o, struct buf *out, struct err *err);
/* The ids to feed: exactly one BOS (CHAT_LLAMA2: one before each user turn, as its template says).
 * The ids of CHAT_GUARD3_8B begin with a stray space before BOS, also as its template says: the
 * caller drops it. *n as in model_tokenize. E_FORMAT when the model lacks a token of the format. */
int chat_ids(const struct model *m, enum chat_format f, const struct chat_msg *msgs, size_t n_msgs,
	     const struct chat_opts *o, int32_t *out, size_t cap, size_t *n, struct err *err);

#endif
