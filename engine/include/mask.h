/* mask.h - constrained output: a JSON Schema compiled to an automaton over bytes, and that automaton
 * turned into the set of tokens a model may draw next (the mask_hook of engine.h).
 *
 * Whatever is drawn under a mask is, when it ends by an end token, one JSON text that satisfies the
 * schema; until then some token is always allowed. Which schemas: doc/decisions/0007-json-schema.md.
 * A schema is hostile input: size, depth, nodes and lists are capped, compiling is about linear.
 * Threads: the engine's owner thread, like everything of engine.h. */
#ifndef SP_ENGINE_MASK_H
#define SP_ENGINE_MASK_H

#include "engine.h"

#define SCHEMA_MAX_BYTES 65536u /* of the schema's text */
#define SCHEMA_MAX_DEPTH 64u    /* of the schema's text, and of what is generated */

struct schema; /* opaque, immutable, counted */
struct mask;   /* opaque: one answer's place in the automaton */

/* Compiles JSON text to *out (end with schema_free). E_FORMAT: no JSON or a malformed schema;
 * E_UNSUPPORTED: a keyword nobody here enforces, or nothing can satisfy it; E_RANGE: over a cap;
 * E_NOMEM. The error names the keyword (from our own list) and its place as a JSON pointer in which
 * names chosen by the author stand as their number: "/properties/[2]/oneOf". */
int schema_compile(struct span text, struct schema **out, struct err *err);
/* Any JSON object ("json_object"). */
int schema_any_object(struct schema **out, struct err *err);
/* Every name, string and number of its text, decoded, one a line, in order: what it says to a reader.
 * Behind them, what its patterns make an answer say: "[H][o]w" is also there as "How".
 * Borrowed for the schema's life. */
struct span schema_words(const struct schema *s);
void schema_free(struct schema *s); /* takes one count; NULL ok; wiped, it holds a client's text */

/* Builds the index of a model's vocabulary now, if it is not there: the first mask_new() would. Errors
 * as mask_new(). */
int mask_prepare(struct model *m, struct err *err);
/* One per generation. Keeps a count of s; m must outlive it. The index stays until
 * the model goes; masks of one model share it and the sets they remember.
 * E_UNSUPPORTED: the vocabulary cannot spell every byte, or the model has no end token. */
int mask_new(struct model *m, struct schema *s, struct mask **out, struct err *err);
void mask_free(struct mask *k); /* takes; NULL ok; wiped */
/* The mask_hook; arg is a struct mask. Work goes with the tokens new since the last call, and with
 * the place when it was not seen before; a list that is no continuation of the last one's is read from
 * its beginning. The set does not depend on where the work was interrupted. Clears every bit when the
 * tokens given were not allowed (cannot happen with tokens drawn under it) or memory is short. */
bool mask_try(void *arg, const int32_t *generated, uint32_t n, uint64_t *work, uint64_t *allow);
void mask_allow(void *arg, const int32_t *generated, uint32_t n, uint64_t *allow); /* to its end */
/* The tokens of the last call make up a whole value (an end token is allowed). */
bool mask_complete(const struct mask *k);

/* What the index and the memory of masks did, for measuring. */
struct mask_stats {
	uint64_t calls, misses; /* misses: masks that were worked out, not remembered */
	uint64_t work;		/* units of mask_hook, of about two nanoseconds */
	uint64_t trie_bytes, trie_nodes, trie_build_ns;
};
void mask_stats(const struct mask *k, struct mask_stats *out);

#endif
