/* store_work.h - a thread with a bounded queue of jobs: run() there, done() back in the loop. Any
 * thread may put. */
#ifndef SP_DAEMON_STORE_WORK_H
#define SP_DAEMON_STORE_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct work;
struct work_job {
	struct work_job *next;
	void (*run)(struct work_job *j);  /* worker thread */
	void (*done)(struct work_job *j); /* loop thread; frees the job. NULL: run() frees it */
};

/* post as in slog_cfg. idle (may be NULL) runs in the worker every idle_ms. */
int work_start(unsigned max, void (*post)(void *ctx, void (*fn)(void *), void *arg), void *ctx,
	       unsigned idle_ms, void (*idle)(void *ctx), struct work **out, struct err *err);
/* Takes j; E_BUSY when the queue is full (j stays the caller's), force ignores the bound. */
int work_put(struct work *w, struct work_job *j, bool force);
unsigned work_queued(struct work *w);
/* Runs what is queued, ends the thread. NULL ok. done() of the last jobs is still posted. */
void work_stop(struct work *w);

#endif
