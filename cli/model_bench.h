/* model_bench.h - the cells of `sallyport model bench`. One thread. */
#ifndef SP_CLI_MODEL_BENCH_H
#define SP_CLI_MODEL_BENCH_H

#include "model_run.h"
#include "tools.h"

#define BENCH_LIST 16	 /* numbers of one option */
#define BENCH_ROWS 1024
#define BENCH_SEQS 256

struct bench_list {
	uint32_t v[BENCH_LIST];
	unsigned n;
};
struct bench_args {
	struct bench_list prompts, depths, batches, threads;
	uint32_t n_new, repeat; /* n_new 0: no decoding */
	enum kv_type kv;
	const char *kernel;
	bool deterministic, fast_f16, fork;
};
struct bench_row {
	const char *test; /* "prefill", "decode" */
	uint32_t batch, depth, threads, tokens; /* tokens: of one sequence */
	double per_second, lowest, highest;	/* median of the repetitions, tokens of all sequences */
	double percent;				/* of the machine's peak (prefill) or reading (decode) */
};
struct bench_load {
	uint32_t threads;
	double seconds;
	uint64_t resident, rule; /* rule: file + max(10 %, 128 MiB), no KV in use yet */
};
struct bench_result {
	struct bench_row row[BENCH_ROWS];
	unsigned n;
	struct bench_load load[BENCH_LIST]; /* one for each number of threads, as the rates */
	struct tool_rates rates[BENCH_LIST];
	struct model_info info;
	const char *kernel;
	struct run_cost cost;
	double others; /* CPUs others kept busy; negative: unknown */
};
/* All cells; says on stderr how far it is. */
int bench_all(const struct model_files *f, const struct bench_args *a, struct bench_result *out,
	      struct err *err);
/* Cells one by one, from standard input; threads.v[0] only. */
int bench_cells(const struct model_files *f, const struct bench_args *a, struct err *err);

#endif
