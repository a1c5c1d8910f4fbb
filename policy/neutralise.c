/* neutralise.c - see neutralise.h. Matching ignores ASCII case and runs of spaces and tabs. */
#include "neutralise.h"

#include <string.h>

enum match { NO, MAYBE, YES }; /* MAYBE: the text ended before the answer was clear */

#define JOINER "\xe2\x81\xa0" /* U+2060 */
#define GAP 8		      /* spaces looked over, at most */

static char low(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool letter(char c)
{
	return (low(c) >= 'a' && low(c) <= 'z') || (unsigned char)c >= 0x80;
}

/* A word at *at; moves *at behind it. */
static enum match word(struct span s, size_t *at, const char *w)
{
	for (; *w; w++, (*at)++) {
		if (*at == s.n)
			return MAYBE;
		if (low(s.p[*at]) != *w)
			return NO;
	}
	return YES;
}

static bool gap(struct span s, size_t *at, const char *set)
{
	for (unsigned i = 0; i < GAP && *at < s.n && strchr(set, s.p[*at]) && s.p[*at]; i++)
		(*at)++;
	return *at < s.n;
}

/* `<BEGIN` or `<END`, also with blanks, slashes or bars between. */
static enum match marker(struct span s)
{
	static const char *const words[] = {"begin", "end"};
	enum match best = NO;
	size_t start = 1;

	if (!gap(s, &start, " \t/|\\"))
		return MAYBE;
	for (int i = 0; i < 2; i++) {
		size_t at = start;
		enum match m = word(s, &at, words[i]);

		if (m == YES && at == s.n)
			m = MAYBE;
		else if (m == YES && letter(s.p[at]))
			m = NO;
		best = m > best ? m : best;
	}
	return best;
}

/* `User:` or `Agent:` (blanks before the colon allowed); *at = offset of the colon. */
static enum match label(struct span s, size_t *at)
{
	static const char *const words[] = {"user", "agent"};
	enum match best = NO;

	for (int i = 0; i < 2; i++) {
		size_t k = 0;
		enum match m = word(s, &k, words[i]);

		if (m == YES)
			m = !gap(s, &k, " \t") ? MAYBE : s.p[k] == ':' ? YES : NO;
		if (m == YES)
			*at = k;
		best = m > best ? m : best;
	}
	return best;
}

static enum match sentence(struct span s)
{
	static const char *const lines[] = {
	    "provide your safety assessment", "task: check if there is unsafe content",
	    "first line must read", "if unsafe, a second line must include"};
	enum match best = NO;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		size_t at = 0;
		enum match m = word(s, &at, lines[i]);

		best = m > best ? m : best;
	}
	return best;
}

/* Bytes of a line break at s (\n \r \v \f, U+0085, U+2028, U+2029), 0 = none. */
static size_t line_break(struct span s)
{
	if (s.p[0] >= '\n' && s.p[0] <= '\r')
		return 1;
	if (s.n >= 2 && memcmp(s.p, "\xc2\x85", 2) == 0)
		return 2;
	if (s.n >= 3 && memcmp(s.p, "\xe2\x80", 2) == 0 &&
	    ((unsigned char)s.p[2] == 0xa8 || (unsigned char)s.p[2] == 0xa9))
		return 3;
	return 0;
}

void neutralise(struct span text, struct buf *out, size_t *settled)
{
	bool line_start = true, word_start = true, unsure = false;
	size_t from = out->n, sure = 0, i = 0;

	while (i < text.n) {
		struct span s = span_from(text, i);
		size_t colon = 0, brk = line_break(s), n = brk ? brk : 1;
		enum match m = NO;
		bool insert_after = true;

		if (s.p[0] == '<') {
			m = marker(s);
		} else if (letter(s.p[0]) && word_start) {
			if (line_start && (m = label(s, &colon)) == YES)
				insert_after = false;
			if (m != YES) {
				enum match k = sentence(s);

				m = k > m ? k : m;
			}
		}
		if (m == MAYBE && !unsure) {
			unsure = true;
			sure = out->n - from;
		}
		n = m == YES && !insert_after ? colon : n;
		buf_put(out, s.p, n);
		if (m == YES)
			buf_put(out, JOINER, 3);
		line_start = brk || (line_start && (s.p[0] == ' ' || s.p[0] == '\t'));
		word_start = !letter(s.p[0]) || brk;
		i += n;
	}
	if (settled)
		*settled = unsure ? sure : out->n - from;
}
