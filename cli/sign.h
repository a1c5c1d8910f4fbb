/* sign.h - making statements: which realm (checked against the genesis document itself), with which
 * key, why; and sending them. One thread. Functions that return int give an exit code of cli.h and
 * have said what is wrong. */
#ifndef SP_CLI_SIGN_H
#define SP_CLI_SIGN_H

#include "code.h"
#include "noun.h"
#include "officer_key.h"
#include "statement.h"
#include "genesis.h"

#define SEALED_TEXT 8192u

struct realm {
	struct genesis gen;
	uint8_t digest[32];
	char words[GENESIS_WORDS];
};
/* GET /genesis; the digest and the words are computed here from the document's bytes. */
int realm_load(struct realm *r);
/* Outside a demo realm nobody signs where the realm's state folder lies. */
int realm_may_sign(const struct realm *r);

struct signer {
	struct realm realm;
	struct officer_key key;
	struct buf sealed; /* salt || text that the statement commits to; empty = none */
};
/* Realm, rule above, key file (may ask for the passphrase). End with signer_close in any case. */
int signer_open(struct signer *s, const char *key_path);
void signer_close(struct signer *s);

/* A salted commitment to text; salt || text becomes s->sealed. */
int signer_seal(struct signer *s, struct span text, uint8_t commitment[32]);
/* "CODE:text", CODE one of WHYS in any case; text may be missing. Fills st->why and the note. */
int signer_reason(struct signer *s, const char *reason, struct stmt *st);

/* Fills aud, kid, nonce, ts of st, signs and sends. With --dry-run prints the statement instead and
 * leaves *reply NULL. */
int signer_send(struct signer *s, struct stmt *st, json_t **reply);
/* case.open of p: fills id and digest, sends. The answer's members are printed by the caller. */
int signer_open_case(struct signer *s, struct case_payload *p, json_t **reply);

/* Text of this officer's half of an enrolment code out of an answer, "" when there is none. letter:
 * 'A' for the proposer, 'B' for the signer.*/
int signer_code_half(const struct signer *s, const json_t *reply, char letter,
		     char out[CODE_HALF_TEXT]);
/* Prints that it is done: the answer in JSON, or these words. */
void reply_done(json_t *reply, const char *words);

#endif
