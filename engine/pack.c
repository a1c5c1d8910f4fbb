/* pack.c - see pack.h. Rows are moved a 32-bit word at a time: a word is four neighbouring k of one
 * row (of F16 and BF16: two), and a quad is the words of 16 rows. */
#include "pack.h"

#include "blocks.h"

#define LOW 0x0f0f0f0fu
#define HIGH 0xf0f0f0f0u

static const struct {
	uint32_t bytes, k, block; /* of a group; bytes of the file's block of as many k */
} groups[PACK_KINDS] = {
    [PACK_NONE] = {0, 32, 0},
    [PACK_Q4_0] = {288, 32, Q4_0_BYTES},
    [PACK_Q8_0] = {544, 32, Q8_0_BYTES},
    [PACK_Q4_K] = {2368, 256, Q4_K_BYTES},
    [PACK_Q5_K] = {2880, 256, 176},
    [PACK_Q6_K] = {3360, 256, Q6_K_BYTES},
    [PACK_F16] = {1024, 32, 64},
    [PACK_BF16] = {1024, 32, 64},
};

enum pack_kind pack_kind_of(enum gtype type, uint64_t cols)
{
	enum pack_kind kind;

	switch (type) {
	case GT_Q4_0:
		kind = PACK_Q4_0;
		break;
	case GT_Q8_0:
		kind = PACK_Q8_0;
		break;
	case GT_Q4_K:
		kind = PACK_Q4_K;
		break;
	case GT_Q5_K:
		kind = PACK_Q5_K;
		break;
	case GT_Q6_K:
		kind = PACK_Q6_K;
		break;
	case GT_F16:
		kind = PACK_F16;
		break;
	case GT_BF16:
		kind = PACK_BF16;
		break;
	default:
		return PACK_NONE;
	}
	return cols && cols % groups[kind].k == 0 ? kind : PACK_NONE;
}

size_t pack_panel_bytes(enum pack_kind kind, uint32_t cols)
{
	return (size_t)(cols / groups[kind].k) * groups[kind].bytes;
}

size_t pack_group_bytes(enum pack_kind kind)
{
	return groups[kind].bytes;
}

uint32_t pack_group_k(enum pack_kind kind)
{
	return groups[kind].k;
}

/* One row of one group: from the file's block to the group's places of row r. */
typedef void (*put_row)(const uint8_t *block, uint8_t *group, unsigned r);

static void put_word(uint8_t *quads, unsigned quad, unsigned r, uint32_t w)
{
	put_le32(quads + 64 * quad + 4 * r, w);
}

static void put_q4_0(const uint8_t *b, uint8_t *g, unsigned r)
{
	memcpy(g + 2 * r, b, 2);
	for (unsigned j = 0; j < 4; j++)
		put_word(g + 32, j, r, get_le32(b + 2 + 4 * j));
}

static void put_q8_0(const uint8_t *b, uint8_t *g, unsigned r)
{
	memcpy(g + 2 * r, b, 2);
	for (unsigned j = 0; j < 8; j++)
		put_word(g + 32, j, r, get_le32(b + 2 + 4 * j) ^ 0x80808080u);
}

/* 32 bytes that hold the low nibbles of cell `lo` and the high ones of cell `hi`. */
static void put_nibbles(const uint8_t *b, uint8_t *nib, unsigned lo, unsigned hi, unsigned r)
{
	for (unsigned j = 0; j < 4; j++) {
		uint32_t first = get_le32(b + 4 * j), second = get_le32(b + 16 + 4 * j);

		put_word(nib + 256 * lo, j, r, (first & LOW) | (second & LOW) << 4);
		put_word(nib + 256 * hi, j, r, (first >> 4 & LOW) | (second & HIGH));
	}
}

/* Scales of Q4_K and Q5_K: d | dmin | sc[8] | mn[8], 16 rows each. */
static void put_k_scales(const uint8_t *b, uint8_t *g, unsigned r)
{
	memcpy(g + 2 * r, b, 2);
	memcpy(g + 32 + 2 * r, b + 2, 2);
	for (unsigned c = 0; c < 8; c++) {
		unsigned scale, min;

		q4_k_scale(b + 4, c, &scale, &min);
		g[64 + 16 * c + r] = (uint8_t)scale;
		g[192 + 16 * c + r] = (uint8_t)min;
	}
}

static void put_q4_k(const uint8_t *b, uint8_t *g, unsigned r)
{
	put_k_scales(b, g, r);
	for (unsigned p = 0; p < 4; p++)
		put_nibbles(b + 16 + 32 * p, g + 320, 2 * p, 2 * p + 1, r);
}

static void put_q5_k(const uint8_t *b, uint8_t *g, unsigned r)
{
	put_k_scales(b, g, r);
	for (unsigned p = 0; p < 4; p++)
		put_nibbles(b + 48 + 32 * p, g + 320, 2 * p, 2 * p + 1, r);
	for (unsigned c = 0; c < 8; c++) { /* bit c of the 32 bytes behind the scales: cell c */
		uint32_t w = 0;

		for (unsigned j = 0; j < 8; j++)
			w |= (get_le32(b + 16 + 4 * j) >> c & 0x01010101u) << j;
		put_word(g + 2368, c, r, w);
	}
}

static void put_q6_k(const uint8_t *b, uint8_t *g, unsigned r)
{
	memcpy(g + 2 * r, b + 208, 2);
	for (unsigned s = 0; s < 16; s++)
		g[32 + 16 * s + r] = b[192 + s];
	for (unsigned half = 0; half < 2; half++) {
		const uint8_t *high = b + 128 + 32 * half;

		put_nibbles(b + 64 * half, g + 288, 4 * half, 4 * half + 2, r);
		put_nibbles(b + 64 * half + 32, g + 288, 4 * half + 1, 4 * half + 3, r);
		for (unsigned i = 0; i < 8; i++) { /* cell 4 half + i / 2, t = i % 2 */
			uint32_t w = 0;

			for (unsigned j = 0; j < 4; j++)
				w |= (get_le32(high + 16 * (i % 2) + 4 * j) >> (i / 2 * 2) &
				      0x03030303u)
				     << (2 * j);
			put_word(g + 2336, 8 * half + i, r, w);
		}
	}
}

static void put_16(const uint8_t *b, uint8_t *g, unsigned r)
{
	for (unsigned j = 0; j < 16; j++)
		put_word(g, j, r, get_le32(b + 4 * j));
}

static const put_row puts_row[PACK_KINDS] = {
    [PACK_Q4_0] = put_q4_0, [PACK_Q8_0] = put_q8_0, [PACK_Q4_K] = put_q4_k, [PACK_Q5_K] = put_q5_k,
    [PACK_Q6_K] = put_q6_k, [PACK_F16] = put_16,    [PACK_BF16] = put_16,
};

void pack_panel(enum pack_kind kind, const uint8_t *rows, uint64_t row_bytes, unsigned n,
		uint32_t cols, uint8_t *panel)
{
	uint32_t n_groups = cols / groups[kind].k;

	if (n < PACK_ROWS)
		memset(panel, 0, pack_panel_bytes(kind, cols));
	for (uint32_t i = 0; i < n_groups; i++)
		for (unsigned r = 0; r < n; r++)
			puts_row[kind](rows + r * row_bytes + (size_t)i * groups[kind].block,
				       panel + (size_t)i * groups[kind].bytes, r);
}

/* ---- and back, one row ---- */

static unsigned nibble(const uint8_t *nib, unsigned quad, unsigned at)
{
	return quad < 4 ? nib[64 * quad + at] & 15u : nib[64 * (quad - 4) + at] >> 4;
}

static void row_32(enum pack_kind kind, const uint8_t *g, unsigned r, float *out)
{
	float d = half_at(g + 2 * r);

	for (unsigned i = 0; i < 32; i++) {
		unsigned quad = i / 4, at = 4 * r + i % 4;

		if (kind == PACK_Q4_0)
			out[i] = d * ((int)nibble(g + 32, quad, at) - 8);
		else
			out[i] = d * ((int)g[32 + 64 * quad + at] - 128);
	}
}

static void row_k(enum pack_kind kind, const uint8_t *g, unsigned r, float *out)
{
	float d = half_at(g + 2 * r), dmin = half_at(g + 32 + 2 * r);

	for (unsigned c = 0; c < 8; c++) {
		unsigned scale = g[64 + 16 * c + r], min = g[192 + 16 * c + r];

		for (unsigned i = 0; i < 32; i++) {
			unsigned quad = i / 4, at = 4 * r + i % 4;
			unsigned u = nibble(g + 320 + 256 * c, quad, at);

			if (kind == PACK_Q5_K)
				u |= (g[2368 + 64 * c + at] >> quad & 1u) << 4;
			out[32 * c + i] = d * scale * u - dmin * min;
		}
	}
}

static void row_q6_k(const uint8_t *g, unsigned r, float *out)
{
	float d = half_at(g + 2 * r);

	for (unsigned i = 0; i < 256; i++) {
		unsigned c = i / 32, quad = i / 4 % 8, at = 4 * r + i % 4;
		int scale = (int8_t)g[32 + 16 * (i / 16) + r];
		unsigned hi = g[2336 + 128 * c + 64 * (quad / 4) + at] >> (2 * (quad % 4)) & 3u;
		int u = (int)(nibble(g + 288 + 256 * c, quad, at) | hi << 4);

		out[i] = d * scale * (u - 32);
	}
}

static void row_16(enum pack_kind kind, const uint8_t *g, unsigned r, float *out)
{
	for (unsigned i = 0; i < 32; i++) {
		uint16_t v = get_le16(g + 64 * (i / 2) + 4 * r + 2 * (i % 2));

		out[i] = kind == PACK_F16 ? half_f32(v) : bits_f32((uint32_t)v << 16);
	}
}

void pack_row(enum pack_kind kind, const uint8_t *panel, unsigned r, uint32_t cols, float *out)
{
	const uint8_t *g = panel;

	for (uint32_t at = 0; at < cols; at += groups[kind].k, g += groups[kind].bytes)
		switch (kind) {
		case PACK_Q4_K:
		case PACK_Q5_K:
			row_k(kind, g, r, out + at);
			break;
		case PACK_Q6_K:
			row_q6_k(g, r, out + at);
			break;
		case PACK_F16:
		case PACK_BF16:
			row_16(kind, g, r, out + at);
			break;
		default:
			row_32(kind, g, r, out + at);
		}
}
