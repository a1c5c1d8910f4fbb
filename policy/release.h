/* release.h - the release gate: one per choice, and no byte of an answer has another way out. Bytes
 * of tokens go in; what a verdict covers comes out, as whole characters, never beyond a stop
 * string, nothing after a block. Stop strings are looked for in judged text alone, and judged with
 * it: neither the end nor what is held because a stop string may be beginning depends on text that
 * no verdict covers. Owner: one thread. */
#ifndef SP_POLICY_RELEASE_H
#define SP_POLICY_RELEASE_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"

#define RELEASE_STOPS 16
#define RELEASE_STOP_BYTES 256

enum release_end { REL_OPEN, REL_STOP, REL_LENGTH, REL_FILTER, REL_ERROR };

struct release {
	struct buf text; /* the answer: valid UTF-8, cut once a stop string in it passed */
	char part[4];	 /* an unfinished character */
	unsigned n_part;
	struct span stops[RELEASE_STOPS]; /* borrowed for the gate's life */
	unsigned n_stops;
	uint32_t tokens;		    /* generated; without those behind a stop */
	size_t judged, released;	    /* bytes */
	uint32_t judged_tokens, out_tokens; /* tokens with a verdict, released */
	size_t asked;			    /* bytes that the running check covers */
	uint32_t asked_tokens;
	enum release_end end; /* why no more text comes; REL_OPEN: it may */
};

void release_init(struct release *g, size_t max_text);
void release_free(struct release *g);
/* E_RANGE: too many or too long. Empty ones are refused too. */
int release_stop(struct release *g, struct span stop);
/* One token's bytes. Changes nothing once the gate has ended. */
void release_token(struct release *g, struct span bytes);
/* Generation ended: an unfinished character becomes U+FFFD. Keeps an earlier end. */
void release_finish(struct release *g, enum release_end why);
/* What to judge now, stop strings included; it never shrinks from one check to the next. Remembers that the running check covers it. */
struct span release_ask(struct release *g);
/* The running check passed. A stop string in what it covered ends the gate with REL_STOP: text is
 * cut where it begins, tokens are those of the check. */
void release_pass(struct release *g);
/* It did not: nothing more ever comes out, and what the check did not cover is forgotten. */
void release_block(struct release *g, enum release_end why);
/* Takes what may go out now (borrowed until the next call); last = everything is judged and nothing
 * follows. *tokens = tokens newly covered. */
struct span release_take(struct release *g, uint32_t *tokens);
/* As release_take() would give, without taking. */
size_t release_ready(const struct release *g);
/* All text is judged (or stopped) and no more comes. */
bool release_over(const struct release *g);

#endif
