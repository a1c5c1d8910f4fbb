/* decisions.h - `audit verify --decisions`: the whole authority set recomputed from the log. */
#ifndef SP_CLI_DECISIONS_H
#define SP_CLI_DECISIONS_H

#include <jansson.h>
#include <stdint.h>

#include "err.h"

/* Folds entries [0, records) of a log folder that was verified before. Gives *out, an object for
 * -o json:
 * {"ok","officers","subjects","keys","cases","statements","refused","digest","words","confirmed",
 * "first_bad" (index or null),"message"}. E_OK, E_CRYPTO (a row that no officers signed), or E_IO.
 */
int decisions_check(int dirfd, uint64_t records, json_t **out, struct err *err);

#endif
