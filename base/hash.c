/* hash.c - CRC-32C by an 8-way table, and by the SSE4.2 instruction where the CPU has it. */
#include "hash.h"

#include <pthread.h>

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void build(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

static uint32_t crc_table(uint32_t c, const uint8_t *s, size_t n)
{
	while (n >= 8) {
		uint32_t lo = c ^ ((uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 |
				   (uint32_t)s[3] << 24);

		c = table[7][lo & 255] ^ table[6][lo >> 8 & 255] ^ table[5][lo >> 16 & 255] ^
		    table[4][lo >> 24] ^ table[3][s[4]] ^ table[2][s[5]] ^ table[1][s[6]] ^
		    table[0][s[7]];
		s += 8;
		n -= 8;
	}
	while (n--)
		c = c >> 8 ^ table[0][(c ^ *s++) & 255];
	return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse(uint32_t c, const uint8_t *s, size_t n)
{
	uint64_t c64 = c, v;

	for (; n >= 8; s += 8, n -= 8) {
		__builtin_memcpy(&v, s, 8);
		c64 = __builtin_ia32_crc32di(c64, v);
	}
	c = (uint32_t)c64;
	while (n--)
		c = __builtin_ia32_crc32qi(c, *s++);
	return c;
}
#endif

uint32_t crc32c(uint32_t seed, const void *p, size_t n)
{
	pthread_once(&once, build);
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_sse(~seed, p, n);
#endif
	return ~crc_table(~seed, p, n);
}
