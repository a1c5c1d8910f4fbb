/* tok.h - tokenizers: byte-level BPE (`gpt2` with the Llama 3 pre-tokeniser) and SentencePiece
 * BPE (`llama`). A struct tok owns all its memory: the GGUF region may go after tok_new().
 * Immutable after tok_new(): any thread. Tokens the file calls `user-defined` are matched as whole
 * strings only under TOK_SPECIAL. Text is any bytes; malformed UTF-8 is encoded byte by
 * byte, never refused. Work is O(n log n) in the length of the text.
 * The functions mean what the model_* ones of engine.h say. */
#ifndef SP_ENGINE_TOK_H
#define SP_ENGINE_TOK_H

#include "engine.h"
#include "gguf.h"

#define TOK_MAX_VOCAB (1u << 20)
#define TOK_MAX_PIECE 1024 /* bytes of one token's text */
#define TOK_MAX_TEXT (1u << 30)

struct tok;

/* Gives *out. E_FORMAT, E_RANGE, E_UNSUPPORTED (model or pre nobody knows), E_NOMEM. */
int tok_new(const struct gguf *g, struct tok **out, struct err *err);
void tok_free(struct tok *t); /* NULL ok */

uint32_t tok_count(const struct tok *t);
/* flags: TOK_BOS | TOK_SPECIAL | TOK_CONT. Exactly one BOS with TOK_BOS, also when the text
 * begins with the BOS token's own text under TOK_SPECIAL. */
int tok_encode(const struct tok *t, struct span text, unsigned flags, int32_t *out, size_t cap,
	       size_t *n);
int tok_bytes(const struct tok *t, int32_t id, struct span *out);
enum token_class tok_class(const struct tok *t, int32_t id); /* TC_UNUSED for a bad id */
/* The piece as printed (a space is a space); SentencePiece's own form is understood too. */
int32_t tok_find(const struct tok *t, struct span piece);
size_t tok_stable_prefix(const struct tok *t, struct span text);
int32_t tok_bos(const struct tok *t); /* -1 = none */
bool tok_is_end(const struct tok *t, int32_t id);
/* Fills tokenizer, pre, n_vocab, add_bos, bos, end, n_end. */
void tok_info(const struct tok *t, struct model_info *info);

#endif
