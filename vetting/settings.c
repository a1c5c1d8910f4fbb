/* settings.c - see settings.h. */
#include "settings.h"

bool model_name_ok(struct span s)
{
	if (s.n == 0 || s.n >= MODEL_NAME)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == ':' || c == '/' || c == '-'))
			return false;
	}
	return true;
}

#define LIMIT_MAX 1000000000000000

bool limits_parse(const json_t *o, struct limits *l)
{
	int64_t v[7];

	if (!jx_members(o, "concurrency req_day req_min req_month tok_day tok_min tok_month") ||
	    !jx_int(o, "concurrency", 0, UINT32_MAX, &v[0]) ||
	    !jx_int(o, "req_day", 0, LIMIT_MAX, &v[1]) ||
	    !jx_int(o, "req_min", 0, LIMIT_MAX, &v[2]) ||
	    !jx_int(o, "req_month", 0, LIMIT_MAX, &v[3]) ||
	    !jx_int(o, "tok_day", 0, LIMIT_MAX, &v[4]) ||
	    !jx_int(o, "tok_min", 0, LIMIT_MAX, &v[5]) ||
	    !jx_int(o, "tok_month", 0, LIMIT_MAX, &v[6]))
		return false;
	*l = (struct limits){.concurrency = (uint32_t)v[0],
			     .req_day = (uint64_t)v[1],
			     .req_min = (uint64_t)v[2],
			     .req_month = (uint64_t)v[3],
			     .tok_day = (uint64_t)v[4],
			     .tok_min = (uint64_t)v[5],
			     .tok_month = (uint64_t)v[6]};
	return true;
}

void limits_write(struct jsonw *w, const struct limits *l)
{
	jw_obj(w);
	jw_kint(w, "concurrency", l->concurrency);
	jw_kint(w, "req_day", (int64_t)l->req_day);
	jw_kint(w, "req_min", (int64_t)l->req_min);
	jw_kint(w, "req_month", (int64_t)l->req_month);
	jw_kint(w, "tok_day", (int64_t)l->tok_day);
	jw_kint(w, "tok_min", (int64_t)l->tok_min);
	jw_kint(w, "tok_month", (int64_t)l->tok_month);
	jw_end_obj(w);
}

static bool models_parse(const json_t *a, struct settings *s)
{
	size_t n = json_array_size(a);

	if (!json_is_array(a) || n > MODELS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(a, i);
		struct model_row *m = &s->model[i];
		struct span name = jx_str(o, "name");

		if (!jx_members(o, "chat guard name sha256") || !model_name_ok(name) ||
		    !jx_bool(o, "chat", &m->chat) || !jx_bool(o, "guard", &m->guard) ||
		    !jx_hex(o, "sha256", m->sha256, 32))
			return false;
		memcpy(m->name, name.p, name.n);
		m->name[name.n] = '\0';
		for (size_t j = 0; j < i; j++)
			if (strcmp(s->model[j].name, m->name) == 0)
				return false;
	}
	s->n_models = (unsigned)n;
	return true;
}

bool settings_parse(const json_t *o, struct settings *out)
{
	const json_t *tiers = json_object_get(o, "tiers");
	struct span tz = jx_str(o, "timezone");
	struct settings s = {.ver = out->ver};

	if (!jx_members(o, "demo models policy tiers timezone") || !jx_bool(o, "demo", &s.demo) ||
	    !models_parse(json_object_get(o, "models"), &s) ||
	    !jx_hex(o, "policy", s.policy_sha256, 32) || tz.n == 0 || tz.n >= TZ_NAME ||
	    !model_name_ok(tz) || !json_is_array(tiers) || json_array_size(tiers) != TIER_COUNT)
		return false;
	memcpy(s.timezone, tz.p, tz.n);
	for (int t = 0; t < TIER_COUNT; t++) {
		const json_t *l = json_array_get(tiers, (size_t)t);

		if (!jx_members(l, "key org subject"))
			return false;
		for (int lv = 0; lv < LV_COUNT; lv++)
			if (!limits_parse(json_object_get(l, level_text(lv)), &s.tier[t][lv]))
				return false;
	}
	*out = s;
	return true;
}

void settings_write(struct jsonw *w, const struct settings *s)
{
	static const enum level order[] = {LV_KEY, LV_ORG, LV_SUBJECT};

	jw_obj(w);
	jw_kbool(w, "demo", s->demo);
	jw_key(w, "models");
	jw_arr(w);
	for (unsigned i = 0; i < s->n_models; i++) {
		jw_obj(w);
		jw_kbool(w, "chat", s->model[i].chat);
		jw_kbool(w, "guard", s->model[i].guard);
		jw_kcstr(w, "name", s->model[i].name);
		jw_khex(w, "sha256", s->model[i].sha256, 32);
		jw_end_obj(w);
	}
	jw_end_arr(w);
	jw_khex(w, "policy", s->policy_sha256, 32);
	jw_key(w, "tiers");
	jw_arr(w);
	for (int t = 0; t < TIER_COUNT; t++) {
		jw_obj(w);
		for (int i = 0; i < LV_COUNT; i++) {
			jw_key(w, level_text(order[i]));
			limits_write(w, &s->tier[t][order[i]]);
		}
		jw_end_obj(w);
	}
	jw_end_arr(w);
	jw_kcstr(w, "timezone", s->timezone);
	jw_end_obj(w);
}
