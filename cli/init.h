/* init.h - the parts of `sallyport init`: what was asked (init_args.c), the realm's files
 * (init_files.c), the command (cmd_init.c). One thread; int = exit code, the reason was said. */
#ifndef SP_CLI_INIT_H
#define SP_CLI_INIT_H

#include "cli.h"
#include "genesis.h"
#include "officer_key.h"

#define REALM_PATH 480 /* a folder; what stands in it still fits CONF_PATH of daemon/conf.h */

struct realm_plan {
	char dir[REALM_PATH]; /* absolute */
	struct officer_key officer[OFFICERS_MAX];
	uint8_t salt[OFFICERS_MAX][32]; /* of the name commitments */
	char model_file[MODELS_MAX][REALM_PATH];
	char policy_file[REALM_PATH];
	const char *address;
	unsigned port;
	struct genesis gen; /* all but log_vkey */
};

struct init_words { /* as typed */
	const char *realm, *profile, *policy, *port, *address, *timezone, *quorum;
	const char *officer[OFFICERS_MAX + 1], *model[MODELS_MAX + 1];
};
/* Reads and checks everything that was named; nothing is written. */
int init_plan(const struct init_words *w, struct realm_plan *p);
/* Limits of the profile's four tiers. */
void init_tiers(enum profile p, struct settings *s);

/* Makes the log key, fills gen.log_vkey, writes everything; on failure takes away what it made. */
int init_write(struct realm_plan *p, uint8_t digest[32]);

#endif
