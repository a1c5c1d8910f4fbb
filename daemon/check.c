/* check.c - see check.h. */
#include "check.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

#include "engine.h"
#include "io.h"
#include "policy_file.h"
#include "sandbox.h"
#include "super.h"

static int say(bool ok, const char *what, const char *why)
{
	printf("%-7s %s%s%s\n", ok ? "ok" : "FAILED", what, why && why[0] ? ": " : "",
	       why ? why : "");
	return ok ? 0 : 1;
}

static int check_tls(const struct conf *c)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	char why[160] = "";
	bool ok = ctx && SSL_CTX_use_certificate_chain_file(ctx, c->tls_cert) == 1 &&
		  SSL_CTX_use_PrivateKey_file(ctx, c->tls_key, SSL_FILETYPE_PEM) == 1 &&
		  SSL_CTX_check_private_key(ctx) == 1 &&
		  (c->client_ca[0] == '\0' ||
		   SSL_CTX_load_verify_locations(ctx, c->client_ca, NULL) == 1);

	if (!ok)
		ERR_error_string_n(ERR_get_error(), why, sizeof(why));
	SSL_CTX_free(ctx);
	if (ok && c->client_cert && c->client_ca[0] == '\0')
		return say(false, "client-cert", "needs client-ca");
	return say(ok, "tls-cert, tls-key and client-ca fit together", why);
}

static int check_models(const struct conf *c, const struct super_files *f)
{
	struct model_opts o = {0};
	struct model_plan plan;
	struct err err;
	char what[160];
	int bad = 0;

	if (c->n_models == 0)
		return say(false, "models", "no [model \"name\"] section");
	for (unsigned i = 0; i < c->n_models; i++) {
		err.text[0] = '\0';
		snprintf(what, sizeof(what), "model \"%s\"", c->model[i].name);
		bad |= say(
		    model_plan(f->model[i], split_count(c->model[i].file), &o, &plan, &err) == E_OK,
		    what, err.text);
	}
	return bad;
}

static int check_policy(int fd)
{
	struct buf text = BUF_INIT(256 * 1024), errors = BUF_INIT(8192);
	struct err err = {0};
	struct policy p;
	int rc = io_read_fd(fd, 256 * 1024, &text, &err);

	if (rc == E_OK)
		rc = policy_parse(buf_span(&text), "policy", &p, &errors);
	rc = say(rc == E_OK, "policy file", errors.n ? buf_cstr(&errors) : err.text);
	buf_free(&text);
	buf_free(&errors);
	return rc;
}

int check_all(const struct conf *c, const char *path)
{
	struct super_files f;
	struct err err = {0};
	char abi[64];
	int bad = 0;

	say(true, path, "");
	if (super_open_files(c, &f, false, &err) < 0)
		return say(false, "files", err.text);
	say(true, "files and folders can be opened", "");
	bad |= check_tls(c);
	bad |= check_models(c, &f);
	bad |= check_policy(f.policy);
	snprintf(abi, sizeof(abi), "Landlock ABI %d%s", sandbox_landlock_abi(),
		 sandbox_landlock_abi() ? "" : " (missing layer)");
	say(true, "sandbox", abi);
	super_close_files(&f);
	printf(bad ? "not fit to start\n" : "fit to start\n");
	return bad;
}
