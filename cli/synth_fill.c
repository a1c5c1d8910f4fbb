/* synth_fill.c - random blocks of the types. Numbers inside a block are uniform; where a type's
 * numbers lie to one side of zero (Q4_0: -8..7) the sign of the scale is random, so that no matrix
 * has a mean that would grow from layer to layer. Layouts: engine/blocks.h and ggml-common.h. */
#include <math.h>
#include <string.h>

#include "num.h"
#include "synth.h"

enum { F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS };
static const struct synth_type types[] = {
    [F32] = {"F32", 0, 1, 4},
    [F16] = {"F16", 1, 1, 2},
    [BF16] = {"BF16", 30, 1, 2},
    [Q4_0] = {"Q4_0", 2, 32, 18},
    [Q4_1] = {"Q4_1", 3, 32, 20},
    [Q5_0] = {"Q5_0", 6, 32, 22},
    [Q5_1] = {"Q5_1", 7, 32, 24},
    [Q8_0] = {"Q8_0", 8, 32, 34},
    [Q2_K] = {"Q2_K", 10, 256, 84},
    [Q3_K] = {"Q3_K", 11, 256, 110},
    [Q4_K] = {"Q4_K", 12, 256, 144},
    [Q5_K] = {"Q5_K", 13, 256, 176},
    [Q6_K] = {"Q6_K", 14, 256, 210},
    [IQ4_NL] = {"IQ4_NL", 20, 32, 18},
    [IQ4_XS] = {"IQ4_XS", 23, 256, 136},
};

/* How a block's scale is set: the deviation of its numbers at scale 1; the scale times `mid` at
 * m_at is what makes their mean 0; or the scale has either sign. */
static const struct how {
	float unit, mid;
	uint8_t d_at, m_at;
	bool either;
} hows[] = {
    [Q4_0] = {4.61f, 0, 0, 0, true},
    [Q4_1] = {4.61f, -7.5f, 0, 2, false},
    [Q5_0] = {9.23f, 0, 0, 0, true},
    [Q5_1] = {9.23f, -15.5f, 0, 2, false},
    [Q8_0] = {73.9f, 0, 0, 0, false},
    [Q2_K] = {11.7f * 1.12f, 1.5f, 80, 82, false},
    [Q3_K] = {18.5f * 2.35f, 0, 108, 0, true},
    [Q4_K] = {48.4f * 4.61f, 7.5f, 0, 2, false},
    [Q5_K] = {48.4f * 9.23f, 15.5f, 0, 2, false},
    [Q6_K] = {24 * 18.5f, 0, 208, 0, false},
    [IQ4_NL] = {70, 0, 0, 0, true},
    [IQ4_XS] = {18.5f * 70, 0, 0, 0, true},
};

const struct synth_type *synth_type(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

/* xoshiro256**, Blackman and Vigna 2018; seeded with splitmix64 */
static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

static uint64_t next(struct synth_rng *r)
{
	uint64_t *s = r->s, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return out;
}

void synth_rng_init(struct synth_rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15u;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		r->s[i] = z ^ z >> 31;
	}
}

/* To half, toward zero: for weights nobody looks at. */
static uint16_t half_of(float f)
{
	uint16_t sign = f < 0 ? 0x8000 : 0;
	int e;
	float m = frexpf(fabsf(f), &e); /* m in [0.5, 1) */

	if (m == 0 || e < -24)
		return sign;
	if (e < -13) /* subnormal: units of 2^-24 */
		return (uint16_t)(sign | (uint16_t)ldexpf(m, e + 24));
	if (e > 15)
		return (uint16_t)(sign | 0x7bff);
	return (uint16_t)(sign | (uint16_t)((e + 14) << 10) | (uint16_t)((m * 2 - 1) * 1024));
}

static void random_bytes(struct synth_rng *r, uint8_t *p, uint64_t n)
{
	uint64_t v;

	for (; n >= 8; n -= 8, p += 8)
		put_le64(p, next(r));
	v = next(r);
	memcpy(p, &v, n);
}

/* About normal: the sum of four uniform numbers. */
static float normal(uint64_t v)
{
	float s = (float)(v & 0xffff) + (float)(v >> 16 & 0xffff) + (float)(v >> 32 & 0xffff) +
		  (float)(v >> 48);

	return (s / 65536 - 2) * 1.732f;
}

/* Float types: drawn from a table of 4096 normal numbers. */
static void fill_floats(const struct synth_type *t, struct synth_rng *r, float sd, uint8_t *p,
			uint64_t n)
{
	static uint32_t table[4096];
	uint64_t v = 0;

	for (unsigned i = 0; i < 4096; i++) {
		float f = normal(next(r)) * sd;

		memcpy(&table[i], &f, 4);
		if (t == &types[BF16])
			table[i] >>= 16;
		else if (t == &types[F16])
			table[i] = half_of(f);
	}
	for (uint64_t i = 0; i < n; i++, v >>= 16, p += t->bytes) {
		if (i % 4 == 0)
			v = next(r);
		if (t->bytes == 2)
			put_le16(p, (uint16_t)table[v & 4095]);
		else
			put_le32(p, table[v & 4095]);
	}
}

/* Six-bit scales 32..63 for both scale and minimum of the eight sub-blocks. */
static void k_scales(struct synth_rng *r, uint8_t s[12])
{
	uint64_t v = next(r);
	unsigned sc[8];

	for (int j = 0; j < 8; j++)
		sc[j] = 32 + (unsigned)(v >> 5 * j & 31);
	for (int j = 0; j < 4; j++) {
		s[j] = s[j + 4] = (uint8_t)(sc[j] | (sc[j + 4] >> 4) << 6);
		s[j + 8] = (uint8_t)((sc[j + 4] & 15) | (sc[j + 4] & 15) << 4);
	}
}

/* Scales inside a block of random bytes, where random ones would not do. */
static void inner_scales(unsigned type, struct synth_rng *r, uint8_t *p)
{
	uint64_t v;

	switch (type) {
	case Q2_K: /* the minimum is the scale, 8..15 */
		for (int g = 0; g < 16; g++)
			p[g] = (uint8_t)((8 | (p[g] & 7)) * 17);
		break;
	case Q4_K: /* (d sc) u - (dmin m), with m = sc */
	case Q5_K:
		k_scales(r, p + 4);
		break;
	case Q6_K: /* 16..31 of either sign */
		v = next(r);
		for (int g = 0; g < 16; g++, v >>= 4) {
			int sc = 16 + (int)(v & 15);

			p[192 + g] = (uint8_t)(p[192 + g] & 1 ? sc : -sc);
		}
		break;
	default:
		break;
	}
}

void synth_fill(const struct synth_type *t, struct synth_rng *r, float sd, uint8_t *p,
		uint64_t n_blocks)
{
	unsigned type = (unsigned)(t - types);
	const struct how *h = &hows[type];
	uint16_t d, m;

	if (t->elems == 1) {
		fill_floats(t, r, sd, p, n_blocks);
		return;
	}
	d = half_of(sd / h->unit);
	m = half_of(sd / h->unit * h->mid);
	random_bytes(r, p, n_blocks * t->bytes);
	for (uint64_t i = 0; i < n_blocks; i++, p += t->bytes) {
		uint16_t sign = h->either && (p[h->d_at] & 1) ? 0x8000 : 0;

		put_le16(p + h->d_at, d | sign);
		if (h->mid != 0)
			put_le16(p + h->m_at, m);
		inner_scales(type, r, p);
	}
}
