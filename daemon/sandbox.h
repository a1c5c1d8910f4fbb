/* sandbox.h - what a role may still ask of the kernel, declared in one table (sandbox.c) and
 * applied once: no_new_privs, non-dumpable, rlimits, Landlock (probed), seccomp (libseccomp).
 * A layer the kernel does not offer is left out and reported; one that fails is an error. */
#ifndef SP_DAEMON_SANDBOX_H
#define SP_DAEMON_SANDBOX_H

#include "conf.h"
#include "err.h"
#include "msgs.h"

enum { SB_NNP = 1, SB_NODUMP = 2, SB_RLIMIT = 4, SB_LANDLOCK = 8, SB_SECCOMP = 16, SB_UID = 32 };

/* Enters the role's sandbox for the whole process. With conf.sandbox false only no_new_privs and
 * non-dumpable are set. Call once, before threads start. */
int sandbox_enter(enum role_id role, const struct conf *c, struct err *err);
/* Layers in force in this process (SB_ bits). */
unsigned sandbox_layers(void);
/* Landlock ABI of this kernel; 0 = none. */
int sandbox_landlock_abi(void);

#endif
