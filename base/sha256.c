/* sha256.c - SHA-256 of short inputs with the CPU's SHA instructions where it has them (libsodium's
 * is portable C: five times slower), else libsodium. FIPS 180-4. */
#include "hash.h"

#include <string.h>

#include "num.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* a..h in the order the instructions want them: ABEF, CDGH. */
__attribute__((target("sha,ssse3,sse4.1"))) static void blocks(__m128i st[2], const uint8_t *p,
							       size_t n)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);

	for (; n > 0; n--, p += 64) {
		__m128i a = st[0], c = st[1], w[4], k;

		for (int i = 0; i < 4; i++)
			w[i] =
			    _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
		for (int i = 0; i < 16; i++) {
			k = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *)(K + 4 * i)));
			c = _mm_sha256rnds2_epu32(c, a, k);
			a = _mm_sha256rnds2_epu32(a, c, _mm_shuffle_epi32(k, 0x0e));
			if (i < 12) { /* the four words sixteen rounds on take this place */
				__m128i x = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);

				x = _mm_add_epi32(
				    x, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
				w[i & 3] = _mm_sha256msg2_epu32(x, w[(i + 3) & 3]);
			}
		}
		st[0] = _mm_add_epi32(st[0], a);
		st[1] = _mm_add_epi32(st[1], c);
	}
}

/* SHA-256(a || b), a shorter than a block. */
__attribute__((target("sha,ssse3,sse4.1"))) static void sha256_ni(struct span a, struct span b,
								  uint8_t out[SHA256_BYTES])
{
	__m128i st[2] = {_mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
			 _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)};
	uint8_t tail[128] = {0};
	uint64_t bits = (uint64_t)(a.n + b.n) * 8;
	size_t have = a.n, whole;
	uint32_t w[8];

	if (a.n > 0)
		memcpy(tail, a.p, a.n);
	if (a.n > 0 && b.n >= 64 - a.n) {
		memcpy(tail + a.n, b.p, 64 - a.n);
		b = span_from(b, 64 - a.n);
		blocks(st, tail, 1);
		memset(tail, 0, 64);
		have = 0;
	}
	whole = have ? 0 : b.n / 64;
	blocks(st, (const uint8_t *)b.p, whole);
	b = span_from(b, whole * 64);
	if (b.n > 0)
		memcpy(tail + have, b.p, b.n);
	have += b.n;
	tail[have] = 0x80;
	have = have < 56 ? 64 : 128;
	put_be64(tail + have - 8, bits);
	blocks(st, tail, have / 64);
	_mm_storeu_si128((__m128i *)w, st[0]);	     /* F E B A */
	_mm_storeu_si128((__m128i *)(w + 4), st[1]); /* H G D C */
	static const uint8_t at[8] = {3, 2, 7, 6, 1, 0, 5, 4};

	for (int i = 0; i < 8; i++) {
		uint32_t v = __builtin_bswap32(w[at[i]]);

		memcpy(out + 4 * i, &v, 4);
	}
}

static bool has_sha(void)
{
	static int known; /* 0 not asked, 1 no, 2 yes; every thread finds the same */
	int v = __atomic_load_n(&known, __ATOMIC_RELAXED);
	unsigned a, b, c, d;

	if (v == 0) {
		v = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) &&
			    __builtin_cpu_supports("sse4.1")
			? 2
			: 1;
		__atomic_store_n(&known, v, __ATOMIC_RELAXED);
	}
	return v == 2;
}
#endif

void sha256_portable(struct span a, struct span b, uint8_t out[SHA256_BYTES])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, (const unsigned char *)(a.n ? a.p : ""), a.n);
	crypto_hash_sha256_update(&st, (const unsigned char *)(b.n ? b.p : ""), b.n);
	crypto_hash_sha256_final(&st, out);
}

void sha256_2(struct span a, struct span b, uint8_t out[SHA256_BYTES])
{
#if defined(__x86_64__)
	if (a.n < 64 && has_sha()) {
		sha256_ni(a, b, out);
		return;
	}
#endif
	sha256_portable(a, b, out);
}

void sha256(struct span s, uint8_t out[SHA256_BYTES])
{
	sha256_2(span_of(NULL, 0), s, out);
}
