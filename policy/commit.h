/* commit.h - salted commitments of doc/formats.md 4: SHA-256("sallyport/commit/v1\n" || salt 32 ||
 * bytes). Over a prompt the bytes are its messages as SUBMIT carries them ({u8 role, u32 length,
 * bytes} each); over an answer {u32 choice, u32 length, bytes} per choice in order. Any thread. */
#ifndef SP_POLICY_COMMIT_H
#define SP_POLICY_COMMIT_H

#include <sodium.h>

#include "num.h"
#include "span.h"

struct commitment {
	crypto_hash_sha256_state st;
};

static inline void commit_put(struct commitment *c, struct span s)
{
	crypto_hash_sha256_update(&c->st, (const unsigned char *)(s.n ? s.p : ""), s.n);
}

static inline void commit_start(struct commitment *c, const uint8_t salt[32])
{
	crypto_hash_sha256_init(&c->st);
	commit_put(c, SPAN_LIT("sallyport/commit/v1\n"));
	commit_put(c, span_of(salt, 32));
}

static inline void commit_choice(struct commitment *c, uint32_t choice, struct span text)
{
	uint8_t head[8];

	put_le32(head, choice);
	put_le32(head + 4, (uint32_t)text.n);
	commit_put(c, span_of(head, 8));
	commit_put(c, text);
}

static inline void commit_end(struct commitment *c, uint8_t out[32])
{
	crypto_hash_sha256_final(&c->st, out);
}

#endif
