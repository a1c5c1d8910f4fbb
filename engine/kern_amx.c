/* kern_amx.c - class P by TDPBF16PS: the panels of the avx512bf16 table multiplied in tiles. The
 * instructions are written as assembly that says what it reads and writes: gcc 12's intrinsics
 * name 8 of the 64 bytes of a configuration as their input, and none of a tile's memory, so stores
 * before them may be left out. */
#include "kern_avx512.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILE_CONFIG(c) __asm__ volatile("ldtilecfg %0" : : "m"(*(c)))
#define TILE_RELEASE() __asm__ volatile("tilerelease")
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define TILE_LOAD(t, p, stride)                                                                    \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(p), "r"(stride) : "memory")
#define TILE_STORE(t, p, stride)                                                                   \
	__asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(p), "r"(stride) : "memory")
#define TILE_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#include "amx_mul.h"

#define ARCH_REQ_XCOMP_PERM 0x1023 /* linux, asm/prctl.h */
#define XFEATURE_XTILEDATA 18

static bool cpu_has_amx(void)
{
	unsigned a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) /* OSXSAVE */
		return false;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 24) || !(d & 1u << 22))
		return false; /* AMX-TILE, AMX-BF16 */
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (lo >> 17 & 3) == 3; /* the system saves the tiles */
}

/* The whole configuration arrives: what gcc 12's intrinsic gets wrong. */
static bool shape_arrives(void)
{
	struct tile_cfg got;

	amx_shape(16, 5);
	__asm__ volatile("sttilecfg %0" : "=m"(got));
	TILE_RELEASE();
	return got.palette == 1 && got.rows[0] == 16 && got.rows[2] == 5 && got.rows[5] == 5 &&
	       got.rows[7] == 16 && got.colsb[2] == 64 && got.colsb[7] == 64 && got.rows[8] == 0;
}

/* Small whole numbers, so that every order of adding gives the same. */
static int weight_at(unsigned i, unsigned r)
{
	return (int)((i * 7 + r * 5) % 13) - 6;
}

static int input_at(unsigned i, unsigned c)
{
	return (int)((i * 3 + c * 11) % 9) - 4;
}

static uint16_t bf16_of(int v)
{
	float f = (float)v;
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return (uint16_t)(u >> 16);
}

/* A product of every shape on this hardware is what plain C gives. */
static bool product_is_right(unsigned cols)
{
	enum { K = 64, COLS = 35, ROWS = 32 };
	static uint16_t w[2][K / 2][16][2], x[COLS][K]; /* filled with the same numbers each time */
	float y[COLS * ROWS] = {0};
	bool ok = true;

	for (unsigned i = 0; i < K; i++) {
		for (unsigned r = 0; r < ROWS; r++)
			w[r / 16][i / 2][r % 16][i % 2] = bf16_of(weight_at(i, r));
		for (unsigned c = 0; c < COLS; c++)
			x[c][i] = bf16_of(input_at(i, c));
	}
	amx_mul(w, sizeof(w[0]), 2, K, x, K, cols, y, ROWS, true);
	for (unsigned c = 0; c < COLS; c++)
		for (unsigned r = 0; r < ROWS; r++) {
			int sum = 0;

			for (unsigned i = 0; i < K && c < cols; i++)
				sum += weight_at(i, r) * input_at(i, c);
			ok &= y[c * ROWS + r] == (float)sum;
		}
	return ok;
}

/* Asks the system for the tiles: to be called before a sandbox forbids the question (kern_pick and
 * kern_names do). Granted once, it holds for all threads of the process. */
static bool amx_usable(void)
{
	return cpu_has_amx() && kern_avx512bf16.usable() &&
	       syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 &&
	       shape_arrives() && product_is_right(7) && product_is_right(16) &&
	       product_is_right(21) && product_is_right(35);
}

const struct kernels kern_amx = {
    .name = "amx",
    .usable = amx_usable,
    .base = &kern_avx512bf16,
    .exact = &kern_avx512,
    .p_form = P_BF16,
    .p_bytes = 2,
    .p_mul = amx_mul,
};
#endif
