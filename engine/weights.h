/* weights.h - the tensors of a Llama model, bound by name and checked against its shape. Matrices
 * point into the mapped file; norms and rope divisors are copied (a file may align them badly).
 * Immutable after weights_bind(): any thread. */
#ifndef SP_ENGINE_WEIGHTS_H
#define SP_ENGINE_WEIGHTS_H

#include "engine.h"
#include "gguf.h"
#include "kernels.h"

struct wmat { /* rows are output features; y = W x */
	const uint8_t *p;
	uint64_t row_bytes;
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
};

/* E_FORMAT (a tensor is missing or has another shape), E_UNSUPPORTED (a type no kernel of k has, or
 * tensors we would have to ignore), E_RANGE, E_NOMEM. g's region must outlive w. */
int weights_bind(struct weights *w, const struct gguf *g, const struct model_info *info,
		 const struct kernels *k, struct err *err);
void weights_free(struct weights *w); /* zeroed struct ok */

#endif
