/* cmd_case.c - cases: four eyes over every sensitive change. What is signed is the digest that this
 * command computes from the body it shows; a daemon that shows one thing and asks a signature for
 * another gets none. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sign.h"

static const char case_help[] =
    "usage: sallyport case VERB\n"
    "  ls                                           all cases\n"
    "  show ID                                      what would be signed; recomputes its digest\n"
    "  propose ID --key FILE --reason CODE:text     the first signature\n"
    "  sign ID --key FILE --reason CODE:text        the second, by another officer\n"
    "  refuse ID | withdraw ID --key FILE --reason CODE:text\n"
    "\n"
    "ID is cas_... or the case's number. propose and sign print this officer's half of the "
    "enrolment code;\n"
    "give each half to the user by its own way. sign exits 7 while more signatures are needed.\n"
    "\n"
    "  sallyport case show 1\n"
    "  sallyport case propose 1 --key ann.key --reason APPROVE:'identity card seen'\n"
    "  sallyport case sign 1 --key bao.key --reason APPROVE:'checked' -o json\n";

struct shown {
	json_t *doc;
	struct case_payload p;
	uint8_t digest[32];
	bool digest_ok;		/* the daemon's digest is that of the body it shows */
	bool has_name, name_ok; /* sealed text came; it fits the commitment in the body */
	char name[OKEY_NAME], org_name[OKEY_NAME];
	int64_t ver;
};

static void read_sealed(struct shown *c)
{
	static uint8_t raw[SEALED_TEXT + 32];
	struct span b64 = jx_str(c->doc, "sealed"), name, org;
	uint8_t digest[32];
	json_t *party;
	size_t n = 0;

	c->has_name = b64.n != 0 && c->p.kind == CK_ONBOARD;
	if (!c->has_name ||
	    sodium_base642bin(raw, sizeof(raw), b64.p, b64.n, NULL, &n, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    n < 32)
		return;
	commit_digest(raw, span_of(raw + 32, n - 32), digest);
	c->name_ok = memcmp(digest, c->p.subject.party, 32) == 0;
	party = canon_parse_any(span_of(raw + 32, n - 32), NULL);
	name = jx_str(party, "name");
	org = jx_str(party, "org_name");
	if (c->name_ok && okey_name_ok(name))
		memcpy(c->name, name.p, name.n);
	if (c->name_ok && okey_name_ok(org))
		memcpy(c->org_name, org.p, org.n);
	json_decref(party);
	sodium_memzero(raw, sizeof(raw));
}

static int case_load(const char *id, struct shown *c)
{
	char route[128];
	uint8_t says[32];
	struct span body;
	struct err err;
	json_t *o;
	int rc = noun_route("/cases", id, "", route, sizeof(route));

	memset(c, 0, sizeof(*c));
	if (rc == X_OK)
		rc = cli_call("GET", route, NULL, &c->doc);
	if (rc != X_OK)
		return rc;
	body = jx_str(c->doc, "body");
	o = body.p ? canon_parse(body, &err) : NULL;
	if (o == NULL || !case_parse(o, &c->p) || !jx_int(c->doc, "ver", 0, UINT32_MAX, &c->ver))
		rc = cli_fail(X_FAIL, "the daemon's answer has no case this release can read");
	json_decref(o);
	if (rc != X_OK)
		return rc;
	case_digest(&c->p, c->digest);
	c->digest_ok = jx_hex(c->doc, "digest", says, 32) && memcmp(says, c->digest, 32) == 0;
	read_sealed(c);
	return X_OK;
}

static void put_time(const char *what, int64_t ms)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;
	char text[64];

	localtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M %z", &tm);
	printf("%-10s%s\n", what, ms ? text : "never");
}

static void put_limits(const struct limits *l)
{
	printf("limits    concurrency %u; requests a minute %llu, day %llu, month %llu; tokens a "
	       "minute "
	       "%llu, day %llu, month %llu (0 = none)\n",
	       l->concurrency, (unsigned long long)l->req_min, (unsigned long long)l->req_day,
	       (unsigned long long)l->req_month, (unsigned long long)l->tok_min,
	       (unsigned long long)l->tok_day, (unsigned long long)l->tok_month);
}

/* The payload in words: everything that the signature covers. */
static void put_payload(const struct shown *c)
{
	const struct subject_row *s = &c->p.subject;
	char t[ID_TEXT_MAX];
	char *text;

	if (!id_is_zero(&s->id))
		printf("subject   %s\n", id_fmt("sub", &s->id, t));
	if (c->p.kind == CK_ONBOARD) {
		printf("name      ");
		noun_put_clean(c->name_ok    ? c->name
			       : c->has_name ? "DOES NOT FIT what would be signed"
					     : "(sealed; not shown here)");
		printf("\nkind      %s\norg       %s  ", subject_kind_text(s->kind),
		       id_fmt("org", &s->org, t));
		noun_put_clean(c->org_name);
		putchar('\n');
		if (!id_is_zero(&s->officer))
			printf("is        %s\n", id_fmt("off", &s->officer, t));
		if (!id_is_zero(&s->sponsor))
			printf("sponsor   %s\n", id_fmt("off", &s->sponsor, t));
		put_time("until", s->expires);
	}
	if (c->p.kind == CK_ONBOARD || c->p.kind == CK_TIER)
		printf("tier      %u\n", s->tier);
	if (c->p.kind == CK_ONBOARD || c->p.kind == CK_CODE)
		printf("binding   %s\n", binding_text(c->p.binding));
	if (c->p.kind == CK_QUOTA) {
		static const char *const prefix[] = {"key", "sub", "org"};

		printf("quota     %s\n", id_fmt(prefix[c->p.quota.level], &c->p.quota.id, t));
		put_limits(&c->p.quota.lim);
	}
	if (c->p.kind == CK_UNLOCK)
		printf("unlock    %s %s%s\n", lock_scope_text(c->p.lock.scope), c->p.lock.model,
		       id_is_zero(&c->p.lock.id)
			   ? ""
			   : id_fmt(c->p.lock.scope == LOCK_ORG ? "org" : "sub", &c->p.lock.id, t));
	if (c->p.kind == CK_SETTINGS) {
		text = json_dumps(json_object_get(c->doc, "body"), JSON_ENCODE_ANY);
		printf("settings  %s\n", text ? text : "?");
		free(text);
	}
}

static void put_case(const struct shown *c)
{
	char t[ID_TEXT_MAX], hex[65], *signers;

	sodium_bin2hex(hex, sizeof(hex), c->digest, 32);
	signers = json_dumps(json_object_get(c->doc, "signers"), JSON_COMPACT);
	printf("case      %s  number %lld\nkind      %s\nstate     %s\n",
	       id_fmt("cas", &c->p.id, t),
	       (long long)json_integer_value(json_object_get(c->doc, "num")),
	       case_kind_text(c->p.kind), noun_str(c->doc, "state_word"));
	put_payload(c);
	printf("signed by %s\ndigest    %s%s\n", signers ? signers : "-", hex,
	       c->digest_ok ? " (recomputed from the body: fits)" : "");
	free(signers);
}

/* deciding: the name must have been shown, nobody vouches for a commitment. */
static int must_fit(const struct shown *c, bool deciding)
{
	if (!c->digest_ok)
		return cli_fail(
		    X_CONFLICT,
		    "the digest the daemon names is not that of the body it shows: somebody "
		    "changed one of them. Nothing was signed; tell the other officers.");
	if (c->has_name && !c->name_ok)
		return cli_fail(X_CONFLICT,
				"the name shown does not fit the commitment that would be signed. "
				"Nothing was signed; tell the other officers.");
	if (deciding && c->p.kind == CK_ONBOARD && c->name[0] == '\0')
		return cli_fail(X_CONFLICT,
				"the daemon does not show whose case this is. Nothing was "
				"signed; tell the host's operator.");
	return X_OK;
}

/* What the daemon says beside the body is replaced by what was checked. */
static void put_checked(struct shown *c)
{
	json_object_set_new(c->doc, "digest_ok", json_boolean(c->digest_ok));
	json_object_set_new(c->doc, "name_ok", json_boolean(c->name_ok));
	json_object_set_new(c->doc, "name", c->name[0] ? json_string(c->name) : json_null());
	json_object_set_new(c->doc, "org_name",
			    c->org_name[0] ? json_string(c->org_name) : json_null());
	cli_print(c->doc, NULL, NULL);
}

static int verb_show(int argc, char **argv)
{
	const struct opt opts[] = {{0}};
	const char *pos[1];
	struct shown c = {0};
	int rc = noun_opts(argc, argv, opts, pos, 1, "case show ID");

	if (rc == X_OK)
		rc = case_load(pos[0], &c);
	if (rc == X_OK) {
		cli_banner();
		if (cli.out == OUT_TABLE)
			put_case(&c);
		else
			put_checked(&c);
		rc = must_fit(&c, false);
	}
	json_decref(c.doc);
	return rc;
}

/* Prints the outcome, gives the exit code. */
static int put_result(const struct signer *s, enum verb v, const struct shown *c, json_t *reply)
{
	bool waits = json_is_true(json_object_get(reply, "waits"));
	char half[CODE_HALF_TEXT] = "", t[ID_TEXT_MAX], hex[65];
	int rc = signer_code_half(s, reply, v == VB_CASE_PROPOSE ? 'A' : 'B', half);

	if (rc != X_OK)
		return rc;
	sodium_bin2hex(hex, sizeof(hex), c->digest, 32);
	cli_banner();
	if (cli.out == OUT_JSON || cli.out == OUT_JSONL) {
		json_object_set_new(reply, "case", json_string(id_fmt("cas", &c->p.id, t)));
		json_object_set_new(reply, "digest", json_string(hex));
		json_object_set_new(reply, "code_half", half[0] ? json_string(half) : json_null());
		json_object_del(reply, "code_box");
		cli_print(reply, NULL, NULL);
	} else {
		printf("%s %s\ndigest  %s\n", verb_text(v),
		       waits ? "done; waits for another signature" : "done", hex);
		if (half[0])
			printf("half    %s\n        give it to the user yourself; nobody else has "
			       "it\n",
			       half);
	}
	sodium_memzero(half, sizeof(half));
	return v == VB_CASE_SIGN && waits ? X_WAITS : X_OK;
}

static int decide(int argc, char **argv, enum verb v)
{
	const char *key = NULL, *reason = NULL, *pos[1];
	const struct opt opts[] = {
	    {.name = "key", .value = &key}, {.name = "reason", .value = &reason}, {0}};
	struct stmt st = {.verb = v, .has_case = true};
	struct shown c = {0};
	struct signer s;
	json_t *reply = NULL;
	char usage[96];
	int rc;

	snprintf(usage, sizeof(usage), "case %s ID --key FILE --reason CODE:text", argv[1]);
	rc = noun_opts(argc, argv, opts, pos, 1, usage);
	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = signer_reason(&s, reason, &st);
	if (rc == X_OK)
		rc = case_load(pos[0], &c);
	if (rc == X_OK)
		rc = must_fit(&c, v == VB_CASE_PROPOSE || v == VB_CASE_SIGN);
	if (rc == X_OK) {
		if (cli.out == OUT_TABLE)
			put_case(&c);
		st.target = c.p.id;
		st.ver = (uint32_t)c.ver;
		memcpy(st.case_digest, c.digest, 32);
		rc = signer_send(&s, &st, &reply);
	}
	if (rc == X_OK && reply)
		rc = put_result(&s, v, &c, reply);
	json_decref(reply);
	json_decref(c.doc);
	signer_close(&s);
	return rc;
}

static int verb_propose(int argc, char **argv)
{
	return decide(argc, argv, VB_CASE_PROPOSE);
}

static int verb_sign(int argc, char **argv)
{
	return decide(argc, argv, VB_CASE_SIGN);
}

static int verb_refuse(int argc, char **argv)
{
	return decide(argc, argv, VB_CASE_REFUSE);
}

static int verb_withdraw(int argc, char **argv)
{
	return decide(argc, argv, VB_CASE_WITHDRAW);
}

static int verb_ls(int argc, char **argv)
{
	static const struct col cols[] = {{"num", "CASE"},
					  {"kind", "KIND"},
					  {"state_word", "STATE"},
					  {"subject", "SUBJECT"},
					  {"waits_for", "WAITS FOR"},
					  {"id", "ID"},
					  {NULL, NULL}};
	const struct opt opts[] = {{0}};
	int rc = noun_opts(argc, argv, opts, NULL, 0, "case ls");

	return rc != X_OK ? rc : noun_list("/cases", "cases", cols);
}

int cmd_case(int argc, char **argv)
{
	static const struct verb_fn verbs[] = {{"ls", verb_ls},
					       {"show", verb_show},
					       {"propose", verb_propose},
					       {"sign", verb_sign},
					       {"refuse", verb_refuse},
					       {"withdraw", verb_withdraw},
					       {0}};

	return noun_run(argc, argv, verbs, case_help);
}
