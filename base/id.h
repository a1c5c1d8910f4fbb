/* id.h - ids: 128 random bits; as text a type prefix, '_' and 26 characters of Crockford base32
 * (lower case, most significant bits first, 2 leading zero bits). doc/formats.md 2. */
#ifndef SP_BASE_ID_H
#define SP_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "span.h"

#define ID_BYTES 16
#define ID_B32 26
#define ID_TEXT_MAX 40 /* prefix (<= 8) + '_' + 26 + NUL, rounded up */

struct id {
	uint8_t b[ID_BYTES];
};

struct id id_random(void);
static inline bool id_eq(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, ID_BYTES) == 0;
}
static inline bool id_is_zero(const struct id *a)
{
	static const struct id z;

	return id_eq(a, &z);
}
/* "req" -> "req_0123..." ; prefix at most 8 characters. Returns out. */
const char *id_fmt(const char *prefix, const struct id *i, char out[ID_TEXT_MAX]);
/* True when s is exactly prefix_ + 26 characters; case-insensitive, i/l = 1, o = 0. */
bool id_parse(const char *prefix, struct span s, struct id *out);

/* Crockford base32 of any bytes: ceil(8n/5) characters and a NUL into out. Leading bits are the
 * zero padding, so that 16 bytes give 26 characters and 32 bytes give 52. */
void b32_encode(const uint8_t *p, size_t n, char *out);
/* Inverse for exactly n bytes; false on a bad character, length or non-zero padding. */
bool b32_decode(struct span s, uint8_t *out, size_t n);

#endif
