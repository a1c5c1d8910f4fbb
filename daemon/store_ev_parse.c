/* store_ev_parse.c - reads entries back for the fold; see store_ev.h. The log is ours, yet its bytes
 * come from a disk: every member is checked. */
#include <jansson.h>

#include "store_ev.h"

bool ev_is_free(uint16_t code)
{
	return code == RS_RATE_REQUESTS || code == RS_RATE_TOKENS || code == RS_RATE_CONCURRENCY ||
	       code == RS_QUOTA_DAY || code == RS_QUOTA_MONTH;
}

struct reader {
	json_t *o;
	bool bad;
};

static int64_t num(struct reader *r, const char *key, int64_t max)
{
	json_t *v = json_object_get(r->o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n > max) {
		r->bad = true;
		return 0;
	}
	return n;
}

static uint32_t num32(struct reader *r, const char *key)
{
	return (uint32_t)num(r, key, UINT32_MAX);
}

static struct span text(struct reader *r, const char *key)
{
	json_t *v = json_object_get(r->o, key);

	if (!json_is_string(v)) {
		r->bad = true;
		return span_of("", 0);
	}
	return span_of(json_string_value(v), json_string_length(v));
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

		if (span_eq(s, span_cstr(ri->name)) && (i == RS_INTERNAL || ri != reason_info(RS_INTERNAL)))
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
	if (json_object_get(r->o, "org"))
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
	json_error_t je;
	struct reader r = {0};
	struct span t;

	*e = (struct ev){.type = EV_OTHER};
	r.o = json_loadb(entry.p, entry.n, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(r.o)) {
		json_decref(r.o);
		return err_set(err, E_FORMAT, "entry is not a JSON object");
	}
	e->ts = num(&r, "ts", INT64_MAX);
	t = text(&r, "t");
	if (num(&r, "v", 1) != 1)
		r.bad = true;
	if (!r.bad)
		fill(&r, t, e);
	json_decref(r.o);
	return r.bad ? err_set(err, E_FORMAT, "entry lacks a member or has a wrong one") : E_OK;
}
