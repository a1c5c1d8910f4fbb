/* mutant.h - wrong arithmetic on purpose: a test builds weights.c, rope.c and attn.c with
 * SP_ENGINE_MUTANTS and shows that the golden comparison finds each of these mistakes. In every
 * other build MUTANT() is the constant false. */
#ifndef SP_ENGINE_MUTANT_H
#define SP_ENGINE_MUTANT_H

enum mutant {
	MUT_NONE,
	MUT_ROPE_NEOX, /* pairs (i, i + dim/2) instead of (2i, 2i + 1) */
	MUT_NO_FREQS,  /* rope_freqs ignored */
	MUT_MUL_FREQS, /* rope_freqs multiplied */
	MUT_GQA_SWAP,  /* query head h reads KV head h mod n instead of h / group */
	MUT_NO_MASK,   /* tokens see those behind them in the batch */
};

#ifdef SP_ENGINE_MUTANTS
extern enum mutant engine_mutant;
#define MUTANT(m) (engine_mutant == (m))
#else
#define MUTANT(m) (false)
#endif

#endif
