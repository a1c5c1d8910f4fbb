/* t_attn.c - attention over pages, every kernel table and KV type, against double; what a row
 * yields is its own; pages are copied and sized right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn_help.h"
#include "engine_help.h"
#include "engine_priv.h"

#define MAX_POS 720

static const char *const type_name[] = {"", "f16", "f32", "bf16", "q8_0"};

struct scene {
	struct fwd f;
	struct kernels k;
	struct model_info in;
	struct kv kv;
	struct kv_class class;
	struct kv_page *pages[MAX_POS / KV_TOKENS + 1];
	struct kv_page **seq_pages;
};

static void scene_pages(struct scene *s, float size)
{
	uint32_t dim = s->in.head_dim;
	const struct attn_type *t = &s->k.attn->type[s->class.type];
	float x[128];

	for (uint32_t pos = 0; pos < MAX_POS; pos++)
		for (uint32_t h = 0; h < s->in.n_head_kv; h++)
			for (int v = 0; v < 2; v++) {
				for (uint32_t j = 0; j < dim; j++)
					x[j] = unit() * size;
				if (v)
					t->store_v(kv_v(&s->class, s->pages[pos / KV_TOKENS], 1, h),
						   dim, pos % KV_TOKENS, x);
				else
					t->store_k(kv_k(&s->class, s->pages[pos / KV_TOKENS], 1, h),
						   dim, pos % KV_TOKENS, x);
			}
}

static float *scratch(const struct scene *s)
{
	return aligned_alloc(64, fwd_attention_scratch(&s->in) * sizeof(float));
}

static void scene_open(struct scene *s, const struct attn_kernels *a, enum kv_type type,
		       uint32_t group, uint32_t kv_heads, uint32_t dim, uint32_t rows,
		       uint32_t threads)
{
	memset(s, 0, sizeof(*s));
	s->in = (struct model_info){
	    .n_layer = 2, .n_head = group * kv_heads, .n_head_kv = kv_heads, .head_dim = dim};
	s->k.attn = a;
	kv_open(&s->kv, 1u << 30);
	assert_true(kv_class_open(&s->kv, &s->class, 2, kv_heads, dim, type));
	assert_true(kv_promise(&s->class, MAX_POS / KV_TOKENS + 1));
	for (int i = 0; i <= MAX_POS / KV_TOKENS; i++)
		s->pages[i] = kv_take(&s->class);
	scene_pages(s, 1);
	s->f = (struct fwd){.k = &s->k, .in = &s->in, .n_rows = rows};
	assert_int_equal(pool_open(threads, &s->f.pool, NULL), 0);
	s->f.rows = calloc(rows, sizeof(*s->f.rows));
	s->f.runs = calloc(rows, sizeof(*s->f.runs));
	s->f.q = calloc((size_t)rows * s->in.n_head * dim, sizeof(float));
	s->f.att = calloc((size_t)rows * s->in.n_head * dim, sizeof(float));
	s->f.scratch = calloc(threads, sizeof(float *));
	for (uint32_t i = 0; i < threads; i++)
		s->f.scratch[i] = scratch(s);
	assert_true(fwd_parts_open(&s->f));
	for (size_t i = 0; i < (size_t)rows * s->in.n_head * dim; i++)
		s->f.q[i] = unit() * 3;
}

static void scene_close(struct scene *s)
{
	for (uint32_t i = 0; i < pool_threads(s->f.pool); i++)
		free(s->f.scratch[i]);
	pool_close(s->f.pool);
	for (int i = 0; i <= MAX_POS / KV_TOKENS; i++)
		kv_drop(&s->class, s->pages[i]);
	kv_class_close(&s->class);
	free(s->f.rows);
	free(s->f.runs);
	free(s->f.q);
	free(s->f.att);
	free(s->f.scratch);
	free(s->f.parts);
}

/* Rows of one sequence from position `pos` on. */
static void scene_rows(struct scene *s, uint32_t pos)
{
	for (uint32_t i = 0; i < s->f.n_rows; i++)
		s->f.rows[i] =
		    (struct fwd_row){.seq = s, .kv = &s->class, .pages = s->pages, .pos = pos + i};
	fwd_runs(&s->f);
}

static double truth(const struct scene *s, uint32_t row, uint32_t head, double *out)
{
	uint32_t dim = s->in.head_dim, h = head / (s->in.n_head / s->in.n_head_kv);
	uint32_t n = s->f.rows[row].pos + 1;
	const float *q = s->f.q + ((size_t)row * s->in.n_head + head) * dim;
	double p[MAX_POS], max = -INFINITY, sum = 0, size = 0;

	for (uint32_t t = 0; t < n; t++) {
		const uint8_t *k = kv_k(&s->class, s->pages[t / KV_TOKENS], 1, h);

		p[t] = 0;
		for (uint32_t j = 0; j < dim; j++)
			p[t] += (double)q[j] *
				number(s->class.type, k, dim, true, t % KV_TOKENS, j) / sqrt(dim);
		max = fmax(max, p[t]);
	}
	memset(out, 0, dim * sizeof(*out));
	for (uint32_t t = 0; t < n; t++) {
		const uint8_t *v = kv_v(&s->class, s->pages[t / KV_TOKENS], 1, h);
		double w = exp(p[t] - max);

		sum += w;
		for (uint32_t j = 0; j < dim; j++)
			out[j] += w * number(s->class.type, v, dim, false, t % KV_TOKENS, j);
	}
	for (uint32_t j = 0; j < dim; j++) {
		out[j] /= sum;
		size = fmax(size, fabs(out[j]));
	}
	return size;
}

static double worst(const struct scene *s)
{
	uint32_t dim = s->in.head_dim;
	double want[128], e = 0;

	for (uint32_t r = 0; r < s->f.n_rows; r++)
		for (uint32_t h = 0; h < s->in.n_head; h++) {
			const float *got = s->f.att + ((size_t)r * s->in.n_head + h) * dim;

			truth(s, r, h, want);
			for (uint32_t j = 0; j < dim; j++)
				e = fmax(e, fabs(got[j] - want[j]));
		}
	return e;
}

/* Values are in -1 .. 1. */
static void attention_matches_double(void **st)
{
	static const struct {
		uint32_t group, kv_heads, dim, rows, pos;
	} c[] = {{1, 1, 2, 1, 0},      {4, 2, 64, 1, 700},  {4, 2, 64, 19, 0},	{13, 1, 6, 5, 61},
		 {2, 3, 24, 70, 230},  {8, 1, 128, 9, 127}, {1, 2, 80, 66, 33}, {4, 1, 8, 40, 255},
		 {4, 1, 128, 3, 511},  {1, 2, 64, 1, 256},  {13, 1, 64, 7, 60}, {2, 2, 96, 1, 512},
		 {70, 1, 32, 2, 300},  {3, 2, 32, 25, 500}, {1, 1, 64, 130, 0}, {4, 1, 24, 17, 560},
		 {6, 1, 120, 12, 250}, {5, 1, 10, 31, 40}};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		EACH(a)
	EACH_TYPE(type)
	{
		struct scene s;
		double e;

		if (!kv_fits(type, c[i].dim))
			continue;
		scene_open(&s, a, type, c[i].group, c[i].kv_heads, c[i].dim, c[i].rows,
			   1 + rnd() % 3);
		scene_rows(&s, c[i].pos);
		fwd_attention(&s.f, 1);
		e = worst(&s);
		if (e > 2e-6)
			print_message("%s %s case %zu: %.1e\n", a->name, type_name[type], i, e);
		assert_true(e <= 2e-6);
		scene_close(&s);
	}
}

enum { OWN_ROWS = 150, OWN_POS = 200 };

/* Every cut into runs of n rows, each in a batch of its own or all at once. */
static void same_in_pieces(struct scene *s, uint32_t n, const float *want, size_t floats)
{
	const uint32_t last = OWN_POS + OWN_ROWS - 1;

	memset(s->f.att, 0, floats * sizeof(float));
	for (uint32_t i = 0; i < OWN_ROWS; i += n) {
		s->f.runs[0] = (struct fwd_run){i, n < OWN_ROWS - i ? n : OWN_ROWS - i, last};
		s->f.n_runs = 1;
		fwd_attention(&s->f, 1);
	}
	assert_memory_equal(want, s->f.att, floats * sizeof(float));
	memset(s->f.att, 0, floats * sizeof(float));
	s->f.n_runs = 0;
	for (uint32_t i = 0; i < OWN_ROWS; i += n)
		s->f.runs[s->f.n_runs++] =
		    (struct fwd_run){i, n < OWN_ROWS - i ? n : OWN_ROWS - i, last};
	fwd_attention(&s->f, 1);
	assert_memory_equal(want, s->f.att, floats * sizeof(float));
}

/* Together, alone, in other runs, on other numbers of threads. Takes the scene. */
static void rows_are_their_own(struct scene *s)
{
	size_t floats = (size_t)OWN_ROWS * s->in.n_head * s->in.head_dim;
	float *want = malloc(floats * sizeof(float));

	scene_rows(s, OWN_POS);
	fwd_attention(&s->f, 1);
	memcpy(want, s->f.att, floats * sizeof(float));
	for (uint32_t threads = 1; threads <= 9; threads += 4) {
		pool_close(s->f.pool);
		assert_int_equal(pool_open(threads, &s->f.pool, NULL), 0);
		s->f.scratch = realloc(s->f.scratch, threads * sizeof(float *));
		for (uint32_t i = 1; i < threads; i++)
			s->f.scratch[i] = scratch(s);
		for (uint32_t n = 1; n <= 7; n += 2)
			same_in_pieces(s, n, want, floats);
		for (uint32_t i = 1; i < threads; i++)
			free(s->f.scratch[i]);
	}
	pool_close(s->f.pool);
	assert_int_equal(pool_open(1, &s->f.pool, NULL), 0);
	free(want);
	scene_close(s);
}

static void a_row_is_its_own(void **st)
{
	struct scene s;

	EACH(a)
	EACH_TYPE(type)
	for (uint32_t group = 1; group <= 4; group += 3) {
		scene_open(&s, a, type, group, 2, 32, OWN_ROWS, 1);
		rows_are_their_own(&s);
	}
}

/* Class P of tables whose form is bf16: as close as that allows, and just as independent; what is
 * sampled stays exact. */
static void prompt_rows_in_bf16_are_close_and_their_own(void **st)
{
	struct scene s;
	double e;

	for (const char *const *name = kern_names(); *name; name++) {
		const struct kernels *k = kern_pick(*name);

		if (k->p_form != P_BF16 || !k->attn->panels)
			continue;
		EACH_TYPE(type)
		for (uint32_t dim = 32; dim <= 96; dim += 32) {
			scene_open(&s, k->attn, type, 4, 2, dim, OWN_ROWS, 1);
			s.k = *k;
			s.f.p_attn = true;
			scene_rows(&s, OWN_POS);
			fwd_attention(&s.f, 1);
			e = worst(&s);
			assert_true(e <= (type == KV_F32 ? 2e-6 : 6e-3));
			assert_true(type == KV_F32 || e > 1e-5); /* or the test misses it */
			for (uint32_t i = 0; i < OWN_ROWS; i++)
				s.f.rows[i].sampled = true;
			fwd_attention(&s.f, 1);
			assert_true(worst(&s) <= 2e-6);
			rows_are_their_own(&s);
		}
	}
}

/* A token that is not finite spoils every row that sees it and none before it. k: for class P. */
static void bad_token(const struct attn_kernels *a, const struct kernels *k, enum kv_type type,
		      bool v, float bad)
{
	enum { ROWS = 90, POS = 210, AT = 262 };
	size_t bytes = (size_t)ROWS * 4 * 64 * sizeof(float);
	float x[64], *before = malloc(bytes);
	struct kv_page *page;
	struct scene s;

	scene_open(&s, a, type, 4, 1, 64, ROWS, 2);
	if (k)
		s.k = *k;
	s.f.p_attn = k != NULL;
	scene_rows(&s, POS);
	fwd_attention(&s.f, 1);
	memcpy(before, s.f.att, bytes);
	for (int j = 0; j < 64; j++)
		x[j] = unit();
	x[9] = bad;
	page = s.pages[AT / KV_TOKENS];
	if (v)
		a->type[type].store_v(kv_v(&s.class, page, 1, 0), 64, AT % KV_TOKENS, x);
	else
		a->type[type].store_k(kv_k(&s.class, page, 1, 0), 64, AT % KV_TOKENS, x);
	fwd_attention(&s.f, 1);
	assert_memory_equal(before, s.f.att, (size_t)(AT - POS) * 4 * 64 * sizeof(float));
	for (int c = (AT - POS) * 4; c < ROWS * 4; c++)
		if (isnan(bad) || v || type == KV_Q8_0)
			assert_false(isfinite(s.f.att[c * 64 + 9]));
	free(before);
	scene_close(&s);
}

static void nan_reaches_all_who_see_it_and_nobody_else(void **st)
{
	const struct kernels *best = kern_pick(NULL);

	EACH(a)
	EACH_TYPE(type)
	for (int i = 0; i < 4; i++) {
		bad_token(a, NULL, type, i & 1, i & 2 ? NAN : INFINITY);
		if (best->attn == a && best->p_form == P_BF16)
			bad_token(a, best, type, i & 1, i & 2 ? NAN : INFINITY);
	}
}

/* ---- pages ---- */

static void copies_hold_the_first_tokens_and_nothing_else(void **st)
{
	static const uint32_t tokens[] = {1, 17, 63, 64};

	EACH_TYPE(type)
	for (int i = 0; i < 4; i++) {
		struct scene s;
		struct kv_page *p;

		scene_open(&s, &attn_portable, type, 1, 2, 96, 1, 1);
		assert_true(kv_promise(&s.class, 1));
		p = kv_take(&s.class);
		kv_copy(&s.class, p, s.pages[0], tokens[i]);
		for (uint32_t l = 0; l < 2; l++)
			for (uint32_t b = 0; b < 4; b++) {
				const uint8_t *from = kv_k(&s.class, s.pages[0], l, b);
				const uint8_t *to = kv_k(&s.class, p, l, b);

				for (uint32_t t = 0; t < KV_TOKENS; t++)
					for (uint32_t j = 0; j < 96; j++) {
						float x = number(type, to, 96, b < 2, t, j);
						float y = number(type, from, 96, b < 2, t, j);

						assert_true(x == (t < tokens[i] ? y : 0));
						assert_true(l == 0 || y != 0 || type == KV_Q8_0);
					}
			}
		if (tokens[i] == KV_TOKENS)
			assert_memory_equal(p->data, s.pages[0]->data,
					    s.class.page_bytes - sizeof(*p));
		kv_drop(&s.class, p);
		for (size_t b = 0; b < s.class.page_bytes - sizeof(*p); b++)
			assert_int_equal(p->data[b], 0);
		scene_close(&s);
	}
}

static void pages_are_as_large_as_said(void **st)
{
	EACH_TYPE(type)
	{
		struct kv kv;
		struct kv_class c;

		kv_open(&kv, 1u << 30);
		assert_true(kv_class_open(&kv, &c, 16, 8, 64, type));
		assert_int_equal(c.page_bytes - sizeof(struct kv_page),
				 16 * 8 * KV_TOKENS * kv_token_bytes(type, 64));
		assert_int_equal(c.block_bytes % 64, 0);
		kv_class_close(&c);
		assert_int_equal(kv_class_open(&kv, &c, 16, 8, 48, type), type != KV_Q8_0);
		assert_false(kv_class_open(&kv, &c, UINT32_MAX, UINT32_MAX, 1024, type));
		kv_class_close(&c);
	}
	assert_int_equal(kv_token_bytes(KV_Q8_0, 64), 2 * (64 + 4));
}

static void types_are_refused_where_they_do_not_fit(void **st)
{
	struct shape shape = {.embd = 64,
			      .layers = 1,
			      .heads = 2,
			      .kv_heads = 1,
			      .head_dim = 32,
			      .ff = 32,
			      .vocab = SMALL_VOCAB,
			      .context = 256};

	for (int narrow = 0; narrow < 2; narrow++) {
		struct rig r;

		shape.head_dim = narrow ? 16 : 32;
		rig_open(&r, random_model(&shape, 3, NULL), NULL, 1, 16u << 20);
		for (int t = KV_AUTO; t <= KV_TYPES; t++)
			for (int role = SEQ_CHAT; role <= SEQ_GUARD; role++) {
				struct seq_cfg cfg = {.max_tokens = 100,
						      .kv_type = (enum kv_type)t,
						      .role = (enum seq_role)role};
				bool ok =
				    t < KV_TYPES && (t != KV_Q8_0 || (!narrow && role == SEQ_CHAT));
				struct seq *s = NULL;
				int rc = seq_new(r.e, r.m, &cfg, &s, NULL);

				assert_int_equal(rc, ok ? 0 : E_UNSUPPORTED);
				seq_free(s);
			}
		rig_close(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(attention_matches_double),
	    cmocka_unit_test(a_row_is_its_own),
	    cmocka_unit_test(prompt_rows_in_bf16_are_close_and_their_own),
	    cmocka_unit_test(nan_reaches_all_who_see_it_and_nobody_else),
	    cmocka_unit_test(copies_hold_the_first_tokens_and_nothing_else),
	    cmocka_unit_test(pages_are_as_large_as_said),
	    cmocka_unit_test(types_are_refused_where_they_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
