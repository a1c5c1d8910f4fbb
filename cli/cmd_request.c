/* cmd_request.c - `sallyport request show ID`: every step of one request, from the log. */
#include <stdio.h>

#include "cli.h"

int cmd_request(int argc, char **argv)
{
	static const struct col cols[] = {
	    {"index", "ENTRY"}, {"ts", "TIME"}, {"t", "WHAT"}, {"detail", "DETAIL"}, {NULL, NULL}};
	const struct opt opts[] = {{0}};
	const char *pos[1];
	char route[128];
	json_t *reply = NULL;
	unsigned npos;
	int rc;

	if (cli.help || argc < 2) {
		fputs("usage: sallyport request show REQUEST-ID [-o json]\n"
		      "Every entry of the log about one request: reserve, verdicts, intent, "
		      "outcome.\n",
		      argc < 2 && !cli.help ? stderr : stdout);
		return cli.help ? X_OK : X_USAGE;
	}
	if (strcmp(argv[1], "show") != 0)
		return cli_fail(X_USAGE, "request has the verb 'show'");
	rc = cli_opts(argc, argv, opts, pos, 1, &npos);
	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "request show REQUEST-ID");
	if (snprintf(route, sizeof(route), "/requests/%s", pos[0]) >= (int)sizeof(route))
		return cli_fail(X_USAGE, "'%.30s' is no request id", pos[0]);
	rc = cli_call("GET", route, NULL, &reply);
	if (rc != X_OK)
		return rc;
	cli_banner();
	cli_print(reply, "entries", cols);
	json_decref(reply);
	return X_OK;
}
