/* split.c - see split.h. */
#include "split.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "hash.h"

#define TAIL 20 /* "-00001-of-00003.gguf" */

/* Five digits; -1 when they are not. */
static long five(const char *s)
{
	long v = 0;

	for (int i = 0; i < 5; i++) {
		if (!isdigit((unsigned char)s[i]))
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v;
}

unsigned split_count(const char *path)
{
	size_t n = strlen(path);
	const char *t = path + n - TAIL;
	long no, count;

	if (n < TAIL || t[0] != '-' || memcmp(t + 6, "-of-", 4) != 0 ||
	    strcmp(t + 15, ".gguf") != 0)
		return 1;
	no = five(t + 1);
	count = five(t + 10);
	return no >= 1 && count >= 2 && count <= SPLIT_MAX && no <= count ? (unsigned)count : 1;
}

int split_path(const char *path, unsigned no, char *out, size_t size)
{
	unsigned count = split_count(path);
	int n;

	if (count == 1)
		n = snprintf(out, size, "%s", path);
	else
		n = snprintf(out, size, "%.*s-%05u-of-%05u.gguf", (int)(strlen(path) - TAIL), path,
			     no + 1, count);
	return n < 0 || (size_t)n >= size ? E_RANGE : E_OK;
}

void split_digest(const uint8_t (*sha)[32], unsigned n, uint8_t out[32])
{
	if (n == 1)
		memcpy(out, sha[0], 32);
	else
		sha256_2(SPAN_LIT("sallyport/split/v1\n"), span_of(sha, n * (size_t)32), out);
}
