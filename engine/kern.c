/* kern.c - which kernel tables this build has and this CPU can run. */
#include "kern_avx512.h"

#include <pthread.h>
#include <string.h>

/* Best first; a base behind those that name it. */
static const struct kernels *const all[] = {
#if defined(__x86_64__)
    &kern_amx,	    &kern_avx512bf16, &kern_avx512, &kern_avx2vnni, &kern_avx2, &kern_avx2f32,
#endif
    &kern_portable,
};
#define N_ALL (sizeof(all) / sizeof(all[0]))

static struct kernels full[N_ALL]; /* the usable ones, complete, best first */
static const char *names[N_ALL + 1];
static size_t n_full;
static pthread_once_t full_once = PTHREAD_ONCE_INIT;

#define TAKE(f)                                                                                    \
	do {                                                                                       \
		if (!to->f)                                                                        \
			to->f = from->f;                                                           \
	} while (0)

static void complete(struct kernels *to, const struct kernels *from)
{
	for (unsigned i = 0; i < GT_COUNT; i++)
		TAKE(expand[i]);
	TAKE(gemm);
	TAKE(half_to_f32);
	TAKE(f32_to_half);
	TAKE(rmsnorm);
	TAKE(swiglu);
	TAKE(add);
	TAKE(exp_sum);
	TAKE(weigh);
	TAKE(attn);
	if (to->p_form == P_NONE) { /* class P is of one form */
		to->p_form = from->p_form;
		to->p_bytes = from->p_bytes;
		to->exact = from->exact;
	}
	if (to->p_form == from->p_form) {
		TAKE(p_form_x);
		TAKE(p_from_f32);
		TAKE(p_mul);
		for (unsigned i = 0; i < PACK_KINDS; i++)
			TAKE(p_expand[i]);
	}
	TAKE(d_form_x);
	for (unsigned i = 0; i < PACK_KINDS; i++)
		TAKE(d_mul[i]);
}

static const struct kernels *full_of(const struct kernels *k)
{
	for (size_t i = 0; i < n_full; i++)
		if (full[i].name == k->name)
			return &full[i];
	return NULL;
}

static void fill(void)
{
	for (size_t i = 0; i < N_ALL; i++) {
		if (!all[i]->usable())
			continue;
		full[n_full] = *all[i];
		for (const struct kernels *b = all[i]->base; b; b = b->base)
			complete(&full[n_full], b);
		n_full++;
	}
	for (size_t i = 0; i + 1 < n_full; i++)
		if (full[i].slow && full[i].slow()) {
			struct kernels k = full[i];

			full[i] = full[i + 1];
			full[++i] = k;
		}
	for (size_t i = 0; i < n_full; i++) {
		full[i].exact = full[i].exact ? full_of(full[i].exact) : &full[i];
		names[i] = full[i].name;
	}
}

const char *const *kern_names(void)
{
	pthread_once(&full_once, fill);
	return names;
}

const struct kernels *kern_pick(const char *name)
{
	pthread_once(&full_once, fill);
	for (size_t i = 0; i < n_full; i++)
		if (!name || strcmp(full[i].name, name) == 0)
			return &full[i];
	return NULL;
}
