/* aset_priv.h - inside of aset.h; only aset*.c include it. */
#ifndef SP_VETTING_ASET_PRIV_H
#define SP_VETTING_ASET_PRIV_H

#include <uthash.h>

#include "aset.h"

struct a_subject {
	struct subject_row r;
	unsigned keys; /* active keys */
	UT_hash_handle hh;
};
struct a_key {
	struct key_row r;
	UT_hash_handle hh;
};
struct a_case {
	struct case_row r;
	UT_hash_handle hh;
};
struct a_nonce {
	struct id id;
	UT_hash_handle hh;
};
struct a_quota {
	struct {
		struct id id;
		uint8_t level;
	} key;
	struct quota_row r;
	UT_hash_handle hh;
};
struct a_lock {
	struct lock_row r;
	struct a_lock *next;
};

struct aset {
	bool born;
	uint8_t digest[32];
	struct genesis gen;
	struct buf doc;
	struct officer_row officer[OFFICERS_MAX];
	unsigned n_officers;
	struct settings settings;
	uint64_t settings_entry;
	struct a_subject *subjects;
	struct a_key *keys;
	struct a_case *cases;
	struct a_nonce *nonces;
	struct a_quota *quotas;
	struct a_lock *locks;
	unsigned n_cases;
	uint64_t next; /* index of the next entry */
	struct owed *owed, **owed_tail;
};

struct officer_row *aset_officer_mut(struct aset *a, const struct id *id);
bool aset_nonce_used(const struct aset *a, const struct id *n);
/* The case's payload, parsed again from its body. */
bool aset_payload(const struct case_row *c, struct case_payload *out);
/* State of a case at `now`: a proposal past its life is back in review. */
enum case_state aset_case_state(const struct case_row *c, int64_t now);
/* Signers that are still active officers, `but` excepted. */
unsigned aset_signers(const struct aset *a, const struct case_row *c);
/* Takes the row of a committed authority entry; its `entry` becomes index. */
int aset_keep(struct aset *a, uint64_t index, struct owed *o);
struct subject_facts aset_facts(const struct aset *a, const struct id *subject, int64_t now);

#endif
