/* prefix.c - the tree: nodes, their hash table, the list of resting pages, taking out. */
#include "prefix.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"
#include "fault.h"

void prefix_open(struct prefix *t)
{
	*t = (struct prefix){0};
	randombytes_buf(t->key, sizeof(t->key));
}

void prefix_close(struct prefix *t)
{
	free(t->buckets);
	explicit_bzero(t, sizeof(*t));
}

/* ---- the table ---- */

static size_t hash_of(const struct prefix *t, const struct kv_class *kv, const struct pnode *parent,
		      uint64_t domain, const int32_t *ids)
{
	struct {
		uint64_t kv, parent, domain;
		int32_t ids[KV_TOKENS];
	} k = {(uintptr_t)kv, (uintptr_t)parent, domain, {0}};
	uint64_t h;

	_Static_assert(sizeof(k) == 24 + sizeof(k.ids), "no padding is hashed");
	_Static_assert(sizeof(h) == crypto_shorthash_BYTES, "shorthash");
	_Static_assert(sizeof(t->key) == crypto_shorthash_KEYBYTES, "shorthash");
	memcpy(k.ids, ids, sizeof(k.ids));
	crypto_shorthash((unsigned char *)&h, (const unsigned char *)&k, sizeof(k), t->key);
	return (size_t)h;
}

struct pnode *prefix_find(const struct prefix *t, const struct kv_class *kv,
			  const struct pnode *parent, uint64_t domain, const int32_t *ids)
{
	size_t h;

	if (t->n == 0)
		return NULL;
	h = hash_of(t, kv, parent, domain, ids);
	for (struct pnode *n = t->buckets[h & (t->n_buckets - 1)]; n; n = n->bucket)
		if (n->hash == h && n->kv == kv && n->parent == parent && n->domain == domain &&
		    memcmp(n->ids, ids, sizeof(n->ids)) == 0)
			return n;
	return NULL;
}

/* Keeps about one node in a bucket; a table that cannot grow has longer chains. */
static bool grow(struct prefix *t)
{
	size_t cap = t->n_buckets ? 2 * t->n_buckets : 64;
	struct pnode **to;

	if (t->n < t->n_buckets)
		return true;
	if (FAULT("prefix.table") || !(to = calloc(cap, sizeof(struct pnode *))))
		return t->n_buckets > 0;
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct pnode *n = t->buckets[i], *next; n; n = next) {
			next = n->bucket;
			n->bucket = to[n->hash & (cap - 1)];
			to[n->hash & (cap - 1)] = n;
		}
	free(t->buckets);
	t->buckets = to;
	t->n_buckets = cap;
	return true;
}

struct pnode *prefix_add(struct prefix *t, struct kv_class *kv, struct pnode *parent,
			 uint64_t domain, const int32_t *ids, struct kv_page *page)
{
	struct pnode *n, **at;

	if (!grow(t) || FAULT("prefix.node") || !(n = calloc(1, sizeof(*n))))
		return NULL;
	n->kv = kv;
	n->page = page;
	n->domain = domain;
	n->parent = parent;
	memcpy(n->ids, ids, sizeof(n->ids));
	n->hash = hash_of(t, kv, parent, domain, ids);
	at = &t->buckets[n->hash & (t->n_buckets - 1)];
	n->bucket = *at;
	*at = n;
	if (parent) {
		n->next = parent->child;
		if (n->next)
			n->next->prev = n;
		parent->child = n;
	}
	t->n++;
	t->bytes += kv->page_bytes;
	kv_tree_hold(page, n);
	return n;
}

/* ---- resting pages ---- */

void prefix_rest(struct prefix *t, struct pnode *n)
{
	n->since = t->now;
	n->older = t->newest;
	n->newer = NULL;
	if (t->newest)
		t->newest->newer = n;
	else
		t->oldest = n;
	t->newest = n;
}

void prefix_wake(struct prefix *t, struct pnode *n)
{
	if (n->older)
		n->older->newer = n->newer;
	else
		t->oldest = n->newer;
	if (n->newer)
		n->newer->older = n->older;
	else
		t->newest = n->older;
	n->older = n->newer = NULL;
}

/* ---- taking out ---- */

/* n, which no living node points to any more, goes. */
static void take_out(struct prefix *t, struct pnode *n)
{
	struct pnode **at = &t->buckets[n->hash & (t->n_buckets - 1)];

	while (*at != n)
		at = &(*at)->bucket;
	*at = n->bucket;
	if (n->prev)
		n->prev->next = n->next;
	else if (n->parent && n->parent->child == n)
		n->parent->child = n->next;
	if (n->next)
		n->next->prev = n->prev;
	t->n--;
	t->bytes -= n->kv->page_bytes;
	kv_tree_drop(n->kv, n->page);
	explicit_bzero(n->ids, sizeof(n->ids));
	free(n);
}

void prefix_evict(struct prefix *t)
{
	struct pnode *n = t->oldest;

	while (n->child) /* came to rest before what is below it */
		n = n->newer;
	take_out(t, n);
}

bool engine_cache_age(struct engine *e, uint64_t now_ms, uint64_t idle_ms)
{
	struct prefix *t = &e->prefix;
	uint64_t wiped = 0;

	t->now = t->now > now_ms ? t->now : now_ms;
	while (idle_ms && t->oldest && t->now - t->oldest->since >= idle_ms) {
		struct pnode *n = t->oldest;

		if (wiped >= AGE_BYTES)
			return true;
		e->visits++;
		for (; n->child; e->visits++)
			n = n->child; /* as old at least; a path is as long as a context */
		wiped += n->kv->page_bytes;
		take_out(t, n);
	}
	return false;
}

/* Marks n and all below it. No recursion: a path is as long as a context. */
static void kill(struct pnode *n)
{
	struct pnode *at = n;

	for (;;) {
		at->dead = true;
		if (at->child) {
			at = at->child;
			continue;
		}
		while (at != n && !at->next)
			at = at->parent;
		if (at == n)
			return;
		at = at->next;
	}
}

/* The dead ones go, and who stands on their path forgets it. */
static void sweep(struct engine *e)
{
	struct prefix *t = &e->prefix;

	for (struct seq *s = e->seqs; s; s = s->next)
		for (const struct pnode *n = s->prefix.node; n; n = n->parent)
			if (n->dead) {
				explicit_bzero(&s->prefix.tail, sizeof(s->prefix.tail));
				s->prefix.node = NULL;
				s->prefix.n_tree = s->prefix.p_len = s->prefix.solid = 0;
				s->prefix.off = true;
				break;
			}
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct pnode *n = t->buckets[i], *next; n; n = next) {
			next = n->bucket;
			if (!n->dead)
				continue;
			for (struct pnode *c = n->child; c; c = c->next)
				c->parent = NULL; /* dead too, and out of its parent's list */
			take_out(t, n);
		}
}

void prefix_cut(struct engine *e, struct pnode *n)
{
	kill(n);
	sweep(e);
}

/* Every node of a class; kv NULL: of a domain, of all domains when that is 0. */
static void kill_where(struct engine *e, const struct kv_class *kv, uint64_t domain)
{
	struct prefix *t = &e->prefix;

	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct pnode *n = t->buckets[i]; n; n = n->bucket)
			if (!n->dead && (kv	  ? n->kv == kv
					 : domain ? n->domain == domain
						  : n->domain != 0))
				kill(n);
	sweep(e);
}

void prefix_drop_class(struct engine *e, struct kv_class *kv)
{
	kill_where(e, kv, 0);
}

void engine_cache_clear(struct engine *e, uint64_t domain)
{
	kill_where(e, NULL, domain);
	for (struct seq *s = e->seqs; s; s = s->next)
		if (domain ? s->cfg.cache_domain == domain : s->cfg.cache_domain != 0)
			s->prefix.off = true; /* it gives nothing any more either */
}
