/* merkle.c - see merkle.h. */
#include "merkle.h"

#include <string.h>

#include "err.h"

void merkle_leaf(struct span entry, uint8_t out[MERKLE_HASH])
{
	sha256_2(span_of("\0", 1), entry, out);
}

void merkle_node(const uint8_t l[MERKLE_HASH], const uint8_t r[MERKLE_HASH],
		 uint8_t out[MERKLE_HASH])
{
	uint8_t in[1 + 2 * MERKLE_HASH];

	in[0] = 1;
	memcpy(in + 1, l, MERKLE_HASH);
	memcpy(in + 1 + MERKLE_HASH, r, MERKLE_HASH);
	sha256(span_of(in, sizeof(in)), out);
}

void merkle_empty(uint8_t out[MERKLE_HASH])
{
	sha256(span_of("", 0), out);
}

void merkle_init(struct merkle *m)
{
	m->size = 0;
}

void merkle_add(struct merkle *m, const uint8_t leaf[MERKLE_HASH])
{
	uint8_t h[MERKLE_HASH];
	unsigned k = 0;

	memcpy(h, leaf, sizeof(h));
	for (; m->size >> k & 1; k++)
		merkle_node(m->peak[k], h, h);
	memcpy(m->peak[k], h, sizeof(h));
	m->size++;
}

void merkle_root(const struct merkle *m, uint8_t out[MERKLE_HASH])
{
	unsigned k;

	if (m->size == 0) {
		merkle_empty(out);
		return;
	}
	k = (unsigned)__builtin_ctzll(m->size);
	memcpy(out, m->peak[k], MERKLE_HASH);
	for (k++; k < 64; k++)
		if (m->size >> k & 1)
			merkle_node(m->peak[k], out, out);
}

unsigned merkle_pack(const struct merkle *m, uint8_t out[64 * MERKLE_HASH])
{
	unsigned n = 0;

	for (int k = 63; k >= 0; k--)
		if (m->size >> k & 1) {
			memcpy(out + n, m->peak[k], MERKLE_HASH);
			n += MERKLE_HASH;
		}
	return n;
}

bool merkle_unpack(struct merkle *m, uint64_t size, const uint8_t *p, size_t n)
{
	if (n != (size_t)__builtin_popcountll(size) * MERKLE_HASH)
		return false;
	m->size = size;
	for (int k = 63; k >= 0; k--)
		if (size >> k & 1) {
			memcpy(m->peak[k], p, MERKLE_HASH);
			p += MERKLE_HASH;
		}
	return true;
}

void merkle_fold(uint8_t (*in)[MERKLE_HASH], unsigned n, uint8_t out[MERKLE_HASH])
{
	for (; n > 1; n /= 2)
		for (unsigned i = 0; i < n / 2; i++)
			merkle_node(in[2 * i], in[2 * i + 1], in[i]);
	memcpy(out, in[0], MERKLE_HASH);
}

/* Largest power of two below n; n >= 2. */
static uint64_t split(uint64_t n)
{
	return 1ull << (63 - __builtin_clzll(n - 1));
}

/* Hash of leaves [lo, hi), lo aligned for the range: complete subtrees folded from the right. */
static int range_hash(merkle_node_fn node, void *ctx, uint64_t lo, uint64_t hi,
		      uint8_t out[MERKLE_HASH])
{
	uint8_t left[MERKLE_HASH];
	uint64_t left_n = hi - lo, end = hi;
	bool have = false;
	int rc;

	while (left_n > 0) {
		unsigned k = (unsigned)__builtin_ctzll(left_n);

		end -= 1ull << k;
		left_n -= 1ull << k;
		rc = node(ctx, k, end >> k, have ? left : out);
		if (rc < 0)
			return rc;
		if (have)
			merkle_node(left, out, out);
		have = true;
	}
	return E_OK;
}

static int push_range(merkle_node_fn node, void *ctx, uint64_t lo, uint64_t hi,
		      struct merkle_proof *out)
{
	if (out->n >= MERKLE_PROOF_MAX)
		return E_RANGE;
	return range_hash(node, ctx, lo, hi, out->h[out->n++]);
}

/* Walks from the root down to the subtree that ends the descent, remembering the siblings, then
 * gives them in leaf-to-root order. */
struct way {
	uint64_t lo[64], hi[64];
	unsigned n;
};

static int unwind(merkle_node_fn node, void *ctx, struct way *w, struct merkle_proof *out)
{
	int rc = E_OK;

	while (rc == E_OK && w->n > 0) {
		w->n--;
		rc = push_range(node, ctx, w->lo[w->n], w->hi[w->n], out);
	}
	return rc;
}

static void remember(struct way *w, uint64_t lo, uint64_t hi)
{
	w->lo[w->n] = lo;
	w->hi[w->n++] = hi;
}

int merkle_prove(merkle_node_fn node, void *ctx, uint64_t index, uint64_t size,
		 struct merkle_proof *out)
{
	uint64_t lo = 0, hi = size, k;
	struct way w = {.n = 0};

	out->n = 0;
	if (index >= size || size > INT64_MAX)
		return E_RANGE;
	while (hi - lo > 1) {
		k = split(hi - lo);
		if (index - lo < k) {
			remember(&w, lo + k, hi);
			hi = lo + k;
		} else {
			remember(&w, lo, lo + k);
			lo += k;
		}
	}
	return unwind(node, ctx, &w, out);
}

int merkle_prove_consistency(merkle_node_fn node, void *ctx, uint64_t old, uint64_t size,
			     struct merkle_proof *out)
{
	uint64_t lo = 0, hi = size, k;
	struct way w = {.n = 0};
	int rc = E_OK;

	out->n = 0;
	if (old > size || size > INT64_MAX)
		return E_RANGE;
	if (old == 0 || old == size)
		return E_OK;
	while (old != hi) {
		k = split(hi - lo);
		if (old - lo <= k) {
			remember(&w, lo + k, hi);
			hi = lo + k;
		} else {
			remember(&w, lo, lo + k);
			lo += k;
		}
	}
	if (lo != 0) /* the old tree itself is not a node of its own path */
		rc = push_range(node, ctx, lo, hi, out);
	return rc < 0 ? rc : unwind(node, ctx, &w, out);
}

static bool same(const uint8_t a[MERKLE_HASH], const uint8_t b[MERKLE_HASH])
{
	return memcmp(a, b, MERKLE_HASH) == 0;
}

bool merkle_check(const uint8_t leaf[MERKLE_HASH], uint64_t index, uint64_t size,
		  const uint8_t (*proof)[MERKLE_HASH], size_t n, const uint8_t root[MERKLE_HASH])
{
	uint64_t fn = index, sn = size - 1;
	uint8_t r[MERKLE_HASH];

	if (index >= size)
		return false;
	memcpy(r, leaf, sizeof(r));
	for (size_t i = 0; i < n; i++) {
		if (sn == 0)
			return false;
		if ((fn & 1) || fn == sn) {
			merkle_node(proof[i], r, r);
			while (!(fn & 1) && fn != 0) {
				fn >>= 1;
				sn >>= 1;
			}
		} else {
			merkle_node(r, proof[i], r);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && same(r, root);
}

static bool check_from_zero(const uint8_t old_root[MERKLE_HASH], uint64_t size,
			    const uint8_t root[MERKLE_HASH], size_t n)
{
	uint8_t none[MERKLE_HASH];

	merkle_empty(none);
	return n == 0 && same(old_root, none) && (size != 0 || same(root, none));
}

bool merkle_check_consistency(uint64_t old, const uint8_t old_root[MERKLE_HASH], uint64_t size,
			      const uint8_t root[MERKLE_HASH], const uint8_t (*proof)[MERKLE_HASH],
			      size_t n)
{
	uint8_t fr[MERKLE_HASH], sr[MERKLE_HASH];
	uint64_t fn, sn;
	size_t i = 0;

	if (old > size)
		return false;
	if (old == 0)
		return check_from_zero(old_root, size, root, n);
	if (old == size)
		return n == 0 && same(old_root, root);
	if (n == 0)
		return false;
	memcpy(fr, (old & (old - 1)) == 0 ? old_root : proof[i++], sizeof(fr));
	memcpy(sr, fr, sizeof(sr));
	for (fn = old - 1, sn = size - 1; fn & 1; fn >>= 1)
		sn >>= 1;
	for (; i < n; i++) {
		if (sn == 0)
			return false;
		if ((fn & 1) || fn == sn) {
			merkle_node(proof[i], fr, fr);
			merkle_node(proof[i], sr, sr);
			while (!(fn & 1) && fn != 0) {
				fn >>= 1;
				sn >>= 1;
			}
		} else {
			merkle_node(sr, proof[i], sr);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && same(fr, old_root) && same(sr, root);
}
