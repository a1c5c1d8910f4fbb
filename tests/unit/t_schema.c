/* t_schema.c - a schema as an automaton over bytes: what it accepts, what it refuses, that it never
 * leads into a dead end, and that what nobody enforces is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_valid.h"
#include "schema_priv.h"

struct run {
	struct pda p;
	struct thr t[THREADS], next[THREADS];
	uint32_t n;
	struct frame fr[KEEP_FRAMES + 2 * THREADS], spare[KEEP_FRAMES];
};

static struct run run;

static void begin(const struct schema *s)
{
	run.p = (struct pda){.s = s, .fr = run.fr, .cap_fr = KEEP_FRAMES + 2 * THREADS};
	run.n = pda_start(&run.p, run.t);
}

static bool feed(uint8_t c)
{
	run.n = pda_step(&run.p, run.t, run.n, c, run.next);
	memcpy(run.t, run.next, sizeof(run.t));
	pda_tidy(&run.p, run.t, run.n, run.spare);
	return run.n > 0;
}

static bool complete(void)
{
	return pda_complete(&run.p, run.t, run.n);
}

static unsigned options(uint8_t out[256])
{
	uint32_t mark = run.p.n_fr;
	unsigned k = 0;

	for (unsigned c = 0; c < 256; c++) {
		if (pda_step(&run.p, run.t, run.n, (uint8_t)c, run.next))
			out[k++] = (uint8_t)c;
		run.p.n_fr = mark;
	}
	return k;
}

static struct schema *compiled(const char *text)
{
	struct schema *s = NULL;
	struct err err = {0};

	if (schema_compile(span_cstr(text), &s, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return s;
}

/* Every prefix is accepted, and the whole is complete. */
static bool accepts(const struct schema *s, const char *doc)
{
	begin(s);
	for (; *doc; doc++)
		if (!feed((uint8_t)*doc))
			return false;
	return complete();
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

/* One random value into text; closing signs are liked more as it grows. */
static void generate(const struct schema *s, struct buf *text)
{
	static const char ends[] = "\"}]:,";
	uint8_t may[256];

	begin(s);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned k = options(may);
		uint8_t c;

		if (k == 0 && !complete())
			fail_msg("a dead end behind %s", buf_cstr(text));
		if (k == 0 || (complete() && rnd() % 4 == 0))
			return;
		c = may[rnd() % k];
		if (step > 400 || rnd() % 4 == 0)
			for (const char *e = ends; *e; e++)
				if (memchr(may, *e, k) && rnd() % 4) {
					c = (uint8_t)*e;
					break;
				}
		assert_true(feed(c));
		buf_u8(text, c);
	}
	fail_msg("no end after 20000 bytes: %.300s", buf_cstr(text));
}

static const char *const schemas[] = {
    "{\"type\":\"object\"}",
    "{}",
    "true",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"integer\"}}"
    ","
    "\"required\":[\"a\",\"b\"],\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"},\"ab\":{\"type\":\"boolean\"}"
    ","
    "\"b\\\"\\u00e9\\n\":{\"type\":\"null\"}},\"required\":[\"ab\"]}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
    "\"additionalProperties\":{\"type\":\"integer\"}}",
    "{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"string\",\"null\"]}}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":3},\"minItems\":2,"
    "\"maxItems\":4}",
    "{\"type\":\"array\",\"maxItems\":0}",
    "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}",
    "{\"type\":\"integer\"}",
    "{\"type\":\"integer\",\"minimum\":-7,\"maximum\":1234}",
    "{\"type\":\"integer\",\"exclusiveMinimum\":99,\"exclusiveMaximum\":101}",
    "{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
    "{\"type\":\"number\",\"minimum\":-0.25,\"exclusiveMaximum\":0.5}",
    "{\"type\":\"number\",\"exclusiveMinimum\":1e3,\"maximum\":1.0005e3}",
    "{\"enum\":[1,12,\"x\",\"xy\",null,true,[1,{\"a\":2}],1.5]}",
    "{\"type\":[\"string\",\"null\"],\"enum\":[\"a\",null,3]}",
    "{\"const\":{\"a\":[\"\\u0001\\\\\\\"\"]}}",
    "{\"anyOf\":[{\"type\":\"string\",\"maxLength\":4},{\"enum\":[\"longer than four\",7]},"
    "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":1},\"x\":{\"type\":\"string\"}},"
    "\"required\":[\"k\",\"x\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":12},"
    "\"y\":{\"type\":\"null\"}},\"required\":[\"k\",\"y\"]}]}",
    "{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\","
    "\"minimum\":0,"
    "\"maximum\":9},\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/n\"},{\"type\":\"null\"}]}},"
    "\"required\":[\"v\",\"next\"],\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}",
    "{\"type\":\"object\",\"properties\":{\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}}"
    ","
    "\"required\":[\"kids\"]}",
    "{\"definitions\":{\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/definitions/a\"}]}},"
    "\"$ref\":\"#/definitions/a\"}",
    "{\"type\":\"string\",\"format\":\"date\"}",
    "{\"type\":\"string\",\"format\":\"date-time\"}",
    "{\"type\":\"string\",\"format\":\"time\"}",
    "{\"type\":\"string\",\"format\":\"duration\"}",
    "{\"type\":\"string\",\"format\":\"uuid\"}",
    "{\"type\":\"string\",\"format\":\"email\"}",
    "{\"type\":\"string\",\"format\":\"hostname\"}",
    "{\"type\":\"string\",\"format\":\"ipv4\"}",
    "{\"type\":\"string\",\"format\":\"ipv6\"}",
    "{\"type\":\"string\",\"pattern\":\"^[a-c]{2,3}(x|yz)*\\\\d+$\"}",
    "{\"type\":\"string\",\"pattern\":\"[a-z0-9].[A-Z0-9]\"}",
    "{\"type\":\"string\",\"pattern\":\"^(\\\\+\\\\d{1,2} )?[^a-zA-Z ]{3}-[0-9]{4}$\"}",
};
#define N_SCHEMAS (sizeof(schemas) / sizeof(schemas[0]))

static void whatever_is_generated_satisfies_the_schema(void **state)
{
	for (size_t i = 0; i < N_SCHEMAS; i++) {
		struct schema *s = compiled(schemas[i]);
		json_t *js = json_text(schemas[i], strlen(schemas[i]));

		assert_non_null(js);
		for (int k = 0; k < 60; k++) {
			struct buf text = BUF_INIT(1 << 16);
			const char *why = "no JSON";
			json_t *v;

			generate(s, &text);
			v = json_text(text.p, text.n);
			if (!v || !json_valid(js, js, v, &why))
				fail_msg("%s: %s fails at %s", schemas[i], buf_cstr(&text), why);
			json_decref(v);
			buf_free(&text);
		}
		json_decref(js);
		schema_free(s);
	}
}

static const struct {
	const char *schema, *good[9], *bad[12];
} cases[] = {
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}"
     "},"
     "\"required\":[\"b\"],\"additionalProperties\":false}",
     {"{\"a\":1,\"b\":\"x\"}", "{\"b\":\"\"}", "{ \"a\": -5, \"b\": \"\\n\\u00e9\" }"},
     {" {\"b\":\"\"}", "{\"a\":1}", "{\"b\":\"x\",\"a\":1}", "{\"b\":\"x\",}", "{\"b\":\"x\"} ",
      "{\"c\":1,\"b\":\"\"}", "{\"b\":1}", "{\"b\":\"x\",\"b\":\"y\"}", "{  \"b\":\"\"}",
      "{\"b\" :\"\"}", "{\"b\":\"\n\"}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"additionalProperties\":"
     "{\"type\":\"integer\"}}",
     {"{}", "{\"a\":null}", "{\"a\":null,\"b\":1}", "{\"ab\":1}", "{\"\":1,\"x y\":2}"},
     {"{\"a\":1}", "{\"b\":1,\"a\":2}", "{\"b\":1,\"a\":null}", "{\"\\u0061\":1}", "{\"b\":null}"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":2}",
     {"[1]", "[1,2]", "[ 1, 2 ]", "[-0]"},
     {"[]", "[1,2,3]", "[1,]", "[01]", "[1.5]", "[1 ,2]", "[+1]", "[1e2]"}},
    {"{\"type\":\"string\"}",
     {"\"\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00\"",
      "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\x7f\"", "\"\xed\x9f\xbf\"", "\"\xf4\x8f\xbf\xbf\""},
     {"\"\x01\"", "\"\\u0000\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\x\"", "\"\xff\"",
      "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe0\x80\x80\"", "\"\xc3\""}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\xc3\xa9\xc3\xa9\xc3\xa9\"", "\"\\ud83d\\ude00x\"", "\"\\n\\n\""},
     {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\"", "\"\xc3\xa9\""}},
    {"{\"type\":\"number\"}",
     {"0", "-0", "1.5", "-12.50", "1e5", "1E+05", "2.5e-3", "123456789012345"},
     {"01", "-", "1.", ".5", "1e", "1e123", "1234567890123456", "+1", "1.5.5", "NaN"}},
    {"{\"type\":\"integer\",\"minimum\":-3,\"maximum\":120}",
     {"-3", "0", "-0", "9", "120", "12"},
     {"-4", "121", "1200", "00", "-30", "999"}},
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     {"0", "1", "0.5", "0.000001", "1.0", "0.999999"},
     {"2", "1.000001", "-0.1", "10", "0.0000001", "1e0"}},
    {"{\"enum\":[1,12,\"a\",\"ab\"]}",
     {"1", "12", "\"a\"", "\"ab\""},
     {"2", "123", "\"b\"", "\"abc\"", "a"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[1,12]}}",
     {"[1,12]", "[]"},
     {"[2]", "[112]", "[1.0]"}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"\"2024-02-28\"", "\"1999-12-31\""},
     {"\"2024-02-30\"", "\"2024-04-31\"", "\"2024-13-01\"", "\"24-01-01\"", "\"2024-00-10\""}},
    {"{\"type\":\"string\",\"pattern\":\"^a.c$\"}",
     {"\"abc\"", "\"a c\""},
     {"\"ac\"", "\"abcd\"", "\"a\\nc\"", "\"xabc\""}},
};

static void listed_documents_are_accepted_and_refused(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct schema *s = compiled(cases[i].schema);

		for (unsigned k = 0; k < 9 && cases[i].good[k]; k++)
			if (!accepts(s, cases[i].good[k]))
				fail_msg("%s refuses %s", cases[i].schema, cases[i].good[k]);
		for (unsigned k = 0; k < 12 && cases[i].bad[k]; k++)
			if (accepts(s, cases[i].bad[k]))
				fail_msg("%s accepts %s", cases[i].schema, cases[i].bad[k]);
		schema_free(s);
	}
}

static void what_is_not_enforced_is_refused_by_name_and_place(void **state)
{
	static const struct {
		const char *schema;
		int code;
		const char *says;
	} bad[] = {
	    {"{\"oneOf\":[{}]}", E_UNSUPPORTED, "'oneOf' is not supported, at /oneOf"},
	    {"{\"type\":\"object\",\"properties\":{\"secret\":{\"allOf\":[]}}}", E_UNSUPPORTED,
	     "'allOf' is not supported, at /properties/[0]/allOf"},
	    {"{\"properties\":{\"x\":{},\"oneOf\":{\"type\":\"array\",\"items\":{\"not\":{}}}}}",
	     E_UNSUPPORTED, "'not' is not supported, at /properties/[1]/items/not"},
	    {"{\"anyOf\":[{},{\"type\":\"array\",\"uniqueItems\":true}]}", E_UNSUPPORTED,
	     "'uniqueItems' is not supported, at /anyOf/1/uniqueItems"},
	    {"{\"type\":\"object\",\"canary\":1}", E_UNSUPPORTED, "nobody here knows, at /[1]"},
	    {"{\"type\":\"string\",\"format\":\"canary\"}", E_UNSUPPORTED,
	     "'format' with this value"},
	    {"{\"type\":\"string\",\"pattern\":\"(?=a)b\"}", E_UNSUPPORTED, "'pattern'"},
	    {"{\"type\":\"string\",\"pattern\":\"\\\\bx\"}", E_UNSUPPORTED, "'pattern'"},
	    {"{\"type\":\"string\",\"pattern\":\"\xc3\xa9\"}", E_UNSUPPORTED, "only ASCII"},
	    {"{\"type\":\"string\",\"pattern\":\"((a{1000}){1000}){1000}\"}", E_UNSUPPORTED,
	     "too large"},
	    {"{\"type\":\"string\",\"pattern\":\"^\\\"$\"}", E_UNSUPPORTED, "no text"},
	    {"{\"type\":\"string\",\"pattern\":\"^a\",\"maxLength\":3}", E_UNSUPPORTED, "beside"},
	    {"{\"type\":\"integer\",\"multipleOf\":3}", E_UNSUPPORTED, "'multipleOf'"},
	    {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", E_UNSUPPORTED,
	     "'maximum' leaves"},
	    {"{\"type\":\"integer\",\"minimum\":true}", E_FORMAT, "'minimum' must be a number"},
	    {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", E_UNSUPPORTED, "'minLength'"},
	    {"{\"type\":\"string\",\"minLength\":-1}", E_FORMAT, "'minLength'"},
	    {"{\"type\":\"object\",\"required\":[\"canary\"]}", E_UNSUPPORTED,
	     "'required' names what 'properties' does not, at /required/0"},
	    {"{\"$ref\":\"http://canary/\"}", E_UNSUPPORTED, "'$ref' must begin with '#'"},
	    {"{\"$ref\":\"#/$defs/canary\"}", E_FORMAT, "'$ref' points to nothing"},
	    {"{\"$ref\":\"#\"}", E_UNSUPPORTED, "no value"},
	    {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#/$defs/"
	     "n\"}},"
	     "\"required\":[\"n\"]}},\"$ref\":\"#/$defs/n\"}",
	     E_UNSUPPORTED, "no value of at most 64 levels"},
	    {"{\"anyOf\":[{}],\"type\":\"string\"}", E_UNSUPPORTED, "'type' beside 'anyOf'"},
	    {"{\"type\":\"text\"}", E_FORMAT, "'type' names no type"},
	    {"{\"type\":\"integer\",\"enum\":[\"a\"]}", E_UNSUPPORTED, "'enum' leaves no value"},
	    {"{\"enum\":[1e999]}", E_RANGE, "a number too large"},
	    {"false", E_UNSUPPORTED, "must be an object"},
	    {"[]", E_FORMAT, "must be an object"},
	    {"{\"type\":\"object\"", E_FORMAT, "without its end"},
	    {"{\"type\":\"object\",\"type\":\"object\"}", E_FORMAT, "twice"},
	    {"{\"title\":\"\\u0000\"}", E_FORMAT, "NUL"},
	    {"{} {}", E_FORMAT, "more than one value"},
	    {"", E_FORMAT, "1 to 65536 bytes"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};
		struct schema *s = NULL;
		int rc = schema_compile(span_cstr(bad[i].schema), &s, &err);

		if (rc != bad[i].code || !strstr(err.text, bad[i].says))
			fail_msg("%s: %d %s", bad[i].schema, rc, err.text);
		assert_null(s);
		assert_null(strstr(err.text, "canary"));
		assert_null(strstr(err.text, "secret"));
	}
}

static void hostile_sizes_are_refused(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct schema *s = NULL;
	struct err err = {0};

	for (int i = 0; i < 70; i++)
		buf_puts(&b, "{\"items\":");
	assert_int_equal(schema_compile(buf_span(&b), &s, &err), E_RANGE);
	buf_reset(&b);
	buf_puts(&b, "{\"type\":\"object\",\"properties\":{");
	for (int i = 0; i < 600; i++)
		buf_fmt(&b, "%s\"p%d\":{}", i ? "," : "", i);
	buf_puts(&b, "}}");
	assert_int_equal(schema_compile(buf_span(&b), &s, &err), E_RANGE);
	buf_reset(&b);
	buf_puts(&b, "{\"enum\":[0");
	for (int i = 1; i < 1100; i++)
		buf_fmt(&b, ",%d", i);
	buf_puts(&b, "]}");
	assert_int_equal(schema_compile(buf_span(&b), &s, &err), E_RANGE);
	buf_reset(&b);
	buf_puts(&b, "{\"anyOf\":[{}");
	for (int i = 0; i < 8000; i++)
		buf_puts(&b, ",{}");
	buf_puts(&b, "]}");
	assert_int_equal(schema_compile(buf_span(&b), &s, &err), E_RANGE);
	/* each value holds the next one, and references to all of them make all be listed whole */
	buf_reset(&b);
	buf_puts(&b, "{\"type\":\"object\",\"properties\":{");
	for (int i = 0; i < 40; i++) {
		buf_fmt(&b, "%s\"p%d\":{\"$ref\":\"#/$defs/x", i ? "," : "", i);
		for (int k = 0; k < i; k++)
			buf_puts(&b, "/const");
		buf_puts(&b, "\"}");
	}
	buf_puts(&b, "},\"$defs\":{\"x\":");
	for (int i = 0; i < 40; i++)
		buf_puts(&b, "{\"const\":");
	buf_putc(&b, '"');
	for (int k = 0; k < 15000; k++)
		buf_putc(&b, 'a');
	buf_putc(&b, '"');
	for (int i = 0; i < 42; i++)
		buf_putc(&b, '}');
	assert_true(b.n <= SCHEMA_MAX_BYTES);
	err = (struct err){0};
	if (schema_compile(buf_span(&b), &s, &err) != E_RANGE)
		fail_msg("%s", err.text);
	assert_non_null(strstr(err.text, "more than 512 KiB of names and listed values"));
	buf_reset(&b);
	for (unsigned i = 0; i <= SCHEMA_MAX_BYTES; i++)
		buf_putc(&b, ' ');
	assert_int_equal(schema_compile(buf_span(&b), &s, &err), E_RANGE);
	buf_free(&b);
}

/* Many classes of bytes, hundreds of states that all lead on to all others. */
static void put_dear_pattern(struct buf *b, int n)
{
	buf_fmt(b, "%s\"p%d\":{\"pattern\":\"^(", n ? "," : "", n);
	for (unsigned bit = 0; bit < 7; bit++) {
		buf_puts(b, bit ? "|[" : "[");
		for (unsigned c = '0'; c <= 'z'; c++)
			if (((c >= 'a') || (c >= 'A' && c <= 'Z') || c <= '9') && c >> bit & 1)
				buf_putc(b, (char)c);
		buf_puts(b, "]");
	}
	buf_fmt(b, ")?(.*){%d}$\"}", 440 - n);
}

static void what_patterns_cost_is_capped(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct schema *s = NULL;
	struct err err = {0};

	for (int n = 4; n <= 28; n += 24) {
		buf_reset(&b);
		buf_puts(&b, "{\"properties\":{");
		for (int i = 0; i < n; i++)
			put_dear_pattern(&b, i);
		buf_puts(&b, "}}");
		assert_int_equal(schema_compile(buf_span(&b), &s, &err),
				 n == 4 ? 0 : E_UNSUPPORTED);
		schema_free(s);
	}
	assert_non_null(strstr(err.text, "'pattern': too "));
	buf_free(&b);
}

static void nesting_ends_at_the_depth_cap(void **state)
{
	struct schema *s = compiled("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}");
	unsigned depth = 0;

	begin(s);
	while (feed('['))
		depth++;
	assert_int_equal(depth, SCHEMA_MAX_DEPTH);
	begin(s);
	for (unsigned i = 0; i < depth; i++)
		assert_true(feed('['));
	for (unsigned i = 0; i < depth; i++)
		assert_true(feed(']'));
	assert_true(complete());
	schema_free(s);
	s = compiled(schemas[20]); /* a list that must end in null */
	begin(s);
	depth = 0;
	for (const char *in = "{\"v\":1,\"next\":", *c = in; run.n; c = c[1] ? c + 1 : in) {
		struct run before = run;

		if (!feed((uint8_t)*c)) {
			run = before;
			run.p.fr = run.fr;
			break;
		}
		depth += *c == '{';
	}
	assert_int_equal(depth, SCHEMA_MAX_DEPTH);
	for (const char *c = "null"; *c; c++)
		assert_true(feed((uint8_t)*c));
	schema_free(s);
}

static void bounds_of_numbers_are_scaled_exactly(void **state)
{
	static const struct {
		const char *num;
		unsigned frac;
		int64_t down, up;
	} n[] = {{"0", 6, 0, 0},
		 {"1.5", 0, 1, 2},
		 {"-1.5", 0, -2, -1},
		 {"0.1", 6, 100000, 100000},
		 {"1e-7", 6, 0, 1},
		 {"-1e-7", 6, -1, 0},
		 {"12.3e1", 0, 123, 123},
		 {"0.00012e+5", 0, 12, 12},
		 {"1e400", 0, 1000000000000000000, 1000000000000000000},
		 {"-9223372036854775808", 0, -1000000000000000000, -1000000000000000000},
		 {"999999999999999999", 0, 999999999999999999, 999999999999999999},
		 {"1e-99999999999", 0, 0, 1}};

	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		bool exact;

		assert_int_equal(decimal_scaled(span_cstr(n[i].num), n[i].frac, false, &exact),
				 n[i].down);
		assert_int_equal(decimal_scaled(span_cstr(n[i].num), n[i].frac, true, &exact),
				 n[i].up);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whatever_is_generated_satisfies_the_schema),
	    cmocka_unit_test(listed_documents_are_accepted_and_refused),
	    cmocka_unit_test(what_is_not_enforced_is_refused_by_name_and_place),
	    cmocka_unit_test(hostile_sizes_are_refused),
	    cmocka_unit_test(what_patterns_cost_is_capped),
	    cmocka_unit_test(nesting_ends_at_the_depth_cap),
	    cmocka_unit_test(bounds_of_numbers_are_scaled_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
