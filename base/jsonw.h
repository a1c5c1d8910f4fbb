/* jsonw.h - writes canonical JSON (RFC 8785 for objects, arrays, strings, booleans, null and
 * integers): no white space, keys in ascending order, which the writer checks (own keys are
 * ASCII, so byte order is the RFC's UTF-16 order). Give keys sorted; must() stops a wrong order.
 * Set free_order for answers where order does not matter. Numbers beyond +-2^53-1 are refused
 * (buf goes bad): write them as strings. */
#ifndef SP_BASE_JSONW_H
#define SP_BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

#define JSONW_DEPTH 16

struct jsonw {
	struct buf *b; /* borrowed */
	bool free_order;
	bool after_key;
	int depth;
	bool first[JSONW_DEPTH];
	bool in_obj[JSONW_DEPTH];
	char last[JSONW_DEPTH][40]; /* last key on each level */
};

void jw_init(struct jsonw *w, struct buf *b);
void jw_obj(struct jsonw *w);
void jw_end_obj(struct jsonw *w);
void jw_arr(struct jsonw *w);
void jw_end_arr(struct jsonw *w);
void jw_key(struct jsonw *w, const char *key); /* own ASCII key, < 40 bytes */
void jw_str(struct jsonw *w, struct span s);   /* valid UTF-8; else buf goes bad */
void jw_cstr(struct jsonw *w, const char *s);
void jw_int(struct jsonw *w, int64_t v);
void jw_bool(struct jsonw *w, bool v);
void jw_null(struct jsonw *w);
void jw_raw(struct jsonw *w, struct span json); /* already canonical JSON */
void jw_hex(struct jsonw *w, const void *p, size_t n);
void jw_b64(struct jsonw *w, const void *p, size_t n);
/* key and value in one call */
void jw_kstr(struct jsonw *w, const char *key, struct span s);
void jw_kcstr(struct jsonw *w, const char *key, const char *s);
void jw_kint(struct jsonw *w, const char *key, int64_t v);
void jw_kbool(struct jsonw *w, const char *key, bool v);
void jw_khex(struct jsonw *w, const char *key, const void *p, size_t n);
/* Only the quoted, escaped string (RFC 8785 3.2.2.2). */
void json_put_str(struct buf *b, struct span s);

#endif
