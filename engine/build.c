/* build.c - what goes into a batch. Guards have batches of their own, before all others; those that
 * scan prompts take turns with answers (batch.c). Any other holds a row for each generation that
 * can go on, or as many prompt rows as take CHUNK_NS, in turn: prompts are computed for TURN_NS,
 * then the generations have a row each. */
#include <stdlib.h>

#include "engine_priv.h"

enum kind { OF_GUARDS, OF_SCANS, OF_GENS, OF_PROMPTS };

/* The lanes of a kind. */
static unsigned first_lane(enum kind kind)
{
	return kind == OF_GUARDS ? PRIO_GUARD : kind == OF_SCANS ? PRIO_SCAN : PRIO_NORMAL;
}

static unsigned last_lane(enum kind kind)
{
	return kind == OF_GUARDS ? PRIO_GUARD : kind == OF_SCANS ? PRIO_SCAN : PRIO_LOW;
}

static bool has(const struct lane *l, enum kind kind)
{
	if (kind == OF_GUARDS || kind == OF_SCANS)
		return l->ready > 0;
	if (kind == OF_GENS)
		return !link_alone(&l->gens);
	return l->open.n > 0 || !link_alone(&l->spent);
}

/* The model that goes next: highest priority waiting, then the one longest not served. */
static struct model *pick_model(const struct engine *e, enum kind kind)
{
	for (unsigned prio = first_lane(kind); prio <= last_lane(kind); prio++) {
		struct model *best = NULL;

		for (struct model *m = e->models; m; m = m->next)
			if (has(&m->lanes[prio], kind) && (!best || m->last_turn < best->last_turn))
				best = m;
		if (best)
			return best;
	}
	return NULL;
}

static bool in_use(const struct batch *b, const struct model *m)
{
	return b->stage != BATCH_NONE && b->m == m && b->fwd == &m->fwd;
}

/* Buffers for a batch of m beside those that rest. */
static bool buffers(struct engine *e, struct batch *b, struct model *m)
{
	struct spare *s = b == &e->urgent ? &m->guards : &m->talkers;
	uint32_t rows = b == &e->urgent ? URGENT_ROWS : TALK_ROWS;

	b->m = m;
	b->fwd = &m->fwd;
	b->hidden = m->hidden;
	if (!in_use(&e->batch, m) && !in_use(&e->talk, m) && !in_use(&e->urgent, m))
		return true;
	if (!s->hidden) {
		if (s->failed == e->batches)
			return false; /* tried while this batch rested */
		s->failed = e->batches;
		if (fwd_open(&s->fwd, e->k, e->pool, &m->info, &m->weights, rows, e->fast_f16,
			     NULL) < 0)
			return false;
		s->hidden = calloc((size_t)s->fwd.max_rows * m->info.n_embd, sizeof(float));
		if (!s->hidden) {
			fwd_close(&s->fwd);
			return false;
		}
	}
	b->fwd = &s->fwd;
	b->hidden = s->hidden;
	return true;
}

static uint32_t passes(uint32_t gens)
{
	return (gens + HEAD_ROWS - 1) / HEAD_ROWS;
}

/* Generations of one batch: as many as take TURN_NS together, at least one pass over the weights.
 */
static uint32_t most_gens(const struct engine *e, const struct batch *b)
{
	uint64_t n, most = b->fwd->max_rows;

	if (e->chunk || !b->m->ns_gen)
		return (uint32_t)most;
	n = TURN_NS / b->m->ns_gen * HEAD_ROWS;
	n = n < HEAD_ROWS ? HEAD_ROWS : n;
	return (uint32_t)(n < most ? n : most);
}

static uint32_t most_prompt_rows(const struct engine *e, const struct batch *b)
{
	uint64_t rows = e->chunk ? e->chunk : 2 * MIN_CHUNK, most = b->fwd->max_rows;

	if (!e->chunk && b->m->ns_prompt) {
		rows = CHUNK_NS / b->m->ns_prompt;
		rows = rows < MIN_CHUNK ? MIN_CHUNK : rows / MIN_CHUNK * MIN_CHUNK;
	}
	return (uint32_t)(rows < most ? rows : most);
}

/* An estimate follows the newest figure by share / 128. */
static uint64_t follow(uint64_t old, uint64_t now, uint32_t share)
{
	if (!old)
		return now + 1;
	now = now > 4 * old ? 4 * old : now;
	return (old * (128 - share) + now * share) / 128 + 1;
}

void batch_measure(struct batch *b)
{
	struct model *m = b->m;
	uint64_t p = b->prompt_rows, g = passes(b->gens);
	/* few rows cost more each than many: they count less */
	uint32_t share = (uint32_t)(p < 4 ? 1 : p > 128 ? 32 : p / 4);

	if (b->thinned)
		return; /* what was computed were fewer rows */
	if (!g && p)
		m->ns_prompt = follow(m->ns_prompt, b->spent_ns / p, share);
	else if (g && !p)
		m->ns_gen = follow(m->ns_gen, b->spent_ns / g, 32);
}

bool batch_sampled(const struct job *j)
{
	return j->seq->cfg.role != SEQ_GUARD &&
	       (j->kind == JOB_GENERATE || j->seq->e->appends_sampled);
}

/* Puts n rows of the sequence's first job into the batch. */
static void part_add(struct batch *b, struct seq *s, uint32_t n)
{
	struct job *j = s->jobs;

	if (!seq_pages(s, s->len + n)) {
		job_fail(j, E_NOMEM, "no memory for a KV page");
		return;
	}
	s->flight = b;
	s->part = b->n_parts;
	b->parts[b->n_parts++] = (struct part){s, j, b->rows, n};
	for (uint32_t i = 0; i < n; i++)
		b->fwd->rows[b->rows++] =
		    (struct fwd_row){s,
				     s->kv,
				     s->pages,
				     s->len + i,
				     j->kind == JOB_APPEND ? j->ids[j->done + i]
				     : i		   ? j->guess[i - 1]
							   : j->tokens[j->n_tokens - 1],
				     batch_sampled(j)};
}

/* Guesses ride along while all drawn rows are one pass over the weights. */
static void add_gens(struct batch *b, uint32_t n, enum seq_role role)
{
	uint32_t spare = n < HEAD_ROWS ? HEAD_ROWS - n : 0;
	uint32_t room = b->fwd->max_rows - b->rows;

	room = room > n ? room - n : 0;
	spare = spare < room ? spare : room;

	for (uint32_t i = 0; i < n; i++) {
		struct seq *s = b->pick[i];
		struct job *j = s->jobs;

		if (s->cfg.role != role)
			continue;
		if (!j->feed && !s->hidden_ok) {
			job_fail(j, E_CONFLICT, "nothing to sample on from: append first");
			continue;
		}
		j->n_draft = j->n_right = 0;
		if (j->draft && j->feed)
			draft_make(j, spare);
		spare -= j->n_draft;
		part_add(b, s, j->feed ? 1 + j->n_draft : 0);
		sched_count(s);
	}
}

static void fill(struct engine *e, struct batch *b, enum kind kind)
{
	unsigned from = first_lane(kind), to = last_lane(kind);
	struct lane *l = b->m->lanes;
	uint32_t gens = 0, most = kind == OF_PROMPTS ? 0 : most_gens(e, b), rows, n;

	/* generations are asked first: what they leave is for prompts */
	for (unsigned p = from; p <= to; p++)
		gens += sched_gens(&l[p], most - gens, b->pick + gens);
	rows = kind == OF_GENS ? 0 : most_prompt_rows(e, b);
	rows = rows < b->fwd->max_rows - gens ? rows : b->fwd->max_rows - gens;
	for (unsigned p = from; p <= to && rows; p++) {
		n = sched_prompts(e, &l[p], rows, b->pick + gens);
		for (uint32_t i = gens; i < gens + n; i++) {
			rows -= b->pick[i]->take;
			part_add(b, b->pick[i], b->pick[i]->take);
		}
	}
	b->prompt_rows = b->rows;
	add_gens(b, gens, SEQ_GUARD); /* class P */
	add_gens(b, gens, SEQ_CHAT);
	b->gens = b->n_parts ? gens : 0;
}

/* Whose turn it is, where no batch is begun. */
static enum kind kind_of(const struct engine *e, const struct batch *b)
{
	bool due = e->owed || e->turn_ns >= (e->chunk ? 1 : e->turn);

	if (b == &e->urgent)
		return pick_model(e, OF_GUARDS) ? OF_GUARDS : OF_SCANS;
	if (b == &e->talk || due || !pick_model(e, OF_PROMPTS))
		return OF_GENS;
	return OF_PROMPTS;
}

bool batch_waits(const struct engine *e, enum seq_priority of)
{
	return pick_model(e, of == PRIO_GUARD ? OF_GUARDS : OF_SCANS) != NULL;
}

bool batch_build(struct engine *e, struct batch *b)
{
	enum kind kind;
	struct model *m;

	do { /* again where all that was picked failed */
		kind = kind_of(e, b);
		m = pick_model(e, kind);
		if (!m && kind == OF_GENS && b == &e->batch)
			m = pick_model(e, kind = OF_PROMPTS);
		if (b == &e->talk)
			e->owed = m != NULL;
		if (!m || !buffers(e, b, m))
			return false;
		if (b != &e->urgent && kind == OF_GENS)
			e->owed = false;
		if (b == &e->batch)
			e->batches++;
		m->last_turn = ++e->turns;
		b->rows = b->n_parts = b->n_heads = b->head = 0;
		b->spent_ns = 0;
		b->thin = b->thinned = false;
		b->scan = kind == OF_SCANS;
		fill(e, b, kind);
	} while (b->n_parts == 0);
	if (b != &e->urgent)
		masks_share(e);
	if ((b != &e->batch && e->batch.stage != BATCH_NONE) ||
	    (b != &e->talk && e->talk.stage != BATCH_NONE) ||
	    (b != &e->urgent && e->urgent.stage != BATCH_NONE))
		e->stats.preempted++; /* another one rests */
	b->n_live = b->n_parts;
	b->stage = BATCH_LAYERS;
	fwd_begin(b->fwd, b->rows);
	return true;
}
