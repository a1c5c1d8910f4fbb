/* heap.h - a binary heap of nodes that live inside other things, and rings of links likewise. Room
 * is taken beforehand (heap_room), so that queueing never fails. Owner thread only. */
#ifndef SP_ENGINE_HEAP_H
#define SP_ENGINE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The thing of this type whose member `field` is at p. */
#define WHOLE(p, type, field) ((type *)(void *)((char *)(p)-offsetof(type, field)))

struct hnode {
	uint64_t key, tie; /* the least is on top */
	uint32_t at;	   /* its place + 1; 0 = in no heap */
};

struct heap {
	struct hnode **v;
	uint32_t n, cap;
	uint64_t visits; /* nodes looked at, for tests */
};

bool heap_room(struct heap *h, uint32_t n);	 /* for n nodes in all; false: no memory */
void heap_put(struct heap *h, struct hnode *x); /* adds x, or moves it to where its key belongs */
void heap_del(struct heap *h, struct hnode *x); /* nothing when it is out */
void heap_free(struct heap *h);

static inline struct hnode *heap_top(const struct heap *h)
{
	return h->n ? h->v[0] : NULL;
}

struct link { /* of a ring; alone it points to itself */
	struct link *prev, *next;
};

static inline void link_init(struct link *l)
{
	l->prev = l->next = l;
}

static inline bool link_alone(const struct link *l)
{
	return l->next == l;
}

static inline void link_del(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

/* Puts l (moved from where it was) last in the ring that begins at head. */
static inline void link_last(struct link *head, struct link *l)
{
	link_del(l);
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

#endif
