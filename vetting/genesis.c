/* genesis.c - see genesis.h. */
#include "genesis.h"

static const char *const profiles[] = {"demo", "small", "bank", "provider"};

const char *profile_text(enum profile p)
{
	return (unsigned)p < 4 ? profiles[p] : "?";
}

int profile_from(struct span s)
{
	for (int i = 0; i < 4; i++)
		if (span_eq(s, span_cstr(profiles[i])))
			return i;
	return -1;
}

static bool vkey_ok(struct span s)
{
	if (s.n < 8 || s.n >= VKEY_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

static int officers_parse(const json_t *a, struct genesis *g, struct err *err)
{
	size_t n = json_array_size(a);

	if (!json_is_array(a) || n < 2 || n > OFFICERS_MAX)
		return err_set(err, E_RANGE, "%zu officers, allowed 2 to %d", n, OFFICERS_MAX);
	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(a, i);

		if (!jx_members(o, "id name_commit pub") ||
		    !jx_id(o, "id", "off", &g->officer[i].id) ||
		    !jx_hex(o, "name_commit", g->officer[i].name_commit, 32) ||
		    !jx_hex(o, "pub", g->officer[i].pub, 32))
			return err_set(err, E_FORMAT, "officer %zu is malformed", i + 1);
		for (size_t j = 0; j < i; j++)
			if (id_eq(&g->officer[i].id, &g->officer[j].id) ||
			    memcmp(g->officer[i].pub, g->officer[j].pub, 32) == 0)
				return err_set(err, E_CONFLICT, "officers %zu and %zu are the same",
					       j + 1, i + 1);
	}
	g->n_officers = (unsigned)n;
	return E_OK;
}

static int members_parse(const json_t *o, struct genesis *g, struct err *err)
{
	struct span vkey = jx_str(o, "log_vkey");
	int profile = jx_enum(o, "profile", profile_from);
	const json_t *rec = json_object_get(o, "recovery");
	int64_t v, quorum;

	if (!jx_members(o, "deployment log_vkey officers profile quorum recovery settings ts v") ||
	    !jx_id(o, "deployment", "dep", &g->deployment) || !vkey_ok(vkey) || profile < 0 ||
	    !jx_int(o, "quorum", 2, OFFICERS_MAX, &quorum) || !json_is_array(rec) ||
	    json_array_size(rec) != 0 || !jx_int(o, "ts", 0, INT64_MAX, &g->ts) ||
	    !jx_int(o, "v", 1, 1, &v) ||
	    !settings_parse(json_object_get(o, "settings"), &g->settings))
		return err_set(err, E_FORMAT, "genesis without exactly its members");
	memcpy(g->log_vkey, vkey.p, vkey.n);
	g->profile = (enum profile)profile;
	g->quorum = (unsigned)quorum;
	g->settings.ver = 1;
	if (g->settings.demo != (g->profile == PR_DEMO))
		return err_set(err, E_FORMAT, "settings.demo must be true in profile demo only");
	return officers_parse(json_object_get(o, "officers"), g, err);
}

int genesis_parse(struct span doc, struct genesis *out, struct err *err)
{
	json_t *o = canon_parse(doc, err);
	int rc;

	if (o == NULL)
		return E_FORMAT;
	memset(out, 0, sizeof(*out));
	rc = members_parse(o, out, err);
	if (rc == E_OK && out->quorum > out->n_officers)
		rc =
		    err_set(err, E_RANGE, "quorum %u of %u officers", out->quorum, out->n_officers);
	json_decref(o);
	return rc;
}

int genesis_write(const struct genesis *g, struct buf *out)
{
	struct jsonw w;
	char t[ID_TEXT_MAX];

	jw_init(&w, out);
	jw_obj(&w);
	jw_kcstr(&w, "deployment", id_fmt("dep", &g->deployment, t));
	jw_kcstr(&w, "log_vkey", g->log_vkey);
	jw_key(&w, "officers");
	jw_arr(&w);
	for (unsigned i = 0; i < g->n_officers; i++) {
		jw_obj(&w);
		jw_kcstr(&w, "id", id_fmt("off", &g->officer[i].id, t));
		jw_khex(&w, "name_commit", g->officer[i].name_commit, 32);
		jw_khex(&w, "pub", g->officer[i].pub, 32);
		jw_end_obj(&w);
	}
	jw_end_arr(&w);
	jw_kcstr(&w, "profile", profile_text(g->profile));
	jw_kint(&w, "quorum", g->quorum);
	jw_key(&w, "recovery");
	jw_arr(&w);
	jw_end_arr(&w);
	jw_key(&w, "settings");
	settings_write(&w, &g->settings);
	jw_kint(&w, "ts", g->ts);
	jw_kint(&w, "v", 1);
	jw_end_obj(&w);
	return buf_ok(out) ? E_OK : E_RANGE;
}

void genesis_words(const uint8_t digest[32], char out[GENESIS_WORDS])
{
	size_t n = 0;

	for (int i = 0; i < 8; i++)
		n += (size_t)snprintf(out + n, GENESIS_WORDS - n, "%s%s", i ? " " : "",
				      genesis_word_list[digest[i]]);
}
