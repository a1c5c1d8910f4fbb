/* parts.h - the files of a model: one GGUF, or the parts of a split one (keys split.no, split.count,
 * split.tensors.count as llama.cpp's gguf-split writes them), mapped and put together to one table.
 * Any thread. */
#ifndef SP_ENGINE_PARTS_H
#define SP_ENGINE_PARTS_H

#include "gguf.h"
#include "split.h"

#define PARTS_MAX SPLIT_MAX

struct parts {
	unsigned n;
	struct gguf_map map[PARTS_MAX]; /* as the descriptors came */
};

/* Maps the files, given in any order, and fills *g: metadata of the first part, tensors of all, in
 * the order of the parts; gguf_tensor.part says where each is and .offset counts in that file. The
 * descriptors stay the caller's. Errors are those of gguf_parse() and of parts_join(); then nothing
 * needs closing. Else gguf_free(g), and parts_close(p) when no tensor is read any more. */
int parts_open(struct parts *p, const int *fds, unsigned nfds, struct gguf *g, struct err *err);
void parts_close(struct parts *p); /* zeroed struct ok; repeatable */

/* Puts n parsed files together; takes the tables of all of them, also on error. E_FORMAT: not all
 * parts of one model (one missing, twice, of another model, tensors twice or too few), with text
 * that says which; E_RANGE, E_NOMEM. */
int parts_join(struct gguf *part, unsigned n, struct gguf *all, struct err *err);

#endif
