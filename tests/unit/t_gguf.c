/* t_gguf.c - hostile model files: every refusal by name, and no byte that crashes the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault.h"
#include "ggufb.h"

static const uint64_t dims2[2] = {32, 2};

/* One key of each kind and two tensors. */
static void small_file(struct ggufb *b)
{
	gb_init(b);
	gb_str(b, "general.architecture", "llama");
	gb_u32(b, "llama.block_count", 1);
	gb_f32(b, "llama.eps", 1e-5f);
	gb_bool(b, "sallyport.starter", 1);
	gb_arr(b, "words", GV_STR, 2);
	gb_elem_str(b, SPAN_LIT("one"));
	gb_elem_str(b, SPAN_LIT(""));
	gb_arr(b, "scores", GV_F32, 2);
	gb_elem_f32(b, 1.5f);
	gb_elem_f32(b, -2);
	gb_tensor(b, "output.weight", GT_Q8_0, 2, dims2, 68, 7);
	gb_tensor(b, "blk.0.attn_norm.weight", GT_F32, 1, dims2, 128, 9);
}

/* Finishes b, parses it and frees both; returns the code. */
static int parse_of(struct ggufb *b, struct err *err)
{
	struct buf f = BUF_INIT(1 << 20);
	struct gguf g;
	int rc;

	gb_finish(b, &f);
	rc = gguf_parse(&g, buf_span(&f), err);
	if (rc == 0)
		gguf_free(&g);
	assert_null(rc < 0 ? g.keys : NULL);
	buf_free(&f);
	gb_free(b);
	return rc;
}

static void assert_refused(struct ggufb *b, int code, const char *says)
{
	struct err err = {0};
	int rc = parse_of(b, &err);

	if (rc != code || !strstr(err.text, says))
		fail_msg("wanted %d with '%s', got %d '%s'", code, says, rc, err.text);
}

static void a_good_file_gives_keys_and_tensors(void **state)
{
	struct buf f = BUF_INIT(1 << 20);
	const struct gguf_tensor *t;
	struct gguf_arr a;
	struct ggufb b;
	struct gguf g;
	struct span s;
	uint32_t u;
	size_t pos = 0;
	float x;
	bool yes;

	small_file(&b);
	gb_finish(&b, &f);
	assert_int_equal(gguf_parse(&g, buf_span(&f), NULL), 0);
	assert_true(gguf_str(&g, "general.architecture", &s) && span_eq(s, SPAN_LIT("llama")));
	assert_true(gguf_u32(&g, "llama.block_count", &u) && u == 1);
	assert_true(gguf_f32(&g, "llama.eps", &x) && x == 1e-5f);
	assert_true(gguf_bool(&g, "sallyport.starter", &yes) && yes);
	assert_false(gguf_u32(&g, "llama.eps", &u)); /* another type */
	assert_false(gguf_str(&g, "absent", &s));
	assert_true(gguf_arr(&g, "words", GV_STR, &a) && a.n == 2);
	assert_true(gguf_arr_next(&a, &pos, &s) && span_eq(s, SPAN_LIT("one")));
	assert_true(gguf_arr_next(&a, &pos, &s) && s.n == 0);
	assert_false(gguf_arr_next(&a, &pos, &s));
	assert_true(gguf_arr(&g, "scores", GV_F32, &a) && gguf_arr_f32(&a, 1) == -2);
	assert_false(gguf_arr(&g, "scores", GV_I32, &a));
	assert_non_null(t = gguf_tensor(&g, "output.weight"));
	assert_int_equal(t->data.n, 68);
	assert_int_equal(t->data.p[67], 7);
	assert_int_equal(t->offset % 32, 0);
	assert_int_equal(g.tensors[g.order[0]].type, GT_Q8_0);
	assert_non_null(t = gguf_tensor(&g, "blk.0.attn_norm.weight"));
	assert_int_equal(t->elems, 32);
	gguf_free(&g);
	buf_free(&f);
	gb_free(&b);
}

static void versions_two_and_three_are_read_and_no_other(void **state)
{
	struct ggufb b;

	small_file(&b);
	b.version = 2;
	assert_int_equal(parse_of(&b, NULL), 0);
	small_file(&b);
	b.version = 1;
	assert_refused(&b, E_UNSUPPORTED, "version");
	small_file(&b);
	b.version = 0x03000000; /* big-endian */
	assert_refused(&b, E_UNSUPPORTED, "little-endian");
}

static void absurd_counts_are_refused_before_memory_is_taken(void **state)
{
	struct ggufb b;

	small_file(&b);
	b.n_keys = UINT64_MAX;
	assert_refused(&b, E_RANGE, "keys");
	small_file(&b);
	b.n_keys = 4096;
	assert_refused(&b, E_TRUNC, "too short for its counts");
	small_file(&b);
	b.n_tensors = 1ull << 60;
	assert_refused(&b, E_RANGE, "tensors");
	small_file(&b);
	gb_arr(&b, "huge", GV_U64, 1ull << 62);
	assert_refused(&b, E_RANGE, "elements");
	small_file(&b);
	gb_arr(&b, "long", GV_U64, 1000000);
	assert_refused(&b, E_TRUNC, "array");
	small_file(&b);
	gb_arr(&b, "strings", GV_STR, 1);
	buf_u64(&b.keys, UINT64_MAX);
	assert_refused(&b, E_RANGE, "string");
}

static void odd_keys_are_refused(void **state)
{
	struct ggufb b;

	small_file(&b);
	gb_u32(&b, "llama.block_count", 2);
	assert_refused(&b, E_FORMAT, "same name");
	small_file(&b);
	gb_u32(&b, "", 2);
	assert_refused(&b, E_FORMAT, "visible ASCII");
	small_file(&b);
	gb_u32(&b, "a\x1b[2J", 2);
	assert_refused(&b, E_FORMAT, "visible ASCII");
	small_file(&b);
	gb_bool(&b, "odd", 2);
	assert_refused(&b, E_FORMAT, "bool");
	small_file(&b);
	gb_arr(&b, "nested", GV_ARR, 1);
	assert_refused(&b, E_UNSUPPORTED, "array of arrays");
	small_file(&b);
	gb_arr(&b, "nothing", 99, 1);
	assert_refused(&b, E_FORMAT, "element type");
	for (uint32_t align = 0; align < 64; align += 24) { /* 0, 24, 48 */
		small_file(&b);
		gb_u32(&b, "general.alignment", align);
		assert_refused(&b, E_RANGE, "power of two");
	}
	small_file(&b);
	gb_str(&b, "general.alignment", "32");
	assert_refused(&b, E_FORMAT, "alignment");
}

static void absurd_shapes_are_refused(void **state)
{
	static const uint64_t zero[2] = {32, 0}, wide[4] = {1ull << 32, 1ull << 32, 1, 1};
	static const uint64_t odd[1] = {33}, big[2] = {1ull << 41, 1}, five[5] = {1, 1, 1, 1, 1};
	struct ggufb b;

	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 2, zero, 0);
	assert_refused(&b, E_RANGE, "dimension");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 4, wide, 0);
	assert_refused(&b, E_RANGE, "too many elements");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 2, big, 0);
	assert_refused(&b, E_RANGE, "dimension");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_Q4_0, 1, odd, 0);
	assert_refused(&b, E_RANGE, "Q4_0 blocks");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 5, five, 0);
	assert_refused(&b, E_RANGE, "dimensions");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 0, five, 0);
	assert_refused(&b, E_RANGE, "dimensions");
	small_file(&b);
	gb_tensor_raw(&b, "t", 4, 2, dims2, 0); /* a type that was removed */
	assert_refused(&b, E_UNSUPPORTED, "type 4");
}

static void tensors_lie_inside_the_file_and_apart(void **state)
{
	static const uint64_t d[2] = {8, 2};
	struct ggufb b;

	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 2, d, 64); /* inside output.weight */
	assert_refused(&b, E_FORMAT, "overlap");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 2, d, 33);
	assert_refused(&b, E_FORMAT, "aligned");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 2, d, 1 << 20);
	assert_refused(&b, E_TRUNC, "behind the file");
	small_file(&b);
	gb_tensor_raw(&b, "t", GT_F32, 2, d, UINT64_MAX - 31);
	assert_refused(&b, E_RANGE, "offset");
	small_file(&b);
	gb_tensor(&b, "output.weight", GT_F32, 2, d, 64, 0);
	assert_refused(&b, E_FORMAT, "same name");
	small_file(&b);
	gb_tensor(&b, "0123456789012345678901234567890123456789012345678901234567890123x", GT_F32,
		  2, d, 64, 0);
	assert_refused(&b, E_RANGE, "over 64 bytes");
}

/* A copy that ends exactly where the memory does, so that ASan sees any byte too far. */
static void parse_copy(const char *p, size_t n, size_t flip, uint8_t with)
{
	char *copy = malloc(n ? n : 1);
	struct err err = {0};
	struct gguf g;
	int rc;

	memcpy(copy, p, n);
	if (n)
		copy[flip % n] = (char)((uint8_t)copy[flip % n] ^ with);
	rc = gguf_parse(&g, span_of(copy, n), &err);
	if (rc < 0)
		assert_true(err.code == rc && err.text[0]);
	else
		gguf_free(&g);
	free(copy);
}

static void no_truncation_and_no_changed_byte_crashes(void **state)
{
	static const uint8_t masks[] = {0x01, 0x80, 0xff, 0x20};
	struct buf f = BUF_INIT(1 << 20);
	struct ggufb b;

	small_file(&b);
	gb_finish(&b, &f);
	for (size_t n = 0; n < f.n; n++) {
		struct gguf g;

		assert_true(gguf_parse(&g, span_of(f.p, n), NULL) < 0);
		parse_copy(f.p, n, 0, 0);
		for (size_t m = 0; m < sizeof(masks); m++)
			parse_copy(f.p, f.n, n, masks[m]);
	}
	buf_free(&f);
	gb_free(&b);
}

static void mapping_refuses_what_is_no_file_and_reports_the_system(void **state)
{
	char path[] = "/tmp/t_gguf.XXXXXX";
	int fd = mkstemp(path), pipes[2];
	struct gguf_map m;
	struct err err;

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(gguf_map(fd, &m, &err), E_FORMAT); /* empty */
	assert_int_equal(write(fd, "GGUF", 4), 4);
	assert_int_equal(gguf_map(fd, &m, &err), 0);
	assert_true(span_eq(m.bytes, SPAN_LIT("GGUF")));
	gguf_unmap(&m);
	gguf_unmap(&m);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(gguf_map(pipes[0], &m, &err), E_FORMAT);
	close(pipes[0]);
	close(pipes[1]);
#ifdef SP_FAULT
	fault_arm("gguf.fstat", 1, false, 0);
	assert_int_equal(gguf_map(fd, &m, &err), E_IO);
	fault_arm("gguf.mmap", 1, false, 0);
	assert_int_equal(gguf_map(fd, &m, &err), E_IO);
	fault_disarm();
#endif
	close(fd);
	assert_int_equal(gguf_map(fd, &m, &err), E_IO);
}

static void type_sizes_are_those_of_the_format(void **state)
{
	uint64_t n;

	assert_true(gtype_row_bytes(GT_Q4_K, 256, &n) && n == 144);
	assert_true(gtype_row_bytes(GT_Q6_K, 512, &n) && n == 420);
	assert_true(gtype_row_bytes(GT_BF16, 3, &n) && n == 6);
	assert_false(gtype_row_bytes(GT_Q4_K, 32, &n));
	assert_false(gtype_row_bytes(5, 32, &n));
	assert_false(gtype_row_bytes(GT_F64, UINT64_MAX / 4, &n));
	assert_string_equal(gtype_name(GT_IQ4_XS), "IQ4_XS");
	assert_string_equal(gtype_name(12345), "?");
}

static void public_files_are_read(void **state)
{
	static const char *const files[] = {"data/models/stories260K/stories260K.f32.gguf",
					    "data/models/llama-2-tiny-random/"
					    "llama-2-tiny-random.gguf",
					    "data/goldens/nano-q4_k_m.gguf",
					    "data/goldens/nano-iq4_xs.gguf",
					    "data/tokenizer/llama2/ggml-vocab-llama-spm.gguf"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct buf f = BUF_INIT(8 << 20);
		struct gguf g;

		if (!shared_file(files[i], &f))
			skip();
		assert_int_equal(gguf_parse(&g, buf_span(&f), NULL), 0);
		gguf_free(&g);
		buf_free(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_good_file_gives_keys_and_tensors),
	    cmocka_unit_test(versions_two_and_three_are_read_and_no_other),
	    cmocka_unit_test(absurd_counts_are_refused_before_memory_is_taken),
	    cmocka_unit_test(odd_keys_are_refused),
	    cmocka_unit_test(absurd_shapes_are_refused),
	    cmocka_unit_test(tensors_lie_inside_the_file_and_apart),
	    cmocka_unit_test(no_truncation_and_no_changed_byte_crashes),
	    cmocka_unit_test(mapping_refuses_what_is_no_file_and_reports_the_system),
	    cmocka_unit_test(type_sizes_are_those_of_the_format),
	    cmocka_unit_test(public_files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
