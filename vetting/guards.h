/* guards.h - the one catalogue of why a statement is refused: name in the log and in JSON, HTTP
 * status, exit code of the CLI, what failed, who can, and the command they run. Numbers are ours
 * only; names never change meaning. */
#ifndef SP_VETTING_GUARDS_H
#define SP_VETTING_GUARDS_H

/* NAME, text, HTTP status, exit code, what, who can and the command */
#define GUARDS(X)                                                                                  \
	X(OK, "ok", 200, 0, "", "")                                                                \
	X(FORM, "form", 400, 2, "the statement is not canonical JSON with exactly its members",    \
	  "use this release's sallyport command to make it")                                       \
	X(SIGNATURE, "signature", 401, 4, "the signature does not verify under the officer's key", \
	  "sign with the key named by kid: sallyport ... --key FILE")                              \
	X(AUD, "aud", 400, 6, "the statement is meant for another deployment",                     \
	  "sign against this realm: sallyport --realm DIR ...")                                    \
	X(KID, "kid", 401, 4, "no officer has this key id", "sallyport officer ls shows who can")  \
	X(OFFICER_STATE, "officer_state", 403, 4, "the officer's key is revoked or not confirmed", \
	  "another officer; see sallyport officer ls. To confirm: sallyport officer confirm --key FILE") \
	X(NONCE, "nonce", 409, 6, "the nonce is unknown, used or older than 10 minutes",           \
	  "run the command again; it asks for a fresh one")                                        \
	X(GENESIS, "genesis", 409, 6, "not every officer has confirmed the genesis",               \
	  "each officer runs sallyport officer confirm --key FILE")                                \
	X(VERSION, "version", 409, 6, "the object changed since the statement was made",           \
	  "look again (sallyport case show, subject show) and sign what stands there now")         \
	X(DIGEST, "digest", 409, 6, "the case digest signed is not the digest of this case",       \
	  "run sallyport case show, check what it says, and sign again")                           \
	X(BODY, "body", 400, 2, "the body does not fit the verb", "sallyport VERB --help")         \
	X(NOT_FOUND, "not_found", 404, 3, "no such object", "sallyport subject ls, case ls, key ls") \
	X(EXISTS, "exists", 409, 6, "an object with this id exists", "run the command again")      \
	X(CASE_STATE, "case_state", 409, 6, "the case is not in a state that allows this",         \
	  "sallyport case show says its state; propose before sign")                               \
	X(SUBJECT_STATE, "subject_state", 409, 6, "the subject is not in a state that allows this", \
	  "sallyport subject show says its state")                                                 \
	X(OBJECT_STATE, "object_state", 409, 6, "it is in that state already", "nothing to do")    \
	X(IS_SUBJECT, "is_subject", 403, 5, "an officer may not decide on themselves",             \
	  "two other officers: sallyport case propose, sallyport case sign")                       \
	X(SAME_SIGNER, "same_signer", 403, 5, "two different officers are needed, this one signed", \
	  "another officer runs sallyport case sign ID --key FILE")                                \
	X(IS_SPONSOR, "is_sponsor", 403, 5, "the sponsor may not decide on the subject",           \
	  "two officers who are not the sponsor: sallyport case sign ID --key FILE")               \
	X(PROFILE, "profile", 403, 6, "the realm's profile does not allow this",                   \
	  "a new realm of another profile: sallyport init --profile ...")                          \
	X(COMMITMENT, "commitment", 400, 6, "the sealed text does not fit its commitment",         \
	  "run sallyport subject new again")

enum guard {
#define X(name, text, http, code, what, who) GD_##name,
	GUARDS(X)
#undef X
	GD_COUNT
};

struct guard_info {
	const char *name;
	int http, exit_code;
	const char *what, *who;
};
const struct guard_info *guard_info(enum guard g); /* never NULL */

#endif
