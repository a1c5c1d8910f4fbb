/* sampler.c - one draw from a row of logits. Temperature first, then top_k, min_p and top_p on the
 * tempered distribution, then one uniform number. Pure: the same arguments give the same token.
 * Random numbers: Philox 4x32-10 (Salmon et al., 2011), counter = position, key = seed, so that a
 * draw depends on no draw before it. Ties are ordered by id, the lowest first.
 * A row with NaN, +infinity or nothing allowed (all -infinity) gives -1. */
#include <math.h>
#include <stdlib.h>

#include "engine.h"

struct cand {
	float p; /* exp((logit - max) / temperature), not normalised */
	int32_t id;
};

void sampler_init(struct sampler *s, uint64_t seed)
{
	*s = (struct sampler){.temperature = 0.6f, .top_p = 0.9f, .seed = seed};
}

void sampler_copy(struct sampler *to, const struct sampler *from)
{
	*to = *from;
}

static double philox(uint64_t seed, uint64_t position)
{
	uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32), 0, 0};
	uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
		uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0;
		uint32_t n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;

		c[1] = (uint32_t)b;
		c[3] = (uint32_t)a;
		c[0] = n0;
		c[2] = n2;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	return (double)(((uint64_t)c[0] << 32 | c[1]) >> 11) * 0x1p-53; /* [0, 1) */
}

/* The highest logit's id, or -1 for a row that cannot be sampled. */
static int32_t best_of(const float *logits, uint32_t n)
{
	int32_t best = -1;

	for (uint32_t i = 0; i < n; i++) {
		if (isnan(logits[i]) || logits[i] == INFINITY)
			return -1;
		if (logits[i] != -INFINITY && (best < 0 || logits[i] > logits[best]))
			best = (int32_t)i;
	}
	return best;
}

static float logprob_of(const float *logits, uint32_t n, int32_t best, int32_t id)
{
	float max = logits[best];
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += expf(logits[i] - max);
	return (float)((double)(logits[id] - max) - log(sum));
}

/* More probable first; at equal probability the lower id. */
static bool before(struct cand a, struct cand b)
{
	return a.p > b.p || (a.p == b.p && a.id < b.id);
}

static void sift(struct cand *h, size_t n, size_t i)
{
	for (;;) {
		size_t c = 2 * i + 1;
		struct cand t = h[i];

		if (c >= n)
			return;
		if (c + 1 < n && before(h[c + 1], h[c]))
			c++;
		if (!before(h[c], t))
			return;
		h[i] = h[c];
		h[c] = t;
		i = c;
	}
}

/* Takes the best of a heap of n: moves it to h[n - 1]. */
static struct cand heap_take(struct cand *h, size_t n)
{
	struct cand top = h[0];

	h[0] = h[n - 1];
	h[n - 1] = top;
	sift(h, n - 1, 0);
	return top;
}

/* Puts the kept candidates at the END of h, the best last; returns how many. sum: mass of all n. */
static size_t keep_best(struct cand *h, size_t n, const struct sampler *s, double sum)
{
	size_t most = s->top_k && s->top_k < n ? s->top_k : n, kept = 0;
	double mass = 0, whole = sum;

	for (size_t i = n / 2; i-- > 0;)
		sift(h, n, i);
	if (most < n && s->top_p < 1) { /* top_p is a share of what top_k left */
		whole = 0;
		while (kept < most)
			whole += heap_take(h, n - kept++).p;
		for (kept = 0; kept < most && mass < s->top_p * whole; kept++)
			mass += h[n - 1 - kept].p;
		return kept ? kept : 1;
	}
	while (kept < most && (s->top_p >= 1 || mass < s->top_p * whole || kept == 0))
		mass += heap_take(h, n - kept++).p;
	return kept;
}

static int32_t draw(struct cand *c, size_t n, bool reverse, double u)
{
	double sum = 0, at = 0;

	for (size_t i = 0; i < n; i++)
		sum += c[reverse ? n - 1 - i : i].p;
	for (size_t i = 0; i < n; i++) {
		at += c[reverse ? n - 1 - i : i].p;
		if (u * sum < at)
			return c[reverse ? n - 1 - i : i].id;
	}
	return c[reverse ? 0 : n - 1].id; /* u * sum rounded up to the whole */
}

int32_t sampler_draw(const struct sampler *s, const float *logits, uint32_t n, uint64_t position,
		     float *logprob)
{
	int32_t best = best_of(logits, n), id = best;
	struct cand *c = NULL;

	if (best < 0)
		return -1;
	if (s->temperature > 0) {
		size_t m = 0, kept;
		double sum = 0, u = philox(s->seed, position);
		float inv = 1.0f / s->temperature;

		if (!(c = malloc(n * sizeof(*c))))
			return -1;
		for (uint32_t i = 0; i < n; i++) {
			float p = expf((logits[i] - logits[best]) * inv);

			if (!(p > 0) || p < s->min_p)
				continue;
			c[m++] = (struct cand){p, (int32_t)i};
			sum += p;
		}
		if (m == 0) { /* 0 * infinity: a temperature near 0 is greedy */
			id = best;
		} else if ((s->top_k && s->top_k < m) || s->top_p < 1) {
			kept = keep_best(c, m, s, sum);
			id = draw(c + m - kept, kept, true, u);
		} else {
			id = draw(c, m, false, u);
		}
	}
	if (logprob)
		*logprob = logprob_of(logits, n, best, id);
	free(c);
	return id;
}
