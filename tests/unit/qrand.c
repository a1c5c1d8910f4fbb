#include "qrand.h"

#include <math.h>
#include <stdlib.h>

#include "blocks.h"
#include "kernels.h"

const enum gtype qrand_types[QRAND_TYPES] = {GT_F32,  GT_F16,  GT_BF16, GT_Q4_0,   GT_Q4_1,
					     GT_Q5_0, GT_Q5_1, GT_Q8_0, GT_Q2_K,   GT_Q3_K,
					     GT_Q4_K, GT_Q5_K, GT_Q6_K, GT_IQ4_NL, GT_IQ4_XS};

/* Where a block has its scale and its minimum, and minimum over scale that make the mean 0. */
static const struct {
	int d, m; /* -1: none */
	float ratio;
} at[GT_COUNT] = {[GT_Q4_0] = {0, -1, 0},     [GT_Q4_1] = {0, 2, -7.5f}, [GT_Q5_0] = {0, -1, 0},
		  [GT_Q5_1] = {0, 2, -15.5f}, [GT_Q8_0] = {0, -1, 0},	 [GT_Q2_K] = {80, 82, 1.5f},
		  [GT_Q3_K] = {108, -1, 0},   [GT_Q4_K] = {0, 2, 7.5f},	 [GT_Q5_K] = {0, 2, 15.5f},
		  [GT_Q6_K] = {208, -1, 0},   [GT_IQ4_NL] = {0, -1, 0},	 [GT_IQ4_XS] = {0, -1, 0}};

static uint32_t next(uint64_t *s)
{
	*s = *s * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*s >> 32);
}

static void set_scales(enum gtype t, uint8_t *row, size_t n, float d)
{
	const struct gtype_info *i = gtype_info(t);

	for (size_t b = 0; b < n / i->block_elems; b++, row += i->block_bytes) {
		put_le16(row + at[t].d, f32_half(d));
		if (at[t].m >= 0)
			put_le16(row + at[t].m, f32_half(d * at[t].ratio));
	}
}

static float rms_of(enum gtype t, const uint8_t *row, size_t n)
{
	float *v = calloc(n, sizeof(*v));
	double sum = 0;

	kern_portable.expand[t](row, v, n);
	for (size_t i = 0; i < n; i++)
		sum += (double)v[i] * v[i];
	free(v);
	return sqrtf((float)(sum / (double)n));
}

void qrand_row(enum gtype type, uint64_t *seed, float rms, uint8_t *row, size_t n)
{
	const struct gtype_info *info = gtype_info(type);

	if (info->block_elems > 1) {
		for (size_t i = 0; i < n / info->block_elems * info->block_bytes; i++)
			row[i] = (uint8_t)(next(seed) >> 24);
		set_scales(type, row, n, 1);
		set_scales(type, row, n, rms / rms_of(type, row, n));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		float f = ((float)next(seed) / 2147483648.0f - 1) * 1.7320508f * rms;

		if (type == GT_F32)
			put_le32(row + 4 * i, f32_bits(f));
		else
			put_le16(row + 2 * i,
				 type == GT_F16 ? f32_half(f) : (uint16_t)(f32_bits(f) >> 16));
	}
}

void qrand_spoil(enum gtype type, bool nan, uint8_t *row)
{
	float f = nan ? NAN : INFINITY;

	if (type == GT_F32)
		put_le32(row, f32_bits(f));
	else if (type == GT_BF16)
		put_le16(row, (uint16_t)(f32_bits(f) >> 16));
	else
		put_le16(row + (type == GT_F16 ? 0 : at[type].d), f32_half(f));
}
