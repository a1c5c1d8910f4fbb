/* info.h - the shape of a model from its GGUF metadata. Pure; any thread. */
#ifndef SP_ENGINE_INFO_H
#define SP_ENGINE_INFO_H

#include "engine.h"
#include "gguf.h"

/* Fills everything of *info but what tok_info() fills (tokenizer, pre, bos, end; n_vocab is set
 * from the metadata or the token list) and what only tensors tell (tied_output and params are
 * computed from the tensor list). Every number is bounded; absurd shapes are E_RANGE. o (NULL ok):
 * max_context is applied, vocab_only lets shape keys be absent. */
int info_read(const struct gguf *g, const struct model_opts *o, struct model_info *info,
	      struct err *err);

#endif
