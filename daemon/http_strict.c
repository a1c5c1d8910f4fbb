/* http_strict.c - see http_strict.h. */
#include "http_strict.h"

#include <strings.h>

const char *strict_text(enum strict_why w, bool vietnamese)
{
	static const char *const text[][2] = {
#define X(name, en, vi) [SW_##name] = {en, vi},
	    STRICT_WHYS(X)
#undef X
	};

	return (size_t)w < sizeof(text) / sizeof(text[0]) ? text[w][vietnamese] : "";
}

enum strict_why strict_scan(struct span in, size_t *off, size_t *len)
{
	size_t i, n = in.n < STRICT_HEAD_MAX ? in.n : STRICT_HEAD_MAX;

	for (i = *off; i < n; i++) {
		uint8_t c = (uint8_t)in.p[i];

		if (c == '\n') {
			if (i == 0 || in.p[i - 1] != '\r')
				return SW_BARE_LF;
			if (i == 1)
				return SW_LINE; /* an empty line before the request line */
			if (i >= 3 && in.p[i - 2] == '\n') {
				*len = i + 1;
				*off = 0;
				return SW_OK;
			}
		} else if (i > 0 && in.p[i - 1] == '\r') {
			return SW_CONTROL; /* CR alone */
		} else if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) {
			return SW_CONTROL;
		}
	}
	*off = i;
	return in.n >= STRICT_HEAD_MAX ? SW_LONG : SW_MORE;
}

static bool is_token_char(uint8_t c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_token_char((uint8_t)s.p[i]))
			return false;
	return s.n > 0;
}

/* Without case; b is our own lower-case literal. */
static bool same(struct span a, const char *b)
{
	return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

/* Takes one line without its CR LF off the front of *s, which holds whole lines only. */
static struct span take_line(struct span *s)
{
	const char *nl = s->n ? memchr(s->p, '\n', s->n) : NULL;
	struct span line = {s->p, nl ? (size_t)(nl - s->p) - 1 : 0};

	*s = nl ? span_from(*s, line.n + 2) : (struct span){s->p, 0};
	return line;
}

static enum strict_why request_line(struct span line, struct strict_head *h)
{
	const char *sp = line.n ? memchr(line.p, ' ', line.n) : NULL;
	struct span rest;

	if (sp == NULL)
		return SW_LINE;
	h->method = span_of(line.p, (size_t)(sp - line.p));
	rest = span_from(line, h->method.n + 1);
	if (!is_token(h->method) || h->method.n > STRICT_METHOD_MAX)
		return SW_LINE;
	sp = rest.n ? memchr(rest.p, ' ', rest.n) : NULL;
	if (sp == NULL)
		return SW_LINE;
	h->target = span_of(rest.p, (size_t)(sp - rest.p));
	rest = span_from(rest, h->target.n + 1);
	if (h->target.n == 0 || h->target.p[0] != '/')
		return SW_TARGET;
	for (size_t i = 0; i < h->target.n; i++)
		if ((uint8_t)h->target.p[i] <= 0x20 || (uint8_t)h->target.p[i] >= 0x7f ||
		    h->target.p[i] == '#')
			return SW_TARGET;
	h->http10 = span_eq(rest, SPAN_LIT("HTTP/1.0"));
	return h->http10 || span_eq(rest, SPAN_LIT("HTTP/1.1")) ? SW_OK : SW_VERSION;
}

static bool host_ok(struct span v)
{
	for (size_t i = 0; i < v.n; i++) {
		uint8_t c = (uint8_t)v.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		      (c != 0 && strchr(".-_:[]%~", c) != NULL)))
			return false;
	}
	return v.n > 0 && v.n <= 260;
}

static enum strict_why content_length(struct span v, struct strict_head *h)
{
	if (h->has_length || v.n == 0 || v.n > 18)
		return SW_LENGTH;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return SW_LENGTH;
		h->length = h->length * 10 + (uint64_t)(v.p[i] - '0');
	}
	h->has_length = true;
	return SW_OK;
}

/* Does a comma-separated list hold this word? */
static bool list_has(struct span v, const char *word)
{
	while (v.n) {
		const char *comma = memchr(v.p, ',', v.n);
		struct span w = {v.p, comma ? (size_t)(comma - v.p) : v.n};

		v = span_from(v, comma ? w.n + 1 : w.n);
		while (w.n && (w.p[0] == ' ' || w.p[0] == '\t'))
			w = span_from(w, 1);
		while (w.n && (w.p[w.n - 1] == ' ' || w.p[w.n - 1] == '\t'))
			w.n--;
		if (same(w, word))
			return true;
	}
	return false;
}

/* Vietnamese when it is the first language asked for. */
static bool wants_vi(struct span v)
{
	return v.n >= 2 && strncasecmp(v.p, "vi", 2) == 0 &&
	       (v.n == 2 || strchr("-,; ", v.p[2]) != NULL);
}

static enum strict_why field(struct span name, struct span v, struct strict_head *h, bool *host)
{
	if (same(name, "host")) {
		if (*host || !host_ok(v))
			return SW_HOST;
		*host = true;
	} else if (same(name, "content-length")) {
		return content_length(v, h);
	} else if (same(name, "transfer-encoding")) {
		if (h->chunked || h->http10 || !same(v, "chunked"))
			return SW_CODING;
		h->chunked = true;
	} else if (same(name, "authorization")) {
		if (h->has_auth)
			return SW_AUTH;
		h->has_auth = true;
		h->auth = v;
	} else if (same(name, "expect")) {
		if (h->expect || !same(v, "100-continue"))
			return SW_EXPECT;
		h->expect = true;
	} else if (same(name, "connection")) {
		h->close = h->close || list_has(v, "close");
	} else if (same(name, "accept-language")) {
		h->vietnamese = wants_vi(v);
	}
	return SW_OK;
}

enum strict_why strict_head(struct span head, struct strict_head *h)
{
	enum strict_why w;
	bool host = false;
	unsigned fields = 0;
	struct span line;

	*h = (struct strict_head){0};
	w = request_line(take_line(&head), h);
	while (w == SW_OK && (line = take_line(&head)).n > 0) {
		const char *colon = memchr(line.p, ':', line.n);
		struct span name = {line.p, colon ? (size_t)(colon - line.p) : line.n}, v;

		if (line.p[0] == ' ' || line.p[0] == '\t')
			return SW_FOLD;
		if (colon == NULL || !is_token(name))
			return SW_NAME;
		if (++fields > STRICT_FIELDS_MAX)
			return SW_MANY;
		v = span_from(line, name.n + 1);
		while (v.n && (v.p[0] == ' ' || v.p[0] == '\t'))
			v = span_from(v, 1);
		while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
			v.n--;
		w = field(name, v, h, &host);
	}
	if (w != SW_OK)
		return w;
	if (!host && !h->http10)
		return SW_HOST;
	return h->chunked && h->has_length ? SW_BOTH : SW_OK;
}

static bool framing_name(struct span name)
{
	return same(name, "host") || same(name, "content-length") ||
	       same(name, "transfer-encoding") || same(name, "expect") || same(name, "connection");
}

void strict_blank(char *head, size_t n)
{
	struct span left = {head, n}, line = take_line(&left), name;
	char *at = memchr(head, ' ', line.n), *end, *colon;

	for (at = at ? at + 2 : head + line.n; at < head + line.n && *at != ' '; at++)
		*at = 'x';
	while ((line = take_line(&left)).n > 0) {
		at = head + (line.p - head);
		end = at + line.n;
		colon = memchr(at, ':', line.n);
		name = span_of(at, colon ? (size_t)(colon - at) : line.n);
		if (framing_name(name))
			continue;
		for (; at < end; at++)
			if (at != colon)
				*at = 'x';
	}
}

/* ---- bodies ---- */

enum { B_RAW, B_SIZE, B_SIZE_LF, B_DATA, B_DATA_CR, B_DATA_LF, B_END_CR, B_END_LF, B_DONE };

void strict_body_init(struct strict_body *b, const struct strict_head *h, uint64_t max)
{
	*b = (struct strict_body){.max = max};
	b->state = h->chunked ? B_SIZE : h->length ? B_RAW : B_DONE;
	b->left = h->chunked ? 0 : h->length;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the chunked framing, outside data. */
static enum strict_why framing_byte(struct strict_body *b, uint8_t c)
{
	int v;

	switch (b->state) {
	case B_SIZE:
		v = hex_value(c);
		if (v >= 0 && b->digits < 8) {
			b->digits++;
			b->left = b->left * 16 + (uint64_t)v;
			return b->total + b->left > b->max ? SW_LARGE : SW_MORE;
		}
		if (c != '\r' || b->digits == 0)
			return SW_CHUNK;
		b->state = B_SIZE_LF;
		return SW_MORE;
	case B_SIZE_LF:
		b->state = b->left ? B_DATA : B_END_CR;
		b->digits = 0;
		return c == '\n' ? SW_MORE : SW_CHUNK;
	case B_DATA_CR:
		b->state = B_DATA_LF;
		return c == '\r' ? SW_MORE : SW_CHUNK;
	case B_DATA_LF:
		b->state = B_SIZE;
		return c == '\n' ? SW_MORE : SW_CHUNK;
	case B_END_CR:
		b->state = B_END_LF;
		return c == '\r' ? SW_MORE : SW_CHUNK;
	default:
		b->state = B_DONE;
		return c == '\n' ? SW_OK : SW_CHUNK;
	}
}

enum strict_why strict_body_feed(struct strict_body *b, struct span in, size_t *used)
{
	enum strict_why w = SW_MORE;
	size_t i = 0;

	*used = 0;
	if (b->state == B_RAW && b->left > b->max)
		return SW_LARGE;
	while (b->state != B_DONE && i < in.n) {
		if (b->state == B_RAW || b->state == B_DATA) {
			uint64_t take = b->left < in.n - i ? b->left : in.n - i;

			i += (size_t)take;
			b->left -= take;
			b->total += take;
			if (b->left == 0)
				b->state = b->state == B_RAW ? B_DONE : B_DATA_CR;
			continue;
		}
		w = framing_byte(b, (uint8_t)in.p[i++]);
		if (w != SW_OK && w != SW_MORE)
			return w;
	}
	*used = i;
	return b->state == B_DONE ? SW_OK : SW_MORE;
}
