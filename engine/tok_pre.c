/* tok_pre.c - the pre-tokeniser of Llama 3, the expression
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 *   |\s*[\r\n]+|\s+(?!\S)|\s+
 * written out by hand. Alternatives are tried in this order, so the code keeps it. It never looks
 * behind its start: a text may be cut at any boundary whose finding did not look at the end.
 * Malformed UTF-8 counts byte by byte as "neither letter, number nor white space". */
#include <utf8proc.h>

#include "tok_priv.h"
#include "utf8.h"

enum cls { C_END, C_LETTER, C_NUMBER, C_BREAK, C_SPACE, C_OTHER };

struct ch {
	enum cls cls;
	uint32_t cp;
	unsigned len; /* bytes */
};

static bool is_space(uint32_t cp) /* White_Space without \r and \n */
{
	return cp == ' ' || cp == '\t' || cp == 0x0b || cp == 0x0c || cp == 0x85 || cp == 0xa0 ||
	       cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
	       cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static enum cls class_of(uint32_t cp)
{
	if (cp == '\r' || cp == '\n')
		return C_BREAK;
	if (cp < 0x80 && ((cp | 32) >= 'a' && (cp | 32) <= 'z'))
		return C_LETTER;
	if (is_space(cp))
		return C_SPACE;
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
		return C_LETTER;
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return C_NUMBER;
	default:
		return C_OTHER;
	}
}

/* The character at `at`; C_END at the end. Sets *open when more bytes could change it. */
static struct ch peek(struct span text, size_t at, bool *open)
{
	struct ch c = {C_OTHER, 0xfffd, 1};
	int n;

	if (at >= text.n) {
		*open = true;
		return (struct ch){C_END, 0, 0};
	}
	n = utf8_next(span_from(text, at), &c.cp);
	if (n == 0)
		*open = true;
	if (n <= 0) {
		c.cp = 0xfffd;
		return c;
	}
	c.len = (unsigned)n;
	c.cls = class_of(c.cp);
	return c;
}

static size_t run(struct span text, size_t at, enum cls cls, bool *open)
{
	for (;;) {
		struct ch c = peek(text, at, open);

		if (c.cls != cls)
			return at;
		at += c.len;
	}
}

/* 's 't 're 've 'm 'll 'd in any case; U+017F folds to s. Returns the end, 0 when it is none. */
static size_t contraction(struct span text, size_t at, bool *open)
{
	struct ch a = peek(text, at + 1, open), b;
	uint32_t x = a.cp < 0x80 ? a.cp | 32 : a.cp;

	if (a.cls != C_LETTER)
		return 0;
	if (x == 's' || x == 't' || x == 'm' || x == 'd' || x == 0x17f)
		return at + 1 + a.len;
	if (x != 'r' && x != 'v' && x != 'l')
		return 0;
	b = peek(text, at + 2, open);
	return b.cls == C_LETTER && (b.cp | 32) == (x == 'l' ? 'l' : 'e') ? at + 3 : 0;
}

static size_t white(struct span text, size_t at, bool *open)
{
	size_t p = at, last = at, after_break = 0;
	struct ch c;

	while ((c = peek(text, p, open)).cls == C_SPACE || c.cls == C_BREAK) {
		last = p;
		p += c.len;
		if (c.cls == C_BREAK)
			after_break = p;
	}
	if (after_break)
		return after_break;
	/* the last space stays with what follows it, unless it is alone or nothing follows */
	return c.cls == C_END || last == at ? p : last;
}

size_t pre_next(struct span text, size_t at, bool *open)
{
	struct ch c = peek(text, at, open), d;
	size_t p;

	if (c.cp == '\'' && (p = contraction(text, at, open)) > 0)
		return p;
	if (c.cls == C_LETTER)
		return run(text, at, C_LETTER, open);
	if (c.cls == C_NUMBER) {
		p = at + c.len;
		for (int i = 1; i < 3 && (c = peek(text, p, open)).cls == C_NUMBER; i++)
			p += c.len;
		return p;
	}
	if (c.cls == C_BREAK)
		return white(text, at, open);
	d = peek(text, at + c.len, open);
	if (d.cls == C_LETTER)
		return run(text, at + c.len, C_LETTER, open);
	if (c.cls == C_OTHER || (c.cp == ' ' && d.cls == C_OTHER)) {
		p = run(text, at + c.len, C_OTHER, open);
		return run(text, p, C_BREAK, open);
	}
	return white(text, at, open);
}
