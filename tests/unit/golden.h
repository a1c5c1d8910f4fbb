/* golden.h - the comparison with ../shared/data/goldens, for the tests of exactness and of mutants. */
#ifndef SP_TESTS_GOLDEN_H
#define SP_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

/* RMS error over the standard deviation of the 7 x 320 logits of nano-<type>; -1: files absent.
 * chunk: rows per batch (0 = the engine's choice). */
double golden_nano(const char *type, const char *kernel, bool step, uint32_t chunk);

#endif
