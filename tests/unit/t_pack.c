/* t_pack.c - packed weights are the file's weights, and every table's products of the classes P and
 * D are what pack.h says: D the same bits everywhere, each value independent of its company. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "kern_port.h"

#define K 1024
#define COLS 33

static uint64_t rnd_state = 1;

static uint32_t rnd(void)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rnd_state >> 32);
}

static float unit(void)
{
	return (float)rnd() / 2147483648.0f - 1;
}

#define EACH(k)                                                                                    \
	for (const char *const *k##_name = kern_names(); *k##_name; k##_name++)                    \
		for (const struct kernels *k = kern_pick(*k##_name); k; k = NULL)

static const struct {
	enum gtype type;
	enum pack_kind kind;
	int halves[2]; /* where a block has a half float; -1: none */
} kinds[] = {{GT_Q4_0, PACK_Q4_0, {0, -1}},   {GT_Q8_0, PACK_Q8_0, {0, -1}},
	     {GT_Q4_K, PACK_Q4_K, {0, 2}},    {GT_Q5_K, PACK_Q5_K, {0, 2}},
	     {GT_Q6_K, PACK_Q6_K, {208, -1}}, {GT_F16, PACK_F16, {0, -1}},
	     {GT_BF16, PACK_BF16, {-1, -1}}};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define INTEGER_KINDS 5 /* the first ones */

struct matrix {
	uint8_t *file, *panel;
	uint64_t row_bytes;
	uint32_t k;
	unsigned rows;
};

/* Random bytes; sane: scales and numbers about 1, no infinities. */
static struct matrix matrix_of(size_t kind, unsigned rows, uint32_t k, bool sane)
{
	const struct gtype_info *t = gtype_info(kinds[kind].type);
	struct matrix m = {.k = k, .rows = rows};
	size_t n;

	assert_true(gtype_row_bytes(kinds[kind].type, k, &m.row_bytes));
	n = m.row_bytes * rows;
	m.file = malloc(n + 1);
	m.panel = malloc(pack_panel_bytes(kinds[kind].kind, k));
	assert_non_null(m.file);
	assert_non_null(m.panel);
	memset(m.panel, 0xaa, pack_panel_bytes(kinds[kind].kind, k));
	for (size_t i = 0; i < n + 1; i++)
		m.file[i] = (uint8_t)rnd();
	/* odd addresses, as files may have them */
	for (uint8_t *b = m.file + 1; sane && b < m.file + 1 + n; b += t->block_bytes) {
		for (int h = 0; h < 2; h++)
			if (kinds[kind].halves[h] >= 0)
				put_le16(b + kinds[kind].halves[h],
					 f32_half(ldexpf(unit(), -(int)(rnd() % 8))));
		if (kinds[kind].type == GT_BF16)
			b[1] = (uint8_t)((b[1] & 0x80) | 0x3e);
	}
	pack_panel(kinds[kind].kind, m.file + 1, m.row_bytes, rows, k, m.panel);
	return m;
}

static void matrix_free(struct matrix *m)
{
	free(m->file);
	free(m->panel);
}

/* What pack.h says of a row, in fp32, by way of the type's own expand function. */
static void truth_row(size_t kind, const struct matrix *m, unsigned r, float *out)
{
	kern_expand expand = kern_portable.expand[kinds[kind].type];

	if (expand)
		expand(m->file + 1 + r * m->row_bytes, out, m->k);
	else
		pack_row(kinds[kind].kind, m->panel, r, m->k, out);
}

static bool same_number(float a, float b)
{
	return memcmp(&a, &b, sizeof(a)) == 0 || (isnan(a) && isnan(b));
}

static void kinds_and_sizes_are_those_of_the_contract(void **st)
{
	assert_int_equal(pack_kind_of(GT_Q4_K, 512), PACK_Q4_K);
	assert_int_equal(pack_kind_of(GT_F16, 64), PACK_F16);
	assert_int_equal(pack_kind_of(GT_F16, 33), PACK_NONE);
	assert_int_equal(pack_kind_of(GT_F32, 64), PACK_NONE);
	assert_int_equal(pack_kind_of(GT_Q4_1, 64), PACK_NONE);
	assert_int_equal(pack_kind_of(GT_F16, 0), PACK_NONE);
	for (size_t i = 0; i < N_KINDS; i++) {
		uint32_t k = pack_group_k(kinds[i].kind);
		uint64_t file;

		assert_true(gtype_row_bytes(kinds[i].type, k, &file));
		assert_int_equal(pack_panel_bytes(kinds[i].kind, 3 * k),
				 3 * pack_group_bytes(kinds[i].kind));
		/* scales lie unpacked: a little more than the file, never 4 per cent */
		assert_true(pack_group_bytes(kinds[i].kind) >= 16 * file);
		assert_true(pack_group_bytes(kinds[i].kind) * 100 < 16 * file * 104);
	}
	assert_int_equal(pack_panel_bytes(PACK_NONE, 512), 0);
}

static void packed_rows_are_the_files_rows(void **st)
{
	static const unsigned rows[] = {16, 1, 7, 15};
	float want[512], got[512];

	for (size_t i = 0; i < N_KINDS; i++)
		for (int round = 0; round < 40; round++) {
			unsigned n = rows[round % 4];
			struct matrix m = matrix_of(i, n, 512, round % 8 < 4);

			for (unsigned r = 0; r < 16; r++) {
				pack_row(kinds[i].kind, m.panel, r, 512, got);
				if (r < n)
					truth_row(i, &m, r, want);
				for (int j = 0; j < 512; j++)
					assert_true(r < n ? same_number(got[j], want[j])
							  : got[j] == 0);
			}
			matrix_free(&m);
		}
}

/* ---- activations ---- */

static void blocks_of_activations_are_the_nearest(void **st)
{
	EACH(k)
	for (int round = 0; round < 3000; round++) {
		float x[64], scale = ldexpf(1, (int)(rnd() % 200) - 100);
		struct dblock b[2];

		for (int i = 0; i < 64; i++)
			x[i] = unit() * scale;
		k->d_form_x(x, b, 64);
		for (int j = 0; j < 2; j++) {
			float amax = 0;
			int lo = 0, hi = 0;

			for (int i = 0; i < 32; i++)
				amax = fmaxf(amax, fabsf(x[32 * j + i]));
			assert_true(b[j].dx == amax / 127);
			for (int i = 0; i < 32; i++) {
				float v = x[32 * j + i] * (127 / amax);

				assert_true(b[j].q[i] == (int)nearbyintf(v));
				*(i < 16 ? &lo : &hi) += b[j].q[i];
			}
			assert_true(b[j].lo == lo && b[j].hi == hi);
			assert_true(b[j].sx == b[j].dx * (float)(lo + hi));
		}
	}
}

static void empty_and_tiny_blocks_are_zero(void **st)
{
	static const float tiny[] = {0, -0.0f, 1e-45f, -1e-40f, 0x1p-119f, 0x1.fffffep-119f};
	static const struct dblock zero;

	EACH(k)
	for (size_t i = 0; i < sizeof(tiny) / sizeof(tiny[0]); i++) {
		float x[32] = {0};
		struct dblock b;

		x[rnd() % 32] = tiny[i];
		k->d_form_x(x, &b, 32);
		assert_memory_equal(&b, &zero, sizeof(b));
		x[5] = 0x1p-118f;
		k->d_form_x(x, &b, 32);
		assert_true(b.q[5] == 127 && b.dx == 0x1p-118f / 127);
	}
}

/* Halves are ties: with amax 127 the scaled number is the number itself. */
static void ties_go_to_even(void **st)
{
	EACH(k)
	{
		float x[32] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f, 126.5f, -126.5f};
		static const int8_t want[] = {127, 0, 2, 2, 0, -2, -2, 126, 126, -126};
		struct dblock b;

		k->d_form_x(x, &b, 32);
		assert_memory_equal(b.q, want, sizeof(want));
	}
}

/* ---- class D ---- */

static float *vectors(unsigned n, uint32_t k)
{
	float *x = malloc((size_t)n * k * sizeof(float));

	assert_non_null(x);
	for (size_t i = 0; i < (size_t)n * k; i++)
		x[i] = unit() * ldexpf(1, (int)(rnd() % 5));
	return x;
}

/* The products of cols vectors; x as the kind wants it. */
static void d_products(const struct kernels *k, size_t kind, const struct matrix *m, const float *x,
		       unsigned cols, float *y)
{
	struct dblock *b = calloc((size_t)cols * m->k / 32, sizeof(*b));

	assert_non_null(b);
	if (kind < INTEGER_KINDS) {
		k->d_form_x(x, b, (size_t)cols * m->k);
		k->d_mul[kinds[kind].kind](m->panel, m->k, b, m->k / 32, cols, y, 16);
	} else {
		k->d_mul[kinds[kind].kind](m->panel, m->k, x, m->k, cols, y, 16);
	}
	free(b);
}

static double d_truth(size_t kind, const float *w, const float *x, uint32_t k, double *size)
{
	double sum = 0;
	struct dblock b;

	*size = 0;
	for (uint32_t i = 0; i < k; i++) {
		double v = x[i];

		if (kind < INTEGER_KINDS) {
			if (i % 32 == 0)
				port_d_form_x(x + i, &b, 32);
			v = (double)b.q[i % 32] * b.dx;
		}
		sum += v * w[i];
		*size += fabs(v * w[i]);
	}
	return sum;
}

static void sampled_products_are_right(void **st)
{
	float *w = malloc(K * sizeof(*w)), y[16 * D_COLS];

	for (size_t i = 0; i < N_KINDS; i++)
		for (int round = 0; round < 8; round++) {
			uint32_t k = pack_group_k(kinds[i].kind) * (1 + rnd() % 3);
			unsigned rows = round % 2 ? 16 : 11, cols = 1 + rnd() % D_COLS;
			struct matrix m = matrix_of(i, rows, k, true);
			float *x = vectors(cols, k);

			EACH(t)
			{
				d_products(t, i, &m, x, cols, y);
				for (unsigned r = 0; r < rows; r++) {
					truth_row(i, &m, r, w);
					for (unsigned c = 0; c < cols; c++) {
						double size, want = d_truth(i, w, x + (size_t)c * k,
									    k, &size);

						/* minima cancel: the parts may be larger */
						assert_true(fabs(y[16 * c + r] - want) <=
							    1e-5 * size + 1e-6);
					}
				}
			}
			free(x);
			matrix_free(&m);
		}
	free(w);
}

static void sampled_products_are_the_same_bits_on_every_path(void **st)
{
	float want[16 * D_COLS], got[16 * D_COLS], one[16];

	for (size_t i = 0; i < N_KINDS; i++)
		for (int round = 0; round < 60; round++) {
			uint32_t k = pack_group_k(kinds[i].kind) * (1 + rnd() % 4);
			unsigned cols = 1 + rnd() % D_COLS, c = rnd() % cols;
			struct matrix m = matrix_of(i, 16, k, round % 4 != 0);
			float *x = vectors(cols, k);

			if (round % 8 == 1) /* the extremes */
				for (uint32_t j = 0; j < cols * k; j++)
					x[j] = x[j] < 0 ? -4 : 4;
			d_products(&kern_portable, i, &m, x, cols, want);
			EACH(t)
			{
				d_products(t, i, &m, x, cols, got);
				for (unsigned j = 0; j < 16 * cols; j++)
					assert_true(same_number(got[j], want[j]));
				d_products(t, i, &m, x + (size_t)c * k, 1, one);
				for (unsigned r = 0; r < 16; r++)
					assert_true(same_number(one[r], want[16 * c + r]));
			}
			free(x);
			matrix_free(&m);
		}
}

/* A guard that answers NaN blocks: no product may turn a NaN into a number. */
static void bad_activations_are_not_lost(void **st)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	float y[16];

	EACH(t)
	for (size_t i = 0; i < N_KINDS; i++)
		for (int round = 0; round < 30; round++) {
			struct matrix m = matrix_of(i, 16, 256, true);
			float *x = vectors(1, 256);
			char *form = malloc(256 * t->p_bytes + 64), *panel;

			x[rnd() % 256] = bad[round % 3];
			d_products(t, i, &m, x, 1, y);
			for (int r = 0; r < 16; r++)
				assert_false(isfinite(y[r]));
			if (t->p_form != P_NONE) {
				panel = aligned_alloc(64, 256 * 16 * t->p_bytes);
				t->p_expand[kinds[i].kind](m.panel, 256, panel);
				t->p_form_x(x, form, 256);
				t->p_mul(panel, 0, 1, 256, form, 256, 1, y, 16, true);
				for (int r = 0; r < 16; r++)
					assert_false(isfinite(y[r]));
				free(panel);
			}
			free(form);
			free(x);
			matrix_free(&m);
		}
}

/* ---- class P ---- */

/* Relative error of one number in the form. */
static double form_error(const struct kernels *t)
{
	return t->p_form == P_BF16 ? 1.0 / 256 : t->p_form == P_I16 ? 1.0 / 4096 : 1e-6;
}

/* Where number k of an expanded panel begins, k a multiple of 32. */
static size_t panel_at(const struct kernels *t, uint32_t k)
{
	return t->p_form == P_I16 ? k / 32 * 1216 : k * 16 * t->p_bytes;
}

/* Number i of row r of an expanded panel, as a float. */
static float panel_number(const struct kernels *t, const char *panel, uint32_t i, unsigned r)
{
	float f;
	uint16_t h;

	if (t->p_form == P_I16) { /* kern_avx2i.c */
		const char *cell = panel + panel_at(t, i / 32 * 32);
		float d, m;
		int16_t q;

		memcpy(&q, cell + i % 32 / 2 * 64 + 4 * r + 2 * (i % 2), 2);
		memcpy(&d, cell + 1024 + 4 * r, 4);
		memcpy(&m, cell + 1088 + 4 * r, 4);
		return (float)q * d - m;
	}
	if (t->p_form == P_F32) {
		memcpy(&f, panel + ((size_t)i * 16 + r) * 4, 4);
		return f;
	}
	memcpy(&h, panel + ((size_t)(i / 2) * 32 + 2 * r + i % 2) * 2, 2);
	return bits_f32((uint32_t)h << 16);
}

static void expanded_panels_are_the_weights_rounded_once(void **st)
{
	float *w = malloc(K * sizeof(*w));

	EACH(t)
	for (size_t i = 0; i < N_KINDS && t->p_form != P_NONE; i++)
		for (int round = 0; round < 6; round++) {
			struct matrix m = matrix_of(i, 16, 512, true);
			char *panel = aligned_alloc(64, 512 * 16 * t->p_bytes);

			t->p_expand[kinds[i].kind](m.panel, 512, panel);
			for (unsigned r = 0; r < 16; r++) {
				truth_row(i, &m, r, w);
				for (uint32_t j = 0; j < 512; j++) {
					/* d sc u and dmin mn may cancel; a bf16 table may be
					 * off by 2^-17 of the step d sc before it rounds */
					float step =
					    t->p_form == P_BF16 ? 64 * 0x1p-9f : 64 * 0x1p-15f;
					float top =
					    fabsf(w[j]) + (kinds[i].halves[1] < 0 ? 0 : step);

					/* rounded to steps of the block's greatest */
					for (uint32_t n = 0; n < 32 && t->p_form == P_I16; n++)
						top = fmaxf(top, fabsf(w[j / 32 * 32 + n]));

					assert_true(fabsf(panel_number(t, panel, j, r) - w[j]) <=
						    form_error(t) * top);
				}
			}
			free(panel);
			matrix_free(&m);
		}
	free(w);
}

static void prompt_products_do_not_depend_on_their_company(void **st)
{
	enum { R = 27, LD = 1056 }; /* two panels, the second one with 11 rows */
	float *w = calloc(R * K, sizeof(*w)), *x = vectors(COLS, LD), y[COLS * 32], one[32];
	char *form, *panels;

	EACH(t)
	for (int round = 0; round < COLS && t->p_form != P_NONE; round++) {
		uint32_t k = 32 * (1 + rnd() % 32), cut = 32 * (rnd() % (k / 32));
		unsigned cols = 1 + (unsigned)round, c = rnd() % cols;
		size_t b = t->p_bytes, stride = (size_t)k * 16 * b;

		for (int i = 0; i < R * K; i++)
			w[i] = unit();
		form = aligned_alloc(64, COLS * LD * b);
		panels = aligned_alloc(64, 2 * stride);
		t->p_form_x(x, form, (size_t)COLS * LD);
		t->p_from_f32(w, K, 16, k, panels);
		t->p_from_f32(w + 16 * K, K, R - 16, k, panels + stride);
		t->p_mul(panels, stride, 2, k, form, LD, cols, y, 32, true);
		for (unsigned i = 0; i < cols; i++)
			for (unsigned r = 0; r < 32; r++) {
				double sum = 0, size = 1e-6;

				for (uint32_t j = 0; j < k && r < R; j++) {
					sum += (double)w[r * K + j] * x[i * LD + j];
					size += fabs((double)w[r * K + j] * x[i * LD + j]);
				}
				assert_true(fabs(y[i * 32 + r] - sum) <= 2 * form_error(t) * size);
			}
		/* alone, one panel after the other, and cut in two along k */
		t->p_mul(panels, stride, 1, k, form + c * LD * b, LD, 1, one, 32, true);
		t->p_mul(panels + stride, stride, 1, k, form + c * LD * b, LD, 1, one + 16, 32,
			 true);
		assert_memory_equal(one, y + c * 32, sizeof(one));
		if (cut)
			t->p_mul(panels, stride, 2, cut, form + c * LD * b, LD, 1, one, 32, true);
		t->p_mul(panels + panel_at(t, cut), stride, 2, k - cut, form + (c * LD + cut) * b,
			 LD, 1, one, 32, !cut);
		assert_memory_equal(one, y + c * 32, sizeof(one));
		free(form);
		free(panels);
	}
	free(w);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds_and_sizes_are_those_of_the_contract),
	    cmocka_unit_test(packed_rows_are_the_files_rows),
	    cmocka_unit_test(blocks_of_activations_are_the_nearest),
	    cmocka_unit_test(empty_and_tiny_blocks_are_zero),
	    cmocka_unit_test(ties_go_to_even),
	    cmocka_unit_test(sampled_products_are_right),
	    cmocka_unit_test(sampled_products_are_the_same_bits_on_every_path),
	    cmocka_unit_test(bad_activations_are_not_lost),
	    cmocka_unit_test(expanded_panels_are_the_weights_rounded_once),
	    cmocka_unit_test(prompt_products_do_not_depend_on_their_company),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
