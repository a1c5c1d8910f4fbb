/* genesis.h - the birth certificate of a realm (doc/formats.md 6.2): canonical JSON, entry 0 of the
 * log, valid once every officer in it has confirmed its digest. Pure; any thread. */
#ifndef SP_VETTING_GENESIS_H
#define SP_VETTING_GENESIS_H

#include "settings.h"

#define OFFICERS_MAX 16
#define VKEY_MAX 256

enum profile { PR_DEMO, PR_SMALL, PR_BANK, PR_PROVIDER };
const char *profile_text(enum profile p);
int profile_from(struct span s);

struct genesis {
	struct id deployment;
	char log_vkey[VKEY_MAX]; /* C2SP verifier key text */
	struct {
		struct id id;
		uint8_t
		    name_commit[32]; /* commitment to the officer's name; the salt is in state.db */
		uint8_t pub[32];
	} officer[OFFICERS_MAX];
	unsigned n_officers;
	enum profile profile;
	unsigned quorum; /* signatures that a case needs: at least 2 */
	struct settings settings;
	int64_t ts;
};

/* Refuses fewer than two officers, equal ids or keys, a quorum under 2 or above the officers,
 * `demo` settings outside profile demo and the other way round. */
int genesis_parse(struct span doc, struct genesis *out, struct err *err);
int genesis_write(const struct genesis *g, struct buf *out);
/* Eight words of our list of 256 for the first 64 bits, separated by blanks. */
#define GENESIS_WORDS 96
void genesis_words(const uint8_t digest[32], char out[GENESIS_WORDS]);
extern const char *const genesis_word_list[256];

#endif
