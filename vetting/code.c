/* code.c - see code.h. */
#include "code.h"

#include <sodium.h>
#include <stdio.h>

#include "hash.h"

void code_half_text(char which, const uint8_t half[CODE_HALF_BYTES], char out[CODE_HALF_TEXT])
{
	char text[ID_B32 + 1];
	size_t n = 0;

	b32_encode(half, CODE_HALF_BYTES, text);
	out[n++] = which;
	for (size_t i = 0; text[i]; i++) {
		if (i % 5 == 0)
			out[n++] = '-';
		out[n++] = text[i];
	}
	out[n] = '\0';
	sodium_memzero(text, sizeof(text));
}

bool code_half_parse(char which, struct span s, uint8_t half[CODE_HALF_BYTES])
{
	char text[ID_B32];
	size_t n = 0;
	bool ok;

	if (s.n < 2 || (s.p[0] & ~0x20) != which || s.p[1] != '-')
		return false;
	for (size_t i = 2; i < s.n; i++) {
		if (s.p[i] == '-' || s.p[i] == ' ')
			continue;
		if (n == sizeof(text))
			return false;
		text[n++] = s.p[i];
	}
	ok = n == sizeof(text) && b32_decode(span_of(text, n), half, CODE_HALF_BYTES);
	sodium_memzero(text, sizeof(text));
	return ok;
}

static void hmac3(const uint8_t key[32], struct span a, struct span b, struct span c,
		  uint8_t out[32])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, key, 32);
	crypto_auth_hmacsha256_update(&st, (const uint8_t *)a.p, a.n);
	crypto_auth_hmacsha256_update(&st, (const uint8_t *)b.p, b.n);
	crypto_auth_hmacsha256_update(&st, (const uint8_t *)c.p, c.n);
	crypto_auth_hmacsha256_final(&st, out);
	sodium_memzero(&st, sizeof(st));
}

void code_mac(const uint8_t pepper[32], const uint8_t a[CODE_HALF_BYTES],
	      const uint8_t b[CODE_HALF_BYTES], uint8_t mac[32])
{
	hmac3(pepper, SPAN_LIT("sallyport/code/v1\n"), span_of(a, CODE_HALF_BYTES),
	      span_of(b, CODE_HALF_BYTES), mac);
}

void api_key_text(const struct id *kid, const uint8_t secret[32], char out[API_KEY_TEXT])
{
	char k[ID_B32 + 1], s[53];

	b32_encode(kid->b, ID_BYTES, k);
	b32_encode(secret, 32, s);
	snprintf(out, API_KEY_TEXT, "sp_%s_%s", k, s);
	sodium_memzero(s, sizeof(s));
}

void api_key_digest(const uint8_t secret[32], uint8_t digest[32])
{
	sha256_2(SPAN_LIT("sallyport/key/v1\n"), span_of(secret, 32), digest);
}

void api_key_mac(const uint8_t pepper[32], const struct id *kid, const uint8_t digest[32],
		 uint8_t mac[32])
{
	hmac3(pepper, SPAN_LIT("sallyport/keymac/v1\n"), span_of(kid->b, ID_BYTES),
	      span_of(digest, 32), mac);
}
