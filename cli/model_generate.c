/* model_generate.c - continues a prompt. */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"
#include "tools.h"

static void print_generated(const int32_t *out, size_t n_out, const char *text, size_t n_text)
{
	struct buf b = BUF_INIT(64u << 20);

	if (cli.out != OUT_JSON) {
		fwrite(text, 1, n_text, stdout);
		putchar('\n');
		return;
	}
	buf_puts(&b, "{\"schema_version\":1,\"text\":");
	model_put_text(&b, text, n_text);
	buf_puts(&b, ",\"tokens\":[");
	for (size_t i = 0; i < n_out; i++)
		buf_fmt(&b, i ? ",%d" : "%d", (int)out[i]);
	buf_puts(&b, "]}");
	model_print(&b);
}

static int verb_generate(int argc, char **argv)
{
	const char *tokens = NULL, *count = NULL, *seed = NULL, *temp = NULL, *kernel = NULL;
	const char *greedy = NULL, *pos[1];
	const struct opt opts[] = {{"tokens", false, &tokens, NULL, 0},
				   {"n", false, &count, NULL, 0},
				   {"seed", false, &seed, NULL, 0},
				   {"temperature", false, &temp, NULL, 0},
				   {"kernel", false, &kernel, NULL, 0},
				   {"greedy", true, &greedy, NULL, 0},
				   {0}};
	struct tool_opts o = {0};
	struct model_files files;
	struct sampler smp;
	struct err err = {0};
	double n_new = 32, t = 0.6, sd = 1;
	unsigned npos;
	int32_t *ids = NULL, *out = NULL;
	char *text = NULL;
	size_t n = 0, n_out = 0, n_text = 0;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model generate FILE --tokens 1,2,3 --n 32");
	if ((rc = model_arg_number("n", count, 1, 1e6, &n_new)) != X_OK ||
	    (rc = model_arg_number("temperature", temp, 0, 2, &t)) != X_OK ||
	    (rc = model_arg_number("seed", seed, 0, 9007199254740991.0, &sd)) != X_OK ||
	    (rc = model_arg_tokens(tokens, &ids, &n)) != X_OK)
		return rc;
	if ((rc = model_files_open(pos[0], &files)) != X_OK) {
		free(ids);
		return rc;
	}
	sampler_init(&smp, (uint64_t)sd);
	smp.temperature = greedy ? 0.0f : (float)t;
	o.kernel = kernel;
	rc = tool_generate(files.fd, files.n, ids, n, (uint32_t)n_new, &smp, &o, &out, &n_out,
			   &text, &n_text, NULL, &err);
	model_files_close(&files);
	free(ids);
	if (rc < 0)
		return model_fail(rc, pos[0], err.text);
	print_generated(out, n_out, text, n_text);
	free(out);
	free(text);
	return X_OK;
}

const struct model_verb model_verb_generate = {
    "generate", verb_generate,
    "  generate FILE --tokens 1,2,3 --n 32 [--greedy] [--seed N] [--temperature T]\n"};
