/* quant.h - writes a model again with smaller weights. Any thread; nothing is kept. */
#ifndef SP_ENGINE_QUANT_H
#define SP_ENGINE_QUANT_H

#include "engine.h"

struct quant_opts {
	/* "Q8_0", "Q4_0", "Q4_K", "Q6_K": all matrices so; "Q4_K_M": Q4_K, but Q6_K for the output
	 * and for attn_v and ffn_down of some layers, as llama.cpp mixes them */
	const char *type;
	bool requantize; /* take matrices that are quantised already: adds their error to ours */
	uint32_t threads; /* 0 = one per CPU */
	engine_progress progress;
	void *progress_arg;
};
struct quant_sum { /* what was done */
	uint64_t bytes_in, bytes_out;
	uint32_t quantised, kept, half; /* matrices; other tensors; matrices that became F16 */
};
/* Reads a model (fds as engine_model_add takes them) and writes one GGUF file to `out`, a descriptor
 * at its start. Matrices whose rows are no whole blocks become F16; vectors and whatever is no
 * weight of two dimensions stay as they are; metadata is kept but for general.file_type,
 * general.quantization_version and split.*. Memory: some MiB, as pages of the files are let go
 * behind the work.
 * E_UNSUPPORTED: an unknown type, or a matrix that is quantised already (no requantize); E_FORMAT:
 * a weight that is no number, or is beyond 65504; E_CANCELLED; E_IO; and what loading says of a bad
 * file. On error the file is to be thrown away. */
int model_quantize(const int *fds, unsigned nfds, int out, const struct quant_opts *o,
		   struct quant_sum *sum, struct err *err);

#endif
