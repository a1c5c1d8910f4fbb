/* req_json.c - see req_json.h. jansson does the grammar (duplicates, UTF-8 and NUL refused). */
#include "req_json.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "err.h"
#include "msgs.h"
#include "num.h"

/* enum chat_role of engine/include/chat.h, as SUBMIT carries it */
enum { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

__attribute__((format(printf, 4, 5))) static int bad(struct req_fault *f, enum reason code,
						     const char *param, const char *fmt, ...)
{
	va_list ap;

	f->code = code;
	snprintf(f->param, sizeof(f->param), "%s", param);
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return E_FORMAT;
}

bool json_depth_ok(struct span s, unsigned max)
{
	unsigned depth = 0;
	bool in_str = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (in_str) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_str = false;
		} else if (c == '"') {
			in_str = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

static json_t *load(struct span body, struct req_fault *f)
{
	json_error_t e;
	json_t *j;

	if (body.n == 0) {
		bad(f, RS_BAD_REQUEST, "", "The body is empty; a JSON object is needed.");
		return NULL;
	}
	if (!json_depth_ok(body, REQ_DEPTH_MAX)) {
		bad(f, RS_BAD_REQUEST, "", "The JSON is nested deeper than %u levels.",
		    REQ_DEPTH_MAX);
		return NULL;
	}
	j = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &e);
	if (j == NULL) {
		/* e.text can quote the body, so only its place and kind are told */
		bad(f, RS_BAD_REQUEST, "", "The body is not valid JSON (line %d, column %d)%s.",
		    e.line, e.column,
		    json_error_code(&e) == json_error_duplicate_key	 ? ": a key stands twice"
		    : json_error_code(&e) == json_error_invalid_utf8	 ? ": bad UTF-8"
		    : json_error_code(&e) == json_error_numeric_overflow ? ": a number is too large"
									 : "");
		return NULL;
	}
	if (!json_is_object(j)) {
		bad(f, RS_BAD_REQUEST, "", "The body must be a JSON object.");
		json_decref(j);
		return NULL;
	}
	return j;
}

/* Absent and null are the same. */
static json_t *get(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_null(v) ? NULL : v;
}

static int number(json_t *o, const char *key, double lo, double hi, float *out, struct req_fault *f)
{
	json_t *v = get(o, key);
	double d;

	if (v == NULL)
		return 0;
	if (!json_is_number(v))
		return bad(f, RS_BAD_REQUEST, key, "'%s' must be a number.", key);
	d = json_number_value(v);
	if (!isfinite(d) || d < lo || d > hi)
		return bad(f, RS_BAD_REQUEST, key, "'%s' must be between %g and %g.", key, lo, hi);
	*out = (float)d;
	return 0;
}

static int integer(json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out,
		   struct req_fault *f)
{
	json_t *v = get(o, key);
	double d;

	if (v == NULL)
		return 0;
	if (json_is_real(v)) { /* 16.0 is a whole number too */
		d = json_real_value(v);
		if (d != floor(d) || fabs(d) > 9007199254740991.0)
			return bad(f, RS_BAD_REQUEST, key, "'%s' must be a whole number.", key);
		*out = (int64_t)d;
	} else if (json_is_integer(v)) {
		*out = json_integer_value(v);
	} else {
		return bad(f, RS_BAD_REQUEST, key, "'%s' must be a whole number.", key);
	}
	if (*out < lo || *out > hi)
		return bad(f, RS_BAD_REQUEST, key, "'%s' must be between %lld and %lld.", key,
			   (long long)lo, (long long)hi);
	return 0;
}

static int boolean(json_t *o, const char *key, bool *out, struct req_fault *f)
{
	json_t *v = get(o, key);

	if (v && !json_is_boolean(v))
		return bad(f, RS_BAD_REQUEST, key, "'%s' must be true or false.", key);
	if (v)
		*out = json_is_true(v);
	return 0;
}

static int no_support(struct req_fault *f, const char *key)
{
	return bad(f, RS_UNSUPPORTED, key, "'%s' is not supported; leave it out.", key);
}

/* Things that change what a model does or returns and that are not here yet: never ignored. */
static int unsupported(json_t *o, struct req_fault *f)
{
	static const char *const lists[] = {"tools", "functions"};
	static const char *const zeros[] = {"presence_penalty", "frequency_penalty",
					    "top_logprobs"};
	static const char *const words[] = {"tool_choice", "function_call"};
	json_t *v;

	for (unsigned i = 0; i < 2; i++)
		if ((v = get(o, lists[i])) && !(json_is_array(v) && json_array_size(v) == 0))
			return no_support(f, lists[i]);
	for (unsigned i = 0; i < 2; i++)
		if ((v = get(o, words[i])) &&
		    !(json_is_string(v) && (strcmp(json_string_value(v), "none") == 0 ||
					    strcmp(json_string_value(v), "auto") == 0)))
			return no_support(f, words[i]);
	for (unsigned i = 0; i < 3; i++)
		if ((v = get(o, zeros[i])) && !(json_is_number(v) && json_number_value(v) == 0))
			return no_support(f, zeros[i]);
	if ((v = get(o, "logprobs")) && !json_is_false(v))
		return no_support(f, "logprobs");
	if ((v = get(o, "logit_bias")) && !(json_is_object(v) && json_object_size(v) == 0))
		return no_support(f, "logit_bias");
	if ((v = get(o, "modalities")) &&
	    !(json_is_array(v) && json_array_size(v) == 1 && json_is_string(json_array_get(v, 0)) &&
	      strcmp(json_string_value(json_array_get(v, 0)), "text") == 0))
		return no_support(f, "modalities");
	return get(o, "audio") ? no_support(f, "audio") : 0;
}

static int one_stop(json_t *v, struct chat_req *r, struct req_fault *f)
{
	size_t n = json_is_string(v) ? json_string_length(v) : 0;

	if (n == 0 || n > REQ_STOP_BYTES)
		return bad(f, RS_BAD_REQUEST, "stop",
			   "'stop' must be a string of 1 to %u bytes, or up to %u of them.",
			   REQ_STOP_BYTES, REQ_STOPS_MAX);
	buf_u16(&r->stops, (uint16_t)n);
	buf_put(&r->stops, json_string_value(v), n);
	r->n_stops++;
	return 0;
}

static int take_stops(json_t *o, struct chat_req *r, struct req_fault *f)
{
	json_t *v = get(o, "stop");
	int rc = 0;

	if (v == NULL)
		return 0;
	if (!json_is_array(v))
		return one_stop(v, r, f);
	if (json_array_size(v) > REQ_STOPS_MAX)
		return bad(f, RS_BAD_REQUEST, "stop", "'stop' may hold at most %u strings.",
			   REQ_STOPS_MAX);
	for (size_t i = 0; i < json_array_size(v) && rc == 0; i++)
		rc = one_stop(json_array_get(v, i), r, f);
	return rc;
}

static int take_role(json_t *m, unsigned i, uint8_t *role, struct req_fault *f)
{
	static const struct {
		const char *name;
		uint8_t role;
	} roles[] = {{"system", ROLE_SYSTEM},
		     {"developer", ROLE_SYSTEM},
		     {"user", ROLE_USER},
		     {"assistant", ROLE_ASSISTANT},
		     {"tool", ROLE_TOOL}};
	json_t *v = get(m, "role");

	for (unsigned k = 0; k < sizeof(roles) / sizeof(roles[0]) && json_is_string(v); k++)
		if (strcmp(json_string_value(v), roles[k].name) == 0) {
			*role = roles[k].role;
			return 0;
		}
	return bad(f, RS_BAD_REQUEST, "messages",
		   "'messages[%u].role' must be system, developer, user, assistant or tool.", i);
}

/* Text parts are joined by a line break. */
static int take_parts(json_t *parts, unsigned i, struct chat_req *r, struct req_fault *f)
{
	if (json_array_size(parts) == 0)
		return bad(f, RS_BAD_REQUEST, "messages", "'messages[%u].content' is empty.", i);
	for (size_t k = 0; k < json_array_size(parts); k++) {
		json_t *p = json_array_get(parts, k), *type = get(p, "type"), *t = get(p, "text");

		if (!json_is_string(type))
			return bad(f, RS_BAD_REQUEST, "messages",
				   "'messages[%u].content[%zu].type' is missing.", i, k);
		if (strcmp(json_string_value(type), "text") != 0)
			return bad(f, RS_UNSCANNABLE, "messages",
				   "'messages[%u].content[%zu]' is not text.", i, k);
		if (!json_is_string(t))
			return bad(f, RS_BAD_REQUEST, "messages",
				   "'messages[%u].content[%zu].text' must be a string.", i, k);
		if (k)
			buf_putc(&r->msgs, '\n');
		buf_put(&r->msgs, json_string_value(t), json_string_length(t));
	}
	return 0;
}

static int take_message(json_t *m, unsigned i, struct chat_req *r, struct req_fault *f)
{
	json_t *c = get(m, "content"), *calls = get(m, "tool_calls");
	size_t at;
	uint8_t role = 0;
	int rc;

	if (!json_is_object(m))
		return bad(f, RS_BAD_REQUEST, "messages", "'messages[%u]' must be an object.", i);
	rc = take_role(m, i, &role, f);
	if (rc < 0)
		return rc;
	if ((calls && !(json_is_array(calls) && json_array_size(calls) == 0)) ||
	    get(m, "function_call"))
		return bad(f, RS_UNSUPPORTED, "messages",
			   "'messages[%u].tool_calls' is not supported; leave it out.", i);
	if (get(m, "audio"))
		return bad(f, RS_UNSCANNABLE, "messages", "'messages[%u].audio' is not text.", i);
	buf_u8(&r->msgs, role);
	at = r->msgs.n;
	buf_u32(&r->msgs, 0);
	if (json_is_string(c))
		buf_put(&r->msgs, json_string_value(c), json_string_length(c));
	else if (json_is_array(c))
		rc = take_parts(c, i, r, f);
	else
		rc = bad(f, RS_BAD_REQUEST, "messages",
			 "'messages[%u].content' must be a string or an array of text parts.", i);
	if (rc == 0 && buf_ok(&r->msgs))
		put_le32((uint8_t *)r->msgs.p + at, (uint32_t)(r->msgs.n - at - 4));
	r->n_msgs++;
	return rc;
}

static int take_messages(json_t *o, struct chat_req *r, struct req_fault *f)
{
	json_t *v = get(o, "messages");
	int rc = 0;

	if (!json_is_array(v) || json_array_size(v) == 0)
		return bad(f, RS_BAD_REQUEST, "messages", "'messages' must be a non-empty array.");
	if (json_array_size(v) > REQ_MSGS_MAX)
		return bad(f, RS_BAD_REQUEST, "messages", "'messages' may hold at most %u.",
			   REQ_MSGS_MAX);
	for (unsigned i = 0; i < json_array_size(v) && rc == 0; i++)
		rc = take_message(json_array_get(v, i), i, r, f);
	if (rc == 0 && !buf_ok(&r->msgs))
		return bad(f, RS_INTERNAL, "", "There is no memory for this request.");
	return rc;
}

static int take_model(json_t *o, struct chat_req *r, struct req_fault *f)
{
	json_t *v = get(o, "model");
	size_t n = json_is_string(v) ? json_string_length(v) : 0;

	if (n == 0)
		return bad(f, RS_BAD_REQUEST, "model", "'model' must be a non-empty string.");
	if (n >= sizeof(r->model))
		return bad(f, RS_NO_MODEL, "model", "The name is longer than any model's.");
	memcpy(r->model, json_string_value(v), n + 1);
	return 0;
}

static int take_numbers(json_t *o, struct chat_req *r, struct req_fault *f)
{
	int64_t n = 1, top_k = 0, out = 0, legacy = 0, seed = 0;
	int rc;

	if ((rc = number(o, "temperature", 0, 2, &r->temperature, f)) < 0 ||
	    (rc = number(o, "top_p", 0, 1, &r->top_p, f)) < 0 ||
	    (rc = number(o, "min_p", 0, 1, &r->min_p, f)) < 0 ||
	    (rc = integer(o, "top_k", -1, 1 << 20, &top_k, f)) < 0 ||
	    (rc = integer(o, "n", 1, REQ_N_MAX, &n, f)) < 0 ||
	    (rc = integer(o, "max_tokens", 1, REQ_OUT_MAX, &legacy, f)) < 0 ||
	    (rc = integer(o, "max_completion_tokens", 1, REQ_OUT_MAX, &out, f)) < 0 ||
	    (rc = integer(o, "seed", INT64_MIN, INT64_MAX, &seed, f)) < 0)
		return rc;
	r->top_k = top_k > 0 ? (uint32_t)top_k : 0;
	r->n = (uint32_t)n;
	r->max_out = (uint32_t)(out ? out : legacy);
	r->has_seed = get(o, "seed") != NULL;
	r->seed = (uint64_t)seed;
	return 0;
}

static int take_all(json_t *o, struct chat_req *r, struct req_fault *f)
{
	json_t *v;
	int rc;

	if ((rc = take_model(o, r, f)) < 0 || (rc = unsupported(o, f)) < 0 ||
	    (rc = take_numbers(o, r, f)) < 0 || (rc = boolean(o, "stream", &r->stream, f)) < 0 ||
	    (rc = take_stops(o, r, f)) < 0)
		return rc;
	v = get(o, "stream_options");
	if (v && !json_is_object(v))
		return bad(f, RS_BAD_REQUEST, "stream_options",
			   "'stream_options' must be an object.");
	if (v && (rc = boolean(v, "include_usage", &r->include_usage, f)) < 0)
		return rc;
	v = get(o, "user");
	if (v && !json_is_string(v))
		return bad(f, RS_BAD_REQUEST, "user", "'user' must be a string.");
	if ((rc = req_format(o, r, f)) < 0)
		return rc;
	return take_messages(o, r, f);
}

int chat_req_parse(struct span body, struct chat_req *r, struct req_fault *f)
{
	json_t *o;
	int rc;

	*r = (struct chat_req){.temperature = 1, .top_p = 1, .n = 1};
	*f = (struct req_fault){RS_NONE, "", ""};
	r->msgs = BUF_INIT(body.n + 64 + (size_t)REQ_MSGS_MAX * 8 + WIRE_FORM_MAX);
	r->stops = BUF_INIT(REQ_STOPS_MAX * (REQ_STOP_BYTES + 2));
	o = load(body, f);
	if (o == NULL)
		return E_FORMAT;
	rc = take_all(o, r, f);
	json_decref(o);
	return rc;
}

void chat_req_free(struct chat_req *r)
{
	buf_wipe_free(&r->msgs);
	buf_wipe_free(&r->stops);
}

static int code_of(json_t *o, const char *key, char out[64], struct req_fault *f)
{
	json_t *v = get(o, key);
	size_t n = json_is_string(v) ? json_string_length(v) : 0;

	if (n == 0 || n >= 64)
		return bad(f, RS_BAD_REQUEST, key, "'%s' must be one half of the code.", key);
	memcpy(out, json_string_value(v), n + 1);
	return 0;
}

int enroll_req_parse(struct span body, struct enroll_req *r, struct req_fault *f)
{
	json_t *o;
	int rc;

	memset(r, 0, sizeof(*r));
	*f = (struct req_fault){RS_NONE, "", ""};
	o = load(body, f);
	if (o == NULL)
		return E_FORMAT;
	rc = code_of(o, "code_a", r->code_a, f);
	if (rc == 0)
		rc = code_of(o, "code_b", r->code_b, f);
	json_decref(o);
	return rc;
}
