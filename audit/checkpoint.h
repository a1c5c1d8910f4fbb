/* checkpoint.h - C2SP tlog-checkpoint bodies and tlog-proof files. Pure; any thread.
 *   checkpoint = origin LF decimal size LF base64(root) LF [extension lines]; we write none.
 *   proof file = "c2sp.org/tlog-proof@v1" LF ["extra " base64 LF] "index " n LF (base64(hash) LF)*
 *                LF signed checkpoint. The file name ends in .tlog-proof. */
#ifndef SP_AUDIT_CHECKPOINT_H
#define SP_AUDIT_CHECKPOINT_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "merkle.h"
#include "note.h"
#include "span.h"

#define CHECKPOINT_NOTE_MAX 512 /* our own signed checkpoint: origin twice, size, root, signature  \
				 */
#define TLOG_PROOF_MAX (1u << 20)

struct checkpoint {
	struct span origin; /* borrows the input */
	uint64_t size;
	uint8_t root[MERKLE_HASH];
	struct span ext; /* extension lines; borrows */
};

int checkpoint_parse(struct span text, struct checkpoint *out, struct err *err);
void checkpoint_put(struct buf *b, struct span origin, uint64_t size,
		    const uint8_t root[MERKLE_HASH]);
/* note_open with one key, the origin equal to the key's name, then checkpoint_parse. */
int checkpoint_open(struct span note, const struct vkey *key, struct checkpoint *out,
		    struct err *err);
/* Appends the signed note of our own checkpoint (origin = k's name). */
int checkpoint_sign(uint64_t size, const uint8_t root[MERKLE_HASH], const struct vkey *k,
		    const uint8_t sk[64], struct buf *out, struct err *err);

struct tlog_proof {
	struct span extra_b64; /* borrows; empty when absent; not authenticated */
	uint64_t index;
	struct merkle_proof proof;
	struct span checkpoint; /* the signed note; borrows */
};

/* E_FORMAT; E_TRUNC when the file merely ends early. */
int tlog_proof_parse(struct span file, struct tlog_proof *out, struct err *err);
/* extra may be empty. */
void tlog_proof_put(struct buf *b, struct span extra, uint64_t index, const struct merkle_proof *p,
		    struct span checkpoint);
/* Signature of the checkpoint by key, then inclusion of the leaf. *cp may be NULL. E_CRYPTO when
 * the entry is not in the tree, the codes of checkpoint_open else. */
int tlog_proof_check(const struct tlog_proof *p, const uint8_t leaf[MERKLE_HASH],
		     const struct vkey *key, struct checkpoint *cp, struct err *err);

#endif
