/* model_run.h - an engine with one model, for the verbs of `sallyport model` that compute. One
 * thread (the engine has its own). */
#ifndef SP_CLI_MODEL_RUN_H
#define SP_CLI_MODEL_RUN_H

#include "engine.h"
#include "model.h"

struct run {
	struct engine *e;
	struct model *m;
	const struct model_info *info;
	const char *kernel;   /* path in use; static */
	double load_seconds;
	uint64_t rss_before;  /* of the process, before loading */
};
/* kv_bytes 0: as much as is asked for. Close with run_close() also after an error. */
int run_open(struct run *r, const struct model_files *f, const struct engine_cfg *cfg,
	     struct err *err);
void run_close(struct run *r);
typedef void (*run_event)(void *arg, const struct event *ev);
/* Steps until so many jobs have ended; each event to fn (NULL ok). The first failure of a job, or
 * E_BUG when the engine stops before. */
int run_wait(struct run *r, unsigned jobs, run_event fn, void *arg, struct err *err);

/* "f16" and so on; NULL is KV_AUTO. X_OK or X_USAGE. */
int run_kv_type(const char *s, enum kv_type *out);
double run_kv_bytes(const struct model_info *in, enum kv_type type); /* of one token */

/* ---- what a model's work is made of, from the list of its tensors ---- */
struct run_cost {
	uint64_t decode_bytes; /* of the file, read for one token at depth 0 */
	uint64_t layer_params; /* multiplied for each token */
	uint64_t head_params;  /* multiplied for each row of logits */
};
int run_cost(const struct model_files *f, struct run_cost *out, struct err *err);
/* Operations of a prompt of n tokens behind `depth` others, with one row of logits. */
double run_prompt_flops(const struct run_cost *c, const struct model_info *in, double n,
			double depth);

/* ---- others on this machine ---- */
struct run_load {
	double at, busy, own; /* seconds: clock, all CPUs' work, this process's */
};
void run_load_start(struct run_load *l);
/* CPUs that others kept busy since; negative where /proc does not say. */
double run_load_others(const struct run_load *l);

double run_now(void); /* seconds */
uint64_t run_rss(void);

#endif
