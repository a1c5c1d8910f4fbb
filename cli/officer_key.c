/* officer_key.c - the forms of an officer's key; see officer_key.h. */
#include "officer_key.h"

#include <stdio.h>
#include <stdlib.h>

#include "canon.h"
#include "fault.h"
#include "hash.h"
#include "jsonw.h"
#include "secret.h"
#include "utf8.h"

#define HEAD "sallyport officer key v1"
#define PLAIN 64u /* seed || digest of the lines above */
#define NONCE crypto_secretbox_NONCEBYTES
#define BOX (NONCE + crypto_secretbox_MACBYTES + PLAIN)
#define SALT crypto_pwhash_SALTBYTES
#define PASSES_MAX 64u
#define MEMORY_MAX (1ull << 30)

bool okey_text_ok(struct span text)
{
	uint32_t c;
	int n;

	for (; text.n; text = span_from(text, (size_t)n)) {
		n = utf8_next(text, &c);
		if (n <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
	}
	return true;
}

bool okey_name_ok(struct span name)
{
	return name.n > 0 && name.n < OKEY_NAME && okey_text_ok(name);
}

int okey_make(struct span name, struct officer_key *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	if (!okey_name_ok(name))
		return err_set(err, E_RANGE,
			       "a name has 1 to %d bytes of UTF-8 without control "
			       "characters",
			       OKEY_NAME - 1);
	out->sk = sodium_malloc(64);
	if (out->sk == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	memcpy(out->name, name.p, name.n);
	out->id = id_random();
	crypto_sign_keypair(out->pub, out->sk);
	return E_OK;
}

void okey_wipe(struct officer_key *k)
{
	sodium_free(k->sk);
	memset(k, 0, sizeof(*k));
}

static int derive(struct span pass, const uint8_t salt[SALT], struct okey_cost cost,
		  uint8_t key[32], struct err *err)
{
	if (FAULT("okey.kdf") ||
	    crypto_pwhash(key, 32, pass.p, pass.n, salt, cost.passes, (size_t)cost.memory,
			  crypto_pwhash_ALG_ARGON2ID13) != 0)
		return err_set(err, E_NOMEM, "argon2id needs %llu MiB of memory",
			       (unsigned long long)(cost.memory >> 20));
	return E_OK;
}

static void put_head(const struct officer_key *k, struct buf *out)
{
	char t[ID_TEXT_MAX];

	buf_puts(out, HEAD "\nid ");
	buf_puts(out, id_fmt("off", &k->id, t));
	buf_puts(out, "\nname ");
	buf_puts(out, k->name);
	buf_puts(out, "\npub ");
	buf_hex(out, k->pub, 32);
	buf_puts(out, "\nkdf ");
}

int okey_format(const struct officer_key *k, struct span pass, struct okey_cost cost,
		struct buf *out, struct err *err)
{
	SCOPED_SECRET(plain, PLAIN);
	SCOPED_SECRET(key, 32);
	uint8_t salt[SALT], box[BOX];
	size_t from = out->n;
	int rc = E_OK;

	if (plain == NULL || key == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	put_head(k, out);
	randombytes_buf(salt, sizeof(salt));
	randombytes_buf(box, NONCE);
	if (cost.passes) {
		buf_fmt(out, "argon2id %llu %llu ", (unsigned long long)cost.passes,
			(unsigned long long)cost.memory);
		buf_hex(out, salt, SALT);
	} else {
		buf_puts(out, "none");
	}
	buf_putc(out, '\n');
	if (!buf_ok(out))
		return err_set(err, E_RANGE, "key file too long");
	crypto_sign_ed25519_sk_to_seed(plain, k->sk);
	sha256(span_from(buf_span(out), from), plain + 32);
	buf_puts(out, "secret ");
	if (cost.passes) {
		rc = derive(pass, salt, cost, key, err);
		if (rc == E_OK)
			crypto_secretbox_easy(box + NONCE, plain, PLAIN, box, key);
		buf_hex(out, box, sizeof(box));
	} else {
		buf_hex(out, plain, PLAIN);
	}
	buf_putc(out, '\n');
	if (rc == E_OK && !buf_ok(out))
		rc = err_set(err, E_RANGE, "key file too long");
	return rc;
}

/* "word value\n" at the start of *rest. */
static bool take(struct span *rest, const char *word, struct span *value)
{
	struct span w = span_cstr(word);
	const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;

	if (end == NULL || !span_starts(*rest, w))
		return false;
	*value = span_of(rest->p + w.n, (size_t)(end - rest->p) - w.n);
	*rest = span_from(*rest, (size_t)(end - rest->p) + 1);
	return true;
}

static bool number(const char **s, uint64_t max, uint64_t *out)
{
	char *end;

	if (**s < '1' || **s > '9')
		return false;
	*out = strtoull(*s, &end, 10);
	if (*out > max || *end != ' ')
		return false;
	*s = end + 1;
	return true;
}

static bool kdf_parse(struct span v, struct okey_cost *cost, uint8_t salt[SALT])
{
	char line[128];
	const char *s = line + 9;

	memset(cost, 0, sizeof(*cost));
	if (span_eq(v, SPAN_LIT("none")))
		return true;
	if (v.n >= sizeof(line) || !span_starts(v, SPAN_LIT("argon2id ")))
		return false;
	memcpy(line, v.p, v.n);
	line[v.n] = '\0';
	return number(&s, PASSES_MAX, &cost->passes) && number(&s, MEMORY_MAX, &cost->memory) &&
	       cost->memory >= crypto_pwhash_MEMLIMIT_MIN && hex_decode(span_cstr(s), salt, SALT);
}

static int unlock(struct span secret, struct span pass, struct okey_cost cost,
		  const uint8_t salt[SALT], uint8_t plain[PLAIN], struct err *err)
{
	SCOPED_SECRET(key, 32);
	uint8_t box[BOX];
	int rc;

	if (key == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	if (cost.passes == 0)
		return hex_decode(secret, plain, PLAIN) ? E_OK : E_FORMAT;
	if (!hex_decode(secret, box, BOX))
		return E_FORMAT;
	if (pass.n == 0)
		return err_set(err, E_DENIED, "the key has a passphrase");
	rc = derive(pass, salt, cost, key, err);
	if (rc < 0)
		return rc;
	if (crypto_secretbox_open_easy(plain, box + NONCE, BOX - NONCE, box, key) != 0)
		return err_set(err, E_CRYPTO, "wrong passphrase, or the file was changed");
	return E_OK;
}

static int secret_parse(struct span head, struct span secret, struct span pass,
			struct okey_cost cost, const uint8_t salt[SALT], struct officer_key *k,
			struct err *err)
{
	SCOPED_SECRET(plain, PLAIN);
	uint8_t digest[32], pub[32];
	int rc;

	k->sk = sodium_malloc(64);
	if (plain == NULL || k->sk == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	rc = unlock(secret, pass, cost, salt, plain, err);
	if (rc < 0)
		return rc == E_FORMAT ? err_set(err, rc, "the line 'secret' is malformed") : rc;
	sha256(head, digest);
	crypto_sign_seed_keypair(pub, k->sk, plain);
	if (!secret_eq(plain + 32, digest, 32) || memcmp(pub, k->pub, 32) != 0)
		return err_set(err, E_CRYPTO,
			       "the file was changed: id, name or public key do not "
			       "belong to this secret");
	return E_OK;
}

int okey_parse(struct span text, struct span pass, struct officer_key *out, struct err *err)
{
	struct span rest = text, v = {NULL, 0}, name, head;
	struct okey_cost cost;
	uint8_t salt[SALT] = {0};
	int rc;

	memset(out, 0, sizeof(*out));
	if (!take(&rest, HEAD, &v) || v.n != 0)
		return err_set(err, E_FORMAT, "not an officer's key file of version 1");
	if (!take(&rest, "id ", &v) || !id_parse("off", v, &out->id) ||
	    !take(&rest, "name ", &name) || !okey_name_ok(name) || !take(&rest, "pub ", &v) ||
	    !hex_decode(v, out->pub, 32) || !take(&rest, "kdf ", &v) || !kdf_parse(v, &cost, salt))
		return err_set(err, E_FORMAT, "a line before 'secret' is malformed");
	memcpy(out->name, name.p, name.n);
	head = span_of(text.p, text.n - rest.n);
	if (!take(&rest, "secret ", &v) || rest.n != 0)
		return err_set(err, E_FORMAT, "the line 'secret' is malformed");
	rc = secret_parse(head, v, pass, cost, salt, out, err);
	if (rc < 0)
		okey_wipe(out);
	return rc;
}

int okey_pub_format(const struct officer_key *k, struct buf *out)
{
	struct jsonw w;
	char t[ID_TEXT_MAX];

	jw_init(&w, out);
	jw_obj(&w);
	jw_kcstr(&w, "id", id_fmt("off", &k->id, t));
	jw_kcstr(&w, "name", k->name);
	jw_khex(&w, "pub", k->pub, 32);
	jw_kint(&w, "v", 1);
	jw_end_obj(&w);
	buf_putc(out, '\n');
	return buf_ok(out) ? E_OK : E_RANGE;
}

int okey_pub_parse(struct span text, struct officer_key *out, struct err *err)
{
	struct span name;
	json_t *o;
	int64_t v;
	bool ok;

	memset(out, 0, sizeof(*out));
	if (text.n && text.p[text.n - 1] == '\n')
		text.n--;
	o = canon_parse(text, err);
	if (o == NULL)
		return E_FORMAT;
	name = jx_str(o, "name");
	ok = jx_members(o, "id name pub v") && jx_id(o, "id", "off", &out->id) &&
	     okey_name_ok(name) && jx_hex(o, "pub", out->pub, 32) && jx_int(o, "v", 1, 1, &v);
	if (ok)
		memcpy(out->name, name.p, name.n);
	json_decref(o);
	return ok ? E_OK : err_set(err, E_FORMAT, "not an officer's public key of version 1");
}

int okey_open_box(const struct officer_key *k, struct span box, uint8_t *out, size_t cap, size_t *n)
{
	SCOPED_SECRET(sk, crypto_box_SECRETKEYBYTES);
	uint8_t pk[crypto_box_PUBLICKEYBYTES];

	if (sk == NULL)
		return E_NOMEM;
	if (box.n < crypto_box_SEALBYTES || box.n - crypto_box_SEALBYTES > cap ||
	    crypto_sign_ed25519_pk_to_curve25519(pk, k->pub) != 0 ||
	    crypto_sign_ed25519_sk_to_curve25519(sk, k->sk) != 0 ||
	    crypto_box_seal_open(out, (const uint8_t *)box.p, box.n, pk, sk) != 0)
		return E_CRYPTO;
	*n = box.n - crypto_box_SEALBYTES;
	return E_OK;
}
