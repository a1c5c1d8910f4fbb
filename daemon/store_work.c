/* store_work.c - see store_work.h. */
#include "store_work.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct work {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct work_job *head, **tail;
	unsigned n, max, idle_ms;
	bool stop;
	void (*post)(void *ctx, void (*fn)(void *), void *arg);
	void (*idle)(void *ctx);
	void *ctx;
};

static void run_done(void *arg)
{
	struct work_job *j = arg;

	j->done(j);
}

static struct work_job *take(struct work *w, bool *stop)
{
	struct work_job *j;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += w->idle_ms / 1000;
	t.tv_nsec += (long)(w->idle_ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	while (w->head == NULL && !w->stop &&
	       pthread_cond_timedwait(&w->cond, &w->lock, &t) != ETIMEDOUT)
		;
	j = w->head;
	if (j) {
		w->head = j->next;
		if (w->head == NULL)
			w->tail = &w->head;
		w->n--;
	}
	*stop = w->stop && j == NULL;
	pthread_mutex_unlock(&w->lock);
	return j;
}

static void *thread_main(void *arg)
{
	struct work *w = arg;
	bool stop = false;

	while (!stop) {
		struct work_job *j = take(w, &stop);

		if (j) {
			bool back = j->done != NULL;

			j->run(j);
			if (back)
				w->post(w->ctx, run_done, j);
		} else if (w->idle) {
			w->idle(w->ctx);
		}
	}
	return NULL;
}

int work_start(unsigned max, void (*post)(void *ctx, void (*fn)(void *), void *arg), void *ctx,
	       unsigned idle_ms, void (*idle)(void *ctx), struct work **out, struct err *err)
{
	struct work *w = calloc(1, sizeof(*w));
	pthread_condattr_t at;

	if (w == NULL)
		return err_set(err, E_NOMEM, "worker");
	*w = (struct work){.max = max,
			   .post = post,
			   .ctx = ctx,
			   .idle = idle,
			   .idle_ms = idle_ms ? idle_ms : 1000};
	w->tail = &w->head;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&at);
	pthread_condattr_setclock(&at, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &at);
	pthread_condattr_destroy(&at);
	if (pthread_create(&w->thread, NULL, thread_main, w) != 0) {
		free(w);
		return err_sys(err, "worker thread");
	}
	*out = w;
	return E_OK;
}

int work_put(struct work *w, struct work_job *j, bool force)
{
	int rc = E_OK;

	pthread_mutex_lock(&w->lock);
	if (w->n >= w->max && !force) {
		rc = E_BUSY;
	} else {
		j->next = NULL;
		*w->tail = j;
		w->tail = &j->next;
		w->n++;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

unsigned work_queued(struct work *w)
{
	unsigned n;

	pthread_mutex_lock(&w->lock);
	n = w->n;
	pthread_mutex_unlock(&w->lock);
	return n;
}

void work_stop(struct work *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->cond);
	free(w);
}
