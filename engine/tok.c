/* tok.c - builds a tokenizer from GGUF metadata and answers for both kinds. */
#include <stdio.h>
#include <stdlib.h>

#include "tok_priv.h"

/* Numbers of tokenizer.ggml.token_type. */
enum { FT_NORMAL = 1, FT_UNKNOWN, FT_CONTROL, FT_USER, FT_UNUSED, FT_BYTE };

/* Tokens with these names end an answer, whatever else the file says of them. */
static const char *const end_names[] = {"<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "</s>"};
/* Names that are control tokens even in files that forgot to say so. */
static const char *const control_names[] = {"<|begin_of_text|>",	 "<|start_header_id|>",
					    "<|end_header_id|>",	 "<|python_tag|>",
					    "<|finetune_right_pad_id|>", "<s>"};

static bool is_one_of(struct span s, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (span_eq(s, span_cstr(names[i])))
			return true;
	return false;
}
#define IS_ONE_OF(s, list) is_one_of(s, list, sizeof(list) / sizeof((list)[0]))

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "<0x0A>" -> 10; -1 when it is none. */
static int byte_name(struct span s)
{
	if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>' || hex(s.p[3]) < 0 ||
	    hex(s.p[4]) < 0)
		return -1;
	return hex(s.p[3]) * 16 + hex(s.p[4]);
}

/* Copies a name with U+2581 as a space. False when it has a space already: SentencePiece can
 * never match such a piece. */
static bool spm_piece(struct span stored, char *out, uint32_t *n)
{
	bool plain = true;

	*n = 0;
	for (size_t i = 0; i < stored.n;) {
		bool low = i + 3 <= stored.n && memcmp(stored.p + i, "\xe2\x96\x81", 3) == 0;

		plain = plain && stored.p[i] != ' ';
		out[(*n)++] = low ? ' ' : stored.p[i];
		i += low ? 3 : 1;
	}
	return plain;
}

/* Writes token id's text into the blob and settles its class. */
static int take_piece(struct tok *t, uint32_t id, struct span name, int32_t type, struct err *err)
{
	struct piece *p = &t->pieces[id];
	char *to = t->blob + t->blob_n;
	int b;

	if (name.n > TOK_MAX_PIECE)
		return err_set(err, E_RANGE, "token %u is over %d bytes", id, TOK_MAX_PIECE);
	if (type < FT_NORMAL || type > FT_BYTE)
		return err_set(err, E_FORMAT, "token %u has unknown type %d", id, type);
	if (IS_ONE_OF(name, end_names) || IS_ONE_OF(name, control_names))
		type = FT_CONTROL;
	p->off = (uint32_t)t->blob_n;
	p->len = (uint32_t)name.n;
	p->special = type == FT_CONTROL || type == FT_USER;
	memcpy(to, name.p ? name.p : "", name.n);
	switch (type) {
	case FT_NORMAL:
		p->class = TC_NORMAL;
		if (t->spm ? !spm_piece(name, to, &p->len) : !bpe_letters(name, to, &p->len))
			p->class = TC_UNUSED; /* no text can ever become this token */
		break;
	case FT_USER:
		p->class = TC_NORMAL;
		break;
	case FT_BYTE:
		b = byte_name(name);
		if (b < 0)
			return err_set(err, E_FORMAT, "byte token %u names no byte", id);
		p->class = TC_BYTE;
		p->len = 1;
		to[0] = (char)b;
		break;
	default:
		p->class = type == FT_CONTROL	? TC_CONTROL
			   : type == FT_UNKNOWN ? TC_UNKNOWN
						: TC_UNUSED;
	}
	t->blob_n += p->len;
	return 0;
}

static int take_pieces(struct tok *t, const struct gguf *g, struct err *err)
{
	struct gguf_arr names, types;
	bool typed = gguf_arr(g, "tokenizer.ggml.token_type", GV_I32, &types);
	struct span s;
	size_t pos = 0;
	int rc = 0;

	if (!gguf_arr(g, "tokenizer.ggml.tokens", GV_STR, &names) || names.n == 0)
		return err_set(err, E_FORMAT, "tokenizer.ggml.tokens is missing");
	if (names.n > TOK_MAX_VOCAB)
		return err_set(err, E_RANGE, "more than %u tokens", TOK_MAX_VOCAB);
	if (!typed && (t->spm || gguf_find(g, "tokenizer.ggml.token_type")))
		return err_set(err, E_FORMAT, "tokenizer.ggml.token_type is missing or no list");
	if (typed && types.n != names.n)
		return err_set(err, E_FORMAT, "tokenizer.ggml.token_type is not one per token");
	t->n = (uint32_t)names.n;
	t->pieces = calloc(t->n, sizeof(*t->pieces));
	t->blob = malloc(names.raw.n + 1); /* no text grows when it is decoded */
	if (!t->pieces || !t->blob)
		return err_set(err, E_NOMEM, "no memory for %u tokens", t->n);
	for (uint32_t i = 0; rc == 0 && gguf_arr_next(&names, &pos, &s); i++)
		rc = take_piece(t, i, s, typed ? gguf_arr_i32(&types, i) : FT_NORMAL, err);
	return rc;
}

static int index_pieces(struct tok *t, struct err *err)
{
	uint32_t n_special = 0;
	int rc;

	for (uint32_t i = 0; i < t->n; i++)
		n_special += t->pieces[i].special;
	if ((rc = index_init(&t->normal, t->n - n_special, err)) < 0 ||
	    (rc = index_init(&t->special, n_special, err)) < 0)
		return rc;
	for (uint32_t i = 0; i < t->n; i++) {
		struct piece *p = &t->pieces[i];

		if (p->len == 0)
			continue;
		if (p->special) {
			rc = index_add(t, &t->special, i, err);
			if (p->len <= TOK_MAX_SPECIAL) {
				t->special_len[p->len] = true;
				t->special_first[(uint8_t)t->blob[p->off]] = true;
			}
		} else if (p->class == TC_NORMAL) {
			rc = index_add(t, &t->normal, i, err);
			t->max_piece = p->len > t->max_piece ? p->len : t->max_piece;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void add_end(struct tok *t, int32_t id)
{
	if (id >= 0 && !tok_is_end(t, id) && t->n_end < MODEL_MAX_END)
		t->end[t->n_end++] = id;
}

/* Tokens the file names by id are control tokens from now on: never text, never printed. */
static int named_id(struct tok *t, const struct gguf *g, const char *key, int32_t *id,
		    struct err *err)
{
	uint32_t v;

	*id = -1;
	if (!gguf_find(g, key))
		return 0;
	if (!gguf_u32(g, key, &v) || v >= t->n)
		return err_set(err, E_RANGE, "%s is no token", key);
	*id = (int32_t)v;
	if (t->pieces[v].class == TC_BYTE)
		return err_set(err, E_FORMAT, "%s is a byte token", key);
	t->pieces[v].class = TC_CONTROL;
	t->pieces[v].special = true;
	return 0;
}

static int take_named(struct tok *t, const struct gguf *g, struct err *err)
{
	static const char *const keys[] = {"tokenizer.ggml.eos_token_id",
					   "tokenizer.ggml.eot_token_id",
					   "tokenizer.ggml.eom_token_id"};
	int32_t id;
	int rc;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if ((rc = named_id(t, g, keys[i], &id, err)) < 0)
			return rc;
		add_end(t, id);
	}
	return named_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err);
}

static int take_model(struct tok *t, const struct gguf *g, struct err *err)
{
	static const char *const pres[] = {"llama-bpe", "llama3", "llama-v3"};
	struct span model = {0}, pre = {0};

	if (!gguf_str(g, "tokenizer.ggml.model", &model))
		return err_set(err, E_FORMAT, "tokenizer.ggml.model is missing");
	gguf_str(g, "tokenizer.ggml.pre", &pre);
	t->spm = span_eq(model, SPAN_LIT("llama"));
	if (!t->spm && !span_eq(model, SPAN_LIT("gpt2")))
		return err_set(err, E_UNSUPPORTED,
			       "this build knows the tokenizers llama and gpt2, not the file's");
	if (t->spm ? pre.n && !span_eq(pre, SPAN_LIT("default")) : !IS_ONE_OF(pre, pres))
		return err_set(err, E_UNSUPPORTED, "tokenizer.ggml.pre is %s; this build knows %s",
			       pre.n ? "one nobody here knows" : "missing",
			       t->spm ? "none but default" : "llama-bpe, llama3, llama-v3");
	snprintf(t->model, sizeof(t->model), SPAN_FMT, SPAN_ARG(model));
	snprintf(t->pre, sizeof(t->pre), SPAN_FMT, SPAN_ARG(pre));
	return 0;
}

int tok_new(const struct gguf *g, struct tok **out, struct err *err)
{
	struct tok *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return err_set(err, E_NOMEM, "no memory for a tokenizer");
	if ((rc = take_model(t, g, err)) < 0 || (rc = take_pieces(t, g, err)) < 0 ||
	    (rc = take_named(t, g, err)) < 0 || (rc = index_pieces(t, err)) < 0 ||
	    (rc = t->spm ? spm_load(t, g, err) : bpe_load(t, g, err)) < 0) {
		tok_free(t);
		return rc;
	}
	for (size_t i = 0; i < sizeof(end_names) / sizeof(end_names[0]); i++)
		add_end(t, index_find(t, &t->special, span_cstr(end_names[i])));
	if (t->bos < 0)
		t->bos = index_find(t, &t->special,
				    t->spm ? SPAN_LIT("<s>") : SPAN_LIT("<|begin_of_text|>"));
	t->add_bos = t->bos >= 0;
	gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos);
	*out = t;
	return 0;
}

void tok_free(struct tok *t)
{
	if (!t)
		return;
	free(t->pieces);
	free(t->blob);
	free(t->normal.slot);
	free(t->special.slot);
	free(t->pairs);
	free(t->rank);
	free(t);
}

/* The longest special token at `at`; -1 = none. */
static int32_t special_at(const struct tok *t, struct span text, size_t at, size_t *len)
{
	struct span rest = span_from(text, at);
	size_t n = rest.n < TOK_MAX_SPECIAL ? rest.n : TOK_MAX_SPECIAL;

	if (!t->special_first[(uint8_t)rest.p[0]])
		return -1;
	for (; n > 0; n--) {
		int32_t id =
		    t->special_len[n] ? index_find(t, &t->special, span_of(rest.p, n)) : -1;

		if (id >= 0) {
			*len = n;
			return id;
		}
	}
	return -1;
}

static int encode_plain(const struct tok *t, struct tok_work *w, struct span text, bool prefix)
{
	return t->spm ? spm_encode(t, w, text, prefix) : bpe_encode(t, w, text);
}

static int encode_special(const struct tok *t, struct tok_work *w, struct span text, bool prefix)
{
	size_t from = 0, at = 0, len;
	int rc = 0;

	while (at < text.n && rc == 0) {
		int32_t id = special_at(t, text, at, &len);

		if (id < 0) {
			at++;
			continue;
		}
		rc = encode_plain(t, w, span_of(text.p + from, at - from), prefix);
		if (!(id == t->bos && at == 0 && w->out.n == 1)) /* BOS is there already */
			tok_emit(&w->out, id);
		from = at += len;
		prefix = true;
	}
	if (rc == 0)
		rc = encode_plain(t, w, span_from(text, from), prefix);
	return rc;
}

int tok_encode(const struct tok *t, struct span text, unsigned flags, int32_t *out, size_t cap,
	       size_t *n)
{
	struct tok_work w = {.out = {out, cap, 0}};
	bool prefix = !(flags & TOK_CONT);
	int rc;

	*n = 0;
	if (text.n > TOK_MAX_TEXT)
		return E_RANGE;
	if ((flags & TOK_BOS) && t->bos >= 0)
		tok_emit(&w.out, t->bos);
	rc = flags & TOK_SPECIAL ? encode_special(t, &w, text, prefix)
				 : encode_plain(t, &w, text, prefix);
	*n = w.out.n;
	work_free(&w);
	return rc < 0 ? rc : *n > cap ? E_RANGE : 0;
}

uint32_t tok_count(const struct tok *t)
{
	return t->n;
}

enum token_class tok_class(const struct tok *t, int32_t id)
{
	return id >= 0 && (uint32_t)id < t->n ? (enum token_class)t->pieces[id].class : TC_UNUSED;
}

int tok_bytes(const struct tok *t, int32_t id, struct span *out)
{
	enum token_class c = tok_class(t, id);

	*out = span_of("", 0);
	if (id < 0 || (uint32_t)id >= t->n)
		return E_RANGE;
	if (c == TC_NORMAL || c == TC_BYTE)
		*out = piece_text(t, (uint32_t)id);
	return 0;
}

int32_t tok_find(const struct tok *t, struct span piece)
{
	char text[TOK_MAX_PIECE];
	uint32_t n = (uint32_t)piece.n;
	int32_t id = -1;

	if (piece.n == 0 || piece.n > TOK_MAX_PIECE)
		return -1;
	id = index_find(t, &t->special, piece);
	if (id >= 0)
		return id;
	if (t->spm)
		spm_piece(piece, text, &n);
	return index_find(t, &t->normal, t->spm ? span_of(text, n) : piece);
}

size_t tok_stable_prefix(const struct tok *t, struct span text)
{
	size_t at = 0, before = 0, keep = 0, end;
	bool open = false, ignored = false;

	if (t->spm)
		return spm_stable_prefix(t, text);
	for (; at < text.n; before = at, at = end) {
		end = pre_next(text, at, &open);
		if (open)
			break;
		/* The cut itself is an end of text for what stands before it: "\s+(?!\S)" would
		 * take a space more there. */
		if (at == 0 || pre_next(span_of(text.p, end), before, &ignored) == at)
			keep = end;
	}
	return keep;
}

int32_t tok_bos(const struct tok *t)
{
	return t->bos;
}

bool tok_is_end(const struct tok *t, int32_t id)
{
	for (uint32_t i = 0; i < t->n_end; i++)
		if (t->end[i] == id)
			return true;
	return false;
}

void tok_info(const struct tok *t, struct model_info *info)
{
	snprintf(info->tokenizer, sizeof(info->tokenizer), "%s", t->model);
	snprintf(info->pre, sizeof(info->pre), "%s", t->pre);
	info->n_vocab = t->n;
	info->add_bos = t->add_bos;
	info->bos = t->bos;
	memcpy(info->end, t->end, sizeof(info->end));
	info->n_end = t->n_end;
}
