/* noun.h - what the nouns of `sallyport` share: the table of verbs, opening of small files. One
 * thread. */
#ifndef SP_CLI_NOUN_H
#define SP_CLI_NOUN_H

#include "cli.h"

struct verb_fn {
	const char *name;
	int (*fn)(int argc, char **argv);
};
/* Runs the verb named by argv[1]; verbs end with {0}. --help prints help to stdout; no verb at all
 * prints it to stderr (X_USAGE). An unknown verb is answered with the nearest. */
int noun_run(int argc, char **argv, const struct verb_fn *verbs, const char *help);
/* cli_opts for verbs with exactly `want` positional words; usage is said when they are not there.
 */
int noun_opts(int argc, char **argv, const struct opt *opts, const char **pos, unsigned want,
	      const char *usage);
/* GET of a list, printed. */
int noun_list(const char *route, const char *list, const struct col *cols);
/* "/cases/" + what people typed, only if it is made of letters, digits, '_' and '-'. */
int noun_route(const char *folder, const char *id, const char *tail, char *out, size_t n);
/* String member of an answer, "" when absent. */
const char *noun_str(const json_t *o, const char *key);
/* Control characters become '?': what others wrote shall not drive a terminal. */
void noun_put_clean(const char *s);

#endif
