/* qrand.h - random rows of weights in any of the fifteen types, for tests. */
#ifndef SP_TESTS_QRAND_H
#define SP_TESTS_QRAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gtype.h"

#define QRAND_TYPES 15
extern const enum gtype qrand_types[QRAND_TYPES];
/* n weights (a multiple of the type's block) about 0 with this root mean square; the same for the
 * same *seed, which moves on. Any bits can be in the blocks, but the scales are finite. */
void qrand_row(enum gtype type, uint64_t *seed, float rms, uint8_t *row, size_t n);
/* Makes the first block's scale (of plain types the first weight) NaN or infinite. */
void qrand_spoil(enum gtype type, bool nan, uint8_t *row);

#endif
