/* schema_dfa.c - a pattern's tree to a table: deterministic at once, within a budget of states and
 * of work, and trimmed so that every state can still reach an end. Construction: Thompson (1968)
 * and subsets (Rabin and Scott, 1959). */
#include <stdlib.h>

#include "fault.h"
#include "schema_re.h"

#define DEAD UINT16_MAX
struct dfa {
	uint16_t n, classes;
	uint8_t class_of[256]; /* classes: not in the alphabet */
	uint16_t *to;	       /* n x classes; DEAD */
	uint8_t *end;
};

/* ---- tree to states: built from the end, each part given what follows it ---- */

static uint16_t nfa_new(struct re *r, enum nop op, uint16_t a, uint16_t b)
{
	if (r->n_nfa == RE_NFA || *r->work == 0) {
		re_no(r, "too large");
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
		re_no(r, "too large");
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

		*r->work -= *r->work < 3 ? *r->work : 3; /* it takes so much longer */
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

/* Every class is split into what is in the set and what is not. */
static void split(struct dfa *d, const struct cset *set)
{
	uint8_t to[2][128]; /* by class: its two parts, 0xff = not met yet */
	uint16_t n = 0;

	memset(to, 0xff, sizeof(to));
	for (unsigned c = 0x20; c < 0x7f; c++) {
		uint8_t *k = &d->class_of[c], *part = to[set_has(set, c)];

		if (*k == 0xff)
			continue;
		if (part[*k] == 0xff)
			part[*k] = (uint8_t)n++;
		*k = part[*k];
	}
	d->classes = n;
}

/* Bytes that no set tells apart are one class; one byte of each into rep[]. */
static void classes(const struct re *r, struct dfa *d, uint8_t rep[256])
{
	const struct cset *last = NULL;
	struct cset all = {{0}};

	set_not(&all);
	for (unsigned c = 0; c < 256; c++)
		d->class_of[c] = set_has(&all, c) ? 0 : 0xff;
	d->classes = 1;
	for (uint32_t i = 0; i < r->n_nfa; i++) {
		const struct cset *set = &r->nfa[i].set;

		if (r->nfa[i].op != N_SET || (last && memcmp(last, set, sizeof(*set)) == 0))
			continue;
		split(d, set);
		last = set;
	}
	for (unsigned c = 0x20; c < 0x7f; c++)
		if (d->class_of[c] != 0xff)
			rep[d->class_of[c]] = (uint8_t)c;
}

static uint16_t state_of(struct re *r, struct dfa *d, const uint64_t *set)
{
	uint64_t h = 0xcbf29ce484222325u, any = 0;
	uint16_t *at;

	for (unsigned i = 0; i < WORDS; i++) {
		h = (h ^ set[i]) * 0x100000001b3u;
		h ^= h >> 31;
		any |= set[i];
	}
	if (!any)
		return DEAD;
	for (at = &r->slot[h % RE_SLOTS]; *at; at = &r->slot[++h % RE_SLOTS])
		if (memcmp(r->sets[*at - 1], set, sizeof(r->sets[0])) == 0)
			return (uint16_t)(*at - 1);
	if (d->n == RE_DFA) {
		re_no(r, "too large");
		return DEAD;
	}
	memcpy(r->sets[d->n], set, sizeof(r->sets[0]));
	*at = ++d->n;
	return (uint16_t)(d->n - 1);
}

static void subsets(struct re *r, struct dfa *d, uint16_t start, const uint8_t rep[256])
{
	uint64_t set[WORDS] = {0};

	reach(r, set, start);
	state_of(r, d, set);
	for (uint16_t i = 0; i < d->n && !r->why; i++)
		for (uint16_t k = 0; k < d->classes && !r->why; k++) {
			memset(set, 0, sizeof(set));
			if (*r->work < r->n_nfa + WORDS) {
				re_no(r, "too large");
				return;
			}
			*r->work -= r->n_nfa + WORDS;
			for (uint16_t q = 0; q < r->n_nfa; q++)
				if (in_set(r->sets[i], q) && r->nfa[q].op == N_SET &&
				    set_has(&r->nfa[q].set, rep[k]) && !in_set(set, r->nfa[q].a))
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

static void build(struct re *r, struct dfa *d)
{
	uint16_t t = re_parse(r), at;
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
		re_no(r, "no text of printable ASCII matches");
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
