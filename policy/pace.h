/* pace.h - when the growing answer is judged, and how far generation may run ahead. It looks at
 * counts of tokens and at time alone, never at what the tokens say (promise 2).
 *
 * A check starts when 16, 48, 96 tokens are there, then every 64; or a quarter of a second after
 * the last one when there is anything new; or when generation has ended. That last rule tells a
 * client when an answer ended, which the answer's length tells anyway: at most one window before a
 * block. Generation stops 60 tokens in until something was released, and never runs more than 128
 * tokens ahead of what was judged: so no release waits for more. Pure; any thread. */
#ifndef SP_POLICY_PACE_H
#define SP_POLICY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_FIRST_LIMIT 60u
#define PACE_AHEAD 128u
#define PACE_MS 250u

/* tokens: generated; judged: covered by the last verdict; since_ms: since the last check began (or
 * generation did). */
static inline bool pace_due(uint32_t tokens, uint32_t judged, uint32_t since_ms, bool ended)
{
	uint32_t step = judged == 0 ? 16 : judged < 48 ? 32 : judged < 96 ? 48 : 64;

	return ended || (tokens > judged && (tokens - judged >= step || since_ms >= PACE_MS));
}

/* How many tokens may be generated in all. */
static inline uint32_t pace_limit(uint32_t judged)
{
	return judged == 0 ? PACE_FIRST_LIMIT : judged + PACE_AHEAD;
}

/* What a blocked answer reports as generated: the next step, so that the number does not tell where
 * in the blocked window the answer ended. */
static inline uint32_t pace_round(uint32_t tokens)
{
	return tokens <= 16   ? 16
	       : tokens <= 48 ? 48
	       : tokens <= 96 ? 96
			      : 96 + (tokens - 96 + 63) / 64 * 64;
}

#endif
