/* sampler.h - sampler_draw() of engine.h over a given kernel table. Any thread. */
#ifndef SP_ENGINE_SAMPLER_H
#define SP_ENGINE_SAMPLER_H

#include "engine.h"
#include "kernels.h"

int32_t sampler_draw_with(const struct kernels *k, const struct sampler *s, const float *logits,
			  uint32_t n, uint64_t position, float *logprob);

#endif
