/* rows.h - the rows of the authority set: what exists because officers' statements in the log say
 * so. Pure data, shared by vetting/ (the fold over the log), db/ (its copy in state.db) and
 * daemon/. Names as text: doc/formats.md 6.3. */
#ifndef SP_VETTING_ROWS_H
#define SP_VETTING_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "id.h"

#define TIER_COUNT 4
#define MODELS_MAX 8
#define MODEL_NAME 64
#define TZ_NAME 48

/* N new, P applicant, A approved without credential, V active, D re-verification due, X suspended,
 * R rejected, C closed, E erased. Only V and D may use a model. */
enum subject_state { SUB_N, SUB_P, SUB_A, SUB_V, SUB_D, SUB_X, SUB_R, SUB_C, SUB_E, SUB_STATES };
enum subject_kind { SK_PERSON, SK_SERVICE };
enum key_state { KEY_ACTIVE, KEY_REVOKED };
enum officer_state { OFF_PENDING, OFF_ACTIVE, OFF_REVOKED };
enum binding { BIND_NONE, BIND_CERT, BIND_NETWORK };
enum level { LV_KEY, LV_SUBJECT, LV_ORG, LV_COUNT };
enum lock_scope { LOCK_ALL, LOCK_SUBJECT, LOCK_ORG, LOCK_MODEL };
/* Bits of auth_row.locks: 1 << enum lock_scope. */
#define LOCKBIT(scope) (1u << (scope))

/* 0 = no limit of this sort. Days and months are calendar in settings.timezone. */
struct limits {
	uint32_t concurrency;
	uint64_t req_min, req_day, req_month;
	uint64_t tok_min, tok_day, tok_month;
};

struct model_row {
	char name[MODEL_NAME]; /* canonical name, NUL-terminated ASCII */
	uint8_t sha256[32];
	bool chat, guard;
	bool locked; /* lockdown of this model stands (filled by db_settings only) */
};

struct settings {
	uint32_t ver; /* 1 = genesis */
	bool demo;
	uint8_t policy_sha256[32];
	struct model_row model[MODELS_MAX];
	unsigned n_models;
	struct limits tier[TIER_COUNT][LV_COUNT]; /* defaults where no quota row stands */
	char timezone[TZ_NAME];
};

/* Times are Unix ms UTC; expires 0 = never. `entry` is the log index of the authority entry that
 * made the row as it is. */
struct officer_row {
	struct id id;
	uint8_t pub[32];
	enum officer_state state;
	uint32_t ver;
	uint64_t entry;
};

struct subject_row {
	struct id id, org;
	struct id officer; /* the officer who is this very human; zero = none */
	struct id sponsor; /* officer who vouches; zero = none */
	enum subject_kind kind;
	enum subject_state state;
	uint8_t tier;
	uint8_t party[32]; /* commitment to the sealed party data */
	int64_t expires;
	uint32_t ver;
	uint64_t entry;
};

struct key_row {
	struct id id, sub;
	struct id code; /* the case whose enrolment code made it */
	uint8_t mac[32];
	enum key_state state;
	enum binding binding;
	uint8_t thumb[32]; /* of the client certificate for BIND_CERT, else zero */
	int64_t expires;
	uint32_t ver;
	uint64_t entry;
};

struct quota_row {
	enum level level;
	struct id id;
	struct limits lim;
	uint32_t ver;
	uint64_t entry;
};

struct lock_row {
	enum lock_scope scope;
	struct id id;		/* LOCK_SUBJECT, LOCK_ORG; zero else */
	char model[MODEL_NAME]; /* LOCK_MODEL; "" else */
	bool on;
	uint32_t ver;
	uint64_t entry;
};

/* Text of an enum value ("V", "person", "active", "none", "subject", "all"); static. The inverse
 * gives -1 for an unknown text. */
const char *subject_state_text(enum subject_state s);
const char *subject_state_word(enum subject_state s); /* "active", "suspended", ... for people */
const char *subject_kind_text(enum subject_kind k);
const char *key_state_text(enum key_state s);
const char *officer_state_text(enum officer_state s);
const char *binding_text(enum binding b);
const char *level_text(enum level l);
const char *lock_scope_text(enum lock_scope s);
int subject_state_from(struct span s);
int subject_kind_from(struct span s);
int key_state_from(struct span s);
int officer_state_from(struct span s);
int binding_from(struct span s);
int level_from(struct span s);
int lock_scope_from(struct span s);

#endif
