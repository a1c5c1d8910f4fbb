/* store_start.h - how the store begins: secrets, log, fold, database. Loop thread. */
#ifndef SP_DAEMON_STORE_START_H
#define SP_DAEMON_STORE_START_H

#include "store.h"

int store_prepare(struct role *r, struct err *err);
int store_start(struct role *r, struct err *err);
/* Appends log.start (and log.recovered) once the admin side owes nothing; loop thread, order held.
 */
void store_log_begin(struct store *s);

#endif
