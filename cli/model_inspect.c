/* model_inspect.c - what is in a model file. */
#include <inttypes.h>
#include <stdio.h>

#include "engine.h"
#include "jsonw.h"
#include "model.h"

struct listing {
	struct jsonw *w; /* NULL = table */
};

static bool on_tensor(void *arg, const struct tensor_desc *t)
{
	struct listing *l = arg;
	char dims[64];
	int n = 0;

	if (l->w == NULL) {
		for (uint32_t i = 0; i < t->n_dims; i++)
			n += snprintf(dims + n, sizeof(dims) - (size_t)n, i ? " x %llu" : "%llu",
				      (unsigned long long)t->dims[i]);
		printf("  %-36.*s %-6s %20s %12llu\n", (int)t->name.n, t->name.p, t->type, dims,
		       (unsigned long long)t->bytes);
		return true;
	}
	jw_obj(l->w);
	jw_kint(l->w, "bytes", (int64_t)t->bytes);
	jw_key(l->w, "dims");
	jw_arr(l->w);
	for (uint32_t i = 0; i < t->n_dims; i++)
		jw_int(l->w, (int64_t)t->dims[i]);
	jw_end_arr(l->w);
	jw_kstr(l->w, "name", t->name);
	jw_kint(l->w, "offset", (int64_t)t->offset);
	jw_kcstr(l->w, "type", t->type);
	jw_end_obj(l->w);
	return true;
}

static int inspect_json(const struct model_files *f, const struct model_plan *p, struct err *err)
{
	const struct model_info *m = &p->info;
	struct buf b = BUF_INIT(64u << 20);
	struct jsonw w;
	struct listing l = {&w};
	int rc;

	jw_init(&w, &b);
	jw_obj(&w);
	jw_kcstr(&w, "arch", m->arch);
	jw_kint(&w, "context", m->context);
	jw_kint(&w, "embedding", m->n_embd);
	jw_kint(&w, "ffn", m->n_ff);
	jw_kint(&w, "file_bytes", (int64_t)m->file_bytes);
	jw_kint(&w, "head_dim", m->head_dim);
	jw_kint(&w, "heads", m->n_head);
	jw_kint(&w, "heads_kv", m->n_head_kv);
	jw_kint(&w, "kv_bytes_per_token", (int64_t)p->kv_bytes_per_token);
	jw_kint(&w, "layers", m->n_layer);
	jw_kcstr(&w, "name", m->name);
	jw_kint(&w, "params", (int64_t)m->params);
	jw_kint(&w, "peak_bytes", (int64_t)p->peak_bytes);
	jw_kcstr(&w, "pre", m->pre);
	jw_kint(&w, "schema_version", 1);
	jw_kbool(&w, "starter", m->is_starter);
	jw_key(&w, "tensors");
	jw_arr(&w);
	rc = model_each_tensor(f->fd, f->n, on_tensor, &l, err);
	jw_end_arr(&w);
	jw_kbool(&w, "tied_output", m->tied_output);
	jw_kcstr(&w, "tokenizer", m->tokenizer);
	jw_kcstr(&w, "types", m->quant);
	jw_kint(&w, "vocab", m->n_vocab);
	jw_end_obj(&w);
	if (rc == E_OK)
		model_print(&b);
	else
		buf_free(&b);
	return rc;
}

static int inspect_table(const struct model_files *f, const struct model_plan *p, struct err *err)
{
	const struct model_info *m = &p->info;
	struct listing l = {NULL};

	printf("name        %s%s\n", m->name, m->is_starter ? "  (the bundled starter)" : "");
	printf("arch        %s, %u layers, d %u, ffn %u, %u heads (%u KV) of %u\n", m->arch,
	       m->n_layer, m->n_embd, m->n_ff, m->n_head, m->n_head_kv, m->head_dim);
	printf("types       %s, %.1f M parameters, file %.1f MB%s\n", m->quant,
	       (double)m->params / 1e6, (double)m->file_bytes / 1e6,
	       m->tied_output ? ", output tied to the embedding" : "");
	printf("tokenizer   %s%s%s, %u tokens\n", m->tokenizer, m->pre[0] ? " / " : "", m->pre,
	       m->n_vocab);
	printf("context     %u tokens; KV cache %llu bytes a token, %.1f MB when full\n",
	       m->context, (unsigned long long)p->kv_bytes_per_token,
	       (double)p->kv_bytes_full_context / 1e6);
	printf("memory      %.1f MB weights, %.1f MB at most while loading\n",
	       (double)p->weights_bytes / 1e6, (double)p->peak_bytes / 1e6);
	printf("tensors\n");
	return model_each_tensor(f->fd, f->n, on_tensor, &l, err);
}

static int verb_inspect(int argc, char **argv)
{
	const struct opt opts[] = {{0}};
	const char *pos[1];
	unsigned npos;
	struct model_plan plan;
	struct model_files files;
	struct err err = {0};
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model inspect FILE");
	if ((rc = model_files_open(pos[0], &files)) != X_OK)
		return rc;
	rc = model_plan(files.fd, files.n, NULL, &plan, &err);
	if (rc == E_OK)
		rc = cli.out == OUT_JSON ? inspect_json(&files, &plan, &err)
					 : inspect_table(&files, &plan, &err);
	model_files_close(&files);
	return rc < 0 ? cli_fail(X_FAIL, "%s: %s", pos[0], err.text) : X_OK;
}

const struct model_verb model_verb_inspect = {
    "inspect", verb_inspect,
    "  inspect FILE                        shape, types, tokenizer, memory, tensors\n"};
