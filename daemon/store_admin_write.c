/* store_admin_write.c - one statement or one enrolment: judged, staged, answered. */
#include "fault.h"
#include "log.h"
#include "reasons.h"
#include "store_admin_int.h"

/* What a request carries beside the statement: text that the statement only commits to. */
struct extra {
	uint8_t salt[32];
	struct span text; /* borrowed from the request's JSON */
	bool has;
	uint8_t raw[16384];
};

static bool sealed_parse(const json_t *o, struct extra *x)
{
	const json_t *v = json_object_get(o, "sealed");
	size_t n;

	x->has = false;
	if (json_is_null(v))
		return true;
	if (!json_is_string(v) ||
	    sodium_base642bin(x->raw, sizeof(x->raw), json_string_value(v), json_string_length(v),
			      NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    n < 32)
		return false;
	memcpy(x->salt, x->raw, 32);
	x->text = span_of(x->raw + 32, n - 32);
	x->has = true;
	return true;
}

/* Which commitment the statement makes; NULL = none. */
static const uint8_t *commitment_of(const struct stmt *s)
{
	if (s->verb == VB_CASE_OPEN)
		return s->payload.kind == CK_ONBOARD ? s->payload.subject.party : NULL;
	return s->has_note ? s->note : NULL;
}

static enum guard sealed_check(const struct stmt *s, const struct extra *x)
{
	const uint8_t *want = commitment_of(s);
	uint8_t d[32];

	if (!x->has)
		return want ? GD_COMMITMENT : GD_OK;
	if (want == NULL)
		return GD_COMMITMENT;
	commit_digest(x->salt, x->text, d);
	return memcmp(d, want, 32) == 0 ? GD_OK : GD_COMMITMENT;
}

static int stage_statement(struct store_admin *sa, struct op *op, struct span bytes,
			   const uint8_t sig[STMT_SIG], const struct extra *x, int64_t now)
{
	struct buf e = BUF_INIT(CANON_MAX);
	uint8_t nonce[24];
	int rc = entry_statement(bytes, sig, &op->stmt, op->result, &sa->boot, now, &e);

	if (rc == E_OK)
		rc = db_begin(sa->db);
	if (rc < 0)
		goto out;
	rc = db_nonce_del(sa->db, &op->stmt.nonce);
	sa->cb.random(sa->cb.arg, nonce, sizeof(nonce));
	if (rc == E_OK && op->result == GD_OK && x->has)
		rc = db_sealed_put(sa->db, commitment_of(&op->stmt),
				   span_of(x->raw, x->text.n + 32), nonce);
	if (rc == E_OK)
		rc = sa_stage(sa, buf_span(&e));
	if (rc == E_OK)
		rc = db_commit(sa->db);
	else
		db_rollback(sa->db);
	if (rc < 0)
		buf_reset(&sa->entry);
out:
	buf_free(&e);
	return rc;
}

static bool start_statement(struct store_admin *sa, struct op *op)
{
	json_t *o = canon_parse_any(buf_span(&op->body), NULL);
	struct span bytes = jx_str(o, "statement");
	struct extra x;
	uint8_t sig[STMT_SIG];
	int64_t now = sa->cb.now(sa->cb.arg);
	bool recordable = false, staged = false;
	int rc;

	if (!jx_members(o, "sealed sig statement") || bytes.p == NULL ||
	    !jx_b64(o, "sig", sig, sizeof(sig)) || !sealed_parse(o, &x)) {
		sa_refuse(sa, &op->req, GD_FORM);
		goto out;
	}
	op->result = aset_judge(sa->a, bytes, sig, now, &op->stmt, &recordable);
	if (recordable && db_nonce_check(sa->db, &op->stmt.nonce, now) < 0) {
		op->result = GD_NONCE;
		recordable = false; /* never ours: nothing to burn, nothing to record */
	}
	if (recordable && op->result == GD_OK)
		op->result = sealed_check(&op->stmt, &x);
	if (!recordable) {
		log_ev(LOG_WARN_LV, "statement_refused", "guard=%s", guard_info(op->result)->name);
		sa_refuse(sa, &op->req, op->result);
		goto out;
	}
	rc = stage_statement(sa, op, bytes, sig, &x, now);
	if (rc < 0) {
		log_ev(LOG_ERROR_LV, "admin_stage", "err=%s", err_name(rc));
		sa_op_unavailable(sa, op);
	}
	staged = rc == E_OK;
out:
	json_decref(o);
	sodium_memzero(x.raw, sizeof(x.raw));
	return staged;
}

static void enrol_no(struct store_admin *sa, struct op *op, unsigned reason)
{
	op->answered = true;
	sa->cb.enrolled(sa->cb.arg, &op->req, reason, "", "", "");
}

static bool start_enrol(struct store_admin *sa, struct op *op)
{
	uint8_t a[CODE_HALF_BYTES], b[CODE_HALF_BYTES], mac[32], digest[32], none[32] = {0};
	struct buf e = BUF_INIT(CANON_MAX);
	struct case_payload p;
	const struct case_row *c;
	struct id case_id;
	int64_t now = sa->cb.now(sa->cb.arg);
	int rc;

	if (!code_half_parse('A', span_cstr(op->half[0]), a) ||
	    !code_half_parse('B', span_cstr(op->half[1]), b)) {
		enrol_no(sa, op, RS_BAD_CODE);
		return false;
	}
	code_mac(sa->pepper, a, b, mac);
	sodium_memzero(a, sizeof(a));
	sodium_memzero(b, sizeof(b));
	rc = db_code_find(sa->db, mac, &case_id);
	c = rc == E_OK ? aset_case(sa->a, &case_id) : NULL;
	if (c == NULL || aset_code_check(sa->a, &case_id, now) != GD_OK) {
		enrol_no(sa, op, rc < 0 && rc != E_NOTFOUND ? RS_BOOK_DOWN : RS_BAD_CODE);
		return false;
	}
	if (aset_case_payload(c, &p) < 0 || (p.binding == BIND_CERT && !op->has_thumb) ||
	    p.binding == BIND_NETWORK) {
		enrol_no(sa, op, RS_BINDING);
		return false;
	}
	op->secret = sodium_malloc(32);
	if (op->secret == NULL) {
		enrol_no(sa, op, RS_OVERLOADED);
		return false;
	}
	sa->cb.random(sa->cb.arg, op->key.b, ID_BYTES);
	sa->cb.random(sa->cb.arg, op->secret, 32);
	op->sub = c->subject;
	api_key_digest(op->secret, digest);
	api_key_mac(sa->pepper, &op->key, digest, mac);
	rc = entry_key_create(&case_id, &op->key, &op->sub, mac,
			      p.binding == BIND_CERT ? op->thumb : none, &sa->boot, now, &e);
	if (rc == E_OK)
		rc = db_begin(sa->db);
	if (rc == E_OK) {
		rc = sa_stage(sa, buf_span(&e));
		if (rc == E_OK)
			rc = db_commit(sa->db);
		else
			db_rollback(sa->db);
	}
	buf_free(&e);
	if (rc < 0) {
		buf_reset(&sa->entry);
		enrol_no(sa, op, RS_BOOK_DOWN);
	}
	return rc == E_OK;
}

bool sa_op_start(struct store_admin *sa, struct op *op)
{
	return op->kind == OP_ENROL ? start_enrol(sa, op) : start_statement(sa, op);
}

void sa_op_unavailable(struct store_admin *sa, struct op *op)
{
	static const struct guard_info book_down = {
	    "audit_unavailable",
	    503,
	    10,
	    "the log or state.db cannot be written now",
	    "the host's operator; the change may still take effect then",
	    "sallyport status"};

	if (op->answered)
		return;
	if (op->kind == OP_ENROL) {
		enrol_no(sa, op, RS_BOOK_DOWN);
		return;
	}
	op->answered = true;
	sa_error(sa, &op->req, &book_down);
}

static void answer_case(struct store_admin *sa, struct op *op, struct jsonw *w)
{
	const struct case_row *c = op->stmt.has_case ? aset_case(sa->a, &op->stmt.target) : NULL;
	bool a = op->stmt.verb == VB_CASE_PROPOSE;
	struct code_row code = {.has_a = false};
	char t[ID_TEXT_MAX];

	jw_kbool(w, "waits", c && c->state == CS_M);
	jw_key(w, "case");
	if (c == NULL) {
		jw_null(w);
		return;
	}
	jw_cstr(w, id_fmt("cas", &c->id, t));
	jw_kint(w, "num", c->num);
	jw_kcstr(w, "state", case_state_text(c->state));
	jw_kcstr(w, "subject", id_is_zero(&c->subject) ? "" : id_fmt("sub", &c->subject, t));
	jw_key(w, "code_box");
	if ((a || op->stmt.verb == VB_CASE_SIGN) && db_code_get(sa->db, &c->id, &code) == E_OK &&
	    (a ? code.has_a : code.has_b))
		jw_b64(w, a ? code.box_a : code.box_b, CODE_BOX);
	else
		jw_null(w);
	sodium_memzero(&code, sizeof(code));
}

static void finish_statement(struct store_admin *sa, struct op *op)
{
	struct buf b = BUF_INIT(CANON_MAX);
	struct jsonw w;

	if (op->result != GD_OK) {
		sa_refuse(sa, &op->req, op->result);
		return;
	}
	jw_init(&w, &b);
	w.free_order = true;
	jw_obj(&w);
	jw_kint(&w, "schema_version", SCHEMA);
	jw_kbool(&w, "demo", store_admin_demo(sa));
	jw_kcstr(&w, "result", "ok");
	jw_kcstr(&w, "verb", verb_text(op->stmt.verb));
	jw_kint(&w, "entry", (int64_t)op->index);
	answer_case(sa, op, &w);
	if (op->stmt.verb == VB_OFFICER_CONFIRM)
		jw_kbool(&w, "confirmed", aset_confirmed(sa->a));
	jw_end_obj(&w);
	sa_reply(sa, &op->req, &b);
	buf_free(&b);
}

void sa_op_finish(struct store_admin *sa, struct op *op)
{
	char kid[ID_TEXT_MAX], sub[ID_TEXT_MAX], key[API_KEY_TEXT];

	if (op->answered)
		return;
	if (op->kind == OP_STATEMENT) {
		finish_statement(sa, op);
		return;
	}
	api_key_text(&op->key, op->secret, key);
	sa->cb.enrolled(sa->cb.arg, &op->req, RS_NONE, id_fmt("key", &op->key, kid), key,
			id_fmt("sub", &op->sub, sub));
	sodium_memzero(key, sizeof(key));
}
