/* decide.h - from verdict and identity to action. Pure; any thread.
 * Anything but a finite score below every threshold is no allowance. */
#ifndef SP_POLICY_DECIDE_H
#define SP_POLICY_DECIDE_H

#include <stdbool.h>

#include "detectors.h"
#include "policy_file.h"

struct verdict {
	int code;	 /* 0, or a negative error: no verdict */
	double p_unsafe; /* of the model's two verdict tokens alone */
	uint32_t cats;	 /* S-bits; 0 with cats_known false: not asked or not readable */
	bool cats_known;
	uint32_t tokens; /* computed for it */
};

struct decision {
	enum decide_action action; /* what policy says */
	uint32_t cats, score_milli, threshold_milli;
};

/* The lowest score at which the categories matter for this tier. */
uint32_t decide_floor(const struct policy *p, uint8_t tier);
/* found: detectors' bits. Tiers above the table are judged as tier 0, the strictest by custom. */
void decide(const struct policy *p, uint8_t tier, uint32_t found, const struct verdict *v,
	    struct decision *d);
/* May text with this action go out? redact and hold wait for a later version: they stop. */
static inline bool decide_passes(enum decide_action a)
{
	return a == DA_ALLOW || a == DA_FLAG;
}

#endif
