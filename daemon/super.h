/* super.h - main's life: start the roles, hand out descriptors, restart what dies with back-off,
 * two-phase reload on SIGHUP, zero-loss shutdown on SIGTERM. */
#ifndef SP_DAEMON_SUPER_H
#define SP_DAEMON_SUPER_H

#include "conf.h"
#include "err.h"
#include "split.h"

/* Runs until told to stop. conf_path is read again on SIGHUP. Returns the exit status. */
int super_run(const char *self, const char *conf_path, const struct conf *c, struct span text);

/* Descriptors main opened for the roles. -1 = not configured. */
struct super_files {
	int listen_public, listen_admin, tls_cert, tls_key, client_ca, policy, genesis;
	int state_dir, log_dir, secret_log_key, secret_pepper, secret_kek;
	int model[CONF_MODELS][SPLIT_MAX]; /* the files of each, in order */
};
/* Opens all that c names; sockets only with listen. Errors name the key of the configuration. */
int super_open_files(const struct conf *c, struct super_files *f, bool with_sockets,
		     struct err *err);
void super_close_files(struct super_files *f);

#endif
