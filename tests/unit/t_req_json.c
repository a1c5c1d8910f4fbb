/* t_req_json.c - bodies of clients: what passes, what is refused, and under which name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "cur.h"
#include "msgs.h"
#include "req_json.h"

#define M "\"model\":\"m\","
#define U "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define MU "{" M U
#define MSG(x) "{" M "\"messages\":[" x "]}"

#define FORMAT(x) ",\"response_format\":{" x "}}"
#define SCHEMA(x)                                                                                  \
	FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,"         \
	       "\"schema\":" x "}")

static const struct {
	const char *json;
	enum reason want;
	const char *param;
} cases[] = {
    /* accepted */
    {MU "}", RS_NONE, ""},
    {MU ",\"temperature\":null,\"top_p\":null,\"n\":null,\"stop\":null,\"stream\":null,"
	"\"max_tokens\":null,\"seed\":null,\"user\":null,\"tools\":null,\"logit_bias\":null,"
	"\"response_format\":null,\"stream_options\":null,\"logprobs\":null}",
     RS_NONE, ""},
    {MU ",\"temperature\":0,\"top_p\":0.5,\"min_p\":0.1,\"top_k\":40,\"seed\":-1}", RS_NONE, ""},
    {MU ",\"temperature\":2,\"top_p\":1,\"min_p\":1,\"top_k\":-1}", RS_NONE, ""},
    {MU ",\"n\":8,\"max_tokens\":16}", RS_NONE, ""},
    {MU ",\"n\":1.0,\"max_tokens\":16.0}", RS_NONE, ""},
    {MU ",\"stop\":\"x\"}", RS_NONE, ""},
    {MU ",\"stop\":[\"a\",\"b\",\"c\",\"d\"]}", RS_NONE, ""},
    {MU ",\"stop\":[]}", RS_NONE, ""},
    {MU ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", RS_NONE, ""},
    {MU ",\"metadata\":{\"a\":1},\"store\":true,\"reasoning_effort\":\"low\",\"zzz\":[1]}", RS_NONE,
     ""},
    {MU ",\"tools\":[],\"tool_choice\":\"auto\",\"logit_bias\":{},\"logprobs\":false,"
	"\"presence_penalty\":0,\"frequency_penalty\":0.0,\"response_format\":{\"type\":\"text\"}}",
     RS_NONE, ""},
    {MSG("{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"developer\",\"content\":\"d\"},"
	 "{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"a\"},"
	 "{\"role\":\"tool\",\"content\":\"t\",\"tool_call_id\":\"x\"}"),
     RS_NONE, ""},
    {MSG("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
	 "{\"type\":\"text\",\"text\":\"b\"}]}"),
     RS_NONE, ""},
    {MSG("{\"role\":\"user\",\"content\":\"\"}"), RS_NONE, ""},
    {MSG("{\"role\":\"user\",\"content\":\"\\ud83d\\ude00 xin ch\xc3\xa0o\"}"), RS_NONE, ""},
    {MU ",\"modalities\":[\"text\"],\"parallel_tool_calls\":true}", RS_NONE, ""},
    {MU ",\"seed\":9223372036854775807}", RS_NONE, ""},
    {MU FORMAT("\"type\":\"json_object\""), RS_NONE, ""},
    {MU SCHEMA("{}"), RS_NONE, ""},
    {MU SCHEMA("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\",\"minimum\":0.1}},"
	       "\"required\":[\"a\"],\"additionalProperties\":false}"),
     RS_NONE, ""},
    /* grammar */
    {"", RS_BAD_REQUEST, ""},
    {"x", RS_BAD_REQUEST, ""},
    {"[]", RS_BAD_REQUEST, ""},
    {"null", RS_BAD_REQUEST, ""},
    {"\"a\"", RS_BAD_REQUEST, ""},
    {MU, RS_BAD_REQUEST, ""},
    {MU "} x", RS_BAD_REQUEST, ""},
    {MU ",}", RS_BAD_REQUEST, ""},
    {MU ",\"n\":1,\"n\":2}", RS_BAD_REQUEST, ""},
    {MU ",\"model\":\"other\"}", RS_BAD_REQUEST, ""},
    {MU ",\"n\":01}", RS_BAD_REQUEST, ""},
    {MU ",\"temperature\":NaN}", RS_BAD_REQUEST, ""},
    {MU ",\"temperature\":1e999}", RS_BAD_REQUEST, ""},
    {MU ",\"seed\":9223372036854775808}", RS_BAD_REQUEST, ""},
    {MSG("{\"role\":\"user\",\"content\":\"\\u0000\"}"), RS_BAD_REQUEST, ""},
    {MSG("{\"role\":\"user\",\"content\":\"\\ud800\"}"), RS_BAD_REQUEST, ""},
    {MSG("{\"role\":\"user\",\"content\":\"\xff\"}"), RS_BAD_REQUEST, ""},
    {MSG("{\"role\":\"user\",\"content\":\"\xc0\x80\"}"), RS_BAD_REQUEST, ""},
    {MSG("{\"role\":\"user\",\"content\":\"a\nb\"}"), RS_BAD_REQUEST, ""},
    /* model */
    {"{" U "}", RS_BAD_REQUEST, "model"},
    {"{\"model\":\"\"," U "}", RS_BAD_REQUEST, "model"},
    {"{\"model\":5," U "}", RS_BAD_REQUEST, "model"},
    {"{\"model\":null," U "}", RS_BAD_REQUEST, "model"},
    /* messages */
    {"{\"model\":\"m\"}", RS_BAD_REQUEST, "messages"},
    {MSG(""), RS_BAD_REQUEST, "messages"},
    {"{" M "\"messages\":\"hi\"}", RS_BAD_REQUEST, "messages"},
    {MSG("\"hi\""), RS_BAD_REQUEST, "messages"},
    {MSG("null"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"content\":\"x\"}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"root\",\"content\":\"x\"}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"User\",\"content\":\"x\"}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\"}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\",\"content\":null}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\",\"content\":5}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\",\"content\":[]}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\",\"content\":[\"x\"]}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), RS_BAD_REQUEST, "messages"},
    {MSG("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}"),
     RS_UNSCANNABLE, "messages"},
    {MSG("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
	 "{\"type\":\"input_audio\"}]}"),
     RS_UNSCANNABLE, "messages"},
    {MSG("{\"role\":\"user\",\"content\":[{\"type\":\"file\"}]}"), RS_UNSCANNABLE, "messages"},
    {MSG("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]}"), RS_UNSUPPORTED,
     "messages"},
    {MSG("{\"role\":\"function\",\"content\":\"x\"}"), RS_BAD_REQUEST, "messages"},
    /* ranges and types */
    {MU ",\"temperature\":2.1}", RS_BAD_REQUEST, "temperature"},
    {MU ",\"temperature\":-0.1}", RS_BAD_REQUEST, "temperature"},
    {MU ",\"temperature\":\"1\"}", RS_BAD_REQUEST, "temperature"},
    {MU ",\"top_p\":1.5}", RS_BAD_REQUEST, "top_p"},
    {MU ",\"min_p\":-1}", RS_BAD_REQUEST, "min_p"},
    {MU ",\"top_k\":1.5}", RS_BAD_REQUEST, "top_k"},
    {MU ",\"n\":0}", RS_BAD_REQUEST, "n"},
    {MU ",\"n\":9}", RS_BAD_REQUEST, "n"},
    {MU ",\"n\":true}", RS_BAD_REQUEST, "n"},
    {MU ",\"max_tokens\":0}", RS_BAD_REQUEST, "max_tokens"},
    {MU ",\"max_tokens\":99999999}", RS_BAD_REQUEST, "max_tokens"},
    {MU ",\"max_completion_tokens\":-5}", RS_BAD_REQUEST, "max_completion_tokens"},
    {MU ",\"stream\":\"yes\"}", RS_BAD_REQUEST, "stream"},
    {MU ",\"stream\":1}", RS_BAD_REQUEST, "stream"},
    {MU ",\"stream_options\":[]}", RS_BAD_REQUEST, "stream_options"},
    {MU ",\"stream_options\":{\"include_usage\":1}}", RS_BAD_REQUEST, "include_usage"},
    {MU ",\"stop\":\"\"}", RS_BAD_REQUEST, "stop"},
    {MU ",\"stop\":5}", RS_BAD_REQUEST, "stop"},
    {MU ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", RS_BAD_REQUEST, "stop"},
    {MU ",\"stop\":[1]}", RS_BAD_REQUEST, "stop"},
    {MU ",\"user\":5}", RS_BAD_REQUEST, "user"},
    {MU ",\"seed\":\"x\"}", RS_BAD_REQUEST, "seed"},
    /* known and not here yet */
    {MU ",\"tools\":[{\"type\":\"function\"}]}", RS_UNSUPPORTED, "tools"},
    {MU ",\"tools\":{}}", RS_UNSUPPORTED, "tools"},
    {MU ",\"functions\":[{}]}", RS_UNSUPPORTED, "functions"},
    {MU ",\"tool_choice\":\"required\"}", RS_UNSUPPORTED, "tool_choice"},
    {MU FORMAT("\"type\":\"grammar\""), RS_UNSUPPORTED, "response_format"},
    {MU FORMAT("\"type\":\"json_object\",\"schema\":{}"), RS_UNSUPPORTED, "response_format"},
    {MU FORMAT("\"type\":\"text\",\"json_schema\":{}"), RS_UNSUPPORTED, "response_format"},
    {MU FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"schema\":{},"
	       "\"grammar\":\"\"}"),
     RS_UNSUPPORTED, "response_format"},
    {MU FORMAT("\"type\":\"json_schema\""), RS_BAD_REQUEST, "response_format"},
    {MU FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a b\",\"schema\":{}}"),
     RS_BAD_REQUEST, "response_format"},
    {MU SCHEMA("1"), RS_BAD_REQUEST, "response_format"},
    /* a schema is not looked into before the client is known */
    {MU SCHEMA("{\"type\":\"text\"}"), RS_NONE, ""},
    {MU SCHEMA("{\"oneOf\":[]}"), RS_NONE, ""},
    {MU ",\"response_format\":\"json\"}", RS_UNSUPPORTED, "response_format"},
    {MU ",\"logprobs\":true}", RS_UNSUPPORTED, "logprobs"},
    {MU ",\"top_logprobs\":3}", RS_UNSUPPORTED, "top_logprobs"},
    {MU ",\"logit_bias\":{\"5\":1}}", RS_UNSUPPORTED, "logit_bias"},
    {MU ",\"presence_penalty\":0.1}", RS_UNSUPPORTED, "presence_penalty"},
    {MU ",\"frequency_penalty\":-1}", RS_UNSUPPORTED, "frequency_penalty"},
    {MU ",\"modalities\":[\"text\",\"audio\"]}", RS_UNSUPPORTED, "modalities"},
};

static void a_schema_travels_before_the_messages(void **st)
{
	const char *want = "{\"description\":\"caf\xc3\xa9 \\\"x\\\"\",\"enum\":[0.1,1,\"b\"]}";
	struct chat_req r;
	struct req_fault f;
	struct cur c;

	assert_int_equal(chat_req_parse(SPAN_LIT(MU SCHEMA(
					    "{ \"description\":\"caf\\u00e9 \\\"x\\\"\", \"enum\":"
					    "[0.1, 1, \"b\"]}")),
					&r, &f),
			 0);
	c = cur_init(buf_span(&r.msgs));
	assert_int_equal(cur_u8(&c), WIRE_ROLE_FORM);
	assert_true(span_eq(cur_span(&c, cur_u32(&c)), span_cstr(want)));
	assert_int_equal(cur_u8(&c), 1); /* the user's message */
	assert_true(span_eq(cur_span(&c, cur_u32(&c)), SPAN_LIT("hi")));
	assert_true(cur_done(&c));
	assert_int_equal(r.n_msgs, 1);
	chat_req_free(&r);
}

static void check_form(const char *json, enum reason want, const char *text)
{
	struct chat_req r;
	struct req_fault f;

	assert_int_equal(chat_req_parse(span_cstr(json), &r, &f), 0);
	assert_true((chat_req_form(&r, &f) == 0) == (want == RS_NONE));
	assert_int_equal(f.code, want);
	if (want != RS_NONE)
		assert_string_equal(f.param, "response_format");
	assert_non_null(strstr(f.text, text));
	assert_null(strstr(f.text, "canary"));
	chat_req_free(&r);
}

static void a_schema_is_compiled_by_itself(void **st)
{
	struct buf b = BUF_INIT(1 << 20);
	struct chat_req r;
	struct req_fault f;

	check_form(MU "}", RS_NONE, "");
	check_form(MU FORMAT("\"type\":\"json_object\""), RS_NONE, "");
	check_form(MU SCHEMA("{\"type\":\"object\"}"), RS_NONE, "");
	check_form(MU SCHEMA("{\"type\":\"text\"}"), RS_BAD_REQUEST, "cannot be kept to");
	check_form(MU SCHEMA("{\"oneOf\":[]}"), RS_UNSUPPORTED, "'oneOf'");
	check_form(MU SCHEMA("{\"properties\":{\"canary\":{\"allOf\":[]}}}"), RS_UNSUPPORTED,
		   "'allOf' is not supported, at /properties/[0]/allOf");
	buf_puts(&b, MU ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
			"\"n\",\"schema\":{\"title\":\"");
	for (unsigned i = 0; i < WIRE_FORM_MAX; i++)
		buf_putc(&b, 'a');
	buf_puts(&b, "\"}}}}");
	assert_true(chat_req_parse(buf_span(&b), &r, &f) < 0);
	assert_int_equal(f.code, RS_BAD_REQUEST);
	chat_req_free(&r);
	buf_free(&b);
}

static void every_body_of_the_table_is_judged_as_it_says(void **st)
{
	struct chat_req r;
	struct req_fault f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc = chat_req_parse(span_cstr(cases[i].json), &r, &f);

		if ((rc == 0) != (cases[i].want == RS_NONE) || f.code != cases[i].want ||
		    strcmp(f.param, cases[i].param) != 0)
			fail_msg("case %zu: rc %d code %d param '%s' (%s)\n%s", i, rc, (int)f.code,
				 f.param, f.text, cases[i].json);
		if (rc < 0 && f.text[0] == '\0')
			fail_msg("case %zu says nothing", i);
		chat_req_free(&r);
	}
	assert_true(sizeof(cases) / sizeof(cases[0]) >= 60);
}

static void a_request_becomes_what_submit_carries(void **st)
{
	struct chat_req r;
	struct req_fault f;
	struct cur c;

	assert_int_equal(
	    chat_req_parse(
		span_cstr("{\"model\":\"starter\",\"messages\":[{\"role\":\"developer\","
			  "\"content\":\"be\"},{\"role\":\"user\",\"content\":[{\"type\":"
			  "\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}],"
			  "\"max_tokens\":5,\"max_completion_tokens\":7,\"stop\":[\"x\","
			  "\"yz\"],\"seed\":3,\"n\":2,\"top_k\":4,\"stream\":true,"
			  "\"stream_options\":{\"include_usage\":true}}"),
		&r, &f),
	    0);
	assert_string_equal(r.model, "starter");
	assert_int_equal(r.n_msgs, 2);
	assert_int_equal(r.max_out, 7);
	assert_true(r.has_seed && r.seed == 3 && r.n == 2 && r.top_k == 4);
	assert_true(r.stream && r.include_usage);
	c = cur_init(buf_span(&r.msgs));
	assert_int_equal(cur_u8(&c), 0);
	assert_true(span_eq(cur_span(&c, cur_u32(&c)), SPAN_LIT("be")));
	assert_int_equal(cur_u8(&c), 1);
	assert_true(span_eq(cur_span(&c, cur_u32(&c)), SPAN_LIT("a\nb")));
	assert_true(cur_done(&c));
	c = cur_init(buf_span(&r.stops));
	assert_true(span_eq(cur_span(&c, cur_u16(&c)), SPAN_LIT("x")));
	assert_true(span_eq(cur_span(&c, cur_u16(&c)), SPAN_LIT("yz")));
	assert_true(cur_done(&c));
	chat_req_free(&r);
}

static void deep_nesting_is_refused_before_the_parser_sees_it(void **st)
{
	static char deep[200000];
	struct chat_req r;
	struct req_fault f;

	memset(deep, '[', sizeof(deep) - 1);
	assert_int_equal(chat_req_parse(span_cstr(deep), &r, &f), -6);
	chat_req_free(&r);
	assert_true(json_depth_ok(span_cstr("[[\"[[[[\\\"[[\"]]"), 2));
	assert_false(json_depth_ok(span_cstr("[[[]]]"), 2));
}

static void a_refusal_never_quotes_the_body(void **st)
{
	static const char *const bodies[] = {
	    "{\"CANARY\":1,\"CANARY\":2}",
	    "CANARY",
	    "{\"model\":\"CANARY\",\"messages\":\"CANARY\"}",
	    MSG("{\"role\":\"CANARY\",\"content\":\"x\"}"),
	    MSG("{\"role\":\"user\",\"content\":[{\"type\":\"CANARY\"}]}"),
	    MU ",\"temperature\":\"CANARY\"}"};
	struct chat_req r;
	struct req_fault f;

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		assert_true(chat_req_parse(span_cstr(bodies[i]), &r, &f) < 0);
		assert_null(strstr(f.text, "CANARY"));
		assert_null(strstr(f.param, "CANARY"));
		chat_req_free(&r);
	}
}

static void enrolment_needs_both_halves(void **st)
{
	struct enroll_req r;
	struct req_fault f;

	assert_int_equal(
	    enroll_req_parse(span_cstr("{\"code_a\":\"A-1\",\"code_b\":\"B-2\"}"), &r, &f), 0);
	assert_string_equal(r.code_a, "A-1");
	assert_string_equal(r.code_b, "B-2");
	assert_true(enroll_req_parse(span_cstr("{\"code_a\":\"A-1\"}"), &r, &f) < 0);
	assert_string_equal(f.param, "code_b");
	assert_true(enroll_req_parse(span_cstr("{\"code_a\":1,\"code_b\":\"x\"}"), &r, &f) < 0);
	assert_true(enroll_req_parse(span_cstr("{\"code_a\":\"\",\"code_b\":\"x\"}"), &r, &f) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_body_of_the_table_is_judged_as_it_says),
	    cmocka_unit_test(a_schema_travels_before_the_messages),
	    cmocka_unit_test(a_schema_is_compiled_by_itself),
	    cmocka_unit_test(a_request_becomes_what_submit_carries),
	    cmocka_unit_test(deep_nesting_is_refused_before_the_parser_sees_it),
	    cmocka_unit_test(a_refusal_never_quotes_the_body),
	    cmocka_unit_test(enrolment_needs_both_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
