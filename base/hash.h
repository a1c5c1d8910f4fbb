/* hash.h - SHA-256 over pieces (libsodium) and CRC-32C. Any thread. */
#ifndef SP_BASE_HASH_H
#define SP_BASE_HASH_H

#include <sodium.h>
#include <stdint.h>

#include "span.h"

#define SHA256_BYTES 32

void sha256(struct span s, uint8_t out[SHA256_BYTES]);
/* SHA-256(a || b). */
void sha256_2(struct span a, struct span b, uint8_t out[SHA256_BYTES]);
/* The same without the CPU's SHA instructions; for tests. */
void sha256_portable(struct span a, struct span b, uint8_t out[SHA256_BYTES]);

/* CRC-32C (Castagnoli, reflected 0x82f63b78), seed 0 for a new sum; RFC 3720 B.4 vectors. */
uint32_t crc32c(uint32_t seed, const void *p, size_t n);

#endif
