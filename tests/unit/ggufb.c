#include "ggufb.h"

#include <jansson.h>
#include <stdlib.h>

#include "io.h"
#include "log.h"
#include "utf8.h"

#define GB_MAX (64u << 20)

void gb_init(struct ggufb *b)
{
	*b = (struct ggufb){BUF_INIT(GB_MAX), BUF_INIT(GB_MAX), BUF_INIT(GB_MAX), 0, 0, 3, 32};
}

void gb_free(struct ggufb *b)
{
	buf_free(&b->keys);
	buf_free(&b->tensors);
	buf_free(&b->data);
}

static void put_str(struct buf *b, struct span s)
{
	buf_u64(b, s.n);
	buf_span_put(b, s);
}

static void head(struct ggufb *b, const char *key, uint32_t type)
{
	put_str(&b->keys, span_cstr(key));
	buf_u32(&b->keys, type);
	b->n_keys++;
}

void gb_span(struct ggufb *b, const char *key, struct span value)
{
	head(b, key, GV_STR);
	put_str(&b->keys, value);
}

void gb_str(struct ggufb *b, const char *key, const char *value)
{
	gb_span(b, key, span_cstr(value));
}

void gb_u32(struct ggufb *b, const char *key, uint32_t v)
{
	head(b, key, GV_U32);
	buf_u32(&b->keys, v);
}

void gb_elem_f32(struct ggufb *b, float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	buf_u32(&b->keys, bits);
}

void gb_f32(struct ggufb *b, const char *key, float v)
{
	head(b, key, GV_F32);
	gb_elem_f32(b, v);
}

void gb_bool(struct ggufb *b, const char *key, uint8_t v)
{
	head(b, key, GV_BOOL);
	buf_u8(&b->keys, v);
}

void gb_arr(struct ggufb *b, const char *key, enum gguf_vtype type, uint64_t n)
{
	head(b, key, GV_ARR);
	buf_u32(&b->keys, type);
	buf_u64(&b->keys, n);
}

void gb_elem_str(struct ggufb *b, struct span s)
{
	put_str(&b->keys, s);
}

void gb_elem_u32(struct ggufb *b, uint32_t v)
{
	buf_u32(&b->keys, v);
}

void gb_tensor_raw(struct ggufb *b, const char *name, uint32_t type, uint32_t n_dims,
		   const uint64_t *dims, uint64_t offset)
{
	put_str(&b->tensors, span_cstr(name));
	buf_u32(&b->tensors, n_dims);
	for (uint32_t d = 0; d < n_dims; d++)
		buf_u64(&b->tensors, dims[d]);
	buf_u32(&b->tensors, type);
	buf_u64(&b->tensors, offset);
	b->n_tensors++;
}

static void pad(struct buf *b, uint32_t align)
{
	while (b->n % align)
		buf_u8(b, 0);
}

void gb_tensor(struct ggufb *b, const char *name, uint32_t type, uint32_t n_dims,
	       const uint64_t *dims, size_t bytes, uint8_t fill)
{
	pad(&b->data, b->align);
	gb_tensor_raw(b, name, type, n_dims, dims, b->data.n);
	memset(buf_grow(&b->data, bytes), fill, bytes);
}

void gb_finish(struct ggufb *b, struct buf *out)
{
	buf_puts(out, "GGUF");
	buf_u32(out, b->version);
	buf_u64(out, b->n_tensors);
	buf_u64(out, b->n_keys);
	buf_span_put(out, buf_span(&b->keys));
	buf_span_put(out, buf_span(&b->tensors));
	pad(out, b->align);
	buf_span_put(out, buf_span(&b->data));
	must(buf_ok(out));
}

bool shared_file(const char *rel, struct buf *out)
{
	const char *dir = getenv("SALLYPORT_SHARED");
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "", rel);
	return io_read_file(path, GB_MAX, out, NULL) == 0;
}

/* ---- byte-level BPE vocabularies ---- */

/* GPT-2's table: visible Latin-1 stands for itself, the rest moves to U+0100 and up. */
void gb_bytes_to_letters(struct span bytes, struct buf *out)
{
	char u[4];

	for (size_t i = 0; i < bytes.n; i++) {
		unsigned c = (uint8_t)bytes.p[i], n = 0;

		for (unsigned k = 0; k < c; k++)
			n += k < 33 || (k > 126 && k < 161) || k == 173;
		if (c < 33 || (c > 126 && c < 161) || c == 173)
			c = 256 + n;
		buf_put(out, u, (size_t)utf8_put(c, u));
	}
}

static void elem_letters(struct ggufb *b, struct span bytes)
{
	struct buf t = BUF_INIT(4096);

	gb_bytes_to_letters(bytes, &t);
	gb_elem_str(b, buf_span(&t));
	buf_free(&t);
}

void gb_small_bpe(struct ggufb *b)
{
	static const char *const words[] = {"he", "ll", "llo", "hello", " w", "or", "\n\n", "aa"};
	static const char *const merges[] = {
	    "h e", "l l", "ll o", "he llo", "\xc4\xa0 w", "o r", "\xc4\x8a \xc4\x8a", "a a"};
	static const char *const ctl[] = {"<|begin_of_text|>",	 "<|end_of_text|>",
					  "<|start_header_id|>", "<|end_header_id|>",
					  "<|eom_id|>",		 "<|eot_id|>"};

	gb_str(b, "tokenizer.ggml.model", "gpt2");
	gb_str(b, "tokenizer.ggml.pre", "llama-bpe");
	gb_arr(b, "tokenizer.ggml.tokens", GV_STR, 256 + 8 + 6);
	for (int i = 0; i < 256; i++)
		elem_letters(b, span_of(&(char){(char)i}, 1));
	for (int i = 0; i < 8; i++)
		elem_letters(b, span_cstr(words[i]));
	for (int i = 0; i < 6; i++)
		gb_elem_str(b, span_cstr(ctl[i]));
	gb_arr(b, "tokenizer.ggml.token_type", GV_I32, 256 + 8 + 6);
	for (int i = 0; i < 256 + 8 + 6; i++)
		gb_elem_u32(b, i < 264 ? 1 : 3);
	gb_arr(b, "tokenizer.ggml.merges", GV_STR, 8);
	for (int i = 0; i < 8; i++)
		gb_elem_str(b, span_cstr(merges[i]));
	gb_u32(b, "tokenizer.ggml.bos_token_id", 264);
	gb_u32(b, "tokenizer.ggml.eos_token_id", 269);
}

/* ---- Llama 3 from tokenizer.model ---- */

struct rank {
	struct span s;
	uint32_t id;
};

static int rank_cmp(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;
	size_t n = x->s.n < y->s.n ? x->s.n : y->s.n;
	int c = memcmp(x->s.p, y->s.p, n);

	return c ? c : (x->s.n > y->s.n) - (x->s.n < y->s.n);
}

static bool has(const struct rank *sorted, size_t n, struct span s)
{
	return bsearch(&(struct rank){s, 0}, sorted, n, sizeof(*sorted), rank_cmp) != NULL;
}

static size_t unbase64(const char *p, size_t n, char *out)
{
	static const char abc[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t acc = 0;
	size_t bits = 0, m = 0;

	for (size_t i = 0; i < n && p[i] != '='; i++) {
		acc = acc << 6 | (uint32_t)(strchr(abc, p[i]) - abc);
		if ((bits += 6) >= 8)
			out[m++] = (char)(acc >> (bits -= 8));
	}
	return m;
}

/* Every way to put a token together from two tokens, in the order of the ranks. */
static uint32_t put_merges(const struct rank *by_id, const struct rank *sorted, size_t n,
			   struct ggufb *b, struct buf *text)
{
	uint32_t count = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t cut = 1; cut < by_id[i].s.n; cut++) {
			struct span l = span_of(by_id[i].s.p, cut), r = span_from(by_id[i].s, cut);

			if (!has(sorted, n, l) || !has(sorted, n, r))
				continue;
			buf_reset(text);
			gb_bytes_to_letters(l, text);
			buf_putc(text, ' ');
			gb_bytes_to_letters(r, text);
			if (b)
				gb_elem_str(b, buf_span(text));
			count++;
		}
	}
	return count;
}

static size_t read_ranks(struct span file, struct rank *ranks, size_t max, char *mem)
{
	size_t n = 0;

	for (const char *p = file.p, *end = file.p + file.n; p < end && n < max;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *sp = memchr(p, ' ', (size_t)(end - p));
		size_t m;

		if (!nl || !sp || sp > nl)
			break;
		m = unbase64(p, (size_t)(sp - p), mem);
		ranks[n] = (struct rank){span_of(mem, m), (uint32_t)n};
		mem += m;
		n++;
		p = nl + 1;
	}
	return n;
}

bool gb_llama3(struct buf *out)
{
	struct buf model = BUF_INIT(GB_MAX), special = BUF_INIT(GB_MAX), text = BUF_INIT(4096);
	struct rank *ranks = calloc(128000, sizeof(*ranks));
	struct rank *sorted = calloc(128000, sizeof(*ranks));
	struct ggufb b;
	json_t *js = NULL;
	char *mem = NULL, num[16];
	bool ok = false;

	gb_init(&b);
	if (!shared_file("data/tokenizer/llama3/tokenizer.model", &model) ||
	    !shared_file("data/tokenizer/llama3/special_tokens.json", &special))
		goto out;
	mem = malloc(model.n);
	must(mem && read_ranks(buf_span(&model), ranks, 128000, mem) == 128000);
	memcpy(sorted, ranks, 128000 * sizeof(*ranks));
	qsort(sorted, 128000, sizeof(*sorted), rank_cmp);
	js = json_loadb(special.p, special.n, JSON_REJECT_DUPLICATES, NULL);
	must(json_object_size(js) == 256);
	gb_str(&b, "general.architecture", "llama");
	gb_str(&b, "tokenizer.ggml.model", "gpt2");
	gb_str(&b, "tokenizer.ggml.pre", "llama-bpe");
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, 128256);
	for (size_t i = 0; i < 128000; i++)
		elem_letters(&b, ranks[i].s);
	for (int i = 128000; i < 128256; i++) {
		snprintf(num, sizeof(num), "%d", i);
		gb_elem_str(&b, span_cstr(json_string_value(json_object_get(js, num))));
	}
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, 128256);
	for (int i = 0; i < 128256; i++)
		gb_elem_u32(&b, i < 128000 ? 1 : 3);
	gb_arr(&b, "tokenizer.ggml.merges", GV_STR, put_merges(ranks, sorted, 128000, NULL, &text));
	put_merges(ranks, sorted, 128000, &b, &text);
	gb_u32(&b, "tokenizer.ggml.bos_token_id", 128000);
	gb_u32(&b, "tokenizer.ggml.eos_token_id", 128009);
	gb_finish(&b, out);
	ok = true;
out:
	json_decref(js);
	free(mem);
	free(sorted);
	free(ranks);
	gb_free(&b);
	buf_free(&text);
	buf_free(&special);
	buf_free(&model);
	return ok;
}
