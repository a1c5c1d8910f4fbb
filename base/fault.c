/* fault.c - see fault.h. */
#include "fault.h"

#ifdef SP_FAULT
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	char name[64];
	unsigned nth, seen;
	bool armed, persistent, fired, kill, env_read;
	int err_no;
} st;

static void arm(const char *name, unsigned nth, bool persistent, int err_no, bool do_kill)
{
	snprintf(st.name, sizeof(st.name), "%s", name);
	st.nth = nth;
	st.seen = 0;
	st.armed = true;
	st.fired = false;
	st.persistent = persistent;
	st.kill = do_kill;
	st.err_no = err_no ? err_no : EIO;
}

static void read_env(void)
{
	const char *e = getenv("SALLYPORT_FAULT");
	char name[64];
	unsigned nth = 0;

	st.env_read = true;
	if (e && sscanf(e, "%63[^:]:%u", name, &nth) == 2)
		arm(name, nth, false, 0, strstr(e, ":kill") != NULL);
}

bool fault_hit(const char *name)
{
	bool hit = false;

	pthread_mutex_lock(&lock);
	if (!st.env_read)
		read_env();
	if (st.armed && (strcmp(st.name, "*") == 0 || strcmp(st.name, name) == 0)) {
		st.seen++;
		hit = st.seen == st.nth || (st.persistent && st.seen > st.nth);
	}
	if (hit) {
		st.fired = true;
		if (st.kill)
			kill(getpid(), SIGKILL);
	}
	pthread_mutex_unlock(&lock);
	if (hit)
		errno = st.err_no;
	return hit;
}

void fault_arm(const char *name, unsigned nth, bool persistent, int err_no)
{
	pthread_mutex_lock(&lock);
	st.env_read = true;
	arm(name, nth, persistent, err_no, false);
	pthread_mutex_unlock(&lock);
}

void fault_reload(void)
{
	pthread_mutex_lock(&lock);
	st.armed = false;
	read_env();
	pthread_mutex_unlock(&lock);
}

void fault_disarm(void)
{
	pthread_mutex_lock(&lock);
	st.armed = false;
	pthread_mutex_unlock(&lock);
}

unsigned fault_seen(void)
{
	return st.seen;
}

bool fault_fired(void)
{
	return st.fired;
}
#else
typedef int fault_is_off; /* ISO C wants a declaration */
#endif
