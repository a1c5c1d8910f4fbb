/* realm.c - which realm we talk to, read from its own genesis document; see sign.h. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "hash.h"
#include "sign.h"

int realm_load(struct realm *r)
{
	json_t *reply = NULL;
	struct err err;
	struct span doc;
	int rc = cli_call("GET", "/genesis", NULL, &reply);

	if (rc != X_OK)
		return rc;
	doc = jx_str(reply, "document");
	if (doc.p == NULL || genesis_parse(doc, &r->gen, &err) < 0) {
		rc = cli_fail(X_FAIL, "the daemon's genesis document is not valid: %s",
			      doc.p ? err.text : "there is none");
	} else {
		sha256(doc, r->digest);
		genesis_words(r->digest, r->words);
		cli.demo = r->gen.profile == PR_DEMO;
	}
	json_decref(reply);
	return rc;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int realm_may_sign(const struct realm *r)
{
	char path[1024] = "/var/lib/sallyport/state";
	const char *slash = cli.socket ? strrchr(cli.socket, '/') : NULL;

	if (r->gen.profile == PR_DEMO)
		return X_OK;
	if (cli.realm)
		snprintf(path, sizeof(path), "%s/state", cli.realm);
	if (!is_folder(path) && cli.socket)
		snprintf(path, sizeof(path), "%.*s/state", slash ? (int)(slash - cli.socket) : 1,
			 slash ? cli.socket : ".");
	if (!is_folder(path))
		return X_OK;
	return cli_fail(
	    X_SEPARATION,
	    "this machine holds the realm's state folder (%s). Outside a demo realm officers "
	    "sign on their own machines, where the host's operator cannot read their keys.\n"
	    "  who can: you, from your own machine\n"
	    "  command: ssh -N -L ./admin.sock:%s HOST & sallyport --socket ./admin.sock ...",
	    path, cli.socket ? cli.socket : "/run/sallyport/admin.sock");
}
