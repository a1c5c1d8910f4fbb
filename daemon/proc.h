/* proc.h - main's side of one role process: start it (fork + re-execute this binary), give it files
 * and channels, hear it, reap it. Main's single thread. Main reads no foreign byte: only the typed
 * messages of its own roles and the operator's configuration. */
#ifndef SP_DAEMON_PROC_H
#define SP_DAEMON_PROC_H

#include <sys/types.h>

#include "chan.h"
#include "conf.h"

enum proc_state { PS_DOWN, PS_CONF, PS_READY, PS_RUN, PS_DRAINING };

struct proc {
	enum role_id id;
	enum proc_state state;
	pid_t pid;
	struct chan *ch;
	uint64_t started_ms, last_alive_ms, next_start_ms;
	unsigned backoff_ms, restarts;
	bool serving, drained, clean;
	uint32_t reasons;
	uint32_t ready_version; /* configuration it said READY to */
	bool said_bad;
};

/* Forks and re-executes self with -R role. Gives p->ch and p->pid. */
int proc_spawn(struct proc *p, const char *self, const struct conf *c, struct err *err);
/* Sends a named descriptor (borrowed). */
int proc_file(struct proc *p, const char *name, int fd);
/* Makes both channels between two living roles and hands out the ends. */
int proc_join(struct proc *a, struct proc *b, uint32_t gen, struct err *err);
/* Sends the configuration text in a sealed memfd. */
int proc_conf(struct proc *p, uint32_t version, struct span text, struct err *err);
void proc_gone(struct proc *p); /* closes what main holds of a dead role */

#endif
