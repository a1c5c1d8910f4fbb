/* model.h - what the verbs of `sallyport model` share. Each verb is one file cli/model_VERB.c that
 * gives one struct model_verb, named below and in the table of cmd_model.c. The forms of -o json are
 * scripted against (doc/formats.md 11): members are added, never changed. One thread. */
#ifndef SP_CLI_MODEL_H
#define SP_CLI_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "cli.h"
#include "split.h"

struct model_verb {
	const char *name;
	int (*fn)(int argc, char **argv); /* an exit code; argv[1] is the verb */
	const char *help; /* "  VERB FILE ...   what it does\n" and a line for each option */
};
extern const struct model_verb model_verb_inspect, model_verb_quantize;
extern const struct model_verb model_verb_logits;
extern const struct model_verb model_verb_generate;
extern const struct model_verb model_verb_tokenize;
extern const struct model_verb model_verb_import;
extern const struct model_verb model_verb_synth;
extern const struct model_verb model_verb_bench;
extern const struct model_verb model_verb_plan;
extern const struct model_verb model_verb_perplexity;

/* ---- files ---- */
struct model_files {
	int fd[SPLIT_MAX]; /* parts in order; one for a whole file */
	unsigned n;
};
/* Opens a model file; of a split model, named by any of its files, all. X_OK, or an exit code after saying why. */
int model_files_open(const char *path, struct model_files *f);
void model_files_close(struct model_files *f);
/* For the verbs: what an error of the engine is to the shell, said with the file's name. */
int model_fail(int rc, const char *path, const char *why);

/* ---- words of the command line ---- */
/* "1,2,3" to ids: free(*out). X_OK or X_USAGE. */
int model_arg_tokens(const char *s, int32_t **out, size_t *n);
/* s NULL leaves *v. X_OK or X_USAGE. */
int model_arg_number(const char *what, const char *s, double lo, double hi, double *v);

/* ---- JSON ---- */
/* Prints b and a line feed; frees it. */
void model_print(struct buf *b);
/* "%.9g", or null for what is no number. */
void model_put_float(struct buf *b, float f);
/* A JSON string; bytes that are no UTF-8 become U+FFFD. */
void model_put_text(struct buf *out, const char *text, size_t n);

#endif
