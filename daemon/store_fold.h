/* store_fold.h - quota and leases as a fold over the log. The live store applies each event here at
 * the moment it hands the entry to the log writer; at start the same function is applied to what
 * the log holds. Pure; one thread. */
#ifndef SP_DAEMON_STORE_FOLD_H
#define SP_DAEMON_STORE_FOLD_H

#include "lease.h"
#include "quota.h"
#include "store_ev.h"

struct fold {
	struct quota *quota;
	struct leases *leases;
	struct zone zone;
	int64_t last_ts;
	uint64_t reserves, intents, outcomes, ended; /* entries seen */
	uint64_t prompt_tokens, completion_tokens;   /* settled */
};

int fold_init(struct fold *f); /* E_NOMEM; zone is UTC */
void fold_free(struct fold *f);
/* Applies one event; ix: its log index, LEASE_NO_INDEX when not known yet. Gives the lease it was
 * about in *l (NULL ok; NULL for EV_OTHER). E_CONFLICT: the event does not fit the lease's state
 * (unknown, closed: settling is idempotent); nothing changed. E_NOMEM. */
int fold_apply(struct fold *f, const struct ev *e, uint64_t ix, struct lease **l);
/* Parses and applies one entry of the log. An event that does not fit is not an error here (a
 * resent record may stand in the log twice only if a check failed before); it is counted in *odd.
 */
int fold_entry(struct fold *f, struct span entry, uint64_t ix, uint64_t *odd, struct err *err);

#endif
