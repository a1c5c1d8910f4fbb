/* segment.h - the bytes of the log on disk (doc/formats.md 3.1). Pure; any thread.
 *
 * A log folder holds seg-<16 hex digits: first sequence>.log, preallocated files of one fixed size,
 * and spare-<n>.log: preallocated, all zero, taken for the next segment. Little-endian.
 *
 * Segment header, 128 bytes:
 *   0 "SPLOGSEG" | 8 u32 version 1 | 12 u32 0 | 16 u64 ordinal (0, 1, ..) | 24 u64 first sequence
 *   32 u64 file size | 40 root of the tree of first sequence leaves | 72 SHA-256(origin)
 *   104 u16 node id | 106 zero | 124 u32 CRC-32C of bytes 0..123
 * Frame, 24 bytes and its payload, no padding:
 *   0 u32 payload length | 4 u32 CRC-32C of bytes 0..3, then 8..end | 8 u64 sequence
 *   16 u8 kind | 17 u8 0 | 18 u16 node id | 20 u32 key epoch (0: no evolving key)
 *   kind 1 ENTRY     payload = the entry (<= 65,535); sequence = its leaf index
 *   kind 2 COMMIT    ends a group; sequence = tree size; payload:
 *     0 "sallyport/commit/v1\n" | 20 u32 entries in the group | 24 u64 tree size | 32 root
 *     64 u32 key epoch 0 | 68 u32 0 | 72 evolving MAC, 32 zero bytes | 104 signed checkpoint (note)
 *   kind 3 FRONTIER  first frame of every segment; payload = the peaks of the tree at its start
 *   kind 4 STOP      clean stop (log.stop); sequence = tree size; payload:
 *     0 "sallyport/stop/v1\n" | 18 root | 50 u64 ordinal | 58 u64 offset of this frame
 *     66 Ed25519 by the log key over payload bytes 0..65 and u64 tree size
 * Everything behind the last frame is zero. An entry counts only when its COMMIT is whole. A group
 * (FRONTIER? ENTRY+ COMMIT) is one write and never crosses a segment. */
#ifndef SP_AUDIT_SEGMENT_H
#define SP_AUDIT_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "checkpoint.h"
#include "err.h"
#include "merkle.h"
#include "span.h"

#define ENTRY_MAX 65535u
#define SEG_HEADER 128u
#define SEG_FRAME 24u
#define SEG_COMMIT_FIXED 104u
#define SEG_STOP_BYTES 130u
/* No frame is larger than an entry's. */
#define SEG_FRAME_MAX (SEG_FRAME + ENTRY_MAX)
#define SEG_COMMIT_MAX (SEG_FRAME + SEG_COMMIT_FIXED + CHECKPOINT_NOTE_MAX)
#define SEG_NAME_MAX 32
#define SEG_DEFAULT (64ull << 20)
#define SEG_MIN 4096ull
#define SEG_MAX (1ull << 32)

enum seg_kind { SEG_NONE, SEG_ENTRY, SEG_COMMIT, SEG_FRONTIER, SEG_STOP };

struct seg_header {
	uint64_t ordinal, first, bytes;
	uint8_t root[MERKLE_HASH];
	uint8_t origin[SHA256_BYTES];
	uint16_t node;
};

void seg_header_put(const struct seg_header *h, uint8_t out[SEG_HEADER]);
/* E_FORMAT with the first wrong field's offset in *at. */
int seg_header_parse(const uint8_t in[SEG_HEADER], struct seg_header *out, unsigned *at,
		     struct err *err);

struct seg_frame {
	enum seg_kind kind;
	uint64_t seq;
	uint16_t node;
	struct span payload; /* borrows */
	uint32_t size;	     /* header and payload */
};

/* Appends a frame. */
void seg_frame_put(struct buf *b, enum seg_kind kind, uint64_t seq, uint16_t node,
		   struct span payload);
/* Reads the frame at the start of s. E_OK; E_NOTFOUND when the header is all zero (end of data);
 * E_TRUNC when s ends before the frame does (more bytes may mend it); E_FORMAT when it is damaged.
 */
int seg_frame_parse(struct span s, struct seg_frame *out);

struct seg_commit {
	uint32_t count;
	uint64_t size;
	uint8_t root[MERKLE_HASH];
	struct span note; /* borrows */
};

void seg_commit_put(struct buf *b, uint16_t node, uint32_t count, uint64_t size,
		    const uint8_t root[MERKLE_HASH], struct span note);
/* Fields only; E_FORMAT. */
int seg_commit_parse(const struct seg_frame *f, struct seg_commit *out);
/* Also the checkpoint's signature, origin, size and root. E_CRYPTO. */
int seg_commit_check(const struct seg_commit *c, const struct vkey *key, struct err *err);

int seg_stop_put(struct buf *b, uint16_t node, uint64_t size, const uint8_t root[MERKLE_HASH],
		 uint64_t ordinal, uint64_t offset, const uint8_t sk[64], struct err *err);
/* True when f is a STOP frame of exactly this place, signed by key. */
bool seg_stop_check(const struct seg_frame *f, uint64_t size, const uint8_t root[MERKLE_HASH],
		    uint64_t ordinal, uint64_t offset, const struct vkey *key);

/* Looks for a whole commit frame with a tree size above size in s, at any offset; when key is
 * given its signature must verify. Gives its offset in *at and the frame's size in *out. */
bool seg_find_commit(struct span s, uint64_t size, const struct vkey *key, size_t *at,
		     struct seg_commit *out);

void seg_name(uint64_t first, char out[SEG_NAME_MAX]);
bool seg_name_parse(const char *name, uint64_t *first);
void seg_spare_name(unsigned n, char out[SEG_NAME_MAX]);
bool seg_spare_parse(const char *name, unsigned *n);

/* First non-zero byte of p, or n. */
size_t seg_first_nonzero(const void *p, size_t n);

#endif
