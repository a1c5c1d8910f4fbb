/* schema_re.c - "pattern": the text of a regular expression to a tree. */
#include "schema_re.h"

static uint16_t ast_new(struct re *r, enum aop op, uint16_t a, uint16_t b)
{
	struct ast *t = &r->ast[r->n_ast];

	if (r->n_ast >= RE_BYTES * 2 + 15) {
		re_no(r, "too long");
		return 0;
	}
	*t = (struct ast){.op = (uint8_t)op, .a = a, .b = b};
	return (uint16_t)r->n_ast++;
}

static bool more(const struct re *r)
{
	return r->at < r->s.n && !r->why;
}

static char peek(const struct re *r)
{
	return r->at < r->s.n ? r->s.p[r->at] : 0;
}

/* Behind a backslash: a class, or one character (*c); false and why. */
static bool escaped(struct re *r, struct cset *set, int *c)
{
	char e = peek(r);

	*c = -1;
	r->at++;
	switch (e) {
	case 'd':
	case 'D':
		set_range(set, '0', '9');
		break;
	case 'w':
	case 'W':
		set_range(set, '0', '9');
		set_range(set, 'a', 'z');
		set_range(set, 'A', 'Z');
		set_add(set, '_');
		break;
	case 's':
	case 'S':
		set_add(set, ' ');
		break;
	default:
		if ((e >= '0' && e <= '9') || (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') ||
		    e < 0x20 || e > 0x7e)
			return re_no(r, "an escape that is not supported");
		*c = e;
		set_add(set, (unsigned)e);
		return true;
	}
	if (e < 'a')
		set_not(set);
	return true;
}

static bool class_item(struct re *r, struct cset *all, int *c)
{
	struct cset one = {{0}};
	char ch = peek(r);

	if (!more(r))
		return re_no(r, "a class without its end");
	if (ch == '\\') {
		r->at++;
		if (!more(r) || !escaped(r, &one, c))
			return re_no(r, "an escape that is not supported");
	} else {
		if (ch < 0x20 || ch > 0x7e)
			return re_no(r, "only ASCII is supported");
		r->at++;
		*c = ch;
		set_add(&one, (unsigned)ch);
	}
	all->w[0] |= one.w[0];
	all->w[1] |= one.w[1];
	return true;
}

static bool class_body(struct re *r, struct cset *set)
{
	bool negative = peek(r) == '^';
	int lo, hi;

	r->at += negative;
	while (more(r) && peek(r) != ']') {
		if (!class_item(r, set, &lo))
			return false;
		if (peek(r) != '-' || r->at + 1 >= r->s.n || r->s.p[r->at + 1] == ']')
			continue;
		r->at++;
		if (!class_item(r, set, &hi))
			return false;
		if (lo < 0 || hi < lo)
			return re_no(r, "a bad range in a class");
		set_range(set, (unsigned)lo, (unsigned)hi);
	}
	if (!more(r))
		return re_no(r, "a class without its end");
	r->at++;
	if (negative)
		set_not(set);
	return true;
}

static uint16_t alternatives(struct re *r, unsigned depth);

static uint16_t group(struct re *r, unsigned depth)
{
	uint16_t t;

	if (peek(r) == '?') {
		if (r->at + 1 >= r->s.n || r->s.p[r->at + 1] != ':') {
			re_no(r, "a group of that kind is not supported");
			return 0;
		}
		r->at += 2;
	}
	t = alternatives(r, depth + 1);
	if (peek(r) != ')')
		re_no(r, "a group without its end");
	r->at++;
	return t;
}

static uint16_t atom(struct re *r, unsigned depth)
{
	struct cset set = {{0}};
	char c = peek(r);
	uint16_t t;
	int one;

	r->at++;
	if (c == '(')
		return group(r, depth);
	if (c == '[') {
		if (!class_body(r, &set))
			return 0;
	} else if (c == '.') {
		set_not(&set);
	} else if (c == '\\') {
		if (!more(r) || !escaped(r, &set, &one)) {
			re_no(r, "an escape that is not supported");
			return 0;
		}
	} else if (c < 0x20 || c > 0x7e || strchr("*+?{}^$|)]", c)) {
		re_no(r, c < 0 ? "only ASCII is supported" : "a sign that is not supported there");
		return 0;
	} else {
		set_add(&set, (unsigned)c);
	}
	t = ast_new(r, A_SET, 0, 0);
	r->ast[t].set = set;
	return t;
}

static bool repeat_number(struct re *r, uint16_t *out)
{
	uint32_t n = 0;
	size_t from = r->at;

	while (more(r) && peek(r) >= '0' && peek(r) <= '9' && n <= RE_REPEAT)
		n = n * 10 + (uint32_t)(r->s.p[r->at++] - '0');
	if (r->at == from || n > RE_REPEAT)
		return re_no(r, "a bad or too large count");
	*out = (uint16_t)n;
	return true;
}

/* {n} {n,} {n,m} behind the brace. *any: no upper bound. */
static bool counts(struct re *r, uint16_t *min, uint16_t *max, bool *any)
{
	if (!repeat_number(r, min))
		return false;
	*max = *min;
	*any = false;
	if (peek(r) == ',') {
		r->at++;
		*any = peek(r) == '}';
		if (!*any && !repeat_number(r, max))
			return false;
	}
	if (peek(r) != '}' || *max < *min)
		return re_no(r, "a bad or too large count");
	r->at++;
	return true;
}

static uint16_t repeated(struct re *r, unsigned depth)
{
	uint16_t t = atom(r, depth), min = 0, max = 0;
	bool any = true;
	char c = peek(r);

	if (!more(r) || !c || !strchr("*+?{", c))
		return t;
	r->at++;
	if (c == '{') {
		if (!counts(r, &min, &max, &any))
			return 0;
	} else {
		min = c == '+';
		max = 1;
		any = c != '?';
	}
	if (peek(r) == '?')
		r->at++; /* lazy: the same strings */
	if (more(r) && strchr("*+?{", peek(r))) {
		re_no(r, "a count of a count");
		return 0;
	}
	if (!any && max == 0)
		return ast_new(r, A_EMPTY, 0, 0);
	t = ast_new(r, A_REP, t, 0);
	r->ast[t].min = min;
	r->ast[t].max = any ? 0 : max;
	return t;
}

static uint16_t alternatives(struct re *r, unsigned depth)
{
	uint16_t all = 0, t;
	bool first = true;

	if (depth > RE_DEPTH) {
		re_no(r, "too deep");
		return 0;
	}
	for (;;) {
		t = ast_new(r, A_EMPTY, 0, 0);
		while (more(r) && peek(r) != '|' && peek(r) != ')')
			t = ast_new(r, A_CAT, t, repeated(r, depth));
		all = first ? t : ast_new(r, A_ALT, all, t);
		first = false;
		if (!more(r) || peek(r) != '|')
			return all;
		r->at++;
	}
}

/* Anchors stand at the ends of the whole or nowhere. */
uint16_t re_parse(struct re *r)
{
	uint16_t t;
	size_t n = r->s.n, slashes = 0;
	bool bars;

	r->from_start = n && r->s.p[0] == '^';
	while (n > slashes + 1 && r->s.p[n - 2 - slashes] == '\\')
		slashes++;
	r->to_end = n > r->from_start && r->s.p[n - 1] == '$' && slashes % 2 == 0;
	r->s.n -= r->to_end;
	r->at = r->from_start;
	t = alternatives(r, 0);
	if (more(r))
		re_no(r, "a bracket too many");
	bars = r->ast[t].op == A_ALT;
	if (bars && (r->from_start || r->to_end))
		re_no(r, "'^' or '$' beside '|' outside of a group");
	return t;
}
