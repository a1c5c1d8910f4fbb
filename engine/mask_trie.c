/* mask_trie.c - a vocabulary as a tree of bytes, laid out in depth-first order: a walk is a run
 * over an array that jumps over what the automaton refuses. Tokens that may stand in a string as
 * they are need no walk there; they are a list by length. Control tokens print nothing and are in
 * neither. */
#include <stdlib.h>

#include "clock.h"
#include "fault.h"
#include "model_priv.h"
#include "schema_priv.h"
#include "utf8.h"

/* Characters of a token that is plain; 0 = it is not. */
static uint32_t plain_chars(struct span s)
{
	uint32_t n = 0, cp;

	while (s.n) {
		int k = utf8_next(s, &cp);

		if (k <= 0 || cp < 0x20 || cp == '"' || cp == '\\')
			return 0;
		s = span_from(s, (size_t)k);
		n++;
	}
	return n;
}

static struct span bytes_of(const struct model *m, int32_t id)
{
	struct span s;

	if (model_token_bytes(m, id, &s) < 0 || s.n > TRIE_MAX_TOKEN)
		s.n = 0;
	return s;
}

struct by_bytes {
	struct span s;
	int32_t id;
};

static int bytes_cmp(const void *x, const void *y)
{
	const struct by_bytes *a = x, *b = y;
	size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
	int c = memcmp(a->s.p, b->s.p, n);

	if (c)
		return c;
	if (a->s.n != b->s.n)
		return a->s.n < b->s.n ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static size_t common(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n, i = 0;

	while (i < n && a.p[i] == b.p[i])
		i++;
	return i;
}

static int trie_build(struct trie *t, int32_t *same, const struct by_bytes *v, uint32_t n,
		      struct err *err)
{
	uint32_t path[TRIE_MAX_TOKEN + 1], depth = 0;
	struct span last = {0};
	uint64_t nodes = 0;

	for (uint32_t i = 0; i < n; last = v[i++].s)
		nodes += v[i].s.n - common(last, v[i].s);
	t->t = FAULT("mask.alloc") ? NULL : malloc((nodes + 1) * sizeof(*t->t));
	if (!t->t)
		return err_set(err, E_NOMEM, "no memory for the vocabulary's tree");
	last = (struct span){0};
	for (uint32_t i = 0; i < n; last = v[i++].s) {
		size_t keep = common(last, v[i].s);

		while (depth > keep)
			t->t[path[--depth]].next = t->n;
		if (keep == v[i].s.n) { /* the same bytes as the one before */
			same[v[i].id] = t->t[t->n - 1].tok;
			t->t[t->n - 1].tok = v[i].id;
			continue;
		}
		while (depth < v[i].s.n) {
			t->t[t->n] = (struct tnode){
			    .tok = -1, .depth = (uint16_t)depth, .c = (uint8_t)v[i].s.p[depth]};
			path[depth++] = t->n++;
		}
		t->t[t->n - 1].tok = v[i].id;
		same[v[i].id] = -1;
		t->depth = depth > t->depth ? depth : t->depth;
	}
	while (depth > 0)
		t->t[path[--depth]].next = t->n;
	return 0;
}

static void sort_plain(struct mask_trie *t, const uint16_t *chars)
{
	uint32_t at[TRIE_MAX_TOKEN + 2];

	for (uint32_t i = 0; i < t->n_vocab; i++)
		if (chars[i]) {
			t->upto[chars[i] + 1]++;
			t->max_chars = chars[i] > t->max_chars ? chars[i] : t->max_chars;
			t->plain_bits[i / 64] |= 1ull << (i % 64);
		}
	for (uint32_t k = 1; k < TRIE_MAX_TOKEN + 2; k++)
		t->upto[k] += t->upto[k - 1];
	t->n_plain = t->upto[TRIE_MAX_TOKEN + 1];
	memcpy(at, t->upto, sizeof(at));
	for (uint32_t i = 0; i < t->n_vocab; i++)
		if (chars[i])
			t->plain[at[chars[i]]++] = i;
}

/* Every byte that can stand in JSON text must be a token of its own: whatever the automaton wants
 * next can then be said. */
static bool spells_bytes(const struct model *m, uint32_t n)
{
	bool have[256] = {0};

	for (uint32_t i = 0; i < n; i++) {
		struct span s = bytes_of(m, (int32_t)i);

		if (s.n == 1)
			have[(uint8_t)s.p[0]] = true;
	}
	for (unsigned c = 0x20; c <= 0xf4; c++)
		if (!have[c] && c != 0x7f && c != 0xc0 && c != 0xc1)
			return false;
	return true;
}

static int fill(struct mask_trie *t, const struct model *m, struct by_bytes *v, uint16_t *chars,
		struct err *err)
{
	uint32_t n = 0, odd = 0;
	int rc;

	for (uint32_t i = 0; i < t->n_vocab; i++) {
		struct span s = bytes_of(m, (int32_t)i);

		t->same[i] = -1;
		if (s.n == 0)
			continue;
		v[n++] = (struct by_bytes){s, (int32_t)i};
		chars[i] = (uint16_t)plain_chars(s);
	}
	qsort(v, n, sizeof(*v), bytes_cmp);
	if ((rc = trie_build(&t->all, t->same, v, n, err)) < 0)
		return rc;
	for (uint32_t i = 0; i < n; i++)
		if (!chars[v[i].id])
			v[odd++] = v[i];
	if ((rc = trie_build(&t->odd, t->same, v, odd, err)) < 0)
		return rc;
	sort_plain(t, chars);
	t->bytes = (t->all.n + t->odd.n + 2ull) * sizeof(struct tnode) +
		   (uint64_t)t->n_vocab * (sizeof(*t->same) + sizeof(*t->plain)) + t->n_vocab / 8 +
		   sizeof(*t);
	return 0;
}

static bool work_room(struct mask_trie *t)
{
	uint32_t levels = (t->all.depth > t->odd.depth ? t->all.depth : t->odd.depth) + 2;

	t->words = t->n_vocab / 64 + 1;
	t->p.cap_fr = KEEP_FRAMES + levels * THREADS * 2;
	t->p.fr = calloc(t->p.cap_fr, sizeof(*t->p.fr));
	t->spare = calloc(KEEP_FRAMES, sizeof(*t->spare));
	t->level = calloc((size_t)levels * THREADS, sizeof(*t->level));
	t->level_n = calloc(levels, sizeof(*t->level_n));
	t->level_fr = calloc(levels, sizeof(*t->level_fr));
	t->bytes += t->p.cap_fr * sizeof(*t->p.fr) + KEEP_FRAMES * sizeof(*t->spare) +
		    (uint64_t)levels * (THREADS * sizeof(*t->level) + 8);
	return t->p.fr && t->spare && t->level && t->level_n && t->level_fr;
}

int mask_trie_get(struct model *m, struct mask_trie **out, struct err *err)
{
	uint32_t n = model_info(m)->n_vocab;
	uint64_t from = clock_mono_ns();
	struct mask_trie *t;
	struct by_bytes *v;
	uint16_t *chars;
	int rc;

	if ((*out = m->trie))
		return 0;
	if (model_info(m)->n_end == 0 || !spells_bytes(m, n))
		return err_set(err, E_UNSUPPORTED,
			       "this model's vocabulary cannot be held to a schema");
	t = FAULT("mask.alloc") ? NULL : calloc(1, sizeof(*t));
	v = calloc(n, sizeof(*v));
	chars = calloc(n, sizeof(*chars));
	if (t) {
		t->n_vocab = n;
		t->same = calloc(n, sizeof(*t->same));
		t->plain = calloc(n, sizeof(*t->plain));
		t->plain_bits = calloc(n / 64 + 1, sizeof(*t->plain_bits));
	}
	rc = t && v && chars && t->same && t->plain && t->plain_bits
		 ? fill(t, m, v, chars, err)
		 : err_set(err, E_NOMEM, "no memory for the vocabulary's tree");
	free(v);
	free(chars);
	if (rc == 0 && !work_room(t))
		rc = err_set(err, E_NOMEM, "no memory for the vocabulary's tree");
	if (rc < 0) {
		mask_trie_free(t);
		return rc;
	}
	t->build_ns = clock_mono_ns() - from;
	*out = m->trie = t;
	return 0;
}

void mask_trie_free(struct mask_trie *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < MASK_MEMO; i++) {
		free(t->memo[i].key);
		free(t->memo[i].bits);
	}
	free(t->p.fr);
	free(t->spare);
	free(t->level);
	free(t->level_n);
	free(t->level_fr);
	free(t->all.t);
	free(t->odd.t);
	free(t->same);
	free(t->plain);
	free(t->plain_bits);
	free(t);
}
