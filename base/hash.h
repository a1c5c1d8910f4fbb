/* hash.h - SHA-256 over pieces (libsodium) and CRC-32C. Any thread. */
#ifndef SP_BASE_HASH_H
#define SP_BASE_HASH_H

#include <sodium.h>
#include <stdint.h>

#include "span.h"

#define SHA256_BYTES 32

static inline void sha256(struct span s, uint8_t out[SHA256_BYTES])
{
	crypto_hash_sha256(out, (const unsigned char *)(s.n ? s.p : ""), s.n);
}

/* SHA-256(a || b). */
static inline void sha256_2(struct span a, struct span b, uint8_t out[SHA256_BYTES])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, (const unsigned char *)(a.n ? a.p : ""), a.n);
	crypto_hash_sha256_update(&st, (const unsigned char *)(b.n ? b.p : ""), b.n);
	crypto_hash_sha256_final(&st, out);
}

/* CRC-32C (Castagnoli, reflected 0x82f63b78), seed 0 for a new sum; RFC 3720 B.4 vectors. */
uint32_t crc32c(uint32_t seed, const void *p, size_t n);

#endif
