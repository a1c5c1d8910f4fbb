/* secret.h - secrets live in guarded memory, are wiped by scope, compared in constant time. */
#ifndef SP_BASE_SECRET_H
#define SP_BASE_SECRET_H

#include <sodium.h>
#include <stdbool.h>

static inline void secret_scope_end(void *pp)
{
	sodium_free(*(void **)pp); /* wipes; NULL ok */
}

/* uint8_t *name in guarded memory for this scope; NULL without memory: check it. */
#define SCOPED_SECRET(name, size)                                                                  \
	uint8_t *name __attribute__((cleanup(secret_scope_end))) = sodium_malloc(size)

/* Constant time over n bytes. */
static inline bool secret_eq(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

#endif
