/* check.h - `sallyportd -t`: everything that can be checked without starting. */
#ifndef SP_DAEMON_CHECK_H
#define SP_DAEMON_CHECK_H

#include "conf.h"

/* Prints one line a check to stdout; 0 when all hold, 1 else. */
int check_all(const struct conf *c, const char *path);

#endif
