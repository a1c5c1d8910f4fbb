/* rows.c - names of the enumerations of rows.h. */
#include "rows.h"

#include <stddef.h>

static int find(const char *const *names, int n, struct span s)
{
	for (int i = 0; i < n; i++)
		if (span_eq(s, span_cstr(names[i])))
			return i;
	return -1;
}

#define NAMES(fn, type, ...)                                                                       \
	static const char *const fn##_names[] = {__VA_ARGS__};                                     \
	const char *fn##_text(type v)                                                              \
	{                                                                                          \
		return (unsigned)v < sizeof(fn##_names) / sizeof(fn##_names[0]) ? fn##_names[v]    \
										: "?";             \
	}                                                                                          \
	int fn##_from(struct span s)                                                               \
	{                                                                                          \
		return find(fn##_names, sizeof(fn##_names) / sizeof(fn##_names[0]), s);            \
	}

NAMES(subject_state, enum subject_state, "N", "P", "A", "V", "D", "X", "R", "C", "E")
NAMES(subject_kind, enum subject_kind, "person", "service")
NAMES(key_state, enum key_state, "active", "revoked")
NAMES(officer_state, enum officer_state, "pending", "active", "revoked")
NAMES(binding, enum binding, "none", "cert", "network")
NAMES(level, enum level, "key", "subject", "org")
NAMES(lock_scope, enum lock_scope, "all", "subject", "org", "model")

const char *subject_state_word(enum subject_state s)
{
	static const char *const words[] = {
	    "new",	 "applicant", "approved", "active", "re-verification due",
	    "suspended", "rejected",  "closed",	  "erased"};

	return (unsigned)s < SUB_STATES ? words[s] : "?";
}
