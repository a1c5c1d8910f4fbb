/* opts.c - arguments of the commands. Own table instead of getopt_long: every verb says what it
 * takes, and a wrong word is answered with the nearest right one. One thread. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

int cli_fail(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("sallyport: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

static unsigned edits(const char *a, const char *b)
{
	unsigned row[40], la = (unsigned)strlen(a), lb = (unsigned)strlen(b);

	if (la >= 40 || lb >= 40)
		return 99;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diag = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned up = row[j], best = diag + (a[i - 1] != b[j - 1]);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diag = up;
			row[j] = best;
		}
	}
	return row[lb];
}

const char *cli_nearest(const char *word, const char *const *list)
{
	const char *best = NULL;
	unsigned least = 3;

	for (; *list; list++) {
		unsigned d = edits(word, *list);

		if (d < least) {
			least = d;
			best = *list;
		}
	}
	return best;
}

static int unknown_option(const char *noun, const char *word, const struct opt *opts)
{
	const char *names[24], *near;
	char clean[40];
	unsigned n = 0;

	for (; opts->name && n < 23; opts++)
		names[n++] = opts->name;
	names[n] = NULL;
	snprintf(clean, sizeof(clean), "%.*s", (int)strcspn(word, "="), word);
	near = cli_nearest(clean, names);
	return cli_fail(X_USAGE, "%s has no option --%s%s%s%s", noun, clean,
			near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

static int store_value(const char *noun, const struct opt *o, const char *value)
{
	unsigned n = 0;

	if (o->many == NULL) {
		*o->value = value;
		return X_OK;
	}
	while (o->many[n])
		n++;
	if (n + 1 >= o->max)
		return cli_fail(X_USAGE, "%s: too many --%s", noun, o->name);
	o->many[n] = value;
	o->many[n + 1] = NULL;
	return X_OK;
}

int cli_opts(int argc, char **argv, const struct opt *opts, const char **pos, unsigned max,
	     unsigned *npos)
{
	bool only_words = false;
	int rc = X_OK;

	*npos = 0;
	for (int i = 2; i < argc && rc == X_OK; i++) {
		const char *a = argv[i], *value = NULL;
		const struct opt *o = opts;
		size_t len;

		if (only_words || a[0] != '-' || a[1] == '\0') {
			if (*npos == max)
				return cli_fail(X_USAGE, "%s %s: '%.40s' is one argument too many",
						argv[0], argv[1], a);
			pos[(*npos)++] = a;
			continue;
		}
		if (strcmp(a, "--") == 0) {
			only_words = true;
			continue;
		}
		a += strspn(a, "-");
		len = strcspn(a, "=");
		while (o->name && (strlen(o->name) != len || strncmp(o->name, a, len) != 0))
			o++;
		if (o->name == NULL)
			return unknown_option(argv[0], a, opts);
		if (o->flag)
			value = "";
		else if (a[len] == '=')
			value = a + len + 1;
		else if (i + 1 < argc)
			value = argv[++i];
		else
			return cli_fail(X_USAGE, "--%s needs a value", o->name);
		rc = store_value(argv[0], o, value);
	}
	return rc;
}
