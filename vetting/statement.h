/* statement.h - what an officer signs: canonical JSON with an exact member set, Ed25519 over
 * "sallyport/statement/v1\n" || bytes (doc/formats.md 6). Signing is apart from transport. Times,
 * keys and nonces are arguments. Pure; any thread. */
#ifndef SP_VETTING_STATEMENT_H
#define SP_VETTING_STATEMENT_H

#include "settings.h"

#define STMT_SIG 64
#define STMT_MAX 16384u

#define VERBS(X)                                                                                   \
	X(OFFICER_CONFIRM, "officer.confirm")                                                      \
	X(OFFICER_REVOKE, "officer.revoke") X(CASE_OPEN, "case.open")                              \
	    X(CASE_PROPOSE, "case.propose") X(CASE_SIGN, "case.sign")                              \
		X(CASE_REFUSE, "case.refuse") X(CASE_WITHDRAW, "case.withdraw")                    \
		    X(SUBJECT_SUSPEND, "subject.suspend") X(KEY_REVOKE, "key.revoke")              \
			X(LOCKDOWN_SET, "lockdown.set")
enum verb {
#define X(n, t) VB_##n,
	VERBS(X)
#undef X
	    VB_COUNT
};
const char *verb_text(enum verb v);
int verb_from(struct span s);

/* Why something is approved, stopped or refused: enumerated, so that no free text stands in the
 * log; the text beside it is only committed to (note). */
#define WHYS(X)                                                                                    \
	X(NONE, "none")                                                                            \
	X(ABUSE, "abuse") X(COMPROMISE, "compromise") X(LEGAL, "legal") X(ADMIN, "admin")          \
	    X(LIST, "list") X(OVERDUE, "overdue") X(IDLE, "idle") X(JURISDICTION, "jurisdiction")  \
		X(LEFT, "left") X(EVIDENCE, "evidence") X(APPROVE, "approve")
enum why {
#define X(n, t) WHY_##n,
	WHYS(X)
#undef X
	    WHY_COUNT
};
const char *why_text(enum why w);
int why_from(struct span s);

struct stmt {
	uint8_t aud[32]; /* SHA-256 of the genesis document */
	struct id kid;	 /* officer */
	struct id nonce;
	int64_t ts;
	uint32_t ver; /* expected version of the object; 0 = new */
	enum verb verb;
	bool has_case;
	uint8_t case_digest[32];
	/* body */
	struct id target; /* case.*: the case; subject, key, officer: the object */
	enum why why;	  /* all but officer.confirm, case.open */
	bool has_note;	  /* commitment to the sealed text beside the reason */
	uint8_t note[32];
	struct lock_row lock;	     /* lockdown.set */
	struct case_payload payload; /* case.open */
};

/* E_FORMAT unless the bytes are canonical with exactly the members of the verb. */
int stmt_parse(struct span bytes, struct stmt *out, struct err *err);
/* Appends the canonical bytes. */
int stmt_write(const struct stmt *s, struct buf *out);
void stmt_sign(struct span bytes, const uint8_t sk[64], uint8_t sig[STMT_SIG]);
bool stmt_verify(struct span bytes, const uint8_t pub[32], const uint8_t sig[STMT_SIG]);

#endif
