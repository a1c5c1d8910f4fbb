/* fdtab.h - the descriptors that main gave a role, by name: a role opens no path of its own. */
#ifndef SP_DAEMON_FDTAB_H
#define SP_DAEMON_FDTAB_H

#include <stdbool.h>

#include "conf.h"
#include "span.h"
#include "split.h"

#define FDTAB_MAX (CONF_MODELS * SPLIT_MAX + 16)

struct fdtab { /* all zero: empty */
	struct {
		char name[128];
		int fd;
	} at[FDTAB_MAX];
	unsigned n;
};

/* Takes fd; the old one of the same name is closed: a reload brings new ones under old names.
 * False: no room, or a name of 128 bytes and more; fd is still the caller's. */
bool fdtab_put(struct fdtab *t, struct span name, int fd);
/* Borrowed; -1 = none of this name. */
int fdtab_get(const struct fdtab *t, const char *name);
/* The i-th whose name starts with prefix, in the order they came: sets *name. -1 = no more. */
int fdtab_at(const struct fdtab *t, const char *prefix, unsigned i, const char **name);

#endif
