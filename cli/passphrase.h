/* passphrase.h - a passphrase from SALLYPORT_PASSPHRASE_FILE (its first line) or from the terminal
 * without echo. One thread; the terminal is put back also after Ctrl-C. */
#ifndef SP_CLI_PASSPHRASE_H
#define SP_CLI_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define PASS_MAX 512
#define PASS_MIN 8 /* characters a new passphrase needs at least */

/* out: PASS_MAX bytes of guarded memory; *n bytes are written, no NUL. fresh: ask twice, and refuse
 * fewer than PASS_MIN bytes. E_CANCELLED after Ctrl-C, E_DENIED when the file is open to others,
 * E_NOTFOUND without a file and a terminal. */
int pass_read(const char *prompt, bool fresh, char *out, size_t *n, struct err *err);

#endif
