/* note.h - C2SP signed notes and verifier keys (https://c2sp.org/signed-note). Pure; any thread.
 *   note = text LF  signature-line+ ; text ends in LF; the split is at the last empty line.
 *   signature line = U+2014 SP name SP base64(key id[4] || signature) LF
 *   vkey = name "+" hex8(key id) "+" base64(type || key); Ed25519 key id = first 4 bytes of
 *   SHA-256(name || 0x0A || type || key). Types known here: 0x01 Ed25519, 0x04 cosignature/v1. */
#ifndef SP_AUDIT_NOTE_H
#define SP_AUDIT_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "span.h"

#define NOTE_NAME_MAX 127   /* bytes; the format sets no bound */
#define NOTE_MAX (1u << 20) /* bytes of a whole note */
#define NOTE_SIGS_MAX 100
#define VKEY_TEXT_MAX (NOTE_NAME_MAX + 56)

enum { VKEY_ED25519 = 0x01, VKEY_COSIGNATURE = 0x04 };

struct vkey {
	char name[NOTE_NAME_MAX + 1];
	uint8_t type;
	uint8_t id[4];
	uint8_t pub[32];
};

/* Non-empty UTF-8, no Unicode space, no '+', no control character, at most NOTE_NAME_MAX. */
bool note_name_ok(struct span name);
/* E_RANGE on a bad name. type: one of the above. */
int vkey_make(const char *name, uint8_t type, const uint8_t pub[32], struct vkey *out,
	      struct err *err);
/* E_FORMAT malformed or id does not fit, E_UNSUPPORTED another type. */
int vkey_parse(struct span text, struct vkey *out, struct err *err);
void vkey_put(const struct vkey *k, struct buf *b);
bool vkey_eq(const struct vkey *a, const struct vkey *b);

struct note {
	struct span text;  /* signed bytes with their last LF; borrows the input */
	unsigned sigs;	   /* signature lines */
	uint64_t verified; /* bit i: keys[i] signed it */
};

/* Opens a note with the keys we know (at most 64). Lines of unknown keys are ignored; a line of a
 * known key (name and id) that does not verify rejects the whole note.
 * E_FORMAT malformed, E_CRYPTO a known key's signature is wrong, E_NOTFOUND no known key. */
int note_open(struct span note, const struct vkey *keys, size_t n, struct note *out,
	      struct err *err);

/* Appends text || LF || one signature line. text must end in LF and hold no control characters.
 * sk: libsodium Ed25519 secret key (64 bytes) that belongs to k. */
int note_sign(struct span text, const struct vkey *k, const uint8_t sk[64], struct buf *out,
	      struct err *err);

/* Strict base64 (standard alphabet, padded, canonical). Gives the number of bytes, at most cap,
 * or -1. */
long note_unbase64(struct span s, uint8_t *out, size_t cap);

#endif
