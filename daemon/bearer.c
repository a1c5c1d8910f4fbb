/* bearer.c - see bearer.h. */
#include "bearer.h"

#include <strings.h>

#include "hash.h"
#include "id.h"
#include "secret.h"

#define KID 26
#define SECRET 52

bool bearer_parse(struct span v, struct bearer *b)
{
	uint8_t kid[ID_BYTES];
	SCOPED_SECRET(secret, 32);

	*b = (struct bearer){.present = true};
	if (secret == NULL || v.n < 7 || strncasecmp(v.p, "bearer ", 7) != 0)
		return false;
	v = span_from(v, 7);
	while (v.n && v.p[0] == ' ')
		v = span_from(v, 1);
	if (v.n != 3 + KID + 1 + SECRET || memcmp(v.p, "sp_", 3) != 0 || v.p[3 + KID] != '_')
		return false;
	if (!b32_decode(span_of(v.p + 3, KID), kid, sizeof(kid)) ||
	    !b32_decode(span_of(v.p + 3 + KID + 1, SECRET), secret, 32))
		return false;
	b32_encode(kid, sizeof(kid), b->kid);
	sha256_2(SPAN_LIT("sallyport/key/v1\n"), span_of(secret, 32), b->digest);
	b->ok = true;
	return true;
}
