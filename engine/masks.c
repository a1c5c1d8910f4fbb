/* masks.c - when it is worked out which tokens may be drawn next (mask_hook). That needs what was
 * drawn alone, so it is done before the batch in which the next one is drawn, a slice at a time: a
 * mask that takes long keeps its own answer waiting and nobody else. Before a batch each new mask
 * has a slice, as far as MASK_FRESH goes, and those that need more have MASK_DEAR, in both groups
 * in turn: however many dear ones a group has, what others draw waits for both of these at most.
 * Work is counted, not timed. Where no sequence could run in a batch, it goes on without these
 * bounds. */
#include <string.h>

#include "engine_priv.h"

void masks_share(struct engine *e)
{
	e->mask_left = MASK_FRESH;
	e->dear_left = MASK_DEAR;
}

bool masks_ready(const struct job *j)
{
	return !j->hook || j->allowed;
}

/* One slice; it is taken off *left (never below 0), as one comparison at least. */
static void slice(struct job *j, uint64_t *left)
{
	uint32_t words = j->seq->m->info.n_vocab / 64 + 1;
	struct engine *e = j->seq->e;
	uint64_t work = MASK_SLICE, used;

	memset(j->allow, 0xff, words * sizeof(*j->allow));
	j->allowed = j->hook(j->hook_arg, j->tokens, j->n_tokens, &work, j->allow);
	j->dear = !j->allowed;
	used = work < MASK_SLICE ? MASK_SLICE - work : 1;
	*left -= used < *left ? used : *left;
	e->stats.mask_work += used;
	e->stats.mask_waits += j->dear;
}

bool masks_try(struct job *j, uint64_t *left)
{
	if (!masks_ready(j) && *left && !j->dear)
		slice(j, left);
	return masks_ready(j);
}

bool masks_step(struct engine *e)
{
	bool idle = e->n_ready == 0 && e->batch.stage == BATCH_NONE;
	struct seq *s = e->mask_left || idle ? sched_mask(e, false) : NULL;
	uint64_t *left = s ? &e->mask_left : &e->dear_left;

	if (!s && (e->dear_left || idle))
		s = sched_mask(e, true);
	if (!s)
		return false;
	slice(s->jobs, left);
	sched_update(s);
	return true;
}
