/* weights.h - the tensors of a Llama model, bound by name and checked against its shape. Matrices
 * point into the mapped file until weights_pack() moves those that have a packed form (pack.h) into
 * memory of their own; norms and rope divisors are copied (a file may align them badly).
 * Immutable after weights_pack(): any thread. */
#ifndef SP_ENGINE_WEIGHTS_H
#define SP_ENGINE_WEIGHTS_H

#include "engine.h"
#include "gguf.h"
#include "kernels.h"
#include "pool.h"

struct wmat { /* rows are output features; y = W x */
	const uint8_t *p;    /* rows as in the file, or panels */
	uint64_t row_bytes;  /* in the file */
	uint64_t panel_bytes;
	enum pack_kind kind; /* PACK_NONE: as in the file */
	uint32_t rows, cols;
	enum gtype type;
	kern_expand expand;
};

struct layer {
	const float *attn_norm, *ffn_norm;
	struct wmat q, k, v, o, gate, up, down;
};

struct weights {
	struct wmat embd, output; /* output is embd in tied models */
	const float *output_norm;
	struct layer *layers;
	float *norms;	   /* owned: all norms */
	double *rope_step; /* owned: radians per position of pair i, rope_dim / 2 of them */
	uint32_t n_layer, rope_dim;
	uint8_t *packed; /* owned: the panels of all matrices */
	size_t packed_bytes;
};

/* E_FORMAT (a tensor is missing or has another shape), E_UNSUPPORTED (a type no kernel of k has, or
 * tensors we would have to ignore), E_RANGE, E_NOMEM. g's region must outlive w. */
int weights_bind(struct weights *w, const struct gguf *g, const struct model_info *info,
		 const struct kernels *k, struct err *err);
/* Moves every matrix that has a packed form into anonymous memory, on all threads, a piece at a
 * time, and lets go of the file's pages behind it: what was bound must lie in read-only mappings of
 * files. Memory: about the file's size for the panels, and a piece beside. Embeddings that are not
 * the output matrix too stay in the file: few of their rows are read. `progress` (NULL ok) is told
 * per mille of the bytes; false: E_CANCELLED. E_NOMEM, E_RANGE. On error w is as bound. */
int weights_pack(struct weights *w, struct pool *pool, bool (*progress)(void *, unsigned),
		 void *arg, struct err *err);
/* Row r as fp32. */
void wmat_row(const struct wmat *m, uint32_t r, float *out);
void weights_free(struct weights *w); /* zeroed struct ok */

#endif
