/* receipt.c - see receipt.h. */
#include "receipt.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SSE_MARK ": sallyport-receipt "

static bool salt(const json_t *j, const char *key, uint8_t out[32])
{
	const char *s = json_string_value(json_object_get(j, key));
	size_t n = 0;

	return s && sodium_hex2bin(out, 32, s, strlen(s), NULL, &n, NULL) == 0 && n == 32;
}

static int parse_extra(struct receipt *r, struct err *err)
{
	size_t cap = r->p.extra_b64.n, got;
	uint8_t *raw = malloc(cap + 1);
	const json_t *e;
	json_t *j;
	long n;

	if (raw == NULL)
		return err_set(err, E_NOMEM, "no memory");
	n = note_unbase64(r->p.extra_b64, raw, cap);
	j = n < 0 ? NULL : json_loadb((char *)raw, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	free(raw);
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(err, E_FORMAT, "the receipt's extra line is not a JSON object");
	}
	e = json_object_get(j, "entry");
	got = json_string_length(e);
	if (got > 0)
		buf_put(&r->entry, json_string_value(e), got);
	r->has_prompt = salt(j, "prompt_salt", r->prompt_salt);
	r->has_output = salt(j, "output_salt", r->output_salt);
	json_decref(j);
	return E_OK;
}

/* The comment's base64 into r->file. */
static int from_comment(struct span text, struct receipt *r, struct err *err)
{
	struct span b = span_from(text, sizeof(SSE_MARK) - 1);
	long n;

	while (b.n > 0 && (b.p[b.n - 1] == '\n' || b.p[b.n - 1] == '\r'))
		b.n--;
	if (buf_grow(&r->file, b.n) == NULL)
		return err_set(err, E_RANGE, "the receipt is too large");
	n = note_unbase64(b, (uint8_t *)r->file.p, r->file.n);
	if (n < 0)
		return err_set(err, E_FORMAT, "the receipt comment is not base64");
	r->file.n = (size_t)n;
	return E_OK;
}

int receipt_parse(struct span text, struct receipt *out, struct err *err)
{
	int rc = E_OK;

	memset(out, 0, sizeof(*out));
	out->file = BUF_INIT(RECEIPT_MAX);
	out->entry = BUF_INIT(65536);
	if (text.n > RECEIPT_MAX)
		return err_set(err, E_RANGE, "the receipt is too large");
	if (span_starts(text, SPAN_LIT(SSE_MARK)))
		rc = from_comment(text, out, err);
	else
		buf_span_put(&out->file, text);
	if (rc == E_OK)
		rc = tlog_proof_parse(buf_span(&out->file), &out->p, err);
	if (rc == E_OK && out->p.extra_b64.n > 0)
		rc = parse_extra(out, err);
	return rc;
}

void receipt_free(struct receipt *r)
{
	buf_free(&r->file);
	buf_free(&r->entry);
	sodium_memzero(r, sizeof(*r));
}

int receipt_check(const struct receipt *r, struct span entry, const struct vkey *key,
		  struct checkpoint *cp, struct err *err)
{
	uint8_t leaf[MERKLE_HASH];

	if (entry.n == 0)
		entry = buf_span(&r->entry);
	if (entry.n == 0)
		return err_set(err, E_NOTFOUND, "the receipt holds no entry: give one");
	merkle_leaf(entry, leaf);
	return tlog_proof_check(&r->p, leaf, key, cp, err);
}

void receipt_commitment(const uint8_t salt32[32], struct span bytes, uint8_t out[32])
{
	static const char line[] = "sallyport/commit/v1\n";
	uint8_t head[sizeof(line) - 1 + 32];

	memcpy(head, line, sizeof(line) - 1);
	memcpy(head + sizeof(line) - 1, salt32, 32);
	sha256_2(span_of(head, sizeof(head)), bytes, out);
}
