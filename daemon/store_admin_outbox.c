/* store_admin_outbox.c - what lies in the outbox at start is judged before the log sees it: its
 * bytes came from a file that others may have written to, and the log's key would sign them. */
#include "canon.h"
#include "log.h"
#include "store_admin_int.h"

struct found {
	const json_t *e;
	struct id boot;
	int64_t ts;
};

static const char *judge_genesis(struct store_admin *sa, const struct found *f, struct span doc,
				 struct buf *want)
{
	struct genesis g;
	struct err err;

	if (aset_genesis(sa->a, NULL) || sa->next != 0)
		return "a second genesis";
	if (genesis_parse(doc, &g, &err) < 0 || entry_genesis(doc, &f->boot, f->ts, want) < 0)
		return "no genesis document to compare it with";
	return NULL;
}

static const char *judge_statement(struct store_admin *sa, const struct found *f, struct buf *want)
{
	struct span bytes = jx_str(f->e, "statement");
	uint8_t sig[STMT_SIG];
	bool recordable;
	struct stmt s;
	enum guard g;

	if (!aset_genesis(sa->a, NULL) || aset_owed(sa->a) || bytes.p == NULL ||
	    !jx_b64(f->e, "sig", sig, sizeof(sig)))
		return "a malformed statement, or one out of its turn";
	g = aset_judge(sa->a, bytes, sig, f->ts, &s, &recordable);
	if (!recordable)
		return "a statement that no officer signed for this log";
	return entry_statement(bytes, sig, &s, g, &f->boot, f->ts, want) < 0 ? "too large" : NULL;
}

static const char *judge_authority(struct store_admin *sa, const struct found *f, struct buf *want)
{
	const struct owed *o = aset_owed(sa->a);

	if (o == NULL)
		return "an authority row that no statement made";
	return aset_owed_entry(o, &f->boot, f->ts, sa->a, want) < 0 ? "too large" : NULL;
}

/* Why it may not stand in the log; NULL = it may. */
static const char *judge(struct store_admin *sa, struct span doc, bool *drop)
{
	struct buf want = BUF_INIT(CANON_MAX);
	struct found f = {0};
	const char *why = NULL;
	struct err err;
	struct span t;
	json_t *e = canon_parse_any(buf_span(&sa->entry), &err);

	f.e = e;
	t = jx_str(e, "t");
	if (!jx_int(e, "ts", 1, INT64_MAX, &f.ts) || !jx_id(e, "boot", "bot", &f.boot) ||
	    f.ts > sa->cb.now(sa->cb.arg) + NONCE_LIFE_MS)
		why = "no entry of ours";
	else if (span_eq(t, SPAN_LIT("genesis")))
		why = judge_genesis(sa, &f, doc, &want);
	else if (span_eq(t, SPAN_LIT("statement")))
		why = judge_statement(sa, &f, &want);
	else if (span_eq(t, SPAN_LIT("authority")))
		why = judge_authority(sa, &f, &want);
	else if (span_eq(t, SPAN_LIT("key.create")))
		*drop = true;
	else
		why = "no type that is staged here";
	if (why == NULL && !*drop && !span_eq(buf_span(&want), buf_span(&sa->entry)))
		why = "other bytes than what it says makes";
	json_decref(e);
	buf_free(&want);
	return why;
}

/* Nothing signs a key.create, so it is not believed. Nobody was told of the key, and its code is
 * spent only when the entry is applied: who enrols will do so again. */
static int forget(struct store_admin *sa)
{
	int rc = db_begin(sa->db);

	if (rc == E_OK)
		rc = db_outbox_done(sa->db, sa->outbox_seq);
	if (rc == E_OK)
		rc = db_commit(sa->db);
	else
		db_rollback(sa->db);
	if (rc == E_OK) {
		log_ev(LOG_WARN_LV, "enrolment_forgotten", "row=%llu",
		       (unsigned long long)sa->outbox_seq);
		buf_reset(&sa->entry);
	}
	return rc;
}

int sa_outbox_judge(struct store_admin *sa, struct span doc, struct err *err)
{
	unsigned long long row = sa->outbox_seq;
	bool drop = false;
	const char *why = judge(sa, doc, &drop);

	if (why)
		return err_set(err, E_CRYPTO, "state.db, outbox row %llu: %s", row, why);
	if (drop && forget(sa) < 0)
		return err_set(err, E_IO, "outbox: %s", db_error(sa->db));
	return E_OK;
}
