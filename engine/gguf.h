/* gguf.h - reads GGUF v2 and v3 files (little-endian) as hostile input.
 * Format: github.com/ggml-org/ggml docs/gguf.md. Everything is checked before gguf_parse()
 * returns 0: counts, lengths, offsets, products, alignment, overlap, duplicates, types, bool
 * values, nesting. Afterwards every span in struct gguf lies inside the region.
 * Ownership: struct gguf owns its tables and borrows the region: names, values and tensor data
 * point into it, so it must stay mapped until gguf_free() and the last use of a span.
 * Any thread; no globals. */
#ifndef SP_ENGINE_GGUF_H
#define SP_ENGINE_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "gtype.h"
#include "span.h"

#define GGUF_MAX_KEYS 4096
#define GGUF_MAX_TENSORS 65536
#define GGUF_MAX_DIMS 4
#define GGUF_MAX_KEY_BYTES 65535      /* the format's own limit */
#define GGUF_MAX_NAME_BYTES 64	      /* tensor names, the format's own limit */
#define GGUF_MAX_STR_BYTES (4u << 20) /* one string value (chat templates, licences) */
#define GGUF_MAX_ARR_ELEMS (4u << 20) /* elements of one array */
#define GGUF_MAX_ALIGN (1u << 20)
#define GGUF_MAX_DIM (1ull << 40) /* one dimension, and the elements of one tensor */

enum gguf_vtype {
	GV_U8,
	GV_I8,
	GV_U16,
	GV_I16,
	GV_U32,
	GV_I32,
	GV_F32,
	GV_BOOL,
	GV_STR,
	GV_ARR,
	GV_U64,
	GV_I64,
	GV_F64,
	GV_COUNT
};

/* An array of numbers or of strings (arrays of arrays are refused at parse). */
struct gguf_arr {
	enum gguf_vtype type;
	uint64_t n;
	struct span raw; /* the elements' bytes: numbers little-endian and possibly unaligned;
			  * strings as u64 length + bytes, walk them with gguf_arr_next() */
};

struct gguf_key {
	struct span name;
	enum gguf_vtype type;
	struct span raw;     /* number: its bytes; string: its text */
	struct gguf_arr arr; /* GV_ARR */
};

struct gguf_tensor {
	struct span name;
	uint32_t number;	      /* place in the file's list; over all parts of a split model */
	uint32_t part;		      /* which part of a split model it is in, from 0 */
	enum gtype type;	      /* always a known one */
	uint32_t n_dims;	      /* 1..4 */
	uint64_t dims[GGUF_MAX_DIMS]; /* dims[0] = length of a row; 1 behind n_dims; none is 0 */
	uint64_t elems;		      /* product of dims */
	uint64_t offset;	      /* of the data, from the start of the file */
	struct span data;	      /* exactly the tensor's bytes */
};

struct gguf {
	uint32_t version;
	struct span file; /* the whole region; of a split model the first part's */
	uint64_t bytes;	  /* of the file, of a split model all its parts */
	uint32_t n_keys;
	struct gguf_key *keys; /* sorted by name (bytes) */
	uint32_t n_tensors;
	struct gguf_tensor *tensors; /* sorted by name (bytes) */
	uint32_t *order;	     /* n_tensors indexes into tensors, in the file's order */
	uint64_t alignment, data_offset;
};

/* 0, or E_TRUNC, E_FORMAT, E_RANGE, E_UNSUPPORTED, E_NOMEM with text that says which key or
 * tensor (by its number, never by foreign bytes). On error *g is empty and needs no free. */
int gguf_parse(struct gguf *g, struct span file, struct err *err);
void gguf_free(struct gguf *g); /* takes the tables; a zeroed struct is fine; not the region */

/* Sorts the tensors by name and fills g->order from their numbers, as gguf_parse() does; for tables
 * put together from several files. E_FORMAT when two have the same name, E_NOMEM. */
int gguf_sort_tensors(struct gguf *g, struct err *err);

/* NULL when absent. */
const struct gguf_key *gguf_find(const struct gguf *g, const char *key);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name);

/* Typed getters: true and *out set when the key is there with a fitting type; false and *out
 * untouched when it is absent or of another type (gguf_find() tells the two apart).
 * gguf_u32 takes any integer type whose value fits; gguf_f32 takes F32 and F64. */
bool gguf_str(const struct gguf *g, const char *key, struct span *out);
bool gguf_u32(const struct gguf *g, const char *key, uint32_t *out);
bool gguf_u64(const struct gguf *g, const char *key, uint64_t *out);
bool gguf_f32(const struct gguf *g, const char *key, float *out);
bool gguf_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_arr(const struct gguf *g, const char *key, enum gguf_vtype elem, struct gguf_arr *out);

/* Element i of a number array. i < n; the type must be the one the array has. */
float gguf_arr_f32(const struct gguf_arr *a, uint64_t i);
int32_t gguf_arr_i32(const struct gguf_arr *a, uint64_t i); /* GV_I32 or GV_U32 */
/* Takes the next string: start with *pos = 0; false at the end. */
bool gguf_arr_next(const struct gguf_arr *a, size_t *pos, struct span *out);

/* A file mapped read-only and private. Whoever can write the file can still change the bytes
 * behind the parser's back: map only files that nobody else writes. */
struct gguf_map {
	struct span bytes;
};
int gguf_map(int fd, struct gguf_map *m, struct err *err); /* fd stays the caller's */
void gguf_unmap(struct gguf_map *m);			   /* NULL-safe, repeatable */

#endif
