/* init_files.c - a realm's files. All are made new (nothing is overwritten); when one cannot be
 * made, those made before it are taken away again, so that init can be run once more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fault.h"
#include "hash.h"
#include "init.h"
#include "note.h"
#include "secret.h"

struct making {
	const char *dir;
	char made[16][REALM_PATH + 40]; /* in order; a folder ends in '/' */
	unsigned n;
	struct err err;
};

static char *next_name(struct making *m, const char *name, const char *tail)
{
	char *path = m->made[m->n];

	snprintf(path, sizeof(m->made[0]), "%s%s%s%s", m->dir, name[0] ? "/" : "", name, tail);
	return path;
}

static int folder(struct making *m, const char *name)
{
	char *path = next_name(m, name, "");

	if (FAULT("init.mkdir") || mkdir(path, 0700) < 0) {
		if (errno == EEXIST && name[0] == '\0')
			return E_OK; /* the realm's own folder may stand there, with certificates */
		return err_sys(&m->err, "make folder %s", path);
	}
	next_name(m, name, "/");
	m->n++;
	return E_OK;
}

static int file(struct making *m, const char *name, unsigned mode, struct span bytes)
{
	int rc = okey_create(next_name(m, name, ""), mode, bytes, &m->err);

	if (rc == E_OK)
		m->n++;
	return rc;
}

static void take_back(struct making *m)
{
	while (m->n) {
		char *path = m->made[--m->n];

		if (path[strlen(path) - 1] == '/')
			rmdir(path);
		else
			unlink(path);
	}
}

static int secrets(struct making *m, struct realm_plan *p, struct buf *vkey)
{
	SCOPED_SECRET(seed, 32);
	SCOPED_SECRET(sk, 64);
	SCOPED_SECRET(other, 32);
	char dep[ID_TEXT_MAX], name[NOTE_NAME_MAX + 1];
	uint8_t pub[32];
	struct vkey key;
	int rc;

	if (seed == NULL || sk == NULL || other == NULL)
		return err_set(&m->err, E_NOMEM, "guarded memory");
	randombytes_buf(seed, 32);
	crypto_sign_seed_keypair(pub, sk, seed);
	snprintf(name, sizeof(name), "sallyport.invalid/%s/1",
		 id_fmt("dep", &p->gen.deployment, dep));
	rc = vkey_make(name, VKEY_ED25519, pub, &key, &m->err);
	if (rc < 0)
		return rc;
	vkey_put(&key, vkey);
	snprintf(p->gen.log_vkey, sizeof(p->gen.log_vkey), "%s", buf_cstr(vkey));
	buf_putc(vkey, '\n');
	rc = file(m, "state/secret/log-key", 0600, span_of(seed, 32));
	randombytes_buf(other, 32);
	if (rc == E_OK)
		rc = file(m, "state/secret/pepper", 0600, span_of(other, 32));
	randombytes_buf(other, 32);
	if (rc == E_OK)
		rc = file(m, "state/secret/kek", 0600, span_of(other, 32));
	return rc;
}

/* Names and salts: with them, and only with them, the commitments in genesis can be opened. */
static int officers_file(struct making *m, const struct realm_plan *p)
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct jsonw w;
	char t[ID_TEXT_MAX];
	int rc;

	jw_init(&w, &b);
	jw_obj(&w);
	jw_key(&w, "officers");
	jw_arr(&w);
	for (unsigned i = 0; i < p->gen.n_officers; i++) {
		jw_obj(&w);
		jw_kcstr(&w, "id", id_fmt("off", &p->officer[i].id, t));
		jw_kcstr(&w, "name", p->officer[i].name);
		jw_khex(&w, "salt", p->salt[i], 32);
		jw_end_obj(&w);
	}
	jw_end_arr(&w);
	jw_kint(&w, "v", 1);
	jw_end_obj(&w);
	buf_putc(&b, '\n');
	rc = buf_ok(&b) ? file(m, "officers.json", 0600, buf_span(&b))
			: err_set(&m->err, E_RANGE, "officers.json too long");
	buf_free(&b);
	return rc;
}

static int conf_file(struct making *m, const struct realm_plan *p)
{
	bool small = p->gen.profile == PR_DEMO || p->gen.profile == PR_SMALL;
	struct buf b = BUF_INIT(CANON_MAX);
	const char *d = p->dir;
	int rc;

	buf_fmt(&b, "; sallyport.conf - made by sallyport init; see sallyport.conf(5).%s\n",
		p->gen.profile == PR_DEMO ? "\n; DEMO realm: not for real people, not for real data"
					  : "");
	buf_fmt(&b,
		"[realm]\nstate-dir = %s/state\nlog-dir = %s/log\ngenesis = %s/genesis.json\n\n", d,
		d, d);
	buf_fmt(&b,
		"[listen \"public\"]\naddress = %s\nport = %u\ntls-cert = %s/tls.crt\n"
		"tls-key = %s/tls.key\n\n",
		p->address, p->port, d, d);
	buf_fmt(&b, "[admin]\nsocket = %s/admin.sock\nmode = 0600\n\n", d);
	buf_fmt(&b, "[engine]\npolicy = %s\n\n", p->policy_file);
	for (unsigned i = 0; i < p->gen.settings.n_models; i++)
		buf_fmt(&b, "[model \"%s\"]\nfile = %s\n\n", p->gen.settings.model[i].name,
			p->model_file[i]);
	buf_fmt(&b, "[store]\nsegment-size = %s\ndisk-reserve = %s\n\n", small ? "4MiB" : "64MiB",
		p->gen.profile == PR_DEMO ? "8MiB" : "64MiB");
	buf_fmt(&b, "[daemon]\npid-file = %s/sallyportd.pid\n", d);
	rc = buf_ok(&b) ? file(m, "sallyport.conf", 0600, buf_span(&b))
			: err_set(&m->err, E_RANGE, "sallyport.conf too long");
	buf_free(&b);
	return rc;
}

static int write_all(struct making *m, struct realm_plan *p, struct buf *doc)
{
	static const char *const folders[] = {"", "state", "state/secret", "log"};
	struct buf vkey = BUF_INIT(VKEY_TEXT_MAX + 8);
	int rc = E_OK;

	for (int i = 0; i < 4 && rc == E_OK; i++)
		rc = folder(m, folders[i]);
	if (rc == E_OK)
		rc = secrets(m, p, &vkey);
	if (rc == E_OK && genesis_write(&p->gen, doc) < 0)
		rc = err_set(&m->err, E_RANGE, "the genesis document is too long");
	if (rc == E_OK)
		rc = file(m, "log/vkey", 0644, buf_span(&vkey));
	if (rc == E_OK)
		rc = file(m, "log/genesis.json", 0644, buf_span(doc));
	if (rc == E_OK)
		rc = officers_file(m, p);
	if (rc == E_OK)
		rc = conf_file(m, p);
	if (rc == E_OK)
		rc = file(m, "genesis.json", 0644, buf_span(doc));
	buf_free(&vkey);
	return rc;
}

int init_write(struct realm_plan *p, uint8_t digest[32])
{
	struct making *m = calloc(1, sizeof(*m));
	struct buf doc = BUF_INIT(CANON_MAX);
	struct genesis *again = calloc(1, sizeof(*again));
	int rc = X_OK;

	if (m == NULL || again == NULL) {
		rc = cli_fail(X_FAIL, "no memory");
		goto out;
	}
	m->dir = p->dir;
	if (write_all(m, p, &doc) < 0 || genesis_parse(buf_span(&doc), again, &m->err) < 0) {
		take_back(m);
		rc = cli_fail(X_FAIL, "%s; the realm was not made", m->err.text);
		goto out;
	}
	sha256(buf_span(&doc), digest);
out:
	free(m);
	free(again);
	buf_free(&doc);
	return rc;
}
