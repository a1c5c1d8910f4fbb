/* split.h - models in several files: their names, as llama.cpp writes them, and their identity.
 *   NAME-00001-of-00003.gguf, NAME-00002-of-00003.gguf, NAME-00003-of-00003.gguf
 * Pure; any thread. */
#ifndef SP_BASE_SPLIT_H
#define SP_BASE_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#define SPLIT_MAX 64 /* files of one model */

/* How many files the model has of which `path` is one: 2..SPLIT_MAX when its name ends like the
 * above, else 1 (a name with another count or number is that of one file). */
unsigned split_count(const char *path);
/* The path of part `no` (0 is the first) of the model of which `path` is a part; of a single file
 * the path itself. 0, or E_RANGE when it does not fit. */
int split_path(const char *path, unsigned no, char *out, size_t size);
/* The digest a model of n files goes by: of one file its SHA-256; of several
 * SHA-256("sallyport/split/v1\n" || the files' SHA-256s in order). */
void split_digest(const uint8_t (*sha)[32], unsigned n, uint8_t out[32]);

#endif
