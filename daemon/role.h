/* role.h - what every role has in common: it is this binary, re-executed by main with one control
 * channel on descriptor 3, gets files, channels and configuration from main, enters its sandbox,
 * and runs one loop thread until main says DRAIN.
 *
 * A role implements struct role_ops; all ops run in the loop thread. Start order: FILE, LISTEN
 * (a FILE whose name starts with "listen:"), CHAN and CONF arrive -> prepare() -> sandbox ->
 * GO -> start(). A role never opens a path, except below folders its sandbox names. */
#ifndef SP_DAEMON_ROLE_H
#define SP_DAEMON_ROLE_H

#include <sys/epoll.h>

#include "chan.h"
#include "conf.h"
#include "reasons.h"

struct role;

struct role_ops {
	enum role_id id;
	unsigned tick_ms; /* tick() period; 0 = 50 */
	/* Before the sandbox: create threads' needs, ask the kernel for what it later refuses. */
	int (*prepare)(struct role *r, struct err *err);
	/* In the sandbox. An error ends the process; main restarts it with back-off. */
	int (*start)(struct role *r, struct err *err);
	/* One message that the table allows. Decode with msg_dec_X; on malformed bodies call
	 * role_odd(). Descriptors in *in are closed after return unless taken (set to -1). */
	void (*msg)(struct role *r, struct chan *ch, struct msg_in *in);
	/* Both channels to peer are new (up), or the peer died (down: pointers are already gone). */
	void (*peer)(struct role *r, enum role_id peer, bool up);
	void (*tick)(struct role *r, uint64_t now_ms); /* CLOCK_MONOTONIC */
	/* Two-phase reload: check the new configuration, keep nothing; then commit it. */
	int (*conf_try)(struct role *r, const struct conf *c, struct err *err);
	void (*conf_commit)(struct role *r, const struct conf *c);
	/* Finish what runs until deadline_ms (monotonic), then call role_drained(). */
	void (*drain)(struct role *r, uint64_t deadline_ms);
	/* A peer broke the rules: table, sequence or body. NULL = only counted and logged. */
	void (*odd)(struct role *r, enum role_id who, uint16_t type, int code);
};

/* Runs the role; returns the exit status. Control channel is descriptor 3. */
int role_run(const struct role_ops *ops);

/* NULL while the peer is down. Valid in the loop thread; other threads may chan_send on it only
 * while the role guarantees that the loop thread does not drop it: use role_send_lock around. */
struct chan *role_chan(struct role *r, enum role_id peer, enum chan_kind kind);
void role_send_lock(struct role *r);   /* any thread */
void role_send_unlock(struct role *r);
/* A descriptor main gave under this name; borrowed; -1 = none. */
int role_file(struct role *r, const char *name);
/* i-th file whose name starts with prefix: sets *name. -1 = no more. */
int role_file_at(struct role *r, const char *prefix, unsigned i, const char **name);
const struct conf *role_conf(const struct role *r);
const struct id *role_boot(const struct role *r); /* random per process */
/* Watches a descriptor in the loop (epoll events). fn(arg, events). 0 or negative. */
int role_watch(struct role *r, int fd, uint32_t events, void (*fn)(void *arg, uint32_t ev),
	       void *arg);
void role_unwatch(struct role *r, int fd);
/* Any thread: run fn(arg) soon in the loop thread. */
void role_post(struct role *r, void (*fn)(void *arg), void *arg);
void role_drained(struct role *r, bool clean);
/* What ALIVE tells main: serving or not, and why. */
void role_set_serving(struct role *r, bool serving, uint32_t reasons);
/* Counts and logs a breach by a peer, and calls ops->odd. */
void role_odd(struct role *r, enum role_id who, uint16_t type, int code);
bool role_draining(const struct role *r);
void *role_get_user(const struct role *r);
void role_set_user(struct role *r, void *user);

#endif
