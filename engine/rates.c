/* rates.c - what this machine can do at most: reading memory, and the products of class P out of
 * the level 2 cache. Tools only; the engine itself needs neither. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "kernels.h"
#include "num.h"
#include "tools.h"

#define READ_BYTES (128u << 20) /* for each thread: more than caches hold */
#define SLICE (16u << 20)	/* between two looks at the clock */
#define TURNS 3			/* of each way to read */
#define MUL_K 1024
#define MUL_COLS 64
#define MUL_ROWS 32
#define MAX_THREADS 256

typedef uint64_t lane __attribute__((vector_size(64)));

struct worker {
	const struct kernels *k;
	uint64_t for_ns;
	uint64_t (*way)(const uint8_t *);
	uint8_t *mem;	/* READ_BYTES, or what a product needs */
	atomic_int *go; /* 1: begin, -1: leave */
	uint64_t sum;
	double rate;
	pthread_t thread;
};

static bool started(const struct worker *w)
{
	int go;

	while ((go = atomic_load(w->go)) == 0)
		sched_yield();
	return go > 0;
}

/* A slice from n places, SLICE / n apart, read side by side, each asked for `ahead` bytes before
 * its use. Which way gets the most out of the memory differs from machine to machine. */
static inline __attribute__((always_inline)) uint64_t read_all(const uint8_t *mem, const size_t n,
							       const size_t ahead)
{
	const size_t part = SLICE / n;
	lane s[4] = {{0}};

	for (size_t i = 0; i < part; i += sizeof(s))
		for (size_t k = 0; k < n; k++) {
			const uint8_t *at = mem + k * part + i;
			const lane *p = (const lane *)at;

			for (size_t j = 0; ahead && j < sizeof(s); j += sizeof(lane))
				__builtin_prefetch(at + ahead + j, 0, 2);
			for (size_t j = 0; j < 4; j++)
				s[j] ^= p[j];
		}
	s[0] ^= s[1] ^ s[2] ^ s[3];
	return s[0][0] ^ s[0][7];
}

static __attribute__((noinline)) uint64_t read_plain(const uint8_t *mem)
{
	return read_all(mem, 1, 0);
}

static __attribute__((noinline)) uint64_t read_one(const uint8_t *mem)
{
	return read_all(mem, 1, 2048);
}

static __attribute__((noinline)) uint64_t read_four(const uint8_t *mem)
{
	return read_all(mem, 4, 1024);
}

static uint64_t (*const ways[])(const uint8_t *) = {read_plain, read_one, read_four};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* The thread that reads a page is the first to write to it, so that it lies near its core. */
static void *touch_worker(void *arg)
{
	struct worker *w = arg;

	if (started(w))
		memset(w->mem, 1, READ_BYTES);
	return NULL;
}

static void *read_worker(void *arg)
{
	struct worker *w = arg;
	uint64_t from, took, sum = 0, n = 0;

	if (!started(w))
		return NULL;
	from = clock_mono_ns();
	do {
		sum += w->way(w->mem + n % READ_BYTES);
		n += SLICE;
		took = clock_mono_ns() - from;
	} while (took < w->for_ns);
	w->rate = (double)n * 1e9 / (double)took;
	w->sum = sum; /* so that the reading has a purpose */
	return NULL;
}

/* 32 rows of weights times 64 activations, as the prompt path does it. */
static void *mul_worker(void *arg)
{
	struct worker *w = arg;
	const struct kernels *k = w->k;
	size_t panel = (size_t)16 * MUL_K * k->p_bytes;
	size_t ldx = k->p_form != P_NONE ? p_stride(MUL_K, k->p_bytes) : MUL_K;
	float *y = (float *)w->mem, *x = y + MUL_ROWS * MUL_COLS, *rows = x + MUL_K * MUL_COLS;
	uint8_t *panels = (uint8_t *)(rows + MUL_ROWS * MUL_K), *xs = panels + 2 * panel;
	uint64_t from, took, n = 0;

	for (size_t i = 0; i < (size_t)MUL_K * MUL_COLS; i++)
		x[i] = 0.01f;
	for (size_t i = 0; i < (size_t)MUL_K * MUL_ROWS; i++)
		rows[i] = 0.01f;
	if (k->p_form != P_NONE) {
		k->p_from_f32(rows, MUL_K, 16, MUL_K, panels);
		k->p_from_f32(rows + 16 * MUL_K, MUL_K, 16, MUL_K, panels + panel);
		for (size_t c = 0; c < MUL_COLS; c++)
			k->p_form_x(x + c * MUL_K, xs + c * ldx * k->p_bytes, MUL_K);
	}
	if (!started(w))
		return NULL;
	from = clock_mono_ns();
	do {
		if (k->p_form != P_NONE)
			k->p_mul(panels, panel, 2, MUL_K, xs, ldx, MUL_COLS, y, MUL_ROWS, true);
		else
			k->gemm(rows, MUL_K, MUL_ROWS, x, MUL_K, MUL_COLS, MUL_K, y, MUL_ROWS);
		n += 2ull * MUL_ROWS * MUL_COLS * MUL_K;
		took = clock_mono_ns() - from;
	} while (took < w->for_ns);
	w->rate = (double)n * 1e9 / (double)took;
	return NULL;
}

struct turn {
	const struct kernels *k;
	uint32_t threads;
	uint8_t *mem; /* READ_BYTES for each */
	double seconds;
	void *(*fn)(void *);
	uint64_t (*way)(const uint8_t *);
};

/* All threads at once for t->seconds; their rates of that same time are added up. */
static int take_turn(const struct turn *t, double *out, struct err *err)
{
	struct worker w[MAX_THREADS] = {{0}};
	atomic_int go = 0;
	uint32_t n = 0, last = t->threads - 1;
	int rc = 0;

	for (uint32_t i = 0; i <= last; i++)
		w[i] = (struct worker){.k = t->k,
				       .for_ns = (uint64_t)(t->seconds * 1e9),
				       .way = t->way,
				       .mem = t->mem + (size_t)i * READ_BYTES,
				       .go = &go};
	for (; n < last && rc == 0; n += rc == 0)
		if (pthread_create(&w[n].thread, NULL, t->fn, &w[n]) != 0)
			rc = err_set(err, E_NOMEM, "no thread to measure with");
	atomic_store(&go, rc == 0 ? 1 : -1);
	t->fn(&w[last]);
	*out = w[last].rate;
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		*out += w[i].rate;
	}
	return rc;
}

/* The best turn of the best way: what disturbs a turn can only make it slower. */
static int read_rate(struct turn *t, double *best, struct err *err)
{
	double seconds = t->seconds / (TURNS * WAYS), rate;
	int rc;

	t->fn = touch_worker;
	if ((rc = take_turn(t, &rate, err)) < 0)
		return rc;
	t->fn = read_worker;
	t->seconds = seconds;
	*best = 0;
	for (unsigned i = 0; i < TURNS * WAYS; i++) {
		t->way = ways[i % WAYS];
		if ((rc = take_turn(t, &rate, err)) < 0)
			return rc;
		*best = rate > *best ? rate : *best;
	}
	return 0;
}

int tool_rates(const char *kernel, uint32_t threads, double seconds, struct tool_rates *out,
	       struct err *err)
{
	struct turn t = {.k = kern_pick(kernel), .threads = threads, .seconds = seconds / 2};
	size_t all = (size_t)threads * READ_BYTES;
	int rc;

	if (!t.k)
		return err_set(err, E_UNSUPPORTED,
			       "kernel path %.20s is unknown or not for this CPU",
			       kernel ? kernel : "");
	if (threads < 1 || threads > MAX_THREADS)
		return err_set(err, E_RANGE, "%u threads", threads);
	out->kernel = t.k->name;
	t.mem = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t.mem == MAP_FAILED)
		return err_sys(err, "memory to measure with");
	madvise(t.mem, all, MADV_HUGEPAGE);
	rc = read_rate(&t, &out->read_bytes, err);
	t.fn = mul_worker;
	t.seconds = seconds / 2;
	if (rc == 0)
		rc = take_turn(&t, &out->mul_flops, err);
	munmap(t.mem, all);
	return rc;
}
