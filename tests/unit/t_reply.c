/* t_reply.c - answers look as clients need them: errors with all four members, headers that retry
 * logic reads, streams that every SDK in the field accepts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>

#include "sse.h"

static struct sse_meta meta(bool usage)
{
	struct sse_meta m = {.created = 1735689600, .include_usage = usage};

	snprintf(m.id, sizeof(m.id), "chatcmpl-x");
	snprintf(m.model, sizeof(m.model), "starter");
	return m;
}

static json_t *event(struct buf *b)
{
	struct span s = buf_span(b);
	json_error_t e;
	json_t *j;

	assert_true(span_starts(s, SPAN_LIT("data: ")));
	assert_true(s.n > 8 && memcmp(s.p + s.n - 2, "\n\n", 2) == 0);
	assert_null(memchr(s.p, '\n', s.n - 2)); /* one line */
	j = json_loadb(s.p + 6, s.n - 8, JSON_REJECT_DUPLICATES, &e);
	assert_non_null(j);
	buf_reset(b);
	return j;
}

static void every_reason_becomes_a_whole_error(void **st)
{
	struct id req = id_random();

	for (unsigned code = 0; code < 80; code++)
		for (int vi = 0; vi < 2; vi++) {
			struct reply_fault f = {.code = code, .vietnamese = vi};
			struct reply r;
			json_t *j, *e;

			reply_error(&r, &req, &f);
			assert_true(r.status >= 400 && r.status < 600);
			assert_string_equal(reply_get(&r, "Content-Type"), "application/json");
			assert_non_null(reply_get(&r, "x-request-id"));
			j = json_loadb(r.body.p, r.body.n, 0, NULL);
			e = json_object_get(j, "error");
			assert_int_equal(json_object_size(e), 4);
			assert_true(json_string_length(json_object_get(e, "message")) > 0);
			assert_true(json_is_string(json_object_get(e, "type")));
			assert_true(json_is_null(json_object_get(e, "param")));
			assert_true(json_is_string(json_object_get(e, "code")));
			json_decref(j);
			reply_free(&r);
		}
}

static void retry_headers_say_when_and_whether(void **st)
{
	struct id req = id_random();
	struct reply_fault f = {
	    .code = RS_RATE_REQUESTS, .retry_ms = 1001, .param = "model", .detail = "More."};
	struct reply r;

	reply_error(&r, &req, &f);
	assert_string_equal(reply_get(&r, "Retry-After"), "2");
	assert_string_equal(reply_get(&r, "retry-after-ms"), "1001");
	assert_null(reply_get(&r, "x-should-retry"));
	assert_non_null(memmem(r.body.p, r.body.n, "\"param\":\"model\"", 15));
	assert_non_null(memmem(r.body.p, r.body.n, "More.", 5));
	reply_free(&r);
	f = (struct reply_fault){.code = RS_QUOTA_MONTH, .no_retry = true};
	reply_error(&r, &req, &f);
	assert_string_equal(reply_get(&r, "x-should-retry"), "false");
	assert_null(reply_get(&r, "Retry-After"));
	reply_free(&r);
	f = (struct reply_fault){.code = RS_BAD_REQUEST, .status = 408};
	reply_error(&r, &req, &f);
	assert_int_equal(r.status, 408);
	reply_free(&r);
}

static void durations_read_as_clients_parse_them(void **st)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} t[] = {{0, "0ms"},	   {20, "20ms"},       {999, "999ms"},	   {1000, "1s"},
		 {1500, "1.5s"},   {1050, "1.05s"},    {59999, "59.999s"}, {60000, "1m0s"},
		 {360000, "6m0s"}, {90500, "1m30.5s"}, {7200000, "2h0m0s"}};
	char out[32];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_string_equal(reply_duration(t[i].ms, out), t[i].text);
}

static void a_raw_answer_is_complete_and_closes(void **st)
{
	struct id req = id_random();
	struct reply_fault f = {.code = RS_BAD_REQUEST};
	struct buf out = BUF_INIT(8192);
	struct reply r;
	char *end, *text;

	reply_error(&r, &req, &f);
	reply_raw(&r, &out);
	text = (char *)(uintptr_t)buf_cstr(&out);
	assert_non_null(strstr(text, "HTTP/1.1 400 Bad Request\r\n"));
	assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
	end = strstr(text, "\r\n\r\n");
	assert_non_null(end);
	assert_int_equal(strlen(end + 4), r.body.n);
	reply_free(&r);
	buf_free(&out);
}

static void the_first_delta_has_the_role_and_no_other(void **st)
{
	struct buf b = BUF_INIT(8192);
	struct sse_meta m = meta(false);
	json_t *j, *c;

	sse_role(&b, &m, 1);
	j = event(&b);
	c = json_array_get(json_object_get(j, "choices"), 0);
	assert_int_equal(json_integer_value(json_object_get(c, "index")), 1);
	assert_string_equal(json_string_value(json_object_get(json_object_get(c, "delta"), "role")),
			    "assistant");
	assert_true(json_is_null(json_object_get(c, "finish_reason")));
	assert_null(json_object_get(j, "usage"));
	json_decref(j);
	sse_text(&b, &m, 0, SPAN_LIT("a\"\n\xe2\x80\xa8\xf0\x9f\x98\x80"));
	j = event(&b);
	c = json_object_get(json_array_get(json_object_get(j, "choices"), 0), "delta");
	assert_null(json_object_get(c, "role"));
	assert_string_equal(json_string_value(json_object_get(c, "content")),
			    "a\"\n\xe2\x80\xa8\xf0\x9f\x98\x80");
	json_decref(j);
	sse_finish(&b, &m, 0, "length");
	j = event(&b);
	c = json_array_get(json_object_get(j, "choices"), 0);
	assert_string_equal(json_string_value(json_object_get(c, "finish_reason")), "length");
	json_decref(j);
	buf_free(&b);
}

static void usage_null_stands_on_every_chunk_when_asked(void **st)
{
	struct buf b = BUF_INIT(8192);
	struct sse_meta m = meta(true);
	struct usage u = {9, 7, 3};
	json_t *j;

	sse_role(&b, &m, 0);
	j = event(&b);
	assert_true(json_is_null(json_object_get(j, "usage")));
	json_decref(j);
	sse_usage(&b, &m, &u);
	j = event(&b);
	assert_int_equal(json_array_size(json_object_get(j, "choices")), 0);
	assert_true(json_is_array(json_object_get(j, "choices")));
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(j, "usage"), "total_tokens")), 16);
	json_decref(j);
	buf_free(&b);
}

static void the_receipt_stands_directly_above_done(void **st)
{
	struct buf b = BUF_INIT(8192);

	sse_done(&b, SPAN_LIT("proof"));
	assert_string_equal(buf_cstr(&b), ": sallyport-receipt cHJvb2Y=\ndata: [DONE]\n\n");
	buf_reset(&b);
	sse_done(&b, SPAN_LIT(""));
	assert_string_equal(buf_cstr(&b), "data: [DONE]\n\n");
	buf_reset(&b);
	sse_ping(&b);
	assert_string_equal(buf_cstr(&b), ": ping\n\n");
	buf_free(&b);
}

static void broken_text_never_becomes_an_event(void **st)
{
	struct buf b = BUF_INIT(8192);
	struct sse_meta m = meta(false);

	sse_text(&b, &m, 0, SPAN_LIT("\xff"));
	assert_false(buf_ok(&b));
	buf_free(&b);
}

static void a_whole_answer_has_every_choice(void **st)
{
	struct buf b = BUF_INIT(8192);
	struct sse_meta m = meta(false);
	struct usage u = {9, 2, 0};
	struct chat_choice c[2] = {{SPAN_LIT("a"), "stop"}, {SPAN_LIT(""), "content_filter"}};
	json_t *j, *k;

	chat_whole(&b, &m, c, 2, &u);
	j = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	k = json_object_get(j, "choices");
	assert_int_equal(json_array_size(k), 2);
	k = json_array_get(k, 1);
	assert_string_equal(json_string_value(json_object_get(k, "finish_reason")),
			    "content_filter");
	k = json_object_get(k, "message");
	assert_string_equal(json_string_value(json_object_get(k, "role")), "assistant");
	assert_string_equal(json_string_value(json_object_get(k, "content")), "");
	json_decref(j);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_reason_becomes_a_whole_error),
	    cmocka_unit_test(retry_headers_say_when_and_whether),
	    cmocka_unit_test(durations_read_as_clients_parse_them),
	    cmocka_unit_test(a_raw_answer_is_complete_and_closes),
	    cmocka_unit_test(the_first_delta_has_the_role_and_no_other),
	    cmocka_unit_test(usage_null_stands_on_every_chunk_when_asked),
	    cmocka_unit_test(the_receipt_stands_directly_above_done),
	    cmocka_unit_test(broken_text_never_becomes_an_event),
	    cmocka_unit_test(a_whole_answer_has_every_choice),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
