/* aset.c - keeps and looks up the authority set; aset_judge.c decides, aset_feed.c folds. */
#include <stdlib.h>

#include "aset_priv.h"

struct aset *aset_new(void)
{
	struct aset *a = calloc(1, sizeof(*a));

	if (a) {
		a->owed_tail = &a->owed;
		a->doc = BUF_INIT(CANON_MAX);
	}
	return a;
}

#define FREE_HASH(head, type, extra)                                                               \
	do {                                                                                       \
		type *e_, *t_;                                                                     \
		HASH_ITER(hh, head, e_, t_)                                                        \
		{                                                                                  \
			HASH_DEL(head, e_);                                                        \
			extra;                                                                     \
			free(e_);                                                                  \
		}                                                                                  \
	} while (0)

void aset_free(struct aset *a)
{
	if (a == NULL)
		return;
	FREE_HASH(a->subjects, struct a_subject, );
	FREE_HASH(a->keys, struct a_key, );
	FREE_HASH(a->cases, struct a_case, free((void *)(uintptr_t)e_->r.body.p));
	FREE_HASH(a->nonces, struct a_nonce, );
	FREE_HASH(a->quotas, struct a_quota, );
	while (a->locks) {
		struct a_lock *l = a->locks;

		a->locks = l->next;
		free(l);
	}
	while (a->owed) {
		struct owed *o = a->owed;

		a->owed = o->next;
		free(o);
	}
	buf_free(&a->doc);
	free(a);
}

bool aset_genesis(const struct aset *a, uint8_t digest[32])
{
	if (a->born && digest)
		memcpy(digest, a->digest, 32);
	return a->born;
}

const struct genesis *aset_genesis_doc(const struct aset *a)
{
	return a->born ? &a->gen : NULL;
}

struct span aset_genesis_bytes(const struct aset *a)
{
	return buf_span(&a->doc);
}

bool aset_confirmed(const struct aset *a)
{
	unsigned active = 0;

	for (unsigned i = 0; i < a->n_officers; i++) {
		if (a->officer[i].state == OFF_PENDING)
			return false;
		active += a->officer[i].state == OFF_ACTIVE;
	}
	return active > 0;
}

struct officer_row *aset_officer_mut(struct aset *a, const struct id *id)
{
	for (unsigned i = 0; i < a->n_officers; i++)
		if (id_eq(&a->officer[i].id, id))
			return &a->officer[i];
	return NULL;
}

const struct officer_row *aset_officer(const struct aset *a, const struct id *id)
{
	return aset_officer_mut((struct aset *)(uintptr_t)a, id);
}

const struct officer_row *aset_officer_at(const struct aset *a, unsigned i)
{
	return i < a->n_officers ? &a->officer[i] : NULL;
}

const struct subject_row *aset_subject(const struct aset *a, const struct id *id)
{
	struct a_subject *e;

	HASH_FIND(hh, a->subjects, id, sizeof(*id), e);
	return e ? &e->r : NULL;
}

const struct key_row *aset_key(const struct aset *a, const struct id *id)
{
	struct a_key *e;

	HASH_FIND(hh, a->keys, id, sizeof(*id), e);
	return e ? &e->r : NULL;
}

const struct case_row *aset_case(const struct aset *a, const struct id *id)
{
	struct a_case *e;

	HASH_FIND(hh, a->cases, id, sizeof(*id), e);
	return e ? &e->r : NULL;
}

const struct case_row *aset_case_num(const struct aset *a, unsigned num)
{
	for (struct a_case *e = a->cases; e; e = e->hh.next)
		if (e->r.num == num)
			return &e->r;
	return NULL;
}

const struct quota_row *aset_quota(const struct aset *a, enum level lv, const struct id *id)
{
	struct a_quota k, *e;

	memset(&k, 0, sizeof(k));
	k.key.id = *id;
	k.key.level = (uint8_t)lv;
	HASH_FIND(hh, a->quotas, &k.key, sizeof(k.key), e);
	return e ? &e->r : NULL;
}

const struct lock_row *aset_lock(const struct aset *a, const struct lock_row *like)
{
	for (const struct a_lock *l = a->locks; l; l = l->next)
		if (l->r.scope == like->scope && id_eq(&l->r.id, &like->id) &&
		    strcmp(l->r.model, like->model) == 0)
			return &l->r;
	return NULL;
}

const struct settings *aset_settings(const struct aset *a)
{
	return a->born ? &a->settings : NULL;
}

uint64_t aset_settings_entry(const struct aset *a)
{
	return a->settings_entry;
}

bool aset_nonce_used(const struct aset *a, const struct id *n)
{
	struct a_nonce *e;

	HASH_FIND(hh, a->nonces, n, sizeof(*n), e);
	return e != NULL;
}

const struct owed *aset_owed(const struct aset *a)
{
	return a->owed;
}

bool aset_payload(const struct case_row *c, struct case_payload *out)
{
	json_t *o = canon_parse(c->body, NULL);
	bool ok = o && case_parse(o, out);

	json_decref(o);
	return ok;
}

int aset_case_payload(const struct case_row *c, struct case_payload *out)
{
	return aset_payload(c, out) ? E_OK : E_FORMAT;
}

void aset_skip_to(struct aset *a, uint64_t index)
{
	if (index > a->next)
		a->next = index;
}

enum case_state aset_case_state(const struct case_row *c, int64_t now)
{
	if (c->state == CS_M && now - c->proposed >= CASE_PROPOSAL_LIFE_MS)
		return (enum case_state)case_next(CS_M, CE_TIMEOUT, false);
	return c->state;
}

unsigned aset_signers(const struct aset *a, const struct case_row *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_signers; i++) {
		const struct officer_row *o = aset_officer(a, &c->signer[i]);

		n += o && o->state == OFF_ACTIVE;
	}
	return n;
}

struct subject_facts aset_facts(const struct aset *a, const struct id *subject, int64_t now)
{
	struct a_subject *e;

	HASH_FIND(hh, a->subjects, subject, sizeof(*subject), e);
	if (e == NULL)
		return (struct subject_facts){false, false};
	return (struct subject_facts){e->keys > 0, e->r.expires && now >= e->r.expires};
}

#define EACH(name, head, type, member)                                                             \
	int aset_each_##name(const struct aset *a, int (*fn)(void *, const struct type *),         \
			     void *arg)                                                            \
	{                                                                                          \
		int rc = 0;                                                                        \
		for (struct member *e = a->head; e && rc == 0; e = e->hh.next)                     \
			rc = fn(arg, &e->r);                                                       \
		return rc;                                                                         \
	}
EACH(subject, subjects, subject_row, a_subject)
EACH(key, keys, key_row, a_key)
EACH(case, cases, case_row, a_case)
EACH(quota, quotas, quota_row, a_quota)

int aset_each_lock(const struct aset *a, int (*fn)(void *, const struct lock_row *), void *arg)
{
	int rc = 0;

	for (const struct a_lock *l = a->locks; l && rc == 0; l = l->next)
		rc = fn(arg, &l->r);
	return rc;
}
