/* plan.c - what a file is and what loading it would need, from its headers alone. */
#include "engine.h"
#include "info.h"
#include "num.h"
#include "parts.h"
#include "tok.h"

/* Rows computed at once when a prompt is read; for the estimate only. */
#define PLAN_ROWS 512

static int fill_plan(const struct gguf *g, struct model_plan *p, struct err *err)
{
	const struct model_info *i = &p->info;
	uint64_t work;

	for (uint32_t t = 0; t < g->n_tensors; t++)
		p->weights_bytes += g->tensors[t].data.n; /* sum <= size of the files */
	p->kv_bytes_per_token = i->kv_bytes_per_token;
	work = 4ull * PLAN_ROWS * (3ull * i->n_embd + 2ull * i->n_ff) + 4ull * 8 * i->n_vocab;
	if (mul_u64(i->kv_bytes_per_token, i->context, &p->kv_bytes_full_context) ||
	    add_u64(p->weights_bytes, p->kv_bytes_full_context, &p->peak_bytes) ||
	    add_u64(p->peak_bytes, work, &p->peak_bytes))
		return err_set(err, E_RANGE, "the model needs more memory than there can be");
	return 0;
}

int model_plan(const int *fds, unsigned nfds, const struct model_opts *o, struct model_plan *plan,
	       struct err *err)
{
	struct parts parts;
	struct tok *tok = NULL;
	struct gguf g;
	int rc;

	memset(plan, 0, sizeof(*plan));
	if ((rc = parts_open(&parts, fds, nfds, &g, err)) < 0)
		return rc;
	if ((rc = info_read(&g, o, &plan->info, err)) < 0 || (rc = tok_new(&g, &tok, err)) < 0)
		goto out;
	tok_info(tok, &plan->info);
	if (g.n_tensors == 0 && !(o && o->vocab_only))
		rc = err_set(err, E_FORMAT, "the file has a vocabulary but no weights");
	else
		rc = fill_plan(&g, plan, err);
out:
	tok_free(tok);
	gguf_free(&g);
	parts_close(&parts);
	return rc;
}

int model_each_tensor(const int *fds, unsigned nfds, model_tensor_fn fn, void *arg, struct err *err)
{
	struct parts parts;
	struct gguf g;
	int rc = parts_open(&parts, fds, nfds, &g, err);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[g.order[i]];
		struct tensor_desc d = {t->name,   gtype_name(t->type), t->n_dims, {0},
					t->data.n, t->offset,		t->part};

		memcpy(d.dims, t->dims, sizeof(d.dims));
		if (!fn(arg, &d))
			break;
	}
	gguf_free(&g);
	parts_close(&parts);
	return 0;
}
