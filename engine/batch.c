/* batch.c - the batches in flight. While there is work for guards any other one rests where it is,
 * between two fractions of a layer or two groups of output rows, its activations in buffers of its
 * own; so it goes on as if nothing had been. A batch of prompts, or of guards that scan prompts,
 * rests likewise for answers, each time it has been computed for TURN_NS: so prompts go through in
 * large pieces, which cost less a row, and no answer waits for the end of one. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine_priv.h"

static bool open_one(struct batch *b)
{
	b->parts = calloc(MAX_BATCH_ROWS, sizeof(*b->parts));
	b->heads = calloc(2 * MAX_BATCH_ROWS, sizeof(*b->heads));
	b->pick = calloc(MAX_BATCH_ROWS, sizeof(*b->pick));
	return b->parts && b->heads && b->pick;
}

int batch_open(struct engine *e, struct err *err)
{
	e->turn_ns = e->turn = TURN_NS;
	if (!open_one(&e->batch) || !open_one(&e->talk) || !open_one(&e->urgent))
		return err_set(err, E_NOMEM, "batch");
	return 0;
}

static void close_one(struct batch *b)
{
	free(b->parts);
	free(b->heads);
	free(b->pick);
}

void batch_close(struct engine *e)
{
	close_one(&e->batch);
	close_one(&e->talk);
	close_one(&e->urgent);
}

bool batch_runnable(const struct engine *e)
{
	return e->batch.stage != BATCH_NONE || e->talk.stage != BATCH_NONE ||
	       e->urgent.stage != BATCH_NONE || e->n_ready > 0 || e->n_masks > 0;
}

/* Answers are owed rows by the prompts and scans that were computed. */
static bool answers_due(const struct engine *e)
{
	bool between = e->batch.stage == BATCH_NONE && e->urgent.stage == BATCH_NONE;

	return e->turn_ns >= (between && e->chunk ? 1 : e->turn);
}

static bool answers_run(const struct engine *e)
{
	return e->talk.stage != BATCH_NONE || (e->batch.stage != BATCH_NONE && e->batch.gens);
}

static bool scans(const struct engine *e)
{
	return e->urgent.stage != BATCH_NONE || batch_waits(e, PRIO_SCAN);
}

/* A check of an answer waits for the batch of guards in flight alone. A scan lets the answers under
 * way have their pass over the weights first, and then each time they are due. */
struct batch *batch_guards(struct engine *e)
{
	bool flies = e->urgent.stage != BATCH_NONE;

	if (!(flies && !e->urgent.scan) && !batch_waits(e, PRIO_GUARD)) {
		if (!scans(e) || answers_run(e) || answers_due(e))
			return NULL;
	}
	return flies || batch_build(e, &e->urgent) ? &e->urgent : NULL;
}

bool batch_talk_due(const struct engine *e)
{
	if (e->talk.stage != BATCH_NONE)
		return false;
	if (scans(e))
		return !answers_run(e) && answers_due(e);
	return e->batch.stage == BATCH_NONE || (e->batch.prompt_rows && e->turn_ns >= e->turn);
}

struct batch *batch_next(struct engine *e)
{
	bool scan = scans(e);
	struct batch *b;

	if (e->talk.stage != BATCH_NONE)
		return &e->talk;
	if ((e->batch.stage != BATCH_NONE || scan) && batch_talk_due(e)) {
		if (batch_build(e, &e->talk))
			return &e->talk;
		/* nobody talks: so long again, and masks that were not ready have a share */
		e->turn_ns = 0;
		masks_share(e);
	}
	if (scan && (b = batch_guards(e)))
		return b;
	if (e->batch.stage != BATCH_NONE || batch_build(e, &e->batch))
		return &e->batch;
	return NULL;
}

static void batch_end(struct engine *e, struct batch *b)
{
	b->stage = BATCH_NONE;
	e->stats.steps++;
	if (b->gens && b != &e->urgent)
		e->turn_ns = 0;
	batch_measure(b);
	for (uint32_t i = 0; i < b->n_parts; i++) {
		struct seq *s = b->parts[i].seq;

		if (!s)
			continue;
		s->flight = NULL;
		sched_update(s);
	}
}

/* Takes the rows out whose jobs are gone. */
static void thin_out(struct batch *b)
{
	bool keep[MAX_BATCH_ROWS];
	uint32_t n = 0, rows = 0;

	for (uint32_t i = 0; i < b->n_parts; i++) {
		struct part p = b->parts[i];

		memset(keep + p.first, p.job != NULL, p.n);
		if (!p.job)
			continue;
		p.first = rows;
		rows += p.n;
		p.seq->part = n;
		b->parts[n++] = p;
	}
	b->n_parts = n;
	b->thin = false;
	b->thinned = true;
	fwd_keep(b->fwd, keep);
}

void batch_advance(struct engine *e, struct batch *b)
{
	uint64_t from = clock_mono_ns();

	if (b->stage == BATCH_LAYERS) {
		if (b->thin)
			thin_out(b);
		if (!fwd_done(b->fwd))
			fwd_step(b->fwd);
		if (fwd_done(b->fwd))
			head_begin(e, b);
	} else {
		head_group(e, b);
	}
	from = clock_mono_ns() - from;
	b->spent_ns += from;
	if (b->scan || (b == &e->batch && b->prompt_rows))
		e->turn_ns += from;
	if (b->stage == BATCH_HEADS && b->head == b->n_heads)
		batch_end(e, b);
}

void batch_drop_job(struct job *j)
{
	struct seq *s = j->seq;
	struct batch *b = s->flight;
	struct part *p;

	if (!b)
		return;
	if (b->stage == BATCH_HEADS) {
		for (uint32_t i = b->head; i < b->n_heads; i++)
			if (b->heads[i].job == j)
				b->heads[i].job = NULL;
		return;
	}
	p = &b->parts[s->part];
	if (p->job != j)
		return;
	p->job = NULL;
	b->thin = true;
	if (--b->n_live == 0)
		b->stage = BATCH_NONE;
	batch_forget(s);
}

void batch_forget(struct seq *s)
{
	if (s->flight)
		s->flight->parts[s->part].seq = NULL;
	s->flight = NULL;
}

void batch_forget_model(struct engine *e, const struct model *m)
{
	if (e->batch.m == m)
		e->batch.stage = BATCH_NONE;
	if (e->talk.m == m)
		e->talk.stage = BATCH_NONE;
	if (e->urgent.m == m)
		e->urgent.stage = BATCH_NONE;
}
