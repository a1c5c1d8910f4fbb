/* cmd_queue.c - cases that wait. */
#include <stdio.h>
#include <string.h>

#include "noun.h"

int cmd_queue(int argc, char **argv)
{
	static const struct col cols[] = {{"num", "CASE"},
					  {"kind", "KIND"},
					  {"state_word", "STATE"},
					  {"subject", "SUBJECT"},
					  {"waits_for", "WAITS FOR"},
					  {"you_may", "YOU MAY"},
					  {NULL, NULL}};

	if (cli.help) {
		puts("usage: sallyport queue [ls] [-o json]\n"
		     "Cases that wait for a proposal or another signature, and the command that "
		     "moves each on.");
		return X_OK;
	}
	if (argc > 2 || (argc == 2 && strcmp(argv[1], "ls") != 0))
		return cli_fail(X_USAGE, "queue has only the verb 'ls'");
	return noun_list("/queue", "cases", cols);
}
