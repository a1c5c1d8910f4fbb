/* tok_spm.c - SentencePiece BPE as Llama 1 and 2 use it: a space before the text, characters
 * merged best score first (leftmost of equals), bytes for characters without a piece.
 * SentencePiece writes a space as U+2581; here pieces and text hold plain spaces instead, which is
 * the same as long as U+2581 in the text counts as a space too. */
#include <math.h>
#include <stdlib.h>

#include "tok_priv.h"
#include "utf8.h"

#define LOW_LINE SPAN_LIT("\xe2\x96\x81") /* U+2581 */

struct scored {
	float score;
	uint32_t id;
};

static int better_first(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static int rank_scores(struct tok *t, const struct gguf_arr *scores, struct err *err)
{
	struct scored *s = calloc(t->n, sizeof(*s));
	int rc = 0;

	t->rank = calloc(t->n, sizeof(*t->rank));
	if (!s || !t->rank) {
		free(s);
		return err_set(err, E_NOMEM, "no memory for %u scores", t->n);
	}
	for (uint32_t i = 0; i < t->n && rc == 0; i++) {
		s[i] = (struct scored){gguf_arr_f32(scores, i), i};
		if (!isfinite(s[i].score))
			rc = err_set(err, E_FORMAT, "token %u: its score is not finite", i);
	}
	if (rc == 0)
		qsort(s, t->n, sizeof(*s), better_first);
	for (uint32_t i = 0, rank = 0; i < t->n && rc == 0; i++) {
		if (i && s[i].score != s[i - 1].score)
			rank = i;
		t->rank[s[i].id] = rank;
	}
	free(s);
	return rc;
}

static int find_bytes(struct tok *t, struct err *err)
{
	unsigned found = 0;

	for (int b = 0; b < 256; b++)
		t->byte_id[b] = -1;
	for (uint32_t i = 0; i < t->n; i++) {
		int b = t->pieces[i].class == TC_BYTE ? (uint8_t)piece_text(t, i).p[0] : -1;

		if (b >= 0 && t->byte_id[b] < 0) {
			t->byte_id[b] = (int32_t)i;
			found++;
		}
	}
	if (found != 256)
		return err_set(err, E_FORMAT, "only %u of 256 byte tokens", found);
	return 0;
}

int spm_load(struct tok *t, const struct gguf *g, struct err *err)
{
	struct gguf_arr scores;
	int rc;

	if (!gguf_arr(g, "tokenizer.ggml.scores", GV_F32, &scores) || scores.n != t->n)
		return err_set(err, E_FORMAT,
			       "tokenizer.ggml.scores is missing or not one per token");
	if ((rc = rank_scores(t, &scores, err)) < 0 || (rc = find_bytes(t, err)) < 0)
		return rc;
	t->space_prefix = true;
	gguf_bool(g, "tokenizer.ggml.add_space_prefix", &t->space_prefix);
	t->words_apart = true;
	for (uint32_t i = 0; i < t->n; i++) {
		struct span s = piece_text(t, i);

		for (size_t k = 1; t->pieces[i].class == TC_NORMAL && k < s.n; k++)
			if (s.p[k] == ' ' && s.p[k - 1] != ' ')
				t->words_apart = false;
	}
	return 0;
}

static int normalise(const struct tok *t, struct tok_work *w, struct span text, bool prefix,
		     struct span *out)
{
	size_t n = 0;

	if (w->norm_cap < text.n + 1) {
		free(w->norm);
		w->norm = malloc(text.n + 1);
		w->norm_cap = w->norm ? text.n + 1 : 0;
		if (!w->norm)
			return E_NOMEM;
	}
	if (prefix && t->space_prefix)
		w->norm[n++] = ' ';
	for (size_t i = 0; i < text.n;) {
		if (span_starts(span_from(text, i), LOW_LINE)) {
			w->norm[n++] = ' ';
			i += LOW_LINE.n;
		} else {
			w->norm[n++] = text.p[i++];
		}
	}
	*out = span_of(w->norm, n);
	return 0;
}

static uint32_t spm_rank(const struct tok *t, struct span text, const struct sym *a,
			 const struct sym *b, int32_t *merged)
{
	uint32_t len = a->len + b->len;

	if (len > t->max_piece)
		return RANK_NONE;
	*merged = index_find(t, &t->normal, span_of(text.p + a->off, len));
	return *merged < 0 ? RANK_NONE : t->rank[*merged];
}

int spm_encode(const struct tok *t, struct tok_work *w, struct span text, bool prefix)
{
	struct span norm;
	size_t n = 0;

	if (text.n == 0)
		return 0;
	if (normalise(t, w, text, prefix, &norm) < 0 || work_room(w, norm.n) < 0)
		return E_NOMEM;
	for (size_t at = 0; at < norm.n; n++) {
		uint32_t cp;
		int len = utf8_next(span_from(norm, at), &cp);

		len = len > 0 ? len : 1;
		w->syms[n] = (struct sym){.off = (uint32_t)at, .len = (uint32_t)len};
		w->syms[n].id = index_find(t, &t->normal, span_of(norm.p + at, (size_t)len));
		at += (size_t)len;
	}
	merge_all(t, w, n, norm, spm_rank);
	for (uint32_t i = 0; i != SYM_END; i = w->syms[i].next) {
		const struct sym *s = &w->syms[i];

		if (s->id >= 0)
			tok_emit(&w->out, s->id);
		else
			for (uint32_t k = 0; k < s->len; k++)
				tok_emit(&w->out, t->byte_id[(uint8_t)norm.p[s->off + k]]);
	}
	return 0;
}

/* When no piece has a space behind another character, no merge crosses the start of a word, and
 * the text up to the last such place is settled. Other vocabularies give no promise. */
size_t spm_stable_prefix(const struct tok *t, struct span text)
{
	size_t cut = 0;
	bool after_space = true; /* a space at the start belongs to the prefix's own */

	for (size_t i = 0; t->words_apart && i < text.n;) {
		bool low = span_starts(span_from(text, i), LOW_LINE);
		bool space = low || text.p[i] == ' ';

		if (space && !after_space)
			cut = i;
		after_space = space;
		i += low ? LOW_LINE.n : 1;
	}
	return cut;
}
