/* t_mutants.c - the golden comparison finds each classic mistake of a Llama forward pass. This
 * program is linked with weights.c, fwd.c, rope.c and attn.c built so that they can make them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine_help.h"
#include "golden.h"
#include "mutant.h"

enum mutant engine_mutant;

static void mutant_is_found(enum mutant m, bool step)
{
	double right, wrong;

	engine_mutant = MUT_NONE;
	right = golden_nano("f32", NULL, step, KV_AUTO);
	engine_mutant = m;
	wrong = golden_nano("f32", NULL, step, KV_AUTO);
	engine_mutant = MUT_NONE;
	if (right < 0)
		skip();
	print_message("right %.2e, mutant %d: %.2e\n", right, (int)m, wrong);
	assert_true(right <= 2e-4);
	assert_true(wrong > 5 * 2e-4);
}

/* The last token of a one-layer model sees everything by right: masks need two layers. */
static void mutant_is_found_in_two_layers(enum mutant m)
{
	struct shape s = {.embd = 64,
			  .layers = 2,
			  .heads = 8,
			  .kv_heads = 2,
			  .head_dim = 8,
			  .ff = 100,
			  .vocab = SMALL_VOCAB,
			  .context = 512,
			  .freqs = true};

	engine_mutant = MUT_NONE;
	assert_true(golden_own(&s, 100, NULL, 100) <= 2e-4);
	engine_mutant = m;
	assert_true(golden_own(&s, 100, NULL, 100) > 5 * 2e-4);
	engine_mutant = MUT_NONE;
}

static void neox_rope_order_is_found(void **st)
{
	mutant_is_found_in_two_layers(MUT_ROPE_NEOX);
	mutant_is_found(MUT_ROPE_NEOX, false);
	mutant_is_found(MUT_ROPE_NEOX, true);
}

static void missing_rope_freqs_are_found(void **st)
{
	mutant_is_found_in_two_layers(MUT_NO_FREQS);
	mutant_is_found(MUT_NO_FREQS, false);
}

static void multiplied_rope_freqs_are_found(void **st)
{
	mutant_is_found_in_two_layers(MUT_MUL_FREQS);
	mutant_is_found(MUT_MUL_FREQS, false);
}

static void swapped_gqa_mapping_is_found(void **st)
{
	mutant_is_found_in_two_layers(MUT_GQA_SWAP);
	mutant_is_found(MUT_GQA_SWAP, false);
	mutant_is_found(MUT_GQA_SWAP, true);
}

static void missing_causal_mask_is_found(void **st)
{
	mutant_is_found_in_two_layers(MUT_NO_MASK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(neox_rope_order_is_found),
	    cmocka_unit_test(missing_rope_freqs_are_found),
	    cmocka_unit_test(multiplied_rope_freqs_are_found),
	    cmocka_unit_test(swapped_gqa_mapping_is_found),
	    cmocka_unit_test(missing_causal_mask_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
