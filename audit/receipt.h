/* receipt.h - receipts (doc/formats.md 7): a C2SP tlog-proof whose `extra` is canonical JSON
 * {"entry":"<the entry's bytes as a string>","output_salt":hex?,"prompt_salt":hex?,"v":1}.
 * extra is not authenticated by itself: the entry in it counts because its hash is proved. */
#ifndef SP_AUDIT_RECEIPT_H
#define SP_AUDIT_RECEIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "checkpoint.h"
#include "err.h"
#include "note.h"

#define RECEIPT_MAX (256u << 10)

struct receipt {
	struct buf file;     /* owned: the proof's text */
	struct tlog_proof p; /* borrows file */
	struct buf entry;    /* owned: the entry in extra, empty when there is none */
	bool has_prompt, has_output;
	uint8_t prompt_salt[32], output_salt[32];
};

/* Takes a .tlog-proof file's bytes, or the SSE comment ": sallyport-receipt <base64>" a stream
 * carried. E_FORMAT; E_TRUNC when it ends early. End with receipt_free() in any case. */
int receipt_parse(struct span text, struct receipt *out, struct err *err);
void receipt_free(struct receipt *r);

/* The checkpoint is signed by key, and entry (empty: the one inside) is at its index in that tree.
 * *cp (NULL ok) borrows r. E_CRYPTO wrong, E_NOTFOUND signed by no such key or no entry known. */
int receipt_check(const struct receipt *r, struct span entry, const struct vkey *key,
		  struct checkpoint *cp, struct err *err);

/* The commitment of doc/formats.md 4: SHA-256("sallyport/commit/v1\n" || salt || bytes). */
void receipt_commitment(const uint8_t salt[32], struct span bytes, uint8_t out[32]);

/* A POSIX shell script that does the same with openssl, base64 and awk alone; etc/check-receipt.sh
 * is this text. Static. */
const char *receipt_script(void);

#endif
