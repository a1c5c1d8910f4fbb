/* t_schema_words.c - what a schema says to those who judge the prompt: all of its text, and what
 * its patterns make an answer say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "schema_priv.h"

static struct schema *compiled(const char *text)
{
	struct schema *s = NULL;
	struct err err = {0};

	if (schema_compile(span_cstr(text), &s, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return s;
}

static void its_words_are_all_that_it_says(void **state)
{
	struct schema *s =
	    compiled("{\"description\":\"caf\\u00e9 \\\"x\\\"\",\"enum\":[\"a\\nb\",1.5,{\"k\":"
		     "[true,\"\"]}]}");

	assert_true(span_eq(schema_words(s),
			    SPAN_LIT("description\ncaf\xc3\xa9 \"x\"\nenum\na\nb\n1.5\nk\n")));
	schema_free(s);
}

static void its_words_say_what_its_patterns_hide(void **state)
{
	static const struct {
		const char *pattern, *says;
	} hides[] = {
	    {"^[H][o][w] [^ -su-~][o]$", "\nHow to\n"},
	    {"^(H|H)(o|o){1}w{1,1}( | )(to)$", "\nHow to\n"},
	    {"^(x|[H][o][w]|(y)z{9})$", "\nHow\n"},
	    {"^([a][b][c][d]|[H][o]|[i][j][k])$", "\nHo\n"},
	    {"[H][o]w", "\nHow"},
	    {"^[H]o+w{200}$", "\nHowww\n"},
	    {"^[!H][o~][w. ][ !]$", "\nHow \n"},
	    {"^[^ -GI-~][o-]w{0}[ w~]$", "\nHow\n"},
	};
	char text[160];

	for (size_t i = 0; i < sizeof(hides) / sizeof(hides[0]); i++) {
		struct schema *s;
		struct span w;

		snprintf(text, sizeof(text), "{\"items\":{\"pattern\":\"%s\"}}", hides[i].pattern);
		s = compiled(text);
		w = schema_words(s);
		if (!memmem(w.p, w.n, hides[i].says, strlen(hides[i].says)))
			fail_msg("%s says only: %.*s", hides[i].pattern, (int)w.n, w.p);
		schema_free(s);
	}
}

static void a_pattern_that_says_too_much_is_refused(void **state)
{
	struct schema *s = NULL;
	struct err err = {0};
	struct buf b = BUF_INIT(1 << 16);

	buf_puts(&b, "{\"properties\":{");
	for (unsigned i = 0; i < 100; i++) /* each of them has some hundred long texts */
		buf_fmt(&b, "%s\"%u\":{\"pattern\":\"^([0-9a-f][g-z]){%u}(a|b|c[d-f]|ge|h){30}$\"}",
			i ? "," : "", i, i + 1);
	buf_puts(&b, "}}");
	assert_int_equal(schema_compile(buf_span(&b), &s, &err), E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "'pattern': "));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(its_words_are_all_that_it_says),
	    cmocka_unit_test(its_words_say_what_its_patterns_hide),
	    cmocka_unit_test(a_pattern_that_says_too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
