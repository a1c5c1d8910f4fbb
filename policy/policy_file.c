/* policy_file.c - see policy_file.h. libinih reads through our own reader, which counts lines. */
#include "policy_file.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"

#define LINE_MAX_BYTES 190 /* libinih cuts longer lines silently; we refuse them */

struct parse {
	struct span left;
	unsigned line;
	const char *name;
	struct policy *p;
	struct buf *errors;
	bool bad;
	bool seen_format, seen_version, seen_guard, seen_default;
	uint32_t threshold; /* the defaults, applied first */
	int action;
	/* what each category said; -1 = nothing */
	int32_t cat_threshold[POLICY_CATS][POLICY_TIERS + 1]; /* [..][POLICY_TIERS] = all tiers */
	int cat_action[POLICY_CATS][POLICY_TIERS + 1];
};

__attribute__((format(printf, 2, 3))) static int wrong(struct parse *x, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (x->errors)
		buf_fmt(x->errors, "%s:%u: %s\n", x->name, x->line, text);
	x->bad = true;
	return 1; /* go on: all errors are shown */
}

static char *next_line(char *mem, int cap, void *arg)
{
	struct parse *x = arg;
	const char *nl;
	size_t n;

	if (x->left.n == 0)
		return NULL;
	nl = memchr(x->left.p, '\n', x->left.n);
	n = nl ? (size_t)(nl - x->left.p) + 1 : x->left.n;
	x->line++;
	if (n > LINE_MAX_BYTES || n >= (size_t)cap) {
		wrong(x, "the line is longer than %d bytes", LINE_MAX_BYTES);
		x->left = span_from(x->left, n);
		mem[0] = '\0';
		return mem;
	}
	if (memchr(x->left.p, '\0', n) != NULL)
		wrong(x, "a NUL byte");
	memcpy(mem, x->left.p, n);
	mem[n] = '\0';
	x->left = span_from(x->left, n);
	/* a continuation line would silently repeat the last key */
	if ((mem[0] == ' ' || mem[0] == '\t') && mem[strspn(mem, " \t\r\n")] != '\0' &&
	    strchr(";#", mem[strspn(mem, " \t")]) == NULL)
		wrong(x, "a line must not begin with a blank");
	return mem;
}

static const char *const action_names[] = {"allow", "flag", "redact", "hold", "block", "error"};

const char *decide_action_name(enum decide_action a)
{
	return (unsigned)a <= DA_ERROR ? action_names[a] : "error";
}

static bool parse_action(struct parse *x, const char *v, int *out)
{
	for (int i = 0; i < DA_ERROR; i++)
		if (strcmp(v, action_names[i]) == 0) {
			*out = i;
			return true;
		}
	wrong(x, "\"%.40s\" is no action: allow, flag, redact, hold or block", v);
	return false;
}

/* 0.001 .. 1.0 in at most three decimals, to thousandths. */
static bool parse_threshold(struct parse *x, const char *v, int32_t *out)
{
	size_t digits = strspn(v, "0123456789");
	uint32_t milli = 0;
	const char *d = v + digits;

	if (digits == 1 && (v[0] == '0' || v[0] == '1')) {
		milli = (uint32_t)(v[0] - '0') * 1000;
		if (*d == '.' && d[1]) {
			uint32_t unit = 100;

			for (d++; *d >= '0' && *d <= '9' && unit; d++, unit /= 10)
				milli += (uint32_t)(*d - '0') * unit;
		}
		if (*d == '\0' && milli >= 1 && milli <= 1000) {
			*out = (int32_t)milli;
			return true;
		}
	}
	wrong(x, "a threshold is a number from 0.001 to 1.000, not \"%.20s\"", v);
	return false;
}

static int once(struct parse *x, bool *seen, const char *key)
{
	if (*seen)
		wrong(x, "\"%s\" stands here a second time", key);
	*seen = true;
	return 1;
}

static int policy_key(struct parse *x, const char *key, const char *v)
{
	int a = DA_BLOCK;
	int32_t t;

	if (strcmp(key, "format") == 0) {
		once(x, &x->seen_format, key);
		return strcmp(v, "1") == 0 ? 1 : wrong(x, "format must be 1");
	}
	if (strcmp(key, "version") == 0) {
		once(x, &x->seen_version, key);
		if (*v == '\0' || strlen(v) >= sizeof(x->p->version) ||
		    strspn(v,
			   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
			strlen(v))
			return wrong(x, "version: 1 to 63 letters, digits, '-', '.', '_'");
		strcpy(x->p->version, v);
		return 1;
	}
	if (strcmp(key, "guard-format") == 0) {
		once(x, &x->seen_guard, key);
		return strcmp(v, "llama-guard-3") == 0 ? 1
						       : wrong(x, "guard-format must be "
								  "llama-guard-3");
	}
	if (strcmp(key, "threshold") == 0) {
		once(x, &x->seen_default, key);
		if (parse_threshold(x, v, &t))
			x->threshold = (uint32_t)t;
		return 1;
	}
	if (strcmp(key, "action") == 0) {
		if (parse_action(x, v, &a))
			x->action = a;
		return 1;
	}
	if (strcmp(key, "tag-characters") == 0) {
		if (parse_action(x, v, &a) && a != DA_BLOCK && a != DA_FLAG)
			wrong(x, "tag-characters: block or flag");
		x->p->tag_action = (enum decide_action)a;
		return 1;
	}
	if (strcmp(key, "max-text") == 0) {
		char *end;
		unsigned long n = strtoul(v, &end, 10);

		if (*v < '0' || *v > '9' || *end != '\0' || n < 1024 || n > 16ul << 20)
			return wrong(x, "max-text: 1024 to 16777216 bytes");
		x->p->max_text = n;
		return 1;
	}
	return wrong(x, "unknown key \"%.40s\" in [policy]", key);
}

/* "S3" -> 3, "unknown" -> 0, else -1. */
static int cat_index(const char *s, size_t n)
{
	if (n == 7 && memcmp(s, "unknown", 7) == 0)
		return 0;
	for (int i = 1; i < POLICY_CATS; i++) {
		char want[8];

		if ((size_t)snprintf(want, sizeof(want), "S%d", i) == n && memcmp(s, want, n) == 0)
			return i;
	}
	return -1;
}

static int category_key(struct parse *x, int cat, const char *key, const char *v)
{
	int tier = POLICY_TIERS, a;
	int32_t t;

	if (strncmp(key, "tier-", 5) == 0) {
		if (key[5] < '0' || key[5] > '9' || key[6] != '-')
			return wrong(x, "tiers are tier-0- to tier-9-");
		tier = key[5] - '0';
		key += 7;
	}
	if (strcmp(key, "threshold") == 0) {
		if (x->cat_threshold[cat][tier] >= 0)
			return wrong(x, "threshold stands here a second time");
		if (parse_threshold(x, v, &t))
			x->cat_threshold[cat][tier] = t;
		return 1;
	}
	if (strcmp(key, "action") == 0) {
		if (x->cat_action[cat][tier] >= 0)
			return wrong(x, "action stands here a second time");
		if (parse_action(x, v, &a))
			x->cat_action[cat][tier] = a;
		return 1;
	}
	return wrong(x, "unknown key \"%.40s\" in a category: threshold or action", key);
}

static int on_key(void *arg, const char *section, const char *key, const char *v)
{
	struct parse *x = arg;
	size_t n = strlen(section);
	int cat = -1;

	if (strcmp(section, "policy") == 0)
		return policy_key(x, key, v);
	if (n > 11 && memcmp(section, "category \"", 10) == 0 && section[n - 1] == '"')
		cat = cat_index(section + 10, n - 11);
	if (cat < 0)
		return wrong(x,
			     "unknown section [%.40s]: [policy], [category \"S1\"] .. \"S14\", "
			     "\"unknown\"",
			     section);
	return category_key(x, cat, key, v);
}

static void apply(struct parse *x)
{
	for (int t = 0; t < POLICY_TIERS; t++)
		for (int c = 0; c < POLICY_CATS; c++) {
			struct policy_rule *r = &x->p->rule[t][c];
			int32_t th = x->cat_threshold[c][t];
			int a = x->cat_action[c][t];

			th = th >= 0 ? th : x->cat_threshold[c][POLICY_TIERS];
			a = a >= 0 ? a : x->cat_action[c][POLICY_TIERS];
			r->threshold_milli = th >= 0 ? (uint32_t)th : x->threshold;
			r->action = (enum decide_action)(a >= 0 ? a : x->action);
		}
}

int policy_parse(struct span text, const char *name, struct policy *p, struct buf *errors)
{
	struct parse x = {.left = text, .name = name, .p = p, .errors = errors};
	int rc;

	memset(p, 0, sizeof(*p));
	memset(x.cat_threshold, 0xff, sizeof(x.cat_threshold));
	memset(x.cat_action, 0xff, sizeof(x.cat_action));
	x.threshold = 500;
	x.action = DA_BLOCK;
	p->tag_action = DA_BLOCK;
	p->max_text = 1000000;
	sha256(text, p->sha256);
	rc = ini_parse_stream(next_line, &x, on_key, &x);
	if (rc > 0) {
		x.line = (unsigned)rc;
		wrong(&x, "not a section, a comment or key = value");
	}
	if (!x.bad && (!x.seen_format || !x.seen_version || !x.seen_guard || !x.seen_default)) {
		x.line = x.line ? x.line : 1;
		wrong(&x, "[policy] needs format, version, guard-format and threshold");
	}
	if (rc != 0 || x.bad)
		return E_FORMAT;
	apply(&x);
	return 0;
}
