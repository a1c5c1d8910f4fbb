/* t_plan.c - a model's shape from its headers, and the shapes that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine.h"
#include "ggufb.h"
#include "io.h"

/* A descriptor on an unnamed file with these bytes. */
static int file_of(struct buf *f)
{
	char path[] = "/tmp/t_plan.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(io_write_all(fd, f->p, f->n, NULL), 0);
	return fd;
}

struct shape {
	uint32_t layers, embd, ff, heads, kv, ctx;
};
static const struct shape good = {2, 64, 128, 4, 2, 256};

static void start(struct ggufb *b, const struct shape *s)
{
	gb_init(b);
	gb_small_bpe(b);
	gb_str(b, "general.architecture", "llama");
	gb_str(b, "general.name", "na\x1b[0mme");
	gb_u32(b, "llama.block_count", s->layers);
	gb_u32(b, "llama.embedding_length", s->embd);
	gb_u32(b, "llama.feed_forward_length", s->ff);
	gb_u32(b, "llama.attention.head_count", s->heads);
	gb_u32(b, "llama.attention.head_count_kv", s->kv);
	gb_u32(b, "llama.context_length", s->ctx);
	gb_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	gb_tensor(b, "token_embd.weight", GT_Q8_0, 2, (const uint64_t[]){64, 270}, 68 * 270, 0);
	gb_tensor(b, "output_norm.weight", GT_F32, 1, (const uint64_t[]){64}, 256, 0);
}

static int plan(struct ggufb *b, const struct model_opts *o, struct model_plan *p, struct err *err)
{
	struct buf f = BUF_INIT(1 << 20);
	int fd, rc;

	gb_finish(b, &f);
	gb_free(b);
	fd = file_of(&f);
	rc = model_plan(&fd, 1, o, p, err);
	close(fd);
	buf_free(&f);
	return rc;
}

static void a_plan_says_what_loading_needs(void **state)
{
	struct model_opts o = {.max_context = 128};
	struct model_plan p;
	struct ggufb b;

	start(&b, &good);
	gb_bool(&b, "sallyport.starter", 1);
	assert_int_equal(plan(&b, NULL, &p, NULL), 0);
	assert_string_equal(p.info.arch, "llama");
	assert_string_equal(p.info.name, "na?[0mme");
	assert_string_equal(p.info.quant, "Q8_0");
	assert_string_equal(p.info.tokenizer, "gpt2");
	assert_int_equal(p.info.head_dim, 16);
	assert_int_equal(p.info.n_vocab, 270);
	assert_int_equal(p.info.params, 64 * 270 + 64);
	assert_int_equal(p.info.bos, 264);
	assert_true(p.info.tied_output && p.info.is_starter && p.info.add_bos);
	assert_true(p.info.rope_base == 10000);
	assert_int_equal(p.kv_bytes_per_token, 2 * 2 * 16 * 2 * 2);
	assert_int_equal(p.kv_bytes_full_context, 256 * p.kv_bytes_per_token);
	assert_int_equal(p.weights_bytes, 68 * 270 + 256);
	assert_true(p.peak_bytes > p.weights_bytes + p.kv_bytes_full_context);
	start(&b, &good);
	assert_int_equal(plan(&b, &o, &p, NULL), 0);
	assert_int_equal(p.info.context, 128);
	o.max_context = 257;
	start(&b, &good);
	assert_int_equal(plan(&b, &o, &p, NULL), E_RANGE);
}

static void assert_refused(struct ggufb *b, int code, const char *says)
{
	struct err err = {0};
	struct model_plan p;
	int rc = plan(b, NULL, &p, &err);

	if (rc != code || !strstr(err.text, says))
		fail_msg("wanted %d with '%s', got %d '%s'", code, says, rc, err.text);
}

static void absurd_shapes_are_refused(void **state)
{
	static const struct {
		struct shape s;
		const char *says;
	} bad[] = {
	    {{0, 64, 128, 4, 2, 256}, "block_count"},
	    {{1u << 31, 64, 128, 4, 2, 256}, "block_count"},
	    {{2, 0, 128, 4, 2, 256}, "embedding_length"},
	    {{2, 64, 0, 4, 2, 256}, "feed_forward_length"},
	    {{2, 64, 128, 0, 2, 256}, "head_count"},
	    {{2, 64, 128, 4, 3, 256}, "cannot share"},
	    {{2, 64, 128, 4, 8, 256}, "head_count_kv"},
	    {{2, 64, 128, 4, 0, 256}, "head_count_kv"},
	    {{2, 60, 128, 4, 2, 256}, "head dimension"},
	    {{2, 64, 128, 4, 2, 0}, "context_length"},
	    {{2, 64, 128, 4, 2, UINT32_MAX}, "context_length"},
	};
	struct ggufb b;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(&b, &bad[i].s);
		assert_refused(&b, E_RANGE, bad[i].says);
	}
}

static void arithmetic_nobody_wrote_is_refused(void **state)
{
	struct ggufb b;

	start(&b, &good);
	gb_u32(&b, "llama.expert_count", 8);
	assert_refused(&b, E_UNSUPPORTED, "experts");
	start(&b, &good);
	gb_str(&b, "llama.rope.scaling.type", "yarn");
	assert_refused(&b, E_UNSUPPORTED, "rope.scaling");
	start(&b, &good);
	gb_u32(&b, "llama.rope.dimension_count", 8);
	assert_refused(&b, E_UNSUPPORTED, "rotary");
	start(&b, &good);
	gb_u32(&b, "split.count", 2);
	assert_refused(&b, E_FORMAT, "one part of 2");
	start(&b, &good);
	gb_f32(&b, "llama.rope.freq_base", __builtin_nanf(""));
	assert_refused(&b, E_RANGE, "freq_base");
	gb_init(&b);
	gb_small_bpe(&b);
	gb_str(&b, "general.architecture", "gemma");
	assert_refused(&b, E_UNSUPPORTED, "architecture");
	gb_init(&b);
	gb_small_bpe(&b);
	assert_refused(&b, E_FORMAT, "architecture");
}

static void a_vocabulary_alone_is_a_plan_only_on_request(void **state)
{
	struct model_opts o = {.vocab_only = true};
	struct model_plan p;
	struct ggufb b;

	gb_init(&b);
	gb_small_bpe(&b);
	gb_str(&b, "general.architecture", "llama");
	assert_int_equal(plan(&b, &o, &p, NULL), 0);
	assert_int_equal(p.info.n_vocab, 270);
	gb_init(&b);
	gb_small_bpe(&b);
	gb_str(&b, "general.architecture", "llama");
	assert_refused(&b, E_FORMAT, "block_count is missing");
}

static bool count(void *arg, const struct tensor_desc *t)
{
	static const char *const order[] = {"token_embd.weight", "output_norm.weight"};
	unsigned *n = arg;

	assert_true(span_eq(t->name, span_cstr(order[*n])));
	assert_string_equal(t->type, *n ? "F32" : "Q8_0");
	assert_int_equal(t->dims[0], 64);
	assert_int_equal(t->n_dims, *n ? 1 : 2);
	return ++*n < 2;
}

static void tensors_are_listed_in_the_order_of_the_file(void **state)
{
	struct buf f = BUF_INIT(1 << 20);
	struct ggufb b;
	unsigned n = 0;
	int fd;

	start(&b, &good);
	gb_finish(&b, &f);
	gb_free(&b);
	fd = file_of(&f);
	assert_int_equal(model_each_tensor(&fd, 1, count, &n, NULL), 0);
	assert_int_equal(n, 2);
	close(fd);
	buf_free(&f);
}

static void public_models_have_plans(void **state)
{
	struct model_opts o = {0};
	struct model_plan p;
	struct buf f = BUF_INIT(8 << 20);
	int fd;

	if (!shared_file("data/models/stories260K/stories260K.f32.gguf", &f))
		skip();
	fd = file_of(&f);
	assert_int_equal(model_plan(&fd, 1, &o, &p, NULL), 0);
	close(fd);
	assert_int_equal(p.info.n_layer, 5);
	assert_int_equal(p.info.head_dim, 8);
	assert_int_equal(p.info.n_head_kv, 4);
	assert_false(p.info.tied_output);
	assert_int_equal(p.info.end[0], 2);
	buf_free(&f);
	assert_true(shared_file("data/goldens/nano-q4_k_m.gguf", &f));
	fd = file_of(&f);
	assert_int_equal(model_plan(&fd, 1, &o, &p, NULL), 0);
	close(fd);
	assert_string_equal(p.info.quant, "Q4_K");
	assert_string_equal(p.info.pre, "llama-bpe");
	assert_int_equal(p.info.head_dim, 64);
	buf_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_plan_says_what_loading_needs),
	    cmocka_unit_test(absurd_shapes_are_refused),
	    cmocka_unit_test(arithmetic_nobody_wrote_is_refused),
	    cmocka_unit_test(a_vocabulary_alone_is_a_plan_only_on_request),
	    cmocka_unit_test(tensors_are_listed_in_the_order_of_the_file),
	    cmocka_unit_test(public_models_have_plans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
