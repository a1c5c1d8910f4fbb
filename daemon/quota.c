/* quota.c - see quota.h. Accounts live in one hash table by (level, id) and are never dropped:
 * there are as many as vetted keys, subjects and organisations, about 2 KiB each. */
#include "quota.h"

#include <stdlib.h>
#include <uthash.h>

struct acct_key {
	uint8_t level;
	struct id id;
};

struct node {
	struct acct_key key;
	struct quota_acct a;
	UT_hash_handle hh;
};

struct quota {
	struct node *all;
	uint64_t ver;
};

struct quota *quota_new(void)
{
	return calloc(1, sizeof(struct quota));
}

void quota_free(struct quota *q)
{
	struct node *n, *tmp;

	if (q == NULL)
		return;
	HASH_ITER(hh, q->all, n, tmp)
	{
		HASH_DEL(q->all, n);
		free(n);
	}
	free(q);
}

static struct node *find(struct quota *q, enum quota_level l, const struct id *id)
{
	struct acct_key k = {.level = (uint8_t)l, .id = *id};
	struct node *n;

	HASH_FIND(hh, q->all, &k, sizeof(k), n);
	return n;
}

static struct node *get(struct quota *q, enum quota_level l, const struct id *id)
{
	struct node *n = find(q, l, id);

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->key = (struct acct_key){.level = (uint8_t)l, .id = *id};
	n->a.level = l;
	n->a.id = *id;
	for (int i = 0; i < QUOTA_BUCKETS; i++)
		n->a.min[i].sec = -1;
	HASH_ADD(hh, q->all, key, sizeof(n->key), n);
	return n;
}

static int64_t sec_of(const struct zone_now *t)
{
	return t->ms / 1000;
}

static struct quota_bucket *bucket(struct quota_acct *a, const struct zone_now *t)
{
	struct quota_bucket *b = &a->min[sec_of(t) % QUOTA_BUCKETS];

	if (b->sec < sec_of(t))
		*b = (struct quota_bucket){.sec = sec_of(t)};
	return b;
}

static bool counts(const struct quota_bucket *b, const struct zone_now *now)
{
	return b->sec >= 0 && b->sec > sec_of(now) - QUOTA_BUCKETS && b->sec <= sec_of(now);
}

static void sum_minute(const struct quota_acct *a, const struct zone_now *now, uint64_t *req,
		       uint64_t *tok)
{
	*req = *tok = 0;
	for (int i = 0; i < QUOTA_BUCKETS; i++)
		if (counts(&a->min[i], now)) {
			*req += a->min[i].req;
			*tok += a->min[i].tok;
		}
}

static void used_of(const struct quota_acct *a, const struct zone_now *now, uint64_t u[QW_COUNT])
{
	sum_minute(a, now, &u[QW_RPM], &u[QW_TPM]);
	u[QW_RPD] = a->day == now->day ? a->day_req : 0;
	u[QW_TPD] = a->day == now->day ? a->day_tok : 0;
	u[QW_RPMON] = a->month == now->month ? a->mon_req : 0;
	u[QW_TPMON] = a->month == now->month ? a->mon_tok : 0;
	u[QW_CONC] = a->conc;
}

/* ms until at least `over` of what the minute holds has left the window. */
static uint32_t minute_wait(const struct quota_acct *a, const struct zone_now *now, bool tok,
			    uint64_t over)
{
	uint64_t gone = 0;

	for (int64_t s = sec_of(now) - QUOTA_BUCKETS + 1; s <= sec_of(now); s++) {
		const struct quota_bucket *b;

		if (s < 0)
			continue;
		b = &a->min[s % QUOTA_BUCKETS];
		if (b->sec == s)
			gone += tok ? b->tok : b->req;
		if (gone >= over)
			return (uint32_t)((s + QUOTA_BUCKETS) * 1000 - now->ms);
	}
	return QUOTA_BUCKETS * 1000;
}

static uint32_t until(int64_t end, int64_t now)
{
	int64_t d = end - now;

	return d <= 0 ? 1 : d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
}

static void say_no(struct quota_no *no, const struct quota_acct *a, enum quota_what w,
		   const struct quota_limits *lim, uint64_t used, uint64_t asked,
		   const struct zone_now *now)
{
	*no = (struct quota_no){
	    .level = a->level, .what = w, .limit = lim->max[w], .used = used, .asked = asked};
	if (asked > lim->max[w])
		no->no_retry = true; /* would not fit an empty account either */
	else if (w == QW_RPM || w == QW_TPM)
		no->retry_ms = minute_wait(a, now, w == QW_TPM, used + asked - lim->max[w]);
	else if (w == QW_CONC)
		no->retry_ms = 1000;
	else
		no->no_retry = true;
	if (w == QW_RPD || w == QW_TPD)
		no->retry_ms = until(now->day_end, now->ms);
	if (w == QW_RPMON || w == QW_TPMON)
		no->retry_ms = until(now->month_end, now->ms);
}

/* The most lasting obstacle first, so that nobody is told to retry in vain. */
static bool fits(const struct quota_acct *a, const struct quota_limits *lim, bool admit,
		 uint64_t tokens, const struct zone_now *now, struct quota_no *no)
{
	static const enum quota_what order[] = {QW_RPMON, QW_TPMON, QW_RPD, QW_TPD,
						QW_RPM,	  QW_TPM,   QW_CONC};
	uint64_t u[QW_COUNT];

	used_of(a, now, u);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		enum quota_what w = order[i];
		bool tok = w == QW_TPM || w == QW_TPD || w == QW_TPMON;
		uint64_t ask = tok ? tokens : admit ? 1 : 0;

		if (ask == 0 || lim->max[w] == QUOTA_OPEN)
			continue;
		if (u[w] >= lim->max[w] || ask > lim->max[w] - u[w]) {
			say_no(no, a, w, lim, u[w], ask, now);
			return false;
		}
	}
	return true;
}

static void roll(struct quota_acct *a, const struct zone_now *t)
{
	if (a->day != t->day) {
		a->day = t->day;
		a->day_req = a->day_tok = 0;
	}
	if (a->month != t->month) {
		a->month = t->month;
		a->mon_req = a->mon_tok = 0;
	}
}

static void take(struct quota *q, struct quota_acct *a, const struct zone_now *t, uint64_t req,
		 uint64_t tok)
{
	struct quota_bucket *b = bucket(a, t);

	roll(a, t);
	b->req += req;
	b->tok += tok;
	a->day_req += req;
	a->day_tok += tok;
	a->mon_req += req;
	a->mon_tok += tok;
	a->conc += req;
	a->ver = ++q->ver;
}

static void sub(uint64_t *from, uint64_t n)
{
	*from -= n < *from ? n : *from;
}

/* Gives back what was taken at t, where that second, day or month is still the account's. */
static void give(struct quota *q, struct quota_acct *a, const struct zone_now *t, uint64_t req,
		 uint64_t tok)
{
	struct quota_bucket *b = &a->min[sec_of(t) % QUOTA_BUCKETS];

	if (b->sec == sec_of(t)) {
		sub(&b->req, req);
		sub(&b->tok, tok);
	}
	if (a->day == t->day) {
		sub(&a->day_req, req);
		sub(&a->day_tok, tok);
	}
	if (a->month == t->month) {
		sub(&a->mon_req, req);
		sub(&a->mon_tok, tok);
	}
	a->ver = ++q->ver;
}

/* More was used than reserved: counted where the reservation stands. */
static void add_late(struct quota *q, struct quota_acct *a, const struct zone_now *t, uint64_t tok)
{
	struct quota_bucket *b = &a->min[sec_of(t) % QUOTA_BUCKETS];

	if (b->sec == sec_of(t))
		b->tok += tok;
	if (a->day == t->day)
		a->day_tok += tok;
	if (a->month == t->month)
		a->mon_tok += tok;
	a->ver = ++q->ver;
}

static int collect(struct quota *q, const struct quota_who *who, struct node *n[QL_COUNT])
{
	for (int l = 0; l < QL_COUNT; l++) {
		n[l] = NULL;
		if (id_is_zero(&who->id[l]))
			continue;
		n[l] = get(q, (enum quota_level)l, &who->id[l]);
		if (n[l] == NULL)
			return E_NOMEM;
	}
	return E_OK;
}

static void open_hold(struct quota *q, const struct quota_who *who, struct node *n[QL_COUNT],
		      const struct zone_now *now, struct quota_hold *h)
{
	for (int l = 0; l < QL_COUNT; l++)
		if (n[l])
			take(q, &n[l]->a, now, 1, 0);
	*h = (struct quota_hold){.who = *who, .req_at = *now, .tok_at = *now, .open = true};
}

static int can(struct quota *q, const struct quota_who *who,
	       const struct quota_limits lim[QL_COUNT], bool admit, uint64_t tokens,
	       const struct zone_now *now, struct quota_no *no)
{
	struct quota_acct none = {.day = -1, .month = -1};

	for (int i = 0; i < QUOTA_BUCKETS; i++)
		none.min[i].sec = -1;
	for (int l = 0; l < QL_COUNT; l++) {
		struct node *n = find(q, (enum quota_level)l, &who->id[l]);

		none.level = (enum quota_level)l;
		if (id_is_zero(&who->id[l]))
			continue;
		if (!fits(n ? &n->a : &none, &lim[l], admit, tokens, now, no))
			return E_BUSY;
	}
	return E_OK;
}

int quota_can_admit(struct quota *q, const struct quota_who *who,
		    const struct quota_limits lim[QL_COUNT], const struct zone_now *now,
		    struct quota_no *no)
{
	return can(q, who, lim, true, 1, now, no);
}

int quota_can_claim(struct quota *q, const struct quota_who *who,
		    const struct quota_limits lim[QL_COUNT], uint64_t tokens,
		    const struct zone_now *now, struct quota_no *no)
{
	return can(q, who, lim, false, tokens, now, no);
}

int quota_admit(struct quota *q, const struct quota_who *who,
		const struct quota_limits lim[QL_COUNT], const struct zone_now *now,
		struct quota_hold *h, struct quota_no *no)
{
	*h = (struct quota_hold){.open = false};
	if (quota_can_admit(q, who, lim, now, no) < 0)
		return E_BUSY;
	return quota_admit_apply(q, who, now, h);
}

int quota_admit_apply(struct quota *q, const struct quota_who *who, const struct zone_now *now,
		      struct quota_hold *h)
{
	struct node *n[QL_COUNT];

	*h = (struct quota_hold){.open = false};
	if (collect(q, who, n) < 0)
		return E_NOMEM;
	open_hold(q, who, n, now, h);
	return E_OK;
}

int quota_claim_apply(struct quota *q, struct quota_hold *h, uint64_t tokens,
		      const struct zone_now *now)
{
	struct node *n[QL_COUNT];

	if (!h->open || h->claimed)
		return E_CONFLICT;
	if (collect(q, &h->who, n) < 0)
		return E_NOMEM;
	for (int l = 0; l < QL_COUNT; l++)
		if (n[l])
			take(q, &n[l]->a, now, 0, tokens);
	h->tok_at = *now;
	h->tokens = tokens;
	h->claimed = true;
	return E_OK;
}

int quota_claim(struct quota *q, struct quota_hold *h, const struct quota_limits lim[QL_COUNT],
		uint64_t tokens, const struct zone_now *now, struct quota_no *no)
{
	if (!h->open || h->claimed)
		return E_CONFLICT;
	if (quota_can_claim(q, &h->who, lim, tokens, now, no) < 0)
		return E_BUSY;
	return quota_claim_apply(q, h, tokens, now);
}

static void end_hold(struct quota *q, struct quota_hold *h, uint64_t used, bool keep_request)
{
	if (!h->open)
		return;
	h->open = false;
	for (int l = 0; l < QL_COUNT; l++) {
		struct node *n = find(q, (enum quota_level)l, &h->who.id[l]);

		if (n == NULL)
			continue;
		if (used < h->tokens)
			give(q, &n->a, &h->tok_at, 0, h->tokens - used);
		else if (used > h->tokens)
			add_late(q, &n->a, &h->tok_at, used - h->tokens);
		if (!keep_request)
			give(q, &n->a, &h->req_at, 1, 0);
		sub(&n->a.conc, 1);
		n->a.ver = ++q->ver;
	}
	h->tokens = used;
}

void quota_settle(struct quota *q, struct quota_hold *h, uint64_t used)
{
	end_hold(q, h, used, true);
}

void quota_refund(struct quota *q, struct quota_hold *h, bool keep_request)
{
	end_hold(q, h, 0, keep_request);
}

int quota_each(struct quota *q, int (*fn)(void *arg, const struct quota_acct *a), void *arg)
{
	struct node *n, *tmp;
	int rc = 0;

	HASH_ITER(hh, q->all, n, tmp)
	if (rc == 0)
		rc = fn(arg, &n->a);
	return rc;
}

const struct quota_acct *quota_acct(struct quota *q, enum quota_level level, const struct id *id)
{
	struct node *n = find(q, level, id);

	return n ? &n->a : NULL;
}

uint64_t quota_version(const struct quota *q)
{
	return q->ver;
}

void quota_used(struct quota *q, enum quota_level level, const struct id *id,
		const struct zone_now *now, uint64_t used[QW_COUNT])
{
	struct node *n = find(q, level, id);

	memset(used, 0, sizeof(*used) * QW_COUNT);
	if (n)
		used_of(&n->a, now, used);
}

static void head_of(const struct quota_acct *a, const struct quota_limits *lim,
		    const struct zone_now *now, struct quota_head *h)
{
	uint64_t u[QW_COUNT], left;

	used_of(a, now, u);
	left = lim->max[QW_RPM] > u[QW_RPM] ? lim->max[QW_RPM] - u[QW_RPM] : 0;
	if (lim->max[QW_RPM] != QUOTA_OPEN && left <= h->rem_req) {
		h->lim_req = lim->max[QW_RPM];
		h->rem_req = left;
		h->reset_req_ms = u[QW_RPM] ? minute_wait(a, now, false, u[QW_RPM]) : 0;
	}
	left = lim->max[QW_TPM] > u[QW_TPM] ? lim->max[QW_TPM] - u[QW_TPM] : 0;
	if (lim->max[QW_TPM] != QUOTA_OPEN && left <= h->rem_tok) {
		h->lim_tok = lim->max[QW_TPM];
		h->rem_tok = left;
		h->reset_tok_ms = u[QW_TPM] ? minute_wait(a, now, true, u[QW_TPM]) : 0;
	}
}

void quota_heads(struct quota *q, const struct quota_who *who,
		 const struct quota_limits lim[QL_COUNT], const struct zone_now *now,
		 struct quota_head *out)
{
	*out = (struct quota_head){.lim_req = QUOTA_OPEN,
				   .rem_req = QUOTA_OPEN,
				   .lim_tok = QUOTA_OPEN,
				   .rem_tok = QUOTA_OPEN};
	for (int l = 0; l < QL_COUNT; l++) {
		struct node *n = find(q, (enum quota_level)l, &who->id[l]);

		if (n)
			head_of(&n->a, &lim[l], now, out);
	}
}

static bool acct_equal(const struct quota_acct *x, const struct quota_acct *y,
		       const struct zone_now *now)
{
	for (int i = 0; i < QUOTA_BUCKETS; i++) {
		const struct quota_bucket *p = &x->min[i], *r = &y->min[i];
		bool cp = counts(p, now) && (p->req || p->tok);
		bool cr = counts(r, now) && (r->req || r->tok);

		if (cp != cr || (cp && (p->sec != r->sec || p->req != r->req || p->tok != r->tok)))
			return false;
	}
	return x->day == y->day && x->month == y->month && x->day_req == y->day_req &&
	       x->day_tok == y->day_tok && x->mon_req == y->mon_req && x->mon_tok == y->mon_tok &&
	       x->conc == y->conc;
}

static bool covered(struct quota *a, struct quota *b, const struct zone_now *now)
{
	struct node *n, *tmp, *o;
	static const struct quota_acct none;

	HASH_ITER(hh, a->all, n, tmp)
	{
		o = find(b, n->a.level, &n->a.id);
		if (o == NULL && (n->a.mon_req || n->a.mon_tok || n->a.conc))
			return false;
		if (o && !acct_equal(&n->a, &o->a, now) && !acct_equal(&n->a, &none, now))
			return false;
	}
	return true;
}

bool quota_equal(struct quota *a, struct quota *b, const struct zone_now *now)
{
	return covered(a, b, now) && covered(b, a, now);
}
