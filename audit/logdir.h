/* logdir.h - the log folder: what is in it, a streaming scanner over one segment, a reader of
 * single entries, small files written whole. Each object belongs to one thread; several may look
 * at one folder, also beside a writer. */
#ifndef SP_AUDIT_LOGDIR_H
#define SP_AUDIT_LOGDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "segment.h"

#define LOG_LOCK "lock"
#define LOG_CHECKPOINT "checkpoint"
#define LOG_VKEY "vkey"
#define LOG_GENESIS "genesis.json"

/* Segments in ascending order of first sequence, and the spares' numbers. */
struct logdir {
	uint64_t *first; /* owned */
	size_t n;
	unsigned spare[32];
	unsigned nspare;
};

int logdir_list(int dirfd, struct logdir *out, struct err *err);
void logdir_free(struct logdir *d); /* NULL ok */

/* Reads a whole small file of the folder, at most max bytes. E_NOTFOUND when absent. */
int logdir_read(int dirfd, const char *name, size_t max, struct buf *out, struct err *err);
/* Writes name.tmp, renames it over name; sync: fsync of the file before and the folder after.
 * Missing folders of name are made. */
int logdir_write(int dirfd, const char *name, struct span bytes, bool sync, struct err *err);
/* Makes the folders above name. */
int logdir_parents(int dirfd, const char *name, struct err *err);

/* Scans the frames of one segment through a window. */
struct segscan {
	int fd;		/* borrowed */
	uint64_t bytes; /* file size */
	uint64_t off;	/* next frame */
	uint64_t win;	/* file offset of the window */
	size_t len;	/* bytes in the window */
	size_t ahead;	/* bytes to read at a time: the window, less for single entries */
	uint8_t *mem;	/* owned, SEGSCAN_WINDOW */
};
#define SEGSCAN_WINDOW (256u << 10)

int segscan_init(struct segscan *s, int fd, uint64_t bytes, uint64_t off, struct err *err);
void segscan_free(struct segscan *s);
/* Gives the frame at s->off and steps over it. E_NOTFOUND: only a zero header here (end of data,
 * the rest unchecked); E_FORMAT: damaged here, s->off stays; E_IO. The payload is valid until the
 * next call. */
int segscan_next(struct segscan *s, struct seg_frame *f, struct err *err);
/* Forgets what was read, to see bytes written since. */
void segscan_refresh(struct segscan *s);

/* First non-zero byte in [from, bytes) of fd, or bytes. E_IO. */
int seg_zero_tail(int fd, uint64_t from, uint64_t bytes, uint64_t *nonzero, struct err *err);

/* Just behind the last non-zero byte in [from, bytes), or from. E_IO. */
int seg_last_nonzero(int fd, uint64_t from, uint64_t bytes, uint64_t *end, struct err *err);
/* Looks for a whole commit frame of a tree larger than size, signed by key, in [from, bytes).
 * E_OK with its offset and end and tree size, E_NOTFOUND, E_IO. */
int seg_search_commit(int fd, uint64_t from, uint64_t bytes, uint64_t size, const struct vkey *key,
		      uint64_t *at, uint64_t *end, uint64_t *found, struct err *err);

struct logr;

/* dirfd is duplicated. */
int logr_open(int dirfd, struct logr **out, struct err *err);
void logr_close(struct logr *r); /* NULL ok */
/* Appends entry index to *out. Checks frame, CRC and sequence, no signature, and not that the
 * entry is committed. E_RANGE when it is not there, E_FORMAT damaged. */
int logr_entry(struct logr *r, uint64_t index, struct buf *out, struct err *err);

#endif
