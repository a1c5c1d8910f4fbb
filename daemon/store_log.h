/* store_log.h - the log writer thread. It alone owns struct logw. Jobs come in order from the loop
 * thread (and from the database thread inside a hold), are appended and made durable in groups, and
 * come back to the loop thread through post(). Nobody waits for the disk but this thread.
 *
 * Room: slog_take() sets bytes aside for an admitted request (never blocks: the thread keeps a pool
 * of reserved bytes filled); entries of a paid job use that room, slog_give() returns the rest.
 * Failure: after EIO the log is poisoned: every job from then on comes back with E_IO. */
#ifndef SP_DAEMON_STORE_LOG_H
#define SP_DAEMON_STORE_LOG_H

#include "buf.h"
#include "err.h"
#include "id.h"
#include "logw.h"

struct slog;
struct slog_job;
struct slog_hold;

struct slog_cfg {
	struct logw *w;	    /* given; closed by slog_stop */
	int dirfd;	    /* log folder, to see free space; borrowed */
	uint64_t low_water; /* free bytes on the disk below which slog_low() is true */
	uint32_t delay_us;  /* waits this long for more entries before a commit */
	/* Runs fn(arg) soon in the loop thread. */
	void (*post)(void *ctx, void (*fn)(void *arg), void *arg);
	void *ctx;
	/* In the log thread, after each commit: entries [first, first + n) are durable, in order.
	 */
	void (*committed)(void *ctx, const struct slog_job *j);
};

struct slog_job {
	struct slog_job *next;
	struct buf entries; /* slog_add() */
	unsigned n;
	bool paid;	  /* out of room taken with slog_take() */
	bool must;	  /* no room for it poisons the log: others count on it */
	bool receipt;	  /* make the receipt of the last entry; of entry `index` when n is 0 */
	struct buf extra; /* for the receipt; made from entry and salts when n is 0 */
	struct slog_hold *hold; /* private */
	uint64_t index;		/* of the last entry */
	int rc;			/* E_OK durable; E_BUSY no room (nothing written); E_IO */
	struct buf out;		/* the receipt */
	/* In the loop thread; NULL ok. The job is freed afterwards. */
	void (*done)(struct slog_job *j);
	void *arg;
	struct id lease, req; /* for the caller, with the next ones */
	uint32_t tag, tag2;
	uint8_t salt[2][32]; /* prompt, output */
	bool has_salt[2];
	uint64_t *want; /* n_want indexes to read: out = JSON array of the entries; freed */
	unsigned n_want;
};

/* Starts the thread. cfg is copied. Gives *out; end with slog_stop. */
int slog_start(const struct slog_cfg *cfg, struct slog **out, struct err *err);
/* Ends the thread after what is queued; clean: log.stop must have been durable before. NULL ok. */
int slog_stop(struct slog *s, bool clean, struct err *err);

struct slog_job *slog_job_new(void);	/* NULL without memory */
void slog_job_free(struct slog_job *j); /* NULL ok; only for jobs never put */
/* Copies one entry into the job. */
void slog_add(struct slog_job *j, struct span entry);
/* Takes j; order is the order of calls. Loop thread only. */
void slog_put(struct slog *s, struct slog_job *j);

/* A place in the queue that waits to be filled: entries put into it later stand in the log at this
 * place, so that times never decrease although the filler needs longer. Loop or database thread. */
struct slog_hold *slog_hold_open(struct slog *s);
void slog_hold_put(struct slog_hold *h, struct slog_job *j); /* takes j */
void slog_hold_close(struct slog_hold *h);		     /* takes h */

bool slog_take(struct slog *s, uint64_t bytes);
void slog_give(struct slog *s, uint64_t bytes);
bool slog_poisoned(const struct slog *s);
bool slog_low(const struct slog *s);	  /* no room for new requests */
uint64_t slog_size(const struct slog *s); /* committed entries */
uint64_t slog_commits(const struct slog *s);
uint64_t slog_queued(const struct slog *s); /* jobs not yet answered */
/* Text of the failure that poisoned the log; "" before. */
const char *slog_why(const struct slog *s);
/* Copies the signed checkpoint of the last commit. Any thread. */
void slog_checkpoint(struct slog *s, struct buf *out);

#endif
