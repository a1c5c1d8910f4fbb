/* id.c - see id.h. Crockford's alphabet: https://www.crockford.com/base32.html */
#include "id.h"

#include <sodium.h>
#include <stdio.h>

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

struct id id_random(void)
{
	struct id i;

	randombytes_buf(i.b, sizeof(i.b));
	return i;
}

void b32_encode(const uint8_t *p, size_t n, char *out)
{
	size_t chars = (n * 8 + 4) / 5, pad = chars * 5 - n * 8, bit = 0, o = 0;
	unsigned acc = 0, have = (unsigned)pad;

	while (o < chars) {
		while (have < 5) {
			acc = acc << 8 | p[bit++];
			have += 8;
		}
		out[o++] = alphabet[acc >> (have - 5) & 31];
		have -= 5;
		acc &= (1u << have) - 1;
	}
	out[o] = '\0';
}

static int value_of(char c)
{
	const char *at;

	if (c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	if (c == 'i' || c == 'l')
		return 1;
	if (c == 'o')
		return 0;
	at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

bool b32_decode(struct span s, uint8_t *out, size_t n)
{
	size_t chars = (n * 8 + 4) / 5, pad = chars * 5 - n * 8, o = 0;
	unsigned acc = 0, have = 0;

	if (s.n != chars)
		return false;
	for (size_t i = 0; i < chars; i++) {
		int v = value_of(s.p[i]);

		if (v < 0 || (i == 0 && v >> (5 - pad)))
			return false;
		acc = acc << 5 | (unsigned)v;
		have += i == 0 ? 5 - (unsigned)pad : 5;
		if (have >= 8) {
			out[o++] = (uint8_t)(acc >> (have - 8));
			have -= 8;
			acc &= (1u << have) - 1;
		}
	}
	return o == n && have == 0;
}

const char *id_fmt(const char *prefix, const struct id *i, char out[ID_TEXT_MAX])
{
	int n = snprintf(out, ID_TEXT_MAX - ID_B32, "%.8s_", prefix);

	b32_encode(i->b, ID_BYTES, out + n);
	return out;
}

bool id_parse(const char *prefix, struct span s, struct id *out)
{
	size_t n = strlen(prefix);

	if (s.n != n + 1 + ID_B32 || memcmp(s.p, prefix, n) != 0 || s.p[n] != '_')
		return false;
	return b32_decode(span_from(s, n + 1), out->b, ID_BYTES);
}
