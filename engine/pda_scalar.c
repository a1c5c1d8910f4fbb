/* pda_scalar.c - strings and numbers, byte by byte. */
#include "schema_priv.h"

/* States inside a string. What is left of a character: */
enum {
	ST_1 = 1,	   /* one byte 80..BF */
	ST_2,		   /* two of them */
	ST_3,		   /* three */
	ST_E0,		   /* A0..BF, then one */
	ST_ED,		   /* 80..9F, then one: no surrogates */
	ST_F0,		   /* 90..BF, then two */
	ST_F4,		   /* 80..8F, then two: up to U+10FFFF */
	ST_ESC,		   /* behind a backslash */
	ST_U,		   /* four hex digits: ST_U .. ST_U + 3 */
	ST_LOW = ST_U + 4, /* a high surrogate stands there: backslash, */
	ST_LOWU,	   /* u, */
	ST_LOWX		   /* and the low one's digits: .. ST_LOWX + 3 */
};

static int lead(uint8_t *s, uint8_t c)
{
	if (c < 0x20 || c == '"' || (c >= 0x80 && c < 0xc2) || c > 0xf4)
		return -1;
	*s = c < 0x80	 ? STR_CLEAN
	     : c < 0xe0	 ? ST_1
	     : c == 0xe0 ? ST_E0
	     : c == 0xed ? ST_ED
	     : c < 0xf0	 ? ST_2
	     : c == 0xf0 ? ST_F0
	     : c == 0xf4 ? ST_F4
			 : ST_3;
	return 1;
}

static int trail(uint8_t *s, uint8_t c)
{
	static const struct {
		uint8_t lo, hi, then;
	} next[] = {[ST_1] = {0x80, 0xbf, STR_CLEAN}, [ST_2] = {0x80, 0xbf, ST_1},
		    [ST_3] = {0x80, 0xbf, ST_2},      [ST_E0] = {0xa0, 0xbf, ST_1},
		    [ST_ED] = {0x80, 0x9f, ST_1},     [ST_F0] = {0x90, 0xbf, ST_2},
		    [ST_F4] = {0x80, 0x8f, ST_2}};

	if (c < next[*s].lo || c > next[*s].hi)
		return -1;
	*s = next[*s].then;
	return 0;
}

static int hex_of(uint8_t c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Digits of an escape: never NUL, and surrogates only as a pair. */
static int hex_digit(uint8_t *s, uint16_t *x, uint8_t c)
{
	int h = hex_of(c);
	bool low = *s >= ST_LOWX;
	unsigned at = (unsigned)*s - (low ? ST_LOWX : ST_U);

	if (h < 0 || (low && at == 0 && h != 0xd) || (low && at == 1 && h < 0xc) ||
	    (!low && at == 1 && *x == 0xd && h >= 0xc) || (at == 3 && *x == 0 && h == 0))
		return -1;
	*x = (uint16_t)(*x << 4 | h);
	if (at < 3) {
		++*s;
		return 0;
	}
	*s = !low && *x >= 0xd800 && *x < 0xdc00 ? ST_LOW : STR_CLEAN;
	*x = 0;
	return 0;
}

int str_step(uint8_t *s, uint16_t *x, uint8_t c, bool escapes)
{
	if (*s == STR_CLEAN) {
		if (c != '\\')
			return lead(s, c);
		if (!escapes)
			return -1;
		*s = ST_ESC;
		return 1;
	}
	if (*s < ST_ESC)
		return trail(s, c);
	switch (*s) {
	case ST_ESC:
		if (c == 0 || !strchr("\"\\/bfnrtu", c))
			return -1;
		*s = c == 'u' ? ST_U : STR_CLEAN;
		*x = 0;
		return 0;
	case ST_LOW:
		*s = ST_LOWU;
		return c == '\\' ? 0 : -1;
	case ST_LOWU:
		*s = ST_LOWX;
		return c == 'u' ? 0 : -1;
	default:
		return hex_digit(s, x, c);
	}
}

/* ---- numbers without bounds: few enough digits for everybody's double ---- */
enum { NU_START, NU_MINUS, NU_ZERO, NU_INT, NU_POINT, NU_FRAC, NU_E, NU_SIGN, NU_EXP };
#define NUM_DIGITS 15
#define EXP_DIGITS 2

bool num_step(struct thr *t, uint8_t c, bool whole)
{
	bool digit = c >= '0' && c <= '9', e = c == 'e' || c == 'E';

	switch (t->s) {
	case NU_START:
	case NU_MINUS:
		if (c == '-' && t->s == NU_START) {
			t->s = NU_MINUS;
			return true;
		}
		t->s = c == '0' ? NU_ZERO : NU_INT;
		t->a = 1;
		return digit;
	case NU_ZERO:
	case NU_INT:
		if (digit)
			return t->s == NU_INT && t->a++ < NUM_DIGITS;
		t->a = 0;
		t->s = c == '.' ? NU_POINT : NU_E;
		return !whole && (c == '.' || e);
	case NU_POINT:
	case NU_FRAC:
		if (digit) {
			t->s = NU_FRAC;
			return t->a++ < NUM_DIGITS;
		}
		t->a = 0;
		e = e && t->s == NU_FRAC;
		t->s = NU_E;
		return e;
	case NU_E:
		if (c == '+' || c == '-') {
			t->s = NU_SIGN;
			return true;
		}
		/* fallthrough */
	default:
		t->s = NU_EXP;
		return digit && t->a++ < EXP_DIGITS;
	}
}

bool num_done(const struct thr *t)
{
	return t->s == NU_ZERO || t->s == NU_INT || t->s == NU_FRAC || t->s == NU_EXP;
}

/* ---- numbers with bounds: sign, digits, at most `frac` behind the point ---- */
static const int64_t tens[] = {1,
			       10,
			       100,
			       1000,
			       10000,
			       100000,
			       1000000,
			       10000000,
			       100000000,
			       1000000000,
			       10000000000,
			       100000000000,
			       1000000000000,
			       10000000000000,
			       100000000000000,
			       1000000000000000};

static bool meets(const struct node *d, bool minus, int64_t from, int64_t to)
{
	int64_t lo = minus ? -d->hi : d->lo, hi = minus ? -d->lo : d->hi;

	lo = lo < 0 ? 0 : lo;
	return lo <= hi && from <= hi && to >= lo;
}

/* Some way of going on from these digits ends inside the bounds. */
static bool can_end(const struct node *d, const struct thr *t)
{
	int64_t scale = tens[d->frac], v = (int64_t)t->v;
	uint32_t most = d->frac ? 12 : 15; /* digits before the point */

	if (t->s >= NU_POINT) {
		scale = tens[d->frac - t->b];
		return meets(d, t->x, v * scale, v * scale + scale - 1);
	}
	for (uint32_t j = 0; j <= most - t->a && (j == 0 || v > 0); j++)
		if (meets(d, t->x, v * tens[j] * scale, (v * tens[j] + tens[j]) * scale - 1))
			return true;
	return false;
}

bool fix_step(const struct node *d, struct thr *t, uint8_t c)
{
	bool digit = c >= '0' && c <= '9';

	if (c == '-') {
		t->x = 1;
		if (t->s != NU_START)
			return false;
		t->s = NU_MINUS;
		return meets(d, true, 0, INT64_MAX);
	}
	if (c == '.') {
		if (d->frac == 0 || (t->s != NU_ZERO && t->s != NU_INT))
			return false;
		t->s = NU_POINT;
		return can_end(d, t);
	}
	if (!digit || t->s == NU_ZERO || (t->s == NU_INT && t->a >= (d->frac ? 12u : 15u)) ||
	    (t->s >= NU_POINT && t->b >= d->frac))
		return false;
	t->v = t->v * 10 + (uint64_t)(c - '0');
	if (t->s >= NU_POINT) {
		t->s = NU_FRAC;
		t->b++;
	} else {
		t->s = t->s <= NU_MINUS && c == '0' ? NU_ZERO : NU_INT;
		t->a++;
	}
	return can_end(d, t);
}

bool fix_done(const struct node *d, const struct thr *t)
{
	int64_t v = (int64_t)t->v * tens[d->frac - t->b];

	return (t->s == NU_ZERO || t->s == NU_INT || t->s == NU_FRAC) && meets(d, t->x, v, v);
}
