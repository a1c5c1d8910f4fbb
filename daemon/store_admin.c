/* store_admin.c - life of the admin side and the one loop that moves a write through its stages.
 * See store_admin.h for the order; a failure at any stage leaves it there and tick goes on. */
#include <stdlib.h>

#include "fault.h"
#include "hash.h"
#include "log.h"
#include "store_admin_int.h"

int store_admin_new(struct db *db, const struct store_admin_cb *cb, const uint8_t pepper[32],
		    const struct id *boot, struct store_admin **out, struct err *err)
{
	struct store_admin *sa = calloc(1, sizeof(*sa));
	int rc;

	if (sa == NULL)
		return err_set(err, E_NOMEM, "no memory");
	sa->db = db;
	sa->cb = *cb;
	sa->boot = *boot;
	sa->entry = BUF_INIT(CANON_MAX);
	sa->tail = &sa->head;
	sa->a = aset_new();
	sa->pepper = sodium_malloc(32);
	if (sa->a == NULL || sa->pepper == NULL) {
		store_admin_free(sa);
		return err_set(err, E_NOMEM, "no memory");
	}
	memcpy(sa->pepper, pepper, 32);
	rc = db_outbox_next(db, &sa->outbox_seq, &sa->entry);
	if (rc < 0 && rc != E_NOTFOUND) {
		store_admin_free(sa);
		return err_set(err, rc, "outbox: %s", db_error(db));
	}
	*out = sa;
	return E_OK;
}

void sa_op_free(struct op *op)
{
	if (op == NULL)
		return;
	buf_wipe_free(&op->body);
	sodium_memzero(op->half, sizeof(op->half));
	sodium_free(op->secret);
	free(op);
}

void store_admin_free(struct store_admin *sa)
{
	if (sa == NULL)
		return;
	while (sa->head) {
		struct op *op = sa->head;

		sa->head = op->next;
		sa_op_free(op);
	}
	sa_op_free(sa->cur);
	buf_free(&sa->entry);
	aset_free(sa->a);
	sodium_free(sa->pepper);
	free(sa);
}

int store_admin_replay(struct store_admin *sa, uint64_t index, struct span entry, struct err *err)
{
	int rc = aset_feed(sa->a, index, entry, &sa->fed, err);

	sa->next = index + 1;
	if (rc < 0 || sa->entry.n == 0 || !span_eq(entry, buf_span(&sa->entry)))
		return rc;
	/* The crash came after the log had it: bring the rows after it. */
	sa->fed_index = index;
	rc = sa_apply(sa);
	return rc < 0 ? err_set(err, rc, "state.db: %s", db_error(sa->db)) : E_OK;
}

static int stage_genesis(struct store_admin *sa, struct span doc, struct err *err)
{
	struct genesis g;
	struct buf e = BUF_INIT(CANON_MAX);
	int rc = genesis_parse(doc, &g, err);

	if (rc < 0)
		return err_prefix(err, "genesis");
	rc = entry_genesis(doc, &sa->boot, sa->cb.now(sa->cb.arg), &e);
	if (rc == E_OK)
		rc = db_begin(sa->db);
	if (rc == E_OK) {
		rc = sa_stage(sa, buf_span(&e));
		if (rc == E_OK)
			rc = db_commit(sa->db);
		else
			db_rollback(sa->db);
	}
	if (rc < 0) {
		buf_reset(&sa->entry);
		err_set(err, rc, "genesis: %s", db_error(sa->db));
	}
	buf_free(&e);
	return rc;
}

static int verify_rows(struct store_admin *sa, struct err *err)
{
	unsigned repaired = 0;
	int rc = db_authority_verify(sa->db, sa->a, &repaired, err);

	if (rc == E_OK && repaired)
		log_ev(LOG_WARN_LV, "authority_rows_mended", "rows=%u", repaired);
	return rc;
}

int store_admin_watch(struct store_admin *sa, struct err *err)
{
	int64_t now;
	int rc;

	/* While a row waits to be written the comparison would only find that. */
	if (!sa->started || sa->fed_waits)
		return E_OK;
	if (db_foreign_writes(sa->db, &now) < 0)
		return err_set(err, E_IO, "state.db: %s", db_error(sa->db));
	if (now == sa->foreign)
		return E_OK;
	rc = verify_rows(sa, err);
	if (rc == E_OK)
		sa->foreign = now;
	return rc;
}

int store_admin_start(struct store_admin *sa, struct span doc, struct err *err)
{
	uint8_t digest[32], have[32];
	int rc;

	if (aset_genesis(sa->a, have)) {
		sha256(doc, digest);
		if (doc.n && memcmp(digest, have, 32) != 0)
			return err_set(err, E_CRYPTO, "the genesis file is not that of this log");
	} else if (sa->next != 0) {
		return err_set(err, E_CRYPTO, "the log does not begin with a genesis");
	} else if (sa->entry.n == 0) {
		rc = stage_genesis(sa, doc, err);
		if (rc < 0)
			return rc;
	}
	rc = sa->entry.n ? sa_outbox_judge(sa, doc, err) : E_OK;
	if (rc < 0)
		return rc;
	if (db_foreign_writes(sa->db, &sa->foreign) < 0)
		return err_set(err, E_IO, "state.db: %s", db_error(sa->db));
	rc = verify_rows(sa, err);
	if (rc < 0)
		return rc;
	sa->started = true;
	sa_advance(sa);
	return E_OK;
}

int sa_stage(struct store_admin *sa, struct span entry)
{
	int rc = FAULT("admin.stage") ? E_IO : db_outbox_put(sa->db, entry);

	if (rc < 0)
		return rc;
	buf_reset(&sa->entry);
	rc = db_outbox_next(sa->db, &sa->outbox_seq, &sa->entry);
	if (rc < 0)
		buf_reset(&sa->entry);
	else if (!span_eq(buf_span(&sa->entry), entry))
		fatal("state_edited", "why=\"outbox row %llu is not ours\"",
		      (unsigned long long)sa->outbox_seq);
	return rc;
}

/* The next authority row that the log owes, into the outbox. */
static int stage_owed(struct store_admin *sa)
{
	struct buf e = BUF_INIT(CANON_MAX);
	int rc = aset_owed_entry(aset_owed(sa->a), &sa->boot, sa->cb.now(sa->cb.arg), sa->a, &e);

	if (rc == E_OK)
		rc = db_begin(sa->db);
	if (rc == E_OK) {
		rc = sa_stage(sa, buf_span(&e));
		if (rc == E_OK)
			rc = db_commit(sa->db);
		else
			db_rollback(sa->db);
	}
	if (rc < 0)
		buf_reset(&sa->entry);
	buf_free(&e);
	return rc;
}

static void fail(struct store_admin *sa)
{
	sa->stuck = true;
	if (sa->cur)
		sa_op_unavailable(sa, sa->cur);
}

/* One step; false = nothing to do now. */
static bool step(struct store_admin *sa)
{
	struct op *op;

	if (sa->fed_waits) {
		if (sa_apply(sa) < 0) {
			fail(sa);
			return false;
		}
		sa->fed_waits = false;
		sa->stuck = false;
		sa_effects(sa);
		return true;
	}
	if (sa->entry.n) {
		if (FAULT("admin.append") || sa->cb.append(sa->cb.arg, buf_span(&sa->entry)) < 0) {
			fail(sa);
			return false;
		}
		sa->inflight = true;
		return false;
	}
	if (aset_owed(sa->a)) {
		if (stage_owed(sa) < 0) {
			fail(sa);
			return false;
		}
		return true;
	}
	sa->stuck = false;
	if (sa->cur) {
		op = sa->cur;
		sa->cur = NULL;
		sa_op_finish(sa, op);
		sa_op_free(op);
		return true;
	}
	if (sa->head == NULL)
		return false;
	op = sa->head;
	sa->head = op->next;
	if (sa->head == NULL)
		sa->tail = &sa->head;
	sa->n_ops--;
	if (sa_op_start(sa, op))
		sa->cur = op;
	else
		sa_op_free(op);
	return true;
}

void sa_advance(struct store_admin *sa)
{
	while (sa->started && !sa->inflight && step(sa))
		;
}

void store_admin_appended(struct store_admin *sa, int rc, uint64_t index)
{
	struct err err;

	must(sa->inflight);
	sa->inflight = false;
	if (rc < 0) {
		fail(sa);
		return;
	}
	/* Entries of other writers lie between; the set only wants to know that it saw them all. */
	aset_skip_to(sa->a, index);
	rc = aset_feed(sa->a, index, buf_span(&sa->entry), &sa->fed, &err);
	if (rc < 0)
		fatal("admin_entry", "err=%s", err.text); /* judged before: it cannot differ */
	if (sa->cur && (sa->fed.what == FED_STATEMENT || sa->fed.what == FED_REFUSED ||
			sa->fed.what == FED_KEY))
		sa->cur->index = index;
	sa->fed_index = index;
	sa->fed_waits = true;
	sa_advance(sa);
}

void store_admin_tick(struct store_admin *sa)
{
	struct err err;

	if (store_admin_watch(sa, &err) == E_CRYPTO)
		fatal("state_edited", "why=\"%s\"", err.text);
	sa_advance(sa);
}

static void enqueue(struct store_admin *sa, struct op *op)
{
	if (!sa->started || sa->stuck || sa->n_ops >= OPS_MAX) {
		sa_op_unavailable(sa, op);
		sa_op_free(op);
		return;
	}
	*sa->tail = op;
	sa->tail = &op->next;
	sa->n_ops++;
	sa_advance(sa);
}

static struct op *op_new(enum op_kind kind, const struct id *req)
{
	struct op *op = calloc(1, sizeof(*op));

	if (op) {
		op->kind = kind;
		op->req = *req;
		op->body = BUF_INIT(CANON_MAX + 1);
	}
	return op;
}

bool store_admin_handles(unsigned verb)
{
	switch (verb) {
	case AV_NONCE:
	case AV_STATEMENT:
	case AV_QUEUE:
	case AV_CASE_SHOW:
	case AV_CASE_LS:
	case AV_SUBJECT_LS:
	case AV_SUBJECT_SHOW:
	case AV_OFFICER_LS:
	case AV_KEY_LS:
	case AV_QUOTA_SHOW:
	case AV_QUOTA_EXPLAIN:
	case AV_GENESIS:
	case AV_SETTINGS_SHOW:
		return true;
	default:
		return false;
	}
}

void store_admin_request(struct store_admin *sa, const struct msg_ADMREQ *m)
{
	struct op *op;

	if (m->verb != AV_STATEMENT) {
		sa_read(sa, m);
		return;
	}
	op = op_new(OP_STATEMENT, &m->req);
	if (op)
		buf_span_put(&op->body, m->body);
	if (op == NULL || !buf_ok(&op->body)) {
		sa_op_free(op);
		sa_refuse(sa, &m->req, GD_FORM); /* larger than any statement can be */
		return;
	}
	enqueue(sa, op);
}

void store_admin_enrol(struct store_admin *sa, const struct msg_ENROLL *m, const uint8_t *thumb)
{
	struct op *op = op_new(OP_ENROL, &m->req);

	if (op == NULL) {
		sa->cb.enrolled(sa->cb.arg, &m->req, 21, "", "", "");
		return;
	}
	snprintf(op->half[0], sizeof(op->half[0]), SPAN_FMT, SPAN_ARG(m->code_a));
	snprintf(op->half[1], sizeof(op->half[1]), SPAN_FMT, SPAN_ARG(m->code_b));
	op->has_thumb = thumb != NULL;
	if (thumb)
		memcpy(op->thumb, thumb, 32);
	enqueue(sa, op);
}

bool store_admin_idle(const struct store_admin *sa)
{
	return sa->started && !sa->inflight && !sa->fed_waits && sa->entry.n == 0 &&
	       aset_owed(sa->a) == NULL && sa->cur == NULL && sa->head == NULL;
}

bool store_admin_confirmed(const struct store_admin *sa)
{
	return aset_genesis(sa->a, NULL) && aset_confirmed(sa->a);
}

bool store_admin_ready(const struct store_admin *sa)
{
	const struct lock_row all = {.scope = LOCK_ALL}, *l = aset_lock(sa->a, &all);

	return store_admin_confirmed(sa) && !(l && l->on);
}

int64_t store_admin_expires(const struct store_admin *sa, const struct id *key,
			    const struct id *sub)
{
	const struct key_row *k = aset_key(sa->a, key);
	const struct subject_row *s = aset_subject(sa->a, sub);

	if (k == NULL || s == NULL)
		return 1;
	if (k->expires == 0 || (s->expires != 0 && s->expires < k->expires))
		return s->expires;
	return k->expires;
}

bool store_admin_demo(const struct store_admin *sa)
{
	const struct settings *s = aset_settings(sa->a);

	return s && s->demo;
}

bool store_admin_genesis_digest(const struct store_admin *sa, uint8_t out[32])
{
	return aset_genesis(sa->a, out);
}
