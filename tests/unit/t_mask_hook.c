/* t_mask_hook.c - masks as the engine calls them: lists that grow and are taken back, what is
 * remembered, answers drawn under them, lack of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_help.h"
#include "fault.h"
#include "json_valid.h"
#include "mask_help.h"
#include "tok_priv.h"

/* ---- the hook ---- */

static void same_as_new(struct model *m, struct schema *s, struct mask *k, const int32_t *ids,
			uint32_t n)
{
	uint64_t a[16], b[16];
	struct mask *fresh = NULL;

	assert_true(words_of(m) <= 16);
	memset(a, 0xff, sizeof(a));
	memset(b, 0xff, sizeof(b));
	mask_allow(k, ids, n, a);
	assert_int_equal(mask_new(m, s, &fresh, NULL), 0);
	mask_allow(fresh, ids, n, b);
	mask_free(fresh);
	assert_memory_equal(a, b, words_of(m) * sizeof(*a));
}

static bool bit(const uint64_t *bits, int32_t id)
{
	return bits[id / 64] >> (id % 64) & 1;
}

static void a_list_that_was_taken_back_is_followed(void **state)
{
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	int32_t ids[64];
	size_t n = 0;

	assert_int_equal(schema_any_object(&s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	for (const char *c = "{\"ab\":[1,\"x\",{\"y\":null}]}"; *c; c++)
		ids[n++] = (uint8_t)*c;
	for (uint32_t i = 0; i <= n; i++)
		same_as_new(m, s, k, ids, i);
	for (int i = 0; i < 200; i++) {
		uint32_t to = (uint32_t)(rnd() % (n + 1));

		same_as_new(m, s, k, ids, to);
		if (to > 2 && to < 6) { /* another token at the same place */
			int32_t was = ids[to - 1];

			ids[to - 1] = 'q';
			same_as_new(m, s, k, ids, to);
			ids[to - 1] = was;
		}
	}
	mask_free(k);
	schema_free(s);
}

static unsigned count(const uint64_t *bits, size_t words)
{
	unsigned n = 0;

	for (size_t i = 0; i < words; i++)
		n += (unsigned)__builtin_popcountll(bits[i]);
	return n;
}

static void behind_the_value_only_the_end_may_come(void **state)
{
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	int32_t ids[] = {'{', '}'}, wrong[] = {'x'};
	uint64_t bits[16];

	assert_int_equal(schema_any_object(&s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	memset(bits, 0xff, sizeof(bits));
	mask_allow(k, ids, 0, bits);
	assert_false(mask_complete(k));
	for (uint32_t i = 0; i < m->info.n_end; i++)
		assert_false(bit(bits, m->info.end[i]));
	memset(bits, 0xff, sizeof(bits));
	mask_allow(k, ids, 2, bits);
	assert_true(mask_complete(k));
	assert_int_equal(count(bits, words_of(m)), m->info.n_end);
	for (uint32_t i = 0; i < m->info.n_end; i++)
		assert_true(bit(bits, m->info.end[i]));
	memset(bits, 0xff, sizeof(bits));
	mask_allow(k, wrong, 1, bits); /* not from a mask: nothing more may come */
	assert_int_equal(count(bits, words_of(m)), 0);
	assert_false(mask_complete(k));
	mask_free(k);
	schema_free(s);
}

static void a_vocabulary_that_cannot_spell_is_refused(void **state)
{
	struct model *m = vocab_small();
	struct schema *s = NULL;
	struct mask *k = NULL;
	struct err err = {0};

	assert_int_equal(schema_any_object(&s, NULL), 0);
	m->tok->pieces['z'].class = TC_UNUSED;
	assert_int_equal(mask_new(m, s, &k, &err), E_UNSUPPORTED);
	m->tok->pieces['z'].class = TC_NORMAL;
	m->info.n_end = 0; /* nothing could end an answer */
	assert_int_equal(mask_new(m, s, &k, &err), E_UNSUPPORTED);
	assert_null(k);
	schema_free(s);
	vocab_drop(m);
}

static void sets_are_remembered(void **state)
{
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	struct mask_stats st;
	static int32_t ids[600];
	uint64_t bits[16];

	assert_int_equal(
	    schema_compile(SPAN_LIT("{\"type\":\"string\",\"maxLength\":5000}"), &s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	ids[0] = '"';
	for (int i = 1; i < 600; i++)
		ids[i] = 'a';
	for (uint32_t n = 0; n < 600; n++)
		mask_allow(k, ids, n, bits);
	mask_stats(k, &st);
	assert_int_equal(st.calls, 600);
	assert_int_equal(st.misses,
			 2); /* before and inside; how far the bound is does not matter */
	mask_free(k);
	for (unsigned i = 0; i < MASK_MEMO; i++)
		assert_null(m->trie->memo[i].key); /* nothing of a client's stays */
	schema_free(s);
}

/* ---- through the engine ---- */

static void the_engine_draws_under_a_mask(void **state)
{
	const struct shape shape = {.embd = 64,
				    .layers = 2,
				    .heads = 4,
				    .kv_heads = 2,
				    .head_dim = 16,
				    .ff = 96,
				    .vocab = SMALL_VOCAB,
				    .context = 1024};
	const char *text =
	    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":"
	    "20},\"b\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"maxItems\":5}},"
	    "\"required\":[\"a\",\"b\"]}";
	json_t *js = json_text(text, strlen(text));
	struct gen_limit limit = {.max_new = 600};
	int32_t prompt[] = {264, 'h', 'i'};
	struct outcome *o = malloc(sizeof(*o));
	struct schema *s = NULL;
	struct rig r;

	rig_open(&r, random_model(&shape, 7, NULL), NULL, 1, 64 << 20);
	assert_int_equal(schema_compile(span_cstr(text), &s, NULL), 0);
	for (uint64_t seed = 0; seed < 6; seed++) {
		struct seq *q = rig_seq(&r, SEQ_CHAT, 700);
		struct buf out = BUF_INIT(1 << 16);
		struct mask *k = NULL;
		struct sampler smp;
		const char *why = "no JSON";
		struct span bytes;
		job_id job;
		json_t *v;

		sampler_init(&smp, seed);
		smp.temperature = seed ? 1.5f : 0;
		smp.top_p = 1;
		assert_int_equal(mask_new(r.m, s, &k, NULL), 0);
		append_all(r.e, q, prompt, 3, NULL);
		assert_int_equal(seq_generate(q, &smp, &limit, mask_try, k, &job, NULL), 0);
		seq_credit(q, limit.max_new);
		run_job(r.e, job, o);
		assert_int_equal(o->kind, EV_DONE);
		assert_int_equal(o->end, GEN_END);
		for (uint32_t i = 0; i < o->n_tokens; i++) {
			assert_int_equal(model_token_bytes(r.m, o->tokens[i], &bytes), 0);
			buf_span_put(&out, bytes);
		}
		v = json_text(out.p, out.n);
		if (!v || !json_valid(js, js, v, &why))
			fail_msg("%s fails at %s", buf_cstr(&out), why);
		json_decref(v);
		mask_free(k);
		buf_free(&out);
		seq_free(q);
	}
	schema_free(s);
	rig_close(&r);
	json_decref(js);
	free(o);
}

#ifdef SP_FAULT
static const char nested[] =
    "{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[{\"properties\":{\"kind\":{\"const\":"
    "\"a\"},"
    "\"y\":{\"$ref\":\"#\"}},\"required\":[\"kind\"]},{\"type\":\"string\",\"maxLength\":5}]}}";
static const char listed[] =
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"d\":{\"type\":\"string\","
    "\"format\":\"date\"},\"e\":{\"pattern\":\"^(ab|a b)+$\"},\"n\":{\"enum\":[1,\"x\"]}},"
    "\"required\":[\"d\",\"e\",\"n\"]}}";
#endif

static void lack_of_memory_is_an_error_everywhere(void **state)
{
#ifdef SP_FAULT
	for (unsigned nth = 1;; nth++) {
		struct model *m = vocab_small();
		struct schema *s = NULL;
		struct mask *k = NULL;
		struct err err = {0};
		uint64_t bits[16];
		int32_t ids[] = {'[', '{'};
		bool fired;
		int rc;

		fault_arm("*", nth, false, 0);
		rc = schema_compile(span_cstr(nth % 2 ? nested : listed), &s, &err);
		if (rc == 0)
			rc = mask_new(m, s, &k, &err);
		if (rc == 0)
			mask_allow(k, ids, 2, bits);
		fired = fault_fired();
		fault_disarm();
		assert_true(rc == 0 || (rc == E_NOMEM && err.text[0]));
		mask_free(k);
		schema_free(s);
		vocab_drop(m);
		if (!fired && nth > 2)
			break;
	}
#else
	skip();
#endif
}

/* No token is allowed where memory is short in the middle of a list; the next call reads it all. */
static void a_list_that_was_cut_short_is_read_again(void **state)
{
#ifdef SP_FAULT
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	uint64_t bits[16];
	int32_t ids[100];
	uint32_t n = 0;

	for (const char *c = "{\"ab\":\""; *c; c++)
		ids[n++] = (uint8_t)*c;
	while (n < 100)
		ids[n++] = 'x';
	assert_int_equal(schema_any_object(&s, NULL), 0);
	for (unsigned nth = 1; nth <= 2; nth++) {
		assert_int_equal(mask_new(m, s, &k, NULL), 0);
		fault_arm("mask.seen", nth, false, 0);
		memset(bits, 0xff, sizeof(bits));
		mask_allow(k, ids, n, bits);
		assert_true(fault_fired());
		fault_disarm();
		assert_int_equal(count(bits, words_of(m)), 0);
		same_as_new(m, s, k, ids, n);
		mask_free(k);
	}
	schema_free(s);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_list_that_was_taken_back_is_followed),
	    cmocka_unit_test(behind_the_value_only_the_end_may_come),
	    cmocka_unit_test(a_vocabulary_that_cannot_spell_is_refused),
	    cmocka_unit_test(sets_are_remembered),
	    cmocka_unit_test(the_engine_draws_under_a_mask),
	    cmocka_unit_test(lack_of_memory_is_an_error_everywhere),
	    cmocka_unit_test(a_list_that_was_cut_short_is_read_again),
	};

	return cmocka_run_group_tests(tests, vocab_setup, vocab_teardown);
}
