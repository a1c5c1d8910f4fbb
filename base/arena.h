/* arena.h - one arena per request: nobody frees pieces, arena_free() frees all. Not shared
 * between threads. */
#ifndef SP_BASE_ARENA_H
#define SP_BASE_ARENA_H

#include <stddef.h>

#include "span.h"

struct arena;

/* max: hard limit in bytes over all allocations. NULL when there is no memory. */
struct arena *arena_new(size_t max);
void arena_free(struct arena *a); /* NULL ok */
/* Zeroed, aligned to 16; NULL beyond the maximum or without memory. */
void *arena_alloc(struct arena *a, size_t n);
/* Copy with a NUL behind it; {NULL,0} on failure. */
struct span arena_dup(struct arena *a, struct span s);
size_t arena_used(const struct arena *a);

#endif
