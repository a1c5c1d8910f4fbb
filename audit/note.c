/* note.c - see note.h. */
#include "note.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "num.h"
#include "utf8.h"

#define DASH "\xe2\x80\x94 " /* U+2014, space */

static bool unicode_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

bool note_name_ok(struct span name)
{
	uint32_t c;
	int n;

	if (name.n == 0 || name.n > NOTE_NAME_MAX)
		return false;
	for (; name.n > 0; name = span_from(name, (size_t)n)) {
		n = utf8_next(name, &c);
		if (n <= 0 || c < 0x20 || c == 0x7f || c == '+' || unicode_space(c))
			return false;
	}
	return true;
}

static void key_id(struct span name, uint8_t type, const uint8_t pub[32], uint8_t id[4])
{
	uint8_t tail[34], h[SHA256_BYTES];

	tail[0] = '\n';
	tail[1] = type;
	memcpy(tail + 2, pub, 32);
	sha256_2(name, span_of(tail, sizeof(tail)), h);
	memcpy(id, h, 4);
}

int vkey_make(const char *name, uint8_t type, const uint8_t pub[32], struct vkey *out,
	      struct err *err)
{
	struct span s = span_cstr(name);

	if (!note_name_ok(s))
		return err_set(err, E_RANGE, "not a key name");
	memset(out, 0, sizeof(*out));
	memcpy(out->name, s.p, s.n);
	out->type = type;
	memcpy(out->pub, pub, 32);
	key_id(s, type, pub, out->id);
	return E_OK;
}

long note_unbase64(struct span s, uint8_t *out, size_t cap)
{
	const char *end;
	size_t n;

	if (s.n % 4 != 0 || s.n == 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) /* libsodium takes some bytes >= 0x80 for '/' */
		if ((unsigned char)s.p[i] >= 0x80)
			return -1;
	if (sodium_base642bin(out, cap, s.p, s.n, NULL, &n, &end, sodium_base64_VARIANT_ORIGINAL) !=
		0 ||
	    end != s.p + s.n)
		return -1;
	return (long)n;
}

/* Cuts s at the first c: gives what stands before; *rest what stands behind. */
static bool cut(struct span s, char c, struct span *before, struct span *rest)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	if (at == NULL)
		return false;
	*before = span_of(s.p, (size_t)(at - s.p));
	*rest = span_from(s, before->n + 1);
	return true;
}

int vkey_parse(struct span text, struct vkey *out, struct err *err)
{
	struct span name, hex, b64;
	uint8_t raw[33], id[4];
	char want[9];

	if (!cut(text, '+', &name, &b64) || !cut(b64, '+', &hex, &b64) || !note_name_ok(name) ||
	    hex.n != 8 || note_unbase64(b64, raw, sizeof(raw)) != sizeof(raw))
		return err_set(err, E_FORMAT, "not a verifier key (name+id+base64)");
	if (raw[0] != VKEY_ED25519 && raw[0] != VKEY_COSIGNATURE)
		return err_set(err, E_UNSUPPORTED, "verifier key of unknown type %u", raw[0]);
	key_id(name, raw[0], raw + 1, id);
	snprintf(want, sizeof(want), "%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
	if (memcmp(want, hex.p, 8) != 0)
		return err_set(err, E_FORMAT, "the verifier key's id does not fit its key");
	memset(out, 0, sizeof(*out));
	memcpy(out->name, name.p, name.n);
	out->type = raw[0];
	memcpy(out->id, id, 4);
	memcpy(out->pub, raw + 1, 32);
	return E_OK;
}

void vkey_put(const struct vkey *k, struct buf *b)
{
	uint8_t raw[33];

	raw[0] = k->type;
	memcpy(raw + 1, k->pub, 32);
	buf_puts(b, k->name);
	buf_putc(b, '+');
	buf_hex(b, k->id, 4);
	buf_putc(b, '+');
	buf_base64(b, raw, sizeof(raw));
}

bool vkey_eq(const struct vkey *a, const struct vkey *b)
{
	return a->type == b->type && memcmp(a->pub, b->pub, 32) == 0 &&
	       strcmp(a->name, b->name) == 0;
}

/* cosignature/v1 (https://c2sp.org/tlog-cosignature): u64be time || signature over
 * "cosignature/v1\ntime <time>\n" || text. */
static bool cosignature_ok(const struct vkey *k, struct span text, const uint8_t *sig, size_t n)
{
	struct buf m = BUF_INIT(NOTE_MAX + 64);
	bool ok;

	if (n != 72)
		return false;
	buf_fmt(&m, "cosignature/v1\ntime %llu\n",
		(unsigned long long)((uint64_t)get_be32(sig) << 32 | get_be32(sig + 4)));
	buf_span_put(&m, text);
	ok = buf_ok(&m) &&
	     crypto_sign_verify_detached(sig + 8, (const uint8_t *)m.p, m.n, k->pub) == 0;
	buf_free(&m);
	return ok;
}

static bool signature_ok(const struct vkey *k, struct span text, const uint8_t *sig, size_t n)
{
	if (k->type == VKEY_COSIGNATURE)
		return cosignature_ok(k, text, sig, n);
	return n == 64 &&
	       crypto_sign_verify_detached(sig, (const uint8_t *)text.p, text.n, k->pub) == 0;
}

/* Splits at the last empty line; also the character rules. */
static bool split_note(struct span s, struct span *text, struct span *sigs)
{
	if (s.n < 3 || s.n > NOTE_MAX || s.p[s.n - 1] != '\n' || !utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 && s.p[i] != '\n')
			return false;
	for (size_t i = s.n - 1; i > 0; i--)
		if (s.p[i] == '\n' && s.p[i - 1] == '\n') {
			*text = span_of(s.p, i);
			*sigs = span_from(s, i + 1);
			return sigs->n > 0;
		}
	return false;
}

static int open_line(struct span line, const struct vkey *keys, size_t n, struct note *out,
		     struct err *err)
{
	struct span name, b64, dash = SPAN_LIT(DASH);
	uint8_t raw[4096];
	long len;

	if (!span_starts(line, dash) || !cut(span_from(line, dash.n), ' ', &name, &b64) ||
	    !note_name_ok(name))
		return err_set(err, E_FORMAT, "not a signature line");
	len = note_unbase64(b64, raw, sizeof(raw));
	if (len < 5)
		return err_set(err, E_FORMAT, "a signature is not base64 of 5 or more bytes");
	for (size_t i = 0; i < n; i++) {
		if (memcmp(keys[i].id, raw, 4) != 0 || !span_eq(name, span_cstr(keys[i].name)))
			continue;
		if (!signature_ok(&keys[i], out->text, raw + 4, (size_t)len - 4))
			return err_set(err, E_CRYPTO, "the signature of %s does not verify",
				       keys[i].name);
		out->verified |= 1ull << i;
	}
	return E_OK;
}

int note_open(struct span note, const struct vkey *keys, size_t n, struct note *out,
	      struct err *err)
{
	struct span sigs, line;
	int rc;

	memset(out, 0, sizeof(*out));
	if (n > 64)
		return err_set(err, E_RANGE, "at most 64 keys");
	if (!split_note(note, &out->text, &sigs))
		return err_set(err, E_FORMAT, "not a signed note");
	while (sigs.n > 0) {
		if (++out->sigs > NOTE_SIGS_MAX || !cut(sigs, '\n', &line, &sigs))
			return err_set(err, E_FORMAT, "too many signatures");
		rc = open_line(line, keys, n, out, err);
		if (rc < 0)
			return rc;
	}
	if (out->verified == 0)
		return err_set(err, E_NOTFOUND, "no signature by a known key");
	return E_OK;
}

int note_sign(struct span text, const struct vkey *k, const uint8_t sk[64], struct buf *out,
	      struct err *err)
{
	uint8_t raw[4 + 64];

	if (text.n == 0 || text.p[text.n - 1] != '\n')
		return err_set(err, E_FORMAT, "a note's text ends in a newline");
	memcpy(raw, k->id, 4);
	if (crypto_sign_detached(raw + 4, NULL, (const uint8_t *)text.p, text.n, sk) != 0)
		return err_set(err, E_CRYPTO, "signing failed");
	buf_span_put(out, text);
	buf_puts(out, "\n" DASH);
	buf_puts(out, k->name);
	buf_putc(out, ' ');
	buf_base64(out, raw, sizeof(raw));
	buf_putc(out, '\n');
	return buf_ok(out) ? E_OK : err_set(err, E_NOMEM, "no room for a note");
}
