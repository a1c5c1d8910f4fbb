/* ahead.h - how class D asks for weights before it uses them. They are used once, so they need no
 * place in the outer caches, and far ahead, as one core has to keep many lines under way. Without it
 * Q5_K and Q6_K, which lie in three strands that take turns, are read at a quarter of the speed.
 * A single column that is quicker than memory is better off with what the processor guesses, and a
 * little help to begin (the AVX-512 kernels on AMD Zen 4: up to a fifth). Beyond the end of a panel
 * the next one begins. */
#ifndef SP_ENGINE_AHEAD_H
#define SP_ENGINE_AHEAD_H

#include <immintrin.h>

#include "pack.h"

#define AHEAD_FAR 8192 /* bytes */
#define AHEAD_NEAR 1024

/* All but p and bytes are constants of the kernel. */
static inline __attribute__((always_inline)) void fetch(const enum pack_kind kind, const bool quick,
							const uint8_t *p, const size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 64)
		if (quick && kind != PACK_Q5_K && kind != PACK_Q6_K)
			_mm_prefetch((const char *)p + AHEAD_NEAR + i, _MM_HINT_T1);
		else
			_mm_prefetch((const char *)p + AHEAD_FAR + i, _MM_HINT_NTA);
}

#endif
