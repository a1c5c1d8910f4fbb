/* arena.c - see arena.h. */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "fault.h"
#include "num.h"

struct block {
	struct block *next;
	size_t n, cap;
	_Alignas(16) char mem[];
};

struct arena {
	struct block *head;
	size_t used, max;
};

struct arena *arena_new(size_t max)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (a)
		a->max = max;
	return a;
}

void arena_free(struct arena *a)
{
	struct block *b, *next;

	if (a == NULL)
		return;
	for (b = a->head; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct block *b = a->head;
	size_t cap;
	void *p;

	if (n > a->max - a->used || n > SIZE_MAX / 2)
		return NULL;
	n = (n + 15) & ~(size_t)15;
	if (n > a->max - a->used)
		return NULL;
	if (b == NULL || n > b->cap - b->n) {
		cap = n > 4096 ? n : 4096;
		b = FAULT("arena.alloc") ? NULL : calloc(1, sizeof(*b) + cap);
		if (b == NULL)
			return NULL;
		b->cap = cap;
		b->next = a->head;
		a->head = b;
	}
	p = b->mem + b->n;
	b->n += n;
	a->used += n;
	return p;
}

struct span arena_dup(struct arena *a, struct span s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (p == NULL)
		return span_of(NULL, 0);
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return span_of(p, s.n);
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}
