/* guards.h - the one catalogue of why a statement is refused: name in the log and in JSON, HTTP
 * status, exit code of the CLI, what failed, who can, and the command they run. Names never change
 * meaning. */
#ifndef SP_VETTING_GUARDS_H
#define SP_VETTING_GUARDS_H

/* NAME, text, HTTP status, exit code, what, who can, the command they run */
#define GUARDS(X)                                                                                  \
	X(OK, "ok", 200, 0, "", "", "")                                                            \
	X(FORM, "form", 400, 2, "the statement is not canonical JSON with exactly its members",    \
	  "an officer with this release's command", "sallyport --help")                            \
	X(SIGNATURE, "signature", 401, 4, "the signature does not verify under the officer's key", \
	  "the officer named by kid", "sallyport ... --key FILE")                                  \
	X(AUD, "aud", 400, 6, "the statement is meant for another deployment",                     \
	  "an officer of that deployment", "sallyport --realm DIR ...")                            \
	X(KID, "kid", 401, 4, "no officer has this key id", "an officer of this realm",            \
	  "sallyport officer ls")                                                                  \
	X(OFFICER_STATE, "officer_state", 403, 4, "the officer's key is revoked or not confirmed", \
	  "another officer, or this one after confirming", "sallyport officer confirm --key FILE") \
	X(NONCE, "nonce", 409, 6, "the nonce is unknown, used or older than 10 minutes",           \
	  "the same officer, again", "the same command; it asks for a fresh nonce")                \
	X(GENESIS, "genesis", 409, 6, "not every officer has confirmed the genesis",               \
	  "each officer in it", "sallyport officer confirm --key FILE")                            \
	X(VERSION, "version", 409, 6, "the object changed since the statement was made",           \
	  "the same officer, after looking again", "sallyport case show ID")                       \
	X(DIGEST, "digest", 409, 6, "the case digest signed is not the digest of this case",       \
	  "an officer who read the case", "sallyport case show ID")                                \
	X(BODY, "body", 400, 2, "the body does not fit the verb", "an officer",                    \
	  "sallyport --help")                                                                      \
	X(NOT_FOUND, "not_found", 404, 3, "no such object", "an officer",                          \
	  "sallyport subject ls, case ls, key ls")                                                 \
	X(EXISTS, "exists", 409, 6, "an object with this id exists", "an officer",                 \
	  "the same command; it makes a new id")                                                   \
	X(CASE_STATE, "case_state", 409, 6, "the case is not in a state that allows this",         \
	  "an officer; a case is proposed before it is signed", "sallyport case show ID")          \
	X(SUBJECT_STATE, "subject_state", 409, 6,                                                  \
	  "the subject is not in a state that allows this", "an officer, through a case",          \
	  "sallyport subject show ID")                                                             \
	X(OBJECT_STATE, "object_state", 409, 6, "it is in that state already", "nobody needs to",  \
	  "sallyport status")                                                                      \
	X(IS_SUBJECT, "is_subject", 403, 5, "an officer may not decide on themselves",             \
	  "two other officers", "sallyport case sign ID --key FILE")                               \
	X(SAME_SIGNER, "same_signer", 403, 5,                                                      \
	  "two different officers are needed; this one signed", "another officer",                 \
	  "sallyport case sign ID --key FILE")                                                     \
	X(IS_SPONSOR, "is_sponsor", 403, 5, "the sponsor may not decide on the subject",           \
	  "two officers who are not the sponsor", "sallyport case sign ID --key FILE")             \
	X(PROFILE, "profile", 403, 6, "the realm's profile does not allow this",                   \
	  "nobody in this realm; a demo realm is never promoted", "sallyport init --profile ...")  \
	X(COMMITMENT, "commitment", 400, 6, "the sealed text does not fit its commitment",         \
	  "the same officer", "the same command, again")                                           \
	X(STARTING, "starting", 503, 10, "the log has not yet taken in the genesis",               \
	  "the same officer, in a moment", "the same command, again")

enum guard {
#define X(name, text, http, code, what, who, command) GD_##name,
	GUARDS(X)
#undef X
	    GD_COUNT
};

struct guard_info {
	const char *name;
	int http, exit_code;
	const char *what, *who, *command;
};
const struct guard_info *guard_info(enum guard g); /* never NULL */

#endif
