/* entry.c - see entry.h. */
#include "entry.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "jsonw.h"

void entry_init(struct entry *e, const char *type, const char *boot, int64_t ts)
{
	memset(e, 0, sizeof(*e));
	e->mem = BUF_INIT(ENTRY_DOC_MAX);
	entry_cstr(e, "boot", boot);
	entry_cstr(e, "t", type);
	entry_int(e, "ts", ts);
	entry_int(e, "v", 1);
}

void entry_free(struct entry *e)
{
	if (e)
		buf_free(&e->mem);
}

/* Opens a member; the value's bytes follow in e->mem. */
static void begin(struct entry *e, const char *key)
{
	if (e->n == ENTRY_MEMBERS) {
		e->bad = true;
		return;
	}
	e->m[e->n].key = key;
	e->m[e->n++].off = e->mem.n;
}

static void end(struct entry *e)
{
	if (!e->bad)
		e->m[e->n - 1].n = e->mem.n - e->m[e->n - 1].off;
}

void entry_int(struct entry *e, const char *key, int64_t v)
{
	struct jsonw w;

	begin(e, key);
	jw_init(&w, &e->mem);
	jw_int(&w, v);
	end(e);
}

void entry_str(struct entry *e, const char *key, struct span s)
{
	begin(e, key);
	json_put_str(&e->mem, s);
	end(e);
}

void entry_cstr(struct entry *e, const char *key, const char *s)
{
	entry_str(e, key, span_cstr(s));
}

void entry_hex(struct entry *e, const char *key, const void *p, size_t n)
{
	begin(e, key);
	buf_putc(&e->mem, '"');
	buf_hex(&e->mem, p, n);
	buf_putc(&e->mem, '"');
	end(e);
}

void entry_bool(struct entry *e, const char *key, bool v)
{
	begin(e, key);
	buf_puts(&e->mem, v ? "true" : "false");
	end(e);
}

void entry_raw(struct entry *e, const char *key, struct span json)
{
	begin(e, key);
	buf_span_put(&e->mem, json);
	end(e);
}

int entry_put(struct entry *e, struct buf *out, struct err *err)
{
	size_t before = out->n;
	struct jsonw w;

	/* insertion sort: a dozen members */
	for (unsigned i = 1; i < e->n; i++)
		for (unsigned j = i; j > 0 && strcmp(e->m[j - 1].key, e->m[j].key) > 0; j--) {
			__typeof__(e->m[0]) x = e->m[j];

			e->m[j] = e->m[j - 1];
			e->m[j - 1] = x;
		}
	for (unsigned i = 1; i < e->n; i++)
		if (strcmp(e->m[i - 1].key, e->m[i].key) == 0)
			e->bad = true;
	if (e->bad || !buf_ok(&e->mem))
		return err_set(err, E_FORMAT, "an entry cannot be written");
	jw_init(&w, out);
	jw_obj(&w);
	for (unsigned i = 0; i < e->n; i++) {
		jw_key(&w, e->m[i].key);
		jw_raw(&w, span_of(e->mem.p + e->m[i].off, e->m[i].n));
	}
	jw_end_obj(&w);
	if (!buf_ok(out) || out->n - before > ENTRY_DOC_MAX)
		return err_set(err, E_RANGE, "an entry is too large");
	return E_OK;
}

/* End of the string that opens at s[i] (a quote), or s.n. */
static size_t string_end(struct span s, size_t i)
{
	for (i++; i < s.n && s.p[i] != '"'; i++)
		if (s.p[i] == '\\')
			i++;
	return i < s.n ? i : s.n;
}

/* End of the value that starts at i: the index of the ',' or '}' behind it on this level. */
static size_t value_end(struct span s, size_t i)
{
	int depth = 0;

	for (; i < s.n; i++) {
		char c = s.p[i];

		if (c == '"') {
			i = string_end(s, i);
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (depth == 0 && (c == ',' || c == '}')) {
			return i;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return s.n;
}

static struct span plain(struct span v)
{
	if (v.n < 2 || v.p[0] != '"' || v.p[v.n - 1] != '"')
		return span_of(NULL, 0);
	return span_of(v.p + 1, v.n - 2);
}

static int64_t number(struct span v)
{
	char mem[24] = {0};

	if (v.n == 0 || v.n >= sizeof(mem))
		return 0;
	memcpy(mem, v.p, v.n);
	return strtoll(mem, NULL, 10);
}

static void take_member(struct span key, struct span v, struct entry_look *o)
{
	if (span_eq(key, SPAN_LIT("t")))
		o->t = plain(v);
	else if (span_eq(key, SPAN_LIT("boot")))
		o->boot = plain(v);
	else if (span_eq(key, SPAN_LIT("ts")))
		o->ts = number(v);
	else if (span_eq(key, SPAN_LIT("v")))
		o->v = (int)number(v);
	else if (span_eq(key, SPAN_LIT("req")))
		o->req = plain(v);
	else if (span_eq(key, SPAN_LIT("lease")))
		o->lease = plain(v);
	else if (span_eq(key, SPAN_LIT("state")))
		o->state = plain(v);
	else if (span_eq(key, SPAN_LIT("doc")))
		o->doc = v;
}

bool entry_peek(struct span s, struct entry_look *out)
{
	size_t i = 1, k, e;

	memset(out, 0, sizeof(*out));
	if (s.n < 2 || s.p[0] != '{')
		return false;
	if (s.p[1] == '}')
		return s.n == 2;
	for (;;) {
		if (i >= s.n || s.p[i] != '"')
			return false;
		k = string_end(s, i);
		if (k + 1 >= s.n || s.p[k + 1] != ':')
			return false;
		e = value_end(s, k + 2);
		if (e >= s.n)
			return false;
		take_member(span_of(s.p + i + 1, k - i - 1), span_of(s.p + k + 2, e - k - 2), out);
		if (s.p[e] == '}')
			return e + 1 == s.n;
		i = e + 1;
	}
}

/* Members of each type besides boot, t, ts, v: name:kind, kind s string, i integer, a array,
 * o object, b boolean; '?' optional. doc/formats.md 4. */
static const struct {
	const char *t, *members;
} types[] = {
    {"log.start", "build:s epoch:i genesis:s prev:i"},
    {"log.recovered", "dropped:i size:i"},
    {"log.stop", "clean:b"},
    {"genesis", "doc:o"},
    {"statement", "case:s kid:s result:s sig:s statement:s"},
    {"authority", "by:a id:s kind:s new:o ver:i"},
    {"key.create", "code:s key:s sub:s"},
    {"request.reserve", "conn:s endpoint:s key:s lease:s max:i model:s n:i org:s? req:s src:s "
			"sub:s tier:?"},
    {"request.refused", "code:s key:s? org:s? req:s stage:s sub:s? src:s?"},
    {"refused.aggregate", "codes:o from:i to:i"},
    {"quota.claim", "lease:s out:i prompt:i req:s"},
    {"policy.input", "action:s cats:a guard:s kernel:s lease:s policy:s req:s score:i "
		     "threshold:i"},
    {"request.intent", "commit:s lease:s model:s prompt_bytes:i prompt_tokens:i req:s"},
    {"response.progress", "bytes:i lease:s req:s tokens:i"},
    {"policy.output", "lease:s req:s windows:a"},
    {"request.outcome", "cached:i code:s commit:s completion:i dur_us:i guard:i lease:s "
			"out_bytes:i prompt:i released:i req:s state:s"},
    {"request.ended", "code:s lease:s req:s"},
    {"peer.odd", "code:s from:s msg:i req:s?"},
    {"clock.jump", "delta_ms:i"},
};

static bool kind_ok(const json_t *v, char kind)
{
	switch (kind) {
	case 's':
		return json_is_string(v);
	case 'i':
		return json_is_integer(v);
	case 'a':
		return json_is_array(v);
	case 'o':
		return json_is_object(v);
	case 'b':
		return json_is_boolean(v);
	default: /* enumerations that stand as number or name */
		return json_is_integer(v) || json_is_string(v);
	}
}

/* Checks the members listed in spec; *n counts those present. */
static int check_members(const json_t *j, const char *spec, size_t *n, struct err *err)
{
	char name[40];
	const char *s = spec, *end_of;
	const json_t *v;

	while (*s) {
		size_t len = strcspn(s, ":");

		if (len >= sizeof(name))
			return E_BUG;
		memcpy(name, s, len);
		name[len] = '\0';
		end_of = s + len + strcspn(s + len, " ");
		v = json_object_get(j, name);
		if (v && !kind_ok(v, s[len + 1]))
			return err_set(err, E_FORMAT, "member %s has the wrong kind", name);
		if (v)
			++*n;
		else if (end_of[-1] != '?' || s[len + 1] == '?')
			return err_set(err, E_FORMAT, "member %s is missing", name);
		s = end_of + strspn(end_of, " ");
	}
	return E_OK;
}

static int check_object(const json_t *j, struct err *err)
{
	const char *t = json_string_value(json_object_get(j, "t"));
	size_t n = 0, i;
	int rc;

	rc = check_members(j, "boot:s t:s ts:i v:i", &n, err);
	if (rc < 0)
		return rc;
	if (json_integer_value(json_object_get(j, "v")) != 1)
		return err_set(err, E_UNSUPPORTED, "entry version is not 1");
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].t, t) == 0)
			break;
	if (i == sizeof(types) / sizeof(types[0]))
		return err_set(err, E_UNSUPPORTED, "unknown entry type");
	rc = check_members(j, types[i].members, &n, err);
	if (rc == E_OK && n != json_object_size(j))
		rc = err_set(err, E_FORMAT, "%s has a member that does not belong to it", t);
	return rc;
}

int entry_check(struct span s, struct err *err)
{
	json_error_t je;
	json_t *j;
	char *again;
	int rc;

	if (s.n > ENTRY_DOC_MAX)
		return err_set(err, E_RANGE, "an entry is too large");
	j = json_loadb(s.n ? s.p : "", s.n, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(err, E_FORMAT, "not a JSON object (line %d)", je.line);
	}
	again = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	rc = again == NULL || !span_eq(span_cstr(again), s)
		 ? err_set(err, E_FORMAT, "not in canonical form")
		 : check_object(j, err);
	free(again);
	json_decref(j);
	return rc;
}
