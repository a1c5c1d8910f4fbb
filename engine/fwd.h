/* fwd.h - the forward pass of one batch of rows through a Llama model, a fraction of a layer at a
 * time. A row is one token of one sequence; rows of one sequence stand together, in order, and rows
 * of class P before those of class D (pack.h). What a row yields depends on its own tokens, their
 * classes and the kernel table alone, bit for bit: not on the other rows, on how its sequence was
 * cut into batches, or on the number of threads. Owner thread only. */
#ifndef SP_ENGINE_FWD_H
#define SP_ENGINE_FWD_H

#include "kv.h"
#include "matmul.h"

struct fwd_row {
	const void *seq; /* identity only: equal for rows of one sequence */
	const struct kv_class *kv;
	struct kv_page **pages; /* of the sequence; page pos / KV_TOKENS is there */
	uint32_t pos;
	int32_t token; /* 0 <= token < n_vocab */
	bool sampled;  /* class D */
};

struct fwd_run { /* consecutive rows of one sequence that attention takes together */
	uint32_t first, n, last_pos; /* last_pos: highest position of the sequence in the batch */
};

struct fwd {
	const struct kernels *k;
	struct pool *pool;
	const struct model_info *in;
	const struct weights *w;
	uint32_t max_rows, n_rows, n_runs;
	uint32_t n_p; /* of class P: the first ones */
	uint32_t at; /* fractions done: FWD_PARTS to a layer */
	bool pending; /* add holds the last product, not yet added to x */
	struct fwd_row *rows;
	struct fwd_run *runs;
	float *x, *add, *norm, *q, *kk, *v, *att, *gate, *up, *turn; /* [max_rows][...] */
	struct mm_space mm;
	float **scratch; /* per worker, for attention */
	float *parts;	 /* attn.c: of segments */
	bool p_attn;	 /* class P may take bf16 in attention */
	float *memory;
};

/* Buffers for at most want_rows rows, fewer where one row is large. fast_f16: class P of F16 weights
 * may be rounded to bf16. w is packed already. E_NOMEM, E_RANGE. */
int fwd_open(struct fwd *f, const struct kernels *k, struct pool *pool,
	     const struct model_info *info, const struct weights *w, uint32_t want_rows,
	     bool fast_f16, struct err *err);
void fwd_close(struct fwd *f); /* zeroed struct ok */
/* Starts a batch with f->rows[0..n_rows) filled in by the caller. */
void fwd_begin(struct fwd *f, uint32_t n_rows);
/* The next fraction of a layer: q, k, v into the pages; attention; its output, gate and up; down.
 * Nothing is half done between two fractions: rows may leave, the batch may rest for any time. */
#define FWD_PARTS 4
void fwd_step(struct fwd *f);
static inline bool fwd_done(const struct fwd *f)
{
	return f->n_rows == 0 || f->at == f->in->n_layer * FWD_PARTS;
}
/* Between two fractions: rows i with !keep[i] are forgotten; later rows move up. */
void fwd_keep(struct fwd *f, const bool *keep);
/* After the last layer: the row's normed hidden state, n_embd floats. */
void fwd_hidden(struct fwd *f, uint32_t row, float *out);

/* rope.c: turns q and k of every row; stores k and v in its page. */
void fwd_store(struct fwd *f, uint32_t layer);

/* attn.c: the attention of all rows. Of *f it uses k, pool, in, rows, n_rows, runs, n_runs, q, att,
 * scratch (each 64-byte aligned), parts and p_attn. Results do not depend on how rows are cut into runs. */
void fwd_attention(struct fwd *f, uint32_t layer);
size_t fwd_attention_scratch(const struct model_info *in); /* floats per worker */
bool fwd_parts_open(struct fwd *f);			   /* false: no memory; free(f->parts) */
void fwd_runs(struct fwd *f);				   /* runs from rows */

#endif
