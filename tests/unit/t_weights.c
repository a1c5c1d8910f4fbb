/* t_weights.c - packing a model's matrices at load: the numbers stay, nothing is kept twice, and
 * who loads can follow it and call it off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_help.h"
#include "engine_priv.h"

static const struct shape mixed = {.embd = 256,
				   .layers = 2,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 64,
				   .ff = 512,
				   .vocab = SMALL_VOCAB,
				   .context = 300,
				   .mixed = true};

static struct engine *open_engine(void)
{
	struct engine_cfg cfg = {.threads = 2, .kv_bytes = 1 << 20};
	struct engine *e;

	assert_int_equal(engine_open(&cfg, &e, NULL), 0);
	return e;
}

static void same_rows(const struct wmat *file, const struct wmat *packed)
{
	float *want = malloc(file->cols * sizeof(*want)), *got = malloc(file->cols * sizeof(*got));

	assert_non_null(want);
	assert_non_null(got);
	for (uint32_t r = 0; r < file->rows; r++) {
		kern_portable.expand[file->type](file->p + r * file->row_bytes, want, file->cols);
		wmat_row(packed, r, got);
		if (packed->kind == PACK_NONE) /* by the table's own function */
			for (uint32_t i = 0; i < file->cols; i++)
				assert_true(fabsf(want[i] - got[i]) <=
					    1e-6f * fabsf(want[i]) + 1e-7f);
		else
			assert_memory_equal(want, got, file->cols * sizeof(*want));
	}
	free(want);
	free(got);
}

/* The same model bound once more and left in the file. */
static void packed_matrices_are_those_of_the_file(void **st)
{
	for (int tied = 0; tied < 2; tied++) {
		struct shape s = mixed;
		struct engine *e = open_engine();
		struct gguf_map map;
		struct gguf g;
		struct weights w;
		struct model *m;
		unsigned packed = 0;
		int fd;

		s.tied = tied;
		fd = random_model(&s, 5, NULL);
		assert_int_equal(engine_model_add(e, &fd, 1, NULL, &m, NULL), 0);
		assert_int_equal(gguf_map(fd, &map, NULL), 0);
		assert_int_equal(gguf_parse(&g, map.bytes, NULL), 0);
		assert_int_equal(weights_bind(&w, &g, &m->info, e->k, NULL), 0);
		same_rows(&w.embd, &m->weights.embd);
		same_rows(&w.output, &m->weights.output);
		for (uint32_t i = 0; i < s.layers; i++) {
			const struct layer *a = &w.layers[i], *b = &m->weights.layers[i];
			const struct wmat *from[] = {&a->q,    &a->k,  &a->v,	&a->o,
						     &a->gate, &a->up, &a->down};
			const struct wmat *to[] = {&b->q,    &b->k,  &b->v,   &b->o,
						   &b->gate, &b->up, &b->down};

			for (int j = 0; j < 7; j++) {
				same_rows(from[j], to[j]);
				packed += to[j]->kind != PACK_NONE;
			}
		}
		assert_true(packed >= 4);
		if (tied)
			assert_ptr_equal(m->weights.embd.p, m->weights.output.p);
		else /* few of its rows are read: they stay in the file */
			assert_int_equal(m->weights.embd.kind, PACK_NONE);
		weights_free(&w);
		gguf_free(&g);
		gguf_unmap(&map);
		close(fd);
		engine_close(e);
	}
}

/* Panels of 16 rows would make them larger than the file is. */
static void matrices_of_few_rows_are_not_packed(void **st)
{
	struct shape s = mixed;
	struct engine *e = open_engine();
	struct model *m;
	unsigned might = 0;
	int fd;

	s.heads = 128;
	s.kv_heads = 1;
	s.head_dim = 2;
	fd = random_model(&s, 5, NULL);
	assert_int_equal(engine_model_add(e, &fd, 1, NULL, &m, NULL), 0);
	for (uint32_t i = 0; i < s.layers; i++) {
		const struct wmat *kv[] = {&m->weights.layers[i].k, &m->weights.layers[i].v};

		for (int j = 0; j < 2; j++) {
			assert_int_equal(kv[j]->rows, 2);
			assert_int_equal(kv[j]->kind, PACK_NONE);
			might += pack_kind_of(kv[j]->type, kv[j]->cols) != PACK_NONE;
		}
	}
	assert_true(might > 0);
	close(fd);
	engine_close(e);
}

struct watch {
	unsigned last, calls, stop_at;
};

static bool watch(void *arg, unsigned per_mille)
{
	struct watch *w = arg;

	assert_true(per_mille >= w->last && per_mille <= 1000);
	w->last = per_mille;
	return ++w->calls != w->stop_at;
}

static void loading_can_be_followed_and_called_off_at_any_point(void **st)
{
	struct engine *e = open_engine();
	int fd = random_model(&mixed, 5, NULL);
	struct watch all = {0};
	struct model_opts o = {.progress = watch, .progress_arg = &all};
	struct model *m;

	assert_int_equal(engine_model_add(e, &fd, 1, &o, &m, NULL), 0);
	assert_int_equal(all.last, 1000);
	assert_true(all.calls > 5); /* the matrices are among them */
	for (unsigned at = 1; at <= all.calls; at++) {
		struct watch w = {.stop_at = at};
		struct model *none = NULL;

		o.progress_arg = &w;
		assert_int_equal(engine_model_add(e, &fd, 1, &o, &none, NULL), E_CANCELLED);
		assert_null(none);
		assert_int_equal(w.calls, at);
	}
	assert_int_equal(engine_model_drop(e, m, NULL), 0);
	close(fd);
	engine_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(packed_matrices_are_those_of_the_file),
	    cmocka_unit_test(matrices_of_few_rows_are_not_packed),
	    cmocka_unit_test(loading_can_be_followed_and_called_off_at_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
