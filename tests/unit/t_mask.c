/* t_mask.c - a schema as sets of tokens: what is drawn under them is always JSON that satisfies the
 * schema, the sets are exactly what the automaton takes, and no set is empty before the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_help.h"
#include "json_valid.h"
#include "mask_help.h"
#include "tok_priv.h"

/* ---- the automaton again, beside the mask ---- */

static struct frame frames[KEEP_FRAMES + TRIE_MAX_TOKEN * 2 * THREADS], spare[KEEP_FRAMES];
static struct thr threads[THREADS];
static uint32_t n_threads;
static struct pda pda;

static void pda_begin(const struct schema *s)
{
	pda = (struct pda){.s = s, .fr = frames, .cap_fr = sizeof(frames) / sizeof(frames[0])};
	n_threads = pda_start(&pda, threads);
}

/* Threads after these bytes, into out. */
static uint32_t pda_bytes(struct span s, struct thr out[THREADS])
{
	struct thr next[THREADS];
	uint32_t n = n_threads;

	memcpy(out, threads, sizeof(threads));
	for (size_t i = 0; i < s.n && n; i++) {
		n = pda_step(&pda, out, n, (uint8_t)s.p[i], next);
		memcpy(out, next, sizeof(next));
	}
	return n;
}

static void pda_take(struct span s)
{
	n_threads = pda_bytes(s, threads);
	pda_tidy(&pda, threads, n_threads, spare);
}

static bool bit(const uint64_t *bits, int32_t id)
{
	return bits[id / 64] >> (id % 64) & 1;
}

/* Truth: a token may come when the automaton takes all its bytes. */
static void check_exact(const struct model *m, const uint64_t *bits)
{
	struct thr out[THREADS];
	uint32_t mark = pda.n_fr;
	bool whole = pda_complete(&pda, threads, n_threads);

	for (int32_t id = 0; id < (int32_t)m->info.n_vocab; id++) {
		struct span s;
		bool want;

		assert_int_equal(model_token_bytes(m, id, &s), 0);
		want = s.n > 0 && s.n <= TRIE_MAX_TOKEN && pda_bytes(s, out) > 0;
		pda.n_fr = mark;
		if (tok_is_end(m->tok, id))
			want = whole;
		if (bit(bits, id) != want)
			fail_msg("token %d '%.*s': %d", id, (int)s.n, s.p, want);
	}
}

/* ---- drawing ---- */

static const char *const schemas[] = {
    "{\"type\":\"object\"}",
    "{}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":6},"
    "\"kind\":{\"type\":\"integer\"},\"b\":{\"type\":[\"string\",\"null\"],\"maxLength\":200}},"
    "\"required\":[\"a\",\"kind\",\"b\"],\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"boolean\"},\"ab\":{\"type\":\"number\"}"
    "},"
    "\"additionalProperties\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":2,"
    "\"maxLength\":3},\"maxItems\":3}}",
    "{\"type\":\"array\",\"minItems\":1,\"maxItems\":4,\"items\":{\"anyOf\":[{\"type\":\"object\","
    "\"properties\":{\"kind\":{\"const\":\"a\"},\"x\":{\"type\":\"integer\"}},\"required\":["
    "\"kind\"]},"
    "{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"abc\"},\"y\":{\"$ref\":\"#\"}},"
    "\"required\":[\"kind\"]},{\"type\":\"string\",\"maxLength\":5},{\"enum\":[\"longer "
    "word\",12,1]}]}}",
    "{\"type\":\"object\",\"properties\":{\"d\":{\"type\":\"string\",\"format\":\"date\"},\"e\":"
    "{\"type\":\"string\",\"pattern\":\"^(ab|a b|[0-9]{2})+$\"},\"n\":{\"type\":\"number\","
    "\"minimum\":0.25,\"maximum\":12}},\"required\":[\"d\",\"e\",\"n\"]}",
    "{\"enum\":[\"a\\\"b\",\"\xc3\xa9\",\"\xe2\x82\xac\",{\"a\":1},[],null,-1.5]}",
};
#define N_SCHEMAS (sizeof(schemas) / sizeof(schemas[0]))

static int32_t byte_token(const struct model *m, char c)
{
	for (int32_t id = 0; id < (int32_t)m->info.n_vocab; id++) {
		struct span s;

		if (model_token_bytes(m, id, &s) == 0 && s.n == 1 && s.p[0] == c)
			return id;
	}
	return -1;
}

static int32_t draw(const struct model *m, const uint64_t *bits, unsigned step, const int32_t *ends)
{
	uint32_t n = m->info.n_vocab, at = (uint32_t)(rnd() % n);

	if (step > 60 || rnd() % 4 == 0)
		for (int i = 0; i < 5; i++)
			if (bit(bits, ends[i]) && rnd() % 4)
				return ends[i];
	for (uint32_t i = 0; i < n; i++, at = (at + 1) % n)
		if (bit(bits, (int32_t)at))
			return (int32_t)at;
	return -1;
}

/* The set, made in pieces of any size. */
static void in_pieces(struct mask *k, const int32_t *ids, unsigned n, uint64_t *bits)
{
	uint64_t work;

	do
		work = 1 + rnd() % 1500;
	while (!mask_try(k, ids, n, &work, bits));
}

/* One answer; its masks are held to the truth at every `every`th token (0: never). */
static void one_answer(struct model *m, struct schema *s, json_t *js, unsigned every)
{
	size_t words = m->info.n_vocab / 64 + 1;
	uint64_t *bits = malloc(words * sizeof(*bits));
	struct buf text = BUF_INIT(1 << 20);
	static int32_t ids[4096];
	struct mask *k = NULL;
	const char *why = "no JSON", marks[] = "\"}],:";
	int32_t ends[5];
	unsigned n = 0;
	json_t *v;

	for (int i = 0; i < 5; i++)
		ends[i] = byte_token(m, marks[i]);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	pda_begin(s);
	for (;;) {
		struct span bytes;

		memset(bits, 0xff, words * sizeof(*bits));
		if (n % 2) /* it is the one that is remembered, or the one that finds it */
			in_pieces(k, ids, n, bits);
		else
			mask_allow(k, ids, n, bits);
		if (every && n % every == 0)
			check_exact(m, bits);
		ids[n] = draw(m, bits, n, ends);
		if (ids[n] < 0)
			fail_msg("a dead end behind %s", buf_cstr(&text));
		if (tok_is_end(m->tok, ids[n])) {
			assert_true(mask_complete(k));
			break;
		}
		assert_int_equal(model_token_bytes(m, ids[n], &bytes), 0);
		assert_true(bytes.n > 0); /* never a control token */
		buf_span_put(&text, bytes);
		pda_take(bytes);
		assert_true(n_threads > 0);
		assert_true(++n < 4096);
	}
	v = json_text(text.p, text.n);
	if (!v || !json_valid(js, js, v, &why))
		fail_msg("%s fails at %s", buf_cstr(&text), why);
	json_decref(v);
	mask_free(k);
	buf_free(&text);
	free(bits);
}

static void answers(struct model *m, unsigned n, unsigned every)
{
	for (size_t i = 0; i < N_SCHEMAS; i++) {
		json_t *js = json_text(schemas[i], strlen(schemas[i]));
		struct schema *s = NULL;
		struct err err = {0};

		assert_non_null(js);
		if (schema_compile(span_cstr(schemas[i]), &s, &err) < 0)
			fail_msg("%s", err.text);
		for (unsigned k = 0; k < n; k++)
			one_answer(m, s, js, every);
		schema_free(s);
		json_decref(js);
	}
}

static void masks_of_byte_level_bpe_are_exact(void **state)
{
	answers(vocab[V_BPE], 40, 1);
}

static void masks_of_sentencepiece_are_exact(void **state)
{
	answers(vocab[V_SPM], 40, 1);
}

static void masks_of_the_llama_3_vocabulary_are_exact(void **state)
{
	if (!vocab[V_LLAMA3])
		skip();
	answers(vocab[V_LLAMA3], 2, 16);
}

static void masks_of_the_llama_2_vocabulary_are_exact(void **state)
{
	if (!vocab[V_LLAMA2])
		skip();
	answers(vocab[V_LLAMA2], 3, 8);
}

/* THREADS places that differ only in the outermost of 60 frames, inside a pattern: no list of plain
 * tokens helps there. The set ends in time and still has every byte that may come. */
static void no_schema_makes_a_set_dear(void **state)
{
	struct model *m = vocab[V_LLAMA3];
	struct buf text = BUF_INIT(1 << 16);
	struct schema *s = NULL;
	struct thr out[THREADS];
	struct mask *k = NULL, *again = NULL;
	struct mask_stats st, now;
	uint64_t *bits, *b, work, was = 0;
	unsigned pieces = 0;
	int32_t ids[60];

	if (!m)
		skip();
	for (unsigned i = 0; i < THREADS; i++)
		buf_fmt(&text, "%s{\"maxItems\":%u,\"items\":{\"$ref\":\"#/$defs/x\"}}",
			i ? "," : "{\"anyOf\":[", 10 + i);
	buf_puts(&text, "],\"$defs\":{\"x\":{\"anyOf\":[{\"items\":{\"$ref\":\"#/$defs/x\"}},"
			"{\"pattern\":\"^[a-y]{0,300}$\"}]}}}");
	assert_int_equal(schema_compile(buf_span(&text), &s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	pda_begin(s);
	for (unsigned i = 0; i < 60; i++) {
		ids[i] = byte_token(m, i < 59 ? '[' : '"');
		pda_take(span_of(i < 59 ? "[" : "\"", 1));
	}
	assert_int_equal(n_threads, THREADS);
	bits = malloc(words_of(m) * sizeof(*bits));
	b = malloc(words_of(m) * sizeof(*b));
	memset(bits, 0xff, (m->info.n_vocab / 64 + 1) * sizeof(*bits));
	mask_allow(k, ids, 60, bits);
	mask_stats(k, &st);
	assert_true(st.work >= MASK_WORK && st.work < MASK_WORK + MASK_WORK / 4);
	/* a piece of it ends in time too, and the pieces make up the same set */
	assert_int_equal(mask_new(m, s, &again, NULL), 0);
	memset(b, 0xff, words_of(m) * sizeof(*b));
	for (bool done = false; !done; pieces++) {
		work = MASK_WORK / 40;
		done = mask_try(again, ids, 60, &work, b);
		mask_stats(again, &now);
		assert_true(pieces == 0 || now.work - was <= MASK_WORK / 40);
		was = now.work;
	}
	assert_true(pieces >= 40);
	assert_memory_equal(b, bits, words_of(m) * sizeof(*b));
	for (unsigned c = 0x20; c < 0x7f; c++)
		assert_int_equal(bit(bits, byte_token(m, (char)c)),
				 pda_bytes(span_of(&(char){(char)c}, 1), out) > 0);
	free(bits);
	free(b);
	mask_free(k);
	mask_free(again);
	schema_free(s);
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(masks_of_byte_level_bpe_are_exact),
	    cmocka_unit_test(masks_of_sentencepiece_are_exact),
	    cmocka_unit_test(masks_of_the_llama_3_vocabulary_are_exact),
	    cmocka_unit_test(masks_of_the_llama_2_vocabulary_are_exact),
	    cmocka_unit_test(no_schema_makes_a_set_dear),
	};

	return cmocka_run_group_tests(tests, vocab_setup, vocab_teardown);
}
