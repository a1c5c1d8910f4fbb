/* cli.h - what the commands of `sallyport` share: global options, the HTTP client over the admin
 * socket, output forms, exit codes (doc/formats.md 11). Each noun is one function
 * int cmd_NOUN(int argc, char **argv) in cli/cmd_NOUN.c, named in the table of main.c; argv[0] is the noun,
 * argv[1] the verb; global options are already taken out. Data goes to stdout, words to stderr.
 * One thread. */
#ifndef SP_CLI_CLI_H
#define SP_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "err.h"
#include "span.h"

#undef X_OK /* access(2)'s; ours is an exit code */
enum {
	X_OK = 0, X_FAIL = 1, X_USAGE = 2, X_NOTFOUND = 3, X_LOGIN = 4, X_SEPARATION = 5,
	X_CONFLICT = 6, X_WAITS = 7, X_FINDINGS = 8, X_UNREACHABLE = 9, X_BOOK = 10,
};

enum out_form { OUT_TABLE, OUT_JSON, OUT_JSONL, OUT_CSV };

struct cli {
	const char *realm;    /* --realm DIR or SALLYPORT_REALM; NULL = none */
	const char *socket;   /* --socket PATH, SALLYPORT_SOCKET, or DIR/admin.sock */
	enum out_form out;    /* -o */
	bool dry_run, yes, help;
	bool demo;            /* the realm's genesis says so (known once a reply or genesis was read) */
};
extern struct cli cli;

/* Parses "--name value" or "--name=value" out of argv[2..]; see opt_*. */
struct opt {
	const char *name;   /* "key" for --key */
	bool flag;          /* takes no value */
	const char **value; /* set to the (last) value, or to "" for a flag */
	const char **many;  /* for repeatable options: array of max values, NULL-terminated */
	unsigned max;
};
/* Options end with {0}. Positional arguments are moved to pos (at most max), *npos is their count.
 * X_OK, or X_USAGE after telling what is wrong and the nearest option. */
int cli_opts(int argc, char **argv, const struct opt *opts, const char **pos, unsigned max,
	     unsigned *npos);
/* Prints "sallyport: ..." to stderr and returns code. */
int cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Nearest of a NULL-terminated list within two edits; NULL = none. */
const char *cli_nearest(const char *word, const char *const *list);

/* One request to /admin/v1 over the socket. body NULL = none. Gives *reply (json_decref). Returns an
 * exit code; on an error answer it has printed guard, who can and the command. raw: when not NULL the
 * bytes as they came (free()), for routes that do not answer JSON; *reply may then be NULL. */
int cli_call(const char *method, const char *route, json_t *body, json_t **reply);
int cli_call_raw(const char *method, const char *route, char **raw, size_t *n);

/* Columns of a list: json member -> header. */
struct col {
	const char *key, *head;
};
/* Prints doc[list] (array of objects), or doc itself when list is NULL (one object: name/value lines),
 * in the form asked for. JSON forms print doc with schema_version as it came. */
void cli_print(json_t *doc, const char *list, const struct col *cols);
/* Says DEMO in the header of tables when the realm is one. */
void cli_banner(void);

/* weak: the program links before a noun has landed */
int cmd_init(int argc, char **argv) __attribute__((weak));
int cmd_officer(int argc, char **argv) __attribute__((weak));
int cmd_subject(int argc, char **argv) __attribute__((weak));
int cmd_case(int argc, char **argv) __attribute__((weak));
int cmd_queue(int argc, char **argv) __attribute__((weak));
int cmd_key(int argc, char **argv) __attribute__((weak));
int cmd_quota(int argc, char **argv) __attribute__((weak));
int cmd_lockdown(int argc, char **argv) __attribute__((weak));
/* Other folders' nouns; weak so that the program links before they have landed. */
int cmd_audit(int argc, char **argv) __attribute__((weak));
int cmd_receipt(int argc, char **argv) __attribute__((weak));
int cmd_model(int argc, char **argv) __attribute__((weak));
int cmd_request(int argc, char **argv) __attribute__((weak));
int cmd_status(int argc, char **argv) __attribute__((weak));

#endif
