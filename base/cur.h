/* cur.h - reads untrusted bytes with sticky failure: read all, test c.bad once at the end.
 * After a failed read every getter gives 0 or an empty span. Integers are little-endian. */
#ifndef SP_BASE_CUR_H
#define SP_BASE_CUR_H

#include "num.h"
#include "span.h"

struct cur {
	const uint8_t *p;
	size_t n;   /* whole size */
	size_t off; /* next byte */
	bool bad;   /* sticky */
};

static inline struct cur cur_init(struct span s)
{
	return (struct cur){(const uint8_t *)s.p, s.n, 0, false};
}

static inline size_t cur_left(const struct cur *c)
{
	return c->bad ? 0 : c->n - c->off;
}

/* Takes n bytes; NULL and sticky failure when fewer are left. */
static inline const uint8_t *cur_take(struct cur *c, uint64_t n)
{
	const uint8_t *p;

	if (c->bad || n > c->n - c->off) {
		c->bad = true;
		return NULL;
	}
	p = c->p + c->off;
	c->off += (size_t)n;
	return p;
}

static inline uint8_t cur_u8(struct cur *c)
{
	const uint8_t *p = cur_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t cur_u16(struct cur *c)
{
	const uint8_t *p = cur_take(c, 2);

	return p ? get_le16(p) : 0;
}

static inline uint32_t cur_u32(struct cur *c)
{
	const uint8_t *p = cur_take(c, 4);

	return p ? get_le32(p) : 0;
}

static inline uint64_t cur_u64(struct cur *c)
{
	const uint8_t *p = cur_take(c, 8);

	return p ? get_le64(p) : 0;
}

/* The span borrows the cursor's memory. */
static inline struct span cur_span(struct cur *c, uint64_t n)
{
	const uint8_t *p = cur_take(c, n);

	return p ? span_of(p, (size_t)n) : span_of(NULL, 0);
}

/* True when nothing failed and nothing is left. */
static inline bool cur_done(const struct cur *c)
{
	return !c->bad && c->off == c->n;
}

#endif
