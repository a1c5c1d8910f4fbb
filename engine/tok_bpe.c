/* tok_bpe.c - byte-level BPE: a pre-token that is a token as a whole is taken at once (the
 * `ignore_merges` of Llama 3), else its bytes are merged by rank. */
#include "tok_priv.h"
#include "utf8.h"

/* Inverse of GPT-2's table of visible letters for bytes; -1 = no such letter. */
static int letter_byte(uint32_t cp)
{
	static const uint8_t moved[68] = {
	    0,	 1,   2,   3,	4,   5,	  6,   7,   8,	 9,   10,  11,	12,  13,  14,  15,  16,
	    17,	 18,  19,  20,	21,  22,  23,  24,  25,	 26,  27,  28,	29,  30,  31,  32,  127,
	    128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144,
	    145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 173,
	};

	if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 255 && cp != 173))
		return (int)cp;
	return cp >= 256 && cp < 256 + 68 ? moved[cp - 256] : -1;
}

bool bpe_letters(struct span stored, char *out, uint32_t *n)
{
	*n = 0;
	while (stored.n) {
		uint32_t cp;
		int len = utf8_next(stored, &cp), b = len > 0 ? letter_byte(cp) : -1;

		if (b < 0)
			return false;
		out[(*n)++] = (char)b;
		stored = span_from(stored, (size_t)len);
	}
	return true;
}

static int32_t find_normal(const struct tok *t, struct span bytes)
{
	return bytes.n && bytes.n <= t->max_piece ? index_find(t, &t->normal, bytes) : -1;
}

/* One "left right" of the list. */
static int add_merge(struct tok *t, struct span m, uint32_t rank, struct err *err)
{
	const char *sp = m.n ? memchr(m.p, ' ', m.n) : NULL;
	char bytes[2 * TOK_MAX_PIECE];
	uint32_t nl, nr;
	int32_t left, right, merged;

	if (!sp || m.n > 4 * TOK_MAX_PIECE)
		return err_set(err, E_FORMAT, "merge %u is not two pieces", rank);
	/* a letter takes at most as many bytes as its UTF-8, so that the halves are bounded here */
	if (sp - m.p > TOK_MAX_PIECE || m.p + m.n - sp - 1 > TOK_MAX_PIECE)
		return err_set(err, E_RANGE, "merge %u is over %d bytes", rank, TOK_MAX_PIECE);
	if (!bpe_letters(span_of(m.p, (size_t)(sp - m.p)), bytes, &nl) ||
	    !bpe_letters(span_from(m, (size_t)(sp - m.p) + 1), bytes + nl, &nr))
		return err_set(err, E_FORMAT, "merge %u is not in byte letters", rank);
	left = find_normal(t, span_of(bytes, nl));
	right = find_normal(t, span_of(bytes + nl, nr));
	merged = find_normal(t, span_of(bytes, nl + nr));
	if (left < 0 || right < 0 || merged < 0)
		return err_set(err, E_FORMAT, "merge %u names a piece that is no normal token",
			       rank);
	return pairs_add(t, left, right, rank, merged, err);
}

int bpe_load(struct tok *t, const struct gguf *g, struct err *err)
{
	struct gguf_arr merges;
	struct span m;
	size_t pos = 0;
	int rc;

	for (int b = 0; b < 256; b++) {
		t->byte_id[b] = find_normal(t, span_of(&(char){(char)b}, 1));
		if (t->byte_id[b] < 0)
			return err_set(err, E_FORMAT, "no token for byte 0x%02x", b);
	}
	if (!gguf_arr(g, "tokenizer.ggml.merges", GV_STR, &merges))
		return err_set(err, E_FORMAT, "tokenizer.ggml.merges is missing");
	if ((rc = pairs_init(t, (uint32_t)merges.n, err)) < 0)
		return rc;
	for (uint32_t rank = 0; gguf_arr_next(&merges, &pos, &m); rank++)
		if ((rc = add_merge(t, m, rank, err)) < 0)
			return rc;
	return 0;
}

static uint32_t bpe_rank(const struct tok *t, struct span text, const struct sym *a,
			 const struct sym *b, int32_t *merged)
{
	const struct tok_pair *p = pairs_find(t, a->id, b->id);

	if (!p)
		return RANK_NONE;
	*merged = p->merged;
	return p->rank;
}

static int encode_word(const struct tok *t, struct tok_work *w, struct span word)
{
	int32_t whole = find_normal(t, word);

	if (whole >= 0) {
		tok_emit(&w->out, whole);
		return 0;
	}
	if (work_room(w, word.n) < 0)
		return E_NOMEM;
	for (size_t i = 0; i < word.n; i++)
		w->syms[i] = (struct sym){
		    .id = t->byte_id[(uint8_t)word.p[i]], .off = (uint32_t)i, .len = 1};
	merge_all(t, w, word.n, word, bpe_rank);
	for (uint32_t i = 0; i != SYM_END; i = w->syms[i].next)
		tok_emit(&w->out, w->syms[i].id);
	return 0;
}

int bpe_encode(const struct tok *t, struct tok_work *w, struct span text)
{
	bool open = false;
	int rc = 0;

	for (size_t at = 0, end; at < text.n && rc == 0; at = end) {
		end = pre_next(text, at, &open);
		rc = encode_word(t, w, span_of(text.p + at, end - at));
	}
	return rc;
}
