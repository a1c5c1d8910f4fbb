/* cmd_quota.c - limits and what is used of them. */
#include <stdio.h>

#include "noun.h"

static const char quota_help[] =
    "usage: sallyport quota VERB\n"
    "  show ID       limits of a key, subject or organisation, and what is used now\n"
    "  explain ID    the same in sentences: which limit is near, when it opens again\n"
    "\n"
    "  sallyport quota show sub_... -o json\n";

static void put_row(const json_t *limits, const json_t *used, const char *limit, const char *use,
		    const char *text)
{
	json_int_t l = json_integer_value(json_object_get(limits, limit));
	const json_t *u = json_object_get(used, use);
	char now[24] = "-", most[24] = "none";

	if (json_is_integer(u))
		snprintf(now, sizeof(now), "%lld", (long long)json_integer_value(u));
	if (l)
		snprintf(most, sizeof(most), "%lld", (long long)l);
	printf("%-22s %16s %16s\n", text, now, most);
}

static void put_quota(const json_t *o)
{
	static const struct {
		const char *limit, *use, *text;
	} rows[] = {{"concurrency", "concurrency", "running now"},
		    {"req_min", "requests_minute", "requests, minute"},
		    {"req_day", "requests_day", "requests, day"},
		    {"req_month", "requests_month", "requests, month"},
		    {"tok_min", "tokens_minute", "tokens, minute"},
		    {"tok_day", "tokens_day", "tokens, day"},
		    {"tok_month", "tokens_month", "tokens, month"}};

	printf("%s  %s\n%-22s %16s %16s\n", noun_str(o, "id"), noun_str(o, "level"), "", "USED",
	       "LIMIT");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put_row(json_object_get(o, "limits"), json_object_get(o, "used"), rows[i].limit,
			rows[i].use, rows[i].text);
}

static int show(int argc, char **argv, const char *tail, const char *usage)
{
	const struct opt opts[] = {{0}};
	const char *pos[1];
	char route[128];
	json_t *o = NULL, *line;
	size_t i;
	int rc = noun_opts(argc, argv, opts, pos, 1, usage);

	if (rc == X_OK)
		rc = noun_route("/quotas", pos[0], tail, route, sizeof(route));
	if (rc == X_OK)
		rc = cli_call("GET", route, NULL, &o);
	if (rc != X_OK)
		return rc;
	cli_banner();
	if (cli.out != OUT_TABLE) {
		cli_print(o, NULL, NULL);
	} else {
		put_quota(o);
		json_array_foreach(json_object_get(o, "explain"), i, line)
		{
			noun_put_clean(json_string_value(line) ? json_string_value(line) : "");
			putchar('\n');
		}
	}
	json_decref(o);
	return X_OK;
}

static int verb_show(int argc, char **argv)
{
	return show(argc, argv, "", "quota show ID");
}

static int verb_explain(int argc, char **argv)
{
	return show(argc, argv, "/explain", "quota explain ID");
}

int cmd_quota(int argc, char **argv)
{
	static const struct verb_fn verbs[] = {{"show", verb_show}, {"explain", verb_explain}, {0}};

	return noun_run(argc, argv, verbs, quota_help);
}
