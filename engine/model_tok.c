/* model_tok.c - the token functions of engine.h over a model's tokenizer. */
#include "model_priv.h"

int model_tokenize(const struct model *m, struct span text, unsigned flags, int32_t *out,
		   size_t cap, size_t *n)
{
	return tok_encode(m->tok, text, flags, out, cap, n);
}

int model_token_bytes(const struct model *m, int32_t id, struct span *out)
{
	return tok_bytes(m->tok, id, out);
}

enum token_class model_token_class(const struct model *m, int32_t id)
{
	return tok_class(m->tok, id);
}

int32_t model_token_find(const struct model *m, struct span piece)
{
	return tok_find(m->tok, piece);
}

size_t model_stable_prefix(const struct model *m, struct span text)
{
	return tok_stable_prefix(m->tok, text);
}

const struct model_info *model_info(const struct model *m)
{
	return &m->info;
}
