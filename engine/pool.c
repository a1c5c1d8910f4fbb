/* pool.c - see pool.h.
 * `state` says everything about the current loop: bits 0-15 threads inside it, bit 16 open, bit 17
 * the owner sleeps until the last one is out, the rest its number. A thread joins by
 * compare-and-swap while the loop is open; the owner closes it when no item is left and then waits
 * for those inside: briefly spinning, then asleep, so that a worker whose core another process has
 * taken can have the owner's. fn, arg, n and next are written only while the state is closed with
 * nobody inside. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "fault.h"

#define INSIDE 0xffffu
#define OPEN 0x10000u
#define WAITS 0x20000u
#define NUMBER(s) ((s) >> 18)
#define SPINS 4000	/* some tens of microseconds: the gap between two loops of a layer */
#define LAST_SPINS 1000 /* the owner's, for those who still have an item in hand */
#define MAX_THREADS 256

struct worker {
	struct pool *pool;
	pthread_t thread;
	unsigned index;
};

struct pool {
	_Alignas(64) _Atomic uint64_t state;
	_Alignas(64) atomic_uint next; /* item */
	_Alignas(64) atomic_uint parked;
	atomic_bool stop;
	pool_fn fn;
	void *arg;
	unsigned n, threads, started;
	pthread_mutex_t lock;
	pthread_cond_t wake, out; /* out: the last worker has left */
	struct worker *workers;
};

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void work(struct pool *p, unsigned worker)
{
	unsigned i;

	while ((i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n)
		p->fn(p->arg, i, worker);
}

/* True when a loop other than `last` is open. */
static bool is_new(uint64_t s, uint64_t last)
{
	return (s & OPEN) && NUMBER(s) != last;
}

static void park(struct pool *p, uint64_t last)
{
	pthread_mutex_lock(&p->lock);
	atomic_fetch_add(&p->parked, 1);
	while (!is_new(atomic_load(&p->state), last) && !atomic_load(&p->stop))
		pthread_cond_wait(&p->wake, &p->lock);
	atomic_fetch_sub(&p->parked, 1);
	pthread_mutex_unlock(&p->lock);
}

static void leave(struct pool *p)
{
	uint64_t s = atomic_fetch_sub(&p->state, 1);

	if ((s & INSIDE) == 1 && (s & WAITS)) {
		pthread_mutex_lock(&p->lock);
		pthread_cond_signal(&p->out);
		pthread_mutex_unlock(&p->lock);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
	uint64_t last = 0;
	unsigned spins = 0;

	while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
		uint64_t s = atomic_load(&p->state);

		if (!is_new(s, last)) {
			if (++spins < SPINS) {
				relax();
			} else {
				park(p, last);
				spins = 0;
			}
			continue;
		}
		if (!atomic_compare_exchange_weak(&p->state, &s, s + 1))
			continue;
		last = NUMBER(s);
		work(p, w->index);
		leave(p);
		spins = 0;
	}
	return NULL;
}

/* Until nobody is inside the closed loop. */
static void wait_out(struct pool *p)
{
	for (unsigned spins = 0; spins < LAST_SPINS; spins++) {
		if (!(atomic_load(&p->state) & INSIDE))
			return;
		relax();
	}
	atomic_fetch_or(&p->state, WAITS);
	pthread_mutex_lock(&p->lock);
	while (atomic_load(&p->state) & INSIDE)
		pthread_cond_wait(&p->out, &p->lock);
	pthread_mutex_unlock(&p->lock);
	atomic_fetch_and(&p->state, ~(uint64_t)WAITS);
}

void pool_run(struct pool *p, pool_fn fn, void *arg, unsigned n)
{
	uint64_t s = atomic_load(&p->state);

	if (n == 0)
		return;
	p->fn = fn;
	p->arg = arg;
	p->n = n;
	atomic_store_explicit(&p->next, 0, memory_order_relaxed);
	if (n > 1 && p->threads > 1) {
		atomic_store(&p->state, (NUMBER(s) + 1) << 18 | OPEN);
		if (atomic_load(&p->parked)) {
			pthread_mutex_lock(&p->lock);
			pthread_cond_broadcast(&p->wake);
			pthread_mutex_unlock(&p->lock);
		}
	}
	work(p, 0);
	atomic_fetch_and(&p->state, ~(uint64_t)OPEN);
	wait_out(p);
}

static unsigned cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return (unsigned)CPU_COUNT(&set);
}

int pool_open(unsigned threads, struct pool **out, struct err *err)
{
	struct pool *p = NULL;
	sigset_t all, old;
	int rc = 0;

	if (threads == 0)
		threads = cpus();
	if (threads > MAX_THREADS)
		return err_set(err, E_RANGE, "%u threads, at most %d", threads, MAX_THREADS);
	if (FAULT("pool.alloc") || !(p = aligned_alloc(64, (sizeof(*p) + 63) & ~(size_t)63)))
		return err_set(err, E_NOMEM, "thread pool");
	*p = (struct pool){.threads = threads};
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->out, NULL);
	if (!(p->workers = calloc(threads, sizeof(*p->workers)))) {
		pool_close(p);
		return err_set(err, E_NOMEM, "thread pool");
	}
	sigfillset(&all); /* signals are for the owner */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 1; i < threads && rc == 0; i++) {
		p->workers[i] = (struct worker){.pool = p, .index = i};
		if (FAULT("pool.thread") ||
		    pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]))
			rc = err_set(err, E_NOMEM, "compute thread %u did not start", i);
		else
			p->started = i;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc < 0)
		pool_close(p);
	else
		*out = p;
	return rc;
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->stop, true);
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 1; i <= p->started; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_cond_destroy(&p->out);
	pthread_mutex_destroy(&p->lock);
	free(p->workers);
	free(p);
}

unsigned pool_threads(const struct pool *p)
{
	return p->threads;
}
