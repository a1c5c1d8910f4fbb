/* span.h - a borrowed run of bytes. No strlen on foreign bytes: length always travels along. */
#ifndef SP_BASE_SPAN_H
#define SP_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
	const char *p; /* borrowed; may hold NUL bytes; may be NULL when n is 0 */
	size_t n;      /* bytes */
};

#define SPAN_LIT(s) ((struct span){"" s "", sizeof(s) - 1})
#define SPAN_FMT "%.*s"
#define SPAN_ARG(s) (int)(s).n, (s).n ? (s).p : ""

static inline struct span span_of(const void *p, size_t n)
{
	return (struct span){p, n};
}

/* For strings of our own only (argv, literals), never for foreign bytes. */
static inline struct span span_cstr(const char *s)
{
	return (struct span){s, s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool span_starts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* Bytes [from, s.n); an empty span when from lies behind the end. */
static inline struct span span_from(struct span s, size_t from)
{
	if (from >= s.n)
		return (struct span){s.p, 0};
	return (struct span){s.p + from, s.n - from};
}

#endif
