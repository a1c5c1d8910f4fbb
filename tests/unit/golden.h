/* golden.h - the comparison with ../shared/data/goldens, for the tests of exactness and of mutants.
 */
#ifndef SP_TESTS_GOLDEN_H
#define SP_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

/* RMS error over the standard deviation of the 7 x 320 logits of nano-<type>; -1: files absent. */
double golden_nano(const char *type, const char *kernel, bool step, enum kv_type kv);
struct tool_opts;
double golden_nano_with(const char *type, const struct tool_opts *o);

/* As RMS over std: a random model of this shape, n tokens appended in pieces, against ref64.c. */
struct shape;
double golden_own(const struct shape *s, uint32_t n, const char *kernel, uint32_t piece);

#endif
