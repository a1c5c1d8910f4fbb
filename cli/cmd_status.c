/* cmd_status.c - `sallyport status`: is it up, is it ready, and if not, why. */
#include <stdio.h>

#include "cli.h"

int cmd_status(int argc, char **argv)
{
	json_t *reply = NULL;
	int rc;

	if (cli.help) {
		puts("usage: sallyport status [-o json]\n"
		     "Roles, readiness and what is missing for it, log head, layers of the "
		     "sandbox.");
		return X_OK;
	}
	if (argc > 1)
		return cli_fail(X_USAGE, "status takes no arguments");
	rc = cli_call("GET", "/status", NULL, &reply);
	if (rc != X_OK)
		return rc;
	cli_banner();
	cli_print(reply, NULL, NULL);
	json_decref(reply);
	return X_OK;
}
