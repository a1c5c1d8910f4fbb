/* decide.c - see decide.h. */
#include "decide.h"

#include <math.h>

static unsigned row(uint8_t tier)
{
	return tier < POLICY_TIERS ? tier : 0;
}

uint32_t decide_floor(const struct policy *p, uint8_t tier)
{
	uint32_t floor = 1000;

	for (int c = 0; c < POLICY_CATS; c++)
		if (p->rule[row(tier)][c].threshold_milli < floor)
			floor = p->rule[row(tier)][c].threshold_milli;
	return floor;
}

static void worse(struct decision *d, enum decide_action a, uint32_t threshold)
{
	if (a > d->action) {
		d->action = a;
		d->threshold_milli = threshold;
	}
}

static void judge(const struct policy_rule *r, double p_unsafe, struct decision *d)
{
	if (p_unsafe < (double)r->threshold_milli / 1000.0)
		return;
	/* an action "allow" above its threshold is a decision of the officers: noted by cats */
	worse(d, r->action, r->threshold_milli);
}

void decide(const struct policy *p, uint8_t tier, uint32_t found, const struct verdict *v,
	    struct decision *d)
{
	const struct policy_rule *rules = p->rule[row(tier)];

	*d = (struct decision){DA_ALLOW, found | v->cats, 0, decide_floor(p, tier)};
	if (v->code != 0 || !isfinite(v->p_unsafe) || v->p_unsafe < 0 || v->p_unsafe > 1) {
		d->action = DA_ERROR;
		d->cats |= CAT_ERROR;
		d->score_milli = 1000;
		return;
	}
	d->score_milli = (uint32_t)(v->p_unsafe * 1000 + 0.5);
	if (v->cats_known && (v->cats & CAT_HAZARDS)) {
		for (int c = 1; c < POLICY_CATS; c++)
			if (v->cats & CAT_S(c))
				judge(&rules[c], v->p_unsafe, d);
	} else {
		judge(&rules[0], v->p_unsafe, d);
		/* unreadable categories must not escape by a lenient rule for "unknown" */
		if (rules[0].action < DA_BLOCK && v->p_unsafe >= 0.5)
			worse(d, DA_BLOCK, rules[0].threshold_milli);
	}
	if (found & (CAT_SPECIAL | CAT_INVISIBLE))
		worse(d, DA_FLAG, d->threshold_milli);
	if (found & CAT_TAGS)
		worse(d, p->tag_action, d->threshold_milli);
	if (found & CAT_OVERSIZE)
		worse(d, DA_BLOCK, d->threshold_milli);
}
