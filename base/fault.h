/* fault.h - fault points. Nothing in a release build; with --enable-fault a test fails the n-th
 * passing of a named point, or every point in turn until the operation under test succeeds.
 * A point in a child process is armed by the environment: SALLYPORT_FAULT="name:nth[:kill]".
 * With ":kill" the process sends itself SIGKILL there instead of failing. */
#ifndef SP_BASE_FAULT_H
#define SP_BASE_FAULT_H

#include <stdbool.h>

#ifdef SP_FAULT
/* True when this passing shall fail; sets errno to the armed value (default EIO). */
bool fault_hit(const char *name);
/* Arms a point: "name" or "*" (any), the nth passing from now (1 = next); persistent keeps
 * failing afterwards. err_no 0 = EIO. Any thread. */
void fault_arm(const char *name, unsigned nth, bool persistent, int err_no);
void fault_disarm(void);
/* Takes SALLYPORT_FAULT as it is now: for a child that was forked, not re-executed. */
void fault_reload(void);
/* How many passings were seen since the last arm, and whether one was failed. */
unsigned fault_seen(void);
bool fault_fired(void);
#define FAULT(name) fault_hit(name)
#else
#define FAULT(name) (false)
#endif

#endif
