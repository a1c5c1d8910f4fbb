/* store_ev_parse.c - reads entries back for the fold; see store_ev.h. The log is ours, yet its
 * bytes come from a disk: every member is checked. */
#include "store_ev.h"

bool ev_is_free(uint16_t code)
{
	return code == RS_RATE_REQUESTS || code == RS_RATE_TOKENS || code == RS_RATE_CONCURRENCY ||
	       code == RS_QUOTA_DAY || code == RS_QUOTA_MONTH;
}

/* Our entries are flat and canonical: members in ascending order, integers, strings; arrays,
 * objects and strings with escapes occur only in members of no interest here and are skipped. About
 * ten times as fast as a general parser, and start reads the whole log. */
#define MEMBERS 32
#define DEPTH 16

struct member {
	struct span key, val; /* val: without quotes */
	char kind;	      /* 's' plain string, 'n' integer, 'x' anything else */
};

struct reader {
	struct member m[MEMBERS];
	unsigned n;
	bool bad;
};

struct scan {
	const char *p, *end;
	bool bad;
};

static char peek(struct scan *c)
{
	return c->p < c->end ? *c->p : '\0';
}

static void expect(struct scan *c, char ch)
{
	if (peek(c) != ch)
		c->bad = true;
	else
		c->p++;
}

/* A string; *plain: no escape in it. */
static struct span scan_string(struct scan *c, bool *plain)
{
	const char *from;

	*plain = true;
	expect(c, '"');
	from = c->p;
	while (!c->bad && peek(c) != '"') {
		if ((unsigned char)peek(c) < 0x20) { /* also the end */
			c->bad = true;
		} else if (*c->p == '\\') {
			*plain = false;
			c->p++;
		}
		c->p++;
	}
	if (c->bad || c->p > c->end) {
		c->bad = true;
		return span_of("", 0);
	}
	c->p++;
	return span_of(from, (size_t)(c->p - 1 - from));
}

/* Steps over an array or object: brackets outside of strings must match in number. */
static void skip_nested(struct scan *c)
{
	int depth = 0;
	bool plain;

	do {
		char ch = peek(c);

		if (ch == '"') {
			scan_string(c, &plain);
			continue;
		}
		if ((unsigned char)ch < 0x20)
			c->bad = true;
		depth += (ch == '{' || ch == '[') - (ch == '}' || ch == ']');
		if (depth > DEPTH)
			c->bad = true;
		c->p++;
	} while (!c->bad && depth > 0);
}

static void scan_value(struct scan *c, struct member *m)
{
	const char *from = c->p;
	char ch = peek(c);
	bool plain;

	if (ch == '"') {
		m->val = scan_string(c, &plain);
		m->kind = plain ? 's' : 'x';
		return;
	}
	m->kind = 'x';
	if (ch == '{' || ch == '[') {
		skip_nested(c);
		return;
	}
	while (peek(c) == '-' || (peek(c) >= '0' && peek(c) <= '9'))
		c->p++;
	m->val = span_of(from, (size_t)(c->p - from));
	if (m->val.n) {
		m->kind = 'n';
		return;
	}
	while (peek(c) >= 'a' && peek(c) <= 'z') /* true, false, null */
		c->p++;
	if (c->p == from)
		c->bad = true;
}

static bool ascending(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int d = memcmp(a.p, b.p, n);

	return d < 0 || (d == 0 && a.n < b.n);
}

static bool scan_entry(struct span s, struct reader *r)
{
	struct scan c = {s.p, s.p + s.n, false};
	bool plain;

	r->n = 0;
	expect(&c, '{');
	while (!c.bad) {
		struct member *m = &r->m[r->n];

		if (r->n == MEMBERS)
			return false;
		m->key = scan_string(&c, &plain);
		if (!plain || (r->n && !ascending(r->m[r->n - 1].key, m->key)))
			return false;
		expect(&c, ':');
		scan_value(&c, m);
		r->n++;
		if (peek(&c) != ',')
			break;
		c.p++;
	}
	expect(&c, '}');
	return !c.bad && c.p == c.end;
}

static const struct member *member(const struct reader *r, const char *key)
{
	struct span k = span_cstr(key);

	for (unsigned i = 0; i < r->n; i++)
		if (span_eq(r->m[i].key, k))
			return &r->m[i];
	return NULL;
}

static int64_t num(struct reader *r, const char *key, int64_t max)
{
	const struct member *m = member(r, key);
	int64_t v = 0;

	if (m == NULL || m->kind != 'n' || m->val.n > 16 || (m->val.n > 1 && m->val.p[0] == '0')) {
		r->bad = true;
		return 0;
	}
	for (size_t i = 0; i < m->val.n; i++) {
		if (m->val.p[i] == '-')
			r->bad = true;
		v = v * 10 + (m->val.p[i] - '0');
	}
	if (v > max)
		r->bad = true;
	return r->bad ? 0 : v;
}

static uint32_t num32(struct reader *r, const char *key)
{
	return (uint32_t)num(r, key, UINT32_MAX);
}

static struct span text(struct reader *r, const char *key)
{
	const struct member *m = member(r, key);

	if (m && m->kind == 's')
		return m->val;
	r->bad = true;
	return span_of("", 0);
}

static void get_id(struct reader *r, const char *key, const char *prefix, struct id *out)
{
	if (!id_parse(prefix, text(r, key), out))
		r->bad = true;
}

static uint16_t get_code(struct reader *r)
{
	struct span s = text(r, "code");

	for (unsigned i = 0; i < 256; i++) {
		const struct reason_info *ri = reason_info(i);

		if (span_eq(s, span_cstr(ri->name)) &&
		    (i == RS_INTERNAL || ri != reason_info(RS_INTERNAL)))
			return (uint16_t)i;
	}
	r->bad = true;
	return 0;
}

static uint8_t get_state(struct reader *r)
{
	struct span s = text(r, "state");

	for (uint8_t i = 0; i <= OS_BLOCKED; i++)
		if (span_eq(s, span_cstr(ev_state_name(i))))
			return i;
	r->bad = true;
	return 0;
}

static void reserve(struct reader *r, struct ev *e)
{
	uint64_t total;

	e->type = EV_RESERVE;
	get_id(r, "conn", "con", &e->conn);
	get_id(r, "key", "key", &e->key);
	get_id(r, "sub", "sub", &e->sub);
	if (member(r, "org"))
		get_id(r, "org", "org", &e->org);
	total = (uint64_t)num32(r, "max") * num32(r, "n");
	e->max_total = total > UINT32_MAX ? UINT32_MAX : (uint32_t)total;
}

static void fill(struct reader *r, struct span t, struct ev *e)
{
	if (span_eq(t, SPAN_LIT("request.reserve"))) {
		reserve(r, e);
	} else if (span_eq(t, SPAN_LIT("quota.claim"))) {
		e->type = EV_CLAIM;
		e->prompt = num32(r, "prompt");
		e->out = num32(r, "out");
	} else if (span_eq(t, SPAN_LIT("request.intent"))) {
		e->type = EV_INTENT;
	} else if (span_eq(t, SPAN_LIT("response.progress"))) {
		e->type = EV_PROGRESS;
		e->tokens = num32(r, "tokens");
		e->bytes = (uint64_t)num(r, "bytes", INT64_MAX);
	} else if (span_eq(t, SPAN_LIT("request.outcome"))) {
		e->type = EV_OUTCOME;
		e->prompt = num32(r, "prompt");
		e->completion = num32(r, "completion");
		e->code = get_code(r);
		e->state = get_state(r);
	} else if (span_eq(t, SPAN_LIT("request.ended"))) {
		e->type = EV_ENDED;
		e->code = get_code(r);
	}
	if (e->type != EV_OTHER) {
		get_id(r, "lease", "lse", &e->lease);
		get_id(r, "req", "req", &e->req);
	}
}

int ev_parse(struct span entry, struct ev *e, struct err *err)
{
	struct reader r;
	struct span t;

	r.bad = false;
	*e = (struct ev){.type = EV_OTHER};
	if (!scan_entry(entry, &r))
		return err_set(err, E_FORMAT, "entry is not a canonical object");
	e->ts = num(&r, "ts", INT64_MAX);
	t = text(&r, "t");
	if (num(&r, "v", 1) != 1)
		r.bad = true;
	if (!r.bad)
		fill(&r, t, e);
	return r.bad ? err_set(err, E_FORMAT, "entry lacks a member or has a wrong one") : E_OK;
}
