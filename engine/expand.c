/* expand.c - the rarer types in plain C; see expand.h. */
#include "expand.h"

#include "blocks.h"

static const int8_t iq4_values[16] = {IQ4_VALUES};

void expand_q4_1(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q4_1_BYTES) {
		float d = half_at(p), m = half_at(p + 2);

		for (int j = 0; j < 16; j++) {
			out[i + j] = d * (p[4 + j] & 15) + m;
			out[i + j + 16] = d * (p[4 + j] >> 4) + m;
		}
	}
}

/* Element j (0..31) of 16 bytes of nibbles and 32 high bits. */
static inline int five(const uint8_t *nib, uint32_t high, int j)
{
	int low = j < 16 ? nib[j] & 15 : nib[j - 16] >> 4;

	return low | (int)(high >> j & 1) << 4;
}

void expand_q5_0(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q5_0_BYTES) {
		float d = half_at(p);
		uint32_t high = get_le32(p + 2);

		for (int j = 0; j < 32; j++)
			out[i + j] = d * (five(p + 6, high, j) - 16);
	}
}

void expand_q5_1(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += Q5_1_BYTES) {
		float d = half_at(p), m = half_at(p + 2);
		uint32_t high = get_le32(p + 4);

		for (int j = 0; j < 32; j++)
			out[i + j] = d * five(p + 8, high, j) + m;
	}
}

/* Both halves of a block of 256: four planes of two bits in 32 bytes, 16 weights to a scale. */
void expand_q2_k(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q2_K_BYTES) {
		float d = half_at(p + 80), dmin = half_at(p + 82), *y = out + i;

		for (int g = 0; g < 16; g++, y += 16) {
			const uint8_t *q = p + 16 + g / 8 * 32 + g % 2 * 16;
			float scale = d * (p[g] & 15), min = dmin * (p[g] >> 4);

			for (int l = 0; l < 16; l++)
				y[l] = scale * (q[l] >> g % 8 / 2 * 2 & 3) - min;
		}
	}
}

void expand_q3_k(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q3_K_BYTES) {
		float d = half_at(p + 108), *y = out + i;

		for (unsigned g = 0; g < 16; g++, y += 16) {
			const uint8_t *q = p + 32 + g / 8 * 32 + g % 2 * 16;
			const uint8_t *high = p + g % 2 * 16;
			float scale = d * (float)q3_k_scale(p + 96, g);

			for (int l = 0; l < 16; l++) {
				int v = q[l] >> g % 8 / 2 * 2 & 3;

				y[l] = scale * (v - (high[l] >> g / 2 & 1 ? 0 : 4));
			}
		}
	}
}

void expand_q5_k(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += Q5_K_BYTES) {
		float d = half_at(p), dmin = half_at(p + 2), *y = out + i;
		const uint8_t *high = p + 16;

		for (unsigned g = 0; g < 8; g++, y += 32) {
			const uint8_t *q = p + 48 + g / 2 * 32;
			unsigned s, m;
			float scale, min;

			q4_k_scale(p + 4, g, &s, &m);
			scale = d * (float)s;
			min = dmin * (float)m;
			for (int l = 0; l < 32; l++) {
				int low = q[l] >> g % 2 * 4 & 15;

				y[l] = scale * (low + (high[l] >> g & 1) * 16) - min;
			}
		}
	}
}

void expand_iq4_nl(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += 32, p += IQ4_NL_BYTES) {
		float d = half_at(p);

		for (int j = 0; j < 16; j++) {
			out[i + j] = d * iq4_values[p[2 + j] & 15];
			out[i + j + 16] = d * iq4_values[p[2 + j] >> 4];
		}
	}
}

void expand_iq4_xs(const void *row, float *out, size_t n)
{
	const uint8_t *p = row;

	for (size_t i = 0; i < n; i += QK_K, p += IQ4_XS_BYTES) {
		float d = half_at(p), *y = out + i;

		for (unsigned g = 0; g < 8; g++, y += 32) {
			const uint8_t *q = p + 8 + g * 16;
			float scale = d * (float)iq4_xs_scale(p, g);

			for (int j = 0; j < 16; j++) {
				y[j] = scale * iq4_values[q[j] & 15];
				y[j + 16] = scale * iq4_values[q[j] >> 4];
			}
		}
	}
}
