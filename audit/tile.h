/* tile.h - C2SP tlog-tiles (https://c2sp.org/tlog-tiles): paths, hash tiles kept beside the log as
 * the store of all tree hashes, entry bundles and partial tiles written behind. Everything here can
 * be made again from the segments. One thread.
 *   tile/<L>/<N>[.p/<W>]      256 (or W) hashes of 32 bytes; level L hash i covers 256^L leaves
 *   tile/entries/<N>[.p/<W>]  256 (or W) times u16 big-endian length || entry
 * N in groups of three digits, all but the last with an x before: 1234067 = x001/x234/067. */
#ifndef SP_AUDIT_TILE_H
#define SP_AUDIT_TILE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "logdir.h"
#include "merkle.h"
#include "span.h"

#define TILE_WIDTH 256u
#define TILE_BYTES (TILE_WIDTH * MERKLE_HASH)
#define TILE_LEVELS 8
#define TILE_ENTRIES (-1) /* as a level: entry bundles */
#define TILE_PATH_MAX 96

/* width 0 or 256: the full tile; 1..255: the partial one. level 0..63 or TILE_ENTRIES. */
void tile_path(int level, uint64_t index, unsigned width, char out[TILE_PATH_MAX]);
/* Strict inverse; false when path is not in canonical form. width 0 = full. */
bool tile_path_parse(struct span path, int *level, uint64_t *index, unsigned *width);

typedef uint8_t tile_hashes[TILE_WIDTH][MERKLE_HASH];

/* Tiles that became full since, kept for a while: a new file in the way of the next commit's fsync
 * would make that wait for the file system's journal. */
#define TILES_PENDING 64u
struct tile_pending {
	unsigned level;
	uint64_t index;
	tile_hashes h;
};

/* The right edge of the tree: the incomplete tile of every level, in memory. Full tiles are files.
 */
struct tiles {
	int dirfd;	   /* borrowed */
	struct logr *logr; /* borrowed: entries, to mend tiles from */
	uint64_t size;
	uint64_t files_bad; /* tile files that could not be written (mended when needed) */
	bool distrust;	    /* make tiles from entries even where files exist */
	tile_hashes *edge[TILE_LEVELS];
	struct tile_pending *pending; /* owned, TILES_PENDING of them, or NULL */
	unsigned npending;
	tile_hashes *cache; /* the last full tile read */
	int cache_level;
	uint64_t cache_index;
};

/* Builds the edges of the tree of size leaves out of tile files and entries. */
int tiles_init(struct tiles *t, int dirfd, struct logr *r, uint64_t size, struct err *err);
void tiles_free(struct tiles *t);
/* Adds a leaf; a tile that becomes full is written a little later (no fsync; a failure is only
 * counted: it is made again when it is needed). */
int tiles_add(struct tiles *t, const uint8_t leaf[MERKLE_HASH], struct err *err);
/* Writes the tiles that wait for it. */
void tiles_flush(struct tiles *t);
/* merkle_node_fn over struct tiles. Complete subtrees below t->size only. */
int tiles_node(void *ctx, unsigned height, uint64_t index, uint8_t out[MERKLE_HASH]);
void tiles_root(struct tiles *t, uint8_t out[MERKLE_HASH]);
/* The partial tile of a level now: gives hashes and their number (0: none). */
unsigned tiles_edge(const struct tiles *t, unsigned level, const uint8_t (**h)[MERKLE_HASH]);

/* Writes what a checkpoint of t->size needs beyond the one of size `from`: bundles (*bundles says
 * how far they are, and moves on), partial tiles; makes it durable; drops partial files that others
 * replace. With more than `most` bundles behind it writes only that many and gives E_BUSY. */
int tiles_publish(struct tiles *t, uint64_t from, uint64_t *bundles, unsigned most,
		  struct err *err);

#endif
