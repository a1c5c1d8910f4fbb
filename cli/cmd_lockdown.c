/* cmd_lockdown.c - stopping needs one officer, letting go needs two. */
#include <stdio.h>

#include "sign.h"

static const char lockdown_help[] =
    "usage: sallyport lockdown VERB\n"
    "  all | subject ID | org ID | model NAME  --key FILE --reason CODE:text   stop within a "
    "second\n"
    "  lift all | lift subject ID | lift org ID | lift model NAME  --key FILE  open a case; two "
    "sign it\n"
    "  ls                                                                      what is stopped\n"
    "\n"
    "  sallyport lockdown all --key ann.key --reason COMPROMISE:'odd answers since noon'\n"
    "  sallyport lockdown lift all --key ann.key; sallyport case propose ...; sallyport case sign "
    "...\n";

/* "all", or a scope and its target. */
static int lock_of(const char *scope, const char *target, struct lock_row *l)
{
	int s = lock_scope_from(span_cstr(scope));
	bool ok = true;

	memset(l, 0, sizeof(*l));
	if (s < 0)
		return cli_fail(X_USAGE, "'%.40s' is neither all, subject, org nor model", scope);
	l->scope = (enum lock_scope)s;
	if ((l->scope == LOCK_ALL) != (target == NULL))
		return cli_fail(X_USAGE,
				l->scope == LOCK_ALL ? "all takes no argument"
						     : "%s needs an id or a model's name",
				scope);
	if (l->scope == LOCK_SUBJECT)
		ok = id_parse("sub", span_cstr(target), &l->id);
	else if (l->scope == LOCK_ORG)
		ok = id_parse("org", span_cstr(target), &l->id);
	else if (l->scope == LOCK_MODEL)
		ok = model_name_ok(span_cstr(target)) &&
		     snprintf(l->model, sizeof(l->model), "%s", target) < MODEL_NAME;
	return ok ? X_OK
		  : cli_fail(X_USAGE, "'%.60s' is no %s%s", target, scope,
			     l->scope == LOCK_MODEL ? "'s name" : " id");
}

static bool same(const struct lock_row *a, const struct lock_row *b)
{
	return a->scope == b->scope && id_eq(&a->id, &b->id) && strcmp(a->model, b->model) == 0;
}

/* What stands of this lock now: its version (0 = never set). */
static int lock_now(struct lock_row *l, uint32_t *ver)
{
	json_t *o = NULL, *row;
	struct lock_row r;
	int64_t v;
	size_t i;
	int rc = cli_call("GET", "/settings", NULL, &o);

	*ver = 0;
	json_array_foreach(json_object_get(o, "lockdowns"), i, row)
	{
		if (!lock_target_parse(row, &r) || !same(&r, l) ||
		    !jx_int(row, "ver", 0, UINT32_MAX, &v))
			continue;
		*ver = (uint32_t)v;
		l->on = json_is_true(json_object_get(row, "on"));
	}
	json_decref(o);
	return rc;
}

static int set_lock(int argc, char **argv)
{
	const char *key = NULL, *reason = NULL, *pos[1];
	const struct opt opts[] = {
	    {.name = "key", .value = &key}, {.name = "reason", .value = &reason}, {0}};
	bool all = strcmp(argv[1], "all") == 0;
	struct stmt st = {.verb = VB_LOCKDOWN_SET};
	struct signer s;
	json_t *reply = NULL;
	int rc = noun_opts(
	    argc, argv, opts, pos, all ? 0 : 1,
	    "lockdown all | subject ID | org ID | model NAME --key FILE --reason CODE:text");

	if (rc == X_OK)
		rc = lock_of(argv[1], all ? NULL : pos[0], &st.lock);
	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = signer_reason(&s, reason, &st);
	if (rc == X_OK)
		rc = lock_now(&st.lock, &st.ver);
	if (rc == X_OK)
		rc = signer_send(&s, &st, &reply);
	if (rc == X_OK && reply)
		reply_done(reply,
			   "stopped; letting go needs two officers: sallyport lockdown lift");
	json_decref(reply);
	signer_close(&s);
	return rc;
}

static void put_lift(const struct case_payload *p)
{
	char cas[ID_TEXT_MAX];
	json_t *o;

	id_fmt("cas", &p->id, cas);
	if (cli.out == OUT_TABLE) {
		printf("case  %s\n", cas);
		fprintf(
		    stderr,
		    "Next: sallyport case propose %s, then another officer: sallyport case sign\n",
		    cas);
		return;
	}
	o = json_pack("{s:i, s:b, s:s, s:s}", "schema_version", 1, "demo", cli.demo, "case", cas,
		      "kind", case_kind_text(p->kind));
	cli_print(o, NULL, NULL);
	json_decref(o);
}

static int verb_lift(int argc, char **argv)
{
	const char *key = NULL, *pos[2] = {NULL, NULL};
	const struct opt opts[] = {{.name = "key", .value = &key}, {0}};
	struct case_payload p = {.kind = CK_UNLOCK};
	struct signer s;
	json_t *reply = NULL;
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 2, &npos);

	if (rc == X_OK && npos == 0)
		rc = cli_fail(
		    X_USAGE,
		    "usage: sallyport lockdown lift all | subject ID | org ID | model NAME "
		    "--key FILE");
	if (rc == X_OK)
		rc = lock_of(pos[0], npos == 2 ? pos[1] : NULL, &p.lock);
	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = lock_now(&p.lock, &p.ver);
	if (rc == X_OK && !p.lock.on)
		rc = cli_fail(X_CONFLICT, "no such lockdown stands; sallyport lockdown ls");
	if (rc == X_OK)
		rc = signer_open_case(&s, &p, &reply);
	if (rc == X_OK && reply)
		put_lift(&p);
	json_decref(reply);
	signer_close(&s);
	return rc;
}

static int verb_ls(int argc, char **argv)
{
	static const struct col cols[] = {{"scope", "SCOPE"},
					  {"target", "TARGET"},
					  {"on", "STANDS"},
					  {"ver", "VERSION"},
					  {NULL, NULL}};
	const struct opt opts[] = {{0}};
	json_t *o = NULL, *doc;
	int rc = noun_opts(argc, argv, opts, NULL, 0, "lockdown ls");

	if (rc == X_OK)
		rc = cli_call("GET", "/settings", NULL, &o);
	if (rc != X_OK)
		return rc;
	doc = json_pack("{s:i, s:b, s:O}", "schema_version", 1, "demo", cli.demo, "lockdowns",
			json_object_get(o, "lockdowns"));
	cli_banner();
	cli_print(doc, "lockdowns", cols);
	json_decref(doc);
	json_decref(o);
	return X_OK;
}

int cmd_lockdown(int argc, char **argv)
{
	static const struct verb_fn verbs[] = {{"all", set_lock},
					       {"subject", set_lock},
					       {"org", set_lock},
					       {"model", set_lock},
					       {"lift", verb_lift},
					       {"ls", verb_ls},
					       {0}};

	return noun_run(argc, argv, verbs, lockdown_help);
}
