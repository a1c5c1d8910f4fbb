/* model_logits.c - logits after the last of some tokens. */
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "tools.h"

static int verb_logits(int argc, char **argv)
{
	const char *tokens = NULL, *path = "batch", *kernel = NULL, *pos[1];
	const struct opt opts[] = {{"tokens", false, &tokens, NULL, 0},
				   {"path", false, &path, NULL, 0},
				   {"kernel", false, &kernel, NULL, 0},
				   {0}};
	struct tool_opts o = {0};
	struct model_files files;
	struct buf b = BUF_INIT(64u << 20);
	struct err err = {0};
	unsigned npos;
	int32_t *ids = NULL;
	float *row = NULL;
	uint32_t nv = 0;
	size_t n = 0;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model logits FILE --tokens 1,2,3");
	if (strcmp(path, "batch") != 0 && strcmp(path, "step") != 0)
		return cli_fail(X_USAGE, "--path is batch or step");
	if ((rc = model_arg_tokens(tokens, &ids, &n)) != X_OK)
		return rc;
	if ((rc = model_files_open(pos[0], &files)) != X_OK) {
		free(ids);
		return rc;
	}
	o.kernel = kernel;
	o.step = strcmp(path, "step") == 0;
	rc = tool_logits(files.fd, files.n, ids, n, &o, &row, &nv, &err);
	model_files_close(&files);
	free(ids);
	if (rc < 0)
		return model_fail(rc, pos[0], err.text);
	buf_puts(&b, "{\"logits\":[");
	for (uint32_t i = 0; i < nv; i++) {
		if (i)
			buf_putc(&b, ',');
		model_put_float(&b, row[i]);
	}
	buf_puts(&b, "],\"schema_version\":1}");
	free(row);
	model_print(&b);
	return X_OK;
}

const struct model_verb model_verb_logits = {
    "logits", verb_logits,
    "  logits FILE --tokens 1,2,3 [--path batch|step] [--kernel NAME]\n"
    "                                      logits after the last token, full precision\n"};
