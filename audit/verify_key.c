/* verify_key.c - which key signed the log, and whether vkey, genesis.json and entry 0 agree. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "verify_int.h"

#define GENESIS_MAX (1u << 20)

bool verify_genesis_key(struct span doc, struct vkey *out)
{
	json_t *j = json_loadb(doc.n ? doc.p : "", doc.n, JSON_REJECT_DUPLICATES, NULL);
	const char *s = json_string_value(json_object_get(j, "log_vkey"));
	bool ok = s && vkey_parse(span_cstr(s), out, NULL) == E_OK;

	json_decref(j);
	return ok;
}

/* vkey is exactly one line: the key's text. */
static void check_vkey_file(struct span file, const struct vkey *key, struct verify_result *r)
{
	struct buf want = BUF_INIT(VKEY_TEXT_MAX);
	size_t at = 0;

	vkey_put(key, &want);
	buf_putc(&want, '\n');
	while (at < file.n && at < want.n && file.p[at] == want.p[at])
		at++;
	if (at < want.n || file.n != want.n)
		verify_finding(r, VERIFY_TAMPERED, 0, LOG_VKEY, at,
			       "the folder's vkey is not the log's key");
	buf_free(&want);
}

bool verify_pick_key(int dirfd, const struct verify_opts *o, struct verify_result *r)
{
	struct buf text = BUF_INIT(VKEY_TEXT_MAX), gen = BUF_INIT(GENESIS_MAX);
	int have = logdir_read(dirfd, LOG_VKEY, VKEY_TEXT_MAX, &text, NULL);
	int born = logdir_read(dirfd, LOG_GENESIS, GENESIS_MAX, &gen, NULL);
	struct span line = buf_span(&text);
	bool ok = true;

	if (line.n > 0 && line.p[line.n - 1] == '\n')
		line.n--;
	r->pinned = o->key != NULL;
	if (o->key)
		r->key = *o->key;
	else if (born == E_OK && verify_genesis_key(buf_span(&gen), &r->key))
		;
	else if (have == E_OK && vkey_parse(line, &r->key, NULL) == E_OK)
		;
	else
		ok = false;
	if (!ok && (have != E_NOTFOUND || born != E_NOTFOUND))
		verify_finding(r, VERIFY_TAMPERED, 0, have == E_NOTFOUND ? LOG_GENESIS : LOG_VKEY,
			       0, "the log's key cannot be read from the folder");
	else if (!ok)
		verify_finding(r, VERIFY_USAGE, 0, NULL, 0,
			       "no log here: neither segments with a "
			       "key file nor --vkey");
	else if (have != E_NOTFOUND)
		check_vkey_file(buf_span(&text), &r->key, r);
	buf_free(&text);
	buf_free(&gen);
	return ok;
}

void verify_genesis(int dirfd, struct span entry, struct verify_result *r)
{
	struct buf gen = BUF_INIT(GENESIS_MAX);
	struct entry_look l;
	struct vkey key;
	size_t at = 0;
	int rc;

	if (!entry_peek(entry, &l) || !span_eq(l.t, SPAN_LIT("genesis")))
		return;
	if (!verify_genesis_key(l.doc, &key) || !vkey_eq(&key, &r->key))
		verify_finding(r, VERIFY_TAMPERED, 0, LOG_GENESIS, 0,
			       "entry 0, the genesis, names another log key");
	rc = logdir_read(dirfd, LOG_GENESIS, GENESIS_MAX, &gen, NULL);
	if (rc == E_OK) { /* the copy is the document's bytes, perhaps with a last newline */
		if (gen.n == l.doc.n + 1 && gen.p[gen.n - 1] == '\n')
			gen.n--;
		while (at < gen.n && at < l.doc.n && gen.p[at] == l.doc.p[at])
			at++;
		if (at < l.doc.n || gen.n != l.doc.n)
			verify_finding(r, VERIFY_TAMPERED, 0, LOG_GENESIS, at,
				       "genesis.json differs from entry 0");
	}
	buf_free(&gen);
}
