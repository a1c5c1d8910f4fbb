/* bench_kernels.c - what one thread of this CPU can do at most, and how much of it the kernels of
 * a table reach. Processor time of the thread, so that a shared machine disturbs little.
 *   bench_kernels [-k TABLE] [-s SECONDS a figure] [-f p|d] [-t KIND] [-m MiB] [-o json]
 * Rows: test, kind, k, columns, rate, unit, percent of the peak (class P: multiply-adds of the
 * table's form; class D: of the read bandwidth, and the VNNI or fp32 rate beside it). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "count.h"
#include "kernels.h"
#include "peaks.h"

#define K_BLOCK 2048 /* k expanded at once */

static double seconds = 0.1;
static size_t weights = 96 << 20; /* bytes of weights read in turn: more than a cache holds */
static bool json, any;

static const struct {
	const char *name;
	enum pack_kind kind;
} kinds[] = {{"Q4_0", PACK_Q4_0}, {"Q8_0", PACK_Q8_0}, {"Q4_K", PACK_Q4_K}, {"Q5_K", PACK_Q5_K},
	     {"Q6_K", PACK_Q6_K}, {"F16", PACK_F16},   {"BF16", PACK_BF16}};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *big(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(p, n, MADV_HUGEPAGE);
	return p;
}

static void row(const char *test, const char *kind, uint32_t k, unsigned cols, double rate,
		const char *unit, double percent)
{
	if (json)
		printf("%s\n  {\"test\": \"%s\", \"kind\": \"%s\", \"k\": %u, \"columns\": %u, "
		       "\"rate\": %.2f, \"unit\": \"%s\", \"percent\": %.1f}",
		       any ? "," : "", test, kind, k, cols, rate, unit, percent);
	else
		printf("%-8s %-5s k %5u  columns %4u  %9.2f %-6s %6.1f %%\n", test, kind, k, cols,
		       rate, unit, percent);
	any = true;
	fflush(stdout);
}

/* Weights whose scales are tame: what is measured must not depend on subnormals. */
static void fill(uint8_t *p, enum pack_kind kind, size_t n)
{
	size_t group = pack_group_bytes(kind), at;
	uint32_t s = 1;

	for (at = 0; at + 4 <= n; at += 4) {
		s = s * 1664525u + 1013904223u;
		memcpy(p + at, &s, 4);
		if (kind == PACK_F16 || kind == PACK_BF16)
			for (int i = 1; i < 4; i += 2)
				p[at + i] = (uint8_t)((p[at + i] & 0x83) | 0x38);
	}
	for (at = 0; at + group <= n && kind != PACK_F16 && kind != PACK_BF16; at += group)
		for (unsigned r = 0; r < 16; r++) {
			p[at + 2 * r] = 0;
			p[at + 2 * r + 1] = 0x20;
			if (kind == PACK_Q4_K || kind == PACK_Q5_K) {
				p[at + 32 + 2 * r] = 0;
				p[at + 33 + 2 * r] = 0x20;
			}
		}
}

static float *numbers(size_t n)
{
	float *x = big(n * sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = (float)((i * 2654435761u >> 8) % 2001) / 1000 - 1;
	return x;
}

/* ---- class P: rows of two panels, expanded a block of k at a time; BF16 is multiplied where it
 * lies if that is the table's form, as in matmul.c ---- */

static void product_p(const struct kernels *t, enum pack_kind kind, const uint8_t *w,
		      unsigned pairs, uint32_t k, const uint8_t *x, unsigned cols, float *y,
		      uint8_t *room)
{
	size_t panel = pack_panel_bytes(kind, k), ldx = p_stride(k, t->p_bytes);
	bool lies = kind == PACK_BF16 && t->p_form == P_BF16;
	size_t stride = lies ? panel : (size_t)K_BLOCK * PACK_ROWS * t->p_bytes;

	for (unsigned i = 0; i < pairs; i++, w += 2 * panel)
		for (uint32_t at = 0; at < k; at += K_BLOCK) {
			uint32_t n = k - at < K_BLOCK ? k - at : K_BLOCK;
			size_t off = pack_panel_bytes(kind, at);

			if (!lies) {
				t->p_expand[kind](w + off, n, room);
				t->p_expand[kind](w + panel + off, n, room + stride);
			}
			t->p_mul(lies ? w + off : room, stride, 2, n, x + at * t->p_bytes, ldx,
				 cols, y + (size_t)i * 32, (size_t)pairs * 32, at == 0);
		}
}

static void bench_p(const struct kernels *t, size_t kind, uint32_t k, const struct peaks *peak)
{
	static const unsigned cols[] = {16, 32, 64, 96, 128, 512};
	enum { PAIRS = 16, MOST = 512 };
	size_t ldx = p_stride(k, t->p_bytes),
	       bytes = 2 * PAIRS * pack_panel_bytes(kinds[kind].kind, k);
	double top = t->p_form == P_F32 || t->p_form == P_I16 ? peak->fp32
		     : strcmp(t->name, "amx")		      ? peak->bf16
							      : peak->amx;
	size_t sets = weights / bytes + 1; /* one after another: weights come from memory */
	uint8_t *w = big(sets * bytes), *x = big(MOST * ldx * t->p_bytes);
	uint8_t *room = big((size_t)2 * K_BLOCK * PACK_ROWS * t->p_bytes);
	float *y = big((size_t)MOST * PAIRS * 32 * sizeof(*y)), *f = numbers(k);

	fill(w, kinds[kind].kind, sets * bytes);
	for (unsigned c = 0; c < MOST; c++)
		t->p_form_x(f, x + c * ldx * t->p_bytes, k);
	for (size_t i = 0; i < sizeof(cols) / sizeof(cols[0]); i++) {
		double best = 0;

		for (int round = 0; round < 3; round++) {
			double from = now(), spent;
			unsigned n = 0;

			do {
				product_p(t, kinds[kind].kind, w + n % sets * bytes, PAIRS, k, x,
					  cols[i], y, room);
				n++;
				spent = now() - from;
			} while (spent < seconds / 3);
			spent = 2.0 * cols[i] * PAIRS * 32 * k * n / spent / 1e9;
			best = spent > best ? spent : best;
		}
		row("P", kinds[kind].name, k, cols[i], best, "GFLOPS", 100 * best / top);
	}
	munmap(w, sets * bytes);
	munmap(x, MOST * ldx * t->p_bytes);
	munmap(room, (size_t)2 * K_BLOCK * PACK_ROWS * t->p_bytes);
	munmap(y, (size_t)MOST * PAIRS * 32 * sizeof(*y));
	munmap(f, k * sizeof(*f));
}

/* ---- class D: panel after panel from memory ---- */

static void bench_d(const struct kernels *t, size_t kind, uint32_t k, const struct peaks *peak)
{
	static const unsigned cols[] = {1, 2, 4, 8, 16};
	enum pack_kind pk = kinds[kind].kind;
	bool floats = pk == PACK_F16 || pk == PACK_BF16;
	size_t panel = pack_panel_bytes(pk, k), panels = weights / panel + 1;
	uint8_t *w = big(panels * panel);
	float *x = numbers((size_t)D_COLS * k), y[D_COLS * PACK_ROWS];
	struct dblock *b = big(D_COLS * k / 32 * sizeof(*b));

	fill(w, pk, panels * panel);
	t->d_form_x(x, b, (size_t)D_COLS * k);
	for (size_t i = 0; i < sizeof(cols) / sizeof(cols[0]); i++) {
		double best = 0, read = 0, ops;

		for (int round = 0; round < 6; round++) {
			double from, spent, r;
			size_t n = 0;

			/* beside each other: others use the memory too */
			r = peaks_read(w, panels * panel / 256 * 256, seconds / 6);
			read = r > read ? r : read;
			from = now();
			do {
				for (size_t j = 0; j < 64; j++, n++)
					t->d_mul[pk](w + n % panels * panel, k,
						     floats ? (void *)x : b, floats ? k : k / 32,
						     cols[i], y, PACK_ROWS);
				spent = now() - from;
			} while (spent < seconds / 6);
			best = (double)n / spent > best ? (double)n / spent : best;
		}
		ops = 2.0 * cols[i] * PACK_ROWS * k * best / 1e9;
		best = best * (double)panel / 1e9;
		row("D", kinds[kind].name, k, cols[i], best, "GB/s",
		    read > 0 ? 100 * best / read : 0);
		row("D", kinds[kind].name, k, cols[i], ops, "GOPS",
		    100 * ops / (floats ? peak->fp32 : peak->vnni));
	}
	munmap(w, panels * panel);
	munmap(x, (size_t)D_COLS * k * sizeof(*x));
	munmap(b, D_COLS * k / 32 * sizeof(*b));
}

int main(int argc, char **argv)
{
	static const uint32_t widths[] = {2048, 8192};
	const char *name = NULL, *form = "pd", *type = NULL;
	const struct kernels *t;
	struct peaks peak;
	int c;

	while ((c = getopt(argc, argv, "k:s:f:t:o:m:")) != -1)
		switch (c) {
		case 'k':
			name = optarg;
			break;
		case 's':
			seconds = seconds_arg(optarg);
			break;
		case 'f':
			form = optarg;
			break;
		case 't':
			type = optarg;
			break;
		case 'm':
			weights = (size_t)count_arg(optarg, 0, 4096) << 20;
			break;
		case 'o':
			json = strcmp(optarg, "json") == 0;
			break;
		default:
			return 2;
		}
	t = kern_pick(name);
	if (!t || t->p_form == P_NONE) {
		fprintf(stderr, "bench_kernels: no such table on this machine\n");
		return 1;
	}
	peaks_measure(&peak, seconds);
	if (json)
		printf("{\"table\": \"%s\", \"read\": %.2f, \"fp32\": %.1f, \"bf16\": %.1f, "
		       "\"vnni\": %.1f, \"amx\": %.1f, \"rows\": [",
		       t->name, peak.read, peak.fp32, peak.bf16, peak.vnni, peak.amx);
	else
		printf(
		    "table %s; one thread reads %.2f GB/s, does %.1f GFLOPS fp32, %.1f bf16, %.1f "
		    "amx, %.1f GOPS vnni\n",
		    t->name, peak.read, peak.fp32, peak.bf16, peak.amx, peak.vnni);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (int j = 0; j < 2 && (!type || !strcmp(type, kinds[i].name)); j++) {
			if (strchr(form, 'p'))
				bench_p(t, i, widths[j], &peak);
			if (strchr(form, 'd'))
				bench_d(t, i, widths[j], &peak);
		}
	if (json)
		printf("\n]}\n");
	return 0;
}
