/* utf8.h - strict UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef SP_BASE_UTF8_H
#define SP_BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

/* Decodes one character at s.p. Returns its length 1..4; 0 when s is empty or ends inside a
 * so far valid character; -1 when malformed. */
int utf8_next(struct span s, uint32_t *cp);
bool utf8_valid(struct span s);
/* Bytes of the longest prefix that does not end inside a character (malformed bytes count as
 * whole). Use it to hold back partial characters of a stream. */
size_t utf8_whole(struct span s);
/* Writes 1..4 bytes, returns the count. cp <= 0x10FFFF. */
int utf8_put(uint32_t cp, char out[4]);

#endif
