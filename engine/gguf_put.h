/* gguf_put.h - writes the tables of a GGUF v3 file. Any thread. */
#ifndef SP_ENGINE_GGUF_PUT_H
#define SP_ENGINE_GGUF_PUT_H

#include "buf.h"
#include "gguf.h"

/* A parsed key, byte for byte as it stood in its file. */
void gguf_put_key(struct buf *b, const struct gguf_key *k);
void gguf_put_u32(struct buf *b, const char *name, uint32_t v);
/* A tensor's entry; offset counts from the start of the data section. */
void gguf_put_tensor(struct buf *b, const struct gguf_tensor *t, enum gtype type, uint64_t offset);
/* The file up to its data section: the two tables behind a header, padded to `align`. */
void gguf_put_head(struct buf *out, uint64_t n_keys, struct span keys, uint64_t n_tensors,
		   struct span tensors, uint64_t align);

#endif
