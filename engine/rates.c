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

#define READ_BYTES (96u << 20) /* for each thread: more than caches hold */
#define MUL_K 1024
#define MUL_COLS 64
#define MUL_ROWS 32
#define MAX_THREADS 256

typedef uint64_t lane __attribute__((vector_size(64)));

struct worker {
	const struct kernels *k;
	uint64_t for_ns;
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

/* Two sums of 64 bytes; any compiler makes wide loads of it. */
static uint64_t read_all(const uint8_t *mem)
{
	const lane *p = (const lane *)mem, *end = p + READ_BYTES / sizeof(lane);
	lane s[2] = {{0}};

	for (; p < end; p += 2) {
		s[0] += p[0];
		s[1] += p[1];
	}
	s[0] += s[1];
	return s[0][0] ^ s[0][7];
}

static void *read_worker(void *arg)
{
	struct worker *w = arg;
	uint64_t from, took, sum = 0, n = 0;

	if (!started(w))
		return NULL;
	from = clock_mono_ns();
	do {
		sum += read_all(w->mem);
		n += READ_BYTES;
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

static int measure(const struct kernels *k, uint32_t threads, double seconds, void *(*fn)(void *),
		   double *out, struct err *err)
{
	struct worker w[MAX_THREADS] = {{0}};
	atomic_int go = 0;
	uint64_t ns = (uint64_t)(seconds * 1e9);
	uint32_t n = 0;
	int rc = 0;
	uint8_t *mem = mmap(NULL, (size_t)threads * READ_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return err_sys(err, "memory to measure with");
	madvise(mem, (size_t)threads * READ_BYTES, MADV_HUGEPAGE);
	if (fn == read_worker)
		memset(mem, 1, (size_t)threads * READ_BYTES);
	for (; n + 1 < threads && rc == 0; n++) {
		w[n] = (struct worker){
		    .k = k, .for_ns = ns, .mem = mem + (size_t)n * READ_BYTES, .go = &go};
		if (pthread_create(&w[n].thread, NULL, fn, &w[n]) != 0) {
			rc = err_set(err, E_NOMEM, "no thread to measure with");
			n--;
		}
	}
	atomic_store(&go, rc == 0 ? 1 : -1);
	w[threads - 1] = (struct worker){
	    .k = k, .for_ns = ns, .mem = mem + (size_t)(threads - 1) * READ_BYTES, .go = &go};
	fn(&w[threads - 1]);
	*out = w[threads - 1].rate;
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		*out += w[i].rate;
	}
	munmap(mem, (size_t)threads * READ_BYTES);
	return rc;
}

int tool_rates(const char *kernel, uint32_t threads, double seconds, struct tool_rates *out,
	       struct err *err)
{
	const struct kernels *k = kern_pick(kernel);
	int rc;

	if (!k)
		return err_set(err, E_UNSUPPORTED,
			       "kernel path %.20s is unknown or not for this CPU",
			       kernel ? kernel : "");
	if (threads < 1 || threads > MAX_THREADS)
		return err_set(err, E_RANGE, "%u threads", threads);
	out->kernel = k->name;
	rc = measure(k, threads, seconds / 2, read_worker, &out->read_bytes, err);
	return rc < 0 ? rc : measure(k, threads, seconds / 2, mul_worker, &out->mul_flops, err);
}
