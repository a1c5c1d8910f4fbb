/* schema_priv.h - inside of mask.h: the parsed schema text, the compiled schema, the automaton.
 * Only for engine/ and its tests. */
#ifndef SP_ENGINE_SCHEMA_PRIV_H
#define SP_ENGINE_SCHEMA_PRIV_H

#include "buf.h"
#include "mask.h"

/* ---- schema_json.c: JSON text as a list of values, strict and bounded ---- */
#define NONE UINT32_MAX
#define JSON_MAX_VALUES 32768u

enum jtype { J_NULL, J_FALSE, J_TRUE, J_NUM, J_STR, J_ARR, J_OBJ };
struct jval {
	enum jtype type;
	uint32_t parent, next, first, n; /* n: children; first, next: NONE at the end */
	uint32_t index;			 /* among its parent's children */
	struct span key;		 /* decoded; of members only */
	struct span text;		 /* strings: decoded; numbers: as written */
};
struct jdoc {
	struct jval *v; /* v[0] is the whole */
	uint32_t n, cap;
	char *mem; /* decoded strings */
	size_t mem_n, mem_cap;
	uint32_t *dup; /* open addressing: value + 1 by (parent, key) */
	uint32_t dup_mask;
};
/* E_FORMAT (also for doubled keys and NUL), E_RANGE, E_NOMEM. End with json_free() in every case. */
int json_read(struct jdoc *d, struct span text, struct err *err);
void json_free(struct jdoc *d); /* wipes */
uint32_t json_get(const struct jdoc *d, uint32_t obj, struct span key); /* NONE = absent */
/* A value as compact JSON, strings escaped in one way. */
void json_put(const struct jdoc *d, uint32_t v, struct buf *out);
void json_put_text(struct span s, struct buf *out); /* with quotes */

/* ---- the compiled schema ---- */
#define SCHEMA_MAX_NODES 4096u
#define SCHEMA_MAX_PROPS 512u  /* of one object */
#define SCHEMA_MAX_ENUM 1000u  /* of one list */
#define SCHEMA_MAX_ALTS 32u    /* alternatives of one value, all nesting resolved */
#define SCHEMA_MAX_VISITS (1u << 18) /* in resolving alternatives of alternatives */
#define SCHEMA_MAX_LIT 16384u  /* bytes of one name or enum value, as JSON */
#define SCHEMA_MAX_BLOB (8u * SCHEMA_MAX_BYTES) /* of all names and listed values, as JSON */
#define SCHEMA_RE_WORK 6000000ull /* steps for all patterns of a schema */
#define SCHEMA_MAX_READING 65536u /* bytes of what all patterns of a schema can say */
#define HEIGHT_NONE 255u       /* no finite value */

enum nkind { NK_ANYOF, NK_OBJECT, NK_ARRAY, NK_STRING, NK_NUMBER, NK_INTEGER, NK_FIXED, NK_LIT };

struct lit { /* text in schema.blob */
	uint32_t off, n;
};
struct prop {
	struct lit key;	 /* "name": with quotes and colon */
	uint32_t value;	 /* node */
	uint32_t pos;	 /* rank of its key among the object's sorted keys */
	uint32_t req;	 /* first required property from here on; NONE */
	bool required;
};
struct dfa;
struct node {
	enum nkind kind;
	uint32_t height;   /* levels of nesting that the smallest value needs; HEIGHT_NONE */
	uint32_t first, n; /* OBJECT: in props and order; LIT: in lits, sorted; ANYOF: in leaves */
	uint32_t value;	   /* OBJECT: of other members; ARRAY: items; NONE = none allowed */
	uint32_t min, max; /* ARRAY: items; STRING: characters; max NONE = any */
	int64_t lo, hi;	   /* FIXED: bounds x 10^frac */
	uint32_t frac;
	const struct dfa *dfa; /* STRING: its content, else NULL */
};
struct schema {
	uint64_t id; /* unique while the process lives */
	unsigned refs, masks; /* masks: of refs, those that masks hold */
	uint32_t root;
	struct node *nodes;
	uint32_t n_nodes, cap_nodes;
	struct prop *props;
	uint32_t *order; /* by props index: local number of the property whose key has that rank */
	uint32_t n_props, cap_props;
	struct lit *lits;
	uint32_t n_lits, cap_lits;
	uint32_t *leaves;
	uint32_t n_leaves, cap_leaves;
	struct dfa **dfas;
	uint32_t n_dfas, cap_dfas;
	struct buf blob, words;
};
enum { NODE_ANY, NODE_OBJECT, NODE_ARRAY, NODE_STRING, NODE_NUMBER, NODE_BOOL, NODE_NULL, NODE_BUILTIN };

/* Room for one more element of *p; false: no memory. */
bool vec_room(void *p, uint32_t n, uint32_t *cap, size_t each);
int lit_cmp(const struct schema *s, struct lit a, struct lit b);
/* schema_limit.c: scaled bounds of a decimal number as JSON writes it; up: round up, else down;
 * *exact: nothing was rounded away. Beyond +-10^18 it is cut to that. */
int64_t decimal_scaled(struct span num, unsigned frac, bool up, bool *exact);
/* schema_dfa.c: *out NULL and E_UNSUPPORTED when this pattern is not understood or too large, or *work
 * (steps left for all patterns of a schema) is used up. why: static. */
int dfa_pattern(struct span pattern, uint64_t *work, struct dfa **out, const char **why);
/* schema_read.c: adds texts that match, one a line, which together pass through every state (a repeated
 * character is cut to three). E_UNSUPPORTED: *work is used up or `out` is full; E_NOMEM. */
int dfa_read(const struct dfa *d, uint64_t *work, struct buf *out);
/* schema_format.c: the pattern of a format; NULL = unknown. */
const char *dfa_format(struct span name);
void dfa_free(struct dfa *d);
uint32_t dfa_start(const struct dfa *d);
uint32_t dfa_next(const struct dfa *d, uint32_t state, uint8_t c); /* NONE = refused */
bool dfa_accepts(const struct dfa *d, uint32_t state);

/* ---- pda.c: the automaton over bytes. A set of threads; a thread is a place in the schema with a
 * stack of frames, which are never changed once made, so that threads share them. ---- */
#define THREADS 32u

enum pmode {
	PM_VALUE, PM_LIT, PM_STR, PM_DFA, PM_NUM, PM_FIX, PM_OBJ_FIRST, PM_OBJ_NEXT, PM_KEY,
	PM_KEYSTR, PM_COLON, PM_AFTER, PM_CLOSE, PM_ARR_FIRST, PM_END
};
struct frame {
	uint32_t parent; /* NONE = the outermost */
	uint32_t node;
	uint32_t n;	 /* OBJECT: the first property that may still come; ARRAY: items begun */
	uint32_t depth;	 /* 1 = outermost */
	uint32_t hash;	 /* of all this but `parent`, and of the frames below; unequal = not the same */
};
struct thr {
	uint32_t frame; /* NONE = outside of everything */
	uint32_t node;
	uint8_t mode; /* enum pmode */
	uint8_t s;    /* a space may come; or the state inside a string or number */
	uint16_t x;   /* bytes of a literal passed; hex digits of an escape; minus sign */
	uint32_t a, b; /* range of literals; characters; digits */
	uint64_t v;   /* FIX: the digits' value */
};
struct pda {
	const struct schema *s;
	struct frame *fr;
	uint32_t n_fr, cap_fr;
	uint64_t work; /* about one for a comparison; grows, for those who must stop in time */
};
/* Threads after byte c. out: THREADS of room. 0: the byte is not allowed. Frames are added to p->fr
 * (at most 2 a thread); the caller may cut them off again when the threads are not kept. */
uint32_t pda_step(struct pda *p, const struct thr *in, uint32_t n, uint8_t c, struct thr *out);
uint32_t pda_start(const struct pda *p, struct thr *out);
/* Moves the stacks of these threads to the beginning of p->fr and cuts off the rest. spare: as p->fr,
 * KEEP_FRAMES of room. */
#define KEEP_FRAMES (THREADS * SCHEMA_MAX_DEPTH)
void pda_tidy(struct pda *p, struct thr *t, uint32_t n, struct frame *spare);
bool pda_complete(const struct pda *p, const struct thr *t, uint32_t n);
/* Inside a string, between characters, not in a pattern: any `*room` characters may come. */
bool pda_free_text(const struct pda *p, const struct thr *t, uint32_t *room);
/* pda_scalar.c */
#define STR_CLEAN 0
/* Character automaton of JSON strings: state s and hex value x move on by c. 0: moved on; 1: moved on
 * and a character began; -1: refused. Not for the closing quote. */
int str_step(uint8_t *s, uint16_t *x, uint8_t c, bool escapes);
/* Number automata; true: c belongs to the number. */
bool num_step(struct thr *t, uint8_t c, bool whole);
bool num_done(const struct thr *t);
bool fix_step(const struct node *d, struct thr *t, uint8_t c);
bool fix_done(const struct node *d, const struct thr *t);

/* ---- mask_trie.c: a vocabulary's bytes, in depth-first order ---- */
#define TRIE_MAX_TOKEN 256u /* longer ones are never drawn under a mask */
struct tnode {
	uint32_t next; /* the first node behind this one's subtree */
	int32_t tok;   /* ends here; -1 = none. More with the same bytes: same[tok] */
	uint16_t depth;
	uint8_t c;
};
struct trie {
	struct tnode *t;
	uint32_t n, depth; /* depth: of the longest token */
};
/* What one set may cost, in pda.work (about two nanoseconds each). An author can nest alternatives so
 * that every byte is looked at by THREADS places with stacks of full depth; then the set has every byte
 * and the longer tokens that were reached. */
#define MASK_WORK 4000000u
#define MASK_CALL 1000u /* what finding a remembered set counts as, in the same unit */
#define MASK_MEMO 256u /* sets remembered for one model, over all its masks */
struct memo {
	uint64_t hash, used;
	char *key;
	size_t key_n;
	uint64_t *bits;
};
/* Per model: the index of its vocabulary, and what masks need only while one of them works (they
 * work one after another, on the owner thread). */
struct mask_trie {
	struct pda p;	     /* room for the stacks of a place and of a walk over the longest token */
	struct frame *spare; /* KEEP_FRAMES */
	struct thr *level;   /* THREADS for each byte of the longest token; level 0: the place */
	uint32_t *level_n, *level_fr;
	size_t words;	/* of a set */
	struct memo memo[MASK_MEMO];
	uint64_t clock;
	uint32_t n_vocab;
	struct trie all, odd; /* odd: the tokens that are not plain */
	int32_t *same;
	/* plain: whole characters that may stand in a string as they are */
	uint32_t *plain;   /* ids, by characters ascending */
	uint32_t n_plain;
	uint32_t upto[TRIE_MAX_TOKEN + 2]; /* upto[k]: how many have fewer than k characters */
	uint32_t max_chars;
	uint64_t *plain_bits;
	uint64_t bytes, build_ns;
};
/* The model's, made at the first call. */
int mask_trie_get(struct model *m, struct mask_trie **out, struct err *err);
void mask_trie_free(struct mask_trie *t);

#endif
