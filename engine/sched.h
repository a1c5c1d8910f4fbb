/* sched.h - who may run next: the sequences whose first job can go on, by model, priority and fair
 * group. Every call costs O(log n) of the sequences it moves, never a walk over those that wait.
 * Owner thread only.
 *
 * Prompts: the least work first (rows left), and waiting counts as work done: AGING rows computed
 * for others in the same lane are worth one row less. So a long prompt is passed by short ones, but
 * not for ever. Between groups: in a round each group may have FAIR_ROWS rows; who has had them
 * waits for the next round, which begins when nobody is left in this one. So two groups that both
 * have prompts waiting are never further apart than FAIR_ROWS (who comes in the middle of a round
 * has all of it: once FAIR_ROWS more).
 * Generations: groups in turn, within a group its generations in turn, a row each. Their rows count
 * for the group's round too. */
#ifndef SP_ENGINE_SCHED_H
#define SP_ENGINE_SCHED_H

#include "heap.h"

#define FAIR_ROWS 512
#define AGING 4
#define LANES 4 /* enum seq_priority */

struct engine;
struct seq;

struct lane { /* of one model and priority */
	struct heap open;  /* groups that may have prompt rows in this round, by their best prompt */
	struct link spent; /* those that have had theirs */
	struct link gens;  /* groups with generations that can go on, in turn */
	uint64_t work;	   /* prompt rows dealt out so far */
	uint64_t round;
	uint32_t groups, ready; /* living; sequences in its queues */
};

struct group { /* the sequences of one fair group in a lane */
	struct group *hash_next;
	struct lane *lane;
	uint64_t id, round;
	int64_t left; /* rows it may still have in its round */
	uint32_t seqs;
	struct heap prompts;
	struct hnode turn;		/* of lane->open */
	struct link spent, gens_turn; /* of lane->spent, lane->gens */
	struct link gens;		/* its sequences */
	struct link fresh_turn, fresh;	/* of engine->fresh; its sequences */
	struct link dear_turn, dear;	/* of engine->dear; likewise */
};

enum queued { QUEUED_NOT, QUEUED_PROMPT, QUEUED_GEN, QUEUED_FRESH, QUEUED_DEAR };

void lane_open(struct lane *l);
void lane_close(struct lane *l);
/* Finds s a group and takes the room its queueing needs. False: no memory, and nothing is kept. */
bool sched_join(struct seq *s);
void sched_leave(struct seq *s); /* s has no jobs and is in no batch */
/* Another group of the same lane; s has no jobs. False: no memory, and it stays where it is. */
bool sched_move(struct seq *s, uint64_t group);
/* After a change of the first job, of credit, or of whether s is in a batch: into its queue or out. */
void sched_update(struct seq *s);
/* Up to `most` sequences whose generations shall have a row now. They leave their queue: the caller
 * puts them into a batch. Returns their number. */
uint32_t sched_gens(struct lane *l, uint32_t most, struct seq **out);
/* Deals up to `rows` out to prompts: s->take of each of out[], which leave their queue likewise.
 * What the prefix cache has is taken from it first; who needs a page next that another one of its
 * group is about to compute has no rows now. Returns their number, at most `rows`. */
uint32_t sched_prompts(struct engine *e, struct lane *l, uint32_t rows, struct seq **out);
/* A sequence whose mask is to be made, a new one or a dear one, groups in turn; it leaves its queue.
 * NULL: there is none. */
struct seq *sched_mask(struct engine *e, bool dear);
void sched_count(struct seq *s); /* a generation of s has a row: it counts for its group */
uint64_t sched_visits(const struct engine *e); /* nodes looked at so far, for tests */

#endif
