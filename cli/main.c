/* main.c - `sallyport`: one tree of nouns and verbs. Global options may stand anywhere before "--".
 */
#include <locale.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "cli.h"

#ifndef SALLYPORT_VERSION
#define SALLYPORT_VERSION "0.1.0"
#endif

struct cli cli;

static const struct noun {
	const char *name;
	int (*fn)(int, char **);
	const char *verbs, *says;
} nouns[] = {
    {"init", cmd_init, "", "make a realm: genesis, secrets, configuration"},
    {"officer", cmd_officer, "keygen confirm revoke ls", "officers and their keys"},
    {"subject", cmd_subject, "new ls show suspend code tier reinstate close",
     "who may ask: vetted persons"},
    {"case", cmd_case, "ls show propose sign refuse withdraw", "every sensitive change, four eyes"},
    {"queue", cmd_queue, "ls", "cases that wait for you"},
    {"key", cmd_key, "ls revoke", "API keys"},
    {"quota", cmd_quota, "show explain", "limits, and why one was hit"},
    {"lockdown", cmd_lockdown, "all subject org model lift ls",
     "stop at once; one officer is enough"},
    {"status", cmd_status, "", "up, ready, and if not: why"},
    {"request", cmd_request, "show", "every step of one request"},
    {"receipt", cmd_receipt, "show check", "proof of one answer"},
    {"audit", cmd_audit, "verify tail", "the book: verify it, read it"},
    {"model", cmd_model, "inspect plan bench generate perplexity quantize ...",
     "model files, offline"},
};
#define N_NOUNS (sizeof(nouns) / sizeof(nouns[0]))

static void help(FILE *to)
{
	fputs("usage: sallyport [--realm DIR | --socket PATH] [-o table|json|jsonl|csv] NOUN VERB "
	      "...\n\n",
	      to);
	for (size_t i = 0; i < N_NOUNS; i++)
		if (nouns[i].fn)
			fprintf(to, "  %-9s %-51s %s\n", nouns[i].name, nouns[i].verbs,
				nouns[i].says);
	fputs("\n  sallyport NOUN --help says more. --dry-run shows what a change would do. --yes "
	      "answers questions.\n"
	      "  SALLYPORT_REALM and SALLYPORT_SOCKET stand for --realm and --socket.\n"
	      "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 log in, 5 separation of "
	      "duties, 6 state\n"
	      "conflict, 7 waits for another signature, 9 daemon unreachable, 10 book not "
	      "writable.\n",
	      to);
}

static int out_form(const char *s)
{
	static const char *const forms[] = {"table", "json", "jsonl", "csv", NULL};

	for (int i = 0; s && forms[i]; i++)
		if (strcmp(s, forms[i]) == 0) {
			cli.out = (enum out_form)i;
			return X_OK;
		}
	return cli_fail(X_USAGE, "-o is table, json, jsonl or csv");
}

/* Takes global options out of argv; what is left keeps its order. */
static int globals(int *argc, char **argv)
{
	int keep = 1, rc = X_OK;

	cli.realm = getenv("SALLYPORT_REALM");
	cli.socket = getenv("SALLYPORT_SOCKET");
	for (int i = 1; i < *argc && rc == X_OK; i++) {
		const char *a = argv[i], *next = i + 1 < *argc ? argv[i + 1] : NULL;
		bool is_init = keep > 1 && strcmp(argv[1], "init") == 0;

		if (strcmp(a, "--") == 0) {
			while (i < *argc)
				argv[keep++] = argv[i++];
		} else if (strcmp(a, "-o") == 0) {
			rc = out_form(next);
			i++;
		} else if (strcmp(a, "--realm") == 0 && next) {
			cli.realm = next;
			if (is_init) {
				argv[keep++] = argv[i];
				argv[keep++] = argv[i + 1];
			}
			i++;
		} else if (strcmp(a, "--socket") == 0 && next) {
			cli.socket = next;
			i++;
		} else if (strcmp(a, "--dry-run") == 0) {
			cli.dry_run = true;
		} else if (strcmp(a, "--yes") == 0) {
			cli.yes = true;
		} else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			cli.help = true;
		} else {
			argv[keep++] = argv[i];
		}
	}
	*argc = keep;
	argv[keep] = NULL;
	return rc;
}

int main(int argc, char **argv)
{
	const char *names[N_NOUNS + 1], *near;
	int rc;

	setlocale(LC_CTYPE, "");
	if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return X_FAIL;
	rc = globals(&argc, argv);
	if (rc != X_OK)
		return rc;
	if (argc < 2 || strcmp(argv[1], "help") == 0) {
		help(argc < 2 && !cli.help ? stderr : stdout);
		return argc < 2 && !cli.help ? X_USAGE : X_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("sallyport " SALLYPORT_VERSION);
		return X_OK;
	}
	for (size_t i = 0; i < N_NOUNS; i++) {
		names[i] = nouns[i].name;
		if (strcmp(argv[1], nouns[i].name) == 0 && nouns[i].fn)
			return nouns[i].fn(argc - 1, argv + 1);
	}
	names[N_NOUNS] = NULL;
	near = cli_nearest(argv[1], names);
	return cli_fail(X_USAGE, "there is no '%.40s'%s%s%s. sallyport --help lists the nouns.",
			argv[1], near ? "; did you mean '" : "", near ? near : "",
			near ? "'?" : "");
}
