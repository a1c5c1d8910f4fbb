/* sched.c - see sched.h. */
#include "sched.h"

#include <stdlib.h>

#include "engine_priv.h"
#include "fault.h"

#define WAIT_MOST 64 /* prompts put aside for one batch, so that it is built in bounded time */

void lane_open(struct lane *l)
{
	*l = (struct lane){0};
	link_init(&l->spent);
	link_init(&l->gens);
}

void lane_close(struct lane *l)
{
	heap_free(&l->open);
}

/* ---- groups ---- */

static struct group **bucket(struct engine *e, const struct lane *l, uint64_t id)
{
	uint64_t x = (id ^ (uintptr_t)l >> 4) * 0x9e3779b97f4a7c15u;

	return &e->groups[x >> 32 & (GROUP_BUCKETS - 1)];
}

static struct group *group_get(struct engine *e, struct lane *l, uint64_t id)
{
	struct group **at = bucket(e, l, id), *g;

	for (g = *at; g; g = g->hash_next)
		if (g->id == id && g->lane == l)
			return g;
	if (!heap_room(&l->open, l->groups + 1))
		return NULL;
	if (FAULT("seq.group") || !(g = calloc(1, sizeof(*g))))
		return NULL;
	g->id = id;
	g->lane = l;
	g->round = l->round;
	g->left = FAIR_ROWS;
	link_init(&g->spent);
	link_init(&g->gens_turn);
	link_init(&g->gens);
	link_init(&g->fresh_turn);
	link_init(&g->fresh);
	link_init(&g->dear_turn);
	link_init(&g->dear);
	g->hash_next = *at;
	*at = g;
	l->groups++;
	e->n_groups++;
	return g;
}

static void group_drop(struct engine *e, struct group *g)
{
	struct group **at = bucket(e, g->lane, g->id);

	if (g->seqs)
		return;
	while (*at != g)
		at = &(*at)->hash_next;
	*at = g->hash_next;
	g->lane->groups--;
	e->n_groups--;
	e->visits += g->prompts.visits;
	heap_free(&g->prompts);
	free(g);
}

bool sched_join(struct seq *s)
{
	struct engine *e = s->e;
	struct group *g = group_get(e, &s->m->lanes[s->cfg.priority], s->cfg.fair_group);

	link_init(&s->gen);
	if (!g)
		return false;
	if (!heap_room(&g->prompts, g->seqs + 1) ||
	    !heap_room(&e->deadlines, (uint32_t)e->stats.seqs + 1)) {
		group_drop(e, g);
		return false;
	}
	g->seqs++;
	s->group = g;
	return true;
}

void sched_leave(struct seq *s)
{
	s->group->seqs--;
	group_drop(s->e, s->group);
}

bool sched_move(struct seq *s, uint64_t group)
{
	struct group *old = s->group;
	uint64_t was = s->cfg.fair_group;

	s->cfg.fair_group = group;
	if (!sched_join(s)) {
		s->cfg.fair_group = was;
		return false;
	}
	old->seqs--;
	group_drop(s->e, old);
	return true;
}

/* ---- queues ---- */

/* Puts a group where it belongs: among those who may have rows, those who had theirs, or nowhere.
 */
static void place(struct group *g)
{
	struct lane *l = g->lane;
	const struct hnode *best = heap_top(&g->prompts);

	if (g->round != l->round) {
		uint64_t missed = l->round - g->round;

		g->left = missed > 2 ? FAIR_ROWS : g->left + (int64_t)missed * FAIR_ROWS;
		g->left = g->left > FAIR_ROWS ? FAIR_ROWS : g->left;
		g->round = l->round;
	}
	if (best && g->left > 0) {
		link_del(&g->spent);
		g->turn.key = best->key;
		g->turn.tie = best->tie;
		heap_put(&l->open, &g->turn);
		return;
	}
	heap_del(&l->open, &g->turn);
	if (!best)
		link_del(&g->spent);
	else if (link_alone(&g->spent))
		link_last(&l->spent, &g->spent);
}

static uint32_t rows_left(const struct seq *s)
{
	return s->jobs->n_ids - s->jobs->done - s->take;
}

static void prompt_put(struct seq *s)
{
	/* rows left - waiting / AGING; what all share (the lane's work now) is left out */
	s->prompt.key = (uint64_t)rows_left(s) * AGING + s->jobs->since;
	s->prompt.tie = s->jobs->id;
	heap_put(&s->group->prompts, &s->prompt);
}

static void queue_out(struct seq *s)
{
	struct group *g = s->group;

	if (s->queued == QUEUED_NOT)
		return;
	if (s->queued == QUEUED_PROMPT) {
		heap_del(&g->prompts, &s->prompt);
		place(g);
	} else {
		link_del(&s->gen);
		if (link_alone(&g->gens))
			link_del(&g->gens_turn);
		if (link_alone(&g->fresh))
			link_del(&g->fresh_turn);
		if (link_alone(&g->dear))
			link_del(&g->dear_turn);
	}
	if (s->queued == QUEUED_FRESH || s->queued == QUEUED_DEAR) {
		s->e->n_masks--;
	} else {
		g->lane->ready--;
		s->e->n_ready--;
	}
	s->queued = QUEUED_NOT;
}

/* A generation with nothing to go on from is let through: it fails when its turn comes. */
static bool stranded(const struct seq *s)
{
	return !s->jobs->feed && !s->hidden_ok;
}

/* The queue that s belongs to. */
static enum queued belongs(const struct seq *s)
{
	const struct job *j = s->jobs;

	if (!j || s->flight)
		return QUEUED_NOT;
	if (j->kind == JOB_APPEND)
		return QUEUED_PROMPT;
	if (stranded(s))
		return QUEUED_GEN;
	if (!s->credit)
		return QUEUED_NOT;
	return masks_ready(j) ? QUEUED_GEN : j->dear ? QUEUED_DEAR : QUEUED_FRESH;
}

/* Last in a ring of a group, and the group last in the ring of those that have any. */
static void group_last(struct link *groups, struct link *turn, struct link *seqs, struct link *gen)
{
	link_last(seqs, gen);
	if (link_alone(turn))
		link_last(groups, turn);
}

void sched_update(struct seq *s)
{
	struct group *g = s->group;
	enum queued want = belongs(s);

	if (want == s->queued && want != QUEUED_PROMPT)
		return; /* keeps its place */
	queue_out(s);
	if (want == QUEUED_NOT)
		return;
	if (want == QUEUED_PROMPT) {
		s->take = 0;
		if (!s->jobs->since)
			s->jobs->since = g->lane->work + 1;
		prompt_put(s);
		place(g);
	} else if (want == QUEUED_GEN) {
		group_last(&g->lane->gens, &g->gens_turn, &g->gens, &s->gen);
	} else if (want == QUEUED_DEAR) {
		group_last(&s->e->dear, &g->dear_turn, &g->dear, &s->gen);
	} else {
		group_last(&s->e->fresh, &g->fresh_turn, &g->fresh, &s->gen);
	}
	s->queued = want;
	if (want == QUEUED_FRESH || want == QUEUED_DEAR) {
		s->e->n_masks++;
		return;
	}
	g->lane->ready++;
	s->e->n_ready++;
}

struct seq *sched_mask(struct engine *e, bool dear)
{
	struct link *from = dear ? &e->dear : &e->fresh, *turn = from->next;
	struct group *g;
	struct seq *s;

	if (link_alone(from))
		return NULL;
	g = dear ? WHOLE(turn, struct group, dear_turn) : WHOLE(turn, struct group, fresh_turn);
	s = WHOLE(dear ? g->dear.next : g->fresh.next, struct seq, gen);
	link_last(from, turn);
	queue_out(s);
	return s;
}

/* ---- dealing ---- */

static void spend(struct group *g, uint32_t rows)
{
	g->left -= rows;
	if (g->left < -FAIR_ROWS)
		g->left = -FAIR_ROWS;
	place(g);
}

void sched_count(struct seq *s)
{
	spend(s->group, 1);
}

uint32_t sched_gens(struct lane *l, uint32_t most, struct seq **out)
{
	uint32_t n = 0;

	while (n < most && !link_alone(&l->gens)) {
		struct group *g = WHOLE(l->gens.next, struct group, gens_turn);
		struct seq *s = WHOLE(g->gens.next, struct seq, gen);

		queue_out(s);
		s->e->visits++;
		if (!link_alone(&g->gens_turn))
			link_last(&l->gens, &g->gens_turn);
		out[n++] = s;
	}
	return n;
}

/* The group with the least work among those whose turn it is; begins a round when there is none. */
static struct group *next_group(struct engine *e, struct lane *l)
{
	while (l->open.n == 0 && !link_alone(&l->spent)) {
		l->round++;
		for (struct link *at = l->spent.next, *next; at != &l->spent; at = next) {
			next = at->next;
			e->visits++;
			place(WHOLE(at, struct group, spent));
		}
	}
	return l->open.n ? WHOLE(heap_top(&l->open), struct group, turn) : NULL;
}

uint32_t sched_prompts(struct engine *e, struct lane *l, uint32_t rows, struct seq **out)
{
	struct seq *aside = NULL;
	uint32_t n = 0, waiting = 0;
	struct group *g;

	while (rows && (g = next_group(e, l))) {
		struct seq *s = WHOLE(heap_top(&g->prompts), struct seq, prompt);
		uint32_t take;

		if (!s->take) {
			seq_prefix_take(s);
			if (waiting < WAIT_MOST && seq_prefix_waits(s, out, n)) {
				waiting++;
				heap_del(&g->prompts, &s->prompt);
				place(g);
				s->aside = aside;
				aside = s;
				continue;
			}
			out[n++] = s;
		}
		take = rows_left(s) < rows ? rows_left(s) : rows;
		if (take > g->left)
			take = (uint32_t)g->left;
		s->take += take;
		rows -= take;
		l->work += take;
		if (rows_left(s))
			prompt_put(s);
		else
			heap_del(&g->prompts, &s->prompt);
		spend(g, take);
	}
	for (uint32_t i = 0; i < n; i++)
		queue_out(out[i]);
	for (; aside; aside = aside->aside) {
		prompt_put(aside);
		place(aside->group);
	}
	return n;
}

uint64_t sched_visits(const struct engine *e)
{
	uint64_t n = e->visits + e->deadlines.visits;

	for (const struct model *m = e->models; m; m = m->next)
		for (int i = 0; i < LANES; i++)
			n += m->lanes[i].open.visits;
	for (int i = 0; i < GROUP_BUCKETS; i++)
		for (const struct group *g = e->groups[i]; g; g = g->hash_next)
			n += g->prompts.visits;
	return n;
}
