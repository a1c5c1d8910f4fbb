/* officer_key.h - an officer's key on the officer's own machine (doc/formats.md 10.2).
 *
 * Key file, text, mode 0600, lines in exactly this order:
 *   sallyport officer key v1
 *   id off_...
 *   name Ann
 *   pub <64 hex digits>
 *   kdf argon2id <passes> <bytes of memory> <32 hex: salt>    or    kdf none
 *   secret <hex>
 * What `secret` protects is seed (32) || SHA-256 of all bytes above that line, so that nobody can
 * change name or id. argon2id: hex of nonce (24) || secretbox; none: hex of the plain 64 bytes.
 * Public file: canonical JSON {"id","name","pub","v":1} and a newline.
 *
 * Secrets live in guarded memory. One thread. */
#ifndef SP_CLI_OFFICER_KEY_H
#define SP_CLI_OFFICER_KEY_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "id.h"

#define OKEY_NAME 128 /* bytes with the NUL */
#define OKEY_FILE_MAX 4096u

struct officer_key {
	struct id id;
	char name[OKEY_NAME];
	uint8_t pub[32];
	uint8_t *sk; /* 64 bytes, guarded; NULL = only the public part */
};

/* UTF-8 without control characters. */
bool okey_text_ok(struct span text);
/* 1 to 127 bytes of UTF-8 without control characters. */
bool okey_name_ok(struct span name);
/* A fresh key. E_RANGE for a bad name. End with okey_wipe. */
int okey_make(struct span name, struct officer_key *out, struct err *err);
void okey_wipe(struct officer_key *k);

struct okey_cost {
	uint64_t passes, memory; /* of argon2id; both 0 = no passphrase */
};
#define OKEY_MODERATE                                                                              \
	((struct okey_cost){crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE})

/* Appends the key file. out: BUF_FIXED over guarded memory of OKEY_FILE_MAX. */
int okey_format(const struct officer_key *k, struct span pass, struct okey_cost cost,
		struct buf *out, struct err *err);
/* E_FORMAT malformed, E_DENIED it needs a passphrase and pass is empty, E_CRYPTO wrong passphrase
 * or a changed file. End with okey_wipe on success. */
int okey_parse(struct span text, struct span pass, struct officer_key *out, struct err *err);
int okey_pub_format(const struct officer_key *k, struct buf *out);
int okey_pub_parse(struct span text, struct officer_key *out, struct err *err);

/* Creates path with the mode and these bytes; E_CONFLICT when it exists, which is then left alone.
 */
int okey_create(const char *path, unsigned mode, struct span bytes, struct err *err);
/* Reads a key file; E_DENIED when others may read it. Asks for the passphrase when it needs one. */
int okey_load(const char *path, struct officer_key *out, struct err *err);
int okey_pub_load(const char *path, struct officer_key *out, struct err *err);
/* ann.key -> ann.pub; other names get .pub appended. E_RANGE when it does not fit. */
int okey_pub_path(const char *key_path, char *out, size_t n);

/* Opens crypto_box_seal made to the X25519 form of this key; at most cap bytes, E_CRYPTO else. */
int okey_open_box(const struct officer_key *k, struct span box, uint8_t *out, size_t cap,
		  size_t *n);

#endif
