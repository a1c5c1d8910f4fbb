/* schema_build.h - what the files that compile a schema share. Only for engine/schema*.c. */
#ifndef SP_ENGINE_SCHEMA_BUILD_H
#define SP_ENGINE_SCHEMA_BUILD_H

#include "schema_priv.h"

enum kw { /* enforced keywords first: their place in struct kws */
	KW_TYPE, KW_PROPERTIES, KW_REQUIRED, KW_ADDITIONAL, KW_ITEMS, KW_MIN_ITEMS, KW_MAX_ITEMS,
	KW_ENUM, KW_CONST, KW_MIN_LENGTH, KW_MAX_LENGTH, KW_PATTERN, KW_FORMAT, KW_MINIMUM,
	KW_MAXIMUM, KW_EX_MINIMUM, KW_EX_MAXIMUM, KW_ANYOF, KW_REF, KW_COUNT,
	KW_IGNORED = KW_COUNT, /* says nothing about what is valid */
	KW_DEFS,	       /* looked into by way of $ref only */
	KW_REFUSED, KW_UNKNOWN
};
struct kws {
	uint32_t at[KW_COUNT]; /* value in the document; NONE = absent */
};
struct build {
	struct jdoc doc;
	struct schema *s;
	uint32_t *node_of; /* by value of doc: its node, NONE */
	uint32_t *doc_of;  /* by node: what it is made from; NONE = made already */
	uint32_t cap_doc_of;
	uint32_t *alts; /* ANYOF: first and n point here until they are resolved */
	uint32_t n_alts, cap_alts;
	uint64_t work; /* left for patterns */
	uint32_t visits; /* of nodes, in resolving alternatives */
	struct span *re; /* patterns, one for each of s->dfas */
	uint32_t cap_re;
	struct err *err;
};

/* schema_kw.c */
const char *kw_name(enum kw k);
/* Sorts a schema object's members; refuses what is not enforced. */
int kws_read(struct build *b, uint32_t v, struct kws *out);
/* Sets the error, with the place of value v behind it, and returns code. */
int refuse(struct build *b, int code, uint32_t v, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int kw_count(struct build *b, const struct kws *k, enum kw w, uint32_t *out); /* a whole number */
enum { T_NULL = 1, T_BOOL = 2, T_NUMBER = 4, T_INTEGER = 8, T_STRING = 16, T_ARRAY = 32,
       T_OBJECT = 64, T_ANY = 128 };
int kw_types(struct build *b, uint32_t v, const struct kws *k, unsigned *out);
/* A value whose bounds stand in k. T_NUMBER or T_INTEGER. */
int number_node(struct build *b, const struct kws *k, unsigned type, struct node *d);
/* The value that "#/..." means. */
int ref_target(struct build *b, uint32_t ref, uint32_t *out);

/* schema_build.c */
uint32_t node_for(struct build *b, uint32_t v); /* NONE: too many, or no memory (error set) */
int node_fill(struct build *b, uint32_t id, uint32_t v);

/* schema_finish.c: nesting of alternatives resolved, heights, dead ends */
int schema_finish(struct build *b);

#endif
