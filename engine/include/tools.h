/* tools.h - one call each for tests and the command line: the files of a model in, logits or tokens
 * out. Each opens
 * an engine of its own and closes it again. Any thread; nothing is kept. */
#ifndef SP_ENGINE_TOOLS_H
#define SP_ENGINE_TOOLS_H

#include "engine.h"

struct tool_opts {
	const char *kernel; /* NULL = best */
	uint32_t threads;   /* 0 = one per CPU */
	bool step;	    /* logits: one append per token, computed as drawn tokens are */
	bool fast_f16;	    /* of engine_cfg */
	uint32_t chunk;	    /* rows per batch, 0 = by time; the result does not depend on it */
	uint64_t kv_bytes;  /* 0 = what the call needs */
	enum kv_type kv;
};

/* Logits after the last of n ids: gives *out (free() it), *n_vocab floats. */
int tool_logits(const int *fds, unsigned nfds, const int32_t *ids, size_t n,
		const struct tool_opts *o, float **out, uint32_t *n_vocab, struct err *err);

struct tool_timing {
	uint64_t load_ns, prompt_ns, generate_ns;
};
/* Continues n ids by at most max_new, ending at the model's end set. Gives *out, *n_out ids
 * (without the end token) and *text, *n_text bytes, not terminated (control tokens print nothing);
 * free() out and text (NULL: not wanted). timing: NULL ok. */
int tool_generate(const int *fds, unsigned nfds, const int32_t *ids, size_t n, uint32_t max_new,
		  const struct sampler *smp, const struct tool_opts *o, int32_t **out,
		  size_t *n_out, char **text, size_t *n_text, struct tool_timing *timing,
		  struct err *err);

/* What this machine does at most with so many threads: bytes a second read from memory, and
 * operations a second (a multiplication or an addition is one) of the products of a prompt in a
 * kernel path, out of the level 2 cache. Takes about `seconds`. E_UNSUPPORTED: no such path. */
struct tool_rates {
	const char *kernel; /* the path's name; static */
	double read_bytes, mul_flops;
};
int tool_rates(const char *kernel, uint32_t threads, double seconds, struct tool_rates *out,
	       struct err *err);

#endif
