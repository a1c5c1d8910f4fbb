/* t_masks.c - whose answers wait when sets of allowed tokens are dear to make: their own, in turn,
 * and nobody else's. Work is counted by hooks that only pretend to do it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"
#include "engine_priv.h"

#define DEAR 4000000u /* as much as a set may cost (schema_priv.h) */
#define MOST 50

static const struct shape shape = {SMALL_SHAPE, .context = 1024, .tied = true};
static struct rig r;
static uint64_t calls, all_work;

struct answer {
	struct seq *s;
	job_id job;
	uint64_t cost, done; /* of a set; of the present one */
	uint32_t sets, tokens;
	uint64_t batch; /* in which its last token came */
};
static struct answer a[MOST];
static unsigned n_a;

static int open_rig(void **st)
{
	n_a = 0;
	calls = all_work = 0;
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, 64u << 20);
	return 0;
}

static int close_rig(void **st)
{
	rig_close(&r);
	return 0;
}

static bool costs(void *arg, const int32_t *generated, uint32_t n, uint64_t *work, uint64_t *allow)
{
	struct answer *x = arg;
	uint64_t part = x->cost - x->done < *work ? x->cost - x->done : *work;

	assert_true(*work <= MASK_SLICE);
	assert_int_equal(n, x->sets); /* each set once, in order */
	calls++;
	all_work += part;
	*work -= part;
	x->done += part;
	if (x->done < x->cost)
		return false;
	x->done = 0;
	x->sets++;
	return true;
}

static struct answer *begin(uint64_t group, uint64_t cost)
{
	struct gen_limit limit = {.max_new = 900, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct seq_cfg cfg = {.fair_group = group, .priority = PRIO_NORMAL, .max_tokens = 1000};
	struct answer *x = &a[n_a++];
	struct sampler smp;
	job_id job;

	sampler_init(&smp, n_a);
	*x = (struct answer){.cost = cost};
	assert_int_equal(seq_new(r.e, r.m, &cfg, &x->s, NULL), 0);
	assert_int_equal(seq_append(x->s, (int32_t[]){1, 2, 3}, 3, NULL, &job, NULL), 0);
	assert_int_equal(seq_generate(x->s, &smp, &limit, cost ? costs : NULL, x, &x->job, NULL),
			 0);
	seq_credit(x->s, 900);
	return x;
}

static void end(void)
{
	while (n_a)
		seq_free(a[--n_a].s);
}

static void poll(void)
{
	struct event ev;

	while (engine_poll(r.e, &ev, 1) > 0)
		for (unsigned i = 0; i < n_a; i++)
			if (ev.kind == EV_TOKEN && ev.job == a[i].job) {
				a[i].tokens++;
				a[i].batch = r.e->batches;
			}
}

/* All prompts are computed: from now on batches hold answers alone. */
static bool all_talk(void)
{
	for (unsigned i = 0; i < n_a; i++)
		if (a[i].s->jobs->kind != JOB_GENERATE)
			return false;
	return true;
}

/* Sixteen of the dearest beside one with cheap sets and one with none: both of them have a token
 * from each batch, and the dear ones get on alike. */
static void dear_masks_keep_nobody_else_waiting(void **st)
{
	struct answer *plain = begin(1, 0), *cheap = begin(2, 1000);
	uint64_t batch = 0, work = 0, from = 0;
	uint32_t least = UINT32_MAX, most = 0;

	for (int i = 0; i < 16; i++)
		begin(3, DEAR);
	while (plain->tokens < 200) {
		uint64_t before = calls;
		bool talk = all_talk();

		from = from ? from : talk ? r.e->batches + 2 : 0;
		engine_step(r.e, 1);
		poll();
		/* guards and cancels are looked at before and behind each slice; but where prompts
		 * end, their first draws are made without leaving the batch, as far as a share goes
		 */
		assert_true(calls - before <= (talk ? 1 : MASK_FRESH / MASK_SLICE));
		if (r.e->batches == batch)
			continue;
		assert_true(all_work - work <= MASK_FRESH + MASK_DEAR + 2 * MASK_SLICE);
		work = all_work;
		batch = r.e->batches;
		assert_true(!from || batch <= from || plain->batch + 1 >= batch);
		assert_true(!from || batch <= from || cheap->batch + 1 >= batch);
	}
	assert_true(cheap->tokens + 2 >= plain->tokens);
	for (int i = 2; i < 18; i++) {
		least = a[i].tokens < least ? a[i].tokens : least;
		most = a[i].tokens > most ? a[i].tokens : most;
	}
	assert_true(least >= 2 && most - least <= 1);
	end();
}

/* Sets that are a little more than a slice: who has many of them does not stand in front of others'
 * with all of them. */
static void new_masks_of_one_group_do_not_keep_another_waiting(void **st)
{
	struct answer *cheap = begin(1, 1000), *plain = begin(1, 0);
	uint64_t batch, from;

	for (int i = 2; i < MOST; i++)
		begin(2, MASK_SLICE + 1000);
	while (!all_talk()) {
		engine_step(r.e, 1);
		poll();
	}
	for (from = batch = r.e->batches; batch < from + 200;) {
		engine_step(r.e, 1);
		poll();
		if (r.e->batches == batch)
			continue;
		batch = r.e->batches;
		assert_true(batch <= from + 2 || cheap->batch + 1 >= batch);
		assert_true(batch <= from + 2 || plain->batch + 1 >= batch);
	}
	for (int i = 2; i < MOST; i++)
		assert_true(a[i].tokens >= 10);
	end();
}

static void groups_share_the_work_alike(void **st)
{
	struct answer *plain = begin(1, 0), *one = begin(2, DEAR);
	uint32_t others = 0;

	for (int i = 0; i < 10; i++)
		begin(3, DEAR);
	while (plain->tokens < 300) {
		engine_step(r.e, 1);
		poll();
	}
	for (int i = 2; i < 12; i++)
		others += a[i].tokens;
	/* as good as it gets with so few: within a third of each other, not one to ten */
	assert_true(one->tokens >= 20 && 3 * one->tokens >= 2 * others &&
		    3 * others >= 2 * one->tokens);
	end();
}

/* Nobody waits for the work: it is done at once, and looked up from all the same. */
static void alone_a_mask_is_made_at_once(void **st)
{
	struct answer *x = begin(1, DEAR);

	while (x->tokens < 20) {
		uint64_t before = calls;

		assert_int_equal(engine_step(r.e, 1), 1);
		assert_true(calls - before <= 1);
		poll();
	}
	assert_true(r.e->batches > 0);
	end();
}

static void a_guard_goes_before_masks(void **st)
{
	struct seq_cfg cfg = {.priority = PRIO_GUARD, .role = SEQ_GUARD, .max_tokens = 100};
	struct answer *x = begin(1, DEAR);
	struct seq *g = NULL;
	struct event ev;
	uint64_t before;
	bool done = false;
	job_id job;

	while (x->tokens < 2 || x->done == 0) {
		engine_step(r.e, 1);
		poll();
	}
	assert_int_equal(seq_new(r.e, r.m, &cfg, &g, NULL), 0);
	assert_int_equal(seq_append(g, (int32_t[]){1, 2, 3, 4}, 4, NULL, &job, NULL), 0);
	for (before = calls; !done;) {
		engine_step(r.e, 1);
		while (engine_poll(r.e, &ev, 1) > 0)
			done |= ev.job == job && ev.kind == EV_DONE;
	}
	assert_int_equal(calls, before);
	seq_free(g);
	end();
}

static void a_mask_that_waits_can_be_cancelled(void **st)
{
	struct answer *x = begin(1, DEAR), *plain = begin(1, 0);
	bool done = false;
	struct event ev;

	while (x->tokens < 1 || x->done == 0) {
		engine_step(r.e, 1);
		poll();
	}
	job_cancel(r.e, x->job);
	engine_step(r.e, 1);
	while (engine_poll(r.e, &ev, 1) > 0)
		done |= ev.job == x->job && ev.kind == EV_DONE && ev.end == GEN_CANCELLED;
	assert_true(done);
	assert_int_equal(r.e->n_masks, 0);
	plain->tokens = 0;
	while (plain->tokens < 5) {
		engine_step(r.e, 1);
		poll();
	}
	end();
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(dear_masks_keep_nobody_else_waiting),
	    T(new_masks_of_one_group_do_not_keep_another_waiting),
	    T(groups_share_the_work_alike),
	    T(alone_a_mask_is_made_at_once),
	    T(a_guard_goes_before_masks),
	    T(a_mask_that_waits_can_be_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
