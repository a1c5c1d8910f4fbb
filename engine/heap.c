/* heap.c - see heap.h. */
#include "heap.h"

#include <stdlib.h>

#include "fault.h"

bool heap_room(struct heap *h, uint32_t n)
{
	uint32_t cap = h->cap ? h->cap : 4;
	struct hnode **v;

	if (n <= h->cap)
		return true;
	while (cap < n)
		cap = cap > UINT32_MAX / 2 ? n : 2 * cap;
	if (FAULT("heap.room") || !(v = realloc(h->v, cap * sizeof(*v))))
		return false;
	h->v = v;
	h->cap = cap;
	return true;
}

void heap_free(struct heap *h)
{
	free(h->v);
	*h = (struct heap){0};
}

static bool before(const struct hnode *a, const struct hnode *b)
{
	return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void set(struct heap *h, uint32_t i, struct hnode *x)
{
	h->v[i] = x;
	x->at = i + 1;
}

static uint32_t up(struct heap *h, uint32_t i, struct hnode *x)
{
	for (; i > 0 && before(x, h->v[(i - 1) / 2]); i = (i - 1) / 2) {
		set(h, i, h->v[(i - 1) / 2]);
		h->visits++;
	}
	set(h, i, x);
	return i;
}

static void down(struct heap *h, uint32_t i, struct hnode *x)
{
	for (uint32_t c; (c = 2 * i + 1) < h->n; i = c) {
		h->visits += 2;
		if (c + 1 < h->n && before(h->v[c + 1], h->v[c]))
			c++;
		if (!before(h->v[c], x))
			break;
		set(h, i, h->v[c]);
	}
	set(h, i, x);
}

void heap_put(struct heap *h, struct hnode *x)
{
	uint32_t i = x->at ? x->at - 1 : h->n++;

	h->visits++;
	down(h, up(h, i, x), x);
}

void heap_del(struct heap *h, struct hnode *x)
{
	uint32_t i = x->at - 1;
	struct hnode *last;

	if (!x->at)
		return;
	x->at = 0;
	last = h->v[--h->n];
	if (last == x)
		return;
	last->at = i + 1;
	heap_put(h, last);
}
