/* cmd_key.c - API keys: officers never see their secrets, they can only stop them. */
#include "sign.h"

static const char key_help[] =
    "usage: sallyport key VERB\n"
    "  ls                                       keys and whose they are\n"
    "  revoke ID --key FILE --reason CODE:text  stop one key at once; one officer is enough\n"
    "\n"
    "  sallyport key revoke key_... --key ann.key --reason COMPROMISE:'laptop stolen'\n"
    "A lost key: revoke it, then sallyport subject code ID opens a case for a new enrolment "
    "code.\n";

/* Version of a key; a key that was never changed has version 1. */
static int key_now(const char *text, struct id *out, uint32_t *ver)
{
	json_t *o = NULL, *row;
	struct id id;
	int64_t v;
	size_t i;
	int rc;

	if (!id_parse("key", span_cstr(text), out))
		return cli_fail(X_USAGE, "'%.40s' is no key id (sallyport key ls)", text);
	rc = cli_call("GET", "/keys", NULL, &o);
	if (rc != X_OK)
		return rc;
	rc = X_NOTFOUND;
	json_array_foreach(json_object_get(o, "keys"), i, row)
	{
		if (!jx_id(row, "id", "key", &id) || !id_eq(&id, out))
			continue;
		*ver = jx_int(row, "ver", 1, UINT32_MAX, &v) ? (uint32_t)v : 1;
		rc = X_OK;
	}
	json_decref(o);
	return rc == X_OK ? rc : cli_fail(rc, "no key %s; sallyport key ls", text);
}

static int verb_revoke(int argc, char **argv)
{
	const char *key = NULL, *reason = NULL, *pos[1];
	const struct opt opts[] = {
	    {.name = "key", .value = &key}, {.name = "reason", .value = &reason}, {0}};
	struct stmt st = {.verb = VB_KEY_REVOKE};
	struct signer s;
	json_t *reply = NULL;
	int rc = noun_opts(argc, argv, opts, pos, 1, "key revoke ID --key FILE --reason CODE:text");

	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = signer_reason(&s, reason, &st);
	if (rc == X_OK)
		rc = key_now(pos[0], &st.target, &st.ver);
	if (rc == X_OK)
		rc = signer_send(&s, &st, &reply);
	if (rc == X_OK && reply)
		reply_done(reply, "revoked");
	json_decref(reply);
	signer_close(&s);
	return rc;
}

static int verb_ls(int argc, char **argv)
{
	static const struct col cols[] = {
	    {"id", "KEY"},	    {"subject", "SUBJECT"},	{"state", "STATE"},
	    {"binding", "BINDING"}, {"created_entry", "ENTRY"}, {NULL, NULL}};
	const struct opt opts[] = {{0}};
	int rc = noun_opts(argc, argv, opts, NULL, 0, "key ls");

	return rc != X_OK ? rc : noun_list("/keys", "keys", cols);
}

int cmd_key(int argc, char **argv)
{
	static const struct verb_fn verbs[] = {{"ls", verb_ls}, {"revoke", verb_revoke}, {0}};

	return noun_run(argc, argv, verbs, key_help);
}
