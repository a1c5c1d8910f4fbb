/* req_format.c - `response_format`: text, any JSON object, or JSON by a schema. The schema is
 * compiled here to say what is wrong with it, but not before store knows the client; and again by
 * the engine, which trusts nobody. It travels as the first record of the messages, so that policy
 * reads it and the book commits to it. */
#include <jansson.h>
#include <stdio.h>

#include "cur.h"
#include "mask.h"
#include "msgs.h"
#include "num.h"
#include "req_json.h"

_Static_assert(WIRE_FORM_MAX == SCHEMA_MAX_BYTES, "a schema that compiles can be carried");

static int bad(struct req_fault *f, enum reason code, const char *text)
{
	f->code = code;
	snprintf(f->param, sizeof(f->param), "response_format");
	snprintf(f->text, sizeof(f->text), "%s", text);
	return E_FORMAT;
}

static bool is_null(json_t *v)
{
	return v == NULL || json_is_null(v);
}

static bool name_ok(json_t *v)
{
	size_t n = json_is_string(v) ? json_string_length(v) : 0;

	for (size_t i = 0; i < n; i++) {
		char c = json_string_value(v)[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '_' || c == '-'))
			return false;
	}
	return n >= 1 && n <= 64;
}

/* A member that is not in the list would be ignored, whatever it asks for. */
static bool only(json_t *o, const char *const *names)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
	{
		unsigned i = 0;

		while (names[i] && strcmp(names[i], key) != 0)
			i++;
		if (!names[i] && !json_is_null(v))
			return false;
	}
	return true;
}

static void put_form(struct chat_req *r, struct span text)
{
	buf_u8(&r->msgs, WIRE_ROLE_FORM);
	buf_u32(&r->msgs, (uint32_t)text.n);
	buf_span_put(&r->msgs, text);
}

int chat_req_form(const struct chat_req *r, struct req_fault *f)
{
	struct cur c = cur_init(buf_span(&r->msgs));
	bool form = cur_u8(&c) == WIRE_ROLE_FORM;
	struct span text = cur_span(&c, cur_u32(&c));
	struct schema *s = NULL;
	struct err err = {0};
	char why[sizeof(f->text)];
	int rc;

	*f = (struct req_fault){RS_NONE, "", ""};
	if (!form || text.n == 0)
		return 0;
	rc = schema_compile(text, &s, &err);
	schema_free(s);
	if (rc == E_NOMEM)
		return bad(f, RS_INTERNAL, "There is no memory for this schema.");
	if (rc < 0) {
		snprintf(why, sizeof(why), "The schema cannot be kept to: %.120s.", err.text);
		return bad(f, rc == E_UNSUPPORTED ? RS_UNSUPPORTED : RS_BAD_REQUEST, why);
	}
	return 0;
}

static int take_schema(json_t *spec, struct chat_req *r, struct req_fault *f)
{
	static const char *const known[] = {"name", "description", "schema", "strict", NULL};
	json_t *schema = json_object_get(spec, "schema"), *strict = json_object_get(spec, "strict");
	char *text;
	size_t n;

	if (!json_is_object(spec))
		return bad(f, RS_BAD_REQUEST, "'json_schema' must be an object.");
	if (!only(spec, known))
		return bad(f, RS_UNSUPPORTED, "'json_schema' has a member nobody here knows.");
	if (!name_ok(json_object_get(spec, "name")))
		return bad(f, RS_BAD_REQUEST,
			   "'json_schema.name' must be 1 to 64 letters, digits, '_' or '-'.");
	if (!is_null(strict) && !json_is_boolean(strict))
		return bad(f, RS_BAD_REQUEST, "'json_schema.strict' must be true or false.");
	if (!json_is_object(schema))
		return bad(f, RS_BAD_REQUEST, "'json_schema.schema' must be an object.");
	/* 15 digits give every decimal back as it was written */
	text = json_dumps(schema, JSON_COMPACT | JSON_REAL_PRECISION(15));
	if (!text)
		return bad(f, RS_INTERNAL, "There is no memory for this schema.");
	n = strlen(text);
	if (n <= SCHEMA_MAX_BYTES)
		put_form(r, span_of(text, n));
	explicit_bzero(text, n);
	free(text);
	return n <= SCHEMA_MAX_BYTES ? 0 : bad(f, RS_BAD_REQUEST, "The schema is over 64 KiB.");
}

int req_format(struct json_t *o, struct chat_req *r, struct req_fault *f)
{
	static const char *const by_schema[] = {"type", "json_schema", NULL};
	static const char *const plain[] = {"type", NULL};
	json_t *v = json_object_get(o, "response_format"), *type;
	const char *t;

	if (is_null(v))
		return 0;
	type = json_object_get(v, "type");
	t = json_is_string(type) ? json_string_value(type) : "";
	if (!only(v, strcmp(t, "json_schema") == 0 ? by_schema : plain))
		return bad(f, RS_UNSUPPORTED,
			   "'response_format' has a member that does not go with its type.");
	if (strcmp(t, "text") == 0)
		return 0;
	if (strcmp(t, "json_schema") == 0)
		return take_schema(json_object_get(v, "json_schema"), r, f);
	if (strcmp(t, "json_object") != 0)
		return bad(f, RS_UNSUPPORTED,
			   "'response_format.type' must be text, json_object or json_schema.");
	put_form(r, SPAN_LIT(""));
	return 0;
}
