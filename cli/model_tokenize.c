/* model_tokenize.c - text to token ids. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "io.h"
#include "model.h"

#define TEXT_MAX (64u << 20)

static int tokenize(const struct model_files *f, struct span text, unsigned flags, struct buf *b,
		    struct err *err)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 1 << 20};
	struct model_opts mo = {.vocab_only = true};
	struct engine *e = NULL;
	struct model *m = NULL;
	size_t cap = text.n + 16, n = 0;
	int32_t *ids = malloc(cap * sizeof(*ids));
	int rc = ids ? engine_open(&cfg, &e, err) : err_set(err, E_NOMEM, "no memory");

	if (rc == E_OK)
		rc = engine_model_add(e, f->fd, f->n, &mo, &m, err);
	if (rc == E_OK && (rc = model_tokenize(m, text, flags, ids, cap, &n)) < 0)
		err_set(err, rc, "the text cannot be tokenised (%s)", err_name(rc));
	buf_puts(b, "{\"ids\":[");
	for (size_t i = 0; i < n && rc == E_OK; i++)
		buf_fmt(b, i ? ",%d" : "%d", (int)ids[i]);
	buf_puts(b, "],\"schema_version\":1}");
	engine_close(e);
	free(ids);
	return rc;
}

static int verb_tokenize(int argc, char **argv)
{
	const char *file = NULL, *special = NULL, *bos = NULL, *pos[1];
	const struct opt opts[] = {{"text-file", false, &file, NULL, 0},
				   {"special", true, &special, NULL, 0},
				   {"bos", true, &bos, NULL, 0},
				   {0}};
	struct buf text = BUF_INIT(TEXT_MAX), b = BUF_INIT(TEXT_MAX * 8ull);
	struct err err = {0};
	struct model_files files;
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || file == NULL)
		return rc ? rc : cli_fail(X_USAGE, "model tokenize FILE --text-file F");
	if ((rc = io_read_file(file, TEXT_MAX, &text, &err)) < 0) {
		buf_free(&text);
		rc = rc == E_RANGE ? X_USAGE : access(file, F_OK) < 0 ? X_NOTFOUND : X_FAIL;
		return cli_fail(rc, "%s", err.text);
	}
	if ((rc = model_files_open(pos[0], &files)) == X_OK) {
		rc = tokenize(&files, buf_span(&text),
			      (special ? TOK_SPECIAL : 0) | (bos ? TOK_BOS : 0), &b, &err);
		model_files_close(&files);
		if (rc < 0)
			rc = cli_fail(X_FAIL, "%s: %s", pos[0], err.text);
		else
			model_print(&b);
	}
	buf_free(&text);
	buf_free(&b);
	return rc;
}

const struct model_verb model_verb_tokenize = {
    "tokenize", verb_tokenize, "  tokenize FILE --text-file F [--special] [--bos]\n"};
