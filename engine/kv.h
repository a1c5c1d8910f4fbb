/* kv.h - the KV cache: pages of 64 tokens, F16, F32, BF16 or Q8_0, under one budget in bytes. Owner thread
 * only.
 *
 * A page belongs to a class (one per model and type: pages of one size). Before a page may be taken
 * it must have been promised: sum of promises + pages in use never exceeds the budget, so a promise
 * is always kept (but for the system running out of memory: kv_take() may give NULL). A page in use
 * counts once, however many sequences share it. A page that nobody holds any more is wiped at once;
 * wiped pages are kept for reuse while they fit beside the rest of the budget. The prefix tree of a
 * later change will be one more holder of pages. */
#ifndef SP_ENGINE_KV_H
#define SP_ENGINE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn_kern.h" /* KV_TOKENS, and how the numbers of a block lie */

struct kv_page {
	struct kv_page *next; /* of the idle list */
	uint32_t holders;
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
	struct kv_class *classes;
};

void kv_open(struct kv *kv, uint64_t budget);
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
/* Turns one promise into a page with one holder. NULL: no memory; the promise stays. */
struct kv_page *kv_take(struct kv_class *c);
static inline void kv_hold(struct kv_page *p)
{
	p->holders++;
}
/* One holder less. True when it was the last: the page is wiped and no longer in use. */
bool kv_drop(struct kv_class *c, struct kv_page *p);
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
