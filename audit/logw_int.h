/* logw_int.h - what logw.c, logw_open.c and logw_space.c share. Private to the writer. */
#ifndef SP_AUDIT_LOGW_INT_H
#define SP_AUDIT_LOGW_INT_H

#include "logdir.h"
#include "logw.h"
#include "tile.h"

#define GROUP_MAX (1u << 20)
/* Every group leaves room behind it for the closing frame. */
#define STOP_ROOM (SEG_FRAME + SEG_STOP_BYTES)
/* What a new segment holds before its first group, at most. */
#define SEG_PREFIX_MAX (SEG_HEADER + SEG_FRAME + 64 * MERKLE_HASH)

struct logw {
	int dirfd, lockfd;
	int fd;			     /* current segment, or -1 when none has been begun */
	uint64_t bytes;		     /* its size */
	uint64_t ordinal, off;	     /* its number; where the next frame goes */
	uint64_t segment_bytes;	     /* for new ones */
	unsigned spares, spare_next; /* allocated ahead: wanted; next free number */
	struct {
		unsigned n;
		uint64_t bytes;
	} spare[8]; /* what there is, oldest first */
	unsigned nspare;
	uint16_t node;
	bool poisoned;
	bool closed; /* a STOP frame is the last one */

	struct merkle tree;	   /* with what is buffered */
	uint64_t size;		   /* committed */
	uint8_t root[MERKLE_HASH]; /* committed */
	struct buf group;	   /* ENTRY frames not yet committed */
	uint32_t count;
	uint8_t (*leaf)[MERKLE_HASH]; /* of the buffered entries */
	uint32_t leaf_cap;
	uint64_t reserved, commits;
	uint64_t published; /* size of the folder's checkpoint file */
	uint64_t bundles;   /* entries in bundles that are written and durable */

	struct buf note; /* signed checkpoint of (size, root) */
	struct vkey key;
	uint8_t *sk; /* guarded memory */
	uint8_t origin[SHA256_BYTES];
	struct tiles tiles;
	struct logr *logr;
};

/* logw_space.c */
uint32_t logw_group_max(const struct logw *w);
int logw_add_spare(struct logw *w, struct err *err);
/* Bytes of frames that certainly fit into allocated files besides what is buffered. */
uint64_t logw_room(const struct logw *w);
/* Takes the oldest spare as the next segment: renames, opens; w->fd, bytes, ordinal, off (0). */
int logw_take_spare(struct logw *w, struct err *err);

/* logw_open.c */
int logw_recover(struct logw *w, struct logw_report *rep, struct err *err);

#endif
