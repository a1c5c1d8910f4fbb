/* aset.h - the authority set: a fold over the log. Fed every entry in order it re-checks each
 * statement (signature, deployment, nonce, guards, quorum) and accepts an authority entry only if
 * the statements before it owe exactly these bytes. So whoever holds the log and the genesis digest
 * can recompute who may do what; a row that no two officers signed cannot come out of it.
 *
 * store uses the same fold to decide (aset_judge) and to learn what to write next (aset_owed), the
 * auditor's `audit verify --decisions` to check. Not shared between threads. Pure: times are
 * arguments or entry times. */
#ifndef SP_VETTING_ASET_H
#define SP_VETTING_ASET_H

#include "genesis.h"
#include "guards.h"
#include "statement.h"
#include "states.h"

#define CASE_PROPOSAL_LIFE_MS (72ll * 3600 * 1000) /* a proposal nobody signs goes back to review  \
						    */
#define CODE_LIFE_MS (7ll * 24 * 3600 * 1000)	   /* enrolment code, from the decision */
#define BY_MAX (OFFICERS_MAX + 2) /* opening, proposal, and at most every officer */

struct aset;
struct aset *aset_new(void);	/* NULL without memory */
void aset_free(struct aset *a); /* NULL ok */

struct case_row {
	struct id id;
	unsigned num; /* of the realm, from 1, in order of opening */
	enum case_kind kind;
	enum case_state state;
	uint32_t ver;
	uint8_t digest[32];
	struct id subject;		  /* zero = none */
	struct id opener, signer[BY_MAX]; /* signer[0] = proposer */
	unsigned n_signers;
	int64_t opened, proposed, decided;
	uint64_t by[BY_MAX]; /* statement entries: open, propose, signatures */
	unsigned n_by;
	bool code_used;	  /* an enrolment code of it was redeemed */
	struct span body; /* canonical {"case","kind","payload"}; borrowed from the set */
};

enum fed_what { FED_NONE, FED_GENESIS, FED_STATEMENT, FED_REFUSED, FED_KEY, FED_AUTHORITY };
enum auth_kind { AK_OFFICER, AK_SUBJECT, AK_KEY, AK_QUOTA, AK_SETTINGS, AK_LOCKDOWN };
struct owed {
	enum auth_kind kind;
	union {
		struct officer_row officer;
		struct subject_row subject;
		struct key_row key;
		struct quota_row quota;
		struct settings settings;
		struct lock_row lock;
	} u;
	uint64_t by[BY_MAX];
	unsigned n_by;
	struct owed *next;
};
struct fed {
	enum fed_what what;
	struct stmt stmt;  /* FED_STATEMENT, FED_REFUSED */
	struct id case_id; /* of a case verb, else zero */
	bool decided;	   /* this statement completed the quorum */
	struct owed row;   /* FED_AUTHORITY: the row as it now is, entry filled */
};
/* Entry `index` of the log; entries of other types are FED_NONE. fed may be NULL. E_CRYPTO: forged,
 * impossible or out of order, *err names index and reason; the set must not be used further. */
int aset_feed(struct aset *a, uint64_t index, struct span entry, struct fed *fed, struct err *err);
/* The entries before `index` that were not fed are known to be of other types. */
void aset_skip_to(struct aset *a, uint64_t index);
/* The payload of a case, parsed again. E_FORMAT never happens for a case of the set. */
int aset_case_payload(const struct case_row *c, struct case_payload *out);
/* True when an entry needs aset_feed to look at it (cheap, by its type). */
bool aset_cares(struct span entry);

/* Would this statement be accepted now? *out is filled when it parses. *recordable: canonical,
 * known officer and signature right, so that its bytes may stand in the log also when refused. */
enum guard aset_judge(const struct aset *a, struct span bytes, const uint8_t sig[STMT_SIG],
		      int64_t now, struct stmt *out, bool *recordable);
/* As the last part of it: only the rules of the verb (for --dry-run). */
enum guard aset_check(const struct aset *a, const struct stmt *s, int64_t now);
/* May a key be made with this case's code now? */
enum guard aset_code_check(const struct aset *a, const struct id *case_id, int64_t now);

/* First authority row that the log owes; NULL = none. Borrowed until the next feed. */
const struct owed *aset_owed(const struct aset *a);
/* The exact bytes of the authority entry for it. */
int aset_owed_entry(const struct owed *o, const struct id *boot, int64_t ts, const struct aset *a,
		    struct buf *out);
/* The other entries store writes. */
int entry_genesis(struct span doc, const struct id *boot, int64_t ts, struct buf *out);
int entry_statement(struct span bytes, const uint8_t sig[STMT_SIG], const struct stmt *s,
		    enum guard result, const struct id *boot, int64_t ts, struct buf *out);
int entry_key_create(const struct id *case_id, const struct id *key, const struct id *sub,
		     const uint8_t mac[32], const uint8_t thumb[32], const struct id *boot,
		     int64_t ts, struct buf *out);
/* "new" object of an authority row (also used by -o json answers). */
void owed_new_write(struct jsonw *w, const struct owed *o);
const char *auth_kind_text(enum auth_kind k);

/* What stands. Pointers are borrowed until the next feed; NULL = not there. */
bool aset_genesis(const struct aset *a, uint8_t digest[32]); /* digest may be NULL */
const struct genesis *aset_genesis_doc(const struct aset *a);
struct span aset_genesis_bytes(const struct aset *a);
bool aset_confirmed(const struct aset *a); /* every officer not revoked has confirmed */
const struct officer_row *aset_officer(const struct aset *a, const struct id *id);
const struct officer_row *aset_officer_at(const struct aset *a, unsigned i);
const struct subject_row *aset_subject(const struct aset *a, const struct id *id);
const struct key_row *aset_key(const struct aset *a, const struct id *id);
const struct case_row *aset_case(const struct aset *a, const struct id *id);
const struct case_row *aset_case_num(const struct aset *a, unsigned num);
const struct quota_row *aset_quota(const struct aset *a, enum level lv, const struct id *id);
const struct lock_row *aset_lock(const struct aset *a, const struct lock_row *like);
const struct settings *aset_settings(const struct aset *a);
uint64_t aset_settings_entry(const struct aset *a);
/* Each in insertion order; fn returns non-zero to stop, which is returned. */
int aset_each_subject(const struct aset *a, int (*fn)(void *, const struct subject_row *), void *);
int aset_each_key(const struct aset *a, int (*fn)(void *, const struct key_row *), void *);
int aset_each_case(const struct aset *a, int (*fn)(void *, const struct case_row *), void *);
int aset_each_quota(const struct aset *a, int (*fn)(void *, const struct quota_row *), void *);
int aset_each_lock(const struct aset *a, int (*fn)(void *, const struct lock_row *), void *);

#endif
