/* noun.c - see noun.h. */
#include "noun.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

int noun_run(int argc, char **argv, const struct verb_fn *verbs, const char *help)
{
	const char *names[16], *near;
	unsigned n = 0;

	if (argc < 2 || cli.help) {
		fputs(help, cli.help ? stdout : stderr);
		return cli.help ? X_OK : X_USAGE;
	}
	for (; verbs[n].name && n < 15; n++) {
		names[n] = verbs[n].name;
		if (strcmp(argv[1], verbs[n].name) == 0)
			return verbs[n].fn(argc, argv);
	}
	names[n] = NULL;
	near = cli_nearest(argv[1], names);
	return cli_fail(X_USAGE, "%s has no verb '%.40s'%s%s%s sallyport %s --help lists them.",
			argv[0], argv[1], near ? "; did you mean '" : "", near ? near : "",
			near ? "'?" : ".", argv[0]);
}

int noun_opts(int argc, char **argv, const struct opt *opts, const char **pos, unsigned want,
	      const char *usage)
{
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, want, &npos);

	if (rc != X_OK)
		return rc;
	return npos == want ? X_OK : cli_fail(X_USAGE, "usage: sallyport %s", usage);
}

int noun_list(const char *route, const char *list, const struct col *cols)
{
	json_t *reply = NULL;
	int rc = cli_call("GET", route, NULL, &reply);

	if (rc != X_OK)
		return rc;
	cli_banner();
	cli_print(reply, list, cols);
	json_decref(reply);
	return X_OK;
}

int noun_route(const char *folder, const char *id, const char *tail, char *out, size_t n)
{
	for (const char *s = id; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-')
			return cli_fail(X_USAGE, "'%.40s' is no id", id);
	if (id[0] == '\0' || snprintf(out, n, "%s/%s%s", folder, id, tail) >= (int)n)
		return cli_fail(X_USAGE, "'%.40s' is no id", id);
	return X_OK;
}

const char *noun_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

void noun_put_clean(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}
