/* kv.c - see kv.h. */
#include "kv.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "num.h"
#include "prefix.h"

void kv_open(struct kv *kv, uint64_t budget)
{
	*kv = (struct kv){.budget = budget};
}

bool kv_class_open(struct kv *kv, struct kv_class *c, uint32_t layers, uint32_t kv_heads,
		   uint32_t head_dim, enum kv_type type)
{
	uint64_t blocks, bytes, block;

	if (!kv_fits(type, head_dim))
		return false;
	block = kv_token_bytes(type, head_dim) / 2 * KV_TOKENS;
	if (mul_u64((uint64_t)layers * 2, kv_heads, &blocks) || blocks > UINT32_MAX ||
	    mul_u64(blocks, block, &bytes) || add_u64(bytes, sizeof(struct kv_page), &bytes) ||
	    align_u64(bytes, 64, &bytes) || bytes > SIZE_MAX / 2)
		return false;
	*c = (struct kv_class){.kv = kv,
			       .next = kv->classes,
			       .page_bytes = (size_t)bytes,
			       .block_bytes = (size_t)block,
			       .blocks = (uint32_t)blocks,
			       .kv_heads = kv_heads,
			       .head_dim = head_dim,
			       .type = type};
	kv->classes = c;
	return true;
}

static void idle_free(struct kv_class *c)
{
	struct kv_page *p = c->idle;

	c->idle = p->next;
	c->kv->idle -= c->page_bytes;
	free(p);
}

void kv_class_close(struct kv_class *c)
{
	struct kv_class **at;

	if (!c->kv)
		return;
	while (c->idle)
		idle_free(c);
	for (at = &c->kv->classes; *at && *at != c;)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	c->kv = NULL;
}

bool kv_promise(struct kv_class *c, uint32_t pages)
{
	struct kv *kv = c->kv;
	uint64_t bytes = (uint64_t)pages * c->page_bytes;

	if (pages && bytes / pages != c->page_bytes)
		return false;
	if (bytes > kv->budget - kv->promised - (kv->used - kv->resting))
		return false;
	kv->promised += bytes;
	return true;
}

void kv_unpromise(struct kv_class *c, uint32_t pages)
{
	c->kv->promised -= (uint64_t)pages * c->page_bytes;
}

bool kv_borrow(struct kv_class *c)
{
	struct kv *kv = c->kv;

	if (c->page_bytes > kv->budget - (kv->used - kv->resting))
		return false;
	kv->promised += c->page_bytes;
	return true;
}

/* Wiped pages of other classes give way, then resting ones, so that memory never exceeds the
 * budget. There are enough: what is promised and what is held fit into it. */
static void make_room(struct kv_class *c)
{
	struct kv *kv = c->kv;
	struct kv_class *o = kv->classes;

	while (!c->idle && kv->used + kv->idle + c->page_bytes > kv->budget) {
		while (o && !o->idle)
			o = o->next;
		if (o) {
			idle_free(o);
		} else {
			prefix_evict(kv->tree);
			o = kv->classes;
		}
	}
}

struct kv_page *kv_take(struct kv_class *c)
{
	struct kv_page *p;

	make_room(c);
	p = c->idle;
	if (p) {
		c->idle = p->next;
		c->kv->idle -= c->page_bytes;
	} else {
		if (FAULT("kv.alloc") || !(p = aligned_alloc(64, c->page_bytes)))
			return NULL;
		memset(p->data, 0, c->page_bytes - sizeof(*p));
	}
	p->next = NULL;
	p->node = NULL;
	p->holders = 1;
	p->keepers = 0;
	c->kv->promised -= c->page_bytes;
	c->kv->used += c->page_bytes;
	return p;
}

static void wipe(struct kv_class *c, struct kv_page *p)
{
	explicit_bzero(p->data, c->page_bytes - sizeof(*p));
	p->next = c->idle;
	c->idle = p;
	c->kv->used -= c->page_bytes;
	c->kv->idle += c->page_bytes;
}

static void rest(struct kv_class *c, struct kv_page *p)
{
	c->kv->resting += c->page_bytes;
	prefix_rest(c->kv->tree, p->node);
}

static void wake(struct kv_class *c, struct kv_page *p)
{
	c->kv->resting -= c->page_bytes;
	prefix_wake(c->kv->tree, p->node);
}

static bool paid(const struct kv_page *p)
{
	return kv_seqs(p) > p->keepers;
}

bool kv_drop(struct kv_class *c, struct kv_page *p)
{
	p->holders--;
	if (paid(p))
		return false;
	if (p->keepers)
		c->kv->promised -= c->page_bytes;
	else if (p->node)
		rest(c, p);
	else
		wipe(c, p);
	return true;
}

void kv_join(struct kv_class *c, struct kv_page *p)
{
	if (kv_seqs(p) == 0) {
		wake(c, p);
		c->kv->promised -= c->page_bytes;
	}
	p->holders++;
	p->keepers++;
}

bool kv_part(struct kv_class *c, struct kv_page *p)
{
	p->holders--;
	p->keepers--;
	if (kv_seqs(p) > 0)
		return false;
	if (p->node)
		rest(c, p);
	else
		wipe(c, p);
	return true;
}

void kv_tree_drop(struct kv_class *c, struct kv_page *p)
{
	if (kv_seqs(p) == 0)
		wake(c, p);
	p->node = NULL;
	if (--p->holders == 0)
		wipe(c, p);
}

/* The first n of `step` things of `bytes` each, in every one of `rows` rows. */
static void copy_rows(uint8_t *to, const uint8_t *from, uint32_t rows, size_t step, size_t bytes,
		      uint32_t n)
{
	for (uint32_t i = 0; i < rows; i++)
		memcpy(to + i * step * bytes, from + i * step * bytes, n * bytes);
}

void kv_copy(const struct kv_class *c, struct kv_page *to, const struct kv_page *from,
	     uint32_t tokens)
{
	size_t dim = c->head_dim, bytes = kv_number_bytes(c->type),
	       numbers = KV_TOKENS * dim * bytes;
	uint32_t groups = c->type == KV_Q8_0 ? c->head_dim / KV_Q : 0;

	for (uint32_t i = 0; i < c->blocks; i++) {
		uint8_t *t = to->data + i * c->block_bytes;
		const uint8_t *f = from->data + i * c->block_bytes;

		if (i / c->kv_heads % 2 == 0) /* K: tokens side by side */
			copy_rows(t, f, c->head_dim, KV_TOKENS, bytes, tokens);
		else
			copy_rows(t, f, 1, KV_TOKENS, dim * bytes, tokens);
		copy_rows(t + numbers, f + numbers, groups, KV_TOKENS, 2, tokens);
	}
}
