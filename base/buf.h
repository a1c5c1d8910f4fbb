/* buf.h - growing byte buffer with a hard maximum that remembers overflow: write all, then
 * check buf_ok() once. After overflow or lack of memory nothing more is written. */
#ifndef SP_BASE_BUF_H
#define SP_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

struct buf {
	char *p;
	size_t n, cap, max;
	bool fixed; /* p is the caller's memory and never grows */
	bool bad;
};

/* Empty buffer that may grow to max bytes. Free with buf_free(). */
#define BUF_INIT(maximum) ((struct buf){NULL, 0, 0, (maximum), false, false})
/* Over the caller's memory; never allocates. */
#define BUF_FIXED(mem, size) ((struct buf){(mem), 0, (size), (size), true, false})

void buf_free(struct buf *b);            /* NULL ok; the buffer is empty and usable again */
void buf_wipe_free(struct buf *b);       /* as buf_free, the memory wiped first */
static inline void buf_reset(struct buf *b)
{
	b->n = 0;
	b->bad = false;
}
static inline bool buf_ok(const struct buf *b)
{
	return !b->bad;
}
static inline struct span buf_span(const struct buf *b)
{
	return (struct span){b->p, b->n};
}
/* Room for n more bytes at the end, counted as written; NULL on overflow. */
void *buf_grow(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_span_put(struct buf *b, struct span s);
void buf_puts(struct buf *b, const char *s); /* own strings only */
void buf_putc(struct buf *b, char c);
void buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* little-endian */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_hex(struct buf *b, const void *p, size_t n);    /* lower case */
void buf_base64(struct buf *b, const void *p, size_t n); /* standard alphabet, padded */
/* Removes the first n bytes (n <= b->n). */
void buf_consume(struct buf *b, size_t n);
/* The bytes with a NUL behind them (not counted); "" when bad. Borrows. */
const char *buf_cstr(struct buf *b);

#endif
