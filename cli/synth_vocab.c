/* synth_vocab.c - a made-up vocabulary of byte-level BPE: the 256 bytes, then pieces of letters and
 * punctuation, each made by one merge of two earlier ones, then Llama 3's special tokens. */
#include <stdio.h>
#include <string.h>

#include "synth.h"

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_STR = 8, GGUF_ARR = 9, TYPE_NORMAL = 1, TYPE_CONTROL = 3 };

void synth_str(struct buf *b, const char *s)
{
	buf_u64(b, strlen(s));
	buf_puts(b, s);
}

void synth_key_str(struct buf *b, const char *key, const char *value)
{
	synth_str(b, key);
	buf_u32(b, GGUF_STR);
	synth_str(b, value);
}

void synth_key_u32(struct buf *b, const char *key, uint32_t value)
{
	synth_str(b, key);
	buf_u32(b, GGUF_U32);
	buf_u32(b, value);
}

static void key_array(struct buf *b, const char *key, uint32_t type, uint64_t n)
{
	synth_str(b, key);
	buf_u32(b, GGUF_ARR);
	buf_u32(b, type);
	buf_u64(b, n);
}

/* The visible letter that stands for a byte in the file (GPT-2's table), in UTF-8. */
static void byte_letter(unsigned byte, char out[4])
{
	unsigned cp = byte, moved = 0;

	if (byte <= 32)
		moved = 256 + byte;
	else if (byte >= 127 && byte <= 160)
		moved = 256 + 33 + byte - 127;
	else if (byte == 173)
		moved = 256 + 67;
	if (moved)
		cp = moved;
	memset(out, 0, 4);
	if (cp < 128) {
		out[0] = (char)cp;
		return;
	}
	out[0] = (char)(0xc0 | cp >> 6);
	out[1] = (char)(0x80 | (cp & 63));
}

struct pieces {
	struct buf *tokens, *merges;
	uint32_t left, n; /* pieces still wanted; merges made */
};

static void piece(struct pieces *v, const char *left, const char *right)
{
	char both[64];

	if (v->left == 0)
		return;
	v->left--;
	v->n++;
	snprintf(both, sizeof(both), "%s%s", left, right);
	synth_str(v->tokens, both);
	snprintf(both, sizeof(both), "%s %s", left, right);
	synth_str(v->merges, both);
}

/* n letters of a number in base 26. */
static const char *letters(char out[8], unsigned v, unsigned n)
{
	out[n] = 0;
	while (n--) {
		out[n] = (char)('a' + v % 26);
		v /= 26;
	}
	return out;
}

static void all_pieces(struct pieces *v)
{
	static const char punct[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", space[] = "\xc4\xa0";
	enum { N2 = 26 * 26, N3 = N2 * 26, N4 = N3 * 26 };
	char a[8], b[8];

	for (unsigned i = 0; i < N2; i++)
		piece(v, letters(a, i / 26, 1), letters(b, i % 26, 1));
	piece(v, "sa", "fe"); /* what a guard's verdict is made of */
	piece(v, "un", "safe");
	for (const char *l = punct; *l; l++)
		for (const char *r = punct; *r; r++)
			piece(v, (char[2]){*l}, (char[2]){*r});
	for (unsigned i = 0; i < 26; i++)
		piece(v, space, letters(a, i, 1));
	for (unsigned i = 0; i < N2; i++)
		piece(v, space, letters(a, i, 2));
	for (unsigned i = 0; i < N3; i++)
		piece(v, letters(a, i / 26, 2), letters(b, i % 26, 1));
	for (unsigned i = 0; i < N3; i++)
		piece(v, space, letters(a, i, 3));
	for (unsigned i = 0; i < N4 && v->left; i++)
		piece(v, letters(a, i / N2, 2), letters(b, i % N2, 2));
}

static void specials(struct buf *b, uint32_t n)
{
	static const char *const named[] = {"begin_of_text",
					    "end_of_text",
					    NULL,
					    NULL,
					    "finetune_right_pad_id",
					    NULL,
					    "start_header_id",
					    "end_header_id",
					    "eom_id",
					    "eot_id",
					    "python_tag"};
	unsigned reserved = 0;
	char s[64];

	for (uint32_t i = 0; i < n; i++) {
		if (i < sizeof(named) / sizeof(named[0]) && named[i])
			snprintf(s, sizeof(s), "<|%s|>", named[i]);
		else
			snprintf(s, sizeof(s), "<|reserved_special_token_%u|>", reserved++);
		synth_str(b, s);
	}
}

int synth_vocab(struct buf *b, uint32_t n_vocab, struct err *err)
{
	uint32_t n_special = n_vocab >= 128256 ? 256 : 16, n_plain = n_vocab - n_special;
	struct buf tokens = BUF_INIT(64u << 20), merges = BUF_INIT(64u << 20);
	struct pieces v = {&tokens, &merges, n_plain - 256, 0};
	char letter[4];
	int rc = 0;

	if (n_vocab < 300 || n_vocab > 200000)
		return err_set(err, E_RANGE, "a vocabulary of %u", n_vocab);
	for (unsigned i = 0; i < 256; i++) {
		byte_letter(i, letter);
		synth_str(&tokens, letter);
	}
	all_pieces(&v);
	specials(&tokens, n_special);
	synth_key_str(b, "tokenizer.ggml.model", "gpt2");
	synth_key_str(b, "tokenizer.ggml.pre", "llama-bpe");
	key_array(b, "tokenizer.ggml.tokens", GGUF_STR, n_vocab);
	buf_span_put(b, buf_span(&tokens));
	key_array(b, "tokenizer.ggml.token_type", GGUF_I32, n_vocab);
	for (uint32_t i = 0; i < n_vocab; i++)
		buf_u32(b, i < n_plain ? TYPE_NORMAL : TYPE_CONTROL);
	key_array(b, "tokenizer.ggml.merges", GGUF_STR, v.n);
	buf_span_put(b, buf_span(&merges));
	synth_key_u32(b, "tokenizer.ggml.bos_token_id", n_plain);
	synth_key_u32(b, "tokenizer.ggml.eos_token_id", n_plain + 9);
	if (!buf_ok(&tokens) || !buf_ok(&merges) || !buf_ok(b))
		rc = err_set(err, E_NOMEM, "no memory for the vocabulary");
	buf_free(&tokens);
	buf_free(&merges);
	return rc;
}
