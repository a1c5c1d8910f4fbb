/* reasons.c - see reasons.h. */
#include "reasons.h"

#include <stddef.h>

static const struct reason_info infos[] = {
#define X(num, name, status, type, code, en, vi) [num] = {#name, status, type, code, en, vi},
    REASONS(X)
#undef X
};

const struct reason_info *reason_info(unsigned code)
{
	if (code >= sizeof(infos) / sizeof(infos[0]) || infos[code].name == NULL)
		return &infos[RS_INTERNAL];
	return &infos[code];
}
