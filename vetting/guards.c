/* guards.c - see guards.h. */
#include "guards.h"

const struct guard_info *guard_info(enum guard g)
{
	static const struct guard_info infos[] = {
#define X(name, text, http, code, what, who, command) {text, http, code, what, who, command},
	    GUARDS(X)
#undef X
	};

	return &infos[(unsigned)g < GD_COUNT ? g : GD_FORM];
}
