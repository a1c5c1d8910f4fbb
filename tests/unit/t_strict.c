/* t_strict.c - no request that two parsers could read differently passes the strict check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "bearer.h"
#include "http_strict.h"
#include "hash.h"
#include "id.h"

#define G "GET / HTTP/1.1\r\n"
#define P "POST /v1/x HTTP/1.1\r\n"
#define H "Host: a\r\n"
#define E "\r\n"

static const struct {
	const char *text;
	enum strict_why want;
} heads[] = {
    /* good */
    {G H E, SW_OK},
    {"GET / HTTP/1.0\r\n" E, SW_OK},
    {"GET / HTTP/1.0\r\n" H E, SW_OK},
    {"GET /a/b?x=%00&y=1 HTTP/1.1\r\n" H E, SW_OK},
    {P H "Content-Length: 0\r\n" E, SW_OK},
    {P H "content-length:5\r\n" E, SW_OK},
    {P H "Content-Length: 5  \t\r\n" E, SW_OK},
    {P H "Transfer-Encoding: chunked\r\n" E, SW_OK},
    {P H "TRANSFER-ENCODING:\tChunked\r\n" E, SW_OK},
    {P H "Expect: 100-continue\r\nContent-Length: 3\r\n" E, SW_OK},
    {P H "Authorization: Bearer x\r\n" E, SW_OK},
    {G "Host: a.example:8443\r\n" E, SW_OK},
    {G "Host: [::1]:8443\r\n" E, SW_OK},
    {G H "X-Empty:\r\n" E, SW_OK},
    {G H "X-Tab: a\tb\r\n" E, SW_OK},
    {G H "X-High: \xc3\xa9\r\n" E, SW_OK},
    {G H "X!#$%&'*+-.^_`|~: 1\r\n" E, SW_OK},
    {G H "Connection: keep-alive, close\r\n" E, SW_OK},
    {"PROPFIND / HTTP/1.1\r\n" H E, SW_OK},
    /* unfinished */
    {"", SW_MORE},
    {"GE", SW_MORE},
    {G H, SW_MORE},
    {G H "\r", SW_MORE},
    /* request line */
    {E G H E, SW_LINE},
    {"GET\r\n" H E, SW_LINE},
    {"GET /\r\n" H E, SW_LINE},
    {" GET / HTTP/1.1\r\n" H E, SW_LINE},
    {"G(T / HTTP/1.1\r\n" H E, SW_LINE},
    {"GETGETGETGETGETGET / HTTP/1.1\r\n" H E, SW_LINE},
    {"GET  / HTTP/1.1\r\n" H E, SW_TARGET},
    {"GET x HTTP/1.1\r\n" H E, SW_TARGET},
    {"GET http://a/ HTTP/1.1\r\n" H E, SW_TARGET},
    {"OPTIONS * HTTP/1.1\r\n" H E, SW_TARGET},
    {"CONNECT a:443 HTTP/1.1\r\n" H E, SW_TARGET},
    {"GET /\xc3\xa9 HTTP/1.1\r\n" H E, SW_TARGET},
    {"GET /a#b HTTP/1.1\r\n" H E, SW_TARGET},
    {"GET /a\tb HTTP/1.1\r\n" H E, SW_TARGET},
    {"GET /  HTTP/1.1\r\n" H E, SW_VERSION},
    {"GET / HTTP/1.1 \r\n" H E, SW_VERSION},
    {"GET / HTTP/2.0\r\n" H E, SW_VERSION},
    {"GET / HTTP/1.2\r\n" H E, SW_VERSION},
    {"GET / http/1.1\r\n" H E, SW_VERSION},
    {"PRI * HTTP/2.0\r\n\r\n", SW_TARGET},
    /* line ends and control characters */
    {"GET / HTTP/1.1\nHost: a\n\n", SW_BARE_LF},
    {G "Host: a\n\r\n", SW_BARE_LF},
    {G H "\n", SW_BARE_LF},
    {G "Host: a\rX: b\r\n" E, SW_CONTROL},
    {G H "X: a\r\r\n" E, SW_CONTROL},
    {G H "X: a\x01\r\n" E, SW_CONTROL},
    {G H "X: a\x7f\r\n" E, SW_CONTROL},
    {G H "X: a\x1b[2J\r\n" E, SW_CONTROL},
    {G H "X: a\x0b\r\n" E, SW_CONTROL},
    /* names and folding */
    {G H "X: a\r\n b\r\n" E, SW_FOLD},
    {G H "X: a\r\n\tb\r\n" E, SW_FOLD},
    {G " Host: a\r\n" E, SW_FOLD},
    {G H "X : a\r\n" E, SW_NAME},
    {G H "X\t: a\r\n" E, SW_NAME},
    {G H "no colon\r\n" E, SW_NAME},
    {G H ": a\r\n" E, SW_NAME},
    {G H "X(y): a\r\n" E, SW_NAME},
    {G H "X\xc3\xa9: a\r\n" E, SW_NAME},
    {G "Host : a\r\n" E, SW_NAME},
    /* host */
    {G E, SW_HOST},
    {G H H E, SW_HOST},
    {G H "host: b\r\n" E, SW_HOST},
    {G "Host: a, b\r\n" E, SW_HOST},
    {G "Host: a b\r\n" E, SW_HOST},
    {G "Host: a/b\r\n" E, SW_HOST},
    {G "Host: u@a\r\n" E, SW_HOST},
    {G "Host:\r\n" E, SW_HOST},
    /* length and coding */
    {P H "Content-Length: 5\r\nContent-Length: 5\r\n" E, SW_LENGTH},
    {P H "Content-Length: 5\r\nContent-Length: 6\r\n" E, SW_LENGTH},
    {P H "Content-Length: 5, 5\r\n" E, SW_LENGTH},
    {P H "Content-Length: +5\r\n" E, SW_LENGTH},
    {P H "Content-Length: -5\r\n" E, SW_LENGTH},
    {P H "Content-Length: 0x5\r\n" E, SW_LENGTH},
    {P H "Content-Length: 5 5\r\n" E, SW_LENGTH},
    {P H "Content-Length: 5.0\r\n" E, SW_LENGTH},
    {P H "Content-Length:\r\n" E, SW_LENGTH},
    {P H "Content-Length: 9999999999999999999\r\n" E, SW_LENGTH},
    {P H "Content-Length : 5\r\n" E, SW_NAME},
    {P H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" E, SW_BOTH},
    {P H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" E, SW_BOTH},
    {P H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" E, SW_CODING},
    {P H "Transfer-Encoding: gzip, chunked\r\n" E, SW_CODING},
    {P H "Transfer-Encoding: chunked, chunked\r\n" E, SW_CODING},
    {P H "Transfer-Encoding: identity\r\n" E, SW_CODING},
    {P H "Transfer-Encoding: xchunked\r\n" E, SW_CODING},
    {P H "Transfer-Encoding: \"chunked\"\r\n" E, SW_CODING},
    {P H "Transfer-Encoding:\r\n" E, SW_CODING},
    {P H "Transfer-Encoding : chunked\r\n" E, SW_NAME},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n" E, SW_CODING},
    /* credentials and expectations */
    {P H "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" E, SW_AUTH},
    {P H "Authorization: Bearer a\r\nauthorization: Bearer a\r\n" E, SW_AUTH},
    {P H "Expect: 200-ok\r\n" E, SW_EXPECT},
    {P H "Expect: 100-continue\r\nExpect: 100-continue\r\n" E, SW_EXPECT},
};

static enum strict_why judge(struct span in, struct strict_head *h)
{
	size_t off = 0, len = 0;
	enum strict_why w = strict_scan(in, &off, &len);

	if (w == SW_OK)
		w = strict_head(span_of(in.p, len), h);
	return w;
}

static void every_head_of_the_table_is_judged_as_it_says(void **st)
{
	struct strict_head h;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		enum strict_why w = judge(span_cstr(heads[i].text), &h);

		if (w != heads[i].want)
			fail_msg("head %zu: got %d, want %d:\n%s", i, (int)w, (int)heads[i].want,
				 heads[i].text);
	}
	assert_true(sizeof(heads) / sizeof(heads[0]) >= 60);
}

static void a_nul_byte_is_refused_anywhere_in_the_head(void **st)
{
	static const char head[] = G H "X: abc\r\n" E;
	char copy[sizeof(head)];
	struct strict_head h;

	for (size_t i = 0; i + 1 < sizeof(head); i++) {
		memcpy(copy, head, sizeof(head));
		copy[i] = '\0';
		assert_int_not_equal(judge(span_of(copy, sizeof(head) - 1), &h), SW_OK);
	}
}

static void a_head_found_byte_by_byte_is_the_same_as_at_once(void **st)
{
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct span all = span_cstr(heads[i].text);
		size_t off = 0, len = 0, whole_off = 0, whole_len = 0;
		enum strict_why w = SW_MORE, whole = strict_scan(all, &whole_off, &whole_len);

		for (size_t n = 0; n <= all.n && w == SW_MORE; n++)
			w = strict_scan(span_of(all.p, n), &off, &len);
		assert_int_equal(w, whole);
		assert_int_equal(len, whole_len);
	}
}

static void heads_beyond_the_limits_are_refused(void **st)
{
	size_t n = STRICT_HEAD_MAX + 10;
	char *big = malloc(n);
	struct strict_head h;
	int at;

	assert_non_null(big);
	memset(big, 'a', n);
	memcpy(big, "GET /", 5);
	assert_int_equal(judge(span_of(big, n), &h), SW_LONG);
	assert_int_equal(judge(span_of(big, STRICT_HEAD_MAX), &h), SW_LONG);
	assert_int_equal(judge(span_of(big, STRICT_HEAD_MAX - 1), &h), SW_MORE);
	at = snprintf(big, n, G H);
	for (unsigned i = 0; i < STRICT_FIELDS_MAX; i++)
		at += snprintf(big + at, n - (size_t)at, "a%u: b\r\n", i);
	at += snprintf(big + at, n - (size_t)at, "\r\n");
	assert_int_equal(judge(span_of(big, (size_t)at), &h), SW_MANY);
	free(big);
}

static void a_good_head_is_read_correctly(void **st)
{
	struct strict_head h;

	assert_int_equal(
	    judge(span_cstr("POST /v1/a?b HTTP/1.1\r\nHost: h\r\n"
			    "authorization:  Bearer k \r\nAccept-Language: vi-VN, en\r\n"
			    "Content-Length: 0012\r\nConnection: x, Close\r\n\r\n"),
		  &h),
	    SW_OK);
	assert_true(span_eq(h.method, SPAN_LIT("POST")));
	assert_true(span_eq(h.target, SPAN_LIT("/v1/a?b")));
	assert_true(h.has_auth && span_eq(h.auth, SPAN_LIT("Bearer k")));
	assert_true(h.vietnamese && h.close && h.has_length && !h.chunked && !h.http10);
	assert_int_equal(h.length, 12);
	judge(span_cstr(G H "Accept-Language: en, vi\r\n\r\n"), &h);
	assert_false(h.vietnamese);
}

static void a_blanked_head_frames_the_same_and_tells_nothing(void **st)
{
	char head[] = "POST /secret?a=b&c=d HTTP/1.1\r\nHost: h\r\nCookie: secret=1; b=2\r\n"
		      "Authorization: Bearer secret\r\nContent-Length: 12\r\nX-secret:secret\r\n"
		      "Empty:\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n";
	size_t n = sizeof(head) - 1;
	struct strict_head h;

	strict_blank(head, n);
	assert_null(strstr(head, "secret"));
	assert_null(strstr(head, "a=b"));
	assert_non_null(strstr(head, "POST /xxxxxxxxxxxxxx HTTP/1.1\r\n"));
	assert_int_equal(judge(span_of(head, n), &h), SW_OK);
	assert_true(h.close && h.expect && h.length == 12 && !h.has_auth);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) { /* and for all good ones */
		char copy[512];
		struct strict_head before;

		if (heads[i].want != SW_OK)
			continue;
		snprintf(copy, sizeof(copy), "%s", heads[i].text);
		judge(span_cstr(copy), &before);
		strict_blank(copy, strlen(copy));
		assert_int_equal(judge(span_cstr(copy), &h), SW_OK);
		assert_int_equal(h.length, before.length);
		assert_int_equal(h.chunked, before.chunked);
		assert_int_equal(h.close, before.close);
	}
}

static const struct {
	const char *text;
	enum strict_why want;
	size_t used;
} chunks[] = {
    {"0\r\n\r\n", SW_OK, 5},
    {"5\r\nhello\r\n0\r\n\r\n", SW_OK, 15},
    {"5\r\nhello\r\n0\r\n\r\nGET", SW_OK, 15},
    {"00000005\r\nhello\r\n0\r\n\r\n", SW_OK, 22},
    {"A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", SW_OK, 26},
    {"5\r\nhel", SW_MORE, 6},
    {"5\r", SW_MORE, 2},
    {"", SW_MORE, 0},
    {"\r\n", SW_CHUNK, 0},
    {"g\r\n", SW_CHUNK, 0},
    {"5;x=y\r\nhello\r\n", SW_CHUNK, 0},
    {"5 \r\nhello\r\n", SW_CHUNK, 0},
    {" 5\r\nhello\r\n", SW_CHUNK, 0},
    {"0x5\r\nhello\r\n", SW_CHUNK, 0},
    {"+5\r\nhello\r\n", SW_CHUNK, 0},
    {"-5\r\n", SW_CHUNK, 0},
    {"5\nhello\r\n", SW_CHUNK, 0},
    {"5\r\nhelloX\r\n", SW_CHUNK, 0},
    {"5\r\nhello\n0\r\n\r\n", SW_CHUNK, 0},
    {"0\r\nX: y\r\n\r\n", SW_CHUNK, 0},
    {"0\r\n\n", SW_CHUNK, 0},
    {"000000000\r\n", SW_CHUNK, 0},
    {"fffffffff\r\n", SW_LARGE, 0},
    {"65\r\n", SW_LARGE, 0},
    {"64\r\n", SW_MORE, 4},
};

static void chunked_framing_is_exact_and_bounded(void **st)
{
	struct strict_head h = {.chunked = true};
	struct strict_body b;
	size_t used, one;

	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct span in = span_cstr(chunks[i].text);
		enum strict_why w = SW_MORE;

		strict_body_init(&b, &h, 100);
		assert_int_equal(strict_body_feed(&b, in, &used), chunks[i].want);
		assert_int_equal(used, chunks[i].used);
		strict_body_init(&b, &h, 100); /* and the same byte by byte */
		for (size_t k = 0; k < in.n && w == SW_MORE; k++)
			w = strict_body_feed(&b, span_of(in.p + k, 1), &one);
		assert_int_equal(w, chunks[i].want);
	}
}

static void a_body_ends_at_its_length(void **st)
{
	struct strict_head h = {.has_length = true, .length = 5};
	struct strict_body b;
	size_t used;

	strict_body_init(&b, &h, 100);
	assert_int_equal(strict_body_feed(&b, span_of("hel", 3), &used), SW_MORE);
	assert_int_equal(strict_body_feed(&b, span_of("loGET", 5), &used), SW_OK);
	assert_int_equal(used, 2);
	h.length = 101;
	strict_body_init(&b, &h, 100);
	assert_int_equal(strict_body_feed(&b, span_of("x", 1), &used), SW_LARGE);
	h.length = 0;
	strict_body_init(&b, &h, 100);
	assert_int_equal(strict_body_feed(&b, span_of("GET", 3), &used), SW_OK);
	assert_int_equal(used, 0);
}

static void only_well_formed_keys_become_digests(void **st)
{
	uint8_t kid[16], secret[32], want[32];
	char k[27], s[53], text[200];
	struct bearer b;
	static const char *const bad[] = {"",	       "Bearer",     "Bearer ",
					  "Basic abc", "Bearer sp_", "sp_"};

	memset(kid, 3, sizeof(kid));
	memset(secret, 9, sizeof(secret));
	b32_encode(kid, 16, k);
	b32_encode(secret, 32, s);
	snprintf(text, sizeof(text), "bearer  sp_%s_%s", k, s);
	assert_true(bearer_parse(span_cstr(text), &b));
	assert_string_equal(b.kid, k);
	sha256_2(SPAN_LIT("sallyport/key/v1\n"), span_of(secret, 32), want);
	assert_memory_equal(b.digest, want, 32);
	for (size_t i = 0; i < strlen(text); i++) /* every shorter one fails */
		assert_false(bearer_parse(span_of(text, i), &b));
	snprintf(text, sizeof(text), "Bearer sp_%s_%s ", k, s);
	assert_false(bearer_parse(span_cstr(text), &b));
	snprintf(text, sizeof(text), "Bearer sp_%s-%s", k, s);
	assert_false(bearer_parse(span_cstr(text), &b));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bearer_parse(span_cstr(bad[i]), &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_head_of_the_table_is_judged_as_it_says),
	    cmocka_unit_test(a_nul_byte_is_refused_anywhere_in_the_head),
	    cmocka_unit_test(a_head_found_byte_by_byte_is_the_same_as_at_once),
	    cmocka_unit_test(heads_beyond_the_limits_are_refused),
	    cmocka_unit_test(a_good_head_is_read_correctly),
	    cmocka_unit_test(a_blanked_head_frames_the_same_and_tells_nothing),
	    cmocka_unit_test(chunked_framing_is_exact_and_bounded),
	    cmocka_unit_test(a_body_ends_at_its_length),
	    cmocka_unit_test(only_well_formed_keys_become_digests),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
