/* merkle.h - RFC 6962 / RFC 9162 Merkle tree hashing, proofs and their verification. Pure: no
 * files, no allocation; any thread, one object at a time.
 *   leaf = SHA-256(0x00 || entry), node = SHA-256(0x01 || left || right), empty = SHA-256("").
 * A proof lists sibling hashes from the leaf towards the root. */
#ifndef SP_AUDIT_MERKLE_H
#define SP_AUDIT_MERKLE_H

#include <stdbool.h>
#include <stdint.h>

#include "hash.h"
#include "span.h"

#define MERKLE_HASH 32
#define MERKLE_PROOF_MAX 66 /* more than any tree of 2^63 leaves needs */

/* The tree as its complete subtrees: peak[k] counts where bit k of size is set. */
struct merkle {
	uint64_t size;
	uint8_t peak[64][MERKLE_HASH];
};

struct merkle_proof {
	unsigned n;
	uint8_t h[MERKLE_PROOF_MAX][MERKLE_HASH];
};

/* Gives the hash of the complete subtree that covers leaves [index << height, (index+1) << height).
 * 0 or a negative code, which the proof maker passes on. */
typedef int (*merkle_node_fn)(void *ctx, unsigned height, uint64_t index, uint8_t out[MERKLE_HASH]);

void merkle_leaf(struct span entry, uint8_t out[MERKLE_HASH]);
void merkle_node(const uint8_t l[MERKLE_HASH], const uint8_t r[MERKLE_HASH],
		 uint8_t out[MERKLE_HASH]);
void merkle_empty(uint8_t out[MERKLE_HASH]);

void merkle_init(struct merkle *m);
void merkle_add(struct merkle *m, const uint8_t leaf[MERKLE_HASH]);
void merkle_root(const struct merkle *m, uint8_t out[MERKLE_HASH]);

/* The peaks from left (largest) to right, as popcount(size) hashes. merkle_unpack: false when n
 * bytes are not exactly that many. */
unsigned merkle_pack(const struct merkle *m, uint8_t out[64 * MERKLE_HASH]); /* gives bytes */
bool merkle_unpack(struct merkle *m, uint64_t size, const uint8_t *p, size_t n);

/* Root of the complete tree over n = 2^k consecutive hashes. in is overwritten. */
void merkle_fold(uint8_t (*in)[MERKLE_HASH], unsigned n, uint8_t out[MERKLE_HASH]);

/* Proof makers. index < size; old <= size, old 0 gives the empty proof. E_RANGE otherwise. */
int merkle_prove(merkle_node_fn node, void *ctx, uint64_t index, uint64_t size,
		 struct merkle_proof *out);
int merkle_prove_consistency(merkle_node_fn node, void *ctx, uint64_t old, uint64_t size,
			     struct merkle_proof *out);

/* RFC 9162 2.1.3.2 and 2.1.4.2. RFC 6962 defines no proof from size 0; the witness protocol wants
 * an empty one there, and so do we (with the empty root). */
bool merkle_check(const uint8_t leaf[MERKLE_HASH], uint64_t index, uint64_t size,
		  const uint8_t (*proof)[MERKLE_HASH], size_t n, const uint8_t root[MERKLE_HASH]);
bool merkle_check_consistency(uint64_t old, const uint8_t old_root[MERKLE_HASH], uint64_t size,
			      const uint8_t root[MERKLE_HASH], const uint8_t (*proof)[MERKLE_HASH],
			      size_t n);

#endif
