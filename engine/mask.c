/* mask.c - see mask.h: one answer's place in the automaton, and the set of tokens it allows. Sets
 * are remembered by place, as far as the place matters to tokens of this vocabulary's length: a
 * bound that no single token can reach does not make a place a different one. */
#include <stdlib.h>

#include "fault.h"
#include "model_priv.h"
#include "schema_priv.h"

#define MEMO 64	     /* sets remembered */
#define KEY_MAX 2048 /* bytes of a place's description; longer ones are not remembered */
#define TAIL 64	     /* tokens that are compared to see whether a list goes on */

struct memo {
	uint64_t hash, used;
	char *key;
	size_t key_n;
	uint64_t *bits;
};
struct mask {
	struct schema *s;
	const struct model *m;
	const struct mask_trie *trie;
	struct pda p;
	struct frame *spare; /* KEEP_FRAMES: stacks are moved there and back when they are tidied */
	struct thr *level;   /* THREADS for each byte of the longest token; level 0: the place */
	uint32_t *level_n, *level_fr;
	int32_t *seen; /* tokens that led here */
	uint32_t n_seen, cap_seen;
	bool complete;
	size_t words;
	uint64_t *work;
	struct memo memo[MEMO];
	uint64_t calls, misses;
};

static void rewind_to_start(struct mask *k)
{
	k->n_seen = 0;
	k->p.n_fr = 0;
	k->level_n[0] = pda_start(&k->p, k->level);
	k->level_fr[0] = 0;
}

int mask_new(struct model *m, struct schema *s, struct mask **out, struct err *err)
{
	struct mask_trie *trie = NULL;
	struct mask *k;
	uint32_t levels;
	int rc = mask_trie_get(m, &trie, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	if (FAULT("mask.alloc") || !(k = calloc(1, sizeof(*k))))
		return err_set(err, E_NOMEM, "no memory for a mask");
	levels = (trie->all.depth > trie->odd.depth ? trie->all.depth : trie->odd.depth) + 2;
	s->refs++;
	k->s = s;
	k->m = m;
	k->trie = trie;
	k->words = trie->n_vocab / 64 + 1;
	k->p = (struct pda){.s = s, .cap_fr = KEEP_FRAMES + levels * THREADS * 2};
	k->p.fr = calloc(k->p.cap_fr, sizeof(*k->p.fr));
	k->spare = calloc(KEEP_FRAMES, sizeof(*k->spare));
	k->level = calloc((size_t)levels * THREADS, sizeof(*k->level));
	k->level_n = calloc(levels, sizeof(*k->level_n));
	k->level_fr = calloc(levels, sizeof(*k->level_fr));
	k->work = calloc(k->words, sizeof(*k->work));
	if (!k->p.fr || !k->spare || !k->level || !k->level_n || !k->level_fr || !k->work) {
		mask_free(k);
		return err_set(err, E_NOMEM, "no memory for a mask");
	}
	rewind_to_start(k);
	*out = k;
	return 0;
}

void mask_free(struct mask *k)
{
	if (!k)
		return;
	for (unsigned i = 0; i < MEMO; i++) {
		if (k->memo[i].key)
			explicit_bzero(k->memo[i].key, k->memo[i].key_n);
		free(k->memo[i].key);
		free(k->memo[i].bits);
	}
	if (k->seen)
		explicit_bzero(k->seen, k->n_seen * sizeof(*k->seen));
	free(k->seen);
	free(k->p.fr);
	free(k->spare);
	free(k->level);
	free(k->level_n);
	free(k->level_fr);
	free(k->work);
	schema_free(k->s);
	free(k);
}

/* ---- moving on ---- */

/* Takes one token's bytes; no thread is left when they are not allowed. */
static void take(struct mask *k, int32_t id)
{
	struct thr *a = k->level, *b = k->level + THREADS;
	uint32_t n = k->level_n[0];
	struct span s;

	if (model_token_bytes(k->m, id, &s) < 0 || s.n == 0 || s.n > TRIE_MAX_TOKEN)
		n = 0;
	for (size_t i = 0; i < s.n && n; i++) {
		n = pda_step(&k->p, a, n, (uint8_t)s.p[i], b);
		memcpy(a, b, n * sizeof(*a));
	}
	k->level_n[0] = n;
	pda_tidy(&k->p, a, n, k->spare);
	k->level_fr[0] = k->p.n_fr;
}

static bool goes_on(const struct mask *k, const int32_t *ids, uint32_t n)
{
	uint32_t tail = k->n_seen < TAIL ? k->n_seen : TAIL;

	return n >= k->n_seen &&
	       (tail == 0 || memcmp(ids + k->n_seen - tail, k->seen + k->n_seen - tail,
				    tail * sizeof(*ids)) == 0);
}

/* False: no memory. */
static bool follow(struct mask *k, const int32_t *ids, uint32_t n)
{
	if (!goes_on(k, ids, n))
		rewind_to_start(k);
	while (k->n_seen < n) {
		if (!vec_room(&k->seen, k->n_seen, &k->cap_seen, sizeof(*k->seen)))
			return false;
		k->seen[k->n_seen] = ids[k->n_seen];
		take(k, ids[k->n_seen++]);
	}
	return true;
}

/* ---- what a place allows ---- */

static void allow_id(uint64_t *bits, int32_t id)
{
	bits[id / 64] |= 1ull << (id % 64);
}

static void walk(struct mask *k, const struct trie *t)
{
	for (uint32_t i = 0; i < t->n;) {
		const struct tnode *d = &t->t[i];
		struct thr *in = k->level + (size_t)d->depth * THREADS;
		uint32_t n;

		k->p.n_fr = k->level_fr[d->depth];
		n = pda_step(&k->p, in, k->level_n[d->depth], d->c, in + THREADS);
		k->level_n[d->depth + 1] = n;
		k->level_fr[d->depth + 1] = k->p.n_fr;
		if (!n) {
			i = d->next;
			continue;
		}
		for (int32_t id = d->tok; id >= 0; id = k->trie->same[id])
			allow_id(k->work, id);
		i++;
	}
	k->p.n_fr = k->level_fr[0];
}

static void allow_plain(struct mask *k, uint32_t room)
{
	const struct mask_trie *t = k->trie;
	uint32_t n;

	if (room >= t->max_chars) {
		memcpy(k->work, t->plain_bits, k->words * sizeof(*k->work));
		return;
	}
	n = t->upto[room + 1];
	for (uint32_t i = 0; i < n; i++)
		allow_id(k->work, (int32_t)t->plain[i]);
}

/* Works out the set into k->work. In a string most tokens need no walk: when a thread takes every
 * plain token, or nothing but strings is open, only the others are walked. */
static void work_out(struct mask *k)
{
	const struct model_info *in = model_info(k->m);
	uint32_t n = k->level_n[0], strings = 0, most = 0, room;

	memset(k->work, 0, k->words * sizeof(*k->work));
	for (uint32_t i = 0; i < n; i++)
		if (pda_free_text(&k->p, &k->level[i], &room)) {
			strings++;
			most = room > most ? room : most;
		}
	if (strings && (strings == n || most >= k->trie->max_chars)) {
		allow_plain(k, most);
		walk(k, &k->trie->odd);
	} else {
		walk(k, &k->trie->all);
	}
	if (k->complete)
		for (uint32_t i = 0; i < in->n_end; i++)
			allow_id(k->work, in->end[i]);
}

/* ---- places, described ---- */

static uint32_t cut(uint32_t v, uint32_t most)
{
	return v < most ? v : most;
}

/* How far lower and upper bound are, as far as one token can feel it. */
static void put_bounds(const struct node *d, uint32_t n, uint32_t far, struct buf *b)
{
	buf_u32(b, cut(n < d->min ? d->min - n : 0, far));
	buf_u32(b, d->max == NONE ? far : cut(d->max - n, far));
}

static void put_frame(const struct mask *k, const struct frame *f, uint32_t far, struct buf *b)
{
	const struct node *d = &k->s->nodes[f->node];

	buf_u32(b, f->node);
	if (d->kind == NK_ARRAY)
		put_bounds(d, f->n, far, b);
	else
		buf_u32(b, f->n);
}

static void put_thread(const struct mask *k, const struct thr *t, struct buf *b)
{
	uint32_t far = k->trie->all.depth + 1;

	buf_u8(b, t->mode);
	buf_u8(b, t->s);
	buf_u16(b, t->x);
	buf_u32(b, t->node);
	if (t->mode == PM_STR) {
		put_bounds(&k->s->nodes[t->node], t->a, far, b);
	} else {
		buf_u32(b, t->a);
		buf_u32(b, t->b);
		buf_u64(b, t->v);
	}
	for (uint32_t i = t->frame; i != NONE; i = k->p.fr[i].parent)
		put_frame(k, &k->p.fr[i], far, b);
	buf_u32(b, NONE);
}

static uint64_t hash_of(struct span s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (uint8_t)s.p[i]) * 0x100000001b3u;
	return h ^ h >> 32;
}

/* The remembered set, or the least used place for a new one. */
static struct memo *memo_find(struct mask *k, struct span key, uint64_t hash, bool *hit)
{
	struct memo *old = &k->memo[0];

	for (unsigned i = 0; i < MEMO; i++) {
		struct memo *o = &k->memo[i];

		if (o->key && o->hash == hash && span_eq(span_of(o->key, o->key_n), key)) {
			*hit = true;
			return o;
		}
		if (o->used < old->used)
			old = o;
	}
	*hit = false;
	return old;
}

static void memo_put(struct mask *k, struct memo *o, struct span key, uint64_t hash)
{
	char *copy = FAULT("mask.memo") ? NULL : malloc(key.n);

	if (!o->bits)
		o->bits = malloc(k->words * sizeof(*o->bits));
	if (!copy || !o->bits) { /* not remembered, nothing worse */
		free(copy);
		return;
	}
	memcpy(copy, key.p, key.n);
	memcpy(o->bits, k->work, k->words * sizeof(*o->bits));
	if (o->key)
		explicit_bzero(o->key, o->key_n);
	free(o->key);
	o->key = copy;
	o->key_n = key.n;
	o->hash = hash;
	o->used = k->calls;
}

static const uint64_t *bits_here(struct mask *k)
{
	char mem[KEY_MAX];
	struct buf key = BUF_FIXED(mem, sizeof(mem));
	struct memo *o = NULL;
	uint64_t hash;
	bool hit = false;

	for (uint32_t i = 0; i < k->level_n[0]; i++)
		put_thread(k, &k->level[i], &key);
	hash = buf_ok(&key) ? hash_of(buf_span(&key)) : 0;
	if (buf_ok(&key))
		o = memo_find(k, buf_span(&key), hash, &hit);
	if (hit) {
		o->used = k->calls;
		return o->bits;
	}
	k->misses++;
	work_out(k);
	if (o)
		memo_put(k, o, buf_span(&key), hash);
	return k->work;
}

void mask_allow(void *arg, const int32_t *generated, uint32_t n, uint64_t *allow)
{
	struct mask *k = arg;
	const uint64_t *bits;

	k->calls++;
	if (!follow(k, generated, n) || k->level_n[0] == 0) {
		k->complete = false;
		memset(allow, 0, k->words * sizeof(*allow));
		return;
	}
	k->complete = pda_complete(&k->p, k->level, k->level_n[0]);
	bits = bits_here(k);
	for (size_t i = 0; i < k->words; i++)
		allow[i] &= bits[i];
}

bool mask_complete(const struct mask *k)
{
	return k->complete;
}

void mask_stats(const struct mask *k, struct mask_stats *out)
{
	*out = (struct mask_stats){.calls = k->calls,
				   .misses = k->misses,
				   .trie_bytes = k->trie->bytes,
				   .trie_nodes = k->trie->all.n + k->trie->odd.n,
				   .trie_build_ns = k->trie->build_ns};
}
