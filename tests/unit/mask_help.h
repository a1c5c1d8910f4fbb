/* mask_help.h - vocabularies for tests of masks. */
#ifndef SP_TESTS_MASK_HELP_H
#define SP_TESTS_MASK_HELP_H

#include "model_priv.h"
#include "schema_priv.h"

enum { V_BPE, V_SPM, V_LLAMA3, V_LLAMA2, V_COUNT };
extern struct model *vocab[V_COUNT]; /* NULL where shared data is absent */
int vocab_setup(void **state);
int vocab_teardown(void **state);
struct model *vocab_small(void); /* one more of V_BPE */
void vocab_drop(struct model *m);
uint64_t rnd(void);
static inline size_t words_of(const struct model *m)
{
	return m->info.n_vocab / 64 + 1;
}

#endif
