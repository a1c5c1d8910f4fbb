/* t_mask.c - a schema as sets of tokens: what is drawn under them is always JSON that satisfies the
 * schema, the sets are exactly what the automaton takes, and no set is empty before the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_help.h"
#include "fault.h"
#include "ggufb.h"
#include "json_valid.h"
#include "model_priv.h"
#include "schema_priv.h"
#include "tok_priv.h"

enum { V_BPE, V_SPM, V_LLAMA3, V_LLAMA2, V_COUNT };
static struct model *vocab[V_COUNT]; /* NULL where shared data is absent */

/* Tokens that cross the borders of strings, lists, escapes and characters. */
static const char *const crossing[] = {
    "{\"",	"\":",	    "\": ",	"\", \"",   "\"}",	"\"]",	 "}]",	"}}",	 "]}",
    "[{\"",	"true",	    "false",	"null",	    "null}",	"nu",	 "12",	"0.5",	 "-1",
    "1,",	", ",	    "\\\"",	"\\u",	    "\\u00",	"u00e9", "a\"", "ab\"}", "a\":1}",
    "\", \"b",	"\"a",	    "[]",	"[\"",	    "abc",	"a b",	 "  ",	" \"",	 " {",
    "\xc3\xa9", "\xe2\x82", "\x82\xac", "\xa9\"",   "\n",	"e5",	 "e",	"2024-", "-01-1",
    "kind",	"\"kind\"", "longer",	"\xf0\x9f", "\x98\x80z"};
#define N_CROSSING (sizeof(crossing) / sizeof(crossing[0]))

static struct model *model_of(struct buf *file)
{
	struct model *m = calloc(1, sizeof(*m));
	struct err err = {0};
	struct gguf g;

	assert_int_equal(gguf_parse(&g, buf_span(file), NULL), 0);
	if (tok_new(&g, &m->tok, &err) < 0)
		fail_msg("%s", err.text);
	tok_info(m->tok, &m->info);
	gguf_free(&g);
	buf_free(file);
	return m;
}

static void drop(struct model *m)
{
	if (!m)
		return;
	mask_trie_free(m->trie);
	tok_free(m->tok);
	free(m);
}

static void put_letters(struct ggufb *b, struct span s)
{
	struct buf t = BUF_INIT(256);

	gb_bytes_to_letters(s, &t);
	gb_elem_str(b, buf_span(&t));
	buf_free(&t);
}

static struct model *small_bpe(void)
{
	const unsigned bytes = 256;
	struct buf f = BUF_INIT(1 << 20);
	struct ggufb b;

	gb_init(&b);
	gb_str(&b, "tokenizer.ggml.model", "gpt2");
	gb_str(&b, "tokenizer.ggml.pre", "llama-bpe");
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, bytes + N_CROSSING + 2);
	for (unsigned i = 0; i < bytes; i++)
		put_letters(&b, span_of(&(char){(char)i}, 1));
	for (size_t i = 0; i < N_CROSSING; i++)
		put_letters(&b, span_cstr(crossing[i]));
	gb_elem_str(&b, SPAN_LIT("<|end_of_text|>"));
	gb_elem_str(&b, SPAN_LIT("<|eot_id|>"));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, bytes + N_CROSSING + 2);
	for (unsigned i = 0; i < bytes + N_CROSSING + 2; i++)
		gb_elem_u32(&b, i < bytes + N_CROSSING ? 1 : 3);
	gb_arr(&b, "tokenizer.ggml.merges", GV_STR, 0);
	gb_finish(&b, &f);
	gb_free(&b);
	return model_of(&f);
}

static struct model *small_spm(void)
{
	struct buf f = BUF_INIT(1 << 20);
	uint32_t n = 3 + 256 + 95 + N_CROSSING;
	char name[8];
	struct ggufb b;

	gb_init(&b);
	gb_str(&b, "tokenizer.ggml.model", "llama");
	gb_arr(&b, "tokenizer.ggml.tokens", GV_STR, n);
	gb_elem_str(&b, SPAN_LIT("<unk>"));
	gb_elem_str(&b, SPAN_LIT("<s>"));
	gb_elem_str(&b, SPAN_LIT("</s>"));
	for (int i = 0; i < 256; i++) {
		snprintf(name, sizeof(name), "<0x%02X>", i);
		gb_elem_str(&b, span_cstr(name));
	}
	for (int i = 0; i < 95; i++)
		gb_elem_str(&b,
			    i ? span_of(&(char){(char)(0x20 + i)}, 1) : SPAN_LIT("\xe2\x96\x81"));
	for (size_t i = 0; i < N_CROSSING; i++)
		gb_elem_str(&b, span_cstr(crossing[i]));
	gb_arr(&b, "tokenizer.ggml.token_type", GV_I32, n);
	for (uint32_t i = 0; i < n; i++)
		gb_elem_u32(&b, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
	gb_arr(&b, "tokenizer.ggml.scores", GV_F32, n);
	for (uint32_t i = 0; i < n; i++)
		gb_elem_f32(&b, -(float)i);
	gb_finish(&b, &f);
	gb_free(&b);
	return model_of(&f);
}

static int setup(void **state)
{
	struct buf f = BUF_INIT(64 << 20);

	vocab[V_BPE] = small_bpe();
	vocab[V_SPM] = small_spm();
	if (gb_llama3(&f))
		vocab[V_LLAMA3] = model_of(&f);
	if (shared_file("data/tokenizer/llama2/ggml-vocab-llama-spm.gguf", &f))
		vocab[V_LLAMA2] = model_of(&f);
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < V_COUNT; i++)
		drop(vocab[i]);
	return 0;
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

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

/* ---- the hook ---- */

static size_t words_of(const struct model *m)
{
	return m->info.n_vocab / 64 + 1;
}

static void same_as_new(struct model *m, struct schema *s, struct mask *k, const int32_t *ids,
			uint32_t n)
{
	uint64_t a[16], b[16];
	struct mask *fresh = NULL;

	assert_true(words_of(m) <= 16);
	memset(a, 0xff, sizeof(a));
	memset(b, 0xff, sizeof(b));
	mask_allow(k, ids, n, a);
	assert_int_equal(mask_new(m, s, &fresh, NULL), 0);
	mask_allow(fresh, ids, n, b);
	mask_free(fresh);
	assert_memory_equal(a, b, words_of(m) * sizeof(*a));
}

static void a_list_that_was_taken_back_is_followed(void **state)
{
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	int32_t ids[64];
	size_t n = 0;

	assert_int_equal(schema_any_object(&s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	for (const char *c = "{\"ab\":[1,\"x\",{\"y\":null}]}"; *c; c++)
		ids[n++] = (uint8_t)*c;
	for (uint32_t i = 0; i <= n; i++)
		same_as_new(m, s, k, ids, i);
	for (int i = 0; i < 200; i++) {
		uint32_t to = (uint32_t)(rnd() % (n + 1));

		same_as_new(m, s, k, ids, to);
		if (to > 2 && to < 6) { /* another token at the same place */
			int32_t was = ids[to - 1];

			ids[to - 1] = 'q';
			same_as_new(m, s, k, ids, to);
			ids[to - 1] = was;
		}
	}
	mask_free(k);
	schema_free(s);
}

static unsigned count(const uint64_t *bits, size_t words)
{
	unsigned n = 0;

	for (size_t i = 0; i < words; i++)
		n += (unsigned)__builtin_popcountll(bits[i]);
	return n;
}

static void behind_the_value_only_the_end_may_come(void **state)
{
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	int32_t ids[] = {'{', '}'}, wrong[] = {'x'};
	uint64_t bits[16];

	assert_int_equal(schema_any_object(&s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	memset(bits, 0xff, sizeof(bits));
	mask_allow(k, ids, 0, bits);
	assert_false(mask_complete(k));
	for (uint32_t i = 0; i < m->info.n_end; i++)
		assert_false(bit(bits, m->info.end[i]));
	memset(bits, 0xff, sizeof(bits));
	mask_allow(k, ids, 2, bits);
	assert_true(mask_complete(k));
	assert_int_equal(count(bits, words_of(m)), m->info.n_end);
	for (uint32_t i = 0; i < m->info.n_end; i++)
		assert_true(bit(bits, m->info.end[i]));
	memset(bits, 0xff, sizeof(bits));
	mask_allow(k, wrong, 1, bits); /* not from a mask: nothing more may come */
	assert_int_equal(count(bits, words_of(m)), 0);
	assert_false(mask_complete(k));
	mask_free(k);
	schema_free(s);
}

static void a_vocabulary_that_cannot_spell_is_refused(void **state)
{
	struct model *m = small_bpe();
	struct schema *s = NULL;
	struct mask *k = NULL;
	struct err err = {0};

	assert_int_equal(schema_any_object(&s, NULL), 0);
	m->tok->pieces['z'].class = TC_UNUSED;
	assert_int_equal(mask_new(m, s, &k, &err), E_UNSUPPORTED);
	m->tok->pieces['z'].class = TC_NORMAL;
	m->info.n_end = 0; /* nothing could end an answer */
	assert_int_equal(mask_new(m, s, &k, &err), E_UNSUPPORTED);
	assert_null(k);
	schema_free(s);
	drop(m);
}

static void sets_are_remembered(void **state)
{
	struct model *m = vocab[V_BPE];
	struct schema *s = NULL;
	struct mask *k = NULL;
	struct mask_stats st;
	static int32_t ids[600];
	uint64_t bits[16];

	assert_int_equal(
	    schema_compile(SPAN_LIT("{\"type\":\"string\",\"maxLength\":5000}"), &s, NULL), 0);
	assert_int_equal(mask_new(m, s, &k, NULL), 0);
	ids[0] = '"';
	for (int i = 1; i < 600; i++)
		ids[i] = 'a';
	for (uint32_t n = 0; n < 600; n++)
		mask_allow(k, ids, n, bits);
	mask_stats(k, &st);
	assert_int_equal(st.calls, 600);
	assert_int_equal(st.misses,
			 2); /* before and inside; how far the bound is does not matter */
	mask_free(k);
	for (unsigned i = 0; i < MASK_MEMO; i++)
		assert_null(m->trie->memo[i].key); /* nothing of a client's stays */
	schema_free(s);
}

/* THREADS places that differ only in the outermost of 60 frames, inside a pattern: no list of plain
 * tokens helps there. The set ends in time and still has every byte that may come. */
static void no_schema_makes_a_set_dear(void **state)
{
	struct model *m = vocab[V_LLAMA3];
	struct buf text = BUF_INIT(1 << 16);
	struct schema *s = NULL;
	struct thr out[THREADS];
	struct mask *k = NULL;
	int32_t ids[60];
	uint64_t *bits;

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
	bits = malloc((m->info.n_vocab / 64 + 1) * sizeof(*bits));
	memset(bits, 0xff, (m->info.n_vocab / 64 + 1) * sizeof(*bits));
	mask_allow(k, ids, 60, bits);
	assert_true(m->trie->p.work >= MASK_WORK && m->trie->p.work < MASK_WORK + MASK_WORK / 4);
	for (unsigned c = 0x20; c < 0x7f; c++)
		assert_int_equal(bit(bits, byte_token(m, (char)c)),
				 pda_bytes(span_of(&(char){(char)c}, 1), out) > 0);
	free(bits);
	mask_free(k);
	schema_free(s);
	buf_free(&text);
}

/* ---- through the engine ---- */

static void the_engine_draws_under_a_mask(void **state)
{
	const struct shape shape = {.embd = 64,
				    .layers = 2,
				    .heads = 4,
				    .kv_heads = 2,
				    .head_dim = 16,
				    .ff = 96,
				    .vocab = SMALL_VOCAB,
				    .context = 1024};
	const char *text =
	    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":"
	    "20},\"b\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"maxItems\":5}},"
	    "\"required\":[\"a\",\"b\"]}";
	json_t *js = json_text(text, strlen(text));
	struct gen_limit limit = {.max_new = 600};
	int32_t prompt[] = {264, 'h', 'i'};
	struct outcome *o = malloc(sizeof(*o));
	struct schema *s = NULL;
	struct rig r;

	rig_open(&r, random_model(&shape, 7, NULL), NULL, 1, 64 << 20);
	assert_int_equal(schema_compile(span_cstr(text), &s, NULL), 0);
	for (uint64_t seed = 0; seed < 6; seed++) {
		struct seq *q = rig_seq(&r, SEQ_CHAT, 700);
		struct buf out = BUF_INIT(1 << 16);
		struct mask *k = NULL;
		struct sampler smp;
		const char *why = "no JSON";
		struct span bytes;
		job_id job;
		json_t *v;

		sampler_init(&smp, seed);
		smp.temperature = seed ? 1.5f : 0;
		smp.top_p = 1;
		assert_int_equal(mask_new(r.m, s, &k, NULL), 0);
		append_all(r.e, q, prompt, 3, NULL);
		assert_int_equal(seq_generate(q, &smp, &limit, mask_allow, k, &job, NULL), 0);
		seq_credit(q, limit.max_new);
		run_job(r.e, job, o);
		assert_int_equal(o->kind, EV_DONE);
		assert_int_equal(o->end, GEN_END);
		for (uint32_t i = 0; i < o->n_tokens; i++) {
			assert_int_equal(model_token_bytes(r.m, o->tokens[i], &bytes), 0);
			buf_span_put(&out, bytes);
		}
		v = json_text(out.p, out.n);
		if (!v || !json_valid(js, js, v, &why))
			fail_msg("%s fails at %s", buf_cstr(&out), why);
		json_decref(v);
		mask_free(k);
		buf_free(&out);
		seq_free(q);
	}
	schema_free(s);
	rig_close(&r);
	json_decref(js);
	free(o);
}

static void lack_of_memory_is_an_error_everywhere(void **state)
{
#ifdef SP_FAULT
	for (unsigned nth = 1;; nth++) {
		struct model *m = small_bpe();
		struct schema *s = NULL;
		struct mask *k = NULL;
		struct err err = {0};
		uint64_t bits[16];
		int32_t ids[] = {'[', '{'};
		bool fired;
		int rc;

		fault_arm("*", nth, false, 0);
		rc = schema_compile(span_cstr(schemas[4 + nth % 2]), &s, &err);
		if (rc == 0)
			rc = mask_new(m, s, &k, &err);
		if (rc == 0)
			mask_allow(k, ids, 2, bits);
		fired = fault_fired();
		fault_disarm();
		assert_true(rc == 0 || (rc == E_NOMEM && err.text[0]));
		mask_free(k);
		schema_free(s);
		drop(m);
		if (!fired && nth > 2)
			break;
	}
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(masks_of_byte_level_bpe_are_exact),
	    cmocka_unit_test(masks_of_sentencepiece_are_exact),
	    cmocka_unit_test(masks_of_the_llama_3_vocabulary_are_exact),
	    cmocka_unit_test(masks_of_the_llama_2_vocabulary_are_exact),
	    cmocka_unit_test(a_list_that_was_taken_back_is_followed),
	    cmocka_unit_test(behind_the_value_only_the_end_may_come),
	    cmocka_unit_test(a_vocabulary_that_cannot_spell_is_refused),
	    cmocka_unit_test(sets_are_remembered),
	    cmocka_unit_test(no_schema_makes_a_set_dear),
	    cmocka_unit_test(the_engine_draws_under_a_mask),
	    cmocka_unit_test(lack_of_memory_is_an_error_everywhere),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
