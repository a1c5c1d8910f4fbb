/* settings.h - settings, limits and cases as canonical JSON (doc/formats.md 6.2, 6.3). Parsers take
 * exactly the members they know. Pure; any thread. */
#ifndef SP_VETTING_SETTINGS_H
#define SP_VETTING_SETTINGS_H

#include "canon.h"
#include "jsonw.h"
#include "rows.h"

bool limits_parse(const json_t *o, struct limits *out);
void limits_write(struct jsonw *w, const struct limits *l);
/* ver is left alone. */
bool settings_parse(const json_t *o, struct settings *out);
void settings_write(struct jsonw *w, const struct settings *s);
/* 1 to 63 of A-Z a-z 0-9 . _ : / - */
bool model_name_ok(struct span s);

/* Members "scope" and "target" of an object; target "" for scope all. */
bool lock_target_parse(const json_t *o, struct lock_row *out);
void lock_target_write(struct jsonw *w, const struct lock_row *l);
void lock_target_text(struct jsonw *w, const struct lock_row *l); /* only the target's value */

/* What a case is about. Personal data never stands in it. */
#define CASE_KINDS(X)                                                                              \
	X(ONBOARD, "onboard")                                                                      \
	X(CODE, "code") X(TIER, "tier") X(QUOTA, "quota") X(SETTINGS, "settings")                  \
	    X(REINSTATE, "reinstate") X(UNLOCK, "unlock") X(CLOSE, "close")
enum case_kind {
#define X(n, t) CK_##n,
	CASE_KINDS(X)
#undef X
	    CK_COUNT
};
const char *case_kind_text(enum case_kind k);
int case_kind_from(struct span s);

struct case_payload {
	struct id id; /* of the case */
	enum case_kind kind;
	uint32_t ver; /* version the target must still have; 0 = new */
	struct subject_row
	    subject; /* ONBOARD: the row to be; CODE, TIER, REINSTATE, CLOSE: id (and tier) */
	enum binding binding;	  /* ONBOARD, CODE: of keys made with the code */
	struct quota_row quota;	  /* QUOTA */
	struct settings settings; /* SETTINGS */
	struct lock_row lock;	  /* UNLOCK */
};
/* Object {"case","kind","payload"} (the body of case.open). */
bool case_parse(const json_t *o, struct case_payload *out);
void case_write(struct jsonw *w, const struct case_payload *p);
/* Only the payload member's object. */
void case_payload_write(struct jsonw *w, const struct case_payload *p);
/* SHA-256("sallyport/case/v1\n" || canonical {"case","kind","payload"}). */
void case_digest(const struct case_payload *p, uint8_t out[32]);

#endif
