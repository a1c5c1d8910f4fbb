/* model_args.c - words and JSON that the verbs of `sallyport model` share; see model.h. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jsonw.h"
#include "model.h"

#define TOKENS_MAX (1u << 20)

void model_print(struct buf *b)
{
	if (!buf_ok(b))
		cli_fail(X_FAIL, "no memory for the answer");
	else
		fwrite(b->p, 1, b->n, stdout);
	putchar('\n');
	buf_free(b);
}

int model_arg_tokens(const char *s, int32_t **out, size_t *n)
{
	size_t cap = 1;
	char *end;

	if (s == NULL || *s == '\0')
		return cli_fail(X_USAGE, "--tokens 1,2,3 is needed");
	for (const char *c = s; *c; c++)
		cap += *c == ',';
	if (cap > TOKENS_MAX || (*out = calloc(cap, sizeof(**out))) == NULL)
		return cli_fail(X_USAGE, "at most %u tokens", TOKENS_MAX);
	for (*n = 0; *n < cap; s = end + 1) {
		long v;

		errno = 0;
		v = strtol(s, &end, 10);
		if (end == s || errno || v < 0 || v > INT32_MAX || (*end != ',' && *end != '\0')) {
			free(*out);
			*out = NULL;
			return cli_fail(X_USAGE, "--tokens: '%.20s' is no list of token ids", s);
		}
		(*out)[(*n)++] = (int32_t)v;
		if (*end == '\0')
			break;
	}
	return X_OK;
}

int model_arg_number(const char *what, const char *s, double lo, double hi, double *v)
{
	char *end;

	if (s == NULL)
		return X_OK;
	*v = strtod(s, &end);
	if (end == s || *end || !(*v >= lo && *v <= hi))
		return cli_fail(X_USAGE, "--%s must be a number from %g to %g", what, lo, hi);
	return X_OK;
}

void model_put_float(struct buf *b, float f)
{
	if (isfinite(f))
		buf_fmt(b, "%.9g", (double)f);
	else
		buf_puts(b, "null"); /* JSON has no NaN; a consumer must not take it for a number */
}

/* Bytes that are no UTF-8 become U+FFFD: the output must be valid JSON. */
void model_put_text(struct buf *out, const char *text, size_t n)
{
	struct buf clean = BUF_INIT(4 * n + 16);
	struct span s = span_of(text, n);

	while (s.n) {
		size_t len = 1;

		while (len < 4 && len < s.n && ((unsigned char)s.p[len] & 0xc0) == 0x80)
			len++;
		struct buf one = BUF_INIT(64);

		json_put_str(&one, span_of(s.p, len));
		if (buf_ok(&one))
			buf_put(&clean, s.p, len);
		else
			buf_puts(&clean, "\xef\xbf\xbd");
		buf_free(&one);
		s = span_from(s, len);
	}
	json_put_str(out, buf_span(&clean));
	buf_free(&clean);
}
