/* submit.c - seq_append() and seq_generate(): arguments checked, memory taken, job queued. All
 * memory a job needs for its rows is taken here, so that it cannot run short later. */
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"
#include "num.h"

/* Copies n ids. NULL for no memory; never NULL for n = 0. */
static int32_t *ids_copy(const int32_t *ids, size_t n)
{
	int32_t *p = calloc(n ? n : 1, sizeof(*p));

	if (p && n)
		memcpy(p, ids, n * sizeof(*p));
	return p;
}

static int ids_check(const struct seq *s, const int32_t *ids, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] < 0 || (uint32_t)ids[i] >= s->m->info.n_vocab)
			return err_set(err, E_RANGE, "id %d, the vocabulary has %u", (int)ids[i],
				       s->m->info.n_vocab);
	return 0;
}

/* Tokens the sequence will have when its queue is done. */
static uint64_t planned(const struct seq *s)
{
	uint64_t n = s->len;

	for (const struct job *j = s->jobs; j; j = j->next)
		n += j->n_ids - j->done;
	return n;
}

static bool generates(const struct seq *s)
{
	for (const struct job *j = s->jobs; j; j = j->next)
		if (j->kind == JOB_GENERATE)
			return true;
	return false;
}

static int want_rows(struct job *j, const struct want *w, size_t n, struct err *err)
{
	const struct model_info *in = &j->seq->m->info;
	uint64_t floats, bytes;

	j->want = w ? w->rows : WANT_NONE;
	switch (j->want) {
	case WANT_NONE:
		return 0;
	case WANT_LOGITS:
		j->row_n = w->n_ids;
		break;
	case WANT_LOGITS_FULL:
		j->row_n = in->n_vocab;
		break;
	case WANT_TOP_K:
		j->row_n = w->k < in->n_vocab ? w->k : in->n_vocab;
		break;
	case WANT_HIDDEN:
		j->row_n = in->n_embd;
		break;
	}
	j->all_rows = w->all_rows;
	j->n_rows = j->all_rows ? (uint32_t)n : 1;
	if (j->row_n == 0)
		return err_set(err, E_RANGE, "rows of no elements");
	if (mul_u64(j->n_rows, j->row_n, &floats) || mul_u64(floats, sizeof(float), &bytes) ||
	    bytes > MAX_ROW_BYTES)
		return err_set(err, E_RANGE, "%u rows of %u are too much for one job", j->n_rows,
			       j->row_n);
	if (j->want == WANT_LOGITS && ids_check(j->seq, w->ids, w->n_ids, err) < 0)
		return E_RANGE;
	j->rows = malloc(bytes);
	if (j->want == WANT_LOGITS)
		j->row_ids = ids_copy(w->ids, w->n_ids);
	if (j->want == WANT_TOP_K)
		j->top_ids = calloc(floats, sizeof(*j->top_ids));
	if (!j->rows || (j->want == WANT_LOGITS && !j->row_ids) ||
	    (j->want == WANT_TOP_K && !j->top_ids))
		return err_set(err, E_NOMEM, "rows");
	return 0;
}

int seq_append(struct seq *s, const int32_t *ids, size_t n, const struct want *w, job_id *job,
	       struct err *err)
{
	struct job *j = NULL;
	int rc;

	if (s->prefix.text)
		return err_set(err, E_DENIED, "a text stays as it is: append to a fork of it");
	if (generates(s))
		return err_set(err, E_BUSY, "the sequence is generating");
	if (n == 0 || n > s->cfg.max_tokens - planned(s))
		return err_set(err, E_RANGE, "%zu tokens, room for %llu", n,
			       (unsigned long long)(s->cfg.max_tokens - planned(s)));
	if ((rc = ids_check(s, ids, n, err)) < 0 || (rc = job_new(s, JOB_APPEND, &j, err)) < 0)
		return rc;
	j->n_ids = (uint32_t)n;
	j->transient = w && w->transient < n ? w->transient : w ? j->n_ids : 0;
	j->ids = ids_copy(ids, n);
	rc = j->ids ? want_rows(j, w, n, err) : err_set(err, E_NOMEM, "ids");
	if (rc < 0) {
		job_free(j);
		return rc;
	}
	draft_see(s, ids, (uint32_t)n);
	job_start(j);
	*job = j->id;
	return 0;
}

int seq_generate(struct seq *s, const struct sampler *smp, const struct gen_limit *limit,
		 mask_hook hook, void *hook_arg, job_id *job, struct err *err)
{
	const struct model_info *in = &s->m->info;
	struct job *j = NULL;
	int rc;

	if (s->prefix.text)
		return err_set(err, E_DENIED, "a text stays as it is: generate on a fork of it");
	if (generates(s))
		return err_set(err, E_BUSY, "the sequence is generating");
	if (limit->max_new == 0)
		return err_set(err, E_RANGE, "no tokens to generate");
	if (!s->jobs && !s->hidden_ok)
		return err_set(err, E_CONFLICT, "nothing to sample on from: append first");
	if ((rc = job_new(s, JOB_GENERATE, &j, err)) < 0)
		return rc;
	j->sampler = *smp;
	j->hook = hook;
	j->hook_arg = hook_arg;
	j->draft = limit->draft < MAX_DRAFT ? limit->draft : MAX_DRAFT;
	j->draft = s->cfg.role == SEQ_GUARD ? 0 : j->draft;
	j->late.key = limit->deadline_ns;
	j->max_new = limit->max_new < s->cfg.max_tokens ? limit->max_new : s->cfg.max_tokens;
	j->n_end = limit->end_ids ? limit->n_end : in->n_end;
	j->n_stop = limit->stop_ids ? limit->n_stop : 0;
	j->end_ids = ids_copy(limit->end_ids ? limit->end_ids : in->end, j->n_end);
	j->stop_ids = ids_copy(limit->stop_ids, j->n_stop);
	j->tokens = calloc(j->max_new, sizeof(*j->tokens));
	j->allow = calloc(in->n_vocab / 64 + 1, sizeof(*j->allow));
	if (!j->end_ids || !j->stop_ids || !j->tokens || !j->allow) {
		job_free(j);
		return err_set(err, E_NOMEM, "generation");
	}
	s->credit = 0;
	job_start(j);
	*job = j->id;
	return 0;
}
