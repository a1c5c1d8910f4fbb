/* tok_merge.c - merging with a heap: O(n log n) however long a run of letters is. */
#include <stdlib.h>

#include "tok_priv.h"

int work_room(struct tok_work *w, size_t syms)
{
	size_t cap = w->cap ? w->cap : 64;
	void *s, *h;

	if (syms <= w->cap)
		return 0;
	while (cap < syms)
		cap *= 2;
	/* nothing is kept between two pieces of text */
	free(w->syms);
	free(w->heap);
	s = malloc(cap * sizeof(*w->syms));
	h = malloc(3 * cap * sizeof(*w->heap)); /* n - 1 pairs at first, 2 more with each merge */
	w->syms = s;
	w->heap = h;
	w->cap = s && h ? cap : 0;
	return w->cap ? 0 : E_NOMEM;
}

void work_free(struct tok_work *w)
{
	free(w->syms);
	free(w->heap);
	free(w->norm);
	memset(w, 0, sizeof(*w));
}

static void push(uint64_t *heap, size_t *n, uint64_t v)
{
	size_t i = (*n)++;

	for (; i && heap[(i - 1) / 2] > v; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = v;
}

static uint64_t pop(uint64_t *heap, size_t *n)
{
	uint64_t top = heap[0], v = heap[--*n];
	size_t i = 0;

	for (;;) {
		size_t k = 2 * i + 1;

		if (k + 1 < *n && heap[k + 1] < heap[k])
			k++;
		if (k >= *n || heap[k] >= v)
			break;
		heap[i] = heap[k];
		i = k;
	}
	heap[i] = v;
	return top;
}

void merge_all(const struct tok *t, struct tok_work *w, size_t n, struct span text, pair_rank fn)
{
	struct sym *s = w->syms;
	size_t heap_n = 0;

	for (uint32_t i = 0; i < n; i++) {
		s[i].prev = i ? i - 1 : SYM_END;
		s[i].next = i + 1 < n ? i + 1 : SYM_END;
	}
	for (uint32_t i = 0; i < n; i++) {
		s[i].rank = RANK_NONE;
		if (i + 1 < n)
			s[i].rank = fn(t, text, &s[i], &s[i + 1], &s[i].merged);
		if (s[i].rank != RANK_NONE)
			push(w->heap, &heap_n, (uint64_t)s[i].rank << 32 | i);
	}
	while (heap_n) {
		uint64_t top = pop(w->heap, &heap_n);
		uint32_t a = (uint32_t)top, b, c;

		if (s[a].rank != (uint32_t)(top >> 32))
			continue; /* this pair is gone or has become another one */
		b = s[a].next;
		c = s[b].next;
		s[a].id = s[a].merged;
		s[a].len += s[b].len;
		s[a].next = c;
		s[b].rank = RANK_NONE;
		s[a].rank = RANK_NONE;
		if (c != SYM_END) {
			s[c].prev = a;
			s[a].rank = fn(t, text, &s[a], &s[c], &s[a].merged);
			if (s[a].rank != RANK_NONE)
				push(w->heap, &heap_n, (uint64_t)s[a].rank << 32 | a);
		}
		b = s[a].prev;
		if (b != SYM_END) {
			s[b].rank = fn(t, text, &s[b], &s[a], &s[b].merged);
			if (s[b].rank != RANK_NONE)
				push(w->heap, &heap_n, (uint64_t)s[b].rank << 32 | b);
		}
	}
}
