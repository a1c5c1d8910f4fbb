/* normalise.c - see normalise.h. Order: strip what cannot be seen, NFKC, marks and look-alikes,
 * NFKC; line breaks that part nearly every word. */
#include "normalise.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "err.h"
#include "utf8.h"

static bool is_tag(uint32_t cp)
{
	return cp >= 0xe0000 && cp <= 0xe007f;
}

static bool is_bidi(uint32_t cp)
{
	return cp == 0x061c || cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
	       (cp >= 0x2066 && cp <= 0x206f);
}

/* Unicode's Default_Ignorable_Code_Point, with the soft hyphen and blank look-alikes. */
static bool is_invisible(uint32_t cp)
{
	return cp == 0x00ad || cp == 0x034f || cp == 0x115f || cp == 0x1160 || cp == 0x17b4 ||
	       cp == 0x17b5 || (cp >= 0x180b && cp <= 0x180f) || (cp >= 0x200b && cp <= 0x200d) ||
	       (cp >= 0x2060 && cp <= 0x2065) || cp == 0x2800 || cp == 0x3164 ||
	       (cp >= 0xfe00 && cp <= 0xfe0f) || cp == 0xfeff || cp == 0xffa0 ||
	       (cp >= 0xfff0 && cp <= 0xfff8) || cp == 0xfffc || (cp >= 0x1bca0 && cp <= 0x1bca3) ||
	       (cp >= 0x1d173 && cp <= 0x1d17a) || (cp >= 0xe0080 && cp <= 0xe0fff);
}

/* Length of an England, Scotland or Wales flag's tag run at s (U+1F3F4 was read before), or 0:
 * these are the only sequences of tag characters with an honest use. */
static size_t flag_tags(struct span s)
{
	static const char *const names[] = {"gbeng", "gbsct", "gbwls"};

	for (size_t i = 0; i < 3; i++) {
		struct span at = s;
		size_t k = 0;

		for (; k <= 5; k++) {
			uint32_t want = k < 5 ? 0xe0000u + (unsigned char)names[i][k] : 0xe007fu;
			uint32_t cp;
			int n = utf8_next(at, &cp);

			if (n <= 0 || cp != want)
				break;
			at = span_from(at, (size_t)n);
		}
		if (k == 6)
			return s.n - at.n;
	}
	return 0;
}

/* Pass 1: visible characters only; malformed bytes as U+FFFD. */
static void strip(struct span s, struct buf *out, struct norm_seen *seen)
{
	uint32_t before = 0;

	while (s.n > 0) {
		uint32_t cp = 0xfffd;
		int n = utf8_next(s, &cp);
		char ch[4];

		if (n <= 0) {
			n = 1;
			cp = 0xfffd;
		}
		if (is_tag(cp)) {
			size_t flag = before == 0x1f3f4 ? flag_tags(s) : 0;

			before = 0;
			seen->tags += flag == 0;
			s = span_from(s, flag ? flag : (size_t)n);
			continue;
		}
		before = cp;
		if (cp == 0x85 || cp == 0x2028 || cp == 0x2029)
			cp = '\n';
		if (is_bidi(cp))
			seen->bidi++;
		else if (is_invisible(cp))
			seen->invisible++;
		else
			buf_put(out, ch, (size_t)utf8_put(cp, ch));
		s = span_from(s, (size_t)n);
	}
}

static bool is_letter(uint32_t cp)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);

	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

static bool is_mark(uint32_t cp)
{
	return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_MN;
}

static bool is_latin(uint32_t cp)
{
	return cp < 0x0250 || (cp >= 0x1e00 && cp <= 0x1eff);
}

/* Pass 3: marks beyond two in a row and overlays go; deceiving words are folded. */
static void fold_words(struct span s, struct buf *out, struct norm_seen *seen)
{
	uint32_t run = 0, cp;
	int n;

	while (s.n > 0 && (n = utf8_next(s, &cp)) > 0) {
		struct span at = s;
		bool all_latin = true, any = false;
		char ch[4];
		size_t left;

		if (!is_letter(cp)) {
			run = is_mark(cp) ? run + 1 : 0;
			if (run > 2 || (cp >= 0x0334 && cp <= 0x0338))
				seen->marks++;
			else
				buf_put(out, s.p, (size_t)n);
			s = span_from(s, (size_t)n);
			continue;
		}
		run = 0;
		for (; at.n > 0 && (n = utf8_next(at, &cp)) > 0 && is_letter(cp);
		     at = span_from(at, (size_t)n)) {
			uint32_t to = fold_lookalike(cp);

			any = any || to != cp;
			all_latin = all_latin && is_latin(to);
		}
		left = at.n;
		for (; s.n > left; s = span_from(s, (size_t)n)) {
			n = utf8_next(s, &cp);
			if (any && all_latin && fold_lookalike(cp) != cp) {
				seen->folded++;
				cp = fold_lookalike(cp);
			}
			buf_put(out, ch, (size_t)utf8_put(cp, ch));
		}
	}
}

/* Most of at least twelve cased letters are capitals. */
static bool shouts(struct span s)
{
	uint32_t upper = 0, lower = 0, cp;

	for (int n; s.n > 0 && (n = utf8_next(s, &cp)) > 0; s = span_from(s, (size_t)n)) {
		utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);

		upper += c == UTF8PROC_CATEGORY_LU;
		lower += c == UTF8PROC_CATEGORY_LL;
	}
	return upper + lower >= 12 && upper > lower;
}

static int nfkc(struct span s, bool casefold, struct buf *out)
{
	utf8proc_option_t o = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE;
	utf8proc_uint8_t *mem = NULL;
	utf8proc_ssize_t n;

	if (s.n == 0)
		return 0;
	if (casefold)
		o |= UTF8PROC_CASEFOLD;
	n = utf8proc_map((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &mem, o);
	if (n < 0)
		return n == UTF8PROC_ERROR_NOMEM ? E_NOMEM : E_FORMAT;
	buf_put(out, mem, (size_t)n);
	free(mem);
	return buf_ok(out) ? 0 : E_RANGE;
}

/* A text with fewer than three words a line, four lines and more, becomes one line. */
static void fold_lines(char *p, size_t n)
{
	size_t words = 0, breaks = 0;
	bool in_word = false, fresh = false;

	for (size_t i = 0; i < n; i++) {
		bool line = p[i] >= '\n' && p[i] <= '\r',
		     word = !line && p[i] != ' ' && p[i] != '\t';

		words += word && !in_word;
		breaks += line && fresh;
		fresh = word || (fresh && !line);
		in_word = word;
	}
	for (size_t i = 0; i < n && breaks >= 3 && words < 3 * breaks + 3; i++)
		if (p[i] >= '\n' && p[i] <= '\r')
			p[i] = ' ';
}

int normalise(struct span text, struct buf *out, struct norm_seen *seen)
{
	struct norm_seen mine = {0};
	/* NFKC can lengthen a character eighteenfold at most; the caller's maximum decides */
	struct buf a = BUF_INIT(out->max * 3 + 64), b = BUF_INIT(out->max * 3 + 64);
	size_t from = out->n;
	int rc;

	strip(text, &a, &mine);
	mine.shouting = shouts(buf_span(&a));
	rc = buf_ok(&a) ? nfkc(buf_span(&a), mine.shouting, &b) : E_RANGE;
	if (rc == 0) {
		buf_reset(&a);
		fold_words(buf_span(&b), &a, &mine);
		/* a folded letter may now compose with the mark behind it */
		rc = buf_ok(&a) ? nfkc(buf_span(&a), false, out) : E_RANGE;
	}
	if (rc == 0 && out->n > from)
		fold_lines(out->p + from, out->n - from);
	mine.changed = rc == 0 && !span_eq(text, span_from(buf_span(out), from));
	if (seen)
		*seen = mine;
	buf_free(&a);
	buf_free(&b);
	return rc;
}
