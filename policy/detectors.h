/* detectors.h - deterministic checks before any model: characters with no honest use, size, text
 * that imitates a model's control tokens. Pure; any thread. */
#ifndef SP_POLICY_DETECTORS_H
#define SP_POLICY_DETECTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "normalise.h"

/* Bits of a category mask. S1..S14 are bits 0..13 (CAT_S(1) = 1); detectors follow. */
#define CAT_S(n) (1u << ((n)-1))
#define CAT_HAZARDS 0x3fffu
enum {
	CAT_TAGS = 1u << 16,	  /* tag characters smuggled in */
	CAT_OVERSIZE = 1u << 17,  /* larger than the policy allows */
	CAT_SPECIAL = 1u << 18,	  /* imitates control tokens of a model: flagged, harmless here */
	CAT_INVISIBLE = 1u << 19, /* much invisible text: flagged */
	CAT_ERROR = 1u << 31,	  /* no verdict could be had */
};

struct detect {
	uint32_t found; /* CAT_TAGS ... CAT_INVISIBLE */
	struct norm_seen seen;
};

/* Adds what is in text to *d. seen: what normalise() saw in it. */
void detect_text(struct span text, const struct norm_seen *seen, struct detect *d);

#endif
