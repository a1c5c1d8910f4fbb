/* mask_help.c - see mask_help.h. */
#include "mask_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_help.h"
#include "ggufb.h"
#include "tok_priv.h"

struct model *vocab[V_COUNT];

/* Tokens that cross the borders of strings, lists, escapes and characters. */
static const char *const crossing[] = {
    "{\"",	"\":",	    "\": ",	"\", \"",   "\"}",	"\"]",	 "}]",	"}}",	 "]}",
    "[{\"",	"true",	    "false",	"null",	    "null}",	"nu",	 "12",	"0.5",	 "-1",
    "1,",	", ",	    "\\\"",	"\\u",	    "\\u00",	"u00e9", "a\"", "ab\"}", "a\":1}",
    "\", \"b",	"\"a",	    "[]",	"[\"",	    "abc",	"a b",	 "  ",	" \"",	 " {",
    "\xc3\xa9", "\xe2\x82", "\x82\xac", "\xa9\"",   "\n",	"e5",	 "e",	"2024-", "-01-1",
    "kind",	"\"kind\"", "longer",	"\xf0\x9f", "\x98\x80z"};
#define N_CROSSING (sizeof(crossing) / sizeof(crossing[0]))

static struct model *model_of(struct buf *file)
{
	struct model *m = calloc(1, sizeof(*m));
	struct err err = {0};
	struct gguf g;

	assert_int_equal(gguf_parse(&g, buf_span(file), NULL), 0);
	if (tok_new(&g, &m->tok, &err) < 0)
		fail_msg("%s", err.text);
	tok_info(m->tok, &m->info);
	gguf_free(&g);
	buf_free(file);
	return m;
}

void vocab_drop(struct model *m)
{
	if (!m)
		return;
	mask_trie_free(m->trie);
	tok_free(m->tok);
	free(m);
}

static void put_letters(struct ggufb *b, struct span s)
{
	struct buf t = BUF_INIT(256);

	gb_bytes_to_letters(s, &t);
	gb_elem_str(b, buf_span(&t));
	buf_free(&t);
}

struct model *vocab_small(void)
{
	const unsigned bytes = 256;
	struct buf f = BUF_INIT(1 << 20);
	struct ggufb b;

	gb_init(&b);
	gb_str(&b, "tokenizer.ggml.model", "gpt2");
	gb_str(&b, "tokenizer.ggml.pre", "llama-bpe");
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, bytes + N_CROSSING + 2);
	for (unsigned i = 0; i < bytes; i++)
		put_letters(&b, span_of(&(char){(char)i}, 1));
	for (size_t i = 0; i < N_CROSSING; i++)
		put_letters(&b, span_cstr(crossing[i]));
	gb_elem_str(&b, SPAN_LIT("<|end_of_text|>"));
	gb_elem_str(&b, SPAN_LIT("<|eot_id|>"));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, bytes + N_CROSSING + 2);
	for (unsigned i = 0; i < bytes + N_CROSSING + 2; i++)
		gb_elem_u32(&b, i < bytes + N_CROSSING ? 1 : 3);
	gb_arr(&b, "tokenizer.ggml.merges", GV_STR, 0);
	gb_finish(&b, &f);
	gb_free(&b);
	return model_of(&f);
}

static struct model *small_spm(void)
{
	struct buf f = BUF_INIT(1 << 20);
	uint32_t n = 3 + 256 + 95 + N_CROSSING;
	char name[8];
	struct ggufb b;

	gb_init(&b);
	gb_str(&b, "tokenizer.ggml.model", "llama");
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, n);
	gb_elem_str(&b, SPAN_LIT("<unk>"));
	gb_elem_str(&b, SPAN_LIT("<s>"));
	gb_elem_str(&b, SPAN_LIT("</s>"));
	for (int i = 0; i < 256; i++) {
		snprintf(name, sizeof(name), "<0x%02X>", i);
		gb_elem_str(&b, span_cstr(name));
	}
	for (int i = 0; i < 95; i++)
		gb_elem_str(&b,
			    i ? span_of(&(char){(char)(0x20 + i)}, 1) : SPAN_LIT("\xe2\x96\x81"));
	for (size_t i = 0; i < N_CROSSING; i++)
		gb_elem_str(&b, span_cstr(crossing[i]));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, n);
	for (uint32_t i = 0; i < n; i++)
		gb_elem_u32(&b, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
	gb_arr(&b, "tokenizer.ggml.scores", GV_F32, n);
	for (uint32_t i = 0; i < n; i++)
		gb_elem_f32(&b, -(float)i);
	gb_finish(&b, &f);
	gb_free(&b);
	return model_of(&f);
}

int vocab_setup(void **state)
{
	struct buf f = BUF_INIT(64 << 20);

	vocab[V_BPE] = vocab_small();
	vocab[V_SPM] = small_spm();
	if (gb_llama3(&f))
		vocab[V_LLAMA3] = model_of(&f);
	if (shared_file("data/tokenizer/llama2/ggml-vocab-llama-spm.gguf", &f))
		vocab[V_LLAMA2] = model_of(&f);
	return 0;
}

int vocab_teardown(void **state)
{
	for (int i = 0; i < V_COUNT; i++)
		vocab_drop(vocab[i]);
	return 0;
}

uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}
