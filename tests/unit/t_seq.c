/* t_seq.c - sequences: rows, reservations, forks, truncation, pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"
#include "engine_priv.h"

static const struct shape shape = {SMALL_SHAPE, .context = 2048, .tied = true};

static struct rig r;
static size_t page; /* bytes of an F32 page of this model */

static void open_pages(unsigned pages)
{
	struct rig probe;

	rig_open(&probe, random_model(&shape, 3, NULL), NULL, 1, 1 << 20);
	page = probe.m->kv[KV_F32].page_bytes;
	rig_close(&probe);
	rig_open(&r, random_model(&shape, 3, NULL), NULL, 2, pages * page + page / 2);
}

static void used_and_promised(unsigned used, unsigned promised)
{
	assert_int_equal(r.e->kv.used, used * page);
	assert_int_equal(r.e->kv.promised, promised * page);
	assert_true(r.e->kv.used + r.e->kv.promised <= r.e->kv.budget);
	assert_true(r.e->kv.used + r.e->kv.idle <= r.e->kv.budget);
}

static int try_seq(uint32_t max, struct seq **s)
{
	struct seq_cfg cfg = {.max_tokens = max};

	return seq_new(r.e, r.m, &cfg, s, NULL);
}

static void grow(struct seq *s, uint32_t n)
{
	int32_t ids[2048];

	some_ids(ids, n, SMALL_VOCAB, seq_len(s));
	append_all(r.e, s, ids, n, NULL);
}

static void reservations_are_made_at_once_and_kept(void **st)
{
	struct seq *a, *b, *c;
	struct engine_stats stats;

	open_pages(10);
	assert_int_equal(try_seq(0, &a), E_RANGE);
	assert_int_equal(try_seq(641, &a), E_RANGE);  /* more than the budget */
	assert_int_equal(try_seq(2049, &a), E_RANGE); /* more than the context */
	assert_int_equal(try_seq(257, &a), 0);
	used_and_promised(0, 5);
	assert_int_equal(try_seq(320, &b), 0);
	assert_int_equal(try_seq(1, &c), E_BUSY);
	grow(a, 257);
	grow(b, 320);
	used_and_promised(10, 0);
	engine_stats(r.e, &stats);
	assert_int_equal(stats.kv_pages_used, stats.kv_pages_reserved);
	assert_int_equal(stats.seqs, 2);
	seq_free(a);
	used_and_promised(5, 0);
	assert_int_equal(try_seq(320, &c), 0);
	seq_free(b);
	seq_free(c);
	used_and_promised(0, 0);
	rig_close(&r);
}

static void appends_beyond_the_reservation_are_refused(void **st)
{
	struct seq *s;
	int32_t ids[70] = {0};
	job_id job, other;

	open_pages(10);
	assert_int_equal(try_seq(65, &s), 0);
	assert_int_equal(seq_append(s, ids, 66, NULL, &job, NULL), E_RANGE);
	assert_int_equal(seq_append(s, ids, 0, NULL, &job, NULL), E_RANGE);
	assert_int_equal(seq_append(s, ids, 60, NULL, &job, NULL), 0);
	assert_int_equal(seq_append(s, ids, 6, NULL, &other, NULL),
			 E_RANGE); /* queued ones count */
	assert_int_equal(seq_append(s, ids, 5, NULL, &other, NULL), 0);
	ids[0] = SMALL_VOCAB;
	assert_int_equal(seq_append(s, ids, 1, NULL, &other, NULL), E_RANGE);
	ids[0] = -1;
	assert_int_equal(seq_append(s, ids, 1, NULL, &other, NULL), E_RANGE);
	assert_int_equal(seq_truncate(s, 0), E_BUSY);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(s), 65);
	seq_free(s);
	rig_close(&r);
}

static void forks_share_full_pages_and_count_them_once(void **st)
{
	struct seq *a, *b, *c;

	open_pages(10);
	assert_int_equal(try_seq(256, &a), 0); /* 4 pages */
	grow(a, 150);			       /* 3 of them, the last partly */
	used_and_promised(3, 1);
	assert_int_equal(seq_fork(a, 151, &b, NULL), E_RANGE);
	assert_int_equal(seq_fork(a, 150, &b, NULL), 0); /* shares 2, copies 1, may take 1 */
	used_and_promised(4, 2);
	assert_int_equal(seq_fork(b, 128, &c, NULL), 0); /* shares 2, may take 2 */
	used_and_promised(4, 4);
	grow(b, 106);
	grow(c, 128);
	used_and_promised(7, 1);
	assert_int_equal(seq_fork(a, 0, &(struct seq *){NULL}, NULL), E_BUSY);
	seq_free(a); /* the shared pages live on */
	used_and_promised(6, 0);
	seq_free(b);
	used_and_promised(4, 0);
	seq_free(c);
	used_and_promised(0, 0);
	rig_close(&r);
}

static void reservations_can_be_changed(void **st)
{
	struct seq *a, *b;

	open_pages(8);
	assert_int_equal(try_seq(512, &a), 0);
	grow(a, 70);
	used_and_promised(2, 6);
	assert_int_equal(seq_fork(a, 70, &b, NULL), E_BUSY);
	assert_int_equal(seq_reserve(a, 69), E_RANGE);
	assert_int_equal(seq_reserve(a, 2049), E_RANGE);
	assert_int_equal(seq_reserve(a, 70), 0); /* a parent that only keeps its prefix */
	used_and_promised(2, 0);
	assert_int_equal(seq_fork(a, 70, &b, NULL), 0);
	used_and_promised(3, 0);
	assert_int_equal(seq_reserve(b, 449), E_BUSY);
	assert_int_equal(seq_reserve(b, 448), 0);
	used_and_promised(3, 5);
	grow(b, 378);
	used_and_promised(8, 0);
	seq_free(b);
	seq_free(a);
	used_and_promised(0, 0);
	rig_close(&r);
}

static void truncating_a_fork_below_shared_pages_is_honest(void **st)
{
	struct seq *a, *b, *c;

	open_pages(6);
	assert_int_equal(try_seq(192, &a), 0);
	grow(a, 192);
	assert_int_equal(seq_fork(a, 192, &b, NULL), 0); /* all three shared: costs nothing more */
	used_and_promised(3, 0);
	assert_int_equal(try_seq(128, &c), 0);
	used_and_promised(3, 2);
	assert_int_equal(seq_truncate(b, 100), E_BUSY); /* would need 2: a copy and a promise */
	assert_int_equal(seq_len(b), 192);
	used_and_promised(3, 2);
	assert_int_equal(seq_truncate(b, 128),
			 0); /* a promise for the dropped one: the last room */
	used_and_promised(3, 3);
	seq_free(c);
	assert_int_equal(seq_truncate(b, 100), 0);
	used_and_promised(4, 1);
	assert_int_equal(seq_truncate(b, 0), 0);
	used_and_promised(3, 3);
	seq_free(a);
	grow(b, 192);
	used_and_promised(3, 0);
	seq_free(b);
	used_and_promised(0, 0);
	rig_close(&r);
}

/* Logits after prefix[0..keep) + tail on a fresh sequence. */
static void fresh(const int32_t *prefix, uint32_t keep, const int32_t *tail, uint32_t n, float *out)
{
	struct seq *s = rig_seq(&r, SEQ_CHAT, 300);

	if (keep)
		append_all(r.e, s, prefix, keep, NULL);
	append_all(r.e, s, tail, n, out);
	seq_free(s);
}

static void forks_and_parents_do_not_disturb_each_other(void **st)
{
	static const uint32_t keeps[] = {0, 1, 63, 64, 65, 100, 128, 140};
	float got[SMALL_VOCAB], want[SMALL_VOCAB];
	int32_t ids[140], tail[90];
	struct seq *parent, *child;

	open_pages(40);
	some_ids(ids, 140, SMALL_VOCAB, 1);
	some_ids(tail, 90, SMALL_VOCAB, 2);
	parent = rig_seq(&r, SEQ_CHAT, 300);
	append_all(r.e, parent, ids, 140, NULL);
	for (size_t i = 0; i < sizeof(keeps) / sizeof(keeps[0]); i++) {
		assert_int_equal(seq_fork(parent, keeps[i], &child, NULL), 0);
		append_all(r.e, child, tail, 90, got);
		fresh(ids, keeps[i], tail, 90, want);
		assert_memory_equal(got, want, sizeof(got));
		/* take it back into the shared part, go another way */
		assert_int_equal(seq_truncate(child, keeps[i] / 2), 0);
		append_all(r.e, child, tail + 9, 70, got);
		fresh(ids, keeps[i] / 2, tail + 9, 70, want);
		assert_memory_equal(got, want, sizeof(got));
		seq_free(child);
	}
	append_all(r.e, parent, tail, 90, got);
	fresh(ids, 140, tail, 90, want);
	assert_memory_equal(got, want, sizeof(got));
	/* now the parent turns back while a child lives */
	assert_int_equal(seq_fork(parent, 200, &child, NULL), 0);
	assert_int_equal(seq_truncate(parent, 70), 0);
	append_all(r.e, parent, tail, 30, NULL);
	append_all(r.e, child, tail, 20, got);
	assert_int_equal(seq_truncate(parent, 70), 0);
	append_all(r.e, parent, ids + 70, 70, NULL);
	append_all(r.e, parent, tail, 60, NULL);
	append_all(r.e, parent, tail, 20, want);
	assert_memory_equal(got, want, sizeof(got));
	seq_free(parent);
	seq_free(child);
	used_and_promised(0, 0);
	rig_close(&r);
}

static void freed_pages_are_wiped(void **st)
{
	struct seq *s;
	struct kv_page *p;

	open_pages(2);
	assert_int_equal(try_seq(64, &s), 0);
	grow(s, 64);
	p = s->pages[0];
	assert_int_not_equal(p->data[5] | p->data[6] | p->data[7], 0);
	seq_free(s);
	assert_ptr_equal(r.m->kv[KV_F32].idle, p);
	for (size_t i = 0; i < page - sizeof(*p); i++)
		assert_int_equal(p->data[i], 0);
	rig_close(&r);
}

static void wanted_rows_are_the_same_numbers(void **st)
{
	static const int32_t some[] = {7, 269, 0};
	struct outcome *full = calloc(1, sizeof(*full)), *o = calloc(1, sizeof(*o));
	int32_t ids[40];
	struct want w = {.rows = WANT_LOGITS_FULL, .all_rows = true};
	job_id job;

	open_pages(30);
	some_ids(ids, 40, SMALL_VOCAB, 1);
	for (uint32_t chunk = 1; chunk <= 64; chunk *= 8) {
		struct seq *s = rig_seq(&r, SEQ_CHAT, 40);

		r.e->chunk = chunk;
		w = (struct want){.rows = WANT_LOGITS_FULL, .all_rows = true};
		assert_int_equal(seq_append(s, ids, 40, &w, &job, NULL), 0);
		run_job(r.e, job, full);
		assert_int_equal(full->n_rows, 40);
		assert_int_equal(full->row_n, SMALL_VOCAB);
		assert_int_equal(seq_truncate(s, 0), 0);
		w = (struct want){.rows = WANT_LOGITS, .all_rows = true, .ids = some, .n_ids = 3};
		assert_int_equal(seq_append(s, ids, 40, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		for (int i = 0; i < 40; i++)
			for (int k = 0; k < 3; k++)
				assert_memory_equal(&o->rows[i * 3 + k],
						    &full->rows[i * SMALL_VOCAB + some[k]], 4);
		assert_int_equal(seq_truncate(s, 0), 0);
		w.all_rows = false;
		assert_int_equal(seq_append(s, ids, 40, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		assert_int_equal(o->n_rows, 1);
		assert_memory_equal(&o->rows[1], &full->rows[39 * SMALL_VOCAB + 269], 4);
		assert_int_equal(seq_truncate(s, 0), 0);
		w = (struct want){.rows = WANT_TOP_K, .k = 5};
		assert_int_equal(seq_append(s, ids, 40, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		for (int k = 0; k < 4; k++)
			assert_true(o->rows[k] >= o->rows[k + 1]);
		for (int i = 0, above = 0; i < SMALL_VOCAB; i++) {
			above += full->rows[39 * SMALL_VOCAB + i] > o->rows[4];
			assert_true(above <= 4);
		}
		assert_int_equal(seq_truncate(s, 0), 0);
		w = (struct want){.rows = WANT_HIDDEN};
		assert_int_equal(seq_append(s, ids, 40, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		assert_int_equal(o->row_n, shape.embd);
		assert_memory_equal(o->rows, s->hidden, shape.embd * sizeof(float));
		w = (struct want){.rows = WANT_LOGITS, .n_ids = 0};
		assert_int_equal(seq_append(s, ids, 1, &w, &job, NULL), E_RANGE);
		seq_free(s);
	}
	free(full);
	free(o);
	rig_close(&r);
}

static void nan_weights_crash_nothing(void **st)
{
	struct shape bad = shape;
	struct outcome *o = calloc(1, sizeof(*o));
	struct want w = {.rows = WANT_LOGITS_FULL};
	struct gen_limit limit = {.max_new = 5};
	struct sampler smp;
	int32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	job_id job;

	bad.nan = true;
	sampler_init(&smp, 1);
	for (const char *const *k = engine_kernel_paths(); *k; k++) {
		struct seq *s;

		rig_open(&r, random_model(&bad, 3, NULL), *k, 2, 1 << 20);
		s = rig_seq(&r, SEQ_GUARD, 64);
		assert_int_equal(seq_append(s, ids, 9, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		assert_int_equal(o->kind, EV_DONE);
		for (int i = 0; i < SMALL_VOCAB; i++)
			assert_true(isnan(o->rows[i]));
		for (int t = 0; t < 2; t++) {
			smp.temperature = (float)t;
			assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
			seq_credit(s, 5);
			run_job(r.e, job, o);
			assert_int_equal(o->kind, EV_FAILED);
			assert_int_equal(o->n_tokens, 0);
		}
		rig_close(&r);
	}
	free(o);
}

static void models_with_sequences_stay(void **st)
{
	struct seq *s;

	open_pages(4);
	s = rig_seq(&r, SEQ_CHAT, 64);
	assert_int_equal(engine_model_drop(r.e, r.m, NULL), E_BUSY);
	seq_free(s);
	assert_int_equal(engine_model_drop(r.e, r.m, NULL), 0);
	rig_close(&r);
}

static void a_budget_is_respected_over_two_models(void **st)
{
	struct shape wide = shape;
	struct seq *a, *b;
	struct model *m2;
	struct seq_cfg cfg = {.max_tokens = 128};
	int32_t ids[128];
	int fd;

	wide.head_dim = 16; /* pages of twice the size */
	fd = random_model(&wide, 9, NULL);
	open_pages(8);
	assert_int_equal(engine_model_add(r.e, &fd, 1, NULL, &m2, NULL), 0);
	some_ids(ids, 128, SMALL_VOCAB, 3);
	for (int round = 0; round < 3; round++) {
		cfg.max_tokens = 512;
		assert_int_equal(seq_new(r.e, r.m, &cfg, &a, NULL), 0);
		cfg.max_tokens = 64;
		assert_int_equal(seq_new(r.e, m2, &cfg, &b, NULL), E_BUSY);
		grow(a, 512);
		assert_true(r.e->kv.used + r.e->kv.idle <= r.e->kv.budget);
		seq_free(a);
		cfg.max_tokens = 128;
		assert_int_equal(seq_new(r.e, m2, &cfg, &b, NULL), 0);
		assert_int_equal(seq_new(r.e, r.m, &cfg, &a, NULL), 0);
		append_all(r.e, b, ids, 128, NULL);
		grow(a, 128);
		assert_true(r.e->kv.used + r.e->kv.idle <= r.e->kv.budget);
		seq_free(a);
		seq_free(b);
	}
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reservations_are_made_at_once_and_kept),
	    cmocka_unit_test(appends_beyond_the_reservation_are_refused),
	    cmocka_unit_test(forks_share_full_pages_and_count_them_once),
	    cmocka_unit_test(reservations_can_be_changed),
	    cmocka_unit_test(truncating_a_fork_below_shared_pages_is_honest),
	    cmocka_unit_test(forks_and_parents_do_not_disturb_each_other),
	    cmocka_unit_test(freed_pages_are_wiped),
	    cmocka_unit_test(wanted_rows_are_the_same_numbers),
	    cmocka_unit_test(nan_weights_crash_nothing),
	    cmocka_unit_test(models_with_sequences_stay),
	    cmocka_unit_test(a_budget_is_respected_over_two_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
