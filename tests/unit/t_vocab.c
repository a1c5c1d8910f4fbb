/* t_vocab.c - hostile vocabularies, and merging against the plain slow way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ggufb.h"
#include "tok_priv.h"

/* Takes and frees the file. */
static struct tok *tok_from(struct buf *file, int *rc, struct err *err)
{
	struct tok *t = NULL;
	struct gguf g;

	assert_int_equal(gguf_parse(&g, buf_span(file), NULL), 0);
	*rc = tok_new(&g, &t, err);
	gguf_free(&g);
	buf_free(file);
	return t;
}

/* ---- hostile vocabularies ---- */

static void assert_vocab_refused(struct ggufb *b, int code, const char *says)
{
	struct buf f = BUF_INIT(4 << 20);
	struct err err = {0};
	struct tok *t;
	int rc;

	gb_finish(b, &f);
	gb_free(b);
	t = tok_from(&f, &rc, &err);
	assert_null(t);
	if (rc != code || !strstr(err.text, says))
		fail_msg("wanted %d with '%s', got %d '%s'", code, says, rc, err.text);
}

static void bare(struct ggufb *b, const char *model, const char *pre)
{
	gb_init(b);
	gb_str(b, "tokenizer.ggml.model", model);
	if (pre)
		gb_str(b, "tokenizer.ggml.pre", pre);
}

static void unknown_tokenizers_are_refused_by_name(void **state)
{
	struct ggufb b;

	gb_init(&b);
	assert_vocab_refused(&b, E_FORMAT, "tokenizer.ggml.model");
	bare(&b, "bert", NULL);
	assert_vocab_refused(&b, E_UNSUPPORTED, "llama and gpt2");
	bare(&b, "gpt2", NULL);
	assert_vocab_refused(&b, E_UNSUPPORTED, "tokenizer.ggml.pre is missing");
	bare(&b, "gpt2", "qwen2");
	assert_vocab_refused(&b, E_UNSUPPORTED, "tokenizer.ggml.pre");
	bare(&b, "llama", "llama-bpe");
	assert_vocab_refused(&b, E_UNSUPPORTED, "tokenizer.ggml.pre");
	bare(&b, "llama", "default");
	assert_vocab_refused(&b, E_FORMAT, "tokens is missing");
}

static void names_that_lie_are_refused(void **state)
{
	struct ggufb b;

	gb_init(&b);
	gb_small_bpe(&b);
	gb_u32(&b, "tokenizer.ggml.eot_token_id", 270);
	assert_vocab_refused(&b, E_RANGE, "eot_token_id");
	gb_init(&b);
	gb_small_bpe(&b);
	gb_u32(&b, "tokenizer.ggml.eom_token_id", 256); /* "he", which a merge makes */
	assert_vocab_refused(&b, E_FORMAT, "no normal token");
	gb_init(&b);
	gb_small_bpe(&b);
	gb_u32(&b, "tokenizer.ggml.eom_token_id", 'x');
	assert_vocab_refused(&b, E_FORMAT, "no token for byte 0x78");
	bare(&b, "gpt2", "llama-bpe");
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, 1);
	gb_elem_str(&b, SPAN_LIT("a"));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, 1);
	gb_elem_u32(&b, 7);
	assert_vocab_refused(&b, E_FORMAT, "unknown type");
	bare(&b, "llama", NULL);
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, 1);
	gb_elem_str(&b, SPAN_LIT("<0xZZ>"));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, 1);
	gb_elem_u32(&b, 6);
	assert_vocab_refused(&b, E_FORMAT, "names no byte");
}

static void scores_must_be_numbers_and_bytes_complete(void **state)
{
	struct ggufb b;

	for (int k = 0; k < 3; k++) {
		bare(&b, "llama", NULL);
		gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, 2);
		gb_elem_str(&b, SPAN_LIT("a"));
		gb_elem_str(&b, SPAN_LIT("<0x41>"));
		gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, 2);
		gb_elem_u32(&b, 1);
		gb_elem_u32(&b, 6);
		gb_arr(&b, "tokenizer.ggml.scores", GV_F32, k ? 2 : 1);
		gb_elem_f32(&b, k == 1 ? __builtin_nanf("") : 0);
		if (k)
			gb_elem_f32(&b, 0);
		assert_vocab_refused(&b, E_FORMAT,
				     k == 0   ? "one per token"
				     : k == 1 ? "finite"
					      : "1 of 256");
	}
}

/* ---- merging ---- */

/* A vocabulary of both kinds over few letters, where merges overlap a lot. */
static struct tok *tangled(bool spm)
{
	static const char *const words[] = {"ab",   "ba",   "aa", "aba",  "bab",  "aab", "baa",
					    "abab", "aaaa", "bb", "abba", "aabb", "bbb", "babb"};
	const unsigned n = sizeof(words) / sizeof(words[0]);
	struct buf f = BUF_INIT(1 << 20);
	struct err err = {0};
	struct ggufb b;
	struct tok *t;
	char name[32];
	int rc;

	bare(&b, spm ? "llama" : "gpt2", spm ? "default" : "llama3");
	gb_bool(&b, "tokenizer.ggml.add_space_prefix", 0);
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, 256 + 2 + n);
	for (int i = 0; i < 256; i++) {
		struct buf letters = BUF_FIXED(name, sizeof(name));

		if (spm)
			buf_fmt(&letters, "<0x%02X>", i);
		else
			gb_bytes_to_letters(span_of(&(char){(char)i}, 1), &letters);
		gb_elem_str(&b, buf_span(&letters));
	}
	gb_elem_str(&b, spm ? SPAN_LIT("a") : SPAN_LIT("unused0"));
	gb_elem_str(&b, spm ? SPAN_LIT("b") : SPAN_LIT("unused1"));
	for (unsigned i = 0; i < n; i++)
		gb_elem_str(&b, span_cstr(words[i]));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, 256 + 2 + n);
	for (unsigned i = 0; i < 256 + 2 + n; i++)
		gb_elem_u32(&b, i < 256 && spm ? 6 : 1);
	gb_arr(&b, "tokenizer.ggml.scores", GV_F32, 256 + 2 + n);
	for (unsigned i = 0; i < 256 + 2 + n; i++)
		gb_elem_f32(&b, -(float)(i / 3)); /* some are equal */
	gb_arr(&b, "tokenizer.ggml.merges", GV_STR, 14);
	for (int i = 0; i < 14; i++) {
		static const char *const merges[] = {"a b",   "b a",   "a a",	"ab a",	 "b ab",
						     "a ab",  "b aa",  "ab ab", "aa aa", "b b",
						     "ab ba", "aa bb", "bb b",	"ba bb"};

		gb_elem_str(&b, span_cstr(merges[i]));
	}
	gb_finish(&b, &f);
	gb_free(&b);
	t = tok_from(&f, &rc, &err);
	if (rc < 0)
		fail_msg("%s", err.text);
	return t;
}

/* Rank of joining two runs of the text; the definition, not the code under test. */
static uint32_t slow_rank(const struct tok *t, struct span text, const size_t *cut, size_t i)
{
	struct span l = span_of(text.p + cut[i], cut[i + 1] - cut[i]);
	struct span r = span_of(text.p + cut[i + 1], cut[i + 2] - cut[i + 1]);
	int32_t both = tok_find(t, span_of(l.p, l.n + r.n));
	const struct tok_pair *p;

	if (both < 0)
		return RANK_NONE;
	if (t->spm)
		return t->rank[both];
	p = pairs_find(t, tok_find(t, l), tok_find(t, r));
	return p ? p->rank : RANK_NONE;
}

static size_t slow_encode(const struct tok *t, struct span text, int32_t *out)
{
	size_t cut[128], n = text.n;

	for (size_t i = 0; i <= n; i++)
		cut[i] = i;
	if (!t->spm && tok_find(t, text) >= 0)
		cut[n = 1] = text.n;
	for (;;) {
		uint32_t best = RANK_NONE;
		size_t at = 0;

		for (size_t i = 0; i + 1 < n; i++) {
			uint32_t r = slow_rank(t, text, cut, i);

			if (r < best) {
				best = r;
				at = i;
			}
		}
		if (best == RANK_NONE)
			break;
		memmove(&cut[at + 1], &cut[at + 2], (n - at - 1) * sizeof(cut[0]));
		n--;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = tok_find(t, span_of(text.p + cut[i], cut[i + 1] - cut[i]));
	return n;
}

static void the_heap_merges_as_the_slow_way_does(void **state)
{
	uint64_t x = 1;

	for (int spm = 0; spm < 2; spm++) {
		struct tok *t = tangled(spm);

		for (int i = 0; i < 20000; i++) {
			int32_t fast[128], slow[128];
			char text[64];
			size_t len, n;

			x = x * 6364136223846793005u + 1442695040888963407u;
			len = 1 + (x >> 58) % 40;
			for (size_t k = 0; k < len; k++)
				text[k] = (x >> (8 + k)) & 1 ? 'a' : 'b';
			assert_int_equal(tok_encode(t, span_of(text, len), 0, fast, 128, &n), 0);
			assert_int_equal(slow_encode(t, span_of(text, len), slow), n);
			assert_memory_equal(fast, slow, n * sizeof(fast[0]));
		}
		tok_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unknown_tokenizers_are_refused_by_name),
	    cmocka_unit_test(names_that_lie_are_refused),
	    cmocka_unit_test(scores_must_be_numbers_and_bytes_complete),
	    cmocka_unit_test(the_heap_merges_as_the_slow_way_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
