/* tok_table.c - the two hash tables of a tokenizer. A hostile vocabulary can aim at the hash;
 * the number of probes is bounded at build time, so that lookups stay bounded too. */
#include <stdlib.h>

#include "tok_priv.h"

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static uint64_t hash_bytes(struct span s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (uint8_t)s.p[i]) * 0x100000001b3u;
	return mix(h);
}

/* Slots for n entries: a power of two, at most 2/3 full. */
static uint32_t slots_for(uint32_t n)
{
	uint32_t slots = 16;

	while (slots / 3 * 2 < n)
		slots *= 2;
	return slots;
}

int index_init(struct tok_index *x, uint32_t n, struct err *err)
{
	uint32_t slots = slots_for(n);

	x->slot = calloc(slots, sizeof(*x->slot));
	if (!x->slot)
		return err_set(err, E_NOMEM, "no memory for %u tokens", n);
	x->mask = slots - 1;
	return 0;
}

int index_add(const struct tok *t, struct tok_index *x, uint32_t id, struct err *err)
{
	struct span s = piece_text(t, id);
	uint32_t i = (uint32_t)hash_bytes(s) & x->mask;

	for (unsigned probes = 0; x->slot[i]; i = (i + 1) & x->mask) {
		if (span_eq(piece_text(t, x->slot[i] - 1), s))
			return 0; /* the lower id keeps the text */
		if (++probes > TOK_MAX_PROBES)
			return err_set(err, E_RANGE, "token %u: the list cannot be indexed", id);
	}
	x->slot[i] = id + 1;
	return 0;
}

int32_t index_find(const struct tok *t, const struct tok_index *x, struct span s)
{
	uint32_t i = (uint32_t)hash_bytes(s) & x->mask;

	for (; x->slot[i]; i = (i + 1) & x->mask)
		if (span_eq(piece_text(t, x->slot[i] - 1), s))
			return (int32_t)(x->slot[i] - 1);
	return -1;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
	return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
}

int pairs_init(struct tok *t, uint32_t n, struct err *err)
{
	uint32_t slots = slots_for(n);

	t->pairs = calloc(slots, sizeof(*t->pairs));
	if (!t->pairs)
		return err_set(err, E_NOMEM, "no memory for %u merges", n);
	t->pair_mask = slots - 1;
	return 0;
}

int pairs_add(struct tok *t, int32_t left, int32_t right, uint32_t rank, int32_t merged,
	      struct err *err)
{
	uint64_t key = pair_key(left, right);
	uint32_t i = (uint32_t)mix(key) & t->pair_mask;

	for (unsigned probes = 0; t->pairs[i].key; i = (i + 1) & t->pair_mask) {
		if (t->pairs[i].key == key)
			return 0; /* the earlier merge wins */
		if (++probes > TOK_MAX_PROBES)
			return err_set(err, E_RANGE, "merge %u: the list cannot be indexed", rank);
	}
	t->pairs[i] = (struct tok_pair){key, rank, merged};
	return 0;
}

const struct tok_pair *pairs_find(const struct tok *t, int32_t left, int32_t right)
{
	uint64_t key = pair_key(left, right);
	uint32_t i = (uint32_t)mix(key) & t->pair_mask;

	for (; t->pairs[i].key; i = (i + 1) & t->pair_mask)
		if (t->pairs[i].key == key)
			return &t->pairs[i];
	return NULL;
}
