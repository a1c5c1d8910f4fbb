/* quota_names.c - levels and limits as words; see quota.h. */
#include "quota.h"

const char *quota_level_name(enum quota_level l)
{
	static const char *const names[] = {"key", "subject", "organisation"};

	return l < QL_COUNT ? names[l] : "?";
}

const char *quota_what_name(enum quota_what w)
{
	static const char *const names[] = {
	    "requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day",
	    "requests_per_month",  "tokens_per_month",	"concurrency"};

	return w < QW_COUNT ? names[w] : "?";
}
