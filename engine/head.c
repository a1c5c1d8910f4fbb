/* head.c - what follows the last layer: rows are counted as computed, wanted rows are written out,
 * tokens are drawn. Full rows of logits are made HEAD_ROWS at a time. */
#include <math.h>
#include <string.h>

#include "clock.h"
#include "engine_priv.h"
#include "sampler.h"

/* ---- after the last layer ---- */

static bool wants_logits(const struct job *j)
{
	return j->kind == JOB_GENERATE || j->want == WANT_LOGITS_FULL || j->want == WANT_TOP_K;
}

static void head_add(struct batch *b, struct job *j, const float *hidden, uint32_t row)
{
	b->heads[b->n_heads++] = (struct head){j, hidden, row, batch_sampled(j)};
}

/* Rows that need no full logits, at once. hidden: n states one after another. */
static void small_rows(const struct batch *b, struct job *j, const float *hidden, uint32_t n)
{
	struct model *m = j->seq->m;
	size_t d = m->info.n_embd;
	float *to = j->rows + (size_t)j->rows_done * j->row_n;

	if (j->want == WANT_HIDDEN)
		memcpy(to, hidden, n * d * sizeof(float));
	else
		mm_rows(&b->fwd->mm, &m->weights.output, j->row_ids, j->row_n, hidden, n, to);
	j->rows_done += n;
}

/* One part of the batch is computed: its rows belong to the sequence now. */
static void part_done(struct engine *e, struct batch *b, const struct part *p)
{
	struct job *j = p->job;
	struct seq *s = j->seq;
	struct model *m = s->m;
	size_t d = m->info.n_embd;
	bool last = j->kind == JOB_GENERATE || j->done + p->n == j->n_ids;
	uint32_t from = j->all_rows || j->kind == JOB_GENERATE ? 0 : p->n - 1;
	uint32_t keep = j->kind == JOB_GENERATE ? 0 : p->n - 1;
	float *hidden = b->hidden + (size_t)p->first * d;

	s->len += j->kind == JOB_GENERATE ? 1 : p->n; /* guesses do not count yet */
	s->hidden_ok = last;
	if (s->cfg.role == SEQ_GUARD)
		e->stats.tokens_guard += p->n;
	if (j->kind == JOB_APPEND) {
		seq_prefix_put(s, j, p->n);
		j->done += p->n;
		e->stats.tokens_prompt += p->n;
	} else {
		j->feed = false;
	}
	if (last || j->all_rows)
		for (uint32_t i = from; i < p->n; i++)
			fwd_hidden(b->fwd, p->first + i, hidden + i * d);
	if (last)
		memcpy(s->hidden, hidden + keep * d, d * sizeof(float));
	if (j->kind == JOB_GENERATE)
		return;
	if (j->want != WANT_NONE && (last || j->all_rows)) {
		if (!wants_logits(j))
			small_rows(b, j, hidden + from * d, p->n - from);
		else
			for (uint32_t i = from; i < p->n; i++)
				head_add(b, j, hidden + i * d,
					 j->all_rows ? j->done - p->n + i : 0);
	}
}

/* The prompt is in: where a generation waits behind it, its first token is drawn at once. */
static void draw_on(struct batch *b, struct seq *s)
{
	struct job *j = s->jobs;

	if (!j || j->kind != JOB_GENERATE || !s->credit || !s->hidden_ok ||
	    !masks_try(j, &s->e->mask_left))
		return;
	head_add(b, j, s->hidden, 0);
	sched_count(s);
}

void head_begin(struct engine *e, struct batch *b)
{
	size_t d = b->m->info.n_embd;

	b->stage = BATCH_HEADS;
	b->n_heads = b->head = 0;
	for (uint32_t i = 0; i < b->n_parts; i++) {
		struct part *p = &b->parts[i];
		struct job *j = p->job;

		if (p->n)
			part_done(e, b, p);
		if (j->kind == JOB_GENERATE) {
			head_add(b, j, p->seq->hidden, 0);
			for (uint32_t k = 1; k < p->n; k++)
				head_add(b, j, b->hidden + (size_t)(p->first + k) * d, k);
		} else if (j->done == j->n_ids && (j->rows_done == j->n_rows || !wants_logits(j))) {
			job_end(j, GEN_END);
			draw_on(b, p->seq);
		}
	}
}

/* ---- rows of full logits ---- */

/* NaN is above all numbers, so that it is seen. */
static bool above(float a, float b)
{
	return a > b || (isnan(a) && !isnan(b));
}

static void top_k(struct job *j, const float *logits, uint32_t row)
{
	float *v = j->rows + (size_t)row * j->row_n;
	int32_t *id = j->top_ids + (size_t)row * j->row_n;
	uint32_t n = 0;

	for (uint32_t i = 0; i < j->seq->m->info.n_vocab; i++) {
		uint32_t at;

		if (n == j->row_n && !above(logits[i], v[n - 1]))
			continue;
		if (n < j->row_n)
			n++;
		for (at = n - 1; at > 0 && above(logits[i], v[at - 1]); at--) {
			v[at] = v[at - 1];
			id[at] = id[at - 1];
		}
		v[at] = logits[i];
		id[at] = (int32_t)i;
	}
}

static bool in(const int32_t *ids, uint32_t n, int32_t id)
{
	for (uint32_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static void token_drawn(struct engine *e, struct job *j, int32_t token, float logprob)
{
	struct seq *s = j->seq;

	if (token < 0) {
		job_fail(j, E_FORMAT, "the model's logits are not numbers, or no token is allowed");
		return;
	}
	e->stats.tokens_generated++;
	if (in(j->end_ids, j->n_end, token)) {
		job_end(j, GEN_END);
		return;
	}
	if (in(j->stop_ids, j->n_stop, token)) {
		job_end(j, GEN_STOP_ID);
		return;
	}
	if (!event_token(j, token, logprob)) {
		job_fail(j, E_NOMEM, "no memory for a token event");
		return;
	}
	j->tokens[j->n_tokens++] = token;
	j->feed = true;
	j->allowed = false;
	s->credit--;
	if (j->n_tokens == j->max_new || s->len == s->cfg.max_tokens)
		job_end(j, GEN_LENGTH);
}

static void apply_mask(const struct job *j, float *logits)
{
	uint32_t n = j->seq->m->info.n_vocab;

	if (!j->hook)
		return;
	for (uint32_t from = 0; from < n; from += 64) { /* most words allow all or nothing */
		uint64_t off = ~j->allow[from / 64];
		uint32_t most = n - from < 64 ? n - from : 64;

		if (off == UINT64_MAX)
			for (uint32_t i = 0; i < most; i++)
				logits[from + i] = -INFINITY;
		else
			for (; off; off &= off - 1)
				if ((uint32_t)__builtin_ctzll(off) < most)
					logits[from + (uint32_t)__builtin_ctzll(off)] = -INFINITY;
	}
}

struct draws {
	const struct head *heads;
	const float *logits;
	uint32_t n_vocab, n;
	uint32_t pick[HEAD_ROWS]; /* heads drawn from in this round */
	int32_t token[HEAD_ROWS];
	float logprob[HEAD_ROWS];
};

static void draw_one(void *arg, unsigned i, unsigned worker)
{
	struct draws *d = arg;
	uint32_t at = d->pick[i];
	const struct job *j = d->heads[at].job;

	d->token[i] =
	    sampler_draw_with(j->seq->e->k, &j->sampler, d->logits + (size_t)at * d->n_vocab,
			      d->n_vocab, j->seq->len, &d->logprob[i]);
}

/* A token was drawn behind n guesses that came true. Did the next one, too? Then the row computed
 * with it belongs to the sequence, and what follows is drawn from it. */
static void guess_right(struct engine *e, struct job *j, const struct head *h, int32_t token)
{
	struct seq *s = j->seq;

	if (j->n_right == j->n_draft)
		return;
	if (s->jobs != j || token != j->guess[j->n_right] || !s->credit) {
		j->n_draft = j->n_right; /* the others are wrong, or not wanted yet */
		return;
	}
	/* the next head holds the state behind this guess: heads of a job stand together */
	s->len++;
	j->feed = false;
	j->n_right++;
	memcpy(s->hidden, h[1].hidden, s->m->info.n_embd * sizeof(float));
	e->stats.tokens_accepted++;
}

/* Draws of a group: a round for the first row of each generation, more where guesses come true. */
static void draw_all(struct engine *e, const struct head *h, uint32_t n, float *logits,
		     uint32_t n_vocab)
{
	struct draws d = {.heads = h, .logits = logits, .n_vocab = n_vocab};
	uint32_t turn[HEAD_ROWS];

	for (uint32_t i = 0; i < n; i++)
		turn[i] = h[i].row; /* drawn when so many guesses have come true */
	do {
		d.n = 0;
		for (uint32_t i = 0; i < n; i++) {
			const struct job *j = h[i].job;

			if (!j || j->kind != JOB_GENERATE || turn[i] != j->n_right ||
			    turn[i] > j->n_draft)
				continue;
			turn[i] = UINT32_MAX;
			if (!masks_try(h[i].job, &e->mask_left)) {
				h[i].job->n_draft = h[i].job->n_right; /* drawn later */
				continue;
			}
			apply_mask(j, logits + (size_t)i * n_vocab);
			d.pick[d.n++] = i;
		}
		pool_run(e->pool, draw_one, &d, d.n);
		for (uint32_t k = 0; k < d.n; k++) {
			struct job *j = h[d.pick[k]].job;

			if (!j)
				continue;
			token_drawn(e, j, d.token[k], d.logprob[k]);
			guess_right(e, j, &h[d.pick[k]], d.token[k]);
		}
	} while (d.n);
}

/* The rows' logits into m->logits, vectors packed by way of a buffer the layers no longer need. */
static void head_product(struct engine *e, struct batch *b, const struct head *h, uint32_t n)
{
	struct model *m = b->m;
	size_t d = m->info.n_embd;
	struct mm mm = {
	    .w = {&m->weights.output}, .y = {m->logits}, .n_w = 1, .x = b->fwd->norm, .cols = n};

	for (uint32_t i = 0; i < n; i++)
		mm.n_p += !h[i].sampled;
	for (uint32_t i = 0; i < n; i++)
		if (h[i].job)
			memcpy(b->fwd->norm + i * d, h[i].hidden, d * sizeof(float));
	mm_run(&b->fwd->mm, &mm);
}

/* Rows of class P before those of class D, else in order. */
static void sort_classes(struct head *h, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t at = i; at && h[at - 1].sampled && !h[at].sampled; at--) {
			struct head t = h[at];

			h[at] = h[at - 1];
			h[at - 1] = t;
		}
}

void head_group(struct engine *e, struct batch *b)
{
	struct model *m = b->m;
	uint32_t left, n, n_vocab = m->info.n_vocab;
	const struct head *h;

	while (b->head < b->n_heads && !b->heads[b->head].job)
		b->head++; /* nobody wants it any more */
	h = b->heads + b->head;
	left = b->n_heads - b->head;
	n = left < HEAD_ROWS ? left : HEAD_ROWS;
	sort_classes(b->heads + b->head, n);
	head_product(e, b, h, n);
	draw_all(e, h, n, m->logits, n_vocab);
	for (uint32_t i = 0; i < n; i++) {
		struct job *j = h[i].job;
		float *logits = m->logits + (size_t)i * n_vocab;

		if (!j || j->kind == JOB_GENERATE)
			continue;
		if (j->want == WANT_TOP_K)
			top_k(j, logits, h[i].row);
		else
			memcpy(j->rows + (size_t)h[i].row * j->row_n, logits,
			       n_vocab * sizeof(float));
		if (++j->rows_done == j->n_rows)
			job_end(j, GEN_END);
	}
	b->head += n;
}
