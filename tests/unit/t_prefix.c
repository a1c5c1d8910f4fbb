/* t_prefix.c - the prefix cache: what is shared and with whom, what never is, bytes with and
 * without it, order of eviction, wiping. Texts and faults: t_prefix_text.c. Random operations:
 * t_prefix_random.c. */
#include "prefix_help.h"

static const struct shape mixed = {.embd = 256,
				   .layers = 3,
				   .heads = 8,
				   .kv_heads = 2,
				   .head_dim = 32,
				   .ff = 512,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .mixed = true};

/* One prompt without a domain, then twice in one, cut otherwise each time. */
static void same_rows(uint32_t len, enum kv_type type, const uint32_t *chunk)
{
	struct seq_cfg cfg = {.max_tokens = 700, .kv_type = type};
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	struct seq *s;

	for (int round = 0; round < 3; round++) {
		uint32_t had, all = (len - 1) / 64 * 64;

		r.e->chunk = chunk[round];
		cfg.cache_domain = round ? 9 : 0;
		assert_int_equal(seq_new(r.e, r.m, &cfg, &s, NULL), 0);
		had = put(s, ids, len, round ? got : want);
		assert_true(round == 0 ? had == 0 : round == 1 ? had <= all : had == all);
		if (round)
			assert_memory_equal(got, want, sizeof(got));
		seq_free(s);
	}
}

static void rows_are_the_same_with_and_without(void **st)
{
	static const uint32_t lens[] = {65, 128, 129, 300, 640}, chunks[] = {1, 7, 64, 512, 1, 7};

	for (const char *const *k = engine_kernel_paths(); *k; k++) {
		open_rig(*k, 100);
		for (enum kv_type t = KV_AUTO + 1; t < KV_TYPES; t++)
			for (size_t i = 0; i < 5; i++)
				same_rows(lens[i], t, chunks + i % 4);
		rig_close(&r);
		of = &mixed; /* matrices of all types */
		open_rig(*k, 100);
		for (size_t i = 0; i < 5; i++)
			same_rows(lens[i], KV_F16, chunks + (i + 1) % 4);
		rig_close(&r);
		of = &shape;
	}
}

static void domains_share_nothing(void **st)
{
	struct engine_stats stats;
	float a[SMALL_VOCAB], b[SMALL_VOCAB];

	open_rig(NULL, 40);
	assert_int_equal(visit(1, ids, 300, a), 0);
	assert_int_equal(visit(2, ids, 300, b), 0); /* the same prompt in another domain */
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(visit(1, ids, 300, NULL), 256);
	assert_int_equal(visit(3, ids, 300, NULL), 0);
	engine_stats(r.e, &stats);
	assert_int_equal(stats.tokens_cached, 256);
	assert_int_equal(r.e->prefix.n, 12);
	assert_int_equal(visit(0, ids, 300, NULL), 0); /* 0 takes nothing and leaves nothing */
	assert_int_equal(visit(0, ids, 300, NULL), 0);
	assert_int_equal(r.e->prefix.n, 12);
	/* nor is a page shared with one that differs in its last token, or stands elsewhere */
	memcpy(other, ids, sizeof(ids));
	other[63] = (ids[63] + 1) % SMALL_VOCAB;
	assert_int_equal(visit(1, other, 300, NULL), 0);
	assert_int_equal(visit(1, ids + 64, 236, NULL), 0);
	rig_close(&r);
}

static void kv_types_share_nothing(void **st)
{
	struct seq_cfg cfg = {.cache_domain = 1, .max_tokens = 300, .kv_type = KV_F16};
	struct seq *s;

	open_rig(NULL, 40);
	for (int i = 0; i < 4; i++) {
		cfg.kv_type = i % 2 ? KV_F32 : KV_F16;
		assert_int_equal(seq_new(r.e, r.m, &cfg, &s, NULL), 0);
		assert_int_equal(put(s, ids, 300, NULL), i < 2 ? 0 : 256);
		seq_free(s);
	}
	rig_close(&r);
}

/* The last row is always computed; all wanted rows are. */
static void wanted_rows_are_computed(void **st)
{
	struct want w = {.rows = WANT_LOGITS_FULL, .all_rows = true};
	struct outcome *o = calloc(1, sizeof(*o));
	struct seq *s;
	job_id job;

	open_rig(NULL, 40);
	visit(1, ids, 128, NULL);
	assert_int_equal(visit(1, ids, 128, NULL), 64);
	assert_int_equal(visit(1, ids, 129, NULL), 128);
	s = seq_in(1, 129);
	assert_int_equal(seq_append(s, ids, 129, &w, &job, NULL), 0);
	run_job(r.e, job, o);
	assert_int_equal(o->cached, 0);
	assert_int_equal(o->n_rows, 129);
	free(o);
	rig_close(&r);
}

static uint32_t generate(struct seq *s, uint32_t n, int32_t *out)
{
	struct gen_limit limit = {.max_new = n, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct outcome *o = calloc(1, sizeof(*o));
	struct sampler smp;
	job_id job;

	sampler_init(&smp, 3);
	smp.temperature = 2;
	assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
	seq_credit(s, n);
	run_job(r.e, job, o);
	assert_int_equal(o->n_tokens, n);
	memcpy(out, o->tokens, n * sizeof(*out));
	free(o);
	return n;
}

/* What was sampled, and all behind it, is class D or hangs on it. */
static void pages_with_sampled_tokens_never_match(void **st)
{
	int32_t all[600];
	struct seq *s;

	open_rig(NULL, 40);
	s = seq_in(1, 600);
	memcpy(all, ids, 100 * sizeof(*all));
	put(s, ids, 100, NULL);
	generate(s, 100, all + 100);
	memcpy(all + 199, other, 300 * sizeof(*all)); /* the last one sampled is not computed */
	put(s, other, 300, NULL);
	assert_int_equal(r.e->prefix.n, 1);
	seq_free(s);
	assert_int_equal(visit(1, all, 499, NULL), 64); /* of the prompt alone */
	assert_int_equal(visit(1, all, 499, NULL), 448);
	/* cut back to the prompt, it is class P again */
	s = seq_in(1, 600);
	put(s, ids, 100, NULL);
	generate(s, 50, all + 100);
	assert_int_equal(seq_truncate(s, 100), 0);
	put(s, other, 200, NULL);
	memcpy(all + 100, other, 200 * sizeof(*all));
	seq_free(s);
	assert_int_equal(visit(1, all, 300, NULL), 256);
	rig_close(&r);
}

/* What will be taken back (a guard's reading of what nobody has seen yet) leaves no trace, and no
 * planted page makes it faster. */
static void transient_tokens_neither_enter_nor_match(void **st)
{
	struct want w = {.transient = 300};
	struct outcome *o = calloc(1, sizeof(*o));
	struct seq *s;
	job_id job;

	open_rig(NULL, 60);
	for (int planted = 0; planted < 2; planted++) {
		s = seq_in(1, 600);
		assert_int_equal(seq_append(s, ids, 400, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		assert_int_equal(o->cached, planted ? 64 : 0);	   /* of the first 100 */
		assert_int_equal(put(s, ids + 400, 200, NULL), 0); /* nor what follows them */
		seq_free(s);
		assert_int_equal(r.e->prefix.n, planted ? 9 : 1);
		assert_int_equal(visit(1, ids, 600, NULL), planted ? 576 : 64);
	}
	s = seq_in(1, 600);
	assert_int_equal(seq_append(s, ids, 400, &w, &job, NULL), 0);
	run_job(r.e, job, o);
	assert_int_equal(seq_truncate(s, 100), 0); /* taken back: as if they had never been */
	assert_int_equal(put(s, ids + 100, 500, NULL), 576 - 100);
	seq_free(s);
	free(o);
	rig_close(&r);
}

static void a_cancelled_prompt_leaves_its_full_pages(void **st)
{
	struct seq *s;
	job_id job;

	open_rig(NULL, 40);
	r.e->chunk = 50;
	s = seq_in(1, 600);
	assert_int_equal(seq_append(s, ids, 600, NULL, &job, NULL), 0);
	while (seq_len(s) < 300)
		engine_step(r.e, 0);
	engine_step(r.e, 1); /* one layer more */
	job_cancel(r.e, job);
	while (engine_step(r.e, 0) > 0)
		;
	assert_int_equal(seq_len(s), 300);
	seq_free(s);
	assert_int_equal(visit(1, ids, 600, NULL), 256);
	rig_close(&r);
}

static void a_second_prompt_in_the_queue_finds_the_first(void **st)
{
	struct outcome *o = calloc(1, sizeof(*o));
	struct seq *a, *b;
	job_id ja, jb;

	open_rig(NULL, 60);
	r.e->chunk = 64;
	a = seq_in(1, 600);
	b = seq_in(1, 600);
	assert_int_equal(seq_append(a, ids, 600, NULL, &ja, NULL), 0);
	assert_int_equal(seq_append(b, ids, 600, NULL, &jb, NULL), 0);
	run_job(r.e, jb, o);
	assert_int_equal(o->cached, 576); /* it waited for each */
	assert_int_equal(o->computed + o->cached, 600);
	assert_int_equal(r.e->stats.tokens_prompt, 624);
	assert_int_equal(r.e->prefix.n, 9);
	for (int i = 0; i < 9; i++)
		assert_ptr_equal(a->pages[i], b->pages[i]);
	seq_free(a);
	seq_free(b);
	assert_int_equal(r.e->kv.used, 9 * page);
	free(o);
	rig_close(&r);
}

static void the_least_recently_used_page_gives_way_first(void **st)
{
	struct seq *s;

	open_rig(NULL, 10);
	visit(1, ids, 193, NULL);   /* 3 pages, and one more for the last token */
	visit(1, other, 193, NULL); /* 3 pages */
	assert_int_equal(r.e->kv.resting, 6 * page);
	assert_int_equal(visit(1, ids, 193, NULL), 192); /* used again */
	s = seq_in(2, 64 * 10);				 /* a promise alone takes nothing away */
	assert_int_equal(r.e->prefix.n, 6);
	put(s, ids, 64 * 6, NULL); /* room for 4 is free */
	assert_int_equal(r.e->kv.used, 10 * page);
	seq_free(s);
	assert_int_equal(visit(1, other, 193, NULL), 64); /* its deepest ones went */
	engine_cache_clear(r.e, 1);
	engine_cache_clear(r.e, 2);
	visit(1, ids, 193, NULL);
	visit(1, other, 193, NULL);
	s = seq_in(2, 64 * 10); /* everything gives way */
	put(s, ids, 640, NULL);
	assert_int_equal(r.e->prefix.n, 10);
	assert_int_equal(r.e->kv.resting, 0);
	seq_free(s);
	rig_close(&r);
}

/* A cached page that is in use stays; what it costs is what it would cost without the cache. */
static void sharing_never_makes_anything_busy(void **st)
{
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	struct seq *a, *b;

	open_rig(NULL, 8);
	visit(1, ids, 256, want);
	a = seq_in(1, 256);
	b = seq_in(1, 256);
	assert_int_equal(put(a, ids, 256, NULL), 192);
	assert_int_equal(put(b, ids, 256, NULL), 192);
	assert_int_equal(r.e->kv.used - r.e->kv.resting + r.e->kv.promised, 8 * page);
	/* both leave the shared pages, in the middle of one too, though all room is taken */
	assert_int_equal(seq_truncate(a, 100), 0);
	put(a, other, 156, NULL);
	assert_int_equal(seq_truncate(b, 70), 0);
	assert_int_equal(seq_truncate(b, 10), 0);
	put(b, other, 246, NULL);
	assert_int_equal(r.e->kv.used, 8 * page);
	assert_int_equal(r.e->kv.used - r.e->kv.resting + r.e->kv.promised, 8 * page);
	assert_int_equal(seq_truncate(a, 3), 0);
	assert_int_equal(seq_truncate(b, 0), 0);
	put(b, ids, 256, got);
	assert_memory_equal(got, want, sizeof(got));
	assert_int_equal(seq_truncate(a, 0), 0);
	put(a, ids, 256, got);
	assert_memory_equal(got, want, sizeof(got));
	seq_free(a);
	seq_free(b);
	assert_int_equal(r.e->kv.used, r.e->kv.resting);
	engine_cache_clear(r.e, 1);
	assert_int_equal(r.e->kv.used + r.e->kv.promised, 0);
	rig_close(&r);
}

static void forks_of_cached_pages_work_and_leave(void **st)
{
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	struct seq *a, *b, *c;

	open_rig(NULL, 60);
	visit(0, ids, 400, want);
	visit(1, ids, 300, NULL);
	a = seq_in(1, 500);
	assert_int_equal(put(a, ids, 290, NULL), 256);
	assert_int_equal(seq_fork(a, 290, &b, NULL), 0);
	assert_int_equal(seq_fork(b, 200, &c, NULL), 0);
	assert_int_equal(seq_truncate(a, 0), 0);
	seq_free(a);
	put(b, ids + 290, 110, got);
	assert_memory_equal(got, want, sizeof(got));
	assert_int_equal(seq_truncate(b, 130), 0);
	assert_int_equal(put(c, ids + 200, 200, got), 184); /* what b left: 384 - 200 */
	assert_memory_equal(got, want, sizeof(got));
	assert_int_equal(put(b, ids + 130, 270, got), 254);
	assert_memory_equal(got, want, sizeof(got));
	seq_free(b);
	seq_free(c);
	engine_cache_clear(r.e, 1);
	assert_int_equal(r.e->kv.used + r.e->kv.promised, 0);
	rig_close(&r);
}

static bool zeros(const struct kv_page *p)
{
	for (size_t i = 0; i < page - sizeof(*p); i++)
		if (p->data[i])
			return false;
	return true;
}

static void a_cleared_domain_is_wiped(void **st)
{
	struct kv_page *p[3], *held;
	struct seq *s, *live;

	open_rig(NULL, 40);
	visit(2, ids, 193, NULL);
	s = seq_in(1, 193);
	put(s, ids, 193, NULL);
	memcpy(p, s->pages, sizeof(p));
	seq_free(s);
	live = seq_in(1, 300);
	put(live, other, 100, NULL);
	held = live->pages[0];
	for (int i = 0; i < 3; i++)
		assert_false(zeros(p[i])); /* kept for the next turn */
	engine_cache_clear(r.e, 1);
	for (int i = 0; i < 3; i++)
		assert_true(zeros(p[i]));
	assert_int_equal(visit(1, ids, 193, NULL), 0);
	assert_int_equal(visit(2, ids, 193, NULL), 192); /* others keep theirs */
	assert_false(zeros(held));			 /* in use, but nobody finds it */
	assert_int_equal(visit(1, other, 100, NULL), 0);
	engine_cache_clear(r.e, 1);
	put(live, ids, 200, NULL);
	assert_int_equal(r.e->prefix.n, 3); /* nor what it computes from now on */
	seq_free(live);
	assert_true(zeros(held));
	visit(1, ids, 193, NULL);
	engine_cache_clear(r.e, 0); /* everybody's */
	assert_int_equal(r.e->kv.used + r.e->prefix.n, 0);
	rig_close(&r);
}

static void a_model_goes_with_its_pages(void **st)
{
	open_rig(NULL, 40);
	visit(1, ids, 300, NULL);
	assert_int_equal(engine_model_drop(r.e, r.m, NULL), 0);
	assert_int_equal(r.e->prefix.n, 0);
	assert_int_equal(r.e->kv.used + r.e->kv.promised + r.e->kv.resting, 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_are_the_same_with_and_without),
	    cmocka_unit_test(domains_share_nothing),
	    cmocka_unit_test(kv_types_share_nothing),
	    cmocka_unit_test(wanted_rows_are_computed),
	    cmocka_unit_test(pages_with_sampled_tokens_never_match),
	    cmocka_unit_test(transient_tokens_neither_enter_nor_match),
	    cmocka_unit_test(a_cancelled_prompt_leaves_its_full_pages),
	    cmocka_unit_test(a_second_prompt_in_the_queue_finds_the_first),
	    cmocka_unit_test(the_least_recently_used_page_gives_way_first),
	    cmocka_unit_test(sharing_never_makes_anything_busy),
	    cmocka_unit_test(forks_of_cached_pages_work_and_leave),
	    cmocka_unit_test(a_cleared_domain_is_wiped),
	    cmocka_unit_test(a_model_goes_with_its_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
