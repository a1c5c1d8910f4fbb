/* model_bench.c - tokens per second of a model on this machine, and what that is of its peak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model_bench.h"

#define QUIET 0.1 /* CPUs that others may use before figures are worth little */

/* "1,2,4" with each number from lo to hi. */
static int number_list(const char *what, const char *s, uint32_t lo, uint32_t hi,
		       struct bench_list *out)
{
	char *end;

	out->n = 0;
	for (;; s = end + 1) {
		unsigned long v = strtoul(s, &end, 10);

		if (end == s || (*end != ',' && *end) || v < lo || v > hi || out->n == BENCH_LIST)
			return cli_fail(X_USAGE, "-%s is up to %d numbers from %u to %u, as 1,2,4",
					what, BENCH_LIST, lo, hi);
		out->v[out->n++] = (uint32_t)v;
		if (*end == '\0')
			return X_OK;
	}
}

static void put_row(struct buf *b, const struct bench_row *r)
{
	buf_fmt(b, "{\"batch\":%u,\"depth\":%u,\"highest\":%.6g,\"lowest\":%.6g,\"of\":\"%s\",",
		r->batch, r->depth, r->highest, r->lowest,
		strcmp(r->test, "decode") == 0 ? "bandwidth" : "peak");
	buf_fmt(b,
		"\"percent\":%.4g,\"test\":\"%s\",\"threads\":%u,\"tokens\":%u,"
		"\"tokens_per_second\":%.6g}",
		r->percent, r->test, r->threads, r->tokens, r->per_second);
}

static void print_json(const struct bench_args *a, const struct bench_result *r)
{
	struct buf b = BUF_INIT(64u << 20);

	buf_fmt(&b, "{\"decode_bytes\":%llu,\"file_bytes\":%llu,\"kernel\":\"%s\",",
		(unsigned long long)r->cost.decode_bytes, (unsigned long long)r->info.file_bytes,
		r->kernel);
	buf_fmt(&b, "\"kv_bytes_per_token\":%llu,\"load\":[",
		(unsigned long long)r->info.kv_bytes_per_token);
	for (unsigned i = 0; i < a->threads.n; i++)
		buf_fmt(&b,
			"%s{\"allowed_bytes\":%llu,\"resident_bytes\":%llu,\"seconds\":%.4g,"
			"\"threads\":%u}",
			i ? "," : "", (unsigned long long)r->load[i].rule,
			(unsigned long long)r->load[i].resident, r->load[i].seconds,
			r->load[i].threads);
	buf_puts(&b, "],\"machine\":[");
	for (unsigned i = 0; i < a->threads.n; i++)
		buf_fmt(&b,
			"%s{\"product_flops_per_second\":%.6g,\"read_bytes_per_second\":%.6g,"
			"\"threads\":%u}",
			i ? "," : "", r->rates[i].mul_flops, r->rates[i].read_bytes,
			a->threads.v[i]);
	buf_puts(&b, "],\"name\":");
	model_put_text(&b, r->info.name, strlen(r->info.name));
	if (r->others >= 0)
		buf_fmt(&b, ",\"others_cpus\":%.3f,\"quiet\":%s", r->others,
			r->others <= QUIET ? "true" : "false");
	buf_puts(&b, ",\"rows\":[");
	for (unsigned i = 0; i < r->n; i++) {
		if (i)
			buf_putc(&b, ',');
		put_row(&b, &r->row[i]);
	}
	buf_fmt(&b, "],\"schema_version\":1,\"types\":\"%s\"}", r->info.quant);
	model_print(&b);
}

static void print_table(const struct bench_args *a, const struct bench_result *r)
{
	printf("%s, %s, %.1f MB; kernel %s\n", r->info.name, r->info.quant,
	       (double)r->info.file_bytes / 1e6, r->kernel);
	for (unsigned i = 0; i < a->threads.n; i++)
		printf("%u thread%s: memory %.1f GB/s, products %.0f GFLOP/s; ready in %.2f s with "
		       "%.1f MB (%.1f MB allowed)\n",
		       a->threads.v[i], a->threads.v[i] == 1 ? "" : "s",
		       r->rates[i].read_bytes / 1e9, r->rates[i].mul_flops / 1e9,
		       r->load[i].seconds, (double)r->load[i].resident / 1e6,
		       (double)r->load[i].rule / 1e6);
	printf("%-8s %6s %6s %6s %8s %12s %22s %9s\n", "test", "tokens", "batch", "depth",
	       "threads", "tokens/s", "lowest..highest", "of limit");
	for (unsigned i = 0; i < r->n; i++) {
		const struct bench_row *w = &r->row[i];

		printf("%-8s %6u %6u %6u %8u %12.2f %10.2f..%10.2f %7.1f %%\n", w->test, w->tokens,
		       w->batch, w->depth, w->threads, w->per_second, w->lowest, w->highest,
		       w->percent);
	}
	if (r->others > QUIET)
		printf("Others kept %.2f CPUs busy: these figures are low.\n", r->others);
}

struct words {
	const char *p, *n, *d, *b, *t, *r, *kernel, *kv, *fork, *deterministic, *fast_f16, *cells;
};

static int parse(const struct words *w, struct bench_args *a)
{
	uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	char def_threads[12];
	struct bench_list one;
	int rc;

	snprintf(def_threads, sizeof(def_threads), "%u", cpus ? cpus : 1);
	if ((rc = number_list("p", w->p ? w->p : "512", 1, 131072, &a->prompts)) != X_OK ||
	    (rc = number_list("d", w->d ? w->d : "0", 0, 131072, &a->depths)) != X_OK ||
	    (rc = number_list("b", w->b ? w->b : "1", 1, BENCH_SEQS, &a->batches)) != X_OK ||
	    (rc = number_list("t", w->t ? w->t : def_threads, 1, 256, &a->threads)) != X_OK ||
	    (rc = number_list("n", w->n ? w->n : "64", 0, 4096, &one)) != X_OK)
		return rc;
	a->n_new = one.v[0];
	if ((rc = number_list("r", w->r ? w->r : "3", 1, 63, &one)) != X_OK)
		return rc;
	a->repeat = one.v[0];
	a->kernel = w->kernel;
	a->fork = w->fork != NULL;
	a->deterministic = w->deterministic != NULL;
	a->fast_f16 = w->fast_f16 != NULL;
	return run_kv_type(w->kv, &a->kv);
}

static int verb_bench(int argc, char **argv)
{
	struct words w = {0};
	const char *pos[1];
	const struct opt opts[] = {{"p", false, &w.p, NULL, 0},
				   {"n", false, &w.n, NULL, 0},
				   {"d", false, &w.d, NULL, 0},
				   {"b", false, &w.b, NULL, 0},
				   {"t", false, &w.t, NULL, 0},
				   {"r", false, &w.r, NULL, 0},
				   {"kernel", false, &w.kernel, NULL, 0},
				   {"kv", false, &w.kv, NULL, 0},
				   {"fork", true, &w.fork, NULL, 0},
				   {"deterministic", true, &w.deterministic, NULL, 0},
				   {"fast-f16", true, &w.fast_f16, NULL, 0},
				   {"cells", true, &w.cells, NULL, 0},
				   {0}};
	static struct bench_result result;
	struct bench_args a = {0};
	struct model_files files;
	struct err err = {0};
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model bench FILE");
	if ((rc = parse(&w, &a)) != X_OK || (rc = model_files_open(pos[0], &files)) != X_OK)
		return rc;
	rc = w.cells ? bench_cells(&files, &a, &err) : bench_all(&files, &a, &result, &err);
	model_files_close(&files);
	if (rc < 0)
		return model_fail(rc, pos[0], err.text);
	if (w.cells)
		return X_OK;
	if (cli.out == OUT_JSON)
		print_json(&a, &result);
	else
		print_table(&a, &result);
	return X_OK;
}

const struct model_verb model_verb_bench = {
    "bench", verb_bench,
    "  bench FILE [-p 512,2048] [-n 64] [-d 0,512,2048] [-b 1,2,4,8,16] [-t 1,2] [-r 3]\n"
    "        [--kernel NAME] [--kv TYPE] [--deterministic] [--fast-f16] [--fork]\n"
    "                                      tokens a second: prompts of -p tokens, -n tokens "
    "decoded\n"
    "                                      behind -d others by -b sequences; median of -r runs.\n"
    "                                      --fork: sequences share their depth (sooner ready);\n"
    "                                      --cells: cells from standard input (bench/peer.py)\n"};
