/* cmd_init.c - `sallyport init`: a realm is born. Prints what officers must compare. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "init.h"
#include "noun.h"

static const char init_help[] =
    "usage: sallyport init --realm DIR --profile demo|small|bank|provider\n"
    "         --officer A.pub --officer B.pub ... --model NAME=FILE:chat,guard ... --policy FILE\n"
    "         [--port N] [--address A] [--timezone Z] [--quorum N] [--dry-run]\n"
    "Makes genesis, secrets, folders and sallyport.conf. tls.crt and tls.key are put into DIR by "
    "you.\n"
    "A demo realm listens on loopback only and can never become another one.\n"
    "\n"
    "  sallyport officer keygen --name Ann --out ann.key; sallyport officer keygen --name Bao "
    "--out bao.key\n"
    "  sallyport init --realm ./demo --profile demo --officer ann.pub --officer bao.pub \\\n"
    "      --model starter=models/starter/sallyport-starter.gguf:chat,guard --policy "
    "etc/policy.conf\n";

static void put_born(const struct realm_plan *p, const uint8_t digest[32])
{
	char dep[ID_TEXT_MAX], hex[65], words[GENESIS_WORDS];
	json_t *o;

	sodium_bin2hex(hex, sizeof(hex), digest, 32);
	genesis_words(digest, words);
	id_fmt("dep", &p->gen.deployment, dep);
	if (cli.out == OUT_JSON || cli.out == OUT_JSONL) {
		o = json_pack("{s:i, s:b, s:s, s:s, s:s, s:s, s:s}", "schema_version", 1, "demo",
			      p->gen.profile == PR_DEMO, "deployment", dep, "digest", hex, "words",
			      words, "realm", p->dir, "vkey", p->gen.log_vkey);
		cli_print(o, NULL, NULL);
		json_decref(o);
		return;
	}
	printf("%srealm %s in %s\ndigest  %s\nwords   %s\n\n",
	       p->gen.profile == PR_DEMO ? "DEMO " : "", dep, p->dir, hex, words);
	printf("Next:\n  tls.crt and tls.key into %s\n  sallyportd -c %s/sallyport.conf\n"
	       "  each officer: sallyport --realm %s officer confirm --key FILE, and compares the "
	       "words\n",
	       p->dir, p->dir, p->dir);
}

static void put_plan(const struct realm_plan *p)
{
	char hex[65];

	fprintf(stderr, "sallyport: --dry-run: nothing is written. This would be:\n");
	printf("realm    %s\nprofile  %s\nlisten   %s port %u\nquorum   %u of %u officers\n",
	       p->dir, profile_text(p->gen.profile), p->address, p->port, p->gen.quorum,
	       p->gen.n_officers);
	for (unsigned i = 0; i < p->gen.n_officers; i++)
		printf("officer  %s\n", p->officer[i].name);
	for (unsigned i = 0; i < p->gen.settings.n_models; i++) {
		const struct model_row *m = &p->gen.settings.model[i];

		sodium_bin2hex(hex, sizeof(hex), m->sha256, 32);
		printf("model    %s%s%s  %s  %s\n", m->name, m->chat ? " chat" : "",
		       m->guard ? " guard" : "", hex, p->model_file[i]);
	}
	sodium_bin2hex(hex, sizeof(hex), p->gen.settings.policy_sha256, 32);
	printf("policy   %s  %s\n", hex, p->policy_file);
}

int cmd_init(int argc, char **argv)
{
	struct init_words w = {0};
	const struct opt opts[] = {{.name = "realm", .value = &w.realm},
				   {.name = "profile", .value = &w.profile},
				   {.name = "officer", .many = w.officer, .max = OFFICERS_MAX + 1},
				   {.name = "model", .many = w.model, .max = MODELS_MAX + 1},
				   {.name = "policy", .value = &w.policy},
				   {.name = "port", .value = &w.port},
				   {.name = "address", .value = &w.address},
				   {.name = "timezone", .value = &w.timezone},
				   {.name = "quorum", .value = &w.quorum},
				   {0}};
	uint8_t digest[32];
	struct realm_plan *p;
	static char noun[] = "init", verb[] = "(no verb)";
	char *args[MODELS_MAX * 2 + OFFICERS_MAX * 2 + 32] = {noun, verb};
	unsigned npos;
	int rc;

	if (cli.help || argc < 2) {
		fputs(init_help, cli.help ? stdout : stderr);
		return cli.help ? X_OK : X_USAGE;
	}
	if ((size_t)argc + 1 > sizeof(args) / sizeof(args[0]))
		return cli_fail(X_USAGE, "init: too many arguments");
	for (int i = 1; i < argc; i++)
		args[i + 1] = argv[i];
	rc = cli_opts(argc + 1, args, opts, NULL, 0, &npos);
	if (rc != X_OK)
		return rc;
	if (w.realm == NULL)
		w.realm = cli.realm;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return cli_fail(X_FAIL, "no memory");
	rc = init_plan(&w, p);
	if (rc == X_OK && cli.dry_run) {
		put_plan(p);
	} else if (rc == X_OK) {
		rc = init_write(p, digest);
		if (rc == X_OK)
			put_born(p, digest);
	}
	free(p);
	return rc;
}
