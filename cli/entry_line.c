/* entry_line.c - one entry of the log as one line for people: what happened, and the few members
 * that say so; ids and digests by their beginnings. Machines use -o jsonl. One thread. */
#include "entry_line.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CUT 14 /* characters kept of an id or digest */

/* Members that say nothing to a person here: who wrote it, secrets of nobody, whole documents. */
static bool hidden(const char *key)
{
	static const char *const keys[] = {
	    "boot",	 "v",	"t",	 "ts",	"lease",  "conn",      "sig",	  "commit",
	    "statement", "doc", "build", "src", "policy", "guard_sha", "genesis", NULL};

	for (int i = 0; keys[i]; i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

static void put_value(const json_t *v)
{
	const char *s;
	char *dump;

	if (json_is_string(v)) {
		s = json_string_value(v);
		if (strlen(s) > 24)
			printf("%.*s..", CUT, s);
		else
			fputs(s, stdout);
		return;
	}
	dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	if (dump && strlen(dump) > 60)
		printf("%.57s...", dump);
	else
		fputs(dump ? dump : "?", stdout);
	free(dump);
}

void entry_line(uint64_t index, struct span e)
{
	static const char *const first[] = {"req",  "state",  "action", "verb",
					    "kind", "result", NULL};
	json_t *o = json_loadb(e.p, e.n, JSON_REJECT_DUPLICATES, NULL), *v;
	const char *t = json_string_value(json_object_get(o, "t")), *key;
	char when[40] = "-";
	struct tm tm;
	time_t sec = (time_t)(json_integer_value(json_object_get(o, "ts")) / 1000);

	if (sec > 0 && localtime_r(&sec, &tm))
		strftime(when, sizeof(when), "%H:%M:%S", &tm);
	printf("%7llu  %s  %-18s", (unsigned long long)index, when, t ? t : "(no JSON)");
	for (int i = 0; first[i]; i++)
		if ((v = json_object_get(o, first[i]))) {
			printf(i ? " %s=" : " ", first[i]);
			put_value(v);
		}
	json_object_foreach(o, key, v)
	{
		bool told = hidden(key) || (strcmp(key, "guard") == 0 && json_is_string(v)) ||
			    (strcmp(key, "model") == 0 &&
			     strlen(json_string_value(v) ? json_string_value(v) : "") == 64);

		for (int i = 0; first[i]; i++)
			told |= strcmp(key, first[i]) == 0;
		if (told || (json_is_string(v) && json_string_length(v) == 0))
			continue;
		printf(" %s=", key);
		put_value(v);
	}
	putchar('\n');
	json_decref(o);
}
