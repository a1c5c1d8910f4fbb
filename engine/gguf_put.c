/* gguf_put.c - see gguf_put.h. */
#include "gguf_put.h"

static void put_str(struct buf *b, struct span s)
{
	buf_u64(b, s.n);
	buf_span_put(b, s);
}

void gguf_put_key(struct buf *b, const struct gguf_key *k)
{
	put_str(b, k->name);
	buf_u32(b, k->type);
	if (k->type == GV_ARR) {
		buf_u32(b, k->arr.type);
		buf_u64(b, k->arr.n);
		buf_span_put(b, k->arr.raw);
	} else if (k->type == GV_STR) {
		put_str(b, k->raw);
	} else {
		buf_span_put(b, k->raw);
	}
}

void gguf_put_u32(struct buf *b, const char *name, uint32_t v)
{
	put_str(b, span_cstr(name));
	buf_u32(b, GV_U32);
	buf_u32(b, v);
}

void gguf_put_tensor(struct buf *b, const struct gguf_tensor *t, enum gtype type, uint64_t offset)
{
	put_str(b, t->name);
	buf_u32(b, t->n_dims);
	for (uint32_t d = 0; d < t->n_dims; d++)
		buf_u64(b, t->dims[d]);
	buf_u32(b, type);
	buf_u64(b, offset);
}

void gguf_put_head(struct buf *out, uint64_t n_keys, struct span keys, uint64_t n_tensors,
		   struct span tensors, uint64_t align)
{
	buf_puts(out, "GGUF");
	buf_u32(out, 3);
	buf_u64(out, n_tensors);
	buf_u64(out, n_keys);
	buf_span_put(out, keys);
	buf_span_put(out, tensors);
	while (buf_ok(out) && out->n % align)
		buf_u8(out, 0);
}
