/* t_determinism.c - a row's bytes depend on its own tokens and the kernel path alone: not on who
 * shares the batch, on the cut into chunks, or on the number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"
#include "engine_priv.h"

#define LEN 150

static const struct shape shape = {.embd = 64,
				   .layers = 2,
				   .heads = 8,
				   .kv_heads = 2,
				   .head_dim = 32, /* as Q8_0 caches want */
				   .ff = 120,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .freqs = true,
				   .tied = true};

/* Packed and expanded matrices, both classes, panels cut short. */
static const struct shape mixed = {.embd = 256,
				   .layers = 2,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 64,
				   .ff = 512,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .freqs = true,
				   .mixed = true};

/* The model of the test that runs. */
static const struct shape *of = &shape;

struct guard_case {
	const char *kernel;
	uint32_t threads, chunk;
	unsigned company; /* chat sequences that prompt and generate meanwhile */
	enum kv_type kv;
	bool prefix; /* forked from a kept parent, as the policy does */
};

/* Chats that keep the engine busy: half of them generate, half still prompt. */
static void add_company(struct rig *r, unsigned n)
{
	struct sampler smp;
	struct gen_limit limit = {.max_new = 400, .end_ids = (int32_t[]){-1}, .n_end = 1};
	int32_t ids[600];

	sampler_init(&smp, 3);
	for (unsigned i = 0; i < n; i++) {
		struct seq *s = rig_seq(r, SEQ_CHAT, 1100);
		job_id job;

		some_ids(ids, 600, SMALL_VOCAB, i);
		assert_int_equal(seq_append(s, ids, i % 2 ? 600 : 3 + i, NULL, &job, NULL), 0);
		assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
		seq_credit(s, 400);
	}
	for (int i = 0; n && i < 3; i++)
		engine_step(r->e, 0);
}

static void guard_row(const struct guard_case *c, float *out)
{
	struct seq_cfg cfg = {.priority = PRIO_GUARD,
			      .role = c->kv == KV_Q8_0 ? SEQ_CHAT : SEQ_GUARD,
			      .max_tokens = LEN + 60,
			      .kv_type = c->kv};
	struct rig r;
	struct seq *s, *parent = NULL;
	int32_t ids[LEN];

	rig_open(&r, random_model(of, 11, NULL), c->kernel, c->threads, 64u << 20);
	r.e->chunk = c->chunk;
	some_ids(ids, LEN, SMALL_VOCAB, 5);
	add_company(&r, c->company);
	assert_int_equal(seq_new(r.e, r.m, &cfg, &s, NULL), 0);
	if (c->prefix) {
		append_all(r.e, s, ids, 90, NULL);
		parent = s;
		assert_int_equal(seq_fork(parent, 77, &s, NULL), 0);
		append_all(r.e, s, ids, 20, NULL); /* something else, taken back */
		assert_int_equal(seq_truncate(s, 77), 0);
		append_all(r.e, s, ids + 77, LEN - 77, out);
	} else {
		append_all(r.e, s, ids, LEN, out);
	}
	rig_close(&r);
}

static void same_bytes(const struct guard_case *base, const struct guard_case *c)
{
	float a[SMALL_VOCAB], b[SMALL_VOCAB];

	guard_row(base, a);
	guard_row(c, b);
	assert_memory_equal(a, b, sizeof(a));
}

static void guard_rows_do_not_depend_on_chunks(void **st)
{
	static const uint32_t chunks[] = {1, 7, 64, 512};

	for (const char *const *k = engine_kernel_paths(); *k; k++)
		for (int i = 0; i < 4; i++)
			same_bytes(&(struct guard_case){*k, 1, 512, 0, KV_F16, false},
				   &(struct guard_case){*k, 2, chunks[i], 0, KV_F16, false});
}

static void guard_rows_do_not_depend_on_company(void **st)
{
	static const uint32_t chunks[] = {1, 7, 64, 512};

	for (const char *const *k = engine_kernel_paths(); *k; k++)
		for (int i = 0; i < 4; i++)
			same_bytes(&(struct guard_case){*k, 1, 512, 0, KV_F16, false},
				   &(struct guard_case){*k, 2, chunks[i], 9, KV_F16, false});
}

static void guard_rows_do_not_depend_on_threads(void **st)
{
	for (const char *const *k = engine_kernel_paths(); *k; k++)
		for (uint32_t t = 2; t <= 5; t++)
			same_bytes(&(struct guard_case){*k, 1, 0, 0, KV_F16, false},
				   &(struct guard_case){*k, t, 64, 3, KV_F16, false});
}

static void guard_rows_do_not_depend_on_forks_and_truncation(void **st)
{
	for (const char *const *k = engine_kernel_paths(); *k; k++) {
		same_bytes(&(struct guard_case){*k, 1, 512, 0, KV_F16, false},
			   &(struct guard_case){*k, 2, 64, 3, KV_F16, true});
		same_bytes(&(struct guard_case){*k, 1, 512, 0, KV_F32, false},
			   &(struct guard_case){*k, 2, 7, 2, KV_F32, true});
	}
}

static void rows_of_every_kv_type_are_their_own(void **st)
{
	for (const char *const *k = engine_kernel_paths(); *k; k++)
		for (enum kv_type t = KV_F16; t <= KV_Q8_0; t++) {
			const struct guard_case base = {*k, 1, 512, 0, t, false};

			same_bytes(&base, &(struct guard_case){*k, 2, 1, 3, t, false});
			same_bytes(&base, &(struct guard_case){*k, 9, 7, 0, t, false});
			same_bytes(&base, &(struct guard_case){*k, 3, 64, 3, t, true});
		}
}

static void guard_rows_of_quantised_models_do_not_depend_on_anything(void **st)
{
	of = &mixed;
	for (const char *const *k = engine_kernel_paths(); *k; k++) {
		const struct guard_case base = {*k, 1, 512, 0, KV_F16, false};

		same_bytes(&base, &(struct guard_case){*k, 3, 1, 0, KV_F16, false});
		same_bytes(&base, &(struct guard_case){*k, 2, 7, 9, KV_F16, false});
		same_bytes(&base, &(struct guard_case){*k, 1, 64, 3, KV_F16, true});
		same_bytes(&base, &(struct guard_case){*k, 2, 512, 9, KV_F16, true});
	}
	of = &shape;
}

/* The few logits a guard asks for are those of the full row, bit for bit. */
static void chosen_logits_are_those_of_the_full_row(void **st)
{
	for (const char *const *k = engine_kernel_paths(); *k; k++) {
		static const int32_t chosen[] = {3, SMALL_VOCAB - 1, 17, 3};
		struct want w = {.rows = WANT_LOGITS, .ids = chosen, .n_ids = 4};
		struct outcome *o = calloc(1, sizeof(*o));
		float full[SMALL_VOCAB];
		int32_t ids[40];
		struct rig r;
		struct seq *s;
		job_id job;

		rig_open(&r, random_model(&mixed, 11, NULL), *k, 2, 64u << 20);
		some_ids(ids, 40, SMALL_VOCAB, 5);
		append_all(r.e, rig_seq(&r, SEQ_GUARD, 40), ids, 40, full);
		s = rig_seq(&r, SEQ_GUARD, 40);
		assert_int_equal(seq_append(s, ids, 40, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		for (int i = 0; i < 4; i++)
			assert_memory_equal(&o->rows[i], &full[chosen[i]], sizeof(float));
		free(o);
		rig_close(&r);
	}
}

/* What is drawn is of class D whatever is computed beside it. */
static void tokens_of(const struct shape *model, const char *kernel)
{
	struct outcome *o = calloc(2, sizeof(*o));
	struct gen_limit limit = {.max_new = 60, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	int32_t ids[20];

	sampler_init(&smp, 1234);
	smp.temperature = 1.5f;
	some_ids(ids, 20, SMALL_VOCAB, 8);
	for (int i = 0; i < 2; i++) {
		struct rig r;
		struct seq *s;
		job_id job;

		rig_open(&r, random_model(model, 11, NULL), kernel, (uint32_t)(1 + i), 64u << 20);
		add_company(&r, i ? 6 : 0);
		s = rig_seq(&r, SEQ_CHAT, 100);
		append_all(r.e, s, ids, 20, NULL);
		assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
		seq_credit(s, 60);
		run_job(r.e, job, &o[i]);
		assert_int_equal(o[i].n_tokens, 60);
		rig_close(&r);
	}
	assert_memory_equal(o[0].tokens, o[1].tokens, 60 * sizeof(int32_t));
	free(o);
}

static void drawn_tokens_do_not_depend_on_company(void **st)
{
	for (const char *const *k = engine_kernel_paths(); *k; k++) {
		tokens_of(&shape, *k);
		tokens_of(&mixed, *k);
	}
}

/* A cancelled neighbour leaves the batch between two fractions of a layer; those who stay notice
 * nothing. */
static void leaving_neighbours_change_nothing(void **st)
{
	float a[SMALL_VOCAB], b[SMALL_VOCAB];
	int32_t ids[LEN];

	guard_row(&(struct guard_case){NULL, 1, 512, 0, KV_AUTO, false}, a);
	for (int parts = 1, leave = 0; parts < 8; parts += leave, leave = !leave) {
		struct rig r;
		struct seq *x, *y, *s;
		struct want w = {.rows = WANT_LOGITS_FULL};
		struct outcome *o = calloc(1, sizeof(*o));
		job_id jx, jy, job;

		rig_open(&r, random_model(&shape, 11, NULL), NULL, 2, 64u << 20);
		r.e->chunk = 400;
		x = rig_seq(&r, SEQ_GUARD, 200);
		s = rig_seq(&r, SEQ_GUARD, 200);
		y = rig_seq(&r, SEQ_GUARD, 200);
		some_ids(ids, LEN, SMALL_VOCAB, 5);
		assert_int_equal(seq_append(x, ids, 50, NULL, &jx, NULL), 0);
		assert_int_equal(seq_append(s, ids, LEN, &w, &job, NULL), 0);
		assert_int_equal(seq_append(y, ids, 50, NULL, &jy, NULL), 0);
		for (int i = 0; i < parts; i++)
			engine_step(r.e, 1); /* a fraction of a layer */
		assert_int_equal(r.e->urgent.stage, BATCH_LAYERS);
		assert_int_equal(r.m->fwd.n_rows, LEN + 100);
		if (leave) {
			job_cancel(r.e, jx);
			seq_free(y);
		} else {
			seq_free(x);
			job_cancel(r.e, jy);
		}
		run_job(r.e, job, o);
		memcpy(b, o->rows, sizeof(b));
		assert_memory_equal(a, b, sizeof(a));
		free(o);
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(guard_rows_do_not_depend_on_chunks),
	    cmocka_unit_test(guard_rows_do_not_depend_on_company),
	    cmocka_unit_test(guard_rows_do_not_depend_on_threads),
	    cmocka_unit_test(guard_rows_do_not_depend_on_forks_and_truncation),
	    cmocka_unit_test(rows_of_every_kv_type_are_their_own),
	    cmocka_unit_test(guard_rows_of_quantised_models_do_not_depend_on_anything),
	    cmocka_unit_test(chosen_logits_are_those_of_the_full_row),
	    cmocka_unit_test(drawn_tokens_do_not_depend_on_company),
	    cmocka_unit_test(leaving_neighbours_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
