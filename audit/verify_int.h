/* verify_int.h - parts of the verifier; private. */
#ifndef SP_AUDIT_VERIFY_INT_H
#define SP_AUDIT_VERIFY_INT_H

#include "logdir.h"
#include "tile.h"
#include "verify.h"

/* Sets the first finding (later ones are kept out) and the code, the worse of the two. */
void verify_finding(struct verify_result *r, enum verify_code code, uint64_t index,
		    const char *file, uint64_t byte, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* verify_pairs.c: intents and outcomes by request id, in bounded memory. */
struct pairing;
struct pairing *pairing_new(void);
void pairing_free(struct pairing *p);
/* Counts one entry; false when it breaks the pairing (outcome without intent, two intents). */
bool pairing_add(struct pairing *p, struct span entry, struct verify_result *r);

/* verify_tiles.c: compares files under tile/ with what the segments say. */
struct side {
	int dirfd;
	bool live;
	struct verify_result *r;
	uint64_t size; /* leaves taken */
	tile_hashes *edge[TILE_LEVELS];
	struct {
		int fd;
		unsigned width;
		uint64_t off;
	} bundle[8]; /* open for the bundle at hand */
	unsigned nbundle;
};
int side_init(struct side *s, int dirfd, bool live, struct verify_result *r);
/* The next entry of the tree; called only when its commit is verified. */
void side_entry(struct side *s, struct span entry, const uint8_t leaf[MERKLE_HASH]);
/* After the last entry: partial tiles and bundles. */
void side_end(struct side *s);
void side_free(struct side *s);

/* A signed head the tree must pass through. */
struct watch {
	uint64_t size;
	uint8_t root[MERKLE_HASH];
	const char *file;
	bool seen;
};

struct walk {
	int dirfd;
	struct verify_result *r;
	struct merkle tree, good; /* with the open group; after the last whole one */
	uint64_t good_end;	  /* in the segment at hand */
	uint64_t ordinal;
	bool ours;	  /* entry 0 is a genesis: a realm's log, not opaque bytes */
	bool cp_good;	  /* the folder's checkpoint opens with the log's key */
	int cp_rc;	  /* of reading the folder's checkpoint */
	bool stop;	  /* the last whole group was a STOP */
	uint32_t count;	  /* entries in the open group */
	struct buf group; /* their bytes: u32 length || entry */
	uint8_t (*leaf)[MERKLE_HASH];
	struct watch watch[2];
	unsigned nwatch;
	struct buf cp;	 /* the folder's checkpoint file */
	struct buf note; /* the last commit's note */
	struct pairing *pairs;
	struct side side;
	char file[SEG_NAME_MAX];
};

/* A finding in the segment at hand, at the entry the tree has come to. */
void verify_bad(struct walk *w, uint64_t byte, const char *what);
/* verify_tail.c: damage at byte off of the segment at hand: torn, or an offence. */
void verify_judge(struct walk *w, int fd, uint64_t off, uint64_t bytes, bool last);

/* verify_key.c: which key; checks vkey and genesis.json against it. False: code is set. */
bool verify_pick_key(int dirfd, const struct verify_opts *o, struct verify_result *r);
/* Entry 0: a genesis document names the log key and equals genesis.json. */
void verify_genesis(int dirfd, struct span entry, struct verify_result *r);

#endif
