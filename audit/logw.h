/* logw.h - the log writer: group commit into preallocated segments, one Merkle tree, a signed
 * checkpoint in every commit. Owned by one thread; no thread inside. Times do not occur here.
 *
 *   logw_open() -> logw_append()* -> logw_commit() -> ... -> logw_close(clean)
 *
 * An appended entry has its index at once and is durable when the next logw_commit() gave E_OK.
 * A write or fsync that fails poisons the log: every later append and commit gives E_IO, nothing
 * is retried (a page may be marked clean after a failed write-back); the owner must exit, and the
 * next open reads back what is there. No space is not an error of the log: E_BUSY, refuse work.
 *
 * Space: logw_reserve() sets bytes aside in files that are already allocated, so that what an
 * admitted request must still write always has room. Use logw_cost() for each entry to come. */
#ifndef SP_AUDIT_LOGW_H
#define SP_AUDIT_LOGW_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "merkle.h"
#include "note.h"
#include "segment.h"

struct logw;

struct logw_opts {
	const char *dir;	/* the log folder; made 0700 when absent. dirfd wins when >= 0 */
	int dirfd;		/* folder descriptor (borrowed, duplicated), or -1 */
	const char *origin;	/* checkpoint origin = key name, at most NOTE_NAME_MAX bytes */
	const uint8_t *seckey;	/* Ed25519 secret key, 64 bytes; copied to guarded memory */
	uint64_t segment_bytes; /* 0 = SEG_DEFAULT; multiple of 4096 within SEG_MIN..SEG_MAX */
	unsigned spares;	/* segments allocated ahead; 0 = 1, at most 8 */
	uint16_t node;		/* node id, 0 in this version */
};

/* What open found; the owner appends log.start / log.recovered accordingly. */
struct logw_report {
	bool created;		/* there was no log */
	bool clean;		/* the last run ended with logw_close(clean) */
	uint64_t size;		/* entries now */
	uint64_t dropped_bytes; /* torn tail removed behind the last commit */
	char file[SEG_NAME_MAX];
	uint64_t offset; /* where the torn tail began */
};

/* Opens or creates; locks the folder against a second writer (E_BUSY). Recovers a torn tail: reads
 * the last segment only, keeps up to the last whole commit, zeroes the rest. Damage below a
 * signed checkpoint is E_CRYPTO: refused, err names file and byte. Another key or origin: E_DENIED.
 */
int logw_open(const struct logw_opts *o, struct logw **out, struct logw_report *rep,
	      struct err *err);

/* Buffers one entry (<= ENTRY_MAX, opaque bytes) and gives its leaf index. May commit what is
 * buffered first when the group is full. E_BUSY when only reserved room is left, E_RANGE too
 * large, E_IO poisoned. */
int logw_append(struct logw *w, struct span entry, uint64_t *index, struct err *err);
/* As logw_append out of a reservation: gives back cost of it and takes the room. */
int logw_append_reserved(struct logw *w, struct span entry, uint64_t cost, uint64_t *index,
			 struct err *err);

/* One write and one fdatasync for all that is buffered; nothing buffered is E_OK at once. */
int logw_commit(struct logw *w, struct err *err);

/* Room one entry of n bytes may need at worst (frame, own commit frame). */
uint64_t logw_cost(size_t n);
/* E_BUSY when the room is not there and cannot be allocated. */
int logw_reserve(struct logw *w, uint64_t bytes, struct err *err);
void logw_release(struct logw *w, uint64_t bytes);
/* Unreserved and reserved bytes in allocated files. */
void logw_space(const struct logw *w, uint64_t *free_bytes, uint64_t *reserved);

uint64_t logw_next(const struct logw *w);			 /* index the next append gets */
uint64_t logw_size(const struct logw *w);			 /* committed entries */
void logw_root(const struct logw *w, uint8_t root[MERKLE_HASH]); /* of logw_size() */
bool logw_poisoned(const struct logw *w);
uint64_t logw_commits(const struct logw *w);	    /* since open */
const struct vkey *logw_vkey(const struct logw *w); /* borrows */
/* Signed checkpoint of the last commit; valid until the next commit. */
struct span logw_checkpoint(const struct logw *w);

/* Any committed entry, appended to *out. E_RANGE, E_IO, E_FORMAT (damaged). */
int logw_entry(struct logw *w, uint64_t index, struct buf *out, struct err *err);
/* Inclusion of index in the tree of size (index < size <= logw_size()); verified before it is
 * given. Reads tile files, mends missing or damaged ones from the segments. */
int logw_prove(struct logw *w, uint64_t index, uint64_t size, struct merkle_proof *out,
	       struct err *err);
int logw_prove_consistency(struct logw *w, uint64_t old, uint64_t size, struct merkle_proof *out,
			   struct err *err);
/* Appends a whole C2SP tlog-proof of index against the current checkpoint (extra may be empty). */
int logw_receipt(struct logw *w, uint64_t index, struct span extra, struct buf *out,
		 struct err *err);

/* Writes what is behind: tiles, bundles, partial tiles, and the folder's checkpoint file, up to
 * the last commit. Reads segments; slow beside a commit (call it every few seconds, when idle).
 * Bounded: with much behind it does a part and gives E_BUSY: call again. Another failure leaves
 * the log itself untouched and may be tried again. */
int logw_publish(struct logw *w, struct err *err);

/* clean: commits, publishes, writes the closing STOP frame (durable). Frees w in any case;
 * NULL ok. Not clean: drops what is buffered. */
int logw_close(struct logw *w, bool clean, struct err *err);

#endif
