/* job.c - one append or generation: its life from the call to its last event. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
	free(j);
}

static void seq_busy(struct seq *s, bool busy)
{
	struct engine *e = s->e;
	struct group *g = s->group;

	if (busy) {
		s->busy_prev = NULL;
		s->busy_next = e->busy;
		if (e->busy)
			e->busy->busy_prev = s;
		e->busy = s;
		if (g->busy++ == 0) { /* who rested has saved up no turns */
			uint64_t least = UINT64_MAX;

			for (struct group *o = e->groups; o; o = o->next)
				if (o != g && o->busy && o->served < least)
					least = o->served;
			if (least != UINT64_MAX && g->served < least)
				g->served = least;
		}
		return;
	}
	if (s->busy_prev)
		s->busy_prev->busy_next = s->busy_next;
	else
		e->busy = s->busy_next;
	if (s->busy_next)
		s->busy_next->busy_prev = s->busy_prev;
	g->busy--;
}

void job_start(struct job *j)
{
	struct seq *s = j->seq;
	struct engine *e = s->e;

	j->id = ++e->next_job;
	if (!s->jobs)
		seq_busy(s, true);
	*s->jobs_end = j;
	s->jobs_end = &j->next;
	e->stats.jobs_active++;
	pthread_mutex_lock(&e->lock);
	j->bucket_next = e->buckets[j->id % JOB_BUCKETS];
	e->buckets[j->id % JOB_BUCKETS] = j;
	pthread_mutex_unlock(&e->lock);
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
		for (at = &e->cancel_list; *at && *at != j;)
			at = &(*at)->cancel_next;
		if (*at)
			*at = j->cancel_next;
	}
	pthread_mutex_unlock(&e->lock);
}

static void leave(struct job *j)
{
	struct seq *s = j->seq;
	struct job **at = &s->jobs;

	batch_drop_job(s->e, j);
	hide(s->e, j);
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	if (s->jobs_end == &j->next)
		s->jobs_end = at;
	if (!s->jobs)
		seq_busy(s, false);
	s->e->stats.jobs_active--;
	if (j->kind == JOB_GENERATE) {
		s->credit = 0;
		if (j->feed) /* its last token is not in the cache: nothing to sample on from */
			s->hidden_ok = false;
	}
}

void job_end(struct job *j, enum gen_end end)
{
	uint32_t n = j->kind == JOB_APPEND ? j->done : j->n_tokens;

	if (j->kind == JOB_GENERATE && (end == GEN_END || end == GEN_STOP_ID))
		n++;
	leave(j);
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
	j->end_ev.ev =
	    (struct event){.kind = EV_DONE, .job = j->id, .seq = j->seq, .end = end, .computed = n};
	event_push(j->seq->e, &j->end_ev);
}

void job_fail(struct job *j, int code, const char *why)
{
	leave(j);
	j->end_ev.ev = (struct event){
	    .kind = EV_FAILED, .job = j->id, .seq = j->seq, .code = code, .why = why};
	event_push(j->seq->e, &j->end_ev);
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

void engine_wake(struct engine *e)
{
	uint64_t one = 1;

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
		e->cancel_list = j;
		atomic_store(&e->cancel_seen, true);
	}
	pthread_mutex_unlock(&e->lock);
	if (j)
		engine_wake(e);
}
