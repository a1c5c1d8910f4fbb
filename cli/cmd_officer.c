/* cmd_officer.c - officers and their keys. Keys are made, kept and used on the officer's machine.
 */
#include <sodium.h>
#include <stdio.h>

#include "passphrase.h"
#include "secret.h"
#include "sign.h"

static const char officer_help[] =
    "usage: sallyport officer VERB\n"
    "  keygen --name NAME --out FILE [--no-passphrase]   make a key; its public part goes to .pub\n"
    "  confirm --key FILE [--yes]                        confirm the realm's genesis digest\n"
    "  revoke ID --key FILE --reason CODE:text           stop an officer's key at once; one "
    "is enough\n"
    "  ls                                                officers of the realm\n"
    "\n"
    "Make the key on your own machine; only the .pub file leaves it. SALLYPORT_PASSPHRASE_FILE "
    "names a\n"
    "file (0600) that holds the passphrase where there is no terminal.\n"
    "\n"
    "  sallyport officer keygen --name 'Ann Le' --out ann.key\n"
    "  sallyport --realm /srv/demo officer confirm --key ann.key\n"
    "  sallyport --realm /srv/demo officer ls -o json\n";

static void put_files(const struct officer_key *k, const char *key, const char *pub)
{
	char t[ID_TEXT_MAX];
	json_t *o;

	if (cli.out != OUT_JSON && cli.out != OUT_JSONL) {
		printf("%s  %s\nkey     %s (stays on this machine)\npublic  %s (goes to sallyport "
		       "init)\n",
		       id_fmt("off", &k->id, t), k->name, key, pub);
		return;
	}
	o = json_pack("{s:i, s:s, s:s, s:s, s:s}", "schema_version", 1, "id",
		      id_fmt("off", &k->id, t), "name", k->name, "key", key, "pub", pub);
	cli_print(o, NULL, NULL);
	json_decref(o);
}

static int write_key(const struct officer_key *k, struct span pass, struct okey_cost cost,
		     const char *key, const char *pub, struct err *err)
{
	SCOPED_SECRET(mem, OKEY_FILE_MAX);
	struct buf text = BUF_FIXED((char *)mem, OKEY_FILE_MAX);
	struct buf open_part = BUF_INIT(OKEY_FILE_MAX);
	int rc;

	if (mem == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	rc = okey_format(k, pass, cost, &text, err);
	if (rc == E_OK && okey_pub_format(k, &open_part) < 0)
		rc = err_set(err, E_RANGE, "the public part is too long");
	if (rc == E_OK)
		rc = okey_create(key, 0600, buf_span(&text), err);
	if (rc == E_OK) {
		rc = okey_create(pub, 0644, buf_span(&open_part), err);
		if (rc < 0)
			unlink(key);
	}
	buf_free(&open_part);
	return rc;
}

static int verb_keygen(int argc, char **argv)
{
	const char *name = NULL, *out = NULL, *bare = NULL;
	const struct opt opts[] = {{.name = "name", .value = &name},
				   {.name = "out", .value = &out},
				   {.name = "no-passphrase", .flag = true, .value = &bare},
				   {0}};
	SCOPED_SECRET(pass, PASS_MAX);
	struct officer_key k;
	struct err err;
	char pub[4096];
	size_t n = 0;
	int rc = noun_opts(argc, argv, opts, NULL, 0, "officer keygen --name NAME --out FILE");

	if (rc != X_OK)
		return rc;
	if (name == NULL || out == NULL || okey_pub_path(out, pub, sizeof(pub)) < 0 || pass == NULL)
		return cli_fail(X_USAGE, "officer keygen needs --name NAME and --out FILE");
	if (access(out, F_OK) == 0 || access(pub, F_OK) == 0)
		return cli_fail(X_CONFLICT, "%s exists; nothing is overwritten",
				access(out, F_OK) == 0 ? out : pub);
	rc = okey_make(span_cstr(name), &k, &err);
	if (rc < 0)
		return cli_fail(X_USAGE, "--name: %s", err.text);
	if (cli.dry_run) {
		okey_wipe(&k);
		fprintf(stderr, "sallyport: --dry-run: would write %s (0600) and %s\n", out, pub);
		return X_OK;
	}
	if (bare)
		fputs("sallyport: warning: no passphrase; whoever reads the file signs as this "
		      "officer. "
		      "For demos only.\n",
		      stderr);
	else
		rc = pass_read("New passphrase: ", true, (char *)pass, &n, &err);
	if (rc == E_OK)
		rc = write_key(&k, span_of(pass, n), bare ? (struct okey_cost){0} : OKEY_MODERATE,
			       out, pub, &err);
	if (rc == E_OK)
		put_files(&k, out, pub);
	okey_wipe(&k);
	if (rc == E_CANCELLED)
		return cli_fail(130, "interrupted; no key was made");
	if (rc < 0)
		return cli_fail(rc == E_CONFLICT ? X_CONFLICT : X_FAIL, "%s", err.text);
	return X_OK;
}

/* The officer must stand in the genesis with exactly this key. */
static bool stands_in(const struct genesis *g, const struct officer_key *k)
{
	for (unsigned i = 0; i < g->n_officers; i++)
		if (id_eq(&g->officer[i].id, &k->id))
			return memcmp(g->officer[i].pub, k->pub, 32) == 0;
	return false;
}

static void show_genesis(const struct realm *r)
{
	char t[ID_TEXT_MAX], hex[65];

	sodium_bin2hex(hex, sizeof(hex), r->digest, 32);
	fprintf(stderr,
		"deployment  %s\nprofile     %s, %u officers, every case needs %u signatures\n",
		id_fmt("dep", &r->gen.deployment, t), profile_text(r->gen.profile),
		r->gen.n_officers, r->gen.quorum);
	for (unsigned i = 0; i < r->gen.n_officers; i++)
		fprintf(stderr, "officer     %s\n", id_fmt("off", &r->gen.officer[i].id, t));
	fprintf(stderr, "digest      %s\nwords       %s\n", hex, r->words);
}

static bool agreed(void)
{
	char line[16] = "";

	if (cli.yes)
		return true;
	fputs("Compare the words with those the other officers see. Type yes to sign: ", stderr);
	return fgets(line, sizeof(line), stdin) && strcmp(line, "yes\n") == 0;
}

static int confirm_with(struct signer *s)
{
	struct stmt st = {.verb = VB_OFFICER_CONFIRM, .ver = 1};
	json_t *reply = NULL;
	int rc;

	show_genesis(&s->realm);
	if (!stands_in(&s->realm.gen, &s->key))
		return cli_fail(X_LOGIN, "this key is not one of the genesis's officers");
	if (!agreed())
		return cli_fail(X_FAIL, "not confirmed");
	rc = signer_send(s, &st, &reply);
	if (rc != X_OK || reply == NULL)
		return rc;
	cli_banner();
	if (cli.out == OUT_TABLE)
		printf("confirmed as %s\n", s->key.name);
	else
		cli_print(reply, NULL, NULL);
	json_decref(reply);
	return X_OK;
}

static int verb_confirm(int argc, char **argv)
{
	const char *key = NULL;
	const struct opt opts[] = {{.name = "key", .value = &key}, {0}};
	struct signer s;
	int rc = noun_opts(argc, argv, opts, NULL, 0, "officer confirm --key FILE");

	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = confirm_with(&s);
	signer_close(&s);
	return rc;
}

static int verb_ls(int argc, char **argv)
{
	static const struct col cols[] = {{"id", "OFFICER"},
					  {"state", "STATE"},
					  {"confirmed", "CONFIRMED"},
					  {"pub", "PUBLIC KEY"},
					  {NULL, NULL}};
	const struct opt opts[] = {{0}};
	int rc = noun_opts(argc, argv, opts, NULL, 0, "officer ls");

	return rc != X_OK ? rc : noun_list("/officers", "officers", cols);
}

/* Version of an officer's row. */
static int officer_now(const char *text, struct id *out, uint32_t *ver)
{
	json_t *o = NULL, *row;
	struct id id;
	int64_t v;
	size_t i;
	int rc;

	if (!id_parse("off", span_cstr(text), out))
		return cli_fail(X_USAGE, "'%.40s' is no officer id (sallyport officer ls)", text);
	rc = cli_call("GET", "/officers", NULL, &o);
	if (rc != X_OK)
		return rc;
	rc = X_NOTFOUND;
	json_array_foreach(json_object_get(o, "officers"), i, row)
	{
		if (!jx_id(row, "id", "off", &id) || !id_eq(&id, out) ||
		    !jx_int(row, "ver", 1, UINT32_MAX, &v))
			continue;
		*ver = (uint32_t)v;
		rc = X_OK;
	}
	json_decref(o);
	return rc == X_OK ? rc : cli_fail(rc, "no officer %s; sallyport officer ls", text);
}

static int verb_revoke(int argc, char **argv)
{
	const char *key = NULL, *reason = NULL, *pos[1];
	const struct opt opts[] = {
	    {.name = "key", .value = &key}, {.name = "reason", .value = &reason}, {0}};
	struct stmt st = {.verb = VB_OFFICER_REVOKE};
	struct signer s;
	json_t *reply = NULL;
	int rc =
	    noun_opts(argc, argv, opts, pos, 1, "officer revoke ID --key FILE --reason CODE:text");

	if (rc != X_OK)
		return rc;
	rc = signer_open(&s, key);
	if (rc == X_OK)
		rc = signer_reason(&s, reason, &st);
	if (rc == X_OK)
		rc = officer_now(pos[0], &st.target, &st.ver);
	if (rc == X_OK)
		rc = signer_send(&s, &st, &reply);
	if (rc == X_OK && reply)
		reply_done(reply, "revoked; what this officer signed alone counts no more");
	json_decref(reply);
	signer_close(&s);
	return rc;
}

int cmd_officer(int argc, char **argv)
{
	static const struct verb_fn verbs[] = {{"keygen", verb_keygen},
					       {"confirm", verb_confirm},
					       {"revoke", verb_revoke},
					       {"ls", verb_ls},
					       {0}};

	return noun_run(argc, argv, verbs, officer_help);
}
