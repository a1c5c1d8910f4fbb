/* canon.h - canonical JSON (RFC 8785 restricted as doc/formats.md says): parse only what
 * re-serialises to the same bytes, and typed getters over exact member sets. Pure; any thread. */
#ifndef SP_VETTING_CANON_H
#define SP_VETTING_CANON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "id.h"

#define CANON_MAX 60000u
#define CANON_DEPTH 12

/* Gives a value only if s is canonical: no duplicates, no reals, sorted ASCII member names, no
 * white space. NULL with *err set otherwise. */
json_t *canon_parse(struct span s, struct err *err);
/* Strict JSON, not necessarily canonical (bodies of requests). NULL with *err set. */
json_t *canon_parse_any(struct span s, struct err *err);
/* Appends the canonical form; E_FORMAT for reals, big integers, odd names or depth. */
int canon_write(struct buf *b, const json_t *v);

/* True when o is an object with exactly these members ("a b c"). */
bool jx_members(const json_t *o, const char *names);
bool jx_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out);
bool jx_id(const json_t *o, const char *key, const char *prefix, struct id *out);
/* As jx_id; "" gives the zero id. */
bool jx_id_opt(const json_t *o, const char *key, const char *prefix, struct id *out);
bool jx_hex(const json_t *o, const char *key, uint8_t *out, size_t n);
bool jx_b64(const json_t *o, const char *key, uint8_t *out, size_t n);
bool jx_bool(const json_t *o, const char *key, bool *out);
/* Borrowed text of a string member; {NULL,0} when it is no string. */
struct span jx_str(const json_t *o, const char *key);
bool hex_decode(struct span s, uint8_t *out, size_t n); /* exactly 2n lower-case digits */
/* SHA-256("sallyport/commit/v1\n" || salt 32 || bytes): what the log holds of sealed text. */
void commit_digest(const uint8_t salt[32], struct span bytes, uint8_t out[32]);
/* An enum through its xx_from(); -1 = none. */
int jx_enum(const json_t *o, const char *key, int (*from)(struct span));

#endif
