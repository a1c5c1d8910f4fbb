/* engine.c - opening, stepping and closing an engine. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "engine_priv.h"
#include "fault.h"

const char *const *engine_kernel_paths(void)
{
	return kern_names();
}

int engine_open(const struct engine_cfg *cfg, struct engine **out, struct err *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return err_set(err, E_NOMEM, "engine");
	pthread_mutex_init(&e->lock, NULL);
	events_open(e);
	link_init(&e->fresh);
	link_init(&e->dear);
	masks_share(e);
	prefix_open(&e->prefix);
	kv_open(&e->kv, cfg->kv_bytes);
	e->kv.tree = &e->prefix;
	e->fast_f16 = cfg->fast_f16;
	e->wake_fd = FAULT("engine.eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->wake_fd < 0)
		rc = err_sys(err, "eventfd");
	else if (!(e->k = kern_pick(cfg->kernel_path)))
		rc = err_set(err, E_UNSUPPORTED, "kernel path %s is unknown or not for this CPU",
			     cfg->kernel_path ? cfg->kernel_path : "");
	else if ((rc = batch_open(e, err)) == 0)
		rc = pool_open(cfg->threads, &e->pool, err);
	if (rc < 0) {
		engine_close(e);
		return rc;
	}
	e->stats.kernel_path = e->k->name;
	*out = e;
	return 0;
}

void engine_close(struct engine *e)
{
	if (!e)
		return;
	while (e->seqs)
		seq_free(e->seqs);
	while (e->models)
		engine_model_drop(e, e->models, NULL);
	events_close(e);
	prefix_close(&e->prefix);
	batch_close(e);
	pool_close(e->pool);
	heap_free(&e->deadlines);
	if (e->wake_fd >= 0)
		close(e->wake_fd);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

int engine_wake_fd(const struct engine *e)
{
	return e->wake_fd;
}

void engine_stats(const struct engine *e, struct engine_stats *out)
{
	*out = e->stats;
	out->kv_pages_total = e->kv.budget / ENGINE_KV_UNIT;
	out->kv_pages_used = (e->kv.used + ENGINE_KV_UNIT - 1) / ENGINE_KV_UNIT;
	out->kv_pages_reserved =
	    (e->kv.used - e->kv.resting + e->kv.promised + ENGINE_KV_UNIT - 1) / ENGINE_KV_UNIT;
	out->kv_pages_tree = (e->prefix.bytes + ENGINE_KV_UNIT - 1) / ENGINE_KV_UNIT;
	out->kv_pages_resting = (e->kv.resting + ENGINE_KV_UNIT - 1) / ENGINE_KV_UNIT;
}

/* The descriptor is quiet again, before anything is looked at. */
static void hear(struct engine *e)
{
	uint64_t n;

	atomic_store(&e->wake_seen, false);
	if (read(e->wake_fd, &n, sizeof(n)) < 0) {
		/* EAGAIN: nobody called */
	}
}

int engine_step(struct engine *e, uint64_t budget_ns)
{
	uint64_t start = clock_mono_ns();

	hear(e);
	for (;;) {
		struct batch *b;

		jobs_cancel(e);
		jobs_late(e);
		b = batch_guards(e);
		if (!b && batch_talk_due(e) && masks_step(e))
			b = NULL; /* a slice between two looks */
		else if (!b && !(b = batch_next(e)))
			return batch_runnable(e);
		if (b)
			batch_advance(e, b);
		if (atomic_load(&e->cancel_seen)) {
			jobs_cancel(e);
			return batch_runnable(e);
		}
		if (atomic_load(&e->wake_seen))
			return batch_runnable(e);
		if (budget_ns ? clock_mono_ns() - start >= budget_ns : b && b->stage == BATCH_NONE)
			return batch_runnable(e);
	}
}
