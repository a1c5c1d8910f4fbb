/* pool.h - compute threads of one engine. One owner thread hands out one loop at a time and works
 * on it itself; the others join when they come by. Idle threads spin for some microseconds, then
 * park (no CPU). The owner never waits for a thread that has not joined yet, and sleeps while one that
 * has is not scheduled, so a core taken by another process costs its share and an item's time. */
#ifndef SP_ENGINE_POOL_H
#define SP_ENGINE_POOL_H

#include "err.h"

struct pool;

/* Item i (0..n-1) of a loop; worker: 0..threads-1, for scratch memory. Items run in any order, on
 * any thread: none may depend on another. */
typedef void (*pool_fn)(void *arg, unsigned item, unsigned worker);

/* threads counts the owner; 0 = one per CPU this process may use. At most 256. */
int pool_open(unsigned threads, struct pool **p, struct err *err);
void pool_close(struct pool *p); /* takes p; NULL ok */
unsigned pool_threads(const struct pool *p);
/* Runs all items; returns when every one is done. Owner thread only. */
void pool_run(struct pool *p, pool_fn fn, void *arg, unsigned n);

#endif
