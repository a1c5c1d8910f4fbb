/* lease.c - see lease.h. */
#include "lease.h"

#include <stdlib.h>

struct leases {
	struct lease *all;
	struct lease *old, *young; /* closed ones */
	unsigned n[LS_CLOSED + 1];
};

struct leases *leases_new(void)
{
	return calloc(1, sizeof(struct leases));
}

void leases_free(struct leases *t)
{
	struct lease *l, *tmp;

	if (t == NULL)
		return;
	HASH_ITER(hh, t->all, l, tmp)
	{
		HASH_DEL(t->all, l);
		free(l);
	}
	free(t);
}

unsigned leases_in(const struct leases *t, enum lease_state s)
{
	return t->n[s];
}

unsigned leases_open(const struct leases *t)
{
	return t->n[LS_RESERVED] + t->n[LS_CLAIMED] + t->n[LS_INTENT];
}

struct lease *lease_find(struct leases *t, const struct id *id)
{
	struct lease *l;

	HASH_FIND(hh, t->all, id, sizeof(*id), l);
	return l;
}

struct lease *lease_match(struct leases *t, const struct id *id, const struct id *req)
{
	struct lease *l = lease_find(t, id);

	return l && id_eq(&l->req, req) ? l : NULL;
}

struct lease *lease_add(struct leases *t, const struct id *id, const struct id *req,
			const struct id *conn)
{
	struct lease *l;

	if (leases_open(t) >= LEASE_OPEN_MAX || lease_find(t, id))
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->id = *id;
	l->req = *req;
	l->conn = *conn;
	l->intent_ix = l->outcome_ix = LEASE_NO_INDEX;
	l->model_ix = LEASE_NO_MODEL;
	memset(l->lim, 0xff, sizeof(l->lim)); /* open, until the grant says otherwise */
	HASH_ADD(hh, t->all, id, sizeof(l->id), l);
	t->n[LS_RESERVED]++;
	return l;
}

static void move(struct leases *t, struct lease *l, enum lease_state to)
{
	t->n[l->state]--;
	l->state = to;
	t->n[to]++;
}

int lease_claimed(struct leases *t, struct lease *l, uint32_t prompt, uint32_t cap)
{
	if (l->state != LS_RESERVED)
		return E_CONFLICT;
	l->prompt = prompt;
	l->cap = cap;
	move(t, l, LS_CLAIMED);
	return E_OK;
}

int lease_intent(struct leases *t, struct lease *l)
{
	if (l->state != LS_CLAIMED)
		return E_CONFLICT;
	move(t, l, LS_INTENT);
	return E_OK;
}

static void push_out(struct leases *t)
{
	struct lease *l = t->old;

	t->old = l->next;
	if (t->old)
		t->old->prev = NULL;
	else
		t->young = NULL;
	t->n[LS_CLOSED]--;
	HASH_DEL(t->all, l);
	free(l);
}

int lease_closed(struct leases *t, struct lease *l)
{
	if (l->state == LS_CLOSED)
		return E_CONFLICT;
	move(t, l, LS_CLOSED);
	l->prev = t->young;
	if (t->young)
		t->young->next = l;
	else
		t->old = l;
	t->young = l;
	while (t->n[LS_CLOSED] > LEASE_CLOSED_MAX)
		push_out(t);
	return E_OK;
}

uint32_t lease_presumed(const struct lease *l)
{
	uint32_t n = l->tokens > UINT32_MAX - LEASE_WINDOW ? UINT32_MAX : l->tokens + LEASE_WINDOW;

	return n < l->cap ? n : l->cap;
}

int64_t lease_sooner(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

int leases_each(struct leases *t, int (*fn)(void *arg, struct lease *l), void *arg)
{
	struct lease *l, *tmp;
	int rc = 0;

	HASH_ITER(hh, t->all, l, tmp)
	if (rc == 0 && l->state != LS_CLOSED)
		rc = fn(arg, l);
	return rc;
}
