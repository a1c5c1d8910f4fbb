/* synth.c - see synth.h. Header and tensors in the order llama.cpp's converter writes them. */
#include "synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "num.h"

#define ALIGN 32
#define CHUNK (1u << 20)
#define MAX_TENSORS (4 + 9 * 126)

const char *const synth_names[] = {"nano", "1b", "3b", "8b", "70b", "405b", NULL};
const char *const synth_types[] = {"Q4_0",   "Q4_1",   "Q5_0",	 "Q5_1", "Q8_0",   "Q2_K",
				   "Q3_K",   "Q4_K",   "Q4_K_M", "Q5_K", "Q5_K_M", "Q6_K",
				   "IQ4_NL", "IQ4_XS", "BF16",	 "F16",	 "F32",	   NULL};
static const struct synth_shape shapes[] = {
    {"nano", 2, 256, 512, 4, 2, 64, 512, 4096, true, 32},
    {"1b", 16, 2048, 8192, 32, 8, 64, 128256, 131072, true, 32},
    {"3b", 28, 3072, 8192, 24, 8, 128, 128256, 131072, true, 32},
    {"8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false, 8},
    {"70b", 80, 8192, 28672, 64, 8, 128, 128256, 131072, false, 8},
    {"405b", 126, 16384, 53248, 128, 8, 128, 128256, 131072, false, 8},
};

const struct synth_shape *synth_shape(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0)
			return &shapes[i];
	return NULL;
}

struct tensor {
	char name[64];
	const struct synth_type *type;
	uint64_t cols, rows, offset, bytes;
	float sd; /* 0: ones (norms), -1: rope_freqs */
};

struct synth {
	const struct synth_shape *s;
	const struct synth_opts *o;
	struct tensor t[MAX_TENSORS];
	unsigned n;
	uint64_t bytes; /* of all tensors with padding */
};

static void add(struct synth *y, const char *name, const char *type, uint64_t cols, uint64_t rows,
		float sd)
{
	struct tensor *t = &y->t[y->n++];

	snprintf(t->name, sizeof(t->name), "%s", name);
	t->type = synth_type(type);
	t->cols = cols;
	t->rows = rows;
	t->sd = sd;
	t->offset = y->bytes;
	t->bytes = cols / t->type->elems * rows * t->type->bytes;
	y->bytes += (t->bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* The layers whose attn_v and ffn_down get more bits in the _M mixes. */
static bool more_bits(uint32_t i, uint32_t n)
{
	return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static const char *type_of(const struct synth *y, const char *what, uint32_t layer)
{
	const char *type = y->o->type;
	bool k4 = strcmp(type, "Q4_K_M") == 0, k5 = strcmp(type, "Q5_K_M") == 0;

	if (strcmp(what, "output") == 0) /* also the embedding, where it is tied */
		return k4 || k5 || strcmp(type, "Q4_0") == 0 ? "Q6_K" : type;
	if (!k4 && !k5)
		return type;
	if (strcmp(what, "v") == 0 && more_bits(layer, y->s->n_layer))
		return "Q6_K";
	if (strcmp(what, "v") == 0 && y->s->n_layer == 80) /* 70B's is small and shared by 8 */
		return "Q5_K";
	if (strcmp(what, "down") == 0 && more_bits(layer, y->s->n_layer))
		return "Q6_K";
	return k4 ? "Q4_K" : "Q5_K";
}

static void add_layer(struct synth *y, uint32_t i)
{
	const struct synth_shape *s = y->s;
	uint64_t q = (uint64_t)s->n_head * s->head_dim, kv = (uint64_t)s->n_head_kv * s->head_dim;
	const struct {
		const char *name, *what;
		uint64_t cols, rows;
	} m[] = {{"attn_q", "q", s->n_embd, q},
		 {"attn_k", "k", s->n_embd, kv},
		 {"attn_v", "v", s->n_embd, kv},
		 {"attn_output", "o", q, s->n_embd},
		 {"ffn_gate", "gate", s->n_embd, s->n_ff},
		 {"ffn_up", "up", s->n_embd, s->n_ff},
		 {"ffn_down", "down", s->n_ff, s->n_embd}};
	char name[64];

	snprintf(name, sizeof(name), "blk.%u.attn_norm.weight", i);
	add(y, name, "F32", s->n_embd, 1, 0);
	for (size_t k = 0; k < sizeof(m) / sizeof(m[0]); k++) {
		snprintf(name, sizeof(name), "blk.%u.%s.weight", i, m[k].name);
		add(y, name, type_of(y, m[k].what, i), m[k].cols, m[k].rows,
		    1 / sqrtf((float)m[k].cols));
	}
	snprintf(name, sizeof(name), "blk.%u.ffn_norm.weight", i);
	add(y, name, "F32", s->n_embd, 1, 0);
}

static void add_all(struct synth *y)
{
	const struct synth_shape *s = y->s;
	float sd = 1 / sqrtf((float)s->n_embd);

	add(y, "token_embd.weight", type_of(y, s->tied ? "output" : "embd", 0), s->n_embd,
	    s->n_vocab, sd);
	if (s->rope_scale)
		add(y, "rope_freqs.weight", "F32", s->head_dim / 2, 1, -1);
	for (uint32_t i = 0; i < s->n_layer; i++)
		add_layer(y, i);
	add(y, "output_norm.weight", "F32", s->n_embd, 1, 0);
	if (!s->tied)
		add(y, "output.weight", type_of(y, "output", 0), s->n_embd, s->n_vocab, sd);
}

static int header(const struct synth *y, struct buf *b, struct err *err)
{
	const struct synth_shape *s = y->s;
	const struct {
		const char *key;
		uint32_t v;
	} nums[] = {{"general.quantization_version", 2},
		    {"llama.block_count", s->n_layer},
		    {"llama.context_length", s->context},
		    {"llama.embedding_length", s->n_embd},
		    {"llama.feed_forward_length", s->n_ff},
		    {"llama.attention.head_count", s->n_head},
		    {"llama.attention.head_count_kv", s->n_head_kv},
		    {"llama.attention.key_length", s->head_dim},
		    {"llama.attention.value_length", s->head_dim},
		    {"llama.rope.dimension_count", s->head_dim},
		    {"llama.vocab_size", s->n_vocab}};
	enum { N_NUMS = sizeof(nums) / sizeof(nums[0]) };
	const struct {
		const char *key;
		float v;
	} reals[] = {{"llama.rope.freq_base", 500000},
		     {"llama.attention.layer_norm_rms_epsilon", 1e-5f}};
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "synthetic-%s-%s", s->name, y->o->type);
	buf_puts(b, "GGUF");
	buf_u32(b, 3);
	buf_u64(b, y->n);
	buf_u64(b, 2 + N_NUMS + 2 + SYNTH_VOCAB_KEYS);
	synth_key_str(b, "general.architecture", "llama");
	synth_key_str(b, "general.name", name);
	for (size_t i = 0; i < N_NUMS; i++)
		synth_key_u32(b, nums[i].key, nums[i].v);
	for (size_t i = 0; i < 2; i++) {
		uint32_t bits;

		memcpy(&bits, &reals[i].v, 4);
		synth_str(b, reals[i].key);
		buf_u32(b, 6);
		buf_u32(b, bits);
	}
	if ((rc = synth_vocab(b, s->n_vocab, err)) < 0)
		return rc;
	for (unsigned i = 0; i < y->n; i++) {
		const struct tensor *t = &y->t[i];

		synth_str(b, t->name);
		buf_u32(b, t->rows == 1 ? 1 : 2);
		buf_u64(b, t->cols);
		if (t->rows != 1)
			buf_u64(b, t->rows);
		buf_u32(b, t->type->id);
		buf_u64(b, t->offset);
	}
	while (b->n % ALIGN)
		buf_u8(b, 0);
	return buf_ok(b) ? 0 : err_set(err, E_NOMEM, "no memory for the header");
}

/* Llama 3.1's scaling as divisors of the frequencies: low ones by `factor`, high ones by 1, a
 * smooth way between (convert_hf_to_gguf.py of llama.cpp, Llama 3.1 model card). */
static float rope_divisor(uint32_t i, uint32_t dim, float factor)
{
	const float low = 1, high = 4, old = 8192;
	float wave = 6.2831853f * powf(500000, 2.0f * (float)i / (float)dim), smooth;

	if (wave < old / high)
		return 1;
	if (wave > old / low)
		return factor;
	smooth = (old / wave - low) / (high - low);
	return 1 / ((1 - smooth) / factor + smooth);
}

static void small_tensor(const struct synth *y, const struct tensor *t, uint8_t *p)
{
	for (uint64_t i = 0; i < t->cols; i++) {
		float f = t->sd == 0
			      ? 1
			      : rope_divisor((uint32_t)i, y->s->head_dim, (float)y->s->rope_scale);
		uint32_t bits;

		memcpy(&bits, &f, 4);
		put_le32(p + 4 * i, bits);
	}
}

static int write_tensor(const struct synth *y, const struct tensor *t, struct synth_rng *r, int fd,
			uint8_t *chunk, struct err *err)
{
	uint64_t at = 0, whole = CHUNK / t->type->bytes * t->type->bytes;
	uint64_t pad = (ALIGN - t->bytes % ALIGN) % ALIGN;
	int rc = 0;

	while (at < t->bytes && rc == 0) {
		uint64_t n = t->bytes - at < whole ? t->bytes - at : whole;

		if (t->sd > 0)
			synth_fill(t->type, r, t->sd, chunk, n / t->type->bytes);
		else
			small_tensor(y, t, chunk); /* at most 16384 floats */
		rc = io_write_all(fd, chunk, n, err);
		at += n;
	}
	memset(chunk, 0, ALIGN);
	return rc == 0 && pad ? io_write_all(fd, chunk, pad, err) : rc;
}

static int write_all(const struct synth *y, int fd, const struct buf *head, struct err *err)
{
	uint8_t *chunk = malloc(CHUNK);
	struct synth_rng r;
	int rc = chunk ? io_write_all(fd, head->p, head->n, err)
		       : err_set(err, E_NOMEM, "no memory to write from");

	synth_rng_init(&r, y->o->seed);
	if (rc == 0 && y->o->headers_only && ftruncate(fd, (off_t)(head->n + y->bytes)) < 0)
		rc = err_sys(err, "ftruncate");
	for (unsigned i = 0; i < y->n && rc == 0 && !y->o->headers_only; i++) {
		rc = write_tensor(y, &y->t[i], &r, fd, chunk, err);
		if (y->o->progress)
			y->o->progress(y->t[i].offset + y->t[i].bytes, y->bytes);
	}
	free(chunk);
	return rc;
}

int synth_write(int fd, const struct synth_shape *s, const struct synth_opts *o, struct err *err)
{
	struct buf head = BUF_INIT(64u << 20);
	struct synth *y;
	bool known = false;
	int rc;

	for (const char *const *t = synth_types; *t; t++)
		known |= strcmp(*t, o->type) == 0;
	if (!known || s->n_layer > 126)
		return err_set(err, E_RANGE, "type %.16s, %u layers", o->type, s->n_layer);
	if ((y = calloc(1, sizeof(*y))) == NULL)
		return err_set(err, E_NOMEM, "no memory for the list of tensors");
	y->s = s;
	y->o = o;
	add_all(y);
	if ((rc = header(y, &head, err)) == 0)
		rc = write_all(y, fd, &head, err);
	buf_free(&head);
	free(y);
	return rc;
}
