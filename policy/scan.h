/* scan.h - the check of a whole prompt: every message of every role, as it is and without disguise,
 * as a conversation and as one text, whole and in overlapping windows; the severest decision
 * counts. Owner thread of the engine. */
#ifndef SP_POLICY_SCAN_H
#define SP_POLICY_SCAN_H

#include "guard.h"

#define SCAN_WINDOW 1024 /* tokens; longer texts are read in windows of so many, too */
#define SCAN_OVERLAP 128

struct scan;

/* Plans the check; msgs are borrowed for the call, policy for the scan's life. apart: a text that is
 * judged by itself, too, beside what was said (the words of a schema); empty = none. Oversize text and
 * other findings of the detectors may decide it without a model. *need = tokens to ask of
 * reading_new(). */
int scan_new(const struct model *guard_model, const struct policy *policy, uint8_t tier,
	     const struct chat_msg *msgs, size_t n, struct span apart, struct scan **out,
	     uint32_t *need, struct err *err);
void scan_free(struct scan *s); /* takes; NULL ok */

/* Starts or goes on with reading r (GUARD_USER, kept by the caller). 1: a check runs, give its
 * verdict to scan_verdict(); 0: decided, see scan_decision(); negative: error, nobody may pass. */
int scan_next(struct scan *s, struct reading *r, struct err *err);
void scan_verdict(struct scan *s, const struct verdict *v);
/* The severest decision over everything read. */
const struct decision *scan_decision(const struct scan *s);
uint32_t scan_tokens(const struct scan *s); /* computed by the guard */

#endif
