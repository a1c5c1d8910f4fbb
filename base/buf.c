/* buf.c - see buf.h. Not shared between threads. */
#include "buf.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "num.h"

void buf_free(struct buf *b)
{
	if (b == NULL)
		return;
	if (!b->fixed) {
		free(b->p);
		b->p = NULL;
		b->cap = 0;
	}
	b->n = 0;
	b->bad = false;
}

void buf_wipe_free(struct buf *b)
{
	if (b == NULL)
		return;
	if (b->p)
		sodium_memzero(b->p, b->cap);
	buf_free(b);
}

void *buf_grow(struct buf *b, size_t n)
{
	size_t cap;
	char *p;

	if (b->bad || n > b->max - b->n) {
		b->bad = true;
		return NULL;
	}
	if (n > b->cap - b->n) {
		cap = b->cap ? b->cap : 256;
		while (cap - b->n < n)
			cap = cap > b->max / 2 ? b->max : cap * 2;
		p = b->fixed || FAULT("buf.grow") ? NULL : realloc(b->p, cap);
		if (p == NULL) {
			b->bad = true;
			return NULL;
		}
		b->p = p;
		b->cap = cap;
	}
	p = b->p ? b->p + b->n : b->p;
	b->n += n;
	return p;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	void *to;

	if (n == 0)
		return;
	to = buf_grow(b, n);
	if (to)
		memcpy(to, p, n);
}

void buf_span_put(struct buf *b, struct span s)
{
	buf_put(b, s.p, s.n);
}

void buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	char small[512];
	char *big;
	int n;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->bad = true;
		return;
	}
	if ((size_t)n < sizeof(small)) {
		buf_put(b, small, (size_t)n);
		return;
	}
	big = malloc((size_t)n + 1);
	if (big == NULL) {
		b->bad = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(big, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_put(b, big, (size_t)n);
	free(big);
}

void buf_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
	uint8_t t[2];

	put_le16(t, v);
	buf_put(b, t, sizeof(t));
}

void buf_u32(struct buf *b, uint32_t v)
{
	uint8_t t[4];

	put_le32(t, v);
	buf_put(b, t, sizeof(t));
}

void buf_u64(struct buf *b, uint64_t v)
{
	uint8_t t[8];

	put_le64(t, v);
	buf_put(b, t, sizeof(t));
}

void buf_hex(struct buf *b, const void *p, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *s = p;

	for (size_t i = 0; i < n; i++) {
		buf_putc(b, digit[s[i] >> 4]);
		buf_putc(b, digit[s[i] & 15]);
	}
}

void buf_base64(struct buf *b, const void *p, size_t n)
{
	size_t need = sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL);
	char *to = buf_grow(b, need); /* the NUL is counted here and taken back below */

	if (to == NULL)
		return;
	sodium_bin2base64(to, need, p, n, sodium_base64_VARIANT_ORIGINAL);
	b->n--;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
		return;
	}
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
	buf_putc(b, '\0');
	if (b->bad)
		return "";
	b->n--;
	return b->p;
}
