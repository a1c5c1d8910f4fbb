/* synth.h - model files of exact shapes with random weights: for benchmarks that anyone can repeat
 * and for measuring this machine (`model synth`, `model plan`). Logits are finite, the softmax of
 * the attention is neither flat nor a single position, the text they speak is noise. The
 * vocabulary is a byte-level BPE of Llama 3's size and special tokens over made-up pieces; other
 * programs read the files too. One thread; nothing is kept. */
#ifndef SP_CLI_SYNTH_H
#define SP_CLI_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

struct synth_shape {
	const char *name; /* "1b" */
	uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab, context;
	bool tied;	  /* no output.weight */
	uint32_t rope_scale; /* rope_freqs of Llama 3.1 (8) or 3.2 (32); 0 = no such tensor */
};
/* Shapes by name: nano, 1b, 3b, 8b, 70b, 405b. NULL: unknown. synth_names: NULL-terminated. */
const struct synth_shape *synth_shape(const char *name);
extern const char *const synth_names[];
/* "Q4_0", "Q4_K_M", ...; NULL-terminated. */
extern const char *const synth_types[];

struct synth_opts {
	const char *type;  /* one of synth_types, mixed as llama.cpp's quantize mixes them */
	uint64_t seed;
	bool headers_only; /* the tensors' room is a hole in the file */
	void (*progress)(uint64_t done, uint64_t all); /* NULL ok */
};
/* Writes to the start of fd (an empty regular file or memfd). E_RANGE: unknown type, or a vocabulary
 * that is too large or too small (300..200,000). */
int synth_write(int fd, const struct synth_shape *s, const struct synth_opts *o, struct err *err);

/* ---- synth_fill.c: random weights of a standard deviation ---- */
struct synth_type {
	const char *name;
	uint32_t id; /* of the file format */
	uint32_t elems, bytes; /* of a block */
};
const struct synth_type *synth_type(const char *name); /* NULL: none */
struct synth_rng {
	uint64_t s[4];
};
void synth_rng_init(struct synth_rng *r, uint64_t seed);
/* n_blocks blocks of the type at p; values have mean 0 and about the deviation sd. */
void synth_fill(const struct synth_type *t, struct synth_rng *r, float sd, uint8_t *p,
		uint64_t n_blocks);

/* ---- synth_vocab.c ---- */
#define SYNTH_VOCAB_KEYS 7
/* SYNTH_VOCAB_KEYS metadata keys: model, pre, tokens, types, merges, bos, eos. E_RANGE. */
int synth_vocab(struct buf *b, uint32_t n_vocab, struct err *err);
/* Parts of a GGUF header. */
void synth_str(struct buf *b, const char *s);
void synth_key_str(struct buf *b, const char *key, const char *value);
void synth_key_u32(struct buf *b, const char *key, uint32_t value);

#endif
