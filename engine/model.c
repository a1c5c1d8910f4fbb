/* model.c - loading a model for inference, and letting it go. */
#include <stdlib.h>

#include "engine_priv.h"
#include "fault.h"
#include "info.h"
#include "schema_priv.h"

static bool progress(const struct model_opts *o, unsigned per_mille)
{
	return !o || !o->progress || o->progress(o->progress_arg, per_mille);
}

static void model_free(struct model *m)
{
	fwd_close(&m->fwd);
	fwd_close(&m->guards.fwd);
	fwd_close(&m->talkers.fwd);
	weights_free(&m->weights);
	for (int t = 0; t < KV_TYPES; t++)
		kv_class_close(&m->kv[t]);
	tok_free(m->tok);
	mask_trie_free(m->trie);
	free(m->logits);
	free(m->hidden);
	free(m->guards.hidden);
	free(m->talkers.hidden);
	for (int i = 0; i < LANES; i++)
		lane_close(&m->lanes[i]);
	parts_close(&m->parts);
	free(m);
}

/* Packing is nearly all of the work: 60 to 990 of 1000. */
static bool packed(void *arg, unsigned per_mille)
{
	return progress(arg, 60 + per_mille * 93 / 100);
}

static int load_weights(struct engine *e, struct model *m, const struct gguf *g,
			const struct model_opts *o, struct err *err)
{
	const struct model_info *in = &m->info;
	int rc = weights_bind(&m->weights, g, in, e->k, err);

	if (rc < 0)
		return rc;
	if ((rc = weights_pack(&m->weights, e->pool, packed, (void *)(uintptr_t)o, err)) < 0)
		return rc;
	for (int t = 0; t < KV_TYPES; t++)
		if (kv_fits(t, in->head_dim) &&
		    !kv_class_open(&e->kv, &m->kv[t], in->n_layer, in->n_head_kv, in->head_dim, t))
			return err_set(err, E_RANGE, "the KV cache of this shape is too large");
	rc = fwd_open(&m->fwd, e->k, e->pool, in, &m->weights, MAX_BATCH_ROWS, e->fast_f16, err);
	if (rc < 0)
		return rc;
	m->logits = calloc((size_t)HEAD_ROWS * in->n_vocab, sizeof(float));
	m->hidden = calloc((size_t)m->fwd.max_rows * in->n_embd, sizeof(float));
	if (FAULT("model.alloc") || !m->logits || !m->hidden)
		return err_set(err, E_NOMEM, "output rows");
	return 0;
}

int engine_model_add(struct engine *e, const int *fds, unsigned nfds, const struct model_opts *o,
		     struct model **out, struct err *err)
{
	struct model *m;
	struct gguf g = {0};
	int rc;

	if (!(m = calloc(1, sizeof(*m))))
		return err_set(err, E_NOMEM, "model");
	for (int i = 0; i < LANES; i++)
		lane_open(&m->lanes[i]);
	m->vocab_only = o && o->vocab_only;
	if ((rc = parts_open(&m->parts, fds, nfds, &g, err)) < 0)
		goto out;
	if (!progress(o, 20)) {
		rc = err_set(err, E_CANCELLED, "cancelled");
		goto out;
	}
	if ((rc = info_read(&g, o, &m->info, err)) < 0 || (rc = tok_new(&g, &m->tok, err)) < 0)
		goto out;
	tok_info(m->tok, &m->info);
	if (!progress(o, 60)) {
		rc = err_set(err, E_CANCELLED, "cancelled");
		goto out;
	}
	if (!m->vocab_only && (rc = load_weights(e, m, &g, o, err)) < 0)
		goto out;
	if (!progress(o, 1000)) {
		rc = err_set(err, E_CANCELLED, "cancelled");
		goto out;
	}
	m->next = e->models;
	e->models = m;
	*out = m;
out:
	gguf_free(&g);
	if (rc < 0)
		model_free(m);
	return rc;
}

int engine_model_drop(struct engine *e, struct model *m, struct err *err)
{
	struct model **at = &e->models;

	if (m->seqs)
		return err_set(err, E_BUSY, "%u sequences of the model live", m->seqs);
	batch_forget_model(e, m);
	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	for (int t = KV_AUTO + 1; t < KV_TYPES; t++)
		prefix_drop_class(e, &m->kv[t]);
	model_free(m);
	return 0;
}
