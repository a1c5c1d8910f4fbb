/* cmd_subject.c - who may ask. A new subject is a case; personal data goes only into the sealed
 * part, the statement holds a commitment to it. */
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>
#include <utf8proc.h>

#include "clock.h"
#include "sign.h"

static const char subject_help[] =
    "usage: sallyport subject VERB\n"
    "  new --name NAME --org ORG --tier 0..3 --key FILE   open an onboarding case\n"
    "      [--days N | --days never] [--service] [--binding none|cert] [--self OFFICER] [--sponsor "
    "OFFICER]\n"
    "  suspend ID --key FILE --reason CODE:text           stop at once; one officer is enough\n"
    "  code ID --key FILE [--binding none|cert]           open a case for a new enrolment code\n"
    "  tier ID TIER --key FILE                            open a case for another tier\n"
    "  reinstate ID | close ID --key FILE                 open a case\n"
    "  ls | show ID\n"
    "\n"
    "ORG is an id org_... or a name; the same name gives the same organisation in this realm. NAME "
    "is\n"
    "sealed. Access ends after --days (365). --self: the officer who is this very person; "
    "--sponsor: the\n"
    "officer who vouches. Neither may decide the case.\n"
    "\n"
    "  sallyport subject new --name 'Demo Person' --org 'Demo Org' --tier 1 --key ann.key -o json\n"
    "  sallyport subject suspend sub_... --key ann.key --reason COMPROMISE:'key seen in a chat'\n";

#define USAGE_NEW "subject new --name NAME --org ORG --tier N --key FILE"
#define DAY_MS 86400000ll

struct words {
	const char *name, *org, *tier, *key, *days, *service, *binding, *self, *sponsor;
};

/* First 128 bits of BLAKE2b-256 keyed with the genesis digest, over the name NFKC-normalised and
 * casefolded (doc/formats.md 10.3). */
static int org_id(const struct realm *r, const char *org, struct id *out)
{
	uint8_t digest[32];
	utf8proc_uint8_t *folded = NULL;
	utf8proc_ssize_t n;

	if (id_parse("org", span_cstr(org), out))
		return X_OK;
	if (strncmp(org, "org_", 4) == 0 || !okey_name_ok(span_cstr(org)))
		return cli_fail(X_USAGE, "--org is an id org_... or a name of 1 to %d bytes",
				OKEY_NAME - 1);
	n = utf8proc_map((const utf8proc_uint8_t *)org, 0, &folded,
			 UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
			     UTF8PROC_CASEFOLD);
	if (n <= 0) {
		free(folded);
		return cli_fail(X_USAGE, "--org: the name is not UTF-8");
	}
	crypto_generichash(digest, sizeof(digest), folded, (unsigned long long)n, r->digest, 32);
	memcpy(out->b, digest, ID_BYTES);
	free(folded);
	return X_OK;
}

static int officer_id(const char *what, const char *text, struct id *out)
{
	if (text == NULL || id_parse("off", span_cstr(text), out))
		return X_OK;
	return cli_fail(X_USAGE, "%s is an officer's id (sallyport officer ls)", what);
}

static int tier_of(const char *s, uint8_t *out)
{
	if (s == NULL || s[0] < '0' || s[0] >= '0' + TIER_COUNT || s[1])
		return cli_fail(X_USAGE, "the tier is 0, 1, 2 or 3");
	*out = (uint8_t)(s[0] - '0');
	return X_OK;
}

static int expiry(const char *days, int64_t now, int64_t *out)
{
	char *end;
	unsigned long n = days ? strtoul(days, &end, 10) : 365;

	*out = 0;
	if (days && strcmp(days, "never") == 0)
		return X_OK;
	if (days && (days[0] < '0' || days[0] > '9' || *end))
		n = 0;
	if (n == 0 || n > 3650)
		return cli_fail(X_USAGE, "--days is 1 to 3650, or never");
	*out = now + (int64_t)n * DAY_MS;
	return X_OK;
}

static int binding_of(const char *s, enum binding *out)
{
	int b = s ? binding_from(span_cstr(s)) : BIND_NONE;

	if (b < 0 || b == BIND_NETWORK)
		return cli_fail(X_USAGE, "--binding is none or cert");
	*out = (enum binding)b;
	return X_OK;
}

/* {"name","org_name","v"}: what only entitled people may read. */
static int seal_party(struct signer *s, const struct words *w, uint8_t party[32])
{
	struct buf b = BUF_INIT(SEALED_TEXT);
	struct jsonw j;
	int rc;

	jw_init(&j, &b);
	jw_obj(&j);
	jw_kcstr(&j, "name", w->name);
	jw_kcstr(&j, "org_name", w->org);
	jw_kint(&j, "v", 1);
	jw_end_obj(&j);
	rc = buf_ok(&b) ? signer_seal(s, buf_span(&b), party)
			: cli_fail(X_USAGE, "--name is too long");
	buf_wipe_free(&b);
	return rc;
}

static int plan_subject(struct signer *s, const struct words *w, struct case_payload *p)
{
	struct subject_row *r = &p->subject;
	int rc;

	p->kind = CK_ONBOARD;
	r->id = id_random();
	r->kind = w->service ? SK_SERVICE : SK_PERSON;
	rc = org_id(&s->realm, w->org, &r->org);
	if (rc == X_OK)
		rc = tier_of(w->tier, &r->tier);
	if (rc == X_OK)
		rc = expiry(w->days, clock_wall_ms(), &r->expires);
	if (rc == X_OK)
		rc = binding_of(w->binding, &p->binding);
	if (rc == X_OK)
		rc = officer_id("--self", w->self, &r->officer);
	if (rc == X_OK)
		rc = officer_id("--sponsor", w->sponsor, &r->sponsor);
	return rc == X_OK ? seal_party(s, w, r->party) : rc;
}

/* What was opened, and what comes next. */
static void put_opened(const struct case_payload *p, const json_t *reply)
{
	char cas[ID_TEXT_MAX], sub[ID_TEXT_MAX], org[ID_TEXT_MAX], hex[65];
	uint8_t digest[32];
	json_t *o;

	case_digest(p, digest);
	sodium_bin2hex(hex, sizeof(hex), digest, 32);
	id_fmt("cas", &p->id, cas);
	id_fmt("sub", &p->subject.id, sub);
	cli_banner();
	if (cli.out == OUT_JSON || cli.out == OUT_JSONL) {
		o = json_pack("{s:i, s:b, s:s, s:s, s:s, s:s, s:O?}", "schema_version", 1, "demo",
			      cli.demo, "case", cas, "kind", case_kind_text(p->kind), "subject",
			      sub, "digest", hex, "num", json_object_get(reply, "num"));
		if (o && p->kind == CK_ONBOARD)
			json_object_set_new(o, "org",
					    json_string(id_fmt("org", &p->subject.org, org)));
		cli_print(o, NULL, NULL);
		json_decref(o);
		return;
	}
	printf("case     %s (%s)\nsubject  %s\ndigest   %s\n", cas, case_kind_text(p->kind), sub,
	       hex);
	fprintf(stderr,
		"Next: sallyport case propose %s --key FILE --reason APPROVE:text, then another "
		"officer: sallyport case sign\n",
		cas);
}

static int verb_new(int argc, char **argv)
{
	struct words w = {0};
	const struct opt opts[] = {{.name = "name", .value = &w.name},
				   {.name = "org", .value = &w.org},
				   {.name = "tier", .value = &w.tier},
				   {.name = "key", .value = &w.key},
				   {.name = "days", .value = &w.days},
				   {.name = "service", .flag = true, .value = &w.service},
				   {.name = "binding", .value = &w.binding},
				   {.name = "self", .value = &w.self},
				   {.name = "sponsor", .value = &w.sponsor},
				   {0}};
	struct case_payload p = {0};
	struct signer s;
	json_t *reply = NULL;
	int rc = noun_opts(argc, argv, opts, NULL, 0, USAGE_NEW);

	if (rc != X_OK)
		return rc;
	if (w.name == NULL || w.org == NULL || w.tier == NULL || !okey_name_ok(span_cstr(w.name)))
		return cli_fail(X_USAGE, "usage: sallyport " USAGE_NEW);
	rc = signer_open(&s, w.key);
	if (rc == X_OK)
		rc = plan_subject(&s, &w, &p);
	if (rc == X_OK)
		rc = signer_open_case(&s, &p, &reply);
	if (rc == X_OK && reply)
		put_opened(&p, reply);
	json_decref(reply);
	signer_close(&s);
	return rc;
}

/* The subject as it stands now: its id and version. */
static int subject_now(const char *id, struct id *out, uint32_t *ver)
{
	char route[128];
	json_t *o = NULL;
	int64_t v = 0;
	int rc = noun_route("/subjects", id, "", route, sizeof(route));

	if (rc == X_OK)
		rc = cli_call("GET", route, NULL, &o);
	if (rc == X_OK && (!jx_id(o, "id", "sub", out) || !jx_int(o, "ver", 0, UINT32_MAX, &v)))
		rc = cli_fail(X_FAIL, "the daemon's answer has no id and version");
	*ver = (uint32_t)v;
	json_decref(o);
	return rc;
}

static int verb_suspend(int argc, char **argv)
{
	const char *key = NULL, *reason = NULL, *pos[1];
	const struct opt opts[] = {
	    {.name = "key", .value = &key}, {.name = "reason", .value = &reason}, {0}};
	struct stmt st = {.verb = VB_SUBJECT_SUSPEND};
	struct signer s;
	json_t *reply = NULL;
	int rc =
	    noun_opts(argc, argv, opts, pos, 1, "subject suspend ID --key FILE --reason CODE:text");

	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = signer_reason(&s, reason, &st);
	if (rc == X_OK)
		rc = subject_now(pos[0], &st.target, &st.ver);
	if (rc == X_OK)
		rc = signer_send(&s, &st, &reply);
	if (rc == X_OK && reply)
		reply_done(
		    reply,
		    "suspended; reinstating needs two officers: sallyport subject reinstate");
	json_decref(reply);
	signer_close(&s);
	return rc;
}

/* code, tier, reinstate, close: a case about a subject that exists. */
static int open_about(int argc, char **argv, enum case_kind kind)
{
	const char *key = NULL, *binding = NULL, *pos[2];
	const struct opt opts[] = {
	    {.name = "key", .value = &key}, {.name = "binding", .value = &binding}, {0}};
	struct case_payload p = {.kind = kind};
	struct signer s;
	json_t *reply = NULL;
	int rc = noun_opts(argc, argv, opts, pos, kind == CK_TIER ? 2 : 1,
			   kind == CK_TIER ? "subject tier ID TIER --key FILE"
					   : "subject code|reinstate|close ID --key FILE");

	if (rc == X_OK && kind == CK_TIER)
		rc = tier_of(pos[1], &p.subject.tier);
	if (rc == X_OK)
		rc = binding_of(binding, &p.binding);
	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = subject_now(pos[0], &p.subject.id, &p.ver);
	if (rc == X_OK)
		rc = signer_open_case(&s, &p, &reply);
	if (rc == X_OK && reply)
		put_opened(&p, reply);
	json_decref(reply);
	signer_close(&s);
	return rc;
}

static int verb_code(int argc, char **argv)
{
	return open_about(argc, argv, CK_CODE);
}

static int verb_tier(int argc, char **argv)
{
	return open_about(argc, argv, CK_TIER);
}

static int verb_reinstate(int argc, char **argv)
{
	return open_about(argc, argv, CK_REINSTATE);
}

static int verb_close(int argc, char **argv)
{
	return open_about(argc, argv, CK_CLOSE);
}

static int verb_ls(int argc, char **argv)
{
	static const struct col cols[] = {{"id", "SUBJECT"}, {"state_word", "STATE"},
					  {"tier", "TIER"},  {"org", "ORGANISATION"},
					  {"name", "NAME"},  {NULL, NULL}};
	const struct opt opts[] = {{0}};
	int rc = noun_opts(argc, argv, opts, NULL, 0, "subject ls");

	return rc != X_OK ? rc : noun_list("/subjects", "subjects", cols);
}

static int verb_show(int argc, char **argv)
{
	const struct opt opts[] = {{0}};
	const char *pos[1];
	char route[128];
	int rc = noun_opts(argc, argv, opts, pos, 1, "subject show ID");

	if (rc == X_OK)
		rc = noun_route("/subjects", pos[0], "", route, sizeof(route));
	return rc != X_OK ? rc : noun_list(route, NULL, NULL);
}

int cmd_subject(int argc, char **argv)
{
	static const struct verb_fn verbs[] = {{"new", verb_new},
					       {"ls", verb_ls},
					       {"show", verb_show},
					       {"suspend", verb_suspend},
					       {"code", verb_code},
					       {"tier", verb_tier},
					       {"reinstate", verb_reinstate},
					       {"close", verb_close},
					       {0}};

	return noun_run(argc, argv, verbs, subject_help);
}
