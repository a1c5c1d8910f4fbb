/* schema_re.h - a pattern on its way from text to table, for schema_re.c and schema_dfa.c.
 * A regular expression without memory (no look-around, no back-references). The alphabet is the printable
 * ASCII that JSON writes as it is: text under a pattern has no escapes and no quotes, which only makes it
 * narrower. */
#ifndef SP_ENGINE_SCHEMA_RE_H
#define SP_ENGINE_SCHEMA_RE_H

#include "schema_priv.h"

#define RE_BYTES 1024u
#define RE_DEPTH 32u
#define RE_NFA 1024u /* a multiple of 64 */
#define RE_DFA 1024u
#define RE_SLOTS (4 * RE_DFA)
#define RE_REPEAT 1000u
#define RE_START 20000u /* work of the smallest one */
#define WORDS (RE_NFA / 64)

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
struct re {
	struct span s;
	size_t at;
	const char *why;
	struct ast ast[RE_BYTES * 2 + 16];
	uint32_t n_ast;
	struct nstate nfa[RE_NFA];
	uint32_t n_nfa;
	uint64_t sets[RE_DFA][WORDS];
	uint16_t slot[RE_SLOTS]; /* open addressing: state + 1 by its set */
	uint64_t *work; /* steps left */
	bool from_start, to_end;
};

/* The first reason why not stays; gives false. why: static. */
static inline bool re_no(struct re *r, const char *why)
{
	r->why = r->why ? r->why : why;
	return false;
}

static inline void set_add(struct cset *s, unsigned c)
{
	if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
		s->w[c / 64] |= 1ull << (c % 64);
}

static inline void set_range(struct cset *s, unsigned lo, unsigned hi)
{
	for (unsigned c = lo; c <= hi; c++)
		set_add(s, c);
}

static inline void set_not(struct cset *s)
{
	struct cset all = {{0}};

	set_range(&all, 0x20, 0x7e);
	s->w[0] = all.w[0] & ~s->w[0];
	s->w[1] = all.w[1] & ~s->w[1];
}

static inline bool set_has(const struct cset *s, unsigned c)
{
	return c < 128 && (s->w[c / 64] >> (c % 64) & 1);
}

/* schema_re.c: r->s to a tree; gives its root and sets the anchors. r->why says what is wrong. */
uint16_t re_parse(struct re *r);

#endif
