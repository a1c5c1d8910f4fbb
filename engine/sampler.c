/* sampler.c - one draw from a row of logits. Temperature first, then top_k, min_p and top_p on the
 * tempered distribution, then one uniform number. Pure: the same arguments give the same token.
 * Random numbers: Philox 4x32-10 (Salmon et al., 2011), counter = position, key = seed, so that a
 * draw depends on no draw before it. Ties are ordered by id, the lowest first.
 * A row with NaN, +infinity or nothing allowed (all -infinity) gives -1. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampler.h"

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

/* log of the untempered probability. scratch: n floats. */
static float logprob_of(const struct kernels *k, const float *logits, uint32_t n, int32_t best,
			int32_t id, float *scratch)
{
	memcpy(scratch, logits, n * sizeof(*scratch));
	return logits[id] - logits[best] - logf(k->exp_sum(scratch, n, logits[best]));
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

/* Puts the kept ones of n candidates at the END of h, the best last; returns how many. mass: what
 * top_p is a share of when no top_k comes before it. */
static size_t keep_best(struct cand *h, size_t n, const struct sampler *s, double mass)
{
	size_t most = s->top_k && s->top_k < n ? s->top_k : n, kept = 0;
	double got = 0;

	for (size_t i = n / 2; i-- > 0;)
		sift(h, n, i);
	if (s->top_k) { /* top_p is then a share of what top_k left */
		for (mass = 0; kept < most; kept++)
			mass += heap_take(h, n - kept).p;
		if (s->top_p >= 1)
			return kept;
		for (kept = 0; kept < most && (got < s->top_p * mass || kept == 0); kept++)
			got += h[n - 1 - kept].p;
		return kept;
	}
	while (kept < most && (got < s->top_p * mass || kept == 0))
		got += heap_take(h, n - kept++).p;
	return kept;
}

#define BUCKETS 1024 /* by exponent and three bits more of p, which is at most 1 */

static uint32_t bucket_of(float p)
{
	uint32_t u;

	memcpy(&u, &p, sizeof(u));
	return u >> 20;
}

/* Draws from what top_k and top_p keep of p. Only tokens that can be among the kept are sorted:
 * buckets from the most probable down, until they hold enough tokens or mass. */
static int32_t draw_best(const struct sampler *s, const float *p, uint32_t n, double u,
			 struct cand *c)
{
	double mass[BUCKETS] = {0}, all = 0, sum = 0, at = 0;
	uint32_t count[BUCKETS] = {0}, cut = BUCKETS;
	size_t m = 0, kept;

	for (uint32_t i = 0; i < n; i++)
		if (p[i] > 0) {
			mass[bucket_of(p[i])] += p[i];
			count[bucket_of(p[i])]++;
			all += p[i];
		}
	while (cut > 0 && (s->top_k ? m < s->top_k : sum < s->top_p * all * (1 + 1e-9))) {
		m += count[--cut];
		sum += mass[cut];
	}
	m = 0;
	for (uint32_t i = 0; i < n; i++)
		if (p[i] > 0 && bucket_of(p[i]) >= cut)
			c[m++] = (struct cand){p[i], (int32_t)i};
	kept = keep_best(c, m, s, all);
	sum = 0;
	for (size_t i = 0; i < kept; i++)
		sum += c[m - 1 - i].p;
	for (size_t i = 0; i < kept; i++) {
		at += c[m - 1 - i].p;
		if (u * sum < at)
			return c[m - 1 - i].id;
	}
	return c[m - kept].id; /* u * sum rounded up to the whole */
}

static int32_t draw_any(const float *p, uint32_t n, double u)
{
	double sum = 0, at = 0;
	int32_t last = -1;

	for (uint32_t i = 0; i < n; i++)
		sum += p[i];
	for (uint32_t i = 0; i < n; i++) {
		if (!(p[i] > 0))
			continue;
		at += p[i];
		last = (int32_t)i;
		if (u * sum < at)
			return last;
	}
	return last;
}

int32_t sampler_draw_with(const struct kernels *k, const struct sampler *s, const float *logits,
			  uint32_t n, uint64_t position, float *logprob)
{
	int32_t best = best_of(logits, n), id = best;
	float inv = 1.0f / s->temperature;
	bool greedy = !(s->temperature > 0) || inv == INFINITY;
	struct cand *c = NULL;
	float *p;

	if (best < 0)
		return -1;
	if (!(p = malloc(n * sizeof(*p))) || (!greedy && !(c = malloc(n * sizeof(*c))))) {
		free(p);
		return -1;
	}
	if (!greedy) {
		for (uint32_t i = 0; i < n; i++)
			p[i] = (logits[i] - logits[best]) * inv;
		k->exp_sum(p, n, 0);
		for (uint32_t i = 0; i < n && s->min_p > 0; i++)
			if (p[i] < s->min_p)
				p[i] = 0;
		if (s->top_k || s->top_p < 1)
			id = draw_best(s, p, n, philox(s->seed, position), c);
		else
			id = draw_any(p, n, philox(s->seed, position));
	}
	if (logprob)
		*logprob = logprob_of(k, logits, n, best, id, p);
	free(c);
	free(p);
	return id;
}

int32_t sampler_draw(const struct sampler *s, const float *logits, uint32_t n, uint64_t position,
		     float *logprob)
{
	return sampler_draw_with(kern_pick(NULL), s, logits, n, position, logprob);
}
