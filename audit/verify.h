/* verify.h - checks a whole log folder from its plain files: segments, commit signatures, tiles,
 * bundles, the folder's checkpoint, spares, and that intents and outcomes match. Streaming, at most
 * 16 MiB of memory at any size of log. May run beside a serving writer. One thread per call. */
#ifndef SP_AUDIT_VERIFY_H
#define SP_AUDIT_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "merkle.h"
#include "note.h"

/* Exit codes of `audit verify` and `receipt check`. */
enum verify_code { VERIFY_OK = 0, VERIFY_TAMPERED = 1, VERIFY_INCOMPLETE = 2, VERIFY_USAGE = 3 };

struct verify_opts {
	const struct vkey
	    *key;	   /* the log's key, pinned; NULL: genesis.json, else vkey in the folder */
	struct span since; /* a remembered signed checkpoint; empty: none */
};

struct verify_result {
	enum verify_code code;
	uint64_t records, commits, segments, tiles, bundles;
	uint64_t intents, outcomes, in_flight;
	bool clean;	     /* ends with a closing STOP frame */
	bool live;	     /* a writer holds the folder's lock */
	bool pinned;	     /* the key came from the caller */
	uint64_t torn_bytes; /* behind the last commit */
	uint64_t checkpoint; /* size of the folder's checkpoint file, 0 = none */
	bool bad;	     /* first_bad is set */
	struct {
		uint64_t
		    index; /* first entry that is not what was signed, or the tree size there */
		char file[96];
		uint64_t byte;
	} first_bad;
	struct vkey key;
	uint8_t root[MERKLE_HASH];
	char text[256]; /* one line for people: what is wrong */
};

/* Always fills *out; gives out->code. */
enum verify_code verify_log(int dirfd, const struct verify_opts *o, struct verify_result *out);

/* log_vkey of a genesis document. */
bool verify_genesis_key(struct span doc, struct vkey *out);

/* The stable JSON object and the line for people, each with a newline. */
void verify_json(const struct verify_result *r, struct buf *b);
void verify_text(const struct verify_result *r, struct buf *b);

#endif
