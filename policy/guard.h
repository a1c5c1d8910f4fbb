/* guard.h - the classifier: a Llama Guard 3 model asked through the engine. The verdict is read
 * from the model's own `safe` and `unsafe` tokens after the forced blank line; text of others never
 * yields a control token. A guard that does not pass its self-test is none.
 *
 * Threads: the engine's owner thread only. Nothing blocks: work goes on in guard_event().
 *
 * Readings. A reading is one sequence of the guard that judges one growing answer, or any number of
 * prompts one after the other. Growing text is committed to the sequence only up to a border that
 * later bytes cannot move; the tail and the closing instruction follow in the same forward pass,
 * the verdict is read, and the sequence is cut back to what is committed. */
#ifndef SP_POLICY_GUARD_H
#define SP_POLICY_GUARD_H

#include "decide.h"
#include "engine.h"
#include "prompt.h"

struct guard;
struct reading;

enum guard_state { GUARD_LOADING, GUARD_READY, GUARD_FAILED };

struct guard_cfg {
	uint32_t max_window; /* most tokens of one reading; 0 = 4096; the context bounds it */
	bool skip_selftest;  /* tests and tools only: a daemon never sets it */
};
/* Checks the tokens and starts computing the constant prefixes, then the self-test; go on with
 * guard_event() until the state is no longer LOADING. E_UNSUPPORTED: not a guard's vocabulary. */
int guard_new(struct engine *e, struct model *m, const struct guard_cfg *cfg, struct guard **g,
	      struct err *err);
void guard_free(struct guard *g); /* takes; every reading must be gone. NULL ok */
enum guard_state guard_state(const struct guard *g, struct err *why);
/* Tools and tests: steps the engine, drops foreign events, until the guard is ready or failed. */
int guard_wait(struct guard *g, struct err *err);
uint64_t guard_tokens(const struct guard *g); /* computed so far */

/* A sequence with room for `need` tokens, closing and prefix not counted; a smaller one (then the
 * text is read in overlapping windows) when none is so large. E_BUSY: no memory now. domain: whose
 * text it reads (engine.h, cache_domain): prompts and contexts are shared with that one's readings
 * alone. An answer is never cached nor matched before the client has it: how fast it is judged must
 * not depend on what it says. group: for whom it works (engine.h, fair_group): groups take turns at
 * the guard. */
int reading_new(struct guard *g, enum guard_role role, uint64_t domain, uint64_t group,
		uint32_t need, struct reading **r, struct err *err);
void reading_free(struct reading *r); /* takes; NULL ok */
/* Tokens of text that one window takes beside prefix and closing. */
uint32_t reading_room(const struct reading *r);
void reading_set_user(struct reading *r, void *user);
void *reading_user(const struct reading *r);

/* Judges turns (gp_turns or gp_flat; borrowed for the call). floor_milli: from this score on the
 * categories are read too. E_RANGE: longer than the room. */
int reading_judge(struct reading *r, struct span turns, uint32_t floor_milli, struct err *err);
/* The conversation before the answer (gp_turns with GP_AGENT behind it), kept for all checks; its
 * beginning is left out when it does not leave `spare` tokens for the answer. */
int reading_context(struct reading *r, struct span turns, uint32_t spare, struct err *err);
/* Judges the answer so far; text only grows (a shorter one is read from its beginning). The answer's disguised form is judged too, when there
 * is one, and the higher score counts. */
int reading_check(struct reading *r, struct span text, uint32_t floor_milli, struct err *err);
bool reading_busy(const struct reading *r);
/* What was met in the text of the last reading_check(). */
const struct norm_seen *reading_seen(const struct reading *r);

/* Gives an event to the guard. False: not one of its jobs. *done (may be NULL) is a reading whose
 * verdict has become final, and *v the verdict. */
bool guard_event(struct guard *g, const struct event *ev, struct reading **done, struct verdict *v);

/* The ids of the last check, committed and tail, as fed; and the same in one shot, for tests. */
const int32_t *reading_ids(const struct reading *r, size_t *n);
int guard_render(const struct guard *g, enum guard_role role, struct span turns, int32_t *out,
		 size_t cap, size_t *n);

/* Two-way renormalised; NAN when either logit is not finite. */
double guard_p_unsafe(float safe, float unsafe);
/* "\nS1,S9" -> bits; *known false when it cannot be read. n_cats: 13 or 14. */
uint32_t guard_parse_cats(struct span text, unsigned n_cats, bool *known);

#endif
