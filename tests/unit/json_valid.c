/* json_valid.c - see json_valid.h. Patterns are checked with the C library's regular expressions.
 */
#include "json_valid.h"

#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

json_t *json_text(const char *p, size_t n)
{
	return json_loadb(p, n, JSON_DECODE_ANY, NULL);
}

static bool bad(const char **why, const char *what)
{
	*why = what;
	return false;
}

static bool has_type(const char *t, json_t *v)
{
	return (!strcmp(t, "null") && json_is_null(v)) ||
	       (!strcmp(t, "boolean") && json_is_boolean(v)) ||
	       (!strcmp(t, "number") && json_is_number(v)) ||
	       (!strcmp(t, "integer") && json_is_integer(v)) ||
	       (!strcmp(t, "string") && json_is_string(v)) ||
	       (!strcmp(t, "array") && json_is_array(v)) ||
	       (!strcmp(t, "object") && json_is_object(v));
}

static bool type_ok(json_t *t, json_t *v)
{
	if (!t)
		return true;
	if (json_is_string(t))
		return has_type(json_string_value(t), v);
	for (size_t i = 0; i < json_array_size(t); i++)
		if (has_type(json_string_value(json_array_get(t, i)), v))
			return true;
	return false;
}

static size_t characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static bool regex_ok(const char *re, const char *s)
{
	char posix[2048];
	size_t n = 0;
	regex_t r;
	int rc;

	for (; *re && n + 10 < sizeof(posix); re++) /* \d and (?: are not POSIX's */
		if (re[0] == '\\' && re[1] == 'd') {
			n += (size_t)sprintf(posix + n, "[0-9]");
			re++;
		} else if (re[0] == '(' && re[1] == '?' && re[2] == ':') {
			posix[n++] = '(';
			re += 2;
		} else {
			posix[n++] = *re;
		}
	posix[n] = 0;
	if (regcomp(&r, posix, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	rc = regexec(&r, s, 0, NULL, 0);
	regfree(&r);
	return rc == 0;
}

static bool real_date(const char *s)
{
	int y, m, d, len = 0;
	struct tm t = {0};

	if (sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &len) != 3 || len != 10)
		return false;
	t.tm_year = y - 1900;
	t.tm_mon = m - 1;
	t.tm_mday = d;
	t.tm_hour = 12;
	timegm(&t); /* moves a day that is none */
	return t.tm_mday == d && t.tm_mon == m - 1;
}

static bool format_ok(const char *f, const char *s)
{
	if (!strcmp(f, "date"))
		return strlen(s) == 10 && real_date(s);
	if (!strcmp(f, "date-time"))
		return real_date(s) && regex_ok("^[0-9-]{10}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?"
						"(Z|[+-][0-9]{2}:[0-9]{2})$",
						s);
	if (!strcmp(f, "uuid"))
		return regex_ok("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", s);
	if (!strcmp(f, "email"))
		return regex_ok("^[^@ ]+@[^@. -][^@ ]*\\.[A-Za-z]+$", s);
	if (!strcmp(f, "ipv4")) {
		unsigned a, b, c, d;
		char rest;

		return sscanf(s, "%u.%u.%u.%u%c", &a, &b, &c, &d, &rest) == 4 && a < 256 &&
		       b < 256 && c < 256 && d < 256;
	}
	return true;
}

static bool string_ok(json_t *s, json_t *v, const char **why)
{
	const char *text = json_string_value(v);
	json_t *k;
	size_t n;

	if (!text)
		return true;
	n = characters(text);
	if ((k = json_object_get(s, "minLength")) && n < (size_t)json_integer_value(k))
		return bad(why, "minLength");
	if ((k = json_object_get(s, "maxLength")) && n > (size_t)json_integer_value(k))
		return bad(why, "maxLength");
	if ((k = json_object_get(s, "pattern")) && !regex_ok(json_string_value(k), text))
		return bad(why, "pattern");
	if ((k = json_object_get(s, "format")) && !format_ok(json_string_value(k), text))
		return bad(why, "format");
	return true;
}

static bool number_ok(json_t *s, json_t *v, const char **why)
{
	json_t *k;
	double d;

	if (!json_is_number(v))
		return true;
	d = json_number_value(v);
	if ((k = json_object_get(s, "minimum")) && d < json_number_value(k))
		return bad(why, "minimum");
	if ((k = json_object_get(s, "maximum")) && d > json_number_value(k))
		return bad(why, "maximum");
	if ((k = json_object_get(s, "exclusiveMinimum")) && d <= json_number_value(k))
		return bad(why, "exclusiveMinimum");
	if ((k = json_object_get(s, "exclusiveMaximum")) && d >= json_number_value(k))
		return bad(why, "exclusiveMaximum");
	return true;
}

static bool array_ok(json_t *root, json_t *s, json_t *v, const char **why)
{
	json_t *items = json_object_get(s, "items"), *k;
	size_t n = json_array_size(v);

	if (!json_is_array(v))
		return true;
	if ((k = json_object_get(s, "minItems")) && n < (size_t)json_integer_value(k))
		return bad(why, "minItems");
	if ((k = json_object_get(s, "maxItems")) && n > (size_t)json_integer_value(k))
		return bad(why, "maxItems");
	for (size_t i = 0; items && i < n; i++)
		if (!json_valid(root, items, json_array_get(v, i), why))
			return false;
	return true;
}

static bool object_ok(json_t *root, json_t *s, json_t *v, const char **why)
{
	json_t *props = json_object_get(s, "properties"), *req = json_object_get(s, "required");
	json_t *more = json_object_get(s, "additionalProperties"), *one, *sub;
	const char *key;

	if (!json_is_object(v))
		return true;
	for (size_t i = 0; i < json_array_size(req); i++)
		if (!json_object_get(v, json_string_value(json_array_get(req, i))))
			return bad(why, "required");
	json_object_foreach(v, key, one)
	{
		sub = json_object_get(props, key);
		if (!sub && json_is_false(more))
			return bad(why, "additionalProperties");
		if (!sub && json_is_object(more))
			sub = more;
		if (sub && !json_valid(root, sub, one, why))
			return false;
	}
	return true;
}

static json_t *target(json_t *root, const char *ref)
{
	char name[256];

	for (ref += *ref == '#'; root && *ref == '/';) {
		size_t n = strcspn(++ref, "/");

		snprintf(name, sizeof(name), "%.*s", (int)n, ref);
		root = json_object_get(root, name);
		ref += n;
	}
	return root;
}

bool json_valid(json_t *root, json_t *s, json_t *v, const char **why)
{
	json_t *k, *any = json_object_get(s, "anyOf");
	bool ok = false;

	if (json_is_true(s))
		return true;
	if ((k = json_object_get(s, "$ref")))
		return json_valid(root, target(root, json_string_value(k)), v, why);
	if (!json_is_object(s) || !type_ok(json_object_get(s, "type"), v))
		return bad(why, "type");
	for (size_t i = 0; i < json_array_size(any) && !ok; i++)
		ok = json_valid(root, json_array_get(any, i), v, why);
	if (any && !ok)
		return bad(why, "anyOf");
	if ((k = json_object_get(s, "const")) && !json_equal(k, v))
		return bad(why, "const");
	k = json_object_get(s, "enum");
	ok = !k;
	for (size_t i = 0; i < json_array_size(k) && !ok; i++)
		ok = json_equal(json_array_get(k, i), v);
	if (!ok)
		return bad(why, "enum");
	return string_ok(s, v, why) && number_ok(s, v, why) && array_ok(root, s, v, why) &&
	       object_ok(root, s, v, why);
}
