/* schema_re.c - "pattern" and "format" as a table: a regular expression without memory (no
 * look-around, no back-references), made deterministic at once, within a budget of states and of
 * work, and trimmed so that every state can still reach an end. The alphabet is the printable ASCII
 * that JSON writes as it is: text under a pattern has no escapes and no quotes, which only makes it
 * narrower. Construction: Thompson (1968) and subsets (Rabin and Scott, 1959). */
#include <stdlib.h>

#include "fault.h"
#include "schema_priv.h"

#define RE_BYTES 1024u
#define RE_DEPTH 32u
#define RE_NFA 1024u /* a multiple of 64 */
#define RE_DFA 1024u
#define RE_REPEAT 1000u
#define RE_START 20000u /* work of the smallest one */
#define WORDS (RE_NFA / 64)
#define DEAD UINT16_MAX

struct cset {
	uint64_t w[2]; /* bytes below 128 */
};
enum aop { A_EMPTY, A_SET, A_CAT, A_ALT, A_REP };
struct ast {
	uint8_t op;
	uint16_t a, b;	   /* parts; A_REP: a, and */
	uint16_t min, max; /* its bounds; max 0 = any */
	struct cset set;
};
enum nop { N_SPLIT, N_SET, N_END };
struct nstate {
	uint8_t op;
	uint16_t a, b; /* b: N_SPLIT */
	struct cset set;
};
struct dfa {
	uint16_t n, classes;
	uint8_t class_of[256]; /* classes: not in the alphabet */
	uint16_t *to;	       /* n x classes; DEAD */
	uint8_t *end;
};
struct re {
	struct span s;
	size_t at;
	const char *why;
	struct ast ast[RE_BYTES * 2 + 16];
	uint32_t n_ast;
	struct nstate nfa[RE_NFA];
	uint32_t n_nfa;
	uint64_t sets[RE_DFA][WORDS], hash[RE_DFA];
	uint64_t *work; /* steps left */
	bool from_start, to_end;
};

static bool no(struct re *r, const char *why)
{
	r->why = r->why ? r->why : why;
	return false;
}

static void set_add(struct cset *s, unsigned c)
{
	if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
		s->w[c / 64] |= 1ull << (c % 64);
}

static void set_range(struct cset *s, unsigned lo, unsigned hi)
{
	for (unsigned c = lo; c <= hi; c++)
		set_add(s, c);
}

static void set_not(struct cset *s)
{
	struct cset all = {{0}};

	set_range(&all, 0x20, 0x7e);
	s->w[0] = all.w[0] & ~s->w[0];
	s->w[1] = all.w[1] & ~s->w[1];
}

static bool set_has(const struct cset *s, unsigned c)
{
	return c < 128 && (s->w[c / 64] >> (c % 64) & 1);
}

/* ---- text to tree ---- */

static uint16_t ast_new(struct re *r, enum aop op, uint16_t a, uint16_t b)
{
	struct ast *t = &r->ast[r->n_ast];

	if (r->n_ast >= RE_BYTES * 2 + 15) {
		no(r, "too long");
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
			return no(r, "an escape that is not supported");
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
		return no(r, "a class without its end");
	if (ch == '\\') {
		r->at++;
		if (!more(r) || !escaped(r, &one, c))
			return no(r, "an escape that is not supported");
	} else {
		if (ch < 0x20 || ch > 0x7e)
			return no(r, "only ASCII is supported");
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
			return no(r, "a bad range in a class");
		set_range(set, (unsigned)lo, (unsigned)hi);
	}
	if (!more(r))
		return no(r, "a class without its end");
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
			no(r, "a group of that kind is not supported");
			return 0;
		}
		r->at += 2;
	}
	t = alternatives(r, depth + 1);
	if (peek(r) != ')')
		no(r, "a group without its end");
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
			no(r, "an escape that is not supported");
			return 0;
		}
	} else if (c < 0x20 || c > 0x7e || strchr("*+?{}^$|)]", c)) {
		no(r, c < 0 ? "only ASCII is supported" : "a sign that is not supported there");
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
		return no(r, "a bad or too large count");
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
		return no(r, "a bad or too large count");
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
		no(r, "a count of a count");
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
		no(r, "too deep");
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

/* ---- tree to states: built from the end, each part given what follows it ---- */

static uint16_t nfa_new(struct re *r, enum nop op, uint16_t a, uint16_t b)
{
	if (r->n_nfa == RE_NFA || *r->work == 0) {
		no(r, "too large");
		return 0;
	}
	--*r->work;
	r->nfa[r->n_nfa] = (struct nstate){.op = (uint8_t)op, .a = a, .b = b};
	return (uint16_t)r->n_nfa++;
}

static uint16_t put(struct re *r, uint16_t t, uint16_t next);

static uint16_t put_rep(struct re *r, const struct ast *a, uint16_t next)
{
	uint16_t cur = next;

	if (a->max == 0) {
		cur = nfa_new(r, N_SPLIT, 0, next);
		r->nfa[cur].a = put(r, a->a, cur);
	}
	for (uint16_t i = a->min; i < a->max && !r->why; i++)
		cur = nfa_new(r, N_SPLIT, put(r, a->a, cur), next);
	for (uint16_t i = 0; i < a->min && !r->why; i++)
		cur = put(r, a->a, cur);
	return cur;
}

static uint16_t put(struct re *r, uint16_t t, uint16_t next)
{
	const struct ast *a = &r->ast[t];
	uint16_t s;

	if (r->why || *r->work == 0) {
		no(r, "too large");
		return 0;
	}
	--*r->work;
	switch ((enum aop)a->op) {
	case A_SET:
		s = nfa_new(r, N_SET, next, 0);
		r->nfa[s].set = a->set;
		return s;
	case A_CAT:
		return put(r, a->a, put(r, a->b, next));
	case A_ALT:
		s = put(r, a->a, next);
		return nfa_new(r, N_SPLIT, s, put(r, a->b, next));
	case A_REP:
		return put_rep(r, a, next);
	default:
		return next;
	}
}

/* Any characters, over and over, before `next`. */
static uint16_t put_any(struct re *r, uint16_t next)
{
	uint16_t loop = nfa_new(r, N_SPLIT, 0, next), any = nfa_new(r, N_SET, loop, 0);

	set_not(&r->nfa[any].set);
	r->nfa[loop].a = any;
	return loop;
}

/* ---- states to table ---- */

static bool in_set(const uint64_t *set, uint16_t i)
{
	return set[i / 64] >> (i % 64) & 1;
}

static void reach(struct re *r, uint64_t *set, uint16_t from)
{
	uint16_t stack[RE_NFA + 1];
	unsigned n = 0;

	stack[n++] = from;
	while (n) {
		uint16_t i = stack[--n];

		if (in_set(set, i))
			continue;
		set[i / 64] |= 1ull << (i % 64);
		if (r->nfa[i].op != N_SPLIT)
			continue;
		if (!in_set(set, r->nfa[i].a) && n < RE_NFA)
			stack[n++] = r->nfa[i].a;
		if (!in_set(set, r->nfa[i].b) && n < RE_NFA)
			stack[n++] = r->nfa[i].b;
	}
}

/* Bytes that no set tells apart are one class; the first byte of each into rep[]. */
static void classes(const struct re *r, struct dfa *d, uint8_t rep[256])
{
	struct cset all = {{0}};

	set_not(&all);
	memset(d->class_of, 0xff, sizeof(d->class_of));
	for (unsigned c = 0; c < 128; c++) {
		unsigned k = 0;

		if (!set_has(&all, c))
			continue;
		for (; k < d->classes; k++) {
			bool same = true;

			for (uint32_t i = 0; i < r->n_nfa && same; i++)
				same = r->nfa[i].op != N_SET || set_has(&r->nfa[i].set, c) ==
								    set_has(&r->nfa[i].set, rep[k]);
			if (same)
				break;
		}
		if (k == d->classes)
			rep[d->classes++] = (uint8_t)c;
		d->class_of[c] = (uint8_t)k;
	}
}

static uint16_t state_of(struct re *r, struct dfa *d, const uint64_t *set)
{
	uint64_t h = 0xcbf29ce484222325u, any = 0;

	for (unsigned i = 0; i < WORDS; i++) {
		h = (h ^ set[i]) * 0x100000001b3u;
		h ^= h >> 31;
		any |= set[i];
	}
	if (!any)
		return DEAD;
	for (uint16_t i = 0; i < d->n; i++)
		if (r->hash[i] == h && memcmp(r->sets[i], set, sizeof(r->sets[i])) == 0)
			return i;
	if (d->n == RE_DFA) {
		no(r, "too large");
		return DEAD;
	}
	memcpy(r->sets[d->n], set, sizeof(r->sets[0]));
	r->hash[d->n] = h;
	return d->n++;
}

static void subsets(struct re *r, struct dfa *d, uint16_t start, const uint8_t rep[256])
{
	uint64_t set[WORDS] = {0};

	reach(r, set, start);
	state_of(r, d, set);
	for (uint16_t i = 0; i < d->n && !r->why; i++)
		for (uint16_t k = 0; k < d->classes && !r->why; k++) {
			memset(set, 0, sizeof(set));
			if (*r->work < r->n_nfa) {
				no(r, "too large");
				return;
			}
			*r->work -= r->n_nfa;
			for (uint16_t q = 0; q < r->n_nfa; q++)
				if (in_set(r->sets[i], q) && r->nfa[q].op == N_SET &&
				    set_has(&r->nfa[q].set, rep[k]))
					reach(r, set, r->nfa[q].a);
			d->to[i * d->classes + k] = state_of(r, d, set);
		}
	for (uint16_t i = 0; i < d->n; i++)
		for (uint16_t q = 0; q < r->n_nfa; q++)
			if (r->nfa[q].op == N_END && in_set(r->sets[i], q))
				d->end[i] = 1;
}

/* Ways into states from which no end can be reached are closed. False: the start is one. */
static bool trim(struct dfa *d)
{
	uint8_t *ok = malloc(d->n);
	bool again = true, any;

	if (!ok)
		return false;
	memcpy(ok, d->end, d->n);
	while (again) {
		again = false;
		for (uint16_t i = d->n; i-- > 0;)
			for (uint16_t k = 0; k < d->classes && !ok[i]; k++) {
				uint16_t to = d->to[i * d->classes + k];

				again = again || (to != DEAD && ok[to]);
				ok[i] = to != DEAD && ok[to];
			}
	}
	for (uint32_t i = 0; i < (uint32_t)d->n * d->classes; i++)
		if (d->to[i] != DEAD && !ok[d->to[i]])
			d->to[i] = DEAD;
	any = ok[0];
	free(ok);
	return any;
}

/* Anchors stand at the ends of the whole or nowhere. */
static uint16_t parse(struct re *r)
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
		no(r, "a bracket too many");
	bars = r->ast[t].op == A_ALT;
	if (bars && (r->from_start || r->to_end))
		no(r, "'^' or '$' beside '|' outside of a group");
	return t;
}

static void build(struct re *r, struct dfa *d)
{
	uint16_t t = parse(r), at;
	uint8_t rep[256];

	if (r->why)
		return;
	at = nfa_new(r, N_END, 0, 0);
	if (!r->to_end)
		at = put_any(r, at);
	at = put(r, t, at);
	if (!r->from_start)
		at = put_any(r, at);
	if (r->why)
		return;
	classes(r, d, rep);
	d->to = calloc((size_t)RE_DFA * d->classes, sizeof(*d->to));
	d->end = calloc(RE_DFA, 1);
	if (!d->to || !d->end)
		return;
	subsets(r, d, at, rep);
	if (!r->why && !trim(d))
		no(r, "no text of printable ASCII matches");
	if (!r->why) { /* give back what the table did not need */
		void *less = realloc(d->to, (size_t)d->n * d->classes * sizeof(*d->to));

		d->to = less ? less : d->to;
	}
}

int dfa_pattern(struct span pattern, uint64_t *work, struct dfa **out, const char **why)
{
	struct re *r;
	struct dfa *d;
	int rc = 0;

	*out = NULL;
	*why = "too long";
	if (pattern.n > RE_BYTES)
		return E_UNSUPPORTED;
	*why = "too many patterns";
	if (*work < RE_START)
		return E_UNSUPPORTED;
	*work -= RE_START;
	r = FAULT("schema.alloc") ? NULL : calloc(1, sizeof(*r));
	d = calloc(1, sizeof(*d));
	if (r && d) {
		r->s = pattern;
		r->work = work;
		build(r, d);
		*why = r->why;
		rc = r->why ? E_UNSUPPORTED : d->to && d->end ? 0 : E_NOMEM;
	} else {
		rc = E_NOMEM;
	}
	free(r);
	if (rc < 0)
		dfa_free(d);
	else
		*out = d;
	return rc;
}

void dfa_free(struct dfa *d)
{
	if (!d)
		return;
	free(d->to);
	free(d->end);
	free(d);
}

uint32_t dfa_start(const struct dfa *d)
{
	(void)d;
	return 0;
}

uint32_t dfa_next(const struct dfa *d, uint32_t state, uint8_t c)
{
	uint16_t to = d->class_of[c] == 0xff ? DEAD : d->to[state * d->classes + d->class_of[c]];

	return to == DEAD ? NONE : to;
}

bool dfa_accepts(const struct dfa *d, uint32_t state)
{
	return d->end[state];
}
