/* attn_help.h - for the tests of attention: random numbers, every table and type, a block's numbers
 * read straight from the layout. */
#ifndef SP_TESTS_ATTN_HELP_H
#define SP_TESTS_ATTN_HELP_H

#include "attn_kern.h"
#include "blocks.h"
#include "kv.h"

static uint64_t rnd_state = 1;

static inline uint32_t rnd(void)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rnd_state >> 32);
}

static inline float unit(void)
{
	return (float)rnd() / 2147483648.0f - 1;
}

#define EACH(k)                                                                                    \
	for (const struct attn_kernels *const *k##_at = attn_tables(), *k;                         \
	     (k = *k##_at) != NULL; k##_at++)
#define EACH_TYPE(t) for (enum kv_type t = KV_F16; t < KV_TYPES; t++)



/* A block's number (token, j) as exact value, straight from the layout. */
static inline float number(enum kv_type t, const uint8_t *p, unsigned dim, bool is_k, unsigned token,
		    unsigned j)
{
	size_t i = is_k ? (size_t)j * KV_TOKENS + token : (size_t)token * dim + j;
	const uint8_t *scales = p + (size_t)dim * KV_TOKENS;

	switch (t) {
	case KV_F16:
		return half_at(p + 2 * i);
	case KV_BF16:
		return bits_f32((uint32_t)get_le16(p + 2 * i) << 16);
	case KV_Q8_0:
		return (int8_t)p[i] * half_at(scales + 2 * ((size_t)(j / 32) * KV_TOKENS + token));
	default:
		return bits_f32(get_le32(p + 4 * i));
	}
}

#endif
