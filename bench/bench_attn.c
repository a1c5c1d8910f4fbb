/* bench_attn.c - attention alone, on one thread, in CPU time: decoding as GB of KV per second
 * beside what one thread reads from memory, prompts as GFLOPS, and storing K and V.
 * Usage: bench_attn [-k TABLE] [-c f16|f32|bf16|q8_0] [-s SECONDS] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "count.h"
#include "fwd.h"

#define COLD (192u << 20) /* bytes of KV gone through before any is read again */

static double seconds = 0.5;

struct bench {
	const char *shape;
	struct fwd f;
	struct kernels k;
	struct weights w;
	struct model_info in;
	struct kv kv;
	struct kv_class class;
	struct kv_page ***seqs;
	uint32_t n_seqs, pages;
	bool p_attn; /* prompts in bf16 */
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_attn: %s\n", what);
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

/* GB per second of one thread reading: the best of five. */
static double read_rate(void)
{
	size_t n = (size_t)COLD / sizeof(uint64_t);
	uint64_t *p = must(aligned_alloc(4096, COLD));
	volatile uint64_t sink;
	double best = 0;

	memset(p, 1, COLD);
	for (int r = 0; r < 5; r++) {
		uint64_t s[8] = {0};
		double t = cpu_seconds();

		for (size_t i = 0; i < n; i += 8)
			for (int j = 0; j < 8; j++)
				s[j] |= p[i + (size_t)j];
		for (int j = 0; j < 8; j++)
			sink = s[j];
		(void)sink;
		t = COLD * 1e-9 / (cpu_seconds() - t);
		best = t > best ? t : best;
	}
	free(p);
	return best;
}

static void fill(struct kv_page *p, const struct kv_class *c)
{
	const struct attn_kernels *a = attn_tables()[0];
	float x[128];

	for (uint32_t b = 0; b < c->blocks / 2; b++)
		for (uint32_t t = 0; t < KV_TOKENS; t++) {
			for (uint32_t j = 0; j < c->head_dim; j++)
				x[j] = (float)((b * 31 + t * 17 + j * 7) % 61) / 61 - 0.5f;
			a->type[c->type].store_k(kv_k(c, p, b / c->kv_heads, b % c->kv_heads),
						 c->head_dim, t, x);
			a->type[c->type].store_v(kv_v(c, p, b / c->kv_heads, b % c->kv_heads),
						 c->head_dim, t, x);
		}
}

/* n sequences of so many tokens, n_rows rows. Every page is a copy of one. */
static void open_bench(struct bench *b, uint32_t n, uint32_t tokens, uint32_t rows)
{
	struct kv_page *first = NULL;
	size_t q = (size_t)rows * b->in.n_head * b->in.head_dim;
	size_t kv = (size_t)rows * b->in.n_head_kv * b->in.head_dim;

	b->n_seqs = n;
	b->pages = kv_pages_for(tokens);
	b->seqs = must(calloc(n, sizeof(*b->seqs)));
	for (uint32_t i = 0; i < n; i++) {
		b->seqs[i] = must(calloc(b->pages, sizeof(**b->seqs)));
		for (uint32_t p = 0; p < b->pages; p++) {
			if (!kv_promise(&b->class, 1))
				die("no room");
			b->seqs[i][p] = must(kv_take(&b->class));
			if (!first)
				fill(first = b->seqs[i][p], &b->class);
			else
				memcpy(b->seqs[i][p]->data, first->data,
				       b->class.page_bytes - sizeof(*first));
		}
	}
	b->f =
	    (struct fwd){.k = &b->k, .in = &b->in, .w = &b->w, .n_rows = rows, .p_attn = b->p_attn};
	if (pool_open(1, &b->f.pool, NULL) < 0)
		die("pool");
	b->f.rows = must(calloc(rows, sizeof(*b->f.rows)));
	b->f.runs = must(calloc(rows, sizeof(*b->f.runs)));
	b->f.q = must(calloc(q, sizeof(float)));
	b->f.att = must(calloc(q, sizeof(float)));
	b->f.kk = must(calloc(kv, sizeof(float)));
	b->f.v = must(calloc(kv, sizeof(float)));
	b->f.turn = must(calloc((size_t)rows * b->in.head_dim, sizeof(float)));
	b->f.scratch = must(calloc(1, sizeof(float *)));
	b->f.scratch[0] =
	    must(aligned_alloc(64, (fwd_attention_scratch(&b->in) * sizeof(float) + 63) & ~63ull));
	if (!fwd_parts_open(&b->f))
		die("out of memory");
	for (size_t i = 0; i < q; i++)
		b->f.q[i] = (float)((i * 7919) % 1009) / 1009 - 0.5f;
}

static void close_bench(struct bench *b)
{
	for (uint32_t i = 0; i < b->n_seqs; i++) {
		for (uint32_t p = 0; p < b->pages; p++)
			kv_drop(&b->class, b->seqs[i][p]);
		free(b->seqs[i]);
	}
	free(b->seqs);
	pool_close(b->f.pool);
	free(b->f.rows);
	free(b->f.runs);
	free(b->f.q);
	free(b->f.att);
	free(b->f.kk);
	free(b->f.v);
	free(b->f.turn);
	free(b->f.scratch[0]);
	free(b->f.scratch);
	free(b->f.parts);
}

static void decode(struct bench *b, uint32_t n, uint32_t depth, double memory)
{
	uint64_t token =
	    kv_token_bytes(b->class.type, b->in.head_dim) * b->in.n_head_kv * b->in.n_layer;
	uint64_t all = token * kv_pages_for(depth + 1) * KV_TOKENS;
	uint32_t sets = (uint32_t)(COLD / (all * n)) + 1, set = 0;
	double best = INFINITY, end;

	open_bench(b, n * sets, depth + 1, n);
	end = cpu_seconds() + seconds;
	for (uint32_t done = 0; done < sets || cpu_seconds() < end;
	     done++, set = (set + 1) % sets) {
		double t;

		for (uint32_t i = 0; i < n; i++)
			b->f.rows[i] = (struct fwd_row){.seq = b->seqs[set * n + i],
							.kv = &b->class,
							.pages = b->seqs[set * n + i],
							.pos = depth};
		fwd_runs(&b->f);
		t = cpu_seconds();
		for (uint32_t l = 0; l < b->in.n_layer; l++)
			fwd_attention(&b->f, l);
		t = cpu_seconds() - t;
		best = t < best ? t : best;
	}
	printf("%s decode  %2u at %4u: %7.3f ms a step, %5.1f GB/s, %3.0f %% of one thread's "
	       "reading\n",
	       b->shape, n, depth, best * 1e3, token * n * (depth + 1) * 1e-9 / best,
	       token * n * (depth + 1) * 1e-9 / best / memory * 100);
	close_bench(b);
}

static void prompt(struct bench *b, uint32_t rows, uint32_t depth)
{
	double best = INFINITY, best_store = INFINITY, flop = 0, end;

	open_bench(b, 1, depth + rows, rows);
	for (uint32_t i = 0; i < rows; i++) {
		b->f.rows[i] = (struct fwd_row){
		    .seq = b, .kv = &b->class, .pages = b->seqs[0], .pos = depth + i};
		flop += 4.0 * b->in.head_dim * b->in.n_head * (depth + i + 1);
	}
	fwd_runs(&b->f);
	end = cpu_seconds() + seconds;
	for (uint32_t l = 0; cpu_seconds() < end; l = (l + 1) % b->in.n_layer) {
		double t = cpu_seconds();

		fwd_attention(&b->f, l);
		t = cpu_seconds() - t;
		best = t < best ? t : best;
		t = cpu_seconds();
		fwd_store(&b->f, l);
		t = cpu_seconds() - t;
		best_store = t < best_store ? t : best_store;
	}
	printf("%s prompt %3u at %4u: %7.3f ms a layer, %5.1f GFLOPS%s; rope and store %5.3f ms\n",
	       b->shape, rows, depth, best * 1e3, flop * 1e-9 / best, b->p_attn ? " (bf16)" : "",
	       best_store * 1e3);
	close_bench(b);
}

static void all(struct bench *b, enum kv_type type, double memory)
{
	static const uint32_t depths[] = {0, 512, 2048}, seqs[] = {1, 4, 16};

	kv_open(&b->kv, UINT64_MAX / 2);
	if (!kv_class_open(&b->kv, &b->class, b->in.n_layer, b->in.n_head_kv, b->in.head_dim, type))
		die("this type does not fit");
	for (int d = 0; d < 3; d++)
		for (int n = 0; n < 3; n++)
			if (depths[d] * seqs[n] <= 8192)
				decode(b, seqs[n], depths[d], memory);
	for (int p = 0; p < 1 + (b->k.p_form == P_BF16 && b->k.attn->panels); p++) {
		b->p_attn = p;
		prompt(b, 64, 100);
		prompt(b, 512, 0);
		prompt(b, 512, 1536);
	}
	b->p_attn = false;
	kv_class_close(&b->class);
}

int main(int argc, char **argv)
{
	static const char *const types[] = {"", "f16", "f32", "bf16", "q8_0"};
	const struct attn_kernels *const *t = attn_tables();
	struct bench b = {.shape = "1b"};
	enum kv_type type = KV_F16;
	double memory;
	int o;

	while ((o = getopt(argc, argv, "k:c:s:")) != -1) {
		if (o == 'k')
			while (*t && strcmp((*t)->name, optarg) != 0)
				t++;
		else if (o == 'c')
			for (type = KV_F16; type < KV_TYPES && strcmp(types[type], optarg) != 0;)
				type++;
		else if (o == 's')
			seconds = seconds_arg(optarg);
		else
			return 2;
	}
	if (!*t || type == KV_TYPES)
		die("unknown table or type");
	if (kern_pick(NULL)->attn == *t)
		b.k = *kern_pick(NULL);
	b.k.attn = *t;
	memory = read_rate();
	printf("table %s, cache %s, one thread reads %.1f GB/s\n", (*t)->name, types[type], memory);
	b.in = (struct model_info){.n_layer = 16, .n_head = 32, .n_head_kv = 8, .head_dim = 64};
	b.w.rope_dim = 64;
	all(&b, type, memory);
	b.shape = "8b";
	b.in = (struct model_info){.n_layer = 32, .n_head = 32, .n_head_kv = 8, .head_dim = 128};
	b.w.rope_dim = 128;
	all(&b, type, memory);
	return 0;
}
