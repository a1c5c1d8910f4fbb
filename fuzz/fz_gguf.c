/* fz_gguf.c - any bytes as a model file: parse, touch everything, read its shape, build its
 * tokenizer, and hold that to what it promises. */
#include <stdlib.h>

#include "info.h"
#include "log.h"
#include "tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static volatile uint8_t sink;

static void touch(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		sink ^= (uint8_t)s.p[i];
}

static void touch_all(const struct gguf *g)
{
	struct span s;

	for (uint32_t i = 0; i < g->n_keys; i++) {
		const struct gguf_key *k = &g->keys[i];
		size_t pos = 0;

		touch(k->name);
		touch(k->raw);
		touch(k->arr.raw);
		for (uint64_t e = 0; k->arr.type == GV_STR && e < k->arr.n; e++) {
			must(gguf_arr_next(&k->arr, &pos, &s));
			touch(s);
		}
	}
	for (uint32_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[g->order[i]];

		must(t->number == i && t->data.p >= g->file.p);
		touch(t->name);
		touch(t->data);
	}
}

/* Text without TOK_SPECIAL gives no control token, and byte-level ids give the text back. */
static void check_text(const struct tok *t, struct span text, unsigned flags, bool bytes)
{
	int32_t ids[4096];
	struct span s;
	size_t n = 0, off = 0, keep = tok_stable_prefix(t, text);

	must(keep <= text.n);
	if (tok_encode(t, text, flags, ids, 4096, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		must(tok_bytes(t, ids[i], &s) == 0);
		if (flags & (TOK_SPECIAL | TOK_BOS))
			continue;
		must(tok_class(t, ids[i]) != TC_CONTROL && tok_class(t, ids[i]) != TC_UNUSED);
		must(!bytes || (off + s.n <= text.n && memcmp(text.p + off, s.p, s.n) == 0));
		off += s.n;
	}
	must(!bytes || (flags & (TOK_SPECIAL | TOK_BOS)) || off == text.n);
}

static void check_tok(const struct tok *t, struct span input)
{
	static const char own[] =
	    "it's 12345 hello  world\r\n\n <|eot_id|> \xe1\xbb\x87\xff\xe2\x82 "
	    "aaaaaaaaaa </s>\xe2\x96\x81x";
	struct model_info info = {0};

	tok_info(t, &info);
	must(info.n_vocab == tok_count(t) && info.n_end <= MODEL_MAX_END);
	must(info.bos < (int32_t)info.n_vocab);
	for (unsigned flags = 0; flags < 8; flags++) {
		bool bytes = strcmp(info.tokenizer, "gpt2") == 0;

		check_text(t, span_of(own, sizeof(own) - 1), flags, bytes);
		check_text(t, span_of(input.p, input.n < 512 ? input.n : 512), flags, bytes);
	}
	for (int32_t id = -1; id <= (int32_t)info.n_vocab; id++)
		if (tok_class(t, id) == TC_CONTROL)
			must(tok_bytes(t, id, &input) == 0 && input.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span file = span_of(p, n);
	struct model_info info;
	struct err err = {0};
	struct tok *t = NULL;
	struct gguf g;

	if (gguf_parse(&g, file, &err) < 0) {
		must(err.code < 0 && err.text[0]);
		return 0;
	}
	touch_all(&g);
	if (info_read(&g, NULL, &info, &err) == 0)
		must(info.n_layer && info.n_head % info.n_head_kv == 0);
	if (tok_new(&g, &t, &err) == 0)
		check_tok(t, file);
	else
		must(!t && err.text[0]);
	tok_free(t);
	gguf_free(&g);
	return 0;
}
