/* fz_gguf.c - any bytes as a model file: parse, touch everything, read its shape, build its
 * tokenizer, expand and pack its weights, quantise it, and hold that to what it promises. Bytes
 * that begin with "PART", a count and u32 lengths are the files of a split model. */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "info.h"
#include "kernels.h"
#include "log.h"
#include "num.h"
#include "parts.h"
#include "quant.h"
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

		must(t->number == i && t->part < PARTS_MAX);
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

/* ---- weights ---- */

#define MOST 1024 /* weights looked at at once */

static bool same(float a, float b)
{
	return memcmp(&a, &b, sizeof(a)) == 0 || (isnan(a) && isnan(b));
}

/* The bytes as blocks of one type: every table reads them, and alike. */
static void check_expand(enum gtype type, struct span s)
{
	const struct gtype_info *t = gtype_info(type);
	const struct kernels *best = kern_pick(NULL);
	static float want[MOST], got[MOST];
	size_t blocks = s.n / t->block_bytes, most = MOST / t->block_elems, n;

	n = (blocks < most ? blocks : most) * t->block_elems;
	kern_portable.expand[type](s.p, want, n);
	best->expand[type](s.p, got, n);
	for (size_t i = 0; i < n; i++)
		must(same(want[i], got[i]));
}

/* The bytes as rows of a matrix that is packed: rows come out of the panel as they went in. */
static void check_pack(enum gtype type, struct span s)
{
	static uint8_t panel[2 * 3360 + 2 * 8192];
	static float want[MOST], got[MOST];
	uint32_t cols = type == GT_F16 || type == GT_BF16 ? 64 : 256;
	enum pack_kind kind = pack_kind_of(type, cols);
	uint64_t row = 0;
	unsigned n;

	if (kind == PACK_NONE)
		return;
	must(gtype_row_bytes(type, cols, &row) && pack_panel_bytes(kind, cols) <= sizeof(panel));
	n = s.n / row < PACK_ROWS ? (unsigned)(s.n / row) : PACK_ROWS;
	if (n == 0)
		return;
	pack_panel(kind, (const uint8_t *)s.p, row, n, cols, panel);
	for (unsigned r = 0; r < n; r++) {
		kern_portable.expand[type](s.p + r * row, want, cols);
		pack_row(kind, panel, r, cols, got);
		for (uint32_t i = 0; i < cols; i++)
			must(same(want[i], got[i]));
	}
}

static void check_weights(const struct gguf *g)
{
	for (uint32_t i = 0; i < g->n_tensors && i < 8; i++) {
		const struct gguf_tensor *t = &g->tensors[i];

		if (t->data.n == 0)
			continue;
		for (uint32_t type = 0; type < GT_COUNT; type++) {
			if (!kern_portable.expand[type])
				continue;
			check_expand(type, t->data);
			check_pack(type, t->data);
		}
	}
}

static int memory_file(struct span s)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && (s.n == 0 || write(fd, s.p, s.n) == (ssize_t)s.n));
	return fd;
}

/* What could be written must be a good file again, with the same tensors. */
static void check_quantize(const struct span *files, unsigned n, const struct gguf *g)
{
	static const char *const types[] = {"Q8_0", "Q4_0", "Q4_K", "Q4_K_M", "Q6_K"};
	struct quant_opts o = {.type = types[g->bytes % 5], .threads = 1};
	struct quant_sum sum;
	struct err err = {0};
	struct parts parts;
	struct gguf back;
	int fds[PARTS_MAX], out = memory_file(span_of(NULL, 0));

	o.requantize = g->bytes % 2;
	for (unsigned i = 0; i < n; i++)
		fds[i] = memory_file(files[i]);
	if (model_quantize(fds, n, out, &o, &sum, &err) == 0) {
		must(parts_open(&parts, &out, 1, &back, &err) == 0);
		must(back.n_tensors == g->n_tensors && back.bytes == sum.bytes_out);
		gguf_free(&back);
		parts_close(&parts);
	} else {
		must(err.code < 0 && err.text[0]);
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	close(out);
}

/* ---- a model: of one file or of parts ---- */

/* A worthless tensor can say it has 2^40 elements only with as many bytes, but blocks multiply. */
static bool small(const struct gguf *g)
{
	uint64_t elems = 0;

	for (uint32_t i = 0; i < g->n_tensors; i++)
		if (add_u64(elems, g->tensors[i].elems, &elems) || elems > 1u << 16)
			return false;
	return g->n_tensors > 0 && g->n_tensors < 64;
}

static void check_model(struct gguf *g, const struct span *files, unsigned n)
{
	struct model_info info;
	struct err err = {0};
	struct tok *t = NULL;

	touch_all(g);
	if (info_read(g, NULL, &info, &err) == 0)
		must(info.n_layer && info.n_head % info.n_head_kv == 0);
	if (tok_new(g, &t, &err) == 0)
		check_tok(t, files[0]);
	else
		must(!t && err.text[0]);
	tok_free(t);
	check_weights(g);
	if (small(g))
		check_quantize(files, n, g);
}

/* The files of "PART" n length[n] bytes. 0: it is not that. */
static unsigned cut_parts(struct span in, struct span *files)
{
	size_t at = 5;
	unsigned n;

	if (in.n < 5 || memcmp(in.p, "PART", 4) != 0)
		return 0;
	n = (uint8_t)in.p[4] % 6;
	at += 4 * (size_t)n;
	for (unsigned i = 0; i < n; i++) {
		uint32_t bytes;

		if (at > in.n)
			return 0;
		bytes = get_le32((const uint8_t *)in.p + 5 + 4 * i);
		if (bytes > in.n - at)
			bytes = (uint32_t)(in.n - at);
		files[i] = span_of(in.p + at, bytes);
		at += bytes;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span files[8] = {span_of(p, n)};
	struct gguf part[8], g;
	struct err err = {0};
	unsigned count = cut_parts(files[0], files), i;

	if (count == 0)
		files[0] = span_of(p, n);
	count += count == 0;
	for (i = 0; i < count; i++)
		if (gguf_parse(&part[i], files[i], &err) < 0)
			break;
	if (i == count && parts_join(part, count, &g, &err) == 0) {
		check_model(&g, files, count);
		gguf_free(&g);
		return 0;
	}
	must(err.code < 0 && err.text[0]);
	while (i < count && i)
		gguf_free(&part[--i]);
	return 0;
}
