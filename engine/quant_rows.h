/* quant_rows.h - fp32 weights to quantised blocks: the inverse of the tables' expand functions for
 * the types `model quantize` writes. Layouts: blocks.h. Scales are searched for: candidates around
 * the largest weight's, each fitted by weighted least squares to the whole numbers it gives, as
 * ggml's quantisers do (ggml-quants.c; only Q4_K weighs large weights more); then scales are tried once more as they will be stored,
 * rounded to half floats and to their few bits. Pure; any thread. */
#ifndef SP_ENGINE_QUANT_ROWS_H
#define SP_ENGINE_QUANT_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "gtype.h"

#define QUANT_MOST 65504.0f /* the largest magnitude a weight may have */

/* F32, F16, Q8_0, Q4_0, Q4_K, Q6_K. */
bool quant_can(enum gtype type);
/* n weights (a multiple of the type's block), each finite and of at most QUANT_MOST. */
void quant_row(enum gtype type, const float *x, uint8_t *row, size_t n);

#endif
