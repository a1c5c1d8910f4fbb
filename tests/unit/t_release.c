/* t_release.c - the release gate and its pacing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pace.h"
#include "release.h"
#include "utf8.h"

static void say(struct release *g, const char *s)
{
	release_token(g, span_cstr(s));
}

static void took(struct release *g, const char *want)
{
	uint32_t tokens;
	struct span s = release_take(g, &tokens);

	if (!span_eq(s, span_cstr(want)))
		fail_msg("took \"" SPAN_FMT "\", not \"%s\"", SPAN_ARG(s), want);
}

static void nothing_leaves_before_its_verdict(void **s)
{
	struct release g;

	release_init(&g, 4096);
	say(&g, "Hello");
	took(&g, "");
	release_ask(&g);
	say(&g, " world");
	took(&g, "");
	release_pass(&g);
	took(&g, "Hello");
	took(&g, "");
	assert_false(release_over(&g));
	release_finish(&g, REL_STOP);
	assert_false(release_over(&g));
	release_ask(&g);
	release_pass(&g);
	assert_true(release_over(&g));
	took(&g, " world");
	release_free(&g);
}

static void nothing_leaves_after_a_block(void **s)
{
	struct release g;

	release_init(&g, 4096);
	say(&g, "good");
	release_ask(&g);
	release_pass(&g);
	took(&g, "good");
	say(&g, " bad");
	release_ask(&g);
	release_block(&g, REL_FILTER);
	took(&g, "");
	release_pass(&g); /* even by mistake */
	took(&g, "");
	say(&g, " worse");
	took(&g, "");
	assert_true(release_over(&g));
	release_free(&g);
}

static void judged_text_not_yet_taken_is_dropped_by_a_block(void **s)
{
	struct release g;

	release_init(&g, 4096);
	say(&g, "good");
	release_ask(&g);
	release_pass(&g);
	say(&g, " bad");
	release_ask(&g);
	release_block(&g, REL_FILTER);
	took(&g, "");
	release_free(&g);
}

static void stop_strings_end_the_answer_and_never_show(void **s)
{
	struct release g;

	release_init(&g, 4096);
	assert_int_equal(release_stop(&g, SPAN_LIT("STOP")), 0);
	assert_int_equal(release_stop(&g, SPAN_LIT("\n\n")), 0);
	assert_int_equal(release_stop(&g, SPAN_LIT("")), E_RANGE);
	say(&g, "abc ST");
	release_ask(&g);
	release_pass(&g);
	took(&g, "abc ");
	say(&g, "IR ST");
	release_ask(&g);
	release_pass(&g);
	took(&g, "STIR ");
	say(&g, "O");
	release_ask(&g);
	say(&g, "P and more");
	release_pass(&g);
	assert_int_equal(g.end, REL_OPEN); /* no verdict covers the P yet */
	took(&g, "");
	assert_int_equal(release_ask(&g).n, 22); /* the stop string and what follows: all judged */
	say(&g, " and");
	release_pass(&g);
	assert_int_equal(g.end, REL_STOP);
	assert_true(release_over(&g));
	took(&g, "");
	assert_int_equal(g.text.n, 9);
	assert_int_equal(g.tokens, 4); /* the fifth has no verdict */
	assert_int_equal(g.tokens, g.judged_tokens);
	say(&g, "late");
	assert_int_equal(g.text.n, 9);
	release_free(&g);
}

static void a_stop_string_in_blocked_text_is_not_seen(void **s)
{
	struct release g;

	release_init(&g, 4096);
	release_stop(&g, SPAN_LIT("bad STOP"));
	say(&g, "good b");
	release_ask(&g);
	release_pass(&g);
	took(&g, "good ");
	say(&g, "ad STOP it");
	assert_int_equal(g.end, REL_OPEN);
	assert_true(span_eq(release_ask(&g), SPAN_LIT("good bad STOP it")));
	release_block(&g, REL_FILTER);
	assert_int_equal(g.end, REL_FILTER);
	took(&g, "");
	release_pass(&g);
	assert_int_equal(g.end, REL_FILTER);
	release_free(&g);
}

static void what_is_asked_never_shrinks_at_a_stop_that_lies_across_checks(void **s)
{
	struct release g;
	size_t had;

	release_init(&g, 4096);
	release_stop(&g, SPAN_LIT("abcdef"));
	say(&g, "x abc");
	had = release_ask(&g).n;
	say(&g, "def and");
	release_pass(&g);
	took(&g, "x ");
	assert_true(release_ask(&g).n > had);
	release_pass(&g);
	assert_int_equal(g.end, REL_STOP);
	assert_true(release_over(&g));
	took(&g, "");
	assert_int_equal(g.text.n, 2);
	release_free(&g);
}

/* Two answers that are the same up to where verdicts reach, with stop strings in the rest of one or
 * both: no step of the gate tells them apart. */
static void nothing_shows_text_that_no_verdict_covers(void **s)
{
	static const char *const bits[] = {"a", "b", "ab", "c", "st", "op", "\xc3", "\xa9"};
	uint32_t x = 7;

	for (int i = 0; i < 4000; i++) {
		struct release g[2];
		unsigned same = i % 24, checked = 0;

		for (int k = 0; k < 2; k++) {
			release_init(&g[k], 4096);
			release_stop(&g[k], SPAN_LIT("abcab"));
			release_stop(&g[k], SPAN_LIT("stop"));
		}
		for (unsigned t = 0; t < 48; t++) {
			uint32_t tokens[2];
			struct span out[2];

			for (int k = 0; k < 2; k++) {
				if (k == 0 || t >= same)
					x = x * 1664525u + 1013904223u;
				say(&g[k], bits[(x >> 16) % (sizeof(bits) / sizeof(bits[0]))]);
			}
			if (t % 5 == 4) {
				for (int k = 0; k < 2; k++) { /* the one before has its verdict */
					if (checked && checked <= same)
						release_pass(&g[k]);
					else if (checked)
						release_block(&g[k], REL_FILTER);
					if (g[k].end == REL_OPEN)
						release_ask(&g[k]);
				}
				checked = t + 1;
			}
			for (int k = 0; k < 2; k++)
				out[k] = release_take(&g[k], &tokens[k]);
			assert_true(span_eq(out[0], out[1]));
			assert_int_equal(tokens[0], tokens[1]);
			assert_int_equal(g[0].end, g[1].end);
			assert_int_equal(g[0].tokens, g[1].tokens);
			assert_int_equal(release_over(&g[0]), release_over(&g[1]));
			if (g[0].end == REL_FILTER) /* what is recorded: the check, no more */
				assert_int_equal(g[0].text.n, g[0].asked);
			if (g[0].end != REL_OPEN)
				break;
		}
		release_free(&g[0]);
		release_free(&g[1]);
	}
}

static void characters_leave_whole_and_valid(void **s)
{
	struct release g;

	release_init(&g, 4096);
	say(&g, "ph\xe1\xbb");
	release_ask(&g);
	release_pass(&g);
	took(&g, "ph");
	say(&g, "\x9f");
	say(&g, "\xff"
		"a\xe1"
		"b");
	say(&g, "\xf0\x9f");
	release_finish(&g, REL_LENGTH);
	release_ask(&g);
	release_pass(&g);
	took(&g, "\xe1\xbb\x9f\xef\xbf\xbd"
		 "a\xef\xbf\xbd"
		 "b\xef\xbf\xbd");
	release_free(&g);
}

/* Random tokens, checks, takes: what came out is a prefix of the cut text, valid, judged. */
static void what_came_out_is_always_a_judged_prefix(void **s)
{
	static const char *const bits[] = {"a",	   "b",	   "ab", "abc",	 "c",
					   "\xc3", "\xa9", " ",	 "stop", "st"};
	uint32_t x = 11;

	for (int i = 0; i < 3000; i++) {
		struct release g;
		struct buf out = BUF_INIT(65536);
		size_t asked = 0, judged = 0;

		release_init(&g, 4096);
		release_stop(&g, SPAN_LIT("abcab"));
		release_stop(&g, SPAN_LIT("stop"));
		for (int k = 0; k < 40; k++) {
			uint32_t tokens;

			x = x * 1664525u + 1013904223u;
			if ((x >> 28) < 10) {
				say(&g, bits[(x >> 16) % (sizeof(bits) / sizeof(bits[0]))]);
			} else if ((x >> 28) < 13) {
				asked = release_ask(&g).n;
			} else if (asked) {
				release_pass(&g);
				judged = asked;
				buf_span_put(&out, release_take(&g, &tokens));
				assert_true(out.n <= judged);
			}
		}
		release_finish(&g, REL_STOP);
		release_ask(&g);
		release_pass(&g);
		{
			uint32_t tokens;

			buf_span_put(&out, release_take(&g, &tokens));
			assert_int_equal(g.out_tokens, g.tokens);
		}
		assert_true(span_eq(buf_span(&out), buf_span(&g.text)));
		assert_true(utf8_valid(buf_span(&out)));
		assert_true(memmem(out.p ? out.p : "", out.n, "stop", 4) == NULL);
		assert_true(memmem(out.p ? out.p : "", out.n, "abcab", 5) == NULL);
		buf_free(&out);
		release_free(&g);
	}
}

static void what_is_reported_after_a_block_is_a_step_of_the_pace(void **s)
{
	uint32_t at = 0;

	for (uint32_t t = 1; t < 1000; t++) {
		uint32_t step = pace_round(t);

		assert_true(step >= t && step < t + 64);
		while (at < t) /* the tokens at which checks start */
			for (uint32_t judged = at++; !pace_due(at, judged, 0, false); at++)
				;
		assert_int_equal(step, at);
	}
}

/* Generation runs as far ahead as it may, verdicts come at once or as late as possible. */
static void pacing_bounds_hold_whatever_the_guard_does(void **s)
{
	for (uint32_t late = 0; late < 200; late += 7) {
		uint32_t tokens = 0, judged = 0, running = 0, left = 0, first = 0, longest = 0;

		for (uint32_t t = 0; tokens < 512 && t < 100000; t++) {
			if (tokens < pace_limit(judged))
				tokens++;
			if (!running && pace_due(tokens, judged, 0, false)) {
				running = tokens;
				left = late;
			}
			if (running && left-- == 0) {
				longest = tokens - judged > longest ? tokens - judged : longest;
				judged = running;
				running = 0;
				first = first ? first : tokens;
			}
		}
		assert_int_equal(tokens, 512);
		assert_in_range(first, 16, 63);
		assert_in_range(longest, 1, PACE_AHEAD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_leaves_before_its_verdict),
	    cmocka_unit_test(nothing_leaves_after_a_block),
	    cmocka_unit_test(judged_text_not_yet_taken_is_dropped_by_a_block),
	    cmocka_unit_test(stop_strings_end_the_answer_and_never_show),
	    cmocka_unit_test(a_stop_string_in_blocked_text_is_not_seen),
	    cmocka_unit_test(what_is_asked_never_shrinks_at_a_stop_that_lies_across_checks),
	    cmocka_unit_test(nothing_shows_text_that_no_verdict_covers),
	    cmocka_unit_test(characters_leave_whole_and_valid),
	    cmocka_unit_test(what_came_out_is_always_a_judged_prefix),
	    cmocka_unit_test(what_is_reported_after_a_block_is_a_step_of_the_pace),
	    cmocka_unit_test(pacing_bounds_hold_whatever_the_guard_does),
	};

	return cmocka_run_group_tests_name("release", tests, NULL, NULL);
}
