/* t_hostile_model.c - damaged model files, all the way through: each is refused with a reason, or
 * it loads and computes something. Run under AddressSanitizer and UBSan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine_help.h"
#include "gguf.h"
#include "qrand.h"

#ifndef ROUNDS
#define ROUNDS 6000 /* seconds; -DROUNDS=... for a long hunt */
#endif

static const struct shape shape = {SMALL_SHAPE, .context = 256, .tied = true, .freqs = true};

static uint64_t state = 1;

static uint32_t rnd(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static int damaged(const uint8_t *good, size_t n, size_t head)
{
	int fd = memfd_create("damaged", MFD_CLOEXEC);
	uint8_t *p = malloc(n);
	uint32_t hits = 1 + rnd(3);

	memcpy(p, good, n);
	while (hits--) {
		uint32_t at = rnd((uint32_t)head), most = (uint32_t)(n - at < 8 ? n - at : 8);

		switch (rnd(3)) {
		case 0:
			p[at] ^= (uint8_t)(1 << rnd(8));
			break;
		case 1:
			p[at] = (uint8_t)rnd(256);
			break;
		default:
			memset(p + at, rnd(2) ? 0xff : 0, 1 + rnd(most));
			break;
		}
	}
	if (rnd(20) == 0)
		n -= rnd((uint32_t)n);
	assert_true(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	free(p);
	return fd;
}

/* True when the file loads; then a prompt and a few tokens are computed. */
static bool try_file(struct engine *e, int fd)
{
	struct gen_limit limit = {.max_new = 3};
	struct seq_cfg cfg = {.max_tokens = 9};
	struct sampler smp;
	struct err err = {0};
	struct model *m = NULL;
	struct seq *s = NULL;
	struct event ev[8];
	job_id job;
	int rc = engine_model_add(e, &fd, 1, NULL, &m, &err);

	close(fd);
	if (rc < 0) {
		assert_true(err.text[0]);
		return false;
	}
	sampler_init(&smp, 1);
	rc = seq_new(e, m, &cfg, &s, &err);
	if (rc == 0 && seq_append(s, (int32_t[]){0, 1, 2, 3, 4}, 5, NULL, &job, &err) == 0 &&
	    seq_generate(s, &smp, &limit, NULL, NULL, &job, &err) == 0) {
		seq_credit(s, 3);
		while (engine_step(e, 0) > 0)
			;
		while (engine_poll(e, ev, 8) > 0)
			;
	}
	seq_free(s);
	assert_int_equal(engine_model_drop(e, m, NULL), 0);
	return true;
}

static const struct shape mixed = {.embd = 256,
				   .layers = 2,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 64,
				   .ff = 256,
				   .vocab = SMALL_VOCAB,
				   .context = 64,
				   .freqs = true,
				   .mixed = true,
				   .scale = 0.5f};
static void hunt(const struct shape *s, int rounds)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 16u << 20};
	int fd = random_model(s, 1, NULL), loaded = 0;
	size_t n = (size_t)lseek(fd, 0, SEEK_END), head;
	uint8_t *good = malloc(n);
	struct engine *e;
	struct gguf g;

	assert_int_equal(pread(fd, good, n, 0), n);
	close(fd);
	assert_int_equal(gguf_parse(&g, span_of(good, n), NULL), 0);
	head = g.data_offset;
	gguf_free(&g);
	assert_int_equal(engine_open(&cfg, &e, NULL), 0);
	for (int i = 0; i < rounds; i++) /* the header, its start, or anywhere */
		loaded += try_file(e, damaged(good, n, rnd(4) ? head : rnd(2) ? 700 : n));
	print_message("%d of %d loaded\n", loaded, rounds);
	assert_true(loaded > 0 && loaded < rounds);
	engine_close(e);
	free(good);
}

static void damaged_files_are_refused_or_computed(void **st)
{
	hunt(&shape, ROUNDS);
}

static void damaged_files_of_all_types_are_refused_or_computed(void **st)
{
	hunt(&mixed, ROUNDS / 4);
}

#define PROMPT 9

/* A copy of the file with one scale of tensor t, in this row, spoiled. */
static int spoiled(const struct gguf *g, const struct gguf_tensor *t, uint32_t row, bool nan)
{
	int fd = memfd_create("spoiled", MFD_CLOEXEC);
	uint8_t block[1024];
	uint64_t bytes;

	assert_true(gtype_row_bytes(t->type, t->dims[0], &bytes));
	assert_true(gtype_info(t->type)->block_bytes <= sizeof(block));
	memcpy(block, t->data.p + row * bytes, gtype_info(t->type)->block_bytes);
	qrand_spoil(t->type, nan, block);
	assert_int_equal(write(fd, g->file.p, g->file.n), g->file.n);
	assert_int_equal(
	    pwrite(fd, block, gtype_info(t->type)->block_bytes, (off_t)(t->offset + row * bytes)),
	    gtype_info(t->type)->block_bytes);
	return fd;
}

/* Prompt rows say so, and no token is drawn, in either class of arithmetic. */
static void never_lost(int fd, const char *kernel, bool one_logit, bool nan)
{
	static const int32_t ids[PROMPT] = {7, 7, 7, 7, 7, 7, 7, 7, 7};
	struct outcome *o = calloc(1, sizeof(*o));
	struct want w = {.rows = WANT_LOGITS_FULL}, best = {.rows = WANT_TOP_K, .k = 2};
	struct gen_limit limit = {.max_new = 3};
	struct sampler smp;
	struct rig r;
	job_id job;

	sampler_init(&smp, 1);
	rig_open(&r, fd, kernel, 1, 4u << 20);
	for (int role = 0; role < 2; role++) {
		struct seq *s = rig_seq(&r, role ? SEQ_GUARD : SEQ_CHAT, 32);
		unsigned bad = 0;

		assert_int_equal(seq_append(s, ids, PROMPT, &w, &job, NULL), 0);
		run_job(r.e, job, o);
		assert_int_equal(o->kind, EV_DONE);
		for (int i = 0; i < SMALL_VOCAB; i++)
			bad += !isfinite(o->rows[i]);
		assert_true(one_logit ? bad == 1 : bad == SMALL_VOCAB);
		assert_int_equal(seq_append(s, ids, 1, &best, &job, NULL), 0);
		run_job(r.e, job, o);
		assert_true(isnan(o->rows[0]) || !nan);
		assert_int_equal(seq_generate(s, &smp, &limit, NULL, NULL, &job, NULL), 0);
		seq_credit(s, 3);
		run_job(r.e, job, o);
		assert_int_equal(o->kind, EV_FAILED);
		assert_int_equal(o->n_tokens, 0);
		seq_free(s);
	}
	rig_close(&r);
	free(o);
}

static void a_scale_that_is_no_number_is_never_lost(void **st)
{
	struct gguf_map map;
	struct gguf g;
	int fd = random_model(&mixed, 2, NULL);

	assert_int_equal(gguf_map(fd, &map, NULL), 0);
	assert_int_equal(gguf_parse(&g, map.bytes, NULL), 0);
	for (const char *const *k = engine_kernel_paths(); *k; k++)
		for (uint32_t i = 0; i < g.n_tensors; i++) {
			const struct gguf_tensor *t = &g.tensors[i];
			bool out = span_eq(t->name, SPAN_LIT("output.weight"));

			if (t->n_dims < 2)
				continue;
			never_lost(spoiled(&g, t, 7, true), *k, out, true);
			never_lost(spoiled(&g, t, 7, false), *k, out, false);
		}
	gguf_free(&g);
	gguf_unmap(&map);
	close(fd);
}

static void contexts_beyond_the_budget_are_refused_at_the_sequence(void **st)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 1u << 20};
	struct shape s = shape;
	struct seq_cfg sc = {.max_tokens = 1u << 20};
	struct engine *e;
	struct model *m;
	struct seq *q;
	int fd;

	s.context = 1u << 20;
	fd = random_model(&s, 1, NULL);
	assert_int_equal(engine_open(&cfg, &e, NULL), 0);
	assert_int_equal(engine_model_add(e, &fd, 1, NULL, &m, NULL), 0);
	close(fd);
	assert_int_equal(seq_new(e, m, &sc, &q, NULL), E_RANGE);
	sc.max_tokens = UINT32_MAX;
	assert_int_equal(seq_new(e, m, &sc, &q, NULL), E_RANGE);
	sc.max_tokens = 64;
	assert_int_equal(seq_new(e, m, &sc, &q, NULL), 0);
	assert_int_equal(seq_reserve(q, 1u << 20), E_BUSY);
	assert_int_equal(seq_reserve(q, UINT32_MAX), E_RANGE);
	seq_free(q);
	engine_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(damaged_files_are_refused_or_computed),
	    cmocka_unit_test(damaged_files_of_all_types_are_refused_or_computed),
	    cmocka_unit_test(a_scale_that_is_no_number_is_never_lost),
	    cmocka_unit_test(contexts_beyond_the_budget_are_refused_at_the_sequence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
