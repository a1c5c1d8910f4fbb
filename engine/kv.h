/* kv.h - the KV cache: pages of 64 tokens, F16, F32, BF16 or Q8_0, under one budget in bytes. Owner thread
 * only.
 *
 * A page belongs to a class (one per model and type: pages of one size). Before a page may be taken
 * it must have been promised: sum of promises + pages that sequences hold never exceeds the budget,
 * so a promise is always kept (but for the system running out of memory: kv_take() may give NULL).
 * A page counts once, however many hold it. A page that nobody holds any more is wiped at once;
 * wiped pages are kept for reuse while they fit beside the rest of the budget.
 *
 * The prefix tree (prefix.h) is one more holder of pages. A page that it alone holds is resting: it
 * is memory in use, but stands against no promise: kv_take() wipes the one resting longest when it
 * needs its room, so the tree never makes kv_promise() say no. Sequences hold a page in one of two
 * ways. Who paid turned a promise into it (or forked from who did). A keeper found it in the tree
 * and keeps the promise it has for the place, to be free to leave the page; of a page with keepers
 * only, one keeper's promise is what the page costs and is not counted in `promised`. The sum of
 * promises and pages that sequences hold is therefore what it would be without the tree, whoever
 * comes and goes: promised + used - resting <= budget, and used + idle <= budget. */
#ifndef SP_ENGINE_KV_H
#define SP_ENGINE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn_kern.h" /* KV_TOKENS, and how the numbers of a block lie */

struct pnode;
struct prefix;

struct kv_page {
	struct kv_page *next; /* of the idle list */
	struct pnode *node;   /* the tree holds it here; NULL: it does not */
	uint32_t holders;     /* sequences, and the tree */
	uint32_t keepers;     /* those sequences that keep a promise for its place */
	_Alignas(64) uint8_t data[]; /* [layer][K, V][kv head], each a block of attn_kern.h */
};

struct kv_class {
	struct kv *kv;
	struct kv_class *next;
	struct kv_page *idle;		   /* wiped */
	size_t page_bytes;		   /* with the header */
	size_t block_bytes;		   /* K or V of one head: a multiple of 64 */
	uint32_t blocks;		   /* layers x 2 x kv heads */
	uint32_t kv_heads, head_dim;
	enum kv_type type;
};

struct kv {
	uint64_t budget, promised, used, idle; /* bytes */
	uint64_t resting;		       /* bytes of used */
	struct prefix *tree;
	struct kv_class *classes;
};

void kv_open(struct kv *kv, uint64_t budget); /* tree: NULL; the engine puts its own there */
/* Whether vectors of this length can be kept so: Q8_0 needs whole groups of 32. */
static inline bool kv_fits(enum kv_type type, uint32_t head_dim)
{
	return type > KV_AUTO && type < KV_TYPES && (type != KV_Q8_0 || head_dim % KV_Q == 0);
}

static inline uint32_t kv_number_bytes(enum kv_type type)
{
	return type == KV_F32 ? 4 : type == KV_Q8_0 ? 1 : 2;
}

/* Bytes of one token's K and V in one head, for a type that fits. */
static inline uint64_t kv_token_bytes(enum kv_type type, uint32_t head_dim)
{
	uint64_t scales = type == KV_Q8_0 ? head_dim / KV_Q * 2ull : 0;

	return 2 * ((uint64_t)head_dim * kv_number_bytes(type) + scales);
}

/* False when the type does not fit or the shape is too large for size_t. End with kv_class_close()
 * (all pages back). */
bool kv_class_open(struct kv *kv, struct kv_class *c, uint32_t layers, uint32_t kv_heads,
		   uint32_t head_dim, enum kv_type type);
void kv_class_close(struct kv_class *c);

static inline uint32_t kv_pages_for(uint32_t tokens)
{
	return tokens / KV_TOKENS + (tokens % KV_TOKENS != 0);
}

/* False: no room for so many pages now. */
bool kv_promise(struct kv_class *c, uint32_t pages);
void kv_unpromise(struct kv_class *c, uint32_t pages);
/* A promise beyond the budget, for a page to be taken at once in place of one that comes to rest
 * right after. False: every page is held. */
bool kv_borrow(struct kv_class *c);
/* Turns one promise into a page with one holder. NULL: no memory; the promise stays. */
struct kv_page *kv_take(struct kv_class *c);
/* One more who paid: a fork of who did. */
static inline void kv_hold(struct kv_page *p)
{
	p->holders++;
}
/* One who paid less. True when it was the last: the page is wiped, or rests, or its keepers pay from
 * now on. Then the caller may have a promise for it at once: kv_promise(c, 1) does not fail. */
bool kv_drop(struct kv_class *c, struct kv_page *p);
/* One more keeper of a page of the tree, who has a promise for its place. */
void kv_join(struct kv_class *c, struct kv_page *p);
/* One keeper less. True when its promise was what the page cost: it is gone, and the caller may have
 * it back at once: kv_promise(c, 1) does not fail. */
bool kv_part(struct kv_class *c, struct kv_page *p);
/* The only keeper of a page that is not in the tree has paid from now on, with its promise. */
static inline void kv_pay(struct kv_page *p)
{
	p->keepers--;
}
/* Sequences that hold p. */
static inline uint32_t kv_seqs(const struct kv_page *p)
{
	return p->holders - (p->node != NULL);
}
/* prefix.c: the tree holds a page that a sequence paid, or lets it go. */
static inline void kv_tree_hold(struct kv_page *p, struct pnode *n)
{
	p->node = n;
	p->holders++;
}
void kv_tree_drop(struct kv_class *c, struct kv_page *p);
/* Copies the first `tokens` tokens of every layer and head. */
void kv_copy(const struct kv_class *c, struct kv_page *to, const struct kv_page *from,
	     uint32_t tokens);

/* K of (layer, kv head) in a page; kv_v: V likewise. */
static inline void *kv_k(const struct kv_class *c, struct kv_page *p, uint32_t layer, uint32_t head)
{
	return p->data + ((size_t)layer * 2 * c->kv_heads + head) * c->block_bytes;
}

static inline void *kv_v(const struct kv_class *c, struct kv_page *p, uint32_t layer, uint32_t head)
{
	return kv_k(c, p, layer, c->kv_heads + head);
}

#endif
