/* fdtab.c - see fdtab.h. */
#include "fdtab.h"

#include <string.h>
#include <unistd.h>

bool fdtab_put(struct fdtab *t, struct span name, int fd)
{
	unsigned i;

	for (i = 0; i < t->n; i++)
		if (span_eq(span_cstr(t->at[i].name), name)) {
			close(t->at[i].fd);
			t->at[i].fd = fd;
			return true;
		}
	if (t->n == FDTAB_MAX || name.n >= sizeof(t->at[0].name))
		return false;
	memcpy(t->at[t->n].name, name.p, name.n); /* the rest is zero */
	t->at[t->n++].fd = fd;
	return true;
}

int fdtab_get(const struct fdtab *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->at[i].name, name) == 0)
			return t->at[i].fd;
	return -1;
}

int fdtab_at(const struct fdtab *t, const char *prefix, unsigned i, const char **name)
{
	for (unsigned k = 0; k < t->n; k++) {
		if (strncmp(t->at[k].name, prefix, strlen(prefix)) != 0 || i-- > 0)
			continue;
		*name = t->at[k].name;
		return t->at[k].fd;
	}
	return -1;
}
