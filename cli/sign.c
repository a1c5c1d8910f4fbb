/* sign.c - statements made, signed and sent; see sign.h. */
#include "sign.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "code.h"
#include "hash.h"
#include "secret.h"

int signer_open(struct signer *s, const char *key_path)
{
	struct err err;
	int rc;

	memset(s, 0, sizeof(*s));
	s->sealed = BUF_INIT(SEALED_TEXT + 32);
	if (key_path == NULL)
		return cli_fail(X_USAGE, "--key FILE names your officer's key "
					 "(sallyport officer keygen makes one)");
	rc = realm_load(&s->realm);
	if (rc == X_OK)
		rc = realm_may_sign(&s->realm);
	if (rc != X_OK)
		return rc;
	rc = okey_load(key_path, &s->key, &err);
	if (rc == E_CANCELLED)
		return cli_fail(130, "interrupted");
	return rc < 0 ? cli_fail(X_LOGIN, "%s", err.text) : X_OK;
}

void signer_close(struct signer *s)
{
	okey_wipe(&s->key);
	buf_wipe_free(&s->sealed);
}

int signer_seal(struct signer *s, struct span text, uint8_t commitment[32])
{
	uint8_t salt[32];

	randombytes_buf(salt, sizeof(salt));
	buf_reset(&s->sealed);
	buf_put(&s->sealed, salt, sizeof(salt));
	buf_span_put(&s->sealed, text);
	if (!buf_ok(&s->sealed))
		return cli_fail(X_USAGE, "the text is longer than %u bytes", SEALED_TEXT);
	commit_digest(salt, text, commitment);
	return X_OK;
}

static int no_reason(const char *reason)
{
	char list[256] = "";
	size_t n = 0;

	for (int w = WHY_NONE + 1; w < WHY_COUNT; w++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "",
				      why_text((enum why)w));
	if (reason == NULL)
		return cli_fail(X_USAGE, "--reason CODE:text says why; CODE is one of %s", list);
	return cli_fail(X_USAGE, "'%.*s' is no reason code; one of %s",
			(int)strcspn(reason, ":") > 40 ? 40 : (int)strcspn(reason, ":"), reason,
			list);
}

int signer_reason(struct signer *s, const char *reason, struct stmt *st)
{
	const char *text = reason ? strchr(reason, ':') : NULL;
	size_t len = reason ? strcspn(reason, ":") : 0;
	char code[24] = "";
	int why;

	for (size_t i = 0; i < len && i < sizeof(code) - 1; i++)
		code[i] = (char)tolower((unsigned char)reason[i]);
	why = why_from(span_cstr(code));
	if (len == 0 || len >= sizeof(code) || why <= WHY_NONE)
		return no_reason(reason);
	st->why = (enum why)why;
	st->has_note = text && text[1];
	if (!st->has_note)
		return X_OK;
	if (!okey_text_ok(span_cstr(text + 1)))
		return cli_fail(X_USAGE,
				"the text of --reason is not UTF-8 without control characters");
	return signer_seal(s, span_cstr(text + 1), st->note);
}

/* A nonce for this realm; the answer must speak of the realm whose genesis we have read. */
static int nonce_get(struct signer *s, struct stmt *st)
{
	json_t *reply = NULL, *body = json_object();
	uint8_t aud[32];
	int rc = cli_call("POST", "/nonce", body, &reply);

	json_decref(body);
	if (rc != X_OK)
		return rc;
	if (!jx_hex(reply, "aud", aud, 32) || !jx_id(reply, "nonce", "nce", &st->nonce))
		rc = cli_fail(X_FAIL, "the daemon's answer has no nonce");
	else if (memcmp(aud, s->realm.digest, 32) != 0)
		rc = cli_fail(X_CONFLICT,
			      "the daemon asks for a signature for another realm than the one "
			      "whose genesis it shows");
	json_decref(reply);
	return rc;
}

static void put_dry(struct span bytes)
{
	fputs("sallyport: --dry-run: nothing was signed or sent; this would be:\n", stderr);
	fwrite(bytes.p, 1, bytes.n, stdout);
	putchar('\n');
}

static int post(struct signer *s, struct span bytes, const uint8_t sig[STMT_SIG], json_t **reply)
{
	struct buf b64 = BUF_INIT(2 * SEALED_TEXT);
	json_t *body = json_object();
	int rc = X_OK;

	buf_base64(&b64, sig, STMT_SIG);
	json_object_set_new(body, "statement", json_stringn(bytes.p, bytes.n));
	json_object_set_new(body, "sig", json_string(buf_cstr(&b64)));
	buf_reset(&b64);
	if (s->sealed.n)
		buf_base64(&b64, s->sealed.p, s->sealed.n);
	json_object_set_new(body, "sealed",
			    s->sealed.n ? json_string(buf_cstr(&b64)) : json_null());
	if (!buf_ok(&b64) || json_object_size(body) != 3)
		rc = cli_fail(X_FAIL, "no memory");
	else
		rc = cli_call("POST", "/statements", body, reply);
	buf_wipe_free(&b64);
	json_decref(body);
	return rc;
}

int signer_send(struct signer *s, struct stmt *st, json_t **reply)
{
	struct buf bytes = BUF_INIT(STMT_MAX);
	uint8_t sig[STMT_SIG];
	int rc = nonce_get(s, st);

	*reply = NULL;
	if (rc != X_OK)
		return rc;
	memcpy(st->aud, s->realm.digest, 32);
	st->kid = s->key.id;
	st->ts = clock_wall_ms();
	if (stmt_write(st, &bytes) < 0) {
		rc = cli_fail(X_FAIL, "the statement is too long");
	} else if (cli.dry_run) {
		put_dry(buf_span(&bytes));
	} else {
		stmt_sign(buf_span(&bytes), s->key.sk, sig);
		rc = post(s, buf_span(&bytes), sig, reply);
	}
	buf_free(&bytes);
	return rc;
}

int signer_open_case(struct signer *s, struct case_payload *p, json_t **reply)
{
	struct stmt st = {.verb = VB_CASE_OPEN, .has_case = true};

	p->id = st.target = id_random();
	st.payload = *p;
	case_digest(p, st.case_digest);
	return signer_send(s, &st, reply);
}

void reply_done(json_t *reply, const char *words)
{
	cli_banner();
	if (cli.out == OUT_TABLE)
		printf("%s (log entry %lld)\n", words,
		       (long long)json_integer_value(json_object_get(reply, "entry")));
	else
		cli_print(reply, NULL, NULL);
}

int signer_code_half(const struct signer *s, const json_t *reply, char letter,
		     char out[CODE_HALF_TEXT])
{
	SCOPED_SECRET(half, CODE_HALF_BYTES);
	uint8_t box[128];
	const char *text = noun_str(reply, "code_box");
	size_t nbox = 0, n = 0;

	out[0] = '\0';
	if (text[0] == '\0')
		return X_OK;
	if (half == NULL)
		return cli_fail(X_FAIL, "guarded memory");
	if (sodium_base642bin(box, sizeof(box), text, strlen(text), NULL, &nbox, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    okey_open_box(&s->key, span_of(box, nbox), half, CODE_HALF_BYTES, &n) < 0 ||
	    n != CODE_HALF_BYTES)
		return cli_fail(X_FAIL, "the half of the enrolment code is not sealed to this key");
	code_half_text(letter, half, out);
	return X_OK;
}
