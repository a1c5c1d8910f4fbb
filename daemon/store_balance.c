/* store_balance.c - quota balances in state.db: a copy of the fold over the log up to applied_seq,
 * in one transaction with it, written about once a second and allowed to lag. The log stays the
 * truth: start folds it whole and only compares. Index thread, except where noted. */
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "store.h"
#include "store_index.h"

#define WRITE_MS 1000
#define KEEP_DAYS 40
#define KEEP_MONTHS 14

struct balance_job {
	struct work_job w; /* first */
	struct store *s;
	uint64_t applied;
	uint32_t day_before, month_before;
	unsigned n, cap;
	struct balance_row *row;
};

static int put_all(struct db *db, const struct balance_job *j)
{
	int rc = db_begin(db);

	for (unsigned i = 0; i < j->n && rc == E_OK; i++)
		rc = db_balance_put(db, &j->row[i]);
	if (rc == E_OK)
		rc = db_balance_purge(db, j->day_before, j->month_before);
	if (rc == E_OK)
		rc = db_applied_put(db, j->applied);
	if (rc == E_OK)
		rc = db_commit(db);
	return rc;
}

/* Database writer thread. */
static void run(struct work_job *w)
{
	struct balance_job *j = (struct balance_job *)w;

	if (put_all(j->s->db_wr, j) < 0) {
		/* the next one carries only later changes: all are written again at the next start
		 */
		log_ev(LOG_WARN_LV, "balances", "why=\"%s\"", db_error(j->s->db_wr));
		db_rollback(j->s->db_wr);
	}
	free(j->row);
	free(j);
}

static int add(struct balance_job *j, const struct quota_acct *a, uint32_t period, uint64_t req,
	       uint64_t tok)
{
	struct balance_row *p;

	if (j->n == j->cap) {
		p = realloc(j->row, (j->cap * 2 + 64) * sizeof(*p));
		if (p == NULL)
			return E_NOMEM;
		j->row = p;
		j->cap = j->cap * 2 + 64;
	}
	j->row[j->n++] = (struct balance_row){(enum level)a->level, a->id, period, req, tok};
	return 0;
}

static int changed(void *arg, const struct quota_acct *a)
{
	struct balance_job *j = arg;
	int rc;

	if (a->ver <= j->s->rep_ver)
		return 0;
	rc = add(j, a, zone_yyyymmdd(a->day), a->day_req, a->day_tok);
	return rc < 0 ? rc : add(j, a, zone_yyyymm(a->month), a->mon_req, a->mon_tok);
}

void store_balance_write(struct store *s, bool now)
{
	struct balance_job *j;
	struct zone_now t;
	uint64_t ms = clock_mono_ms(), applied = store_index_applied(s->index);

	if (s->rep_written == applied || (!now && ms < s->rep_at))
		return;
	s->rep_at = ms + WRITE_MS;
	j = calloc(1, sizeof(*j));
	if (j == NULL)
		return;
	j->w.run = run;
	j->s = s;
	j->applied = applied;
	zone_at(&s->rep.zone, s->rep.last_ts, &t);
	j->day_before = zone_yyyymmdd(t.day - KEEP_DAYS);
	j->month_before = zone_yyyymm(t.month - KEEP_MONTHS);
	if (quota_each(s->rep.quota, changed, j) < 0 || work_put(s->wr, &j->w, true) < 0) {
		free(j->row);
		free(j);
		return;
	}
	s->rep_written = applied; /* j belongs to the writer now */
	s->rep_ver = quota_version(s->rep.quota);
}

void store_balance_entry(struct store *s, struct span entry)
{
	uint64_t odd = 0;
	struct err err;

	/* the live store made and applied this very entry: it cannot be odd */
	if (fold_entry(&s->rep, entry, LEASE_NO_INDEX, &odd, &err) < 0 || odd)
		log_ev(LOG_WARN_LV, "balances_fold", "odd=%llu", (unsigned long long)odd);
}

struct zone_job {
	struct work_job w; /* first */
	struct store *s;
	struct zone zone;
};

static void zone_run(struct work_job *w)
{
	struct zone_job *j = (struct zone_job *)w;

	j->s->rep.zone = j->zone;
	free(j);
}

/* Loop thread: entries from now on are folded in the new zone. */
void store_balance_zone(struct store *s)
{
	struct zone_job *j = calloc(1, sizeof(*j));

	must(j != NULL);
	*j = (struct zone_job){.w = {.run = zone_run}, .s = s, .zone = s->f.zone};
	work_put(s->ix, &j->w, true);
}

/* ---- at start, loop thread ---- */

struct compare {
	struct store *s;
	unsigned differ;
	struct zone_now t;
};

static int compare_row(void *arg, const struct balance_row *r)
{
	struct compare *c = arg;
	const struct quota_acct *a =
	    quota_acct(c->s->rep.quota, (enum quota_level)r->level, &r->id);

	if (a && r->period == zone_yyyymmdd(a->day))
		c->differ += r->req != a->day_req || r->tok != a->day_tok;
	else if (a && r->period == zone_yyyymm(a->month))
		c->differ += r->req != a->mon_req || r->tok != a->mon_tok;
	else if (a == NULL && (r->req || r->tok))
		c->differ++; /* usage of somebody the log does not know */
	return 0;
}

void store_balance_compare(struct store *s)
{
	struct compare c = {.s = s};

	if (db_balance_each(s->db_wr, compare_row, &c) < 0 || c.differ)
		log_ev(LOG_WARN_LV, "balances_differ", "rows=%u", c.differ);
}
