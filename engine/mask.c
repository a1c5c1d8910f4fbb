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
	/* the set that is being worked out: a walk can rest between any two nodes */
	uint64_t *bits;
	const struct trie *tree;	  /* walked; NULL: none is */
	uint32_t at;			  /* its next node */
	uint8_t path[TRIE_MAX_TOKEN + 1]; /* the bytes that lead there */
	bool brief;			  /* MASK_WORK is used up: single bytes alone */
	uint64_t spent;
	uint64_t calls, misses, work;
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
	k->bits = FAULT("mask.bits") ? NULL : calloc(trie->words, sizeof(*k->bits));
	if (!k->bits) {
		free(k);
		return err_set(err, E_NOMEM, "no memory for a mask");
	}
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
}

void mask_free(struct mask *k)
{
	if (!k)
		return;
	if (--k->s->masks == 0)
		forget(k->trie, k->s->id);
	if (k->seen)
		explicit_bzero(k->seen, k->cap_seen * sizeof(*k->seen));
	explicit_bzero(k->bits, k->trie->words * sizeof(*k->bits));
	free(k->bits);
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
	while (k->n_seen < n && seen_room(k)) {
		k->seen[k->n_seen] = ids[k->n_seen];
		take(k, ids[k->n_seen++]);
	}
	if (k->n_seen == n && (from == n || store(k)))
		return true;
	rewind_to_start(k); /* the next call begins again */
	return false;
}

/* ---- what a place allows ---- */

static void allow_id(uint64_t *bits, int32_t id)
{
	bits[id / 64] |= 1ull << (id % 64);
}

/* One byte of the way, from its level to the next one; how many threads take it. */
static uint32_t pass(struct mask_trie *w, uint32_t depth, uint8_t c)
{
	struct thr *in = w->level + (size_t)depth * THREADS;
	uint32_t n;

	w->p.n_fr = w->level_fr[depth];
	n = pda_step(&w->p, in, w->level_n[depth], c, in + THREADS);
	w->level_n[depth + 1] = n;
	w->level_fr[depth + 1] = w->p.n_fr;
	return n;
}

/* One node of the walk; false: not allowed. */
static bool enter(struct mask *k, const struct tnode *d)
{
	uint32_t n = pass(k->trie, d->depth, d->c);

	k->path[d->depth] = d->c;
	for (int32_t id = n ? d->tok : -1; id >= 0; id = k->trie->same[id])
		allow_id(k->bits, id);
	return n > 0;
}

/* Goes on with the walk for about *work, of which what was used is taken. True: it is at its end.
 * What it does depends on the place alone, not on where it rested. */
static bool walk(struct mask *k, uint64_t *work)
{
	const struct trie *t = k->tree;
	struct mask_trie *w = k->trie;

	for (uint32_t i = 0; k->at < t->n && i < t->t[k->at].depth; i++)
		pass(w, i, k->path[i]);
	w->p.work = 0;
	while (k->at < t->n && w->p.work < *work) {
		const struct tnode *d = &t->t[k->at];

		if (!k->brief && k->spent + w->p.work >= MASK_WORK) {
			/* what is not reached: but the bytes, of which one always leads on */
			k->brief = true;
			k->at = 0;
			continue;
		}
		k->at = enter(k, d) && !k->brief ? k->at + 1 : d->next;
	}
	w->p.n_fr = w->level_fr[0];
	k->spent += w->p.work;
	*work -= w->p.work < *work ? w->p.work : *work;
	return k->at >= t->n;
}

static void allow_plain(struct mask *k, uint32_t room)
{
	const struct mask_trie *t = k->trie;
	uint32_t n;

	if (room >= t->max_chars) {
		memcpy(k->bits, t->plain_bits, t->words * sizeof(*k->bits));
		return;
	}
	n = t->upto[room + 1];
	for (uint32_t i = 0; i < n; i++)
		allow_id(k->bits, (int32_t)t->plain[i]);
}

/* Begins to work out the set. In a string most tokens need no walk: when a thread takes every plain
 * token, or nothing but strings is open, only the others are walked. */
static void begin(struct mask *k)
{
	const struct model_info *in = model_info(k->m);
	struct mask_trie *t = k->trie;
	uint32_t strings = 0, most = 0, room;

	memset(k->bits, 0, t->words * sizeof(*k->bits));
	for (uint32_t i = 0; i < k->n; i++)
		if (pda_free_text(&t->p, &k->place[i], &room)) {
			strings++;
			most = room > most ? room : most;
		}
	k->tree = &t->all;
	if (strings && (strings == k->n || most >= t->max_chars)) {
		allow_plain(k, most);
		k->tree = &t->odd;
	}
	if (k->complete)
		for (uint32_t i = 0; i < in->n_end; i++)
			allow_id(k->bits, in->end[i]);
	k->at = 0;
	k->spent = 0;
	k->brief = false;
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

static void memo_put(struct mask_trie *t, struct memo *o, struct span key, uint64_t hash,
		     const uint64_t *bits)
{
	char *copy = FAULT("mask.memo") ? NULL : malloc(key.n);

	if (!o->bits)
		o->bits = malloc(t->words * sizeof(*o->bits));
	if (!copy || !o->bits) { /* not remembered, nothing worse */
		free(copy);
		return;
	}
	memcpy(copy, key.p, key.n);
	memcpy(o->bits, bits, t->words * sizeof(*o->bits));
	if (o->key)
		explicit_bzero(o->key, o->key_n);
	free(o->key);
	o->key = copy;
	o->key_n = key.n;
	o->hash = hash;
	o->used = t->clock;
}

/* The place's set from what is remembered, or k->bits when `made`, which are remembered then; NULL:
 * neither. A description begins with the schema's own number: nobody meets the sets of another's
 * request. */
static const uint64_t *bits_here(struct mask *k, bool made)
{
	struct mask_trie *t = k->trie;
	char mem[KEY_MAX];
	struct buf key = BUF_FIXED(mem, sizeof(mem));
	struct memo *o;
	uint64_t hash;
	bool hit = false;

	buf_u64(&key, k->s->id);
	for (uint32_t i = 0; i < k->n; i++)
		put_thread(k, &k->place[i], &key);
	if (!buf_ok(&key))
		return made ? k->bits : NULL;
	t->clock++;
	hash = hash_of(buf_span(&key));
	o = memo_find(t, buf_span(&key), hash, &hit);
	if (!hit && !made)
		return NULL;
	if (!hit)
		memo_put(t, o, buf_span(&key), hash, k->bits);
	o->used = t->clock;
	return hit ? o->bits : k->bits;
}

/* The set; NULL: *work is used up before it is whole. */
static const uint64_t *set_here(struct mask *k, uint64_t *work)
{
	const uint64_t *bits;

	if (!k->tree) {
		if ((bits = bits_here(k, false)))
			return bits;
		k->misses++;
		begin(k);
	} else {
		load(k);
	}
	if (!walk(k, work))
		return NULL;
	k->tree = NULL;
	return bits_here(k, true);
}

bool mask_try(void *arg, const int32_t *generated, uint32_t n, uint64_t *work, uint64_t *allow)
{
	struct mask *k = arg;
	size_t words = k->trie->words;
	const uint64_t *bits = NULL;
	uint64_t had = *work;

	*work -= MASK_CALL < had ? MASK_CALL : had;
	if (!k->tree || n != k->n_seen || !goes_on(k, generated, n)) {
		k->tree = NULL;
		k->calls++;
		k->trie->p.work = 0;
		k->complete = false;
		if (!follow(k, generated, n) || k->n == 0) {
			memset(allow, 0, words * sizeof(*allow));
			return true;
		}
		*work -= k->trie->p.work < *work ? k->trie->p.work : *work;
		k->complete = pda_complete(&k->trie->p, k->place, k->n);
	}
	bits = set_here(k, work);
	k->work += had - *work;
	for (size_t i = 0; bits && i < words; i++)
		allow[i] &= bits[i];
	return bits != NULL;
}

void mask_allow(void *arg, const int32_t *generated, uint32_t n, uint64_t *allow)
{
	uint64_t work = UINT64_MAX / 2;

	mask_try(arg, generated, n, &work, allow);
}

bool mask_complete(const struct mask *k)
{
	return k->complete;
}

void mask_stats(const struct mask *k, struct mask_stats *out)
{
	*out = (struct mask_stats){.calls = k->calls,
				   .misses = k->misses,
				   .work = k->work,
				   .trie_bytes = k->trie->bytes,
				   .trie_nodes = k->trie->all.n + k->trie->odd.n,
				   .trie_build_ns = k->trie->build_ns};
}
