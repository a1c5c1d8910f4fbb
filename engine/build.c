/* build.c - what goes into a batch. Guards have batches of their own, before all others. Any other
 * batch holds a row for each generation that can go on, so that no prompt stalls a running answer
 * for longer than a chunk, and as many prompt rows as take CHUNK_NS; where a single sequence is all
 * there is, ALONE_NS: its chunk stalls nobody, and guards and cancels are looked at inside it. */
#include <stdlib.h>

#include "engine_priv.h"

/* The model that goes next: highest priority waiting, then the one longest not served. */
static struct model *pick_model(const struct engine *e, unsigned from, unsigned to)
{
	for (unsigned prio = from; prio <= to; prio++) {
		struct model *best = NULL;

		for (struct model *m = e->models; m; m = m->next)
			if (m->lanes[prio].ready && (!best || m->last_batch < best->last_batch))
				best = m;
		if (best)
			return best;
	}
	return NULL;
}

/* Buffers for a batch of m beside the one that rests. */
static bool buffers(struct engine *e, struct batch *b, struct model *m)
{
	b->m = m;
	b->fwd = &m->fwd;
	b->hidden = m->hidden;
	if (b == &e->batch || e->batch.stage == BATCH_NONE || e->batch.m != m)
		return true;
	if (!m->hidden2) {
		if (m->no_second == e->batches)
			return false; /* tried while this batch rested */
		m->no_second = e->batches;
		if (fwd_open(&m->fwd2, e->k, e->pool, &m->info, &m->weights, URGENT_ROWS,
			     e->fast_f16, NULL) < 0)
			return false;
		m->hidden2 = calloc((size_t)m->fwd2.max_rows * m->info.n_embd, sizeof(float));
		if (!m->hidden2) {
			fwd_close(&m->fwd2);
			return false;
		}
	}
	b->fwd = &m->fwd2;
	b->hidden = m->hidden2;
	return true;
}

static uint32_t passes(uint32_t gens)
{
	return (gens + HEAD_ROWS - 1) / HEAD_ROWS;
}

/* Generations of one batch: as many as take CHUNK_NS together, at least one pass over the weights.
 */
static uint32_t most_gens(const struct engine *e, const struct batch *b)
{
	uint64_t n, most = b->fwd->max_rows / 2;

	if (e->chunk || !b->m->ns_gen)
		return (uint32_t)most;
	n = CHUNK_NS / b->m->ns_gen * HEAD_ROWS;
	n = n < HEAD_ROWS ? HEAD_ROWS : n;
	return (uint32_t)(n < most ? n : most);
}

/* Prompt rows beside n generations. */
static uint32_t most_prompt_rows(const struct engine *e, const struct batch *b, uint32_t n)
{
	uint64_t rows = e->chunk ? e->chunk : 2 * MIN_CHUNK, most = b->fwd->max_rows - n;

	if (!e->chunk && b->m->ns_prompt) {
		rows = (e->n_busy == 1 ? ALONE_NS : CHUNK_NS) / b->m->ns_prompt;
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
	uint64_t p = b->prompt_rows, g = passes(b->gens), want;
	/* few rows cost more each than many: they count less */
	uint32_t share = (uint32_t)(p < 4 ? 1 : p > 128 ? 32 : p / 4);

	if (!g && p) {
		m->ns_prompt = follow(m->ns_prompt, b->spent_ns / p, share);
	} else if (g && !p) {
		m->ns_gen = follow(m->ns_gen, b->spent_ns / g, 32);
	} else if (g && p) { /* both at once: both were as wrong as their sum */
		want = m->ns_prompt * p + m->ns_gen * g;
		if (!m->ns_prompt || !m->ns_gen)
			want = 0;
		if (!want && !m->ns_prompt)
			m->ns_prompt = b->spent_ns / (p + g * HEAD_ROWS) + 1;
		if (!want && !m->ns_gen)
			m->ns_gen = m->ns_prompt * HEAD_ROWS;
		if (!want)
			return;
		m->ns_prompt = follow(
		    m->ns_prompt,
		    (uint64_t)((double)m->ns_prompt * (double)b->spent_ns / (double)want), share);
		m->ns_gen = follow(
		    m->ns_gen, (uint64_t)((double)m->ns_gen * (double)b->spent_ns / (double)want),
		    share);
	}
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

static void fill(struct engine *e, struct batch *b, unsigned from, unsigned to)
{
	struct lane *l = b->m->lanes;
	uint32_t gens = 0, most = most_gens(e, b), rows, n;

	/* generations are asked first: what they leave is for prompts */
	for (unsigned p = from; p <= to; p++)
		gens += sched_gens(&l[p], most - gens, b->pick + gens);
	rows = most_prompt_rows(e, b, gens);
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

bool batch_build(struct engine *e, struct batch *b)
{
	unsigned from = b == &e->urgent ? PRIO_GUARD : PRIO_NORMAL;
	unsigned to = b == &e->urgent ? PRIO_GUARD : PRIO_LOW;
	struct model *m;

	do { /* again where all that was picked failed */
		m = pick_model(e, from, to);
		if (!m || !buffers(e, b, m))
			return false;
		if (b == &e->batch)
			e->batches++;
		m->last_batch = ++e->turns;
		b->rows = b->n_parts = b->n_heads = b->head = 0;
		b->spent_ns = 0;
		b->thin = false;
		fill(e, b, from, to);
	} while (b->n_parts == 0);
	if (b == &e->batch)
		masks_share(e);
	b->n_live = b->n_parts;
	b->stage = BATCH_LAYERS;
	fwd_begin(b->fwd, b->rows);
	return true;
}
