/* admin.c - what the admin side keeps beside the authority rows: cases, statements, sealed text,
 * nonces, enrolment codes, the outbox. */
#include <sodium.h>

#include "db_priv.h"

#define NONCES_MAX 1000
#define SEAL_NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEAL_TAG crypto_aead_xchacha20poly1305_ietf_ABYTES

int db_case_put(struct db *db, const struct case_row *c)
{
	return db_run(db, Q_CASE_PUT, "bIiiIBsII", &c->id, (int64_t)c->num, (int)c->kind,
		      (int)c->state, (int64_t)c->ver, c->digest, c->body, c->opened, c->decided);
}

int db_statement_put(struct db *db, uint64_t entry, const struct stmt *s, bool refused)
{
	return db_run(db, Q_STATEMENT_PUT, "Ibbibix", (int64_t)entry, &s->kid, &s->nonce,
		      (int)s->verb, &s->target, (int)refused,
		      span_of(s->note, s->has_note ? sizeof(s->note) : 0));
}

int db_notes_each(struct db *db, const struct id *target,
		  int (*fn)(void *, const struct note_row *), void *arg)
{
	sqlite3_stmt *st = db_query(db, Q_NOTES_OF, "b", target);
	struct note_row r;
	int rc;

	while ((rc = db_row(db, st)) == 1) {
		memset(&r, 0, sizeof(r));
		r.verb = (enum verb)sqlite3_column_int(st, 1);
		r.has_note = col_bytes(st, 2, r.note, 32);
		r.entry = (uint64_t)sqlite3_column_int64(st, 3);
		rc = col_bytes(st, 0, r.kid.b, ID_BYTES) ? fn(arg, &r) : E_FORMAT;
		if (rc != 0)
			break;
	}
	db_done(st);
	return rc;
}

/* box = nonce || ciphertext || tag; ad binds it to its place. */
static int seal(struct db *db, struct span ad, struct span text, const uint8_t nonce[SEAL_NONCE],
		struct buf *out)
{
	uint8_t *p;
	unsigned long long n;

	buf_put(out, nonce, SEAL_NONCE);
	p = buf_grow(out, text.n + SEAL_TAG);
	if (p == NULL)
		return E_RANGE;
	crypto_aead_xchacha20poly1305_ietf_encrypt(p, &n, (const uint8_t *)text.p, text.n,
						   (const uint8_t *)ad.p, ad.n, NULL, nonce,
						   db->seal_key);
	return E_OK;
}

static int unseal(struct db *db, struct span ad, struct span box, struct buf *out)
{
	uint8_t *p;

	if (box.n < SEAL_NONCE + SEAL_TAG)
		return E_CRYPTO;
	p = buf_grow(out, box.n - SEAL_NONCE - SEAL_TAG);
	if (p == NULL && box.n > SEAL_NONCE + SEAL_TAG)
		return E_RANGE;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(
		p, NULL, NULL, (const uint8_t *)box.p + SEAL_NONCE, box.n - SEAL_NONCE,
		(const uint8_t *)ad.p, ad.n, (const uint8_t *)box.p, db->seal_key) != 0) {
		out->n -= box.n - SEAL_NONCE - SEAL_TAG;
		return E_CRYPTO;
	}
	return E_OK;
}

int db_sealed_put(struct db *db, const uint8_t digest[32], struct span text,
		  const uint8_t nonce[24])
{
	struct buf b = BUF_INIT(CANON_MAX);
	int rc = seal(db, span_of(digest, 32), text, nonce, &b);

	if (rc == E_OK)
		rc = db_run(db, Q_SEALED_PUT, "Bx", digest, buf_span(&b));
	buf_free(&b);
	return rc;
}

int db_sealed_get(struct db *db, const uint8_t digest[32], struct buf *out)
{
	sqlite3_stmt *st = db_query(db, Q_SEALED_GET, "B", digest);
	int rc = db_row(db, st);

	if (rc == 0)
		rc = E_NOTFOUND;
	else if (rc == 1)
		rc = unseal(db, span_of(digest, 32), col_span(st, 0), out);
	db_done(st);
	return rc;
}

int db_nonce_put(struct db *db, const struct id *n, int64_t expires, int64_t now)
{
	sqlite3_stmt *st;
	int rc = db_run(db, Q_NONCE_PURGE, "I", now);

	if (rc < 0)
		return rc;
	st = db_query(db, Q_NONCE_COUNT, "");
	rc = db_row(db, st);
	if (rc == 1)
		rc = sqlite3_column_int64(st, 0) >= NONCES_MAX ? E_BUSY : E_OK;
	db_done(st);
	return rc < 0 ? rc : db_run(db, Q_NONCE_PUT, "bI", n, expires);
}

int db_nonce_check(struct db *db, const struct id *n, int64_t now)
{
	sqlite3_stmt *st = db_query(db, Q_NONCE_GET, "b", n);
	int rc = db_row(db, st);

	if (rc == 0 || (rc == 1 && sqlite3_column_int64(st, 0) <= now))
		rc = E_NOTFOUND;
	db_done(st);
	return rc < 0 ? rc : E_OK;
}

int db_nonce_del(struct db *db, const struct id *n)
{
	return db_run(db, Q_NONCE_DEL, "b", n);
}

int db_code_put(struct db *db, const struct code_row *c, const uint8_t nonce[24])
{
	struct buf half = BUF_INIT(256);
	int rc = E_OK;

	if (c->has_half)
		rc = seal(db, span_of(c->case_id.b, ID_BYTES), span_of(c->half_a, CODE_HALF), nonce,
			  &half);
	if (rc == E_OK)
		rc = db_run(db, Q_CODE_PUT, "bxxbxbx", &c->case_id, buf_span(&half),
			    span_of(c->mac, c->has_mac ? 32 : 0), &c->to_a,
			    span_of(c->box_a, c->has_a ? CODE_BOX : 0), &c->to_b,
			    span_of(c->box_b, c->has_b ? CODE_BOX : 0));
	buf_free(&half);
	return rc;
}

int db_code_get(struct db *db, const struct id *case_id, struct code_row *out)
{
	struct buf half = BUF_INIT(256);
	sqlite3_stmt *st = db_query(db, Q_CODE_GET, "b", case_id);
	int rc = db_row(db, st);

	memset(out, 0, sizeof(*out));
	if (rc == 0)
		rc = E_NOTFOUND;
	if (rc == 1) {
		rc = E_OK;
		out->case_id = *case_id;
		if (col_span(st, 1).n)
			rc = unseal(db, span_of(case_id->b, ID_BYTES), col_span(st, 1), &half);
		out->has_half = rc == E_OK && half.n == CODE_HALF;
		if (out->has_half)
			memcpy(out->half_a, half.p, CODE_HALF);
		out->has_mac = col_bytes(st, 2, out->mac, 32);
		out->has_a = col_bytes(st, 4, out->box_a, CODE_BOX);
		out->has_b = col_bytes(st, 6, out->box_b, CODE_BOX);
		if (!col_bytes(st, 3, out->to_a.b, ID_BYTES) ||
		    !col_bytes(st, 5, out->to_b.b, ID_BYTES))
			rc = E_FORMAT;
	}
	db_done(st);
	buf_wipe_free(&half);
	return rc;
}

int db_code_find(struct db *db, const uint8_t mac[32], struct id *case_id)
{
	sqlite3_stmt *st = db_query(db, Q_CODE_FIND, "B", mac);
	int rc = db_row(db, st);

	if (rc == 0)
		rc = E_NOTFOUND;
	else if (rc == 1)
		rc = col_bytes(st, 0, case_id->b, ID_BYTES) ? E_OK : E_FORMAT;
	db_done(st);
	return rc;
}

int db_code_del(struct db *db, const struct id *case_id)
{
	return db_run(db, Q_CODE_DEL, "b", case_id);
}

int db_outbox_put(struct db *db, struct span entry)
{
	return db_run(db, Q_OUTBOX_PUT, "x", entry);
}

int db_outbox_next(struct db *db, uint64_t *seq, struct buf *entry)
{
	sqlite3_stmt *st = db_query(db, Q_OUTBOX_NEXT, "");
	int rc = db_row(db, st);

	if (rc == 0)
		rc = E_NOTFOUND;
	if (rc == 1) {
		*seq = (uint64_t)sqlite3_column_int64(st, 0);
		buf_span_put(entry, col_span(st, 1));
		rc = buf_ok(entry) ? E_OK : E_RANGE;
	}
	db_done(st);
	return rc;
}

int db_outbox_done(struct db *db, uint64_t seq)
{
	return db_run(db, Q_OUTBOX_DONE, "I", (int64_t)seq);
}
