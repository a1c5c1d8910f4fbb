/* schema_kw.c - the keywords of a schema: which are enforced, which say nothing, which are refused;
 * and how an error names its place without repeating a word of the author's. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema_build.h"

static const struct {
	const char *name;
	enum kw kw;
} words[] = {
    {"type", KW_TYPE},
    {"properties", KW_PROPERTIES},
    {"required", KW_REQUIRED},
    {"additionalProperties", KW_ADDITIONAL},
    {"items", KW_ITEMS},
    {"minItems", KW_MIN_ITEMS},
    {"maxItems", KW_MAX_ITEMS},
    {"enum", KW_ENUM},
    {"const", KW_CONST},
    {"minLength", KW_MIN_LENGTH},
    {"maxLength", KW_MAX_LENGTH},
    {"pattern", KW_PATTERN},
    {"format", KW_FORMAT},
    {"minimum", KW_MINIMUM},
    {"maximum", KW_MAXIMUM},
    {"exclusiveMinimum", KW_EX_MINIMUM},
    {"exclusiveMaximum", KW_EX_MAXIMUM},
    {"anyOf", KW_ANYOF},
    {"$ref", KW_REF},
    {"$defs", KW_DEFS},
    {"definitions", KW_DEFS},
    {"title", KW_IGNORED},
    {"description", KW_IGNORED},
    {"default", KW_IGNORED},
    {"examples", KW_IGNORED},
    {"$schema", KW_IGNORED},
    {"$comment", KW_IGNORED},
    {"strict", KW_IGNORED},
    {"deprecated", KW_IGNORED},
    {"readOnly", KW_IGNORED},
    {"writeOnly", KW_IGNORED},
    {"oneOf", KW_REFUSED},
    {"allOf", KW_REFUSED},
    {"not", KW_REFUSED},
    {"if", KW_REFUSED},
    {"then", KW_REFUSED},
    {"else", KW_REFUSED},
    {"uniqueItems", KW_REFUSED},
    {"patternProperties", KW_REFUSED},
    {"propertyNames", KW_REFUSED},
    {"minProperties", KW_REFUSED},
    {"maxProperties", KW_REFUSED},
    {"unevaluatedProperties", KW_REFUSED},
    {"dependentRequired", KW_REFUSED},
    {"dependentSchemas", KW_REFUSED},
    {"dependencies", KW_REFUSED},
    {"prefixItems", KW_REFUSED},
    {"additionalItems", KW_REFUSED},
    {"unevaluatedItems", KW_REFUSED},
    {"contains", KW_REFUSED},
    {"minContains", KW_REFUSED},
    {"maxContains", KW_REFUSED},
    {"multipleOf", KW_REFUSED},
    {"contentEncoding", KW_REFUSED},
    {"contentMediaType", KW_REFUSED},
    {"contentSchema", KW_REFUSED},
    {"nullable", KW_REFUSED},
    {"discriminator", KW_REFUSED},
    {"$id", KW_REFUSED},
    {"$anchor", KW_REFUSED},
    {"$dynamicRef", KW_REFUSED},
    {"$dynamicAnchor", KW_REFUSED},
    {"$recursiveRef", KW_REFUSED},
    {"$vocabulary", KW_REFUSED},
};
#define N_WORDS (sizeof(words) / sizeof(words[0]))

static int word_of(struct span s)
{
	for (size_t i = 0; i < N_WORDS; i++)
		if (span_eq(s, span_cstr(words[i].name)))
			return (int)i;
	return -1;
}

const char *kw_name(enum kw k)
{
	for (size_t i = 0; i < N_WORDS; i++)
		if (words[i].kw == k)
			return words[i].name;
	return "";
}

/* Names of properties and definitions are the author's, whatever they are called. */
static bool holds_names(const struct jdoc *d, uint32_t v)
{
	int w = word_of(d->v[v].key);

	return w >= 0 && (words[w].kw == KW_PROPERTIES || words[w].kw == KW_DEFS) &&
	       d->v[v].parent != NONE &&
	       !(d->v[d->v[v].parent].parent != NONE && holds_names(d, d->v[v].parent));
}

/* Walks from value v up; gives the place from the root on, cut at its far end when it is long. */
static void put_place(const struct jdoc *d, uint32_t v, char *out, size_t cap)
{
	uint32_t path[SCHEMA_MAX_DEPTH + 1];
	unsigned n = 0;
	size_t at = 0;

	for (; v != NONE && d->v[v].parent != NONE && n <= SCHEMA_MAX_DEPTH; v = d->v[v].parent)
		path[n++] = v;
	snprintf(out, cap, "the root");
	while (n-- > 0 && at + 1 < cap) {
		const struct jval *j = &d->v[path[n]];
		uint32_t up = j->parent;
		int w = d->v[up].type == J_OBJ && !holds_names(d, up) ? word_of(j->key) : -1;
		int len = w >= 0 ? snprintf(out + at, cap - at, "/%s", words[w].name)
			  : d->v[up].type == J_OBJ
			      ? snprintf(out + at, cap - at, "/[%u]", (unsigned)j->index)
			      : snprintf(out + at, cap - at, "/%u", (unsigned)j->index);

		at += (size_t)len;
	}
}

int refuse(struct build *b, int code, uint32_t v, const char *fmt, ...)
{
	char text[128], place[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_place(&b->doc, v, place, sizeof(place));
	return err_set(b->err, code, "%s, at %s", text, place);
}

int kws_read(struct build *b, uint32_t v, struct kws *out)
{
	struct jdoc *d = &b->doc;

	for (unsigned i = 0; i < KW_COUNT; i++)
		out->at[i] = NONE;
	for (uint32_t i = d->v[v].first; i != NONE; i = d->v[i].next) {
		int w = word_of(d->v[i].key);
		enum kw k = w < 0 ? KW_UNKNOWN : words[w].kw;

		if (k == KW_UNKNOWN)
			return refuse(b, E_UNSUPPORTED, i, "a keyword nobody here knows");
		if (k == KW_REFUSED && d->v[v].parent == NONE &&
		    span_eq(d->v[i].key, SPAN_LIT("$id")))
			continue; /* a name for the whole, nothing more */
		if (k == KW_REFUSED)
			return refuse(b, E_UNSUPPORTED, i, "'%s' is not supported", words[w].name);
		if (k < KW_COUNT)
			out->at[k] = i;
	}
	return 0;
}

int kw_count(struct build *b, const struct kws *k, enum kw w, uint32_t *out)
{
	uint32_t v = k->at[w];
	bool exact = true;
	int64_t n;

	if (v == NONE)
		return 0;
	if (b->doc.v[v].type != J_NUM)
		return refuse(b, E_FORMAT, v, "'%s' must be a whole number", kw_name(w));
	n = decimal_scaled(b->doc.v[v].text, 0, false, &exact);
	if (!exact || n < 0)
		return refuse(b, E_FORMAT, v, "'%s' must be a whole number", kw_name(w));
	if (n > 1000000000)
		return refuse(b, E_RANGE, v, "'%s' is over 1,000,000,000", kw_name(w));
	*out = (uint32_t)n;
	return 0;
}

static unsigned type_bit(struct span s)
{
	static const char *const names[] = {"null",   "boolean", "number", "integer",
					    "string", "array",	 "object"};

	for (unsigned i = 0; i < 7; i++)
		if (span_eq(s, span_cstr(names[i])))
			return 1u << i;
	return 0;
}

/* What the other keywords are about, when "type" is not there. */
static unsigned implied(const struct kws *k)
{
	static const struct {
		enum kw from, to;
		unsigned type;
	} about[] = {{KW_PROPERTIES, KW_ADDITIONAL, T_OBJECT},
		     {KW_ITEMS, KW_MAX_ITEMS, T_ARRAY},
		     {KW_MIN_LENGTH, KW_FORMAT, T_STRING},
		     {KW_MINIMUM, KW_EX_MAXIMUM, T_NUMBER}};
	unsigned bits = 0;

	for (unsigned i = 0; i < 4; i++)
		for (unsigned w = about[i].from; w <= (unsigned)about[i].to; w++)
			bits |= k->at[w] != NONE ? about[i].type : 0;
	return bits ? bits : T_ANY;
}

int kw_types(struct build *b, uint32_t v, const struct kws *k, unsigned *out)
{
	const struct jdoc *d = &b->doc;
	uint32_t t = k->at[KW_TYPE];

	*out = 0;
	if (t == NONE) {
		*out = implied(k);
		if (*out & (*out - 1))
			return refuse(b, E_UNSUPPORTED, v,
				      "'type' is missing beside keywords of several types");
		return 0;
	}
	if (d->v[t].type == J_STR)
		*out = type_bit(d->v[t].text);
	for (uint32_t i = d->v[t].type == J_ARR ? d->v[t].first : NONE; i != NONE;
	     i = d->v[i].next) {
		unsigned bit = d->v[i].type == J_STR ? type_bit(d->v[i].text) : 0;

		if (!bit)
			return refuse(b, E_FORMAT, i, "'type' names no type of JSON Schema");
		*out |= bit;
	}
	if (!*out)
		return refuse(b, E_FORMAT, t, "'type' names no type of JSON Schema");
	return 0;
}

int ref_target(struct build *b, uint32_t ref, uint32_t *out)
{
	const struct jdoc *d = &b->doc;
	struct span s = d->v[ref].text;
	uint32_t at = 0;

	if (d->v[ref].type != J_STR || !span_starts(s, SPAN_LIT("#")))
		return refuse(b, E_UNSUPPORTED, ref, "'$ref' must begin with '#'");
	s = span_from(s, 1);
	while (s.n && at != NONE) {
		char name[256];
		uint32_t n = 0;

		if (s.p[0] != '/')
			return refuse(b, E_UNSUPPORTED, ref, "'$ref' must be a JSON pointer");
		s = span_from(s, 1);
		while (s.n && s.p[0] != '/') {
			bool tilde = s.p[0] == '~' && s.n > 1 && (s.p[1] == '0' || s.p[1] == '1');

			if (n == sizeof(name) || s.p[0] == '%')
				return refuse(b, E_UNSUPPORTED, ref,
					      "'$ref' has a percent escape or a long name");
			name[n++] = tilde ? (s.p[1] == '0' ? '~' : '/') : s.p[0];
			s = span_from(s, tilde ? 2 : 1);
		}
		at = json_get(d, at, span_of(name, n));
	}
	if (at == NONE)
		return refuse(b, E_FORMAT, ref, "'$ref' points to nothing");
	*out = at;
	return 0;
}
