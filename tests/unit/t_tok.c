/* t_tok.c - tokenizers: other implementations' vectors, stable prefixes, long runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "ggufb.h"
#include "tok.h"
#include "utf8.h"

#define MAX_IDS 65536

static struct tok *llama3, *llama2, *small; /* NULL where shared data is absent */
static int32_t ids[MAX_IDS], ids2[MAX_IDS];

static struct tok *tok_from(struct buf *file, int *rc, struct err *err)
{
	struct tok *t = NULL;
	struct gguf g;

	assert_int_equal(gguf_parse(&g, buf_span(file), NULL), 0);
	*rc = tok_new(&g, &t, err);
	gguf_free(&g);
	memset(file->p, 0xaa, file->n); /* a tokenizer needs nothing of the file any more */
	buf_free(file);
	return t;
}

static int setup(void **state)
{
	struct buf f = BUF_INIT(64 << 20);
	struct err err = {0};
	struct ggufb b;
	int rc = 0;

	if (gb_llama3(&f))
		llama3 = tok_from(&f, &rc, &err);
	if (rc == 0 && shared_file("data/tokenizer/llama2/ggml-vocab-llama-spm.gguf", &f))
		llama2 = tok_from(&f, &rc, &err);
	gb_init(&b);
	gb_small_bpe(&b);
	gb_finish(&b, &f);
	gb_free(&b);
	if (rc == 0)
		small = tok_from(&f, &rc, &err);
	if (rc < 0)
		print_error("%s\n", err.text);
	return rc;
}

static int teardown(void **state)
{
	tok_free(llama3);
	tok_free(llama2);
	tok_free(small);
	return 0;
}

static size_t encode(const struct tok *t, struct span s, unsigned flags, int32_t *out)
{
	size_t n;

	assert_int_equal(tok_encode(t, s, flags, out, MAX_IDS, &n), 0);
	return n;
}

static bool same_ids(const int32_t *a, size_t n, const json_t *want)
{
	if (n != json_array_size(want))
		return false;
	for (size_t i = 0; i < n; i++)
		if (a[i] != json_integer_value(json_array_get(want, i)))
			return false;
	return true;
}

static bool is_special(const struct tok *t, int32_t id)
{
	enum token_class c = tok_class(t, id);

	return c == TC_CONTROL || c == TC_UNKNOWN;
}

static void assert_round_trip(const struct tok *t, const int32_t *id, size_t n, struct span want)
{
	struct buf b = BUF_INIT(8 << 20);
	struct span s;

	for (size_t i = 0; i < n; i++) {
		assert_false(is_special(t, id[i]));
		assert_int_equal(tok_bytes(t, id[i], &s), 0);
		buf_span_put(&b, s);
	}
	assert_true(span_eq(buf_span(&b), want));
	buf_free(&b);
}

/* One file of llama.cpp's vectors. Returns the number of texts. */
static int run_vectors(const struct tok *t, const char *name)
{
	const struct span sep = SPAN_LIT("\n__ggml_vocab_test__\n");
	struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	const char *p, *end, *line;
	char path[128];
	int texts = 0;

	snprintf(path, sizeof(path), "data/tokenizer/vectors/ggml-vocab-%s.inp", name);
	assert_true(shared_file(path, &in));
	snprintf(path, sizeof(path), "data/tokenizer/vectors/ggml-vocab-%s.out", name);
	assert_true(shared_file(path, &out));
	p = buf_cstr(&in);
	line = buf_cstr(&out);
	end = p + in.n;
	while (p < end) {
		const char *stop = memmem(p, (size_t)(end - p), sep.p, sep.n);
		size_t n = encode(t, span_of(p, (size_t)((stop ? stop : end) - p)), 0, ids);
		char *after = NULL;

		for (size_t i = 0; i < n; i++, line = after)
			if (strtol(line, &after, 10) != ids[i])
				fail_msg("%s: text %d, id %zu", name, texts, i);
		assert_true(*line == '\n' || *line == 0 || (*line == ' ' && line[1] == '\n'));
		line = strchr(line, '\n') ? strchr(line, '\n') + 1 : line + strlen(line);
		texts++;
		p = stop ? stop + sep.n : end;
	}
	assert_int_equal(*line, 0);
	buf_free(&in);
	buf_free(&out);
	return texts;
}

static void vectors_of_llama_bpe_pass(void **state)
{
	if (!llama3)
		skip();
	assert_int_equal(run_vectors(llama3, "llama-bpe"), 46);
}

static void vectors_of_llama_spm_and_phi_3_pass(void **state)
{
	if (!llama2)
		skip();
	assert_int_equal(run_vectors(llama2, "llama-spm"), 46);
	assert_int_equal(run_vectors(llama2, "phi-3"), 46);
}

typedef void (*line_fn)(const json_t *row);

static int each_line(const char *rel, line_fn fn)
{
	struct buf f = BUF_INIT(4 << 20);
	int rows = 0;

	assert_true(shared_file(rel, &f));
	for (const char *p = f.p, *nl; (nl = memchr(p, '\n', (size_t)(f.p + f.n - p)));
	     p = nl + 1) {
		json_t *row = json_loadb(p, (size_t)(nl - p), JSON_REJECT_DUPLICATES, NULL);

		assert_non_null(row);
		fn(row);
		json_decref(row);
		rows++;
	}
	buf_free(&f);
	return rows;
}

static struct span text_of(const json_t *row)
{
	const json_t *t = json_object_get(row, "text");

	return span_of(json_string_value(t), json_string_length(t));
}

static void check_extra(const json_t *row)
{
	size_t n = encode(llama3, text_of(row), 0, ids);

	if (!same_ids(ids, n, json_object_get(row, "ids")))
		fail_msg("%s", text_of(row).p);
	assert_round_trip(llama3, ids, n, text_of(row));
}

static void check_special(const json_t *row)
{
	size_t n = encode(llama3, text_of(row), 0, ids);

	if (!same_ids(ids, n, json_object_get(row, "ids_special_as_text")))
		fail_msg("as text: %s", text_of(row).p);
	n = encode(llama3, text_of(row), TOK_SPECIAL, ids);
	if (!same_ids(ids, n, json_object_get(row, "ids_special_parsed")))
		fail_msg("parsed: %s", text_of(row).p);
}

static void vectors_of_llama3_extra_and_special_pass(void **state)
{
	if (!llama3)
		skip();
	assert_int_equal(each_line("data/tokenizer/vectors/llama3_extra.jsonl", check_extra), 1351);
	assert_int_equal(each_line("data/tokenizer/vectors/llama3_special.jsonl", check_special),
			 14);
}

static void the_end_set_and_names_are_found(void **state)
{
	static const int32_t ends[] = {128001, 128008, 128009};
	struct model_info info = {0};
	struct span s;

	assert_true(tok_is_end(small, 269) && tok_is_end(small, 265) && tok_is_end(small, 268));
	assert_false(tok_is_end(small, 264));
	if (!llama3 || !llama2)
		skip();
	for (int i = 0; i < 3; i++) {
		assert_true(tok_is_end(llama3, ends[i]));
		assert_int_equal(tok_class(llama3, ends[i]), TC_CONTROL);
		assert_int_equal(tok_bytes(llama3, ends[i], &s), 0);
		assert_int_equal(s.n, 0); /* never printed */
	}
	tok_info(llama3, &info);
	assert_int_equal(info.n_end, 3);
	assert_int_equal(info.bos, 128000);
	assert_int_equal(info.n_vocab, 128256);
	assert_int_equal(tok_find(llama3, SPAN_LIT("<|eot_id|>")), 128009);
	assert_int_equal(tok_find(llama3, SPAN_LIT("safe")), 19193);
	assert_int_equal(tok_find(llama3, SPAN_LIT("unsafe")), 39257);
	assert_int_equal(tok_find(llama3, SPAN_LIT("\n\n")), 271);
	assert_int_equal(tok_find(llama3, SPAN_LIT(",S")), 21861);
	assert_int_equal(tok_find(llama3, SPAN_LIT("no such token at all")), -1);
	assert_int_equal(tok_find(llama2, SPAN_LIT("</s>")), 2);
	assert_int_equal(tok_find(llama2, SPAN_LIT("\xe2\x96\x81Hello")), 15043);
	assert_int_equal(tok_find(llama2, SPAN_LIT(" Hello")), 15043);
	assert_true(tok_is_end(llama2, 2));
	assert_int_equal(tok_bytes(llama3, 128256, &s), E_RANGE);
	assert_int_equal(tok_bytes(llama3, -1, &s), E_RANGE);
}

static void there_is_exactly_one_bos(void **state)
{
	size_t n = encode(small, SPAN_LIT("<|begin_of_text|>hello"), TOK_BOS | TOK_SPECIAL, ids);

	assert_int_equal(n, 2);
	assert_int_equal(ids[0], 264);
	assert_int_equal(tok_find(small, SPAN_LIT("hello")), ids[1]);
	n = encode(small, SPAN_LIT("hello"), TOK_BOS | TOK_SPECIAL, ids);
	assert_int_equal(n, 2);
	assert_int_equal(encode(small, SPAN_LIT(""), TOK_BOS, ids), 1);
	n = encode(small, SPAN_LIT("<|begin_of_text|>"), TOK_BOS, ids); /* text of a user */
	for (size_t i = 1; i < n; i++)
		assert_false(is_special(small, ids[i]));
	assert_int_equal(n, 18);
}

static void too_little_room_still_says_how_much(void **state)
{
	size_t n = 0;

	assert_int_equal(tok_encode(small, SPAN_LIT("h e l"), 0, ids, 2, &n), E_RANGE);
	assert_int_equal(n, 5);
	assert_int_equal(tok_encode(small, SPAN_LIT("h e l"), 0, NULL, 0, &n), E_RANGE);
	assert_int_equal(n, 5);
}

/* Small, fast, repeatable. */
static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static const char *const bits[] = {
    "a",
    "B",
    "\xc3\xa9",
    "\xe1\xbb\x87",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "'",
    "'s",
    "'LL",
    "'r",
    "'v",
    "1",
    "23",
    "4567",
    ".",
    "!?",
    "...",
    "\xc2\xa0",
    "\xe3\x80\x80",
    "hello",
    "the",
    "\xff",
    "\xe2\x82",
    "\xf0\x9f",
    "\x98\x80",
    "\xf0\x9f\x98\x80",
    "\xd9\xa3",
    "\xcc\x81",
    "\xc5\xbf",
    "<|eot_id|>",
    "\x00",
    "\xe2\x96\x81",
    "S1",
    ",S",
    "User:",
    "\xc2\xb2",
    "\xe4\xb8\xad\xe6\x96\x87",
};

static size_t random_text(char *out, size_t max)
{
	size_t n = 0, pieces = rnd() % 24;

	for (size_t i = 0; i < pieces; i++) {
		size_t k = rnd() % (sizeof(bits) / sizeof(bits[0]));
		size_t len = bits[k][0] ? strlen(bits[k]) : 1;

		for (uint64_t rep = rnd() % 8 == 0 ? rnd() % 6 : 1; rep && n + len < max; rep--) {
			memcpy(out + n, bits[k], len);
			n += len;
		}
	}
	return n;
}

/* For one text: whatever follows a cut, the settled prefix before the cut stays as it is. */
static void check_stable(const struct tok *t, const char *text, size_t n)
{
	for (size_t cut = 0; cut <= n; cut++) {
		size_t keep = tok_stable_prefix(t, span_of(text, cut));
		size_t n1, n2, whole;

		assert_true(keep <= cut);
		n1 = encode(t, span_of(text, keep), 0, ids);
		whole = encode(t, span_of(text, n), 0, ids2);
		n2 = 0;
		assert_int_equal(tok_encode(t, span_of(text + keep, n - keep), keep ? TOK_CONT : 0,
					    ids + n1, MAX_IDS - n1, &n2),
				 0);
		if (n1 + n2 != whole || memcmp(ids, ids2, whole * sizeof(ids[0])) != 0)
			fail_msg("cut %zu keep %zu of %zu", cut, keep, n);
		for (size_t i = 0; i < whole; i++)
			assert_false(is_special(t, ids2[i]));
	}
}

static void no_later_bytes_move_a_stable_prefix(void **state)
{
	const struct tok *toks[] = {small, llama3, llama2};
	char text[512];

	for (int k = 0; k < 3; k++)
		for (int i = 0; toks[k] && i < (k ? 2500 : 4000); i++)
			check_stable(toks[k], text, random_text(text, 160));
}

static void a_stable_prefix_comes_soon_and_never_in_a_character(void **state)
{
	static const struct {
		const char *text;
		size_t keep;
	} cases[] = {
	    {"", 0},	  {"hello", 0},	 {"hello ", 5},	 {"hello w", 5},     {"hello world.", 11},
	    {"it's", 4},  {"it'", 2},	 {"it'r", 2},	 {"it're", 5},	     {"123", 3},
	    {"12", 0},	  {"1234", 3},	 {"a\n", 1},	 {"a\nb", 2},	     {"a \n b", 3},
	    {"!!!\n", 0}, {"!!!\nx", 4}, {"caf\xc3", 0}, {"a b\xe2\x82", 1}, {"a, \xf0\x9f\x98", 2},
	    {"   a", 2},  {"   ", 0},	 {"a  1", 2},	 {"a 1 ", 3},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t keep = tok_stable_prefix(small, span_cstr(cases[i].text));

		if (keep != cases[i].keep)
			fail_msg("'%s': %zu", cases[i].text, keep);
	}
	if (!llama2)
		skip();
	assert_int_equal(tok_stable_prefix(llama2, SPAN_LIT("Hello world")), 5);
	assert_int_equal(tok_stable_prefix(llama2, SPAN_LIT("Hello  world")), 5);
	assert_int_equal(tok_stable_prefix(llama2, SPAN_LIT(" Hello")), 0);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_megabyte_of_one_letter_is_quick(void **state)
{
	const struct tok *toks[] = {small, llama3, llama2};
	const char letters[] = "ae= \n1\xff";
	size_t len = 1 << 20, n;
	char *text = malloc(len);
	int32_t *out = malloc(2 * len * sizeof(*out));

	for (int k = 0; k < 3; k++) {
		for (const char *c = letters; toks[k] && *c; c++) {
			double t0 = seconds();

			memset(text, *c, len);
			assert_int_equal(
			    tok_encode(toks[k], span_of(text, len), 0, out, 2 * len, &n), 0);
			tok_stable_prefix(toks[k], span_of(text, len));
			assert_true(seconds() - t0 < 20); /* also under sanitizers */
		}
	}
	free(text);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vectors_of_llama_bpe_pass),
	    cmocka_unit_test(vectors_of_llama_spm_and_phi_3_pass),
	    cmocka_unit_test(vectors_of_llama3_extra_and_special_pass),
	    cmocka_unit_test(the_end_set_and_names_are_found),
	    cmocka_unit_test(there_is_exactly_one_bos),
	    cmocka_unit_test(too_little_room_still_says_how_much),
	    cmocka_unit_test(no_later_bytes_move_a_stable_prefix),
	    cmocka_unit_test(a_stable_prefix_comes_soon_and_never_in_a_character),
	    cmocka_unit_test(a_megabyte_of_one_letter_is_quick),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
