/* entry.h - log entries: one canonical JSON object each (doc/formats.md 4). The book itself takes
 * opaque bytes; here stand the common members, a builder that sorts, a quick look, and the full
 * check of an entry against its type's members. Pure; any thread. */
#ifndef SP_AUDIT_ENTRY_H
#define SP_AUDIT_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "span.h"

#define ENTRY_MEMBERS 40
#define ENTRY_DOC_MAX 65535u

/* Builder: set members in any order, then entry_put(). Keys are own ASCII literals and stay
 * borrowed. A key given twice, too many members or bad UTF-8 makes it bad. */
struct entry {
	struct {
		const char *key;
		size_t off, n;
	} m[ENTRY_MEMBERS];
	unsigned n;
	struct buf mem;
	bool bad;
};

/* boot: bot_... id text; ts: decision time, Unix ms. Sets boot, t, ts, v. */
void entry_init(struct entry *e, const char *type, const char *boot, int64_t ts);
void entry_free(struct entry *e); /* NULL ok */
void entry_int(struct entry *e, const char *key, int64_t v);
void entry_str(struct entry *e, const char *key, struct span s);
void entry_cstr(struct entry *e, const char *key, const char *s);
void entry_hex(struct entry *e, const char *key, const void *p, size_t n);
void entry_bool(struct entry *e, const char *key, bool v);
void entry_raw(struct entry *e, const char *key, struct span json); /* already canonical */
/* Appends the object. E_FORMAT when the builder is bad, E_RANGE over ENTRY_DOC_MAX. */
int entry_put(struct entry *e, struct buf *out, struct err *err);

/* A quick look at top-level members, without building anything; spans borrow, without quotes, and
 * are empty when absent or no plain string (escapes are not undone). */
struct entry_look {
	struct span t, boot, req, lease, state, doc; /* doc: raw JSON of the member */
	int64_t ts;
	int v;
};
/* False when s is not an object of simple form. */
bool entry_peek(struct span s, struct entry_look *out);

/* Full check: canonical form, v 1, known type, exactly that type's members with the right kinds.
 * E_FORMAT with what is wrong; E_UNSUPPORTED for an unknown type. */
int entry_check(struct span s, struct err *err);

#endif
