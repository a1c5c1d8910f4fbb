/* utf8.c - see utf8.h. */
#include "utf8.h"

int utf8_next(struct span s, uint32_t *cp)
{
	const unsigned char *p = (const unsigned char *)s.p;
	uint32_t c;
	int len;

	if (s.n == 0)
		return 0;
	if (p[0] < 0x80) {
		*cp = p[0];
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return -1;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	c = p[0] & (0x7fu >> len);
	for (int i = 1; i < len; i++) {
		unsigned lo = 0x80, hi = 0xbf;

		if ((size_t)i >= s.n)
			return 0;
		if (i == 1) {
			lo = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
			hi = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
		}
		if (p[i] < lo || p[i] > hi)
			return -1;
		c = c << 6 | (p[i] & 0x3fu);
	}
	*cp = c;
	return len;
}

bool utf8_valid(struct span s)
{
	uint32_t cp;
	int n;

	while (s.n > 0) {
		n = utf8_next(s, &cp);
		if (n <= 0)
			return false;
		s = span_from(s, (size_t)n);
	}
	return true;
}

size_t utf8_whole(struct span s)
{
	uint32_t cp;

	for (size_t back = 1; back <= 3 && back <= s.n; back++) {
		struct span tail = span_from(s, s.n - back);

		if (((unsigned char)tail.p[0] & 0xc0) == 0xc0)
			return utf8_next(tail, &cp) == 0 ? s.n - back : s.n;
	}
	return s.n;
}

int utf8_put(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}
