/* jsonw.c - see jsonw.h. */
#include "jsonw.h"

#include <stdio.h>

#include "log.h"
#include "utf8.h"

void jw_init(struct jsonw *w, struct buf *b)
{
	memset(w, 0, sizeof(*w));
	w->b = b;
	w->first[0] = true;
}

static void before_value(struct jsonw *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	must(!w->in_obj[w->depth]);
	if (!w->first[w->depth] && w->depth > 0)
		buf_putc(w->b, ',');
	w->first[w->depth] = false;
}

static void open_level(struct jsonw *w, bool obj)
{
	before_value(w);
	must(w->depth + 1 < JSONW_DEPTH);
	w->depth++;
	w->first[w->depth] = true;
	w->in_obj[w->depth] = obj;
	w->last[w->depth][0] = '\0';
	buf_putc(w->b, obj ? '{' : '[');
}

static void close_level(struct jsonw *w, bool obj)
{
	must(w->depth > 0 && w->in_obj[w->depth] == obj && !w->after_key);
	w->depth--;
	buf_putc(w->b, obj ? '}' : ']');
}

void jw_obj(struct jsonw *w)
{
	open_level(w, true);
}

void jw_end_obj(struct jsonw *w)
{
	close_level(w, true);
}

void jw_arr(struct jsonw *w)
{
	open_level(w, false);
}

void jw_end_arr(struct jsonw *w)
{
	close_level(w, false);
}

void jw_key(struct jsonw *w, const char *key)
{
	char *last = w->last[w->depth];

	must(w->in_obj[w->depth] && !w->after_key && strlen(key) < sizeof(w->last[0]));
	must(w->free_order || w->first[w->depth] || strcmp(last, key) < 0);
	if (!w->first[w->depth])
		buf_putc(w->b, ',');
	w->first[w->depth] = false;
	snprintf(last, sizeof(w->last[0]), "%s", key);
	json_put_str(w->b, span_cstr(key));
	buf_putc(w->b, ':');
	w->after_key = true;
}

void json_put_str(struct buf *b, struct span s)
{
	static const char esc[] = "btn\0fr"; /* \b \t \n (0b) \f \r */

	if (!utf8_valid(s)) {
		b->bad = true;
		return;
	}
	buf_putc(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\') {
			buf_putc(b, '\\');
			buf_putc(b, (char)c);
		} else if (c >= 8 && c <= 13 && c != 11) {
			buf_putc(b, '\\');
			buf_putc(b, esc[c - 8]);
		} else if (c < 0x20) {
			buf_fmt(b, "\\u%04x", c);
		} else {
			buf_putc(b, (char)c);
		}
	}
	buf_putc(b, '"');
}

void jw_str(struct jsonw *w, struct span s)
{
	before_value(w);
	json_put_str(w->b, s);
}

void jw_cstr(struct jsonw *w, const char *s)
{
	jw_str(w, span_cstr(s));
}

void jw_int(struct jsonw *w, int64_t v)
{
	before_value(w);
	if (v > 9007199254740991 || v < -9007199254740991)
		w->b->bad = true;
	buf_fmt(w->b, "%lld", (long long)v);
}

void jw_bool(struct jsonw *w, bool v)
{
	before_value(w);
	buf_puts(w->b, v ? "true" : "false");
}

void jw_null(struct jsonw *w)
{
	before_value(w);
	buf_puts(w->b, "null");
}

void jw_raw(struct jsonw *w, struct span json)
{
	before_value(w);
	buf_span_put(w->b, json);
}

void jw_hex(struct jsonw *w, const void *p, size_t n)
{
	before_value(w);
	buf_putc(w->b, '"');
	buf_hex(w->b, p, n);
	buf_putc(w->b, '"');
}

void jw_b64(struct jsonw *w, const void *p, size_t n)
{
	before_value(w);
	buf_putc(w->b, '"');
	buf_base64(w->b, p, n);
	buf_putc(w->b, '"');
}

void jw_kstr(struct jsonw *w, const char *key, struct span s)
{
	jw_key(w, key);
	jw_str(w, s);
}

void jw_kcstr(struct jsonw *w, const char *key, const char *s)
{
	jw_key(w, key);
	jw_cstr(w, s);
}

void jw_kint(struct jsonw *w, const char *key, int64_t v)
{
	jw_key(w, key);
	jw_int(w, v);
}

void jw_kbool(struct jsonw *w, const char *key, bool v)
{
	jw_key(w, key);
	jw_bool(w, v);
}

void jw_khex(struct jsonw *w, const char *key, const void *p, size_t n)
{
	jw_key(w, key);
	jw_hex(w, p, n);
}
