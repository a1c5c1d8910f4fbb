/* blocks.h - how the quantised types lie in memory, and their numbers read one at a time; shared
 * by the kernel tables. Layouts as in ggml (ggml-common.h). Any thread. */
#ifndef SP_ENGINE_BLOCKS_H
#define SP_ENGINE_BLOCKS_H

#include <stdint.h>
#include <string.h>

#include "num.h"

#define Q8_0_BYTES 34  /* half d; int8 q[32] */
#define Q4_0_BYTES 18  /* half d; 16 bytes: element j low nibble of byte j, j + 16 high */
#define Q4_K_BYTES 144 /* half d, dmin; 12 bytes of 6-bit scales and minima; 128 bytes nibbles */
#define Q6_K_BYTES 210 /* 128 bytes low nibbles; 64 bytes high pairs; int8 scale[16]; half d */
#define Q4_1_BYTES 20  /* half d, m; 16 bytes of nibbles as in Q4_0 */
#define Q5_0_BYTES 22  /* half d; 32 high bits, bit i of element i; nibbles as in Q4_0 */
#define Q5_1_BYTES 24  /* half d, m; then as Q5_0 */
#define Q2_K_BYTES 84  /* 16 bytes: scale low nibble, minimum high; 64 bytes pairs; half d, dmin */
#define Q3_K_BYTES 110 /* 32 bytes of high bits; 64 bytes of low pairs; 12 bytes scales; half d */
#define Q5_K_BYTES 176 /* half d, dmin; 12 bytes as Q4_K; 32 bytes of high bits; 128 nibbles */
#define IQ4_NL_BYTES 18 /* as Q4_0, the nibbles being places in IQ4_VALUES */
#define IQ4_XS_BYTES 136 /* half d; 16 bits of high scale pairs; 4 bytes low nibbles; 128 nibbles */
#define QK_K 256

static inline float bits_f32(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static inline uint32_t f32_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static inline float half_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;

	if (rest >= 0x0f800000u) /* infinity or NaN: all exponent bits */
		return bits_f32(sign | 0x70000000u | rest);
	if (rest < 0x00800000u) /* zero or subnormal: the mantissa counts units of 2^-24 */
		return bits_f32(sign | f32_bits((float)(rest >> 13) * 0x1p-24f));
	return bits_f32(sign | (rest + 0x38000000u));
}

/* To nearest, ties to even; NaN stays NaN. */
static inline uint16_t f32_half(float f)
{
	uint32_t u = f32_bits(f), sign = u >> 16 & 0x8000, m = u & 0x7fffffff, r;

	if (m > 0x7f800000u)
		return (uint16_t)(sign | 0x7e00);
	if (m >= 0x477ff000u) /* rounds to 65536 or more */
		return (uint16_t)(sign | 0x7c00);
	if (m < 0x38800000u) { /* subnormal: let an addition do the rounding */
		r = f32_bits(bits_f32(m) + 0.5f) - f32_bits(0.5f);
		return (uint16_t)(sign | r);
	}
	r = m - 0x38000000u;
	r += 0xfff + (r >> 13 & 1);
	return (uint16_t)(sign | r >> 13);
}

static inline float half_at(const uint8_t *p)
{
	return half_f32(get_le16(p));
}

/* Scale and minimum j (0..7) of a Q4_K block's 12 packed bytes. */
static inline void q4_k_scale(const uint8_t *s, unsigned j, unsigned *scale, unsigned *min)
{
	if (j < 4) {
		*scale = s[j] & 63;
		*min = s[j + 4] & 63;
	} else {
		*scale = (s[j + 4] & 15u) | (unsigned)(s[j - 4] >> 6) << 4;
		*min = (unsigned)(s[j + 4] >> 4) | (unsigned)(s[j] >> 6) << 4;
	}
}

/* Scale j (0..15) of a Q3_K block's 12 packed bytes: six bits less 32. */
static inline int q3_k_scale(const uint8_t *s, unsigned j)
{
	unsigned low = j < 8 ? s[j] & 15u : (unsigned)s[j - 8] >> 4;

	return (int)(low | ((unsigned)s[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
}

/* Scale j (0..7) of an IQ4_XS block: six bits less 32. */
static inline int iq4_xs_scale(const uint8_t *p, unsigned j)
{
	unsigned low = (unsigned)p[4 + j / 2] >> 4 * (j % 2) & 15;

	return (int)(low | ((unsigned)get_le16(p + 2) >> 2 * j & 3) << 4) - 32;
}

/* What a nibble of IQ4_NL and IQ4_XS stands for. */
#define IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

#endif
