/* gtype.h - the tensor types of GGUF: ids, names, block shapes. No arithmetic on weights here.
 * Numbers as in ggml's type table (ids are part of the file format). Any thread. */
#ifndef SP_ENGINE_GTYPE_H
#define SP_ENGINE_GTYPE_H

#include <stdbool.h>
#include <stdint.h>

enum gtype {
	GT_F32 = 0,
	GT_F16 = 1,
	GT_Q4_0 = 2,
	GT_Q4_1 = 3,
	GT_Q5_0 = 6,
	GT_Q5_1 = 7,
	GT_Q8_0 = 8,
	GT_Q8_1 = 9,
	GT_Q2_K = 10,
	GT_Q3_K = 11,
	GT_Q4_K = 12,
	GT_Q5_K = 13,
	GT_Q6_K = 14,
	GT_Q8_K = 15,
	GT_IQ2_XXS = 16,
	GT_IQ2_XS = 17,
	GT_IQ3_XXS = 18,
	GT_IQ1_S = 19,
	GT_IQ4_NL = 20,
	GT_IQ3_S = 21,
	GT_IQ2_S = 22,
	GT_IQ4_XS = 23,
	GT_I8 = 24,
	GT_I16 = 25,
	GT_I32 = 26,
	GT_I64 = 27,
	GT_F64 = 28,
	GT_IQ1_M = 29,
	GT_BF16 = 30,
	GT_TQ1_0 = 34,
	GT_TQ2_0 = 35,
	GT_MXFP4 = 39,
	GT_COUNT
};

struct gtype_info {
	const char *name;     /* "Q8_0"; NULL = no such type */
	uint32_t block_elems; /* elements per block; 1 for plain numbers */
	uint32_t block_bytes;
};

/* NULL for an unknown id. Static. */
const struct gtype_info *gtype_info(uint32_t type);
/* "Q8_0", or "?" for an unknown id. Static. */
const char *gtype_name(uint32_t type);
/* Bytes of one row of n elements. False for an unknown type, n that is no whole number of
 * blocks, or overflow. */
bool gtype_row_bytes(uint32_t type, uint64_t n, uint64_t *bytes);

#endif
