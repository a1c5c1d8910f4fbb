/* schema_build.c - one schema object to one node. Nodes of parts are only asked for here and filled
 * in later, one after another, so that nothing recurses over what an author nested. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "fault.h"
#include "schema_build.h"

static int no_memory(struct build *b)
{
	return err_set(b->err, E_NOMEM, "no memory for a schema");
}

/* References can have nested places listed many times over. */
static int blob_full(struct build *b, uint32_t v)
{
	if (!buf_ok(&b->s->blob))
		return no_memory(b);
	if (b->s->blob.n <= SCHEMA_MAX_BLOB)
		return 0;
	return refuse(b, E_RANGE, v, "more than 512 KiB of names and listed values");
}

static uint32_t node_new(struct build *b, uint32_t v)
{
	struct schema *s = b->s;
	struct node blank = {.value = NONE, .max = NONE, .height = HEIGHT_NONE};

	if (s->n_nodes == SCHEMA_MAX_NODES) {
		refuse(b, E_RANGE, v, "more than %u parts", SCHEMA_MAX_NODES);
		return NONE;
	}
	if (!vec_room(&s->nodes, s->n_nodes, &s->cap_nodes, sizeof(*s->nodes)) ||
	    !vec_room(&b->doc_of, s->n_nodes, &b->cap_doc_of, sizeof(*b->doc_of))) {
		no_memory(b);
		return NONE;
	}
	b->doc_of[s->n_nodes] = v;
	s->nodes[s->n_nodes] = blank;
	return s->n_nodes++;
}

uint32_t node_for(struct build *b, uint32_t v)
{
	if (b->node_of[v] == NONE)
		b->node_of[v] = node_new(b, v);
	return b->node_of[v];
}

static int add_alt(struct build *b, struct node *d, uint32_t to)
{
	if (to == NONE)
		return b->err ? b->err->code : E_RANGE;
	if (!vec_room(&b->alts, b->n_alts, &b->cap_alts, sizeof(*b->alts)))
		return no_memory(b);
	b->alts[b->n_alts++] = to;
	d->n++;
	return 0;
}

/* ---- objects ---- */

static int add_prop(struct build *b, uint32_t v, struct prop *p)
{
	struct schema *s = b->s;
	struct span key = b->doc.v[v].key;

	p->key.off = (uint32_t)s->blob.n;
	json_put_text(key, &s->blob);
	buf_putc(&s->blob, ':');
	p->key.n = (uint32_t)s->blob.n - p->key.off;
	if (blob_full(b, v) < 0)
		return b->err->code;
	if (p->key.n > SCHEMA_MAX_LIT)
		return refuse(b, E_RANGE, v, "a name over %u bytes", SCHEMA_MAX_LIT);
	p->value = node_for(b, v);
	return p->value == NONE ? (b->err ? b->err->code : E_RANGE) : 0;
}

static int prop_cmp(const void *x, const void *y, void *arg)
{
	const struct schema *s = arg;
	const struct prop *base = s->props + s->n_props; /* of the object being built */

	return lit_cmp(s, base[*(const uint32_t *)x].key, base[*(const uint32_t *)y].key);
}

static void sort_props(struct schema *s, uint32_t n)
{
	struct prop *p = s->props + s->n_props;
	uint32_t *order = s->order + s->n_props, req = NONE;

	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof(*order), prop_cmp, s);
	for (uint32_t i = 0; i < n; i++)
		p[order[i]].pos = i;
	for (uint32_t i = n; i-- > 0;) {
		req = p[i].required ? i : req;
		p[i].req = req;
	}
}

static bool props_room(struct schema *s, uint32_t n)
{
	uint32_t cap = s->cap_props ? s->cap_props : 64;
	struct prop *p;
	uint32_t *o;

	if (s->n_props + n <= s->cap_props)
		return true;
	while (cap < s->n_props + n)
		cap *= 2;
	if (FAULT("schema.alloc") || !(p = realloc(s->props, cap * sizeof(*p))))
		return false;
	s->props = p;
	if (!(o = realloc(s->order, cap * sizeof(*o))))
		return false;
	s->order = o;
	s->cap_props = cap;
	return true;
}

static int take_required(struct build *b, const struct kws *k, struct prop *p)
{
	const struct jdoc *d = &b->doc;
	uint32_t list = k->at[KW_REQUIRED], props = k->at[KW_PROPERTIES];

	if (list == NONE)
		return 0;
	if (d->v[list].type != J_ARR || d->v[list].n > SCHEMA_MAX_PROPS)
		return refuse(b, E_FORMAT, list, "'required' must be a list of at most %u names",
			      SCHEMA_MAX_PROPS);
	for (uint32_t i = d->v[list].first; i != NONE; i = d->v[i].next) {
		uint32_t at = d->v[i].type == J_STR && props != NONE
				  ? json_get(d, props, d->v[i].text)
				  : NONE;

		if (at == NONE)
			return refuse(b, E_UNSUPPORTED, i,
				      "'required' names what 'properties' does not");
		p[d->v[at].index].required = true;
	}
	return 0;
}

static int object_node(struct build *b, const struct kws *k, struct node *d)
{
	const struct jdoc *doc = &b->doc;
	uint32_t props = k->at[KW_PROPERTIES], more = k->at[KW_ADDITIONAL], n = 0;
	struct schema *s = b->s;
	int rc;

	d->kind = NK_OBJECT;
	if (props != NONE && doc->v[props].type != J_OBJ)
		return refuse(b, E_FORMAT, props, "'properties' must be an object");
	n = props == NONE ? 0 : doc->v[props].n;
	if (n > SCHEMA_MAX_PROPS)
		return refuse(b, E_RANGE, props, "more than %u properties", SCHEMA_MAX_PROPS);
	if (!props_room(s, n ? n : 1))
		return no_memory(b);
	for (uint32_t i = n ? doc->v[props].first : NONE, at = s->n_props; i != NONE;
	     i = doc->v[i].next, at++) {
		s->props[at] = (struct prop){0};
		if ((rc = add_prop(b, i, &s->props[at])) < 0)
			return rc;
	}
	if ((rc = take_required(b, k, s->props + s->n_props)) < 0)
		return rc;
	if (n)
		sort_props(s, n);
	d->first = s->n_props;
	d->n = n;
	s->n_props += n;
	if (more == NONE || doc->v[more].type == J_TRUE) /* what is named is what is written */
		d->value = more == NONE && n ? NONE : NODE_ANY;
	else if (doc->v[more].type != J_FALSE && (d->value = node_for(b, more)) == NONE)
		return b->err ? b->err->code : E_RANGE;
	return 0;
}

/* ---- arrays, strings ---- */

static int array_node(struct build *b, const struct kws *k, struct node *d)
{
	uint32_t items = k->at[KW_ITEMS];
	int rc;

	d->kind = NK_ARRAY;
	if ((rc = kw_count(b, k, KW_MIN_ITEMS, &d->min)) < 0 ||
	    (rc = kw_count(b, k, KW_MAX_ITEMS, &d->max)) < 0)
		return rc;
	if (d->min > d->max)
		return refuse(b, E_UNSUPPORTED, k->at[KW_MIN_ITEMS], "'minItems' over 'maxItems'");
	d->value = items == NONE ? NODE_ANY : node_for(b, items);
	return d->value == NONE ? (b->err ? b->err->code : E_RANGE) : 0;
}

/* The table of a pattern; the same text has the same one. The author's own is also read out. */
static int pattern_dfa(struct build *b, struct span re, bool own, const struct dfa **out,
		       const char **why)
{
	struct schema *s = b->s;
	int rc;

	for (uint32_t i = 0; i < s->n_dfas; i++)
		if (span_eq(b->re[i], re)) {
			*out = s->dfas[i];
			return 0;
		}
	if (!vec_room(&s->dfas, s->n_dfas, &s->cap_dfas, sizeof(*s->dfas)) ||
	    !vec_room(&b->re, s->n_dfas, &b->cap_re, sizeof(*b->re)))
		return E_NOMEM;
	if ((rc = dfa_pattern(re, &b->work, &s->dfas[s->n_dfas], why)) < 0)
		return rc;
	b->re[s->n_dfas] = re;
	*out = s->dfas[s->n_dfas++];
	*why = "too many texts to be judged";
	return own ? dfa_read(*out, &b->work, &s->words) : 0;
}

static int text_form(struct build *b, const struct kws *k, struct node *d)
{
	bool format = k->at[KW_FORMAT] != NONE;
	uint32_t v = format ? k->at[KW_FORMAT] : k->at[KW_PATTERN];
	const char *why = "", *known;
	struct span re;
	int rc;

	if (format && k->at[KW_PATTERN] != NONE)
		return refuse(b, E_UNSUPPORTED, v, "'format' beside 'pattern'");
	if (k->at[KW_MIN_LENGTH] != NONE || k->at[KW_MAX_LENGTH] != NONE)
		return refuse(b, E_UNSUPPORTED, v, "'%s' beside a bound of length",
			      format ? "format" : "pattern");
	if (b->doc.v[v].type != J_STR)
		return refuse(b, E_FORMAT, v, "'%s' must be a string",
			      format ? "format" : "pattern");
	re = b->doc.v[v].text;
	if (format) {
		if (!(known = dfa_format(re)))
			return refuse(b, E_UNSUPPORTED, v, "'format' with this value");
		re = span_cstr(known);
	}
	if ((rc = pattern_dfa(b, re, !format, &d->dfa, &why)) < 0)
		return rc == E_NOMEM ? no_memory(b) : refuse(b, rc, v, "'pattern': %s", why);
	return 0;
}

static int string_node(struct build *b, const struct kws *k, struct node *d)
{
	int rc;

	d->kind = NK_STRING;
	if (k->at[KW_FORMAT] != NONE || k->at[KW_PATTERN] != NONE)
		return text_form(b, k, d);
	if ((rc = kw_count(b, k, KW_MIN_LENGTH, &d->min)) < 0 ||
	    (rc = kw_count(b, k, KW_MAX_LENGTH, &d->max)) < 0)
		return rc;
	if (d->min > d->max)
		return refuse(b, E_UNSUPPORTED, k->at[KW_MIN_LENGTH],
			      "'minLength' over 'maxLength'");
	return 0;
}

/* ---- lists of values ---- */

static bool plain_number(struct span s)
{
	char num[64];
	size_t digits = 0;
	bool whole = true;

	if (s.n >= sizeof(num))
		return false;
	memcpy(num, s.p, s.n);
	num[s.n] = 0;
	for (size_t i = 0; i < s.n; i++) {
		digits += s.p[i] >= '0' && s.p[i] <= '9';
		whole = whole && s.p[i] != '.' && s.p[i] != 'e' && s.p[i] != 'E';
	}
	return whole ? digits <= 18 : isfinite(strtod(num, NULL));
}

/* Every number inside can be read by everybody. */
static bool plain_value(const struct jdoc *d, uint32_t v)
{
	if (d->v[v].type == J_NUM)
		return plain_number(d->v[v].text);
	for (uint32_t i = d->v[v].first; i != NONE; i = d->v[i].next)
		if (!plain_value(d, i))
			return false;
	return true;
}

static unsigned types_of(const struct jval *j)
{
	switch (j->type) {
	case J_NULL:
		return T_NULL;
	case J_NUM:
		for (size_t i = 0; i < j->text.n; i++)
			if (strchr(".eE", j->text.p[i]))
				return T_NUMBER;
		return T_NUMBER | T_INTEGER;
	case J_STR:
		return T_STRING;
	case J_ARR:
		return T_ARRAY;
	case J_OBJ:
		return T_OBJECT;
	default:
		return T_BOOL;
	}
}

static int add_lit(struct build *b, uint32_t v, struct node *d)
{
	struct schema *s = b->s;
	uint32_t off = (uint32_t)s->blob.n;

	if (!plain_value(&b->doc, v))
		return refuse(b, E_RANGE, v, "a number too large or too long");
	json_put(&b->doc, v, &s->blob);
	if (blob_full(b, v) < 0)
		return b->err->code;
	if (!vec_room(&s->lits, s->n_lits, &s->cap_lits, sizeof(*s->lits)))
		return no_memory(b);
	if (s->blob.n - off > SCHEMA_MAX_LIT)
		return refuse(b, E_RANGE, v, "a value over %u bytes", SCHEMA_MAX_LIT);
	s->lits[s->n_lits++] = (struct lit){off, (uint32_t)s->blob.n - off};
	d->n++;
	return 0;
}

static int lits_cmp(const void *x, const void *y, void *arg)
{
	return lit_cmp(arg, *(const struct lit *)x, *(const struct lit *)y);
}

static void sort_lits(struct schema *s, struct node *d)
{
	struct lit *l = s->lits + d->first;
	uint32_t n = 1;

	qsort_r(l, d->n, sizeof(*l), lits_cmp, s);
	for (uint32_t i = 1; i < d->n; i++)
		if (lit_cmp(s, l[n - 1], l[i]) != 0)
			l[n++] = l[i];
	d->n = n;
	s->n_lits = d->first + n;
}

/* Keywords beside w that would have to be looked at too. */
static int alone(struct build *b, const struct kws *k, enum kw w)
{
	for (unsigned i = 0; i < KW_COUNT; i++)
		if (k->at[i] != NONE && i != w && !(w == KW_ENUM && i == KW_TYPE) &&
		    !(w == KW_CONST && i == KW_TYPE))
			return refuse(b, E_UNSUPPORTED, k->at[i], "'%s' beside '%s'",
				      kw_name((enum kw)i), kw_name(w));
	return 0;
}

static int enum_node(struct build *b, uint32_t v, const struct kws *k, struct node *d)
{
	const struct jdoc *doc = &b->doc;
	enum kw w = k->at[KW_ENUM] != NONE ? KW_ENUM : KW_CONST;
	uint32_t at = k->at[w], one = w == KW_CONST ? at : NONE;
	unsigned types = T_ANY;
	int rc;

	if ((rc = alone(b, k, w)) < 0 ||
	    (k->at[KW_TYPE] != NONE && (rc = kw_types(b, v, k, &types)) < 0))
		return rc;
	d->kind = NK_LIT;
	d->first = b->s->n_lits;
	if (w == KW_ENUM && (doc->v[at].type != J_ARR || doc->v[at].n > SCHEMA_MAX_ENUM))
		return refuse(b, doc->v[at].type != J_ARR ? E_FORMAT : E_RANGE, at,
			      "'enum' must be a list of at most %u values", SCHEMA_MAX_ENUM);
	if (w == KW_ENUM)
		one = doc->v[at].first;
	for (; one != NONE; one = w == KW_CONST ? NONE : doc->v[one].next)
		if ((types == T_ANY || (types & types_of(&doc->v[one]))) &&
		    (rc = add_lit(b, one, d)) < 0)
			return rc;
	if (d->n == 0)
		return refuse(b, E_UNSUPPORTED, at, "'%s' leaves no value", kw_name(w));
	sort_lits(b->s, d);
	return 0;
}

/* ---- any schema ---- */

static int typed_node(struct build *b, const struct kws *k, unsigned type, struct node *d)
{
	switch (type) {
	case T_NULL:
	case T_BOOL:
		*d = b->s->nodes[type == T_NULL ? NODE_NULL : NODE_BOOL];
		return 0;
	case T_NUMBER:
	case T_INTEGER:
		return number_node(b, k, type, d);
	case T_STRING:
		return string_node(b, k, d);
	case T_ARRAY:
		return array_node(b, k, d);
	case T_OBJECT:
		return object_node(b, k, d);
	default:
		d->kind = NK_ANYOF;
		d->first = b->n_alts;
		return add_alt(b, d, NODE_ANY);
	}
}

static int types_node(struct build *b, uint32_t v, const struct kws *k, struct node *d)
{
	unsigned types, n = 0;
	uint32_t part[8];
	int rc = kw_types(b, v, k, &types);

	if (rc < 0)
		return rc;
	if (!(types & (types - 1)))
		return typed_node(b, k, types, d);
	for (unsigned bit = 1; bit <= T_OBJECT; bit *= 2) {
		struct node one = {.value = NONE, .max = NONE, .height = HEIGHT_NONE};

		if (!(types & bit))
			continue;
		if ((part[n] = node_new(b, v)) == NONE)
			return b->err ? b->err->code : E_RANGE;
		b->doc_of[part[n]] = NONE;
		if ((rc = typed_node(b, k, bit, &one)) < 0)
			return rc;
		b->s->nodes[part[n++]] = one;
	}
	d->kind = NK_ANYOF;
	d->first = b->n_alts;
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = add_alt(b, d, part[i]);
	return rc;
}

static int anyof_node(struct build *b, const struct kws *k, struct node *d)
{
	const struct jdoc *doc = &b->doc;
	uint32_t list = k->at[KW_ANYOF];
	int rc = alone(b, k, KW_ANYOF);

	if (rc < 0)
		return rc;
	if (doc->v[list].type != J_ARR || doc->v[list].n == 0)
		return refuse(b, E_FORMAT, list, "'anyOf' must be a list of schemas");
	d->kind = NK_ANYOF;
	d->first = b->n_alts;
	for (uint32_t i = doc->v[list].first; i != NONE && rc == 0; i = doc->v[i].next)
		rc = add_alt(b, d, node_for(b, i));
	return rc;
}

static int ref_node(struct build *b, const struct kws *k, struct node *d)
{
	uint32_t to = NONE;
	int rc = alone(b, k, KW_REF);

	if (rc < 0 || (rc = ref_target(b, k->at[KW_REF], &to)) < 0)
		return rc;
	d->kind = NK_ANYOF;
	d->first = b->n_alts;
	return add_alt(b, d, node_for(b, to));
}

int node_fill(struct build *b, uint32_t id, uint32_t v)
{
	struct node d = b->s->nodes[id];
	struct kws k;
	int rc = 0;

	for (unsigned i = 0; i < KW_COUNT; i++)
		k.at[i] = NONE;
	if (b->doc.v[v].type != J_OBJ && b->doc.v[v].type != J_TRUE)
		return refuse(b, b->doc.v[v].type == J_FALSE ? E_UNSUPPORTED : E_FORMAT, v,
			      "a schema must be an object");
	if (b->doc.v[v].type == J_OBJ && (rc = kws_read(b, v, &k)) < 0)
		return rc;
	if (k.at[KW_REF] != NONE)
		rc = ref_node(b, &k, &d);
	else if (k.at[KW_ANYOF] != NONE)
		rc = anyof_node(b, &k, &d);
	else if (k.at[KW_ENUM] != NONE || k.at[KW_CONST] != NONE)
		rc = enum_node(b, v, &k, &d);
	else
		rc = types_node(b, v, &k, &d);
	if (rc == 0)
		b->s->nodes[id] = d;
	return rc;
}
