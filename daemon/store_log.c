/* store_log.c - see store_log.h. */
#include "store_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include "clock.h"
#include "cur.h"
#include "fault.h"
#include "jsonw.h"
#include "log.h"
#include "num.h"
#include "store_ev.h"

/* far below what logw splits: a job is never cut in two groups */
#define GROUP_BYTES (128u << 10)
#define POOL_FULL (4ll << 20)
#define POOL_STEP (512ll << 10)
#define WANT_MAX (1u << 20)
#define PUBLISH_IDLE_MS 1000
#define PUBLISH_BUSY_MS 10000

struct slog_hold {
	struct slog *s;
	bool open;
	struct slog_job *head, **tail;
};

struct slog {
	struct slog_cfg cfg;
	pthread_t thread;
	pthread_mutex_t lock; /* queue, holds, note */
	pthread_cond_t cond;
	struct slog_job *head, **tail;
	bool stop;
	struct buf note;
	atomic_llong pool;
	atomic_bool poisoned, low;
	atomic_ullong size, commits, queued;
	char why[320];
	/* thread only */
	struct slog_job *group, **group_tail;
	size_t group_bytes;
	uint64_t published_at, published_size, space_at;
};

static void enqueue(struct slog *s, struct slog_job *j)
{
	atomic_fetch_add(&s->queued, 1);
	pthread_mutex_lock(&s->lock);
	*s->tail = j;
	s->tail = &j->next;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

void slog_put(struct slog *s, struct slog_job *j)
{
	j->next = NULL;
	enqueue(s, j);
}

struct slog_hold *slog_hold_open(struct slog *s)
{
	struct slog_hold *h = calloc(1, sizeof(*h));
	struct slog_job *j = slog_job_new();

	must(h != NULL && j != NULL);
	*h = (struct slog_hold){.s = s, .open = true};
	h->tail = &h->head;
	j->hold = h;
	enqueue(s, j);
	return h;
}

void slog_hold_put(struct slog_hold *h, struct slog_job *j)
{
	atomic_fetch_add(&h->s->queued, 1);
	j->next = NULL;
	*h->tail = j; /* the thread reads it only after the close */
	h->tail = &j->next;
}

void slog_hold_close(struct slog_hold *h)
{
	struct slog *s = h->s;

	pthread_mutex_lock(&s->lock);
	h->open = false;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

bool slog_take(struct slog *s, uint64_t bytes)
{
	long long have = atomic_load(&s->pool);

	do {
		if (have < (long long)bytes || atomic_load(&s->low) || slog_poisoned(s))
			return false;
	} while (!atomic_compare_exchange_weak(&s->pool, &have, have - (long long)bytes));
	return true;
}

void slog_give(struct slog *s, uint64_t bytes)
{
	atomic_fetch_add(&s->pool, (long long)bytes);
}

bool slog_poisoned(const struct slog *s)
{
	return atomic_load(&s->poisoned);
}

bool slog_low(const struct slog *s)
{
	return atomic_load(&s->low);
}

uint64_t slog_size(const struct slog *s)
{
	return atomic_load(&s->size);
}

uint64_t slog_commits(const struct slog *s)
{
	return atomic_load(&s->commits);
}

uint64_t slog_queued(const struct slog *s)
{
	return atomic_load(&s->queued);
}

const char *slog_why(const struct slog *s)
{
	return slog_poisoned(s) ? s->why : "";
}

void slog_checkpoint(struct slog *s, struct buf *out)
{
	pthread_mutex_lock(&s->lock);
	buf_span_put(out, buf_span(&s->note));
	pthread_mutex_unlock(&s->lock);
}

/* ---- the thread ---- */

static void poison(struct slog *s, const struct err *err)
{
	if (slog_poisoned(s))
		return;
	memcpy(s->why, err->text, sizeof(s->why));
	s->why[sizeof(s->why) - 1] = '\0';
	atomic_store(&s->poisoned, true);
	log_ev(LOG_ERROR_LV, "log_poisoned", "why=\"%s\"", s->why);
}

/* In the loop thread: a list of finished jobs. */
static void run_done(void *arg)
{
	struct slog_job *j = arg, *next;

	for (; j; j = next) {
		next = j->next;
		if (j->done)
			j->done(j);
		slog_job_free(j);
	}
}

static void append_job(struct slog *s, struct slog_job *j)
{
	struct cur c = cur_init(buf_span(&j->entries));
	struct err err = {0};

	j->rc = slog_poisoned(s) || !buf_ok(&j->entries) ? E_IO : E_OK;
	for (unsigned i = 0; i < j->n && j->rc == E_OK; i++) {
		struct span e = cur_span(&c, cur_u32(&c));

		if (FAULT("slog.append"))
			j->rc = err_sys(&err, "append");
		else if (j->paid)
			j->rc = logw_append_reserved(s->cfg.w, e, logw_cost(e.n), &j->index, &err);
		else
			j->rc = logw_append(s->cfg.w, e, &j->index, &err);
	}
	s->group_bytes += j->entries.n;
	if (j->rc < 0 && (j->rc != E_BUSY || logw_poisoned(s->cfg.w) || j->must))
		poison(s,
		       &err); /* a paid entry that has no room is a broken promise: fail closed */
}

static void make_receipt(struct slog *s, struct slog_job *j)
{
	struct err err = {0};
	struct buf e = BUF_INIT(ENTRY_MAX);
	int rc = E_OK;

	if (j->n == 0 && (rc = logw_entry(s->cfg.w, j->index, &e, &err)) == E_OK)
		ev_put_extra(&j->extra, buf_span(&e), j->has_salt[0] ? j->salt[0] : NULL,
			     j->has_salt[1] ? j->salt[1] : NULL);
	buf_free(&e);
	if (rc == E_OK)
		rc = logw_receipt(s->cfg.w, j->index, buf_span(&j->extra), &j->out, &err);
	if (rc == E_OK)
		return;
	buf_reset(&j->out); /* the entry is durable all the same; the client asks again later */
	if (j->n == 0)
		j->rc = rc;
	log_ev(LOG_WARN_LV, "receipt", "rc=%s why=\"%s\"", err_name(rc), err.text);
}

/* [{"entry":"...","index":n},...]: what an officer or the owner sees of a request. */
static void read_wanted(struct slog *s, struct slog_job *j)
{
	struct jsonw w;
	struct err err;

	j->out.max = WANT_MAX;
	jw_init(&w, &j->out);
	jw_arr(&w);
	for (unsigned i = 0; i < j->n_want && j->rc == E_OK; i++) {
		struct buf e = BUF_INIT(ENTRY_MAX);

		j->rc = logw_entry(s->cfg.w, j->want[i], &e, &err);
		if (j->rc == E_OK) {
			jw_obj(&w);
			jw_key(&w, "entry");
			jw_raw(&w, buf_span(&e));
			jw_kint(&w, "index", (int64_t)j->want[i]);
			jw_end_obj(&w);
		}
		buf_free(&e);
	}
	jw_end_arr(&w);
	if (j->rc == E_OK && !buf_ok(&j->out))
		j->rc = E_RANGE;
}

static void keep_note(struct slog *s)
{
	pthread_mutex_lock(&s->lock);
	buf_reset(&s->note);
	buf_span_put(&s->note, logw_checkpoint(s->cfg.w));
	pthread_mutex_unlock(&s->lock);
	atomic_store(&s->size, logw_size(s->cfg.w));
}

static void finish_group(struct slog *s, int rc)
{
	for (struct slog_job *j = s->group; j; j = j->next) {
		if (j->n && j->rc == E_OK)
			j->rc = rc;
		if (j->rc == E_OK && j->n && s->cfg.committed)
			s->cfg.committed(s->cfg.ctx, j);
		if (j->rc == E_OK && j->receipt)
			make_receipt(s, j);
		if (j->rc == E_OK && j->n_want)
			read_wanted(s, j);
		atomic_fetch_sub(&s->queued, 1);
	}
	if (s->group)
		s->cfg.post(s->cfg.ctx, run_done, s->group);
	s->group = NULL;
	s->group_tail = &s->group;
	s->group_bytes = 0;
}

static void flush_group(struct slog *s)
{
	struct err err = {0};
	int rc = E_OK;

	if (s->group == NULL)
		return;
	if (s->group_bytes) {
		rc = slog_poisoned(s) || FAULT("slog.commit") ? E_IO : logw_commit(s->cfg.w, &err);
		if (rc == E_OK) {
			atomic_fetch_add(&s->commits, 1);
			keep_note(s);
		} else {
			poison(s, &err);
			rc = E_IO;
		}
	}
	if (FAULT("slog.after_commit"))
		poison(s, &err); /* durable, and nobody is told */
	finish_group(s, rc);
}

static void look_at_space(struct slog *s)
{
	struct statvfs v;
	uint64_t now = clock_mono_ms();

	if (s->cfg.dirfd < 0 || now < s->space_at)
		return;
	s->space_at = now + 500;
	if (fstatvfs(s->cfg.dirfd, &v) == 0)
		atomic_store(&s->low, (uint64_t)v.f_bavail * v.f_frsize < s->cfg.low_water);
}

/* Keeps the pool of room that slog_take draws from. */
static void top_up(struct slog *s)
{
	struct err err;

	look_at_space(s);
	while (atomic_load(&s->pool) < POOL_FULL && !slog_poisoned(s)) {
		if (logw_reserve(s->cfg.w, POOL_STEP, &err) < 0)
			return; /* slog_take refuses when it runs dry */
		atomic_fetch_add(&s->pool, POOL_STEP);
	}
}

static void publish(struct slog *s, bool idle)
{
	uint64_t now = clock_mono_ms();
	struct err err;
	int rc;

	if (slog_poisoned(s) || logw_size(s->cfg.w) == s->published_size ||
	    now < s->published_at + (idle ? PUBLISH_IDLE_MS : PUBLISH_BUSY_MS))
		return;
	s->published_at = now;
	rc = logw_publish(s->cfg.w, &err);
	if (rc == E_OK)
		s->published_size = logw_size(s->cfg.w);
	else if (rc == E_BUSY) /* a part is done; more in 100 ms, commits go first */
		s->published_at = now > PUBLISH_BUSY_MS ? now + 100 - PUBLISH_BUSY_MS : 0;
	else
		log_ev(LOG_WARN_LV, "log_publish", "why=\"%s\"", err.text);
}

/* Waits until the hold is closed; gives its jobs. Takes the job that stood for it. */
static struct slog_job *open_hold(struct slog *s, struct slog_job *j)
{
	struct slog_hold *h = j->hold;
	struct slog_job *inner;

	pthread_mutex_lock(&s->lock);
	while (h->open)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
	inner = h->head;
	if (FAULT("slog.hold"))
		poison(s, &(struct err){.text = "fault"});
	free(h);
	slog_job_free(j);
	atomic_fetch_sub(&s->queued, 1);
	return inner;
}

static void work_off(struct slog *s, struct slog_job *list)
{
	struct slog_job *j, *next, *inner;

	for (j = list; j; j = next) {
		next = j->next;
		if (j->hold) {
			flush_group(s); /* nobody waits for the filler longer than needed */
			inner = open_hold(s, j);
			if (inner == NULL)
				continue;
			for (j = inner; j->next; j = j->next)
				;
			j->next = next;
			next = inner;
			continue;
		}
		j->next = NULL;
		if (j->n)
			append_job(s, j);
		*s->group_tail = j;
		s->group_tail = &j->next;
		if (s->group_bytes >= GROUP_BYTES)
			flush_group(s);
	}
	flush_group(s);
}

/* The queue, waiting for it up to 100 ms; *stop when it is empty and the end was asked for. */
static struct slog_job *take_all(struct slog *s, bool *stop)
{
	struct slog_job *j;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += 100000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&s->lock);
	while (s->head == NULL && !s->stop &&
	       pthread_cond_timedwait(&s->cond, &s->lock, &t) != ETIMEDOUT)
		;
	j = s->head;
	s->head = NULL;
	s->tail = &s->head;
	*stop = s->stop && j == NULL;
	pthread_mutex_unlock(&s->lock);
	return j;
}

static void *thread_main(void *arg)
{
	struct slog *s = arg;
	bool stop = false;

	top_up(s);
	while (!stop) {
		struct slog_job *j = take_all(s, &stop);

		if (j && s->cfg.delay_us) {
			struct timespec d = {0, (long)s->cfg.delay_us * 1000};

			nanosleep(&d, NULL);
		}
		if (j)
			work_off(s, j);
		top_up(s);
		publish(s, j == NULL);
	}
	return NULL;
}

int slog_start(const struct slog_cfg *cfg, struct slog **out, struct err *err)
{
	struct slog *s = calloc(1, sizeof(*s));
	pthread_condattr_t at;

	if (s == NULL)
		return err_set(err, E_NOMEM, "log writer");
	s->cfg = *cfg;
	s->tail = &s->head;
	s->group_tail = &s->group;
	s->note = BUF_INIT(CHECKPOINT_NOTE_MAX);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&at);
	pthread_condattr_setclock(&at, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &at);
	pthread_condattr_destroy(&at);
	s->published_at = clock_mono_ms();
	keep_note(s);
	top_up(s);
	if (pthread_create(&s->thread, NULL, thread_main, s) != 0) {
		buf_free(&s->note);
		free(s);
		return err_sys(err, "thread of the log writer");
	}
	*out = s;
	return E_OK;
}

int slog_stop(struct slog *s, bool clean, struct err *err)
{
	int rc;

	if (s == NULL)
		return E_OK;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	rc = logw_close(s->cfg.w, clean && !slog_poisoned(s), err);
	buf_free(&s->note);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->cond);
	free(s);
	return rc;
}
