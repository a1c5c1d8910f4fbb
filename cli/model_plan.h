/* model_plan.h - what this machine does with a model it need not hold: `sallyport model plan`.
 * Two small models are made in memory and run: one of the model's own matrices (a few layers,
 * narrower when those are very large), one that is nearly all attention. What is found is scaled to
 * the shape by bytes (decoding), operations (prompts) and keys read (attention). One thread. */
#ifndef SP_CLI_MODEL_PLAN_H
#define SP_CLI_MODEL_PLAN_H

#include "model_run.h"
#include "tools.h"

struct plan_args {
	const char *kernel; /* NULL = best */
	uint32_t threads;
	double seconds;	    /* about how long to measure; models in memory are sized by it */
};
struct plan_speed { /* seconds */
	struct tool_rates rates;
	double prompt_flop;  /* per operation of a prompt's products */
	double decode_byte;  /* per byte of weights, one sequence */
	double prompt_key;   /* per prompt token, key, head and layer */
	double decode_key;   /* per generated token, key, head and layer */
	double took;
};
/* quant: the type most of the model is in, as model_info has it. */
int plan_measure(const struct plan_args *a, const struct model_info *in, struct plan_speed *out,
		 struct err *err);
/* Seconds that a prompt of n tokens takes; tokens a second of one sequence at a depth. */
double plan_prompt(const struct plan_speed *s, const struct run_cost *c,
		   const struct model_info *in, double n);
double plan_decode(const struct plan_speed *s, const struct run_cost *c,
		   const struct model_info *in, double depth);

#endif
