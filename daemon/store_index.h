/* store_index.h - index.db: which log entries belong to a request. Made from the log, deletable at
 * any time, written behind; applied = entries it has seen. One thread. */
#ifndef SP_DAEMON_STORE_INDEX_H
#define SP_DAEMON_STORE_INDEX_H

#include <stdint.h>

#include "err.h"
#include "id.h"
#include "span.h"

struct store_index;

/* Opens folder/index.db; one that is damaged or of another version is made anew. */
int store_index_open(const char *folder, struct store_index **out, struct err *err);
void store_index_close(struct store_index *x); /* NULL ok */
uint64_t store_index_applied(const struct store_index *x);
/* Entry at index ix == applied. A transaction is opened when there is none. */
int store_index_add(struct store_index *x, uint64_t ix, struct span entry, struct err *err);
/* Ends the transaction; applied is written with it. */
int store_index_commit(struct store_index *x, struct err *err);
/* Up to max indexes of a request, ascending; gives the count or a negative code. */
int store_index_find(struct store_index *x, const struct id *req, uint64_t *out, unsigned max,
		     struct err *err);

#endif
