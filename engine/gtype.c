/* gtype.c - the table behind gtype.h. */
#include "gtype.h"

#include <stddef.h>

#include "num.h"

static const struct gtype_info types[GT_COUNT] = {
    [GT_F32] = {"F32", 1, 4},
    [GT_F16] = {"F16", 1, 2},
    [GT_Q4_0] = {"Q4_0", 32, 18},
    [GT_Q4_1] = {"Q4_1", 32, 20},
    [GT_Q5_0] = {"Q5_0", 32, 22},
    [GT_Q5_1] = {"Q5_1", 32, 24},
    [GT_Q8_0] = {"Q8_0", 32, 34},
    [GT_Q8_1] = {"Q8_1", 32, 36},
    [GT_Q2_K] = {"Q2_K", 256, 84},
    [GT_Q3_K] = {"Q3_K", 256, 110},
    [GT_Q4_K] = {"Q4_K", 256, 144},
    [GT_Q5_K] = {"Q5_K", 256, 176},
    [GT_Q6_K] = {"Q6_K", 256, 210},
    [GT_Q8_K] = {"Q8_K", 256, 292},
    [GT_IQ2_XXS] = {"IQ2_XXS", 256, 66},
    [GT_IQ2_XS] = {"IQ2_XS", 256, 74},
    [GT_IQ3_XXS] = {"IQ3_XXS", 256, 98},
    [GT_IQ1_S] = {"IQ1_S", 256, 50},
    [GT_IQ4_NL] = {"IQ4_NL", 32, 18},
    [GT_IQ3_S] = {"IQ3_S", 256, 110},
    [GT_IQ2_S] = {"IQ2_S", 256, 82},
    [GT_IQ4_XS] = {"IQ4_XS", 256, 136},
    [GT_I8] = {"I8", 1, 1},
    [GT_I16] = {"I16", 1, 2},
    [GT_I32] = {"I32", 1, 4},
    [GT_I64] = {"I64", 1, 8},
    [GT_F64] = {"F64", 1, 8},
    [GT_IQ1_M] = {"IQ1_M", 256, 56},
    [GT_BF16] = {"BF16", 1, 2},
    [GT_TQ1_0] = {"TQ1_0", 256, 54},
    [GT_TQ2_0] = {"TQ2_0", 256, 66},
    [GT_MXFP4] = {"MXFP4", 32, 17},
};

const struct gtype_info *gtype_info(uint32_t type)
{
	return type < GT_COUNT && types[type].name ? &types[type] : NULL;
}

const char *gtype_name(uint32_t type)
{
	const struct gtype_info *i = gtype_info(type);

	return i ? i->name : "?";
}

bool gtype_row_bytes(uint32_t type, uint64_t n, uint64_t *bytes)
{
	const struct gtype_info *i = gtype_info(type);

	if (!i || n % i->block_elems)
		return false;
	return !mul_u64(n / i->block_elems, i->block_bytes, bytes);
}
