/* store_admin_apply.c - a committed entry becomes rows: one transaction that also takes the entry
 * out of the outbox. Runs again after a crash with the same result. */
#include "fault.h"
#include "store_admin_int.h"

static int seal_half(const struct store_admin *sa, const struct id *officer, const uint8_t *half,
		     uint8_t box[CODE_BOX])
{
	const struct officer_row *o = aset_officer(sa->a, officer);
	uint8_t pk[crypto_box_PUBLICKEYBYTES];

	if (o == NULL || crypto_sign_ed25519_pk_to_curve25519(pk, o->pub) != 0)
		return E_CRYPTO;
	return crypto_box_seal(box, half, CODE_HALF, pk) == 0 ? E_OK : E_CRYPTO;
}

/* The proposer's half is made when the case is proposed, the signer's when it is decided; each is
 * sealed to that officer's key, so that nobody between store and officer sees both. */
static int apply_code(struct store_admin *sa, const struct case_row *c)
{
	struct code_row code = {.case_id = c->id};
	uint8_t nonce[24], b[CODE_HALF];
	int rc = E_OK;

	if (c->kind != CK_ONBOARD && c->kind != CK_CODE)
		return E_OK;
	sa->cb.random(sa->cb.arg, nonce, sizeof(nonce));
	if (sa->fed.stmt.verb == VB_CASE_PROPOSE) {
		sa->cb.random(sa->cb.arg, code.half_a, CODE_HALF);
		code.has_half = code.has_a = true;
		code.to_a = c->signer[0];
		rc = seal_half(sa, &code.to_a, code.half_a, code.box_a);
	} else if (sa->fed.decided) {
		rc = db_code_get(sa->db, &c->id, &code);
		if (rc == E_NOTFOUND || (rc == E_OK && !code.has_half))
			return E_OK; /* lost with an older state.db, or done before the crash */
		if (rc < 0)
			return rc;
		sa->cb.random(sa->cb.arg, b, CODE_HALF);
		code.to_b = c->signer[c->n_signers - 1];
		rc = seal_half(sa, &code.to_b, b, code.box_b);
		code_mac(sa->pepper, code.half_a, b, code.mac);
		code.has_mac = code.has_b = true;
		code.has_half = false;
		sodium_memzero(b, sizeof(b));
	} else {
		return E_OK;
	}
	if (rc == E_OK)
		rc = db_code_put(sa->db, &code, nonce);
	sodium_memzero(&code, sizeof(code));
	return rc;
}

static int apply_statement(struct store_admin *sa)
{
	const struct fed *f = &sa->fed;
	const struct case_row *c = f->stmt.has_case ? aset_case(sa->a, &f->case_id) : NULL;
	int rc = db_statement_put(sa->db, sa->fed_index, &f->stmt, f->what == FED_REFUSED);

	if (rc == E_OK && c)
		rc = db_case_put(sa->db, c);
	if (rc == E_OK && c && f->what == FED_STATEMENT)
		rc = apply_code(sa, c);
	return rc;
}

static int apply_genesis(struct store_admin *sa)
{
	const struct officer_row *o;
	int rc = db_settings_put(sa->db, aset_settings(sa->a), 0);

	for (unsigned i = 0; rc == E_OK && (o = aset_officer_at(sa->a, i)); i++)
		rc = db_officer_put(sa->db, o);
	return rc;
}

int sa_apply(struct store_admin *sa)
{
	const struct fed *f = &sa->fed;
	int rc = FAULT("admin.apply") ? E_IO : db_begin(sa->db);

	if (rc < 0)
		return rc;
	if (f->what == FED_GENESIS)
		rc = apply_genesis(sa);
	else if (f->what == FED_STATEMENT || f->what == FED_REFUSED)
		rc = apply_statement(sa);
	else if (f->what == FED_KEY)
		rc = db_code_del(sa->db, &f->case_id);
	else if (f->what == FED_AUTHORITY)
		rc = db_authority_put(sa->db, &f->row, sa->fed_index);
	if (rc == E_OK)
		rc = db_outbox_done(sa->db, sa->outbox_seq);
	if (rc == E_OK)
		rc = db_commit(sa->db);
	else
		db_rollback(sa->db);
	if (rc == E_OK)
		buf_reset(&sa->entry);
	return rc;
}

void sa_effects(struct store_admin *sa)
{
	const struct owed *r = &sa->fed.row;
	struct revoke_sel sel;
	bool revoke = false;

	if (sa->fed.what != FED_AUTHORITY && sa->fed.what != FED_GENESIS)
		return;
	memset(&sel, 0, sizeof(sel));
	if (sa->fed.what == FED_AUTHORITY && r->kind == AK_SUBJECT) {
		/* A changed tier also ends what runs: the grant was made for the old one. */
		revoke = true;
		sel.what = REV_SUBJECT;
		sel.id = sel.sub = r->u.subject.id;
	} else if (sa->fed.what == FED_AUTHORITY && r->kind == AK_KEY) {
		revoke = r->u.key.state == KEY_REVOKED;
		sel.what = REV_KEY;
		sel.id = r->u.key.id;
		sel.sub = r->u.key.sub;
	} else if (sa->fed.what == FED_AUTHORITY && r->kind == AK_LOCKDOWN) {
		static const int what[] = {REV_ALL, REV_SUBJECT, REV_ORG, REV_MODEL};

		revoke = r->u.lock.on;
		sel.what = (unsigned)what[r->u.lock.scope];
		sel.id = r->u.lock.id;
		if (r->u.lock.scope == LOCK_SUBJECT)
			sel.sub = r->u.lock.id;
		memcpy(sel.model, r->u.lock.model, sizeof(sel.model));
	}
	if (revoke)
		sa->cb.revoke(sa->cb.arg, &sel);
	sa->cb.changed(sa->cb.arg);
}
