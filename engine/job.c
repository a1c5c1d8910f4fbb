/* job.c - one append or generation: its life from the call to its last event. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "engine_priv.h"
#include "fault.h"

int job_new(struct seq *s, enum job_kind kind, struct job **out, struct err *err)
{
	struct job *j = FAULT("job.alloc") ? NULL : calloc(1, sizeof(*j));

	if (!j)
		return err_set(err, E_NOMEM, "job");
	j->seq = s;
	j->kind = kind;
	j->rows_ev.where = j->end_ev.where = NODE_IN_JOB;
	j->end_ev.last_of = j;
	*out = j;
	return 0;
}

/* What was said does not linger in freed memory. */
static void wipe_free(void *p, size_t bytes)
{
	if (p)
		explicit_bzero(p, bytes);
	free(p);
}

void job_free(struct job *j)
{
	wipe_free(j->ids, j->n_ids * sizeof(*j->ids));
	wipe_free(j->tokens, j->n_tokens * sizeof(*j->tokens));
	free(j->row_ids);
	free(j->rows);
	free(j->top_ids);
	free(j->allow);
	free(j->end_ids);
	free(j->stop_ids);
	wipe_free(j, sizeof(*j)); /* guesses */
}

void job_start(struct job *j)
{
	struct seq *s = j->seq;
	struct engine *e = s->e;

	j->id = ++e->next_job;
	if (!s->jobs)
		e->n_busy++;
	*s->jobs_end = j;
	s->jobs_end = &j->next;
	e->stats.jobs_active++;
	pthread_mutex_lock(&e->lock);
	j->bucket_next = e->buckets[j->id % JOB_BUCKETS];
	e->buckets[j->id % JOB_BUCKETS] = j;
	pthread_mutex_unlock(&e->lock);
	j->late.tie = j->id;
	if (j->late.key)
		heap_put(&e->deadlines, &j->late);
	if (s->jobs == j)
		sched_update(s);
}

/* Nobody finds j by id any more. */
static void hide(struct engine *e, struct job *j)
{
	struct job **at;

	pthread_mutex_lock(&e->lock);
	for (at = &e->buckets[j->id % JOB_BUCKETS]; *at && *at != j;)
		at = &(*at)->bucket_next;
	if (*at)
		*at = j->bucket_next;
	if (j->cancelled) {
		*j->cancel_at = j->cancel_next;
		if (j->cancel_next)
			j->cancel_next->cancel_at = j->cancel_at;
	}
	pthread_mutex_unlock(&e->lock);
}

static void leave(struct job *j)
{
	struct seq *s = j->seq;
	struct job **at = &s->jobs;

	batch_drop_job(j);
	heap_del(&s->e->deadlines, &j->late);
	hide(s->e, j);
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	if (s->jobs_end == &j->next)
		s->jobs_end = at;
	if (!s->jobs)
		s->e->n_busy--;
	s->e->stats.jobs_active--;
	if (j->kind == JOB_GENERATE) {
		draft_see(s, j->tokens, j->n_tokens);
		s->credit = 0;
		if (j->feed) /* its last token is not in the cache: nothing to sample on from */
			s->hidden_ok = false;
	}
	sched_update(s);
}

static void failed(struct job *j, int code, const char *why)
{
	j->end_ev.ev = (struct event){
	    .kind = EV_FAILED, .job = j->id, .seq = j->seq, .code = code, .why = why};
	event_push(j->seq->e, &j->end_ev);
}

void job_end(struct job *j, enum gen_end end)
{
	uint32_t n = j->kind == JOB_APPEND ? j->done - j->cached : j->n_tokens;
	bool whole = end == GEN_END || end == GEN_STOP_ID, back;
	int rc;

	if (j->kind == JOB_GENERATE && whole)
		n++;
	back = j->kind == JOB_GENERATE && !whole && j->n_tokens && !j->feed;
	leave(j);
	/* computed, and ended before the next draw: what was said last is not kept */
	if (back && (rc = seq_truncate(j->seq, j->seq->len - 1)) < 0) {
		failed(j, rc, "no memory to take the last token back: it stays");
		return;
	}
	if (j->n_rows && j->rows_done == j->n_rows) {
		j->rows_ev.ev = (struct event){.kind = EV_ROWS,
					       .job = j->id,
					       .seq = j->seq,
					       .rows = j->rows,
					       .top_ids = j->top_ids,
					       .n_rows = j->n_rows,
					       .row_n = j->row_n};
		event_push(j->seq->e, &j->rows_ev);
	}
	j->end_ev.ev = (struct event){.kind = EV_DONE,
				      .job = j->id,
				      .seq = j->seq,
				      .end = end,
				      .computed = n,
				      .cached = j->cached};
	event_push(j->seq->e, &j->end_ev);
}

void job_fail(struct job *j, int code, const char *why)
{
	leave(j);
	failed(j, code, why);
}

void job_discard(struct job *j)
{
	leave(j);
	job_free(j);
}

void jobs_cancel(struct engine *e)
{
	if (!atomic_load(&e->cancel_seen))
		return;
	for (;;) {
		struct job *j;

		pthread_mutex_lock(&e->lock);
		j = e->cancel_list;
		if (!j)
			atomic_store(&e->cancel_seen, false);
		pthread_mutex_unlock(&e->lock);
		if (!j)
			return;
		job_end(j, GEN_CANCELLED); /* takes it off the list */
	}
}

void jobs_late(struct engine *e)
{
	uint64_t now = e->deadlines.n ? clock_mono_ns() : 0;

	while (e->deadlines.n && heap_top(&e->deadlines)->key <= now)
		job_end(WHOLE(heap_top(&e->deadlines), struct job, late), GEN_DEADLINE);
}

void engine_wake(struct engine *e)
{
	uint64_t one = 1;

	atomic_store(&e->wake_seen, true);
	if (write(e->wake_fd, &one, sizeof(one)) < 0) {
		/* EAGAIN: the counter is full, so the descriptor is readable already */
	}
}

void job_cancel(struct engine *e, job_id id)
{
	struct job *j;

	pthread_mutex_lock(&e->lock);
	for (j = e->buckets[id % JOB_BUCKETS]; j && j->id != id;)
		j = j->bucket_next;
	if (j && !j->cancelled) {
		j->cancelled = true;
		j->cancel_next = e->cancel_list;
		if (j->cancel_next)
			j->cancel_next->cancel_at = &j->cancel_next;
		j->cancel_at = &e->cancel_list;
		e->cancel_list = j;
		atomic_store(&e->cancel_seen, true);
	}
	pthread_mutex_unlock(&e->lock);
	if (j)
		engine_wake(e);
}
