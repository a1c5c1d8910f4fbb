/* cmd_model.c - `sallyport model`: looks into model files and runs them offline, no daemon needed.
 * One file per verb (model.h). */
#include <stdio.h>
#include <string.h>

#include "model.h"

/* one a line, so that additions do not meet */
/* clang-format off */
static const struct model_verb *const verbs[] = {
	&model_verb_inspect,
	&model_verb_logits,
	&model_verb_generate,
	&model_verb_tokenize,
	&model_verb_import,
	&model_verb_synth,
	&model_verb_bench,
	&model_verb_plan,
	&model_verb_perplexity,
	&model_verb_quantize,
};
/* clang-format on */
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void help(FILE *to, const struct model_verb *only)
{
	fprintf(to, "usage: sallyport model %s\n", only ? only->name : "VERB FILE [options]");
	for (size_t i = 0; i < N_VERBS; i++)
		if (!only || only == verbs[i])
			fputs(verbs[i]->help, to);
	fputs("  -o json for scripts. Nothing here talks to a daemon.\n", to);
}

int cmd_model(int argc, char **argv)
{
	const char *names[N_VERBS + 1], *near;

	if (argc < 2) {
		help(cli.help ? stdout : stderr, NULL);
		return cli.help ? X_OK : X_USAGE;
	}
	for (size_t i = 0; i < N_VERBS; i++) {
		names[i] = verbs[i]->name;
		if (strcmp(argv[1], names[i]) != 0)
			continue;
		if (!cli.help)
			return verbs[i]->fn(argc, argv);
		help(stdout, verbs[i]);
		return X_OK;
	}
	names[N_VERBS] = NULL;
	near = cli_nearest(argv[1], names);
	return cli_fail(X_USAGE, "model has no verb '%.40s'%s%s%s", argv[1],
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}
