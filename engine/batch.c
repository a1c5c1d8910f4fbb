/* batch.c - continuous batching: who gets rows in the next batch, and the batch in flight.
 * Order: by priority (guards first), then by what the sequence's fair group has been given, then by
 * age. Generations take one row each, so that a long prompt never stalls a running answer; prompts
 * share the rest in pieces of QUANTUM, and a batch is sized to take about CHUNK_NS. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine_priv.h"

int batch_open(struct engine *e, struct err *err)
{
	e->batch.parts = calloc(MAX_BATCH_ROWS, sizeof(*e->batch.parts));
	e->batch.heads = calloc(MAX_BATCH_ROWS, sizeof(*e->batch.heads));
	if (!e->batch.parts || !e->batch.heads)
		return err_set(err, E_NOMEM, "batch");
	return 0;
}

void batch_close(struct engine *e)
{
	free(e->batch.parts);
	free(e->batch.heads);
}

static bool can_run(const struct seq *s)
{
	return s->jobs->kind == JOB_APPEND || s->credit > 0;
}

bool batch_runnable(const struct engine *e)
{
	if (e->batch.stage != BATCH_NONE)
		return true;
	for (const struct seq *s = e->busy; s; s = s->busy_next)
		if (can_run(s))
			return true;
	return false;
}

/* Generations that are over before they are asked: late, or with nothing to go on from. */
static void weed(struct engine *e)
{
	uint64_t now = 0;

	for (struct seq *s = e->busy, *next; s; s = next) {
		struct job *j = s->jobs;

		next = s->busy_next;
		if (j->kind != JOB_GENERATE)
			continue;
		if (j->deadline_ns && !now)
			now = clock_mono_ns();
		if (j->deadline_ns && now >= j->deadline_ns)
			job_end(j, GEN_DEADLINE);
		else if (!j->feed && !s->hidden_ok)
			job_fail(j, E_CONFLICT, "nothing to sample on from: append first");
	}
}

/* The model that goes next: highest priority waiting, then the one longest not served. */
static struct model *pick_model(const struct engine *e)
{
	const struct seq *best = NULL;

	for (const struct seq *s = e->busy; s; s = s->busy_next)
		if (can_run(s) && (!best || s->cfg.priority < best->cfg.priority ||
				   (s->cfg.priority == best->cfg.priority &&
				    s->m->last_batch < best->m->last_batch)))
			best = s;
	return best ? best->m : NULL;
}

static int by_turn(const void *pa, const void *pb)
{
	const struct seq *a = *(struct seq *const *)pa, *b = *(struct seq *const *)pb;

	if (a->cfg.priority != b->cfg.priority)
		return a->cfg.priority < b->cfg.priority ? -1 : 1;
	if (a->group->served != b->group->served)
		return a->group->served < b->group->served ? -1 : 1;
	if (a->last_batch != b->last_batch)
		return a->last_batch < b->last_batch ? -1 : 1;
	return a->jobs->id < b->jobs->id ? -1 : a->jobs->id > b->jobs->id;
}

static size_t candidates(struct engine *e, const struct model *m)
{
	size_t n = 0;

	for (struct seq *s = e->busy; s; s = s->busy_next)
		if (s->m == m && can_run(s)) {
			s->take = 0;
			e->cand[n++] = s;
		}
	qsort(e->cand, n, sizeof(*e->cand), by_turn);
	return n;
}

/* Rows for prompts beside n generations. */
static uint32_t prompt_rows(const struct engine *e, const struct model *m, uint32_t n)
{
	uint64_t rows = e->chunk ? e->chunk : 2 * MIN_CHUNK;

	if (!e->chunk && m->ns_per_row) {
		rows = CHUNK_NS / m->ns_per_row;
		rows = rows > n + MIN_CHUNK ? rows - n : MIN_CHUNK;
	}
	return rows < m->fwd.max_rows - n ? (uint32_t)rows : m->fwd.max_rows - n;
}

/* Deals `rows` out to prompts, a quantum at a time, always to whose turn it is. */
static void deal_prompts(struct engine *e, size_t n, uint32_t rows)
{
	while (rows) {
		struct seq *best = NULL;
		uint32_t left, take;

		for (size_t i = 0; i < n; i++) {
			struct seq *s = e->cand[i];
			struct job *j = s->jobs;

			if (j->kind != JOB_APPEND || s->take == j->n_ids - j->done)
				continue;
			if (!best || s->cfg.priority < best->cfg.priority ||
			    (s->cfg.priority == best->cfg.priority &&
			     s->group->served < best->group->served))
				best = s;
		}
		if (!best)
			return;
		left = best->jobs->n_ids - best->jobs->done - best->take;
		take = left < QUANTUM ? left : QUANTUM;
		take = take < rows ? take : rows;
		best->take += take;
		best->group->served += take;
		rows -= take;
	}
}

/* Puts n rows of the sequence's first job into the batch. */
static void part_add(struct engine *e, struct seq *s, uint32_t n)
{
	struct batch *b = &e->batch;
	struct job *j = s->jobs;
	struct fwd *f = &b->m->fwd;

	s->last_batch = e->batches;
	if (!seq_pages(s, s->len + n)) {
		job_fail(j, E_NOMEM, "no memory for a KV page");
		return;
	}
	b->parts[b->n_parts++] = (struct part){j, b->n_rows, n};
	for (uint32_t i = 0; i < n; i++)
		f->rows[b->n_rows++] = (struct fwd_row){
		    s, s->kv, s->pages, s->len + i,
		    j->kind == JOB_APPEND ? j->ids[j->done + i] : j->tokens[j->n_tokens - 1]};
}

bool batch_build(struct engine *e)
{
	struct batch *b = &e->batch;
	uint32_t gens = 0;
	size_t n;

	weed(e);
	if (!(b->m = pick_model(e)))
		return false;
	b->m->last_batch = ++e->batches;
	b->n_parts = b->n_rows = b->n_heads = b->head = 0;
	b->spent_ns = 0;
	n = candidates(e, b->m);
	for (size_t i = 0; i < n && gens < b->m->fwd.max_rows / 2; i++)
		if (e->cand[i]->jobs->kind == JOB_GENERATE) {
			e->cand[i]->take = 1;
			e->cand[i]->group->served++;
			gens++;
		}
	deal_prompts(e, n, prompt_rows(e, b->m, gens));
	for (size_t i = 0; i < n; i++) {
		struct seq *s = e->cand[i];

		if (s->take)
			part_add(e, s,
				 s->jobs->kind == JOB_GENERATE && !s->jobs->feed ? 0 : s->take);
	}
	if (b->n_parts == 0)
		return false;
	b->stage = BATCH_LAYERS;
	fwd_begin(&b->m->fwd, b->n_rows);
	return true;
}

static void batch_end(struct engine *e)
{
	struct batch *b = &e->batch;
	uint64_t ns = b->n_rows ? b->spent_ns / b->n_rows : 0;

	b->stage = BATCH_NONE;
	e->stats.steps++;
	if (b->n_rows >= MIN_CHUNK)
		b->m->ns_per_row = b->m->ns_per_row ? (3 * b->m->ns_per_row + ns) / 4 + 1 : ns + 1;
}

void batch_advance(struct engine *e)
{
	struct batch *b = &e->batch;
	uint64_t from = clock_mono_ns();

	if (b->stage == BATCH_LAYERS) {
		if (!fwd_done(&b->m->fwd))
			fwd_step(&b->m->fwd);
		if (fwd_done(&b->m->fwd))
			head_begin(e);
	} else {
		head_group(e);
	}
	b->spent_ns += clock_mono_ns() - from;
	if (b->stage == BATCH_HEADS && b->head == b->n_heads)
		batch_end(e);
}

static void rows_remove(struct fwd *f, uint32_t first, uint32_t n)
{
	bool keep[MAX_BATCH_ROWS];

	for (uint32_t i = 0; i < f->n_rows; i++)
		keep[i] = i < first || i >= first + n;
	fwd_keep(f, keep);
}

void batch_drop_job(struct engine *e, struct job *j)
{
	struct batch *b = &e->batch;

	if (b->stage == BATCH_HEADS)
		for (uint32_t i = b->head; i < b->n_heads; i++)
			if (b->heads[i].job == j)
				b->heads[i].job = NULL;
	if (b->stage != BATCH_LAYERS)
		return;
	for (uint32_t i = 0; i < b->n_parts; i++) {
		struct part p = b->parts[i];

		if (p.job != j)
			continue;
		if (p.n)
			rows_remove(&b->m->fwd, p.first, p.n);
		memmove(b->parts + i, b->parts + i + 1, (--b->n_parts - i) * sizeof(*b->parts));
		for (uint32_t k = i; k < b->n_parts; k++)
			b->parts[k].first -= p.n;
		break;
	}
	if (b->n_parts == 0)
		b->stage = BATCH_NONE;
}
