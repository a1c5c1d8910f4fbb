/* schema_json.c - a schema's text as a list of values. RFC 8259 without mercy: UTF-8, no doubled
 * keys, no NUL, nothing behind the value; depth and number of values are capped. */
#include <stdlib.h>

#include "fault.h"
#include "schema_priv.h"
#include "utf8.h"

struct reader {
	struct jdoc *d;
	const char *p, *end;
	const char *why; /* first error */
	int code;
};

static bool fail(struct reader *r, int code, const char *why)
{
	if (!r->code) {
		r->code = code;
		r->why = why;
	}
	return false;
}

static void space(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

static bool hex4(struct reader *r, uint32_t *out)
{
	*out = 0;
	if (r->end - r->p < 4)
		return fail(r, E_FORMAT, "an escape is cut short");
	for (int i = 0; i < 4; i++) {
		char c = *r->p++;
		int h = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (h < 0)
			return fail(r, E_FORMAT, "a bad escape");
		*out = *out << 4 | (uint32_t)h;
	}
	return true;
}

static bool escape(struct reader *r, char **to)
{
	static const char from[] = "\"\\/bfnrt", as[] = "\"\\/\b\f\n\r\t";
	uint32_t u, low;
	const char *at;

	if (r->p == r->end)
		return fail(r, E_FORMAT, "an escape is cut short");
	if (*r->p != 'u') {
		if (!*r->p || !(at = strchr(from, *r->p)))
			return fail(r, E_FORMAT, "a bad escape");
		*(*to)++ = as[at - from];
		r->p++;
		return true;
	}
	r->p++;
	if (!hex4(r, &u))
		return false;
	if (u >= 0xd800 && u < 0xdc00) {
		if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
			return fail(r, E_FORMAT, "half a surrogate pair");
		r->p += 2;
		if (!hex4(r, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(r, E_FORMAT, "half a surrogate pair");
		u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
	} else if (u >= 0xdc00 && u < 0xe000) {
		return fail(r, E_FORMAT, "half a surrogate pair");
	}
	if (u == 0)
		return fail(r, E_FORMAT, "a NUL in a string");
	*to += utf8_put(u, *to);
	return true;
}

/* Decodes behind the opening quote. What is decoded is never longer than what is written. */
static bool string(struct reader *r, struct span *out)
{
	char *from = r->d->mem + r->d->mem_n, *to = from;

	for (;;) {
		uint32_t cp;
		int n;

		if (r->p == r->end)
			return fail(r, E_FORMAT, "a string is cut short");
		if (*r->p == '"')
			break;
		if (*r->p == '\\') {
			r->p++;
			if (!escape(r, &to))
				return false;
			continue;
		}
		n = utf8_next(span_of(r->p, (size_t)(r->end - r->p)), &cp);
		if (n <= 0 || cp < 0x20)
			return fail(r, E_FORMAT, "a string with bytes that may not stand in one");
		memcpy(to, r->p, (size_t)n);
		to += n;
		r->p += n;
	}
	r->p++;
	*out = span_of(from, (size_t)(to - from));
	r->d->mem_n += out->n;
	return true;
}

static bool digits(struct reader *r)
{
	const char *from = r->p;

	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > from || fail(r, E_FORMAT, "a malformed number");
}

static bool number(struct reader *r, struct span *out)
{
	const char *from = r->p;

	if (*r->p == '-')
		r->p++;
	if (r->p < r->end && *r->p == '0')
		r->p++;
	else if (!digits(r))
		return false;
	if (r->p < r->end && *r->p == '.') {
		r->p++;
		if (!digits(r))
			return false;
	}
	if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
		r->p++;
		if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
			r->p++;
		if (!digits(r))
			return false;
	}
	*out = span_of(from, (size_t)(r->p - from));
	return true;
}

static bool word(struct reader *r, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(r->end - r->p) < n || memcmp(r->p, w, n) != 0)
		return fail(r, E_FORMAT, "what is no JSON value");
	r->p += n;
	return true;
}

static uint32_t add(struct reader *r, uint32_t parent)
{
	struct jdoc *d = r->d;

	if (d->n == JSON_MAX_VALUES) {
		fail(r, E_RANGE, "more values than a schema may have");
		return NONE;
	}
	if (!vec_room(&d->v, d->n, &d->cap, sizeof(*d->v))) {
		fail(r, E_NOMEM, "no memory");
		return NONE;
	}
	d->v[d->n] = (struct jval){.parent = parent, .next = NONE, .first = NONE};
	return d->n++;
}

/* Remembers the key under its parent; false when it stands there already. */
static bool key_is_new(struct reader *r, uint32_t id)
{
	struct jdoc *d = r->d;
	const struct jval *v = &d->v[id];
	uint64_t h = 0xcbf29ce484222325u ^ v->parent;
	uint32_t i;

	for (size_t k = 0; k < v->key.n; k++)
		h = (h ^ (uint8_t)v->key.p[k]) * 0x100000001b3u;
	h ^= h >> 29;
	for (i = (uint32_t)h & d->dup_mask; d->dup[i]; i = (i + 1) & d->dup_mask) {
		const struct jval *o = &d->v[d->dup[i] - 1];

		if (o->parent == v->parent && span_eq(o->key, v->key))
			return fail(r, E_FORMAT, "a key that stands twice");
	}
	d->dup[i] = id + 1;
	return true;
}

static bool value(struct reader *r, uint32_t id, unsigned depth);

/* Members or elements behind the opening bracket. */
static bool children(struct reader *r, uint32_t id, unsigned depth, char close)
{
	uint32_t last = NONE;

	if (depth >= SCHEMA_MAX_DEPTH)
		return fail(r, E_RANGE, "deeper nesting than a schema may have");
	space(r);
	if (r->p < r->end && *r->p == close) {
		r->p++;
		return true;
	}
	for (;;) {
		uint32_t kid = add(r, id);

		if (kid == NONE)
			return false;
		r->d->v[kid].index = r->d->v[id].n++;
		*(last == NONE ? &r->d->v[id].first : &r->d->v[last].next) = kid;
		last = kid;
		space(r);
		if (close == '}') {
			struct span key;

			if (r->p == r->end || *r->p++ != '"')
				return fail(r, E_FORMAT, "an object without a key");
			if (!string(r, &key))
				return false;
			r->d->v[kid].key = key;
			if (!key_is_new(r, kid))
				return false;
			space(r);
			if (r->p == r->end || *r->p++ != ':')
				return fail(r, E_FORMAT, "an object without a colon");
		}
		if (!value(r, kid, depth + 1))
			return false;
		space(r);
		if (r->p == r->end || (*r->p != ',' && *r->p != close))
			return fail(r, E_FORMAT, "a list without its end");
		if (*r->p++ == close)
			return true;
	}
}

static bool value(struct reader *r, uint32_t id, unsigned depth)
{
	struct span text = {0};
	enum jtype type;
	bool ok;

	space(r);
	if (r->p == r->end)
		return fail(r, E_FORMAT, "no value where one must stand");
	switch (*r->p) {
	case '{':
	case '[':
		type = *r->p++ == '{' ? J_OBJ : J_ARR;
		r->d->v[id].type = type;
		return children(r, id, depth, type == J_OBJ ? '}' : ']');
	case '"':
		r->p++;
		type = J_STR;
		ok = string(r, &text);
		break;
	case 't':
		type = J_TRUE;
		ok = word(r, "true");
		break;
	case 'f':
		type = J_FALSE;
		ok = word(r, "false");
		break;
	case 'n':
		type = J_NULL;
		ok = word(r, "null");
		break;
	default:
		type = J_NUM;
		ok = number(r, &text);
	}
	r->d->v[id].type = type;
	r->d->v[id].text = text;
	return ok;
}

int json_read(struct jdoc *d, struct span text, struct err *err)
{
	struct reader r = {.d = d, .p = text.p, .end = text.p + text.n};
	uint32_t slots = 16;

	*d = (struct jdoc){0};
	if (text.n == 0 || text.n > SCHEMA_MAX_BYTES)
		return err_set(err, text.n ? E_RANGE : E_FORMAT, "a schema has 1 to %u bytes",
			       SCHEMA_MAX_BYTES);
	while (slots < text.n) /* a member has four bytes at least: a quarter is used at most */
		slots *= 2;
	d->mem = FAULT("schema.alloc") ? NULL : malloc(text.n);
	d->mem_cap = text.n;
	d->dup = d->mem ? calloc(slots, sizeof(*d->dup)) : NULL;
	d->dup_mask = slots - 1;
	if (!d->dup)
		return err_set(err, E_NOMEM, "no memory for a schema");
	if (add(&r, NONE) != NONE && value(&r, 0, 0)) {
		space(&r);
		if (r.p != r.end)
			fail(&r, E_FORMAT, "more than one value");
	}
	if (r.code)
		return err_set(err, r.code, "the schema's JSON has %s (byte %zu)", r.why,
			       (size_t)(r.p - text.p));
	return 0;
}

void json_free(struct jdoc *d)
{
	if (d->mem)
		explicit_bzero(d->mem, d->mem_cap);
	free(d->v);
	free(d->mem);
	free(d->dup);
	*d = (struct jdoc){0};
}

uint32_t json_get(const struct jdoc *d, uint32_t obj, struct span key)
{
	for (uint32_t i = d->v[obj].type == J_OBJ ? d->v[obj].first : NONE; i != NONE;
	     i = d->v[i].next)
		if (span_eq(d->v[i].key, key))
			return i;
	return NONE;
}

void json_put_text(struct span s, struct buf *out)
{
	static const char from[] = "\"\\\b\f\n\r\t", as[] = "\"\\bfnrt";

	buf_putc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] ? strchr(from, s.p[i]) : NULL;

		if (at) {
			buf_putc(out, '\\');
			buf_putc(out, as[at - from]);
		} else if ((unsigned char)s.p[i] < 0x20) {
			buf_fmt(out, "\\u%04x", (unsigned)(unsigned char)s.p[i]);
		} else {
			buf_putc(out, s.p[i]);
		}
	}
	buf_putc(out, '"');
}

void json_put(const struct jdoc *d, uint32_t v, struct buf *out)
{
	static const char *const words[] = {"null", "false", "true"};
	const struct jval *j = &d->v[v];

	switch (j->type) {
	case J_NULL:
	case J_FALSE:
	case J_TRUE:
		buf_puts(out, words[j->type]);
		return;
	case J_NUM:
		buf_span_put(out, j->text);
		return;
	case J_STR:
		json_put_text(j->text, out);
		return;
	default:
		break;
	}
	buf_putc(out, j->type == J_OBJ ? '{' : '[');
	for (uint32_t i = j->first; i != NONE; i = d->v[i].next) {
		if (i != j->first)
			buf_putc(out, ',');
		if (j->type == J_OBJ) {
			json_put_text(d->v[i].key, out);
			buf_putc(out, ':');
		}
		json_put(d, i, out);
	}
	buf_putc(out, j->type == J_OBJ ? '}' : ']');
}
