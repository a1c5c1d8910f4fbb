/* prefix.h - the prefix cache: a radix tree over pages of the KV cache. Owner thread only.
 *
 * A node is one full page. Its key is the class of pages (so the model and the KV type), its parent
 * (so everything before it, from position 0), its domain and the page's 64 token ids; ids are
 * compared one by one, the hash is keyed with random bits and only finds the bucket. Only pages of
 * class P come in: what sampled tokens wrote depends on more than the ids (pack.h).
 *
 * A sequence matches nodes of its own domain and nodes of texts (seq_new_text); domain 0 matches
 * nothing. Below a text's nodes the nodes of a domain go on. A sequence whose leading n pages are
 * nodes holds exactly the path of n nodes: where an equal node exists already, it takes that page
 * for its own. Hence who holds a node's page holds those of all nodes above it, and the tree's
 * pages that nobody else holds ("resting") have only such pages below them.
 *
 * The tree is one holder of its pages (kv.h). Resting pages lie in a list in the order in which they
 * came to rest, deeper ones first; the oldest that has none below it gives way first. So what lies
 * below a resting page came to rest with it or before, and is never the younger. */
#ifndef SP_ENGINE_PREFIX_H
#define SP_ENGINE_PREFIX_H

#include "kv.h"

#define TEXT_SHARE 2 /* texts may reserve 1/2 of the budget */
#define AGE_BYTES (1u << 20) /* engine_cache_age(): wiped in one call, and a page beyond it at most */

struct seq;
struct job;
struct engine;

struct pnode {
	struct kv_class *kv;
	struct kv_page *page;
	uint64_t domain; /* 0: a text's */
	size_t hash;
	struct pnode *parent, *child;	/* first child */
	struct pnode *next, *prev;	/* the parent's other children */
	struct pnode *bucket;		/* next of equal hash */
	struct pnode *older, *newer;	/* of the resting ones */
	uint64_t since;			/* a resting one came to rest: engine_cache_age()'s time */
	uint32_t texts;			/* living texts that begin with this path */
	bool dead;			/* about to be taken out */
	int32_t ids[KV_TOKENS];		/* wiped with the node */
};

struct prefix {
	unsigned char key[16]; /* of the hash; random */
	struct pnode **buckets;
	size_t n_buckets, n;   /* n_buckets: 0 or a power of two */
	uint64_t bytes, texts; /* of pages in the tree; reserved for texts */
	struct pnode *oldest, *newest; /* resting */
	uint64_t now;		       /* the latest that engine_cache_age() was told */
};

/* What a sequence knows of its place in the tree. */
struct seq_prefix {
	struct pnode *node; /* of page n_tree - 1 */
	uint32_t n_tree;    /* so many leading pages are nodes */
	uint32_t p_len;	    /* leading tokens that are class P and whose ids were seen */
	uint32_t solid;	    /* of p_len: those before the first transient one */
	uint32_t common;    /* leading tokens that came from a text */
	bool text;	    /* seq_new_text() */
	bool off;	    /* its path was taken out: it neither matches nor gives */
	int32_t tail[KV_TOKENS]; /* ids from n_tree * KV_TOKENS to p_len, the first KV_TOKENS */
};

/* ---- the tree ---- */
void prefix_open(struct prefix *t);
void prefix_close(struct prefix *t); /* all nodes are gone */
/* NULL: none. parent NULL: the first page. */
struct pnode *prefix_find(const struct prefix *t, const struct kv_class *kv,
			  const struct pnode *parent, uint64_t domain, const int32_t *ids);
/* The tree becomes a holder of page. The key must not be there. NULL: no memory. */
struct pnode *prefix_add(struct prefix *t, struct kv_class *kv, struct pnode *parent,
			 uint64_t domain, const int32_t *ids, struct kv_page *page);
void prefix_drop_class(struct engine *e, struct kv_class *kv); /* a model goes */
/* Takes n and all below it out; sequences on such a path are off from now on. */
void prefix_cut(struct engine *e, struct pnode *n);

/* ---- for kv.c ---- */
void prefix_rest(struct prefix *t, struct pnode *n); /* nobody but the tree holds its page now */
void prefix_wake(struct prefix *t, struct pnode *n); /* a sequence is about to */
void prefix_evict(struct prefix *t);		     /* one resting page goes; there is one */

/* ---- sequences (prefix_seq.c) ---- */
/* Before rows are dealt to the first job of s, an append: takes what the tree has of it. */
void seq_prefix_take(struct seq *s);
/* The next n ids of j are in s: they have been computed behind s->len - n. */
void seq_prefix_put(struct seq *s, const struct job *j, uint32_t n);
/* s, whose first job is an append that could go on now, better waits: one of first[0..n), which have
 * rows in the batch being built, computes the page that s needs next. */
bool seq_prefix_waits(const struct seq *s, struct seq *const *first, uint32_t n);
/* s forgets tokens from `keep` on; its pages are as before. */
void seq_prefix_keep(struct seq *s, uint32_t keep);
/* c has the first `keep` tokens of s. */
void seq_prefix_fork(struct seq *c, const struct seq *s, uint32_t keep);
/* s goes; it still holds its pages. */
void seq_prefix_end(struct seq *s);

#endif
