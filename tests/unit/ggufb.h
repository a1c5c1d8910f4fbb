/* ggufb.h - writes GGUF files for tests: good ones, and bad ones by overriding fields. */
#ifndef SP_TESTS_GGUFB_H
#define SP_TESTS_GGUFB_H

#include "buf.h"
#include "gguf.h"

struct ggufb {
	struct buf keys, tensors, data;
	uint64_t n_keys, n_tensors;
	uint32_t version, align;
};

void gb_init(struct ggufb *b);
void gb_free(struct ggufb *b);
void gb_str(struct ggufb *b, const char *key, const char *value);
void gb_span(struct ggufb *b, const char *key, struct span value);
void gb_u32(struct ggufb *b, const char *key, uint32_t v);
void gb_f32(struct ggufb *b, const char *key, float v);
void gb_bool(struct ggufb *b, const char *key, uint8_t v);
/* Head of an array; the elements follow with gb_elem_*(). */
void gb_arr(struct ggufb *b, const char *key, enum gguf_vtype type, uint64_t n);
void gb_elem_str(struct ggufb *b, struct span s);
void gb_elem_u32(struct ggufb *b, uint32_t v);
void gb_elem_f32(struct ggufb *b, float v);
/* A tensor with `bytes` of data of value `fill`; offsets are aligned here. */
void gb_tensor(struct ggufb *b, const char *name, uint32_t type, uint32_t n_dims,
	       const uint64_t *dims, size_t bytes, uint8_t fill);
/* A tensor header with any offset and no data. */
void gb_tensor_raw(struct ggufb *b, const char *name, uint32_t type, uint32_t n_dims,
		   const uint64_t *dims, uint64_t offset);
/* The whole file into *out. */
void gb_finish(struct ggufb *b, struct buf *out);

/* The Llama 3 vocabulary as GGUF, from shared/data/tokenizer/llama3. False when it is absent. */
bool gb_llama3(struct buf *out);
/* A byte-level BPE of 256 bytes, a few merges and the Llama 3 control tokens. */
void gb_small_bpe(struct ggufb *b);
/* One token's bytes in the letters in which byte-level BPE vocabularies are stored. */
void gb_bytes_to_letters(struct span bytes, struct buf *out);
/* A file below the folder SALLYPORT_SHARED, whole. False when it is absent. */
bool shared_file(const char *rel, struct buf *out);

#endif
