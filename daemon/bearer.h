/* bearer.h - the key in an Authorization header: doc/formats.md 2. The secret itself never leaves
 * the function that reads it; only its digest does. */
#ifndef SP_DAEMON_BEARER_H
#define SP_DAEMON_BEARER_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

struct bearer {
	bool present; /* there was an Authorization header */
	bool ok;      /* and it was well formed */
	char kid[27]; /* canonical text */
	uint8_t digest[32];
};
/* "Bearer sp_<26>_<52>"; the scheme without case. Fills *b; false = not well formed. */
bool bearer_parse(struct span value, struct bearer *b);

#endif
