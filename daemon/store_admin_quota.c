/* store_admin_quota.c - limits of a key, subject or organisation: what stands, where it comes from,
 * what is used, and which level binds first. */
#include "store_admin_int.h"

struct chain {
	struct id id[LV_COUNT];
	bool has[LV_COUNT];
	uint8_t tier;
};

static bool chain_of(const struct store_admin *sa, struct span text, struct chain *c)
{
	const struct subject_row *s = NULL;
	const struct key_row *k;
	struct id id;

	memset(c, 0, sizeof(*c));
	if (id_parse("key", text, &id)) {
		k = aset_key(sa->a, &id);
		if (k == NULL)
			return false;
		c->id[LV_KEY] = id;
		c->has[LV_KEY] = true;
		s = aset_subject(sa->a, &k->sub);
	} else if (id_parse("sub", text, &id)) {
		s = aset_subject(sa->a, &id);
		if (s == NULL)
			return false;
	} else if (id_parse("org", text, &id)) {
		c->id[LV_ORG] = id;
		c->has[LV_ORG] = true;
		return true;
	} else {
		return false;
	}
	if (s) {
		c->id[LV_SUBJECT] = s->id;
		c->id[LV_ORG] = s->org;
		c->has[LV_SUBJECT] = c->has[LV_ORG] = true;
		c->tier = s->tier;
	}
	return true;
}

static void put_used(struct jsonw *w, const struct usage_row *u)
{
	jw_key(w, "used");
	jw_obj(w);
	jw_kint(w, "concurrency", u->concurrency);
	jw_kint(w, "requests_minute", (int64_t)u->req_min);
	jw_kint(w, "requests_day", (int64_t)u->req_day);
	jw_kint(w, "requests_month", (int64_t)u->req_month);
	jw_kint(w, "tokens_minute", (int64_t)u->tok_min);
	jw_kint(w, "tokens_day", (int64_t)u->tok_day);
	jw_kint(w, "tokens_month", (int64_t)u->tok_month);
	jw_end_obj(w);
}

/* Parts per thousand of the fullest limit of a level; its name in *which. */
static unsigned fullest(const struct limits *l, const struct usage_row *u, const char **which)
{
	const struct {
		const char *name;
		uint64_t limit, used;
	} all[] = {{"concurrency", l->concurrency, u->concurrency},
		   {"req_min", l->req_min, u->req_min},
		   {"req_day", l->req_day, u->req_day},
		   {"req_month", l->req_month, u->req_month},
		   {"tok_min", l->tok_min, u->tok_min},
		   {"tok_day", l->tok_day, u->tok_day},
		   {"tok_month", l->tok_month, u->tok_month}};
	unsigned best = 0;

	*which = "";
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		unsigned p;

		if (all[i].limit == 0)
			continue;
		p = (unsigned)((double)all[i].used * 1000 / (double)all[i].limit);
		if (**which == '\0' || p > best) {
			best = p;
			*which = all[i].name;
		}
	}
	return best;
}

struct shown {
	const char *which, *level;
	unsigned permille;
};

/* Members of one level; *best keeps the fullest limit seen. */
static void put_level(struct store_admin *sa, struct jsonw *w, const struct chain *c, enum level lv,
		      struct shown *best)
{
	static const char *const prefix[] = {"key", "sub", "org"};
	const struct quota_row *q = aset_quota(sa->a, lv, &c->id[lv]);
	const struct limits *l = q ? &q->lim : &aset_settings(sa->a)->tier[c->tier][lv];
	struct usage_row u;
	const char *which;
	char t[ID_TEXT_MAX];
	unsigned p;

	memset(&u, 0, sizeof(u));
	if (sa->cb.usage)
		sa->cb.usage(sa->cb.arg, lv, &c->id[lv], &u);
	jw_kcstr(w, "id", id_fmt(prefix[lv], &c->id[lv], t));
	jw_kcstr(w, "level", level_text(lv));
	jw_kcstr(w, "source", q ? "quota" : "tier");
	jw_kint(w, "ver", q ? q->ver : 0);
	jw_key(w, "limits");
	limits_write(w, l);
	put_used(w, &u);
	p = fullest(l, &u, &which);
	if (*which && (*best->which == '\0' || p > best->permille))
		*best = (struct shown){which, level_text(lv), p};
}

enum guard sa_read_quota(struct store_admin *sa, struct jsonw *w, struct span id, bool explain)
{
	struct shown best = {"", "", 0};
	struct chain c;
	char text[160];
	int asked = LV_KEY;

	if (aset_settings(sa->a) == NULL || !chain_of(sa, id, &c))
		return GD_NOT_FOUND;
	while (!c.has[asked])
		asked++;
	put_level(sa, w, &c, (enum level)asked, &best);
	if (!explain)
		return GD_OK;
	jw_key(w, "above");
	jw_arr(w);
	for (int lv = asked + 1; lv < LV_COUNT; lv++) {
		jw_obj(w);
		put_level(sa, w, &c, (enum level)lv, &best);
		jw_end_obj(w);
	}
	jw_end_arr(w);
	jw_key(w, "explain");
	jw_arr(w);
	jw_cstr(w, "A request must have room at every level: key, subject, organisation. 0 means "
		   "no limit.");
	if (*best.which) {
		snprintf(text, sizeof(text), "Fullest now: %s of the %s, %u.%u %% used.",
			 best.which, best.level, best.permille / 10, best.permille % 10);
		jw_cstr(w, text);
	}
	jw_cstr(w, "Raising a limit is a case that two officers sign.");
	jw_end_arr(w);
	return GD_OK;
}
