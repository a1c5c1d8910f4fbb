/* kern.c - which kernel tables this build has and this CPU can run. */
#include "kernels.h"

#include <pthread.h>
#include <string.h>

/* Best first. */
static const struct kernels *const all[] = {
#if defined(__x86_64__)
    &kern_avx2,
#endif
    &kern_portable,
};
#define N_ALL (sizeof(all) / sizeof(all[0]))

static const char *names[N_ALL + 1];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

static void names_fill(void)
{
	size_t n = 0;

	for (size_t i = 0; i < N_ALL; i++)
		if (all[i]->usable())
			names[n++] = all[i]->name;
}

const char *const *kern_names(void)
{
	pthread_once(&names_once, names_fill);
	return names;
}

const struct kernels *kern_pick(const char *name)
{
	for (size_t i = 0; i < N_ALL; i++)
		if (all[i]->usable() && (!name || strcmp(name, all[i]->name) == 0))
			return all[i];
	return NULL;
}
