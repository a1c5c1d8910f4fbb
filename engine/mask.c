/* mask.c - see mask.h: one answer's place in the automaton, and the set of tokens it allows. Sets
 * are remembered by place, as far as the place matters to tokens of this vocabulary's length: a
 * bound that no single token can reach does not make a place a different one. */
#include <stdlib.h>

#include "fault.h"
#include "model_priv.h"
#include "num.h"
#include "schema_priv.h"

#define KEY_MAX 2048 /* bytes of a place's description; longer ones are not remembered */
#define TAIL 64	     /* tokens that are compared to see whether a list goes on */

struct mask {
	struct schema *s;
	const struct model *m;
	struct mask_trie *trie;
	struct thr place[THREADS];
	struct frame *frames; /* the place's stacks */
	uint32_t n, n_frames, cap_frames;
	int32_t *seen; /* tokens that led here */
	uint32_t n_seen, cap_seen;
	bool complete;
	uint64_t calls, misses;
};

static void rewind_to_start(struct mask *k)
{
	struct pda p = {.s = k->s};

	k->n_seen = k->n_frames = 0;
	k->n = pda_start(&p, k->place);
}

int mask_prepare(struct model *m, struct err *err)
{
	struct mask_trie *trie;

	return mask_trie_get(m, &trie, err);
}

int mask_new(struct model *m, struct schema *s, struct mask **out, struct err *err)
{
	struct mask_trie *trie = NULL;
	struct mask *k;
	int rc = mask_trie_get(m, &trie, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	if (FAULT("mask.alloc") || !(k = calloc(1, sizeof(*k))))
		return err_set(err, E_NOMEM, "no memory for a mask");
	s->refs++;
	s->masks++;
	k->s = s;
	k->m = m;
	k->trie = trie;
	rewind_to_start(k);
	*out = k;
	return 0;
}

/* What is remembered of a schema that no mask holds any more is of no use, and a client's. */
static void forget(struct mask_trie *t, uint64_t id)
{
	for (unsigned i = 0; i < MASK_MEMO; i++) {
		struct memo *o = &t->memo[i];

		if (!o->key || get_le64((const uint8_t *)o->key) != id)
			continue;
		explicit_bzero(o->key, o->key_n);
		explicit_bzero(o->bits, t->words * sizeof(*o->bits));
		free(o->key);
		o->key = NULL;
		o->used = 0;
	}
	explicit_bzero(t->work, t->words * sizeof(*t->work));
}

void mask_free(struct mask *k)
{
	if (!k)
		return;
	if (--k->s->masks == 0)
		forget(k->trie, k->s->id);
	if (k->seen)
		explicit_bzero(k->seen, k->cap_seen * sizeof(*k->seen));
	free(k->seen);
	free(k->frames);
	schema_free(k->s);
	explicit_bzero(k, sizeof(*k)); /* digits of numbers stand in the places */
	free(k);
}

/* The place into the working memory, and back. */
static void load(struct mask *k)
{
	struct mask_trie *t = k->trie;

	t->p.s = k->s;
	t->p.n_fr = t->level_fr[0] = k->n_frames;
	t->level_n[0] = k->n;
	memcpy(t->level, k->place, k->n * sizeof(*k->place));
	if (k->n_frames)
		memcpy(t->p.fr, k->frames, k->n_frames * sizeof(*k->frames));
}

static bool store(struct mask *k)
{
	struct mask_trie *t = k->trie;

	while (t->p.n_fr > k->cap_frames)
		if (!vec_room(&k->frames, k->cap_frames, &k->cap_frames, sizeof(*k->frames)))
			return false;
	k->n = t->level_n[0];
	k->n_frames = t->p.n_fr;
	memcpy(k->place, t->level, k->n * sizeof(*k->place));
	if (k->n_frames)
		memcpy(k->frames, t->p.fr, k->n_frames * sizeof(*k->frames));
	return true;
}

/* ---- moving on ---- */

/* Takes one token's bytes, in the working memory; no thread is left when they are not allowed. */
static void take(struct mask *k, int32_t id)
{
	struct mask_trie *t = k->trie;
	struct thr *a = t->level, *b = t->level + THREADS;
	uint32_t n = t->level_n[0];
	struct span s;

	if (model_token_bytes(k->m, id, &s) < 0 || s.n == 0 || s.n > TRIE_MAX_TOKEN)
		n = 0;
	for (size_t i = 0; i < s.n && n; i++) {
		n = pda_step(&t->p, a, n, (uint8_t)s.p[i], b);
		memcpy(a, b, n * sizeof(*a));
	}
	t->level_n[0] = n;
	pda_tidy(&t->p, a, n, t->spare);
	t->level_fr[0] = t->p.n_fr;
}

static bool goes_on(const struct mask *k, const int32_t *ids, uint32_t n)
{
	uint32_t tail = k->n_seen < TAIL ? k->n_seen : TAIL;

	return n >= k->n_seen &&
	       (tail == 0 || memcmp(ids + k->n_seen - tail, k->seen + k->n_seen - tail,
				    tail * sizeof(*ids)) == 0);
}

/* Room for one more token; what was seen does not linger in freed memory. */
static bool seen_room(struct mask *k)
{
	uint32_t cap = k->cap_seen ? k->cap_seen * 2 : 64;
	int32_t *p;

	if (k->n_seen < k->cap_seen)
		return true;
	if (FAULT("mask.seen") || !(p = calloc(cap, sizeof(*p))))
		return false;
	if (k->seen) {
		memcpy(p, k->seen, k->n_seen * sizeof(*p));
		explicit_bzero(k->seen, k->cap_seen * sizeof(*p));
	}
	free(k->seen);
	k->seen = p;
	k->cap_seen = cap;
	return true;
}

/* Leaves the place these tokens lead to in the working memory too. False: no memory. */
static bool follow(struct mask *k, const int32_t *ids, uint32_t n)
{
	uint32_t from;

	if (!goes_on(k, ids, n))
		rewind_to_start(k);
	from = k->n_seen;
	load(k);
	while (k->n_seen < n) {
		if (!seen_room(k))
			return false;
		k->seen[k->n_seen] = ids[k->n_seen];
		take(k, ids[k->n_seen++]);
	}
	if (from == n || store(k))
		return true;
	rewind_to_start(k); /* the next call begins again */
	return false;
}

/* ---- what a place allows ---- */

static void allow_id(uint64_t *bits, int32_t id)
{
	bits[id / 64] |= 1ull << (id % 64);
}

/* One byte of the walk; false: not allowed. */
static bool enter(struct mask_trie *w, const struct tnode *d)
{
	struct thr *in = w->level + (size_t)d->depth * THREADS;
	uint32_t n;

	w->p.n_fr = w->level_fr[d->depth];
	n = pda_step(&w->p, in, w->level_n[d->depth], d->c, in + THREADS);
	w->level_n[d->depth + 1] = n;
	w->level_fr[d->depth + 1] = w->p.n_fr;
	for (int32_t id = n ? d->tok : -1; id >= 0; id = w->same[id])
		allow_id(w->work, id);
	return n > 0;
}

static void walk(struct mask_trie *w, const struct trie *t)
{
	w->p.work = 0;
	for (uint32_t i = 0; i < t->n && w->p.work < MASK_WORK;)
		i = enter(w, &t->t[i]) ? i + 1 : t->t[i].next;
	/* what the walk did not reach: the bytes, of which one always leads on */
	for (uint32_t i = 0; i < t->n && w->p.work >= MASK_WORK; i = t->t[i].next)
		enter(w, &t->t[i]);
	w->p.n_fr = w->level_fr[0];
}

static void allow_plain(struct mask_trie *t, uint32_t room)
{
	uint32_t n;

	if (room >= t->max_chars) {
		memcpy(t->work, t->plain_bits, t->words * sizeof(*t->work));
		return;
	}
	n = t->upto[room + 1];
	for (uint32_t i = 0; i < n; i++)
		allow_id(t->work, (int32_t)t->plain[i]);
}

/* Works out the set. In a string most tokens need no walk: when a thread takes every plain token,
 * or nothing but strings is open, only the others are walked. */
static void work_out(struct mask *k)
{
	const struct model_info *in = model_info(k->m);
	struct mask_trie *t = k->trie;
	uint32_t strings = 0, most = 0, room;

	memset(t->work, 0, t->words * sizeof(*t->work));
	for (uint32_t i = 0; i < k->n; i++)
		if (pda_free_text(&t->p, &k->place[i], &room)) {
			strings++;
			most = room > most ? room : most;
		}
	if (strings && (strings == k->n || most >= t->max_chars)) {
		allow_plain(t, most);
		walk(t, &t->odd);
	} else {
		walk(t, &t->all);
	}
	if (k->complete)
		for (uint32_t i = 0; i < in->n_end; i++)
			allow_id(t->work, in->end[i]);
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
	for (uint32_t i = t->frame; i != NONE; i = k->frames[i].parent)
		put_frame(k, &k->frames[i], far, b);
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
static struct memo *memo_find(struct mask_trie *t, struct span key, uint64_t hash, bool *hit)
{
	struct memo *old = &t->memo[0];

	for (unsigned i = 0; i < MASK_MEMO; i++) {
		struct memo *o = &t->memo[i];

		if (o->hash == hash && o->key && span_eq(span_of(o->key, o->key_n), key)) {
			*hit = true;
			return o;
		}
		if (o->used < old->used)
			old = o;
	}
	*hit = false;
	return old;
}

static void memo_put(struct mask_trie *t, struct memo *o, struct span key, uint64_t hash)
{
	char *copy = FAULT("mask.memo") ? NULL : malloc(key.n);

	if (!o->bits)
		o->bits = malloc(t->words * sizeof(*o->bits));
	if (!copy || !o->bits) { /* not remembered, nothing worse */
		free(copy);
		return;
	}
	memcpy(copy, key.p, key.n);
	memcpy(o->bits, t->work, t->words * sizeof(*o->bits));
	if (o->key)
		explicit_bzero(o->key, o->key_n);
	free(o->key);
	o->key = copy;
	o->key_n = key.n;
	o->hash = hash;
	o->used = t->clock;
}

/* A description begins with the schema's own number: nobody meets the sets of another's request. */
static const uint64_t *bits_here(struct mask *k)
{
	struct mask_trie *t = k->trie;
	char mem[KEY_MAX];
	struct buf key = BUF_FIXED(mem, sizeof(mem));
	struct memo *o = NULL;
	uint64_t hash;
	bool hit = false;

	buf_u64(&key, k->s->id);
	for (uint32_t i = 0; i < k->n; i++)
		put_thread(k, &k->place[i], &key);
	t->clock++;
	hash = buf_ok(&key) ? hash_of(buf_span(&key)) : 0;
	if (buf_ok(&key))
		o = memo_find(t, buf_span(&key), hash, &hit);
	if (hit) {
		o->used = t->clock;
		return o->bits;
	}
	k->misses++;
	work_out(k);
	if (o)
		memo_put(t, o, buf_span(&key), hash);
	return t->work;
}

void mask_allow(void *arg, const int32_t *generated, uint32_t n, uint64_t *allow)
{
	struct mask *k = arg;
	size_t words = k->trie->words;
	const uint64_t *bits;

	k->calls++;
	if (!follow(k, generated, n) || k->n == 0) {
		k->complete = false;
		memset(allow, 0, words * sizeof(*allow));
		return;
	}
	k->complete = pda_complete(&k->trie->p, k->place, k->n);
	bits = bits_here(k);
	for (size_t i = 0; i < words; i++)
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
