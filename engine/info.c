/* info.c - reads and bounds a model's shape. Only architecture `llama` with the plain rotary
 * embedding (or the per-frequency factors of Llama 3.1 in rope_freqs.weight) is known; whatever
 * would need other arithmetic is refused here, by name. */
#include "info.h"

#include <math.h>
#include <stdio.h>

#include "hash.h"
#include "kv.h"
#include "num.h"

struct want_u32 {
	const char *key;
	size_t at; /* in struct model_info */
	uint32_t min, max;
};

#define FIELD(name) offsetof(struct model_info, name)
static const struct want_u32 wanted[] = {
    {"llama.block_count", FIELD(n_layer), 1, 1024},
    {"llama.embedding_length", FIELD(n_embd), 2, 131072},
    {"llama.feed_forward_length", FIELD(n_ff), 1, 1 << 20},
    {"llama.attention.head_count", FIELD(n_head), 1, 1024},
    {"llama.context_length", FIELD(context), 1, 1 << 24},
};

/* Foreign text for people: visible ASCII and spaces, the rest as '?'. */
static void copy_text(char *to, size_t cap, struct span s)
{
	size_t n = s.n < cap - 1 ? s.n : cap - 1;

	for (size_t i = 0; i < n; i++)
		to[i] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
	to[n] = 0;
}

/* A number that must be there (unless the vocabulary alone is wanted) and within bounds. */
static int get_u32(const struct gguf *g, const char *key, uint32_t min, uint32_t max, bool needed,
		   uint32_t *out, struct err *err)
{
	uint32_t v;

	if (!gguf_find(g, key))
		return needed ? err_set(err, E_FORMAT, "%s is missing", key) : 0;
	if (!gguf_u32(g, key, &v) || v < min || v > max)
		return err_set(err, E_RANGE, "%s is not between %u and %u", key, min, max);
	*out = v;
	return 0;
}

static int get_f32(const struct gguf *g, const char *key, float min, float max, bool needed,
		   float *out, struct err *err)
{
	float v;

	if (!gguf_find(g, key))
		return needed ? err_set(err, E_FORMAT, "%s is missing", key) : 0;
	if (!gguf_f32(g, key, &v) || !isfinite(v) || v < min || v > max)
		return err_set(err, E_RANGE, "%s is out of bounds", key);
	*out = v;
	return 0;
}

static int read_heads(const struct gguf *g, struct model_info *info, struct err *err)
{
	uint32_t v_dim, rope_dim;
	int rc;

	info->n_head_kv = info->n_head;
	info->head_dim = info->n_head ? info->n_embd / info->n_head : 0;
	if ((rc = get_u32(g, "llama.attention.head_count_kv", 1, info->n_head, false,
			  &info->n_head_kv, err)) < 0 ||
	    (rc = get_u32(g, "llama.attention.key_length", 2, 1024, false, &info->head_dim, err)) <
		0)
		return rc;
	v_dim = rope_dim = info->head_dim;
	if ((rc = get_u32(g, "llama.attention.value_length", 2, 1024, false, &v_dim, err)) < 0 ||
	    (rc = get_u32(g, "llama.rope.dimension_count", 2, 1024, false, &rope_dim, err)) < 0)
		return rc;
	if (info->n_head_kv == 0)
		return 0; /* the vocabulary alone */
	if (info->n_head % info->n_head_kv)
		return err_set(err, E_RANGE, "%u heads cannot share %u KV heads", info->n_head,
			       info->n_head_kv);
	if (info->head_dim < 2 || info->head_dim > 1024 || info->head_dim % 2)
		return err_set(err, E_RANGE, "head dimension %u is not even and at most 1024",
			       info->head_dim);
	if (v_dim != info->head_dim || rope_dim != info->head_dim)
		return err_set(err, E_UNSUPPORTED,
			       "value length and rotary dimensions must equal key length %u",
			       info->head_dim);
	return 0;
}

/* Things other engines know how to compute and this one does not. */
static int refuse_unknown(const struct gguf *g, struct err *err)
{
	struct span scaling;
	uint32_t experts = 0;

	if (gguf_find(g, "llama.expert_count") &&
	    (!gguf_u32(g, "llama.expert_count", &experts) || experts > 0))
		return err_set(err, E_UNSUPPORTED, "mixtures of experts are not supported");
	if (gguf_find(g, "llama.rope.scaling.type") &&
	    (!gguf_str(g, "llama.rope.scaling.type", &scaling) ||
	     !span_eq(scaling, SPAN_LIT("none"))))
		return err_set(err, E_UNSUPPORTED,
			       "llama.rope.scaling.type other than none is not supported "
			       "(Llama 3.1 scales by rope_freqs.weight)");
	return 0;
}

static int read_vocab_size(const struct gguf *g, struct model_info *info, struct err *err)
{
	const struct gguf_tensor *embd = gguf_tensor(g, "token_embd.weight");
	struct gguf_arr tokens;

	if (!gguf_arr(g, "tokenizer.ggml.tokens", GV_STR, &tokens) || tokens.n < 1 ||
	    tokens.n > 1u << 20)
		return err_set(err, E_RANGE, "tokenizer.ggml.tokens is missing or out of bounds");
	info->n_vocab = (uint32_t)tokens.n;
	if (embd && embd->dims[1] != tokens.n)
		return err_set(err, E_FORMAT, "%u tokens but another number of embedding rows",
			       info->n_vocab);
	return 0;
}

/* The type most bytes are in says more than what the file claims of itself. */
static int read_tensors(const struct gguf *g, struct model_info *info, struct err *err)
{
	uint64_t by_type[GT_COUNT] = {0};
	uint32_t most = 0;

	for (uint32_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];

		if (add_u64(info->params, t->elems, &info->params))
			return err_set(err, E_RANGE, "too many parameters");
		by_type[t->type] += t->data.n; /* sum <= size of the files */
		if (by_type[t->type] > by_type[most])
			most = t->type;
	}
	snprintf(info->quant, sizeof(info->quant), "%s", g->n_tensors ? gtype_name(most) : "");
	info->tied_output = !gguf_tensor(g, "output.weight");
	return 0;
}

static int apply_opts(const struct model_opts *o, struct model_info *info, struct err *err)
{
	if (!o || !o->max_context)
		return 0;
	if (info->context && o->max_context > info->context)
		return err_set(err, E_RANGE, "a context of %u, but the model has %u",
			       o->max_context, info->context);
	info->context = o->max_context;
	return 0;
}

int info_read(const struct gguf *g, const struct model_opts *o, struct model_info *info,
	      struct err *err)
{
	bool needed = !(o && o->vocab_only);
	struct span s = {0};
	int rc;

	memset(info, 0, sizeof(*info));
	info->bos = -1;
	info->rope_base = 10000;
	if (!gguf_str(g, "general.architecture", &s))
		return err_set(err, E_FORMAT, "general.architecture is missing");
	if (!span_eq(s, SPAN_LIT("llama")))
		return err_set(err, E_UNSUPPORTED, "this build knows the architecture llama only");
	copy_text(info->arch, sizeof(info->arch), s);
	if (gguf_str(g, "general.name", &s))
		copy_text(info->name, sizeof(info->name), s);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if ((rc = get_u32(g, wanted[i].key, wanted[i].min, wanted[i].max, needed,
				  (uint32_t *)((char *)info + wanted[i].at), err)) < 0)
			return rc;
	if ((rc = refuse_unknown(g, err)) < 0 || (rc = read_heads(g, info, err)) < 0 ||
	    (rc = get_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-12f, 0.1f, needed,
			  &info->norm_eps, err)) < 0 ||
	    (rc = get_f32(g, "llama.rope.freq_base", 1, 1e9f, false, &info->rope_base, err)) < 0 ||
	    (rc = read_vocab_size(g, info, err)) < 0 || (rc = read_tensors(g, info, err)) < 0 ||
	    (rc = apply_opts(o, info, err)) < 0)
		return rc;
	gguf_bool(g, "sallyport.starter", &info->is_starter);
	if (gguf_str(g, "tokenizer.chat_template", &s))
		sha256(s, info->template_sha256);
	info->file_bytes = g->bytes;
	/* bounded by 1024 layers x 1024 heads x 1024 */
	info->kv_bytes_per_token =
	    (uint64_t)info->n_layer * info->n_head_kv *
	    kv_token_bytes(strcmp(info->quant, "F32") == 0 ? KV_F32 : KV_F16, info->head_dim);
	return 0;
}
