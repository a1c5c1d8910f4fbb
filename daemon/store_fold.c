/* store_fold.c - see store_fold.h. */
#include "store_fold.h"

#include "fault.h"

int fold_init(struct fold *f)
{
	*f = (struct fold){.last_ts = 0};
	zone_utc(&f->zone);
	f->quota = quota_new();
	f->leases = leases_new();
	if (f->quota && f->leases)
		return E_OK;
	fold_free(f);
	return E_NOMEM;
}

void fold_free(struct fold *f)
{
	quota_free(f->quota);
	leases_free(f->leases);
	f->quota = NULL;
	f->leases = NULL;
}

static int reserve(struct fold *f, const struct ev *e, const struct zone_now *now, struct lease **l)
{
	struct quota_who who = {.id = {e->key, e->sub, e->org}};

	*l = lease_add(f->leases, &e->lease, &e->req, &e->conn);
	if (*l == NULL)
		return E_CONFLICT;
	(*l)->max_total = e->max_total;
	f->reserves++;
	return quota_admit_apply(f->quota, &who, now, &(*l)->hold);
}

static int end(struct fold *f, const struct ev *e, uint64_t ix, struct lease *l)
{
	if (l->state == LS_CLOSED || (e->type == EV_OUTCOME) != (l->state == LS_INTENT))
		return E_CONFLICT;
	if (e->type == EV_OUTCOME) {
		quota_settle(f->quota, &l->hold, (uint64_t)e->prompt + e->completion);
		l->outcome_ix = ix;
		l->presumed = e->state == OS_UNKNOWN;
		f->outcomes++;
		f->prompt_tokens += e->prompt;
		f->completion_tokens += e->completion;
	} else {
		quota_refund(f->quota, &l->hold, !ev_is_free(e->code));
		f->ended++;
	}
	return lease_closed(f->leases, l);
}

static int known(struct fold *f, const struct ev *e, uint64_t ix, const struct zone_now *now,
		 struct lease *l)
{
	int rc;

	switch (e->type) {
	case EV_CLAIM:
		if (l->state != LS_RESERVED)
			return E_CONFLICT;
		rc = quota_claim_apply(f->quota, &l->hold, (uint64_t)e->prompt + e->out, now);
		return rc < 0 ? rc : lease_claimed(f->leases, l, e->prompt, e->out);
	case EV_INTENT:
		rc = lease_intent(f->leases, l);
		if (rc == E_OK) {
			l->intent_ix = ix;
			f->intents++;
		}
		return rc;
	case EV_PROGRESS:
		if (l->state != LS_INTENT)
			return E_CONFLICT;
		l->tokens = e->tokens > l->tokens ? e->tokens : l->tokens;
		l->bytes = e->bytes > l->bytes ? e->bytes : l->bytes;
		return E_OK;
	default:
		return end(f, e, ix, l);
	}
}

int fold_apply(struct fold *f, const struct ev *e, uint64_t ix, struct lease **lp)
{
	struct zone_now now;
	struct lease *l = NULL;
	int rc = E_OK;

	if (e->ts > f->last_ts)
		f->last_ts = e->ts;
	if (lp)
		*lp = NULL;
	if (e->type == EV_OTHER)
		return E_OK;
	zone_at(&f->zone, e->ts, &now);
	if (e->type == EV_RESERVE) {
		rc = reserve(f, e, &now, &l);
	} else {
		l = lease_match(f->leases, &e->lease, &e->req);
		rc = l ? known(f, e, ix, &now, l) : E_CONFLICT;
	}
	if (lp)
		*lp = l;
	if (FAULT("store.after_fold")) /* a place to be killed at: applied, not yet in the log */
		return E_NOMEM;
	return rc;
}

int fold_entry(struct fold *f, struct span entry, uint64_t ix, uint64_t *odd, struct err *err)
{
	struct ev e;
	int rc = ev_parse(entry, &e, err);

	if (rc < 0)
		return rc;
	rc = fold_apply(f, &e, ix, NULL);
	if (rc == E_CONFLICT) {
		(*odd)++;
		return E_OK;
	}
	return rc < 0 ? err_set(err, rc, "no memory for the fold") : E_OK;
}
