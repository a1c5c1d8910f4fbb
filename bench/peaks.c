/* peaks.c - see peaks.h. */
#include "peaks.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512vnni,avx512bf16")))
#define AMX __attribute__((target("amx-tile,amx-bf16")))
#define READ ((size_t)128 << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Sixteen independent chains of one instruction; returns instructions a second. */
#define EACH16(M)                                                                                  \
	M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define CHAINS(name, attr, type, zero, ins)                                                        \
	attr static double name(double seconds)                                                    \
	{                                                                                          \
		type a[16], x = zero;                                                              \
		double from = now(), spent;                                                        \
		uint64_t n = 0;                                                                    \
                                                                                                   \
		_Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) a[i] = zero;                 \
		do {                                                                               \
			for (int i = 0; i < 4000; i++) {                                           \
				EACH16(ins)                                                        \
			}                                                                          \
			n += 64000;                                                                \
			spent = now() - from;                                                      \
		} while (spent < seconds);                                                         \
		return (double)n / spent;                                                          \
	}
#define FMA(i) __asm__ volatile("vfmadd231ps %1,%1,%0" : "+v"(a[i]) : "v"(x));
#define VNNI(i) __asm__ volatile("vpdpbusd %1,%1,%0" : "+v"(a[i]) : "v"(x));
#define BF16(i) __asm__ volatile("vdpbf16ps %1,%1,%0" : "+v"(a[i]) : "v"(x));
CHAINS(fma256, AVX2, __m256, _mm256_setzero_ps(), FMA)
CHAINS(fma512, AVX512, __m512, _mm512_setzero_ps(), FMA)
CHAINS(vnni512, AVX512, __m512i, _mm512_setzero_si512(), VNNI)
CHAINS(bf16_512, AVX512, __m512i, _mm512_setzero_si512(), BF16)

AVX2 double peaks_read(const void *at, size_t size, double seconds)
{
	const char *p = at;
	__m256i s[8];
	double from, spent;
	uint64_t n = 0;

#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		s[i] = _mm256_setzero_si256();
	from = now();
	do {
		for (size_t i = 0; i < size; i += 256) {
			for (int j = 0; j < 4; j++)
				_mm_prefetch(p + i + 4096 + 64 * j, _MM_HINT_T0);
#pragma GCC unroll 8
			for (int j = 0; j < 8; j++)
				s[j] = _mm256_xor_si256(
				    s[j],
				    _mm256_load_si256((const __m256i *)(const void *)(p + i) + j));
		}
		n += size;
		spent = now() - from;
	} while (spent < seconds);
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		__asm__ volatile("" ::"x"(s[i]));
	return (double)n / spent / 1e9;
}

static double read_memory(double seconds)
{
	void *p = mmap(NULL, READ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double rate;

	if (p == MAP_FAILED)
		return 0;
	madvise(p, READ, MADV_HUGEPAGE);
	memset(p, 1, READ);
	rate = peaks_read(p, READ, seconds);
	munmap(p, READ);
	return rate;
}

/* Two by two tiles, panels of 4096 k read again and again: 32768 operations a product. */
AMX static double amx_bf16(double seconds)
{
	struct {
		uint8_t palette, start, rsv[14];
		uint16_t colsb[16];
		uint8_t rows[16];
	} cfg = {.palette = 1};
	enum { STEPS = 128 };
	char *a = aligned_alloc(4096, (size_t)STEPS * 2048),
	     *b = aligned_alloc(4096, (size_t)STEPS * 2048);
	double from, spent;
	uint64_t n = 0;

	if (!a || !b || syscall(SYS_arch_prctl, 0x1023, 18) != 0)
		return 0;
	memset(a, 0, (size_t)STEPS * 2048);
	memset(b, 0, (size_t)STEPS * 2048);
	for (int i = 0; i < 8; i++) {
		cfg.colsb[i] = 64;
		cfg.rows[i] = 16;
	}
	__asm__ volatile("" ::"m"(cfg)); /* gcc 12 takes 8 of the 64 bytes for the whole input */
	_tile_loadconfig(&cfg);
	from = now();
	do {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
		for (size_t i = 0; i < STEPS; i++) {
			_tile_loadd(6, b + i * 2048, 64);
			_tile_loadd(4, a + i * 2048, 64);
			_tile_dpbf16ps(0, 4, 6);
			_tile_loadd(7, b + i * 2048 + 1024, 64);
			_tile_dpbf16ps(1, 4, 7);
			_tile_loadd(5, a + i * 2048 + 1024, 64);
			_tile_dpbf16ps(2, 5, 6);
			_tile_dpbf16ps(3, 5, 7);
		}
		n += 4 * STEPS;
		spent = now() - from;
	} while (spent < seconds);
	_tile_release();
	free(a);
	free(b);
	return (double)n / spent;
}

static bool has(unsigned leaf, unsigned sub, int reg, unsigned bit)
{
	unsigned r[4];

	return __get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]) && (r[reg] >> bit & 1);
}

void peaks_measure(struct peaks *p, double seconds)
{
	bool wide = __builtin_cpu_supports("avx512f");

	memset(p, 0, sizeof(*p));
	if (!__builtin_cpu_supports("avx2"))
		return;
	p->read = read_memory(seconds);
	p->fp32 = (wide ? 32 * fma512(seconds) : 16 * fma256(seconds)) / 1e9;
	if (wide && __builtin_cpu_supports("avx512vnni"))
		p->vnni = 128 * vnni512(seconds) / 1e9;
	if (wide && has(7, 1, 0, 5))
		p->bf16 = 64 * bf16_512(seconds) / 1e9;
	if (has(7, 0, 3, 24) && has(7, 0, 3, 22))
		p->amx = 16384 * amx_bf16(seconds) / 1e9;
}
#else
void peaks_measure(struct peaks *p, double seconds)
{
	(void)seconds;
	memset(p, 0, sizeof(*p));
}

double peaks_read(const void *p, size_t n, double seconds)
{
	(void)p;
	(void)n;
	(void)seconds;
	return 0;
}
#endif
