/* gguf_patch.h - broken guards made from the bundled model: a copy in memory with some bytes
 * changed. Every function gives a descriptor, -1 when the model or the tensor is not there. */
#ifndef SP_TESTS_GGUF_PATCH_H
#define SP_TESTS_GGUF_PATCH_H

#include <stdbool.h>
#include <stdint.h>

int patch_copy(int fd); /* an unchanged copy with another digest (one byte more) */
int patch_nan(int fd);	/* every logit is NaN */
/* The rows of two tokens change places in the output matrix: what the model means by one it says
 * with the other. */
int patch_swap(int fd, int32_t a, int32_t b, int32_t c, int32_t d);
/* The model in n files (2..8), a descriptor each. */
bool patch_cut(int fd, unsigned n, int *fds);

#endif
