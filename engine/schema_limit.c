/* schema_limit.c - bounds of numbers. A bounded number is written as a fixed-point decimal, so that
 * one interval of whole numbers says for every prefix whether it can still end inside the bounds.
 */
#include "schema_build.h"

#define LIMIT 1000000000000000000ll /* 10^18 */
#define FRAC 6u			    /* digits behind the point of a bounded number */

/* Digits of a JSON number as one run, without leading zeros: value = digits x 10^exp10. */
struct decimal {
	bool minus;
	struct span num; /* as written */
	int64_t exp10;
	uint64_t n; /* digits */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int64_t exponent(struct span s)
{
	bool minus = s.n && s.p[0] == '-';
	int64_t e = 0;

	for (size_t i = s.n && !is_digit(s.p[0]) ? 1 : 0; i < s.n && e < 1000000; i++)
		e = e * 10 + (s.p[i] - '0');
	return minus ? -e : e;
}

static struct decimal decimal_of(struct span num)
{
	struct decimal d = {.minus = num.n && num.p[0] == '-', .num = num};
	bool point = false, lead = true;

	for (size_t i = d.minus ? 1 : 0; i < num.n; i++) {
		if (num.p[i] == 'e' || num.p[i] == 'E') {
			d.num.n = i;
			d.exp10 += exponent(span_from(num, i + 1));
			break;
		}
		if (num.p[i] == '.') {
			point = true;
			continue;
		}
		lead = lead && num.p[i] == '0';
		d.n += !lead;
		d.exp10 -= point;
	}
	return d;
}

int64_t decimal_scaled(struct span num, unsigned frac, bool up, bool *exact)
{
	struct decimal d = decimal_of(num);
	int64_t whole = (int64_t)d.n + d.exp10 + frac, v = 0; /* digits before the cut */
	uint64_t seen = 0;

	*exact = true;
	if (d.n == 0)
		return 0;
	if (whole > 18) {
		*exact = false;
		return d.minus ? -LIMIT : LIMIT;
	}
	for (size_t i = d.minus ? 1 : 0; i < d.num.n; i++) {
		char c = d.num.p[i];

		if (c == '.' || (seen == 0 && c == '0'))
			continue;
		if ((int64_t)seen++ < whole)
			v = v * 10 + (c - '0');
		else if (c != '0')
			*exact = false;
	}
	for (int64_t i = (int64_t)d.n; i < whole; i++)
		v *= 10;
	if (!*exact && up != d.minus)
		v++;
	return d.minus ? -v : v;
}

int number_node(struct build *b, const struct kws *k, unsigned type, struct node *d)
{
	static const enum kw at[] = {KW_MINIMUM, KW_EX_MINIMUM, KW_MAXIMUM, KW_EX_MAXIMUM};
	int64_t most = type == T_INTEGER ? 999999999999999 : LIMIT - 1;
	bool bounded = false, exact;

	d->frac = type == T_INTEGER ? 0 : FRAC;
	d->lo = -most;
	d->hi = most;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t v = k->at[at[i]];
		bool low = i < 2, exclusive = i & 1;
		int64_t n;

		if (v == NONE)
			continue;
		if (b->doc.v[v].type != J_NUM)
			return refuse(b, E_FORMAT, v, "'%s' must be a number", kw_name(at[i]));
		n = decimal_scaled(b->doc.v[v].text, d->frac, low != exclusive, &exact);
		if (exclusive)
			n += low ? 1 : -1;
		if (low && n > d->lo)
			d->lo = n;
		if (!low && n < d->hi)
			d->hi = n;
		if (d->lo > d->hi)
			return refuse(b, E_UNSUPPORTED, v, "'%s' leaves no number", kw_name(at[i]));
		bounded = true;
	}
	d->kind = bounded ? NK_FIXED : type == T_INTEGER ? NK_INTEGER : NK_NUMBER;
	return 0;
}
