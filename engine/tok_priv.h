/* tok_priv.h - inside of tok.h, for engine/tok*.c only. */
#ifndef SP_ENGINE_TOK_PRIV_H
#define SP_ENGINE_TOK_PRIV_H

#include "tok.h"

#define TOK_MAX_SPECIAL 256  /* bytes of a special token's text that TOK_SPECIAL looks for */
#define TOK_MAX_PROBES 4096  /* a token list that needs more was made to be slow: refused */
#define RANK_NONE UINT32_MAX /* this pair never merges */

struct piece {
	uint32_t off, len; /* in tok.blob: bytes as printed; of special tokens their name */
	uint8_t class;	   /* enum token_class */
	bool special;	   /* matched by name under TOK_SPECIAL */
};

/* Open addressing from bytes to the lowest id that has them. */
struct tok_index {
	uint32_t *slot; /* id + 1; 0 = free */
	uint32_t mask;
};

struct tok_pair {
	uint64_t key; /* left << 32 | right, plus 1; 0 = free */
	uint32_t rank;
	int32_t merged;
};

struct tok {
	bool spm;
	uint32_t n;
	struct piece *pieces;
	char *blob;
	size_t blob_n;
	struct tok_index normal, special;
	uint32_t max_piece;	 /* longest text in `normal` */
	bool special_first[256]; /* some special token starts with this byte */
	bool special_len[TOK_MAX_SPECIAL + 1];
	int32_t byte_id[256];
	struct tok_pair *pairs; /* byte-level BPE */
	uint32_t pair_mask;
	uint32_t *rank;			/* SentencePiece: by id, best score first */
	bool space_prefix, words_apart; /* SentencePiece */
	bool add_bos;
	int32_t bos;
	int32_t end[MODEL_MAX_END];
	uint32_t n_end;
	char model[32], pre[32];
};

static inline struct span piece_text(const struct tok *t, uint32_t id)
{
	return span_of(t->blob + t->pieces[id].off, t->pieces[id].len);
}

/* tok_table.c */
int index_init(struct tok_index *x, uint32_t n, struct err *err);
int index_add(const struct tok *t, struct tok_index *x, uint32_t id, struct err *err);
int32_t index_find(const struct tok *t, const struct tok_index *x, struct span s); /* -1 = none */
int pairs_init(struct tok *t, uint32_t n, struct err *err);
int pairs_add(struct tok *t, int32_t left, int32_t right, uint32_t rank, int32_t merged,
	      struct err *err);
const struct tok_pair *pairs_find(const struct tok *t, int32_t left, int32_t right);

/* tok_pre.c: end of the pre-token that starts at `at` (< text.n). Sets *open when bytes behind
 * the end of the text could have changed the answer. */
size_t pre_next(struct span text, size_t at, bool *open);

/* tok_merge.c */
struct tok_out {
	int32_t *p;
	size_t cap, n; /* n may exceed cap */
};
static inline void tok_emit(struct tok_out *o, int32_t id)
{
	if (o->n < o->cap)
		o->p[o->n] = id;
	o->n++;
}

struct sym {
	int32_t id;	     /* -1: these bytes are no token */
	int32_t merged;	     /* what it becomes together with the next one */
	uint32_t rank;	     /* of that; RANK_NONE = never */
	uint32_t prev, next; /* SYM_END at the ends */
	uint32_t off, len;
};
#define SYM_END UINT32_MAX

/* Working memory of one tok_encode() call. */
struct tok_work {
	struct sym *syms;
	uint64_t *heap; /* rank << 32 | symbol */
	size_t cap;
	struct tok_out out;
	char *norm; /* SentencePiece: the normalised text */
	size_t norm_cap;
};
int work_room(struct tok_work *w, size_t syms); /* 0 or E_NOMEM */
void work_free(struct tok_work *w);
/* Rank of merging a with its neighbour b, and what comes out. */
typedef uint32_t (*pair_rank)(const struct tok *t, struct span text, const struct sym *a,
			      const struct sym *b, int32_t *merged);
/* Merges w->syms[0..n) lowest rank first, leftmost first, until nothing merges. Symbol 0 stays
 * the head of the list. */
void merge_all(const struct tok *t, struct tok_work *w, size_t n, struct span text, pair_rank fn);

/* tok_bpe.c, tok_spm.c */
int bpe_load(struct tok *t, const struct gguf *g, struct err *err);
int bpe_encode(const struct tok *t, struct tok_work *w, struct span text);
int spm_load(struct tok *t, const struct gguf *g, struct err *err);
int spm_encode(const struct tok *t, struct tok_work *w, struct span text, bool prefix);
size_t spm_stable_prefix(const struct tok *t, struct span text);
/* tok_bpe.c: bytes behind the stored letters of a piece, in place; false when they are none. */
bool bpe_letters(struct span stored, char *out, uint32_t *n);

#endif
