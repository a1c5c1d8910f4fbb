/* kern_avx2vnni.c - the AVX2 table with the 256-bit dot products of AVX-VNNI in class D: processors
 * that have them and no AVX-512. As in kern_avx2.c, only functions below the pragma may use these
 * instructions. */
#include "kern_avx2.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include "blocks.h"

static bool avx2vnni_usable(void)
{
	unsigned a, b, c, d;

	/* AVX-VNNI: CPUID leaf 7, subleaf 1, EAX bit 4 */
	return kern_avx2.usable() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif
#define INLINE static inline __attribute__((always_inline))

#define D256_VNNI
#define D256_NAME(kind) avx2vnni_d_mul_##kind
#include "d256.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const struct kernels kern_avx2vnni = {
    .name = "avx2vnni",
    .usable = avx2vnni_usable,
    .base = &kern_avx2,
    .d_mul = {[PACK_Q4_0] = avx2vnni_d_mul_q4_0,
	      [PACK_Q8_0] = avx2vnni_d_mul_q8_0,
	      [PACK_Q4_K] = avx2vnni_d_mul_q4_k,
	      [PACK_Q5_K] = avx2vnni_d_mul_q5_k,
	      [PACK_Q6_K] = avx2vnni_d_mul_q6_k},
};
#endif
