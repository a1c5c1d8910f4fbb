/* aset_keep.c - puts a row that its statements made into the set, or in the place of its older
 * self. */
#include <stdlib.h>

#include "aset_priv.h"

static int keep_subject(struct aset *a, const struct subject_row *r)
{
	struct a_subject *e = (struct a_subject *)(uintptr_t)aset_subject(a, &r->id);

	if (e == NULL) {
		e = calloc(1, sizeof(*e));
		if (e == NULL)
			return E_NOMEM;
		e->r.id = r->id;
		HASH_ADD(hh, a->subjects, r.id, sizeof(e->r.id), e);
	}
	e->r = *r;
	return E_OK;
}

static int keep_key(struct aset *a, const struct key_row *r)
{
	struct a_key *e = (struct a_key *)(uintptr_t)aset_key(a, &r->id);
	struct a_subject *s = (struct a_subject *)(uintptr_t)aset_subject(a, &r->sub);

	if (e == NULL) {
		e = calloc(1, sizeof(*e));
		if (e == NULL)
			return E_NOMEM;
		e->r.id = r->id;
		HASH_ADD(hh, a->keys, r.id, sizeof(e->r.id), e);
		if (s)
			s->keys++;
	} else if (s && r->state == KEY_REVOKED && s->keys) {
		s->keys--;
	}
	e->r = *r;
	return E_OK;
}

static int keep_quota(struct aset *a, const struct quota_row *r)
{
	const struct quota_row *old = aset_quota(a, r->level, &r->id);
	struct a_quota *e;

	if (old) {
		*(struct quota_row *)(uintptr_t)old = *r;
		return E_OK;
	}
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return E_NOMEM;
	e->key.id = r->id;
	e->key.level = (uint8_t)r->level;
	e->r = *r;
	HASH_ADD(hh, a->quotas, key, sizeof(e->key), e);
	return E_OK;
}

static int keep_lock(struct aset *a, const struct lock_row *r)
{
	struct lock_row *old = (struct lock_row *)(uintptr_t)aset_lock(a, r);
	struct a_lock *e;

	if (old) {
		*old = *r;
		return E_OK;
	}
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return E_NOMEM;
	e->r = *r;
	e->next = a->locks;
	a->locks = e;
	return E_OK;
}

int aset_keep(struct aset *a, uint64_t index, struct owed *o)
{
	switch (o->kind) {
	case AK_OFFICER:
		o->u.officer.entry = index;
		*aset_officer_mut(a, &o->u.officer.id) = o->u.officer;
		return E_OK;
	case AK_SUBJECT:
		o->u.subject.entry = index;
		return keep_subject(a, &o->u.subject);
	case AK_KEY:
		o->u.key.entry = index;
		return keep_key(a, &o->u.key);
	case AK_QUOTA:
		o->u.quota.entry = index;
		return keep_quota(a, &o->u.quota);
	case AK_SETTINGS:
		a->settings = o->u.settings;
		a->settings_entry = index;
		return E_OK;
	case AK_LOCKDOWN:
		o->u.lock.entry = index;
		return keep_lock(a, &o->u.lock);
	}
	return E_BUG;
}
