/* weights.c - see weights.h. Names as llama.cpp writes them (gguf-py/gguf/constants.py). */
#include "weights.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mutant.h"

struct bind {
	const struct gguf *g;
	const struct model_info *info;
	const struct kernels *k;
	struct weights *w;
	uint32_t bound;	    /* tensors found so far */
	uint32_t next_norm; /* in w->norms */
	struct err *err;
	int rc; /* first error; later calls do nothing */
};

/* The tensor of exactly this shape, or NULL with b->rc set. */
static const struct gguf_tensor *tensor(struct bind *b, uint64_t cols, uint64_t rows,
					const char *name)
{
	const struct gguf_tensor *t = gguf_tensor(b->g, name);

	if (!t) {
		b->rc = err_set(b->err, E_FORMAT, "tensor %s is missing", name);
		return NULL;
	}
	if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != 1 || t->dims[3] != 1) {
		b->rc =
		    err_set(b->err, E_FORMAT, "tensor %s is %llu x %llu, expected %llu x %llu",
			    name, (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
			    (unsigned long long)cols, (unsigned long long)rows);
		return NULL;
	}
	if (!b->k->expand[t->type]) {
		b->rc =
		    err_set(b->err, E_UNSUPPORTED, "tensor %s has type %s, which is not supported",
			    name, gtype_name(t->type));
		return NULL;
	}
	b->bound++;
	return t;
}

__attribute__((format(printf, 5, 6))) static void
bind_mat(struct bind *b, struct wmat *m, uint64_t cols, uint64_t rows, const char *fmt, ...)
{
	const struct gguf_tensor *t;
	char name[GGUF_MAX_NAME_BYTES];
	va_list ap;

	if (b->rc < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (!(t = tensor(b, cols, rows, name)))
		return;
	*m = (struct wmat){.p = (const uint8_t *)t->data.p,
			   .rows = (uint32_t)rows,
			   .cols = (uint32_t)cols,
			   .type = t->type,
			   .expand = b->k->expand[t->type]};
	if (!gtype_row_bytes(t->type, cols, &m->row_bytes))
		b->rc = err_set(b->err, E_FORMAT, "tensor %s: rows are no whole blocks", name);
}

__attribute__((format(printf, 3, 4))) static void bind_norm(struct bind *b, const float **out,
							    const char *fmt, ...)
{
	const struct gguf_tensor *t;
	char name[GGUF_MAX_NAME_BYTES];
	float *to = b->w->norms + (size_t)b->next_norm * b->info->n_embd;
	va_list ap;

	if (b->rc < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (!(t = tensor(b, b->info->n_embd, 1, name)))
		return;
	b->k->expand[t->type](t->data.p, to, b->info->n_embd);
	b->next_norm++;
	*out = to;
}

static void bind_layers(struct bind *b)
{
	const struct model_info *in = b->info;
	uint64_t q = (uint64_t)in->n_head * in->head_dim,
		 kv = (uint64_t)in->n_head_kv * in->head_dim;

	for (uint32_t i = 0; i < in->n_layer && b->rc == 0; i++) {
		struct layer *l = &b->w->layers[i];

		bind_norm(b, &l->attn_norm, "blk.%u.attn_norm.weight", i);
		bind_norm(b, &l->ffn_norm, "blk.%u.ffn_norm.weight", i);
		bind_mat(b, &l->q, in->n_embd, q, "blk.%u.attn_q.weight", i);
		bind_mat(b, &l->k, in->n_embd, kv, "blk.%u.attn_k.weight", i);
		bind_mat(b, &l->v, in->n_embd, kv, "blk.%u.attn_v.weight", i);
		bind_mat(b, &l->o, q, in->n_embd, "blk.%u.attn_output.weight", i);
		bind_mat(b, &l->gate, in->n_embd, in->n_ff, "blk.%u.ffn_gate.weight", i);
		bind_mat(b, &l->up, in->n_embd, in->n_ff, "blk.%u.ffn_up.weight", i);
		bind_mat(b, &l->down, in->n_ff, in->n_embd, "blk.%u.ffn_down.weight", i);
	}
}

/* Radians per position: base^(-2i/dim), DIVIDED by rope_freqs where the file has them (Llama 3.1
 * and later). Other scalings are refused by info_read(). */
static void bind_rope(struct bind *b)
{
	const struct gguf_tensor *t = gguf_tensor(b->g, "rope_freqs.weight");
	uint32_t dim = b->info->head_dim, pairs = dim / 2;

	if (b->rc < 0 || (t && !(t = tensor(b, pairs, 1, "rope_freqs.weight"))))
		return;
	if (t && t->type != GT_F32) {
		b->rc =
		    err_set(b->err, E_UNSUPPORTED, "rope_freqs of type %s", gtype_name(t->type));
		return;
	}
	b->w->rope_dim = dim;
	if (!(b->w->rope_step = calloc(pairs, sizeof(double)))) {
		b->rc = err_set(b->err, E_NOMEM, "rope table");
		return;
	}
	for (uint32_t i = 0; i < pairs; i++) {
		float div = 1;

		if (t)
			memcpy(&div, t->data.p + 4 * (size_t)i, 4);
		if (MUTANT(MUT_NO_FREQS))
			div = 1;
		if (MUTANT(MUT_MUL_FREQS))
			div = 1 / div;
		b->w->rope_step[i] = pow(b->info->rope_base, -2.0 * i / dim) / div;
	}
}

int weights_bind(struct weights *w, const struct gguf *g, const struct model_info *info,
		 const struct kernels *k, struct err *err)
{
	struct bind b = {.g = g, .info = info, .k = k, .w = w, .err = err};
	size_t n_norms = 2 * (size_t)info->n_layer + 1;

	*w = (struct weights){.n_layer = info->n_layer};
	w->layers = calloc(info->n_layer, sizeof(*w->layers));
	w->norms = calloc(n_norms, info->n_embd * sizeof(float));
	if (!w->layers || !w->norms) {
		weights_free(w);
		return err_set(err, E_NOMEM, "weights table");
	}
	bind_mat(&b, &w->embd, info->n_embd, info->n_vocab, "token_embd.weight");
	bind_norm(&b, &w->output_norm, "output_norm.weight");
	if (gguf_tensor(g, "output.weight"))
		bind_mat(&b, &w->output, info->n_embd, info->n_vocab, "output.weight");
	else
		w->output = w->embd;
	bind_layers(&b);
	bind_rope(&b);
	if (b.rc == 0 && b.bound != g->n_tensors)
		b.rc =
		    err_set(err, E_UNSUPPORTED,
			    "%u tensors of the file are unknown: biases, experts or adapters are "
			    "not supported",
			    g->n_tensors - b.bound);
	if (b.rc < 0)
		weights_free(w);
	return b.rc;
}

void weights_free(struct weights *w)
{
	if (w->packed)
		munmap(w->packed, w->packed_bytes);
	free(w->layers);
	free(w->norms);
	free(w->rope_step);
	*w = (struct weights){0};
}
