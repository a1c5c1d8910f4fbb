/* t_amx.c - the AMX product (amx_mul.h) on an emulation in plain C of the tile instructions as
 * Intel's manual defines them, so that it is tested on every machine: it computes what class P
 * says, touches no byte beside its rows, and each row alone. Where there is real AMX the hardware
 * is held to the emulation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "kernels.h"

/* ---- the instructions ---- */

static struct emu {
	uint8_t cfg[64];
	uint8_t tile[8][16][64];
	bool on;
	unsigned loads, dots;
} emu;

static unsigned rows_of(unsigned t)
{
	return emu.cfg[48 + t];
}

static unsigned colsb_of(unsigned t)
{
	return get_le16(emu.cfg + 16 + 2 * t);
}

/* LDTILECFG: every condition under which the real one faults. */
static void emu_config(void)
{
	assert_int_equal(emu.cfg[0], 1);
	for (int i = 1; i < 16; i++)
		assert_int_equal(emu.cfg[i], 0);
	for (unsigned t = 0; t < 16; t++) {
		assert_true(rows_of(t) <= (t < 8 ? 16 : 0));
		assert_true(colsb_of(t) <= (t < 8 ? 64 : 0) && colsb_of(t) % 4 == 0);
		assert_true((rows_of(t) == 0) == (colsb_of(t) == 0));
	}
	memset(emu.tile, 0, sizeof(emu.tile));
	emu.on = true;
}

static void usable_tile(unsigned t)
{
	assert_true(emu.on && rows_of(t) > 0);
}

static void emu_zero(unsigned t)
{
	usable_tile(t);
	memset(emu.tile[t], 0, sizeof(emu.tile[t]));
}

static void emu_load(unsigned t, const void *p, size_t stride)
{
	usable_tile(t);
	emu_zero(t);
	for (unsigned r = 0; r < rows_of(t); r++)
		memcpy(emu.tile[t][r], (const uint8_t *)p + r * stride, colsb_of(t));
	emu.loads++;
}

static void emu_store(unsigned t, void *p, size_t stride)
{
	usable_tile(t);
	for (unsigned r = 0; r < rows_of(t); r++)
		memcpy((uint8_t *)p + r * stride, emu.tile[t][r], colsb_of(t));
}

/* Subnormal numbers are zeros, going in and coming out. */
static float flushed(float f)
{
	return fpclassify(f) == FP_SUBNORMAL ? copysignf(0, f) : f;
}

static float bf16_at(const uint8_t *p)
{
	return flushed(bits_f32((uint32_t)get_le16(p) << 16));
}

static float f32_at(const uint8_t *p)
{
	return flushed(bits_f32(get_le32(p)));
}

/* TDPBF16PS: even and odd k are summed apart from zero, FMA by FMA to nearest even, then added to
 * each other and to what was there. */
static void emu_dot(unsigned c, unsigned a, unsigned b)
{
	usable_tile(c);
	usable_tile(a);
	usable_tile(b);
	assert_true(rows_of(c) == rows_of(a) && colsb_of(c) == colsb_of(b));
	assert_true(colsb_of(a) / 4 == rows_of(b));
	for (unsigned m = 0; m < rows_of(c); m++)
		for (unsigned n = 0; n < colsb_of(c) / 4; n++) {
			float s[2] = {0, 0};
			uint8_t *to = emu.tile[c][m] + 4 * n;

			for (unsigned k = 0; k < colsb_of(a) / 4; k++)
				for (unsigned i = 0; i < 2; i++)
					s[i] = flushed(fmaf(bf16_at(emu.tile[a][m] + 4 * k + 2 * i),
							    bf16_at(emu.tile[b][k] + 4 * n + 2 * i),
							    s[i]));
			put_le32(to, f32_bits(flushed(f32_at(to) + flushed(s[0] + s[1]))));
		}
	emu.dots++;
}

/* The same operand as the real instruction's, and nothing else said of memory: a compiler that
 * does not write the whole configuration first shows here. */
#if defined(__x86_64__)
#define TILE_CONFIG(c)                                                                             \
	do {                                                                                       \
		const void *from_ = (c);                                                           \
		void *to_ = emu.cfg;                                                               \
		size_t n_ = sizeof(emu.cfg);                                                       \
                                                                                                   \
		__asm__ volatile("rep movsb"                                                       \
				 : "+S"(from_), "+D"(to_), "+c"(n_), "=m"(emu.cfg)                 \
				 : "m"(*(c)));                                                     \
		emu_config();                                                                      \
	} while (0)
#else
#define TILE_CONFIG(c)                                                                             \
	do {                                                                                       \
		memcpy(emu.cfg, (c), sizeof(emu.cfg));                                             \
		emu_config();                                                                      \
	} while (0)
#endif
#define TILE_RELEASE() (emu.on = false)
#define TILE_ZERO(t) emu_zero(t)
#define TILE_LOAD(t, p, stride) emu_load(t, p, stride)
#define TILE_STORE(t, p, stride) emu_store(t, p, stride)
#define TILE_DOT(c, a, b) emu_dot(c, a, b)
#include "amx_mul.h"

/* ---- the emulation is Intel's ---- */

static void pair(unsigned t, unsigned row, unsigned col, float even, float odd)
{
	put_le16(emu.tile[t][row] + 4 * col, (uint16_t)(f32_bits(even) >> 16));
	put_le16(emu.tile[t][row] + 4 * col + 2, (uint16_t)(f32_bits(odd) >> 16));
}

static float sum_at(unsigned t, unsigned row, unsigned col)
{
	return bits_f32(get_le32(emu.tile[t][row] + 4 * col));
}

static void the_emulation_rounds_and_flushes_as_the_manual_says(void **st)
{
	amx_shape(16, 16);
	pair(4, 2, 0, 3, 5);
	pair(6, 0, 7, 2, -4);
	emu_dot(0, 4, 6);
	assert_true(sum_at(0, 2, 7) == 3 * 2 - 5 * 4);
	emu_dot(0, 4, 6);
	assert_true(sum_at(0, 2, 7) == 2 * (3 * 2 - 5 * 4));
	/* subnormal factors are zeros, subnormal products too */
	emu_zero(0);
	pair(4, 2, 0, 0x1p-127f, 0);
	pair(6, 0, 7, 0x1p100f, 0);
	emu_dot(0, 4, 6);
	assert_true(sum_at(0, 2, 7) == 0);
	pair(4, 2, 0, 0x1p-100f, 0);
	pair(6, 0, 7, 0x1p-30f, 0);
	emu_dot(0, 4, 6);
	assert_true(sum_at(0, 2, 7) == 0);
	/* what does not fit is rounded to nearest, ties to even, pair by pair */
	pair(4, 2, 0, 0x1p24f, 0);
	pair(6, 0, 7, 1, 0);
	pair(4, 2, 1, 1, 0);
	pair(6, 1, 7, 1, 0);
	emu_dot(0, 4, 6);
	assert_true(sum_at(0, 2, 7) == 0x1p24f);
	TILE_RELEASE();
}

static void every_byte_of_a_configuration_is_written(void **st)
{
	for (unsigned n = 1; n <= 32; n++) {
		unsigned n0 = n < 16 ? n : 16, n1 = n - n0;

		memset(emu.cfg, 0xaa, sizeof(emu.cfg));
		amx_shape(n0, n1); /* emu_config() has looked at all 64 bytes */
		assert_int_equal(rows_of(0), n0);
		assert_int_equal(rows_of(4), n0);
		assert_int_equal(rows_of(3), n1);
		assert_int_equal(rows_of(5), n1);
		assert_int_equal(rows_of(7), 16);
		TILE_RELEASE();
	}
}

/* ---- the product ---- */

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

static uint16_t bf16(float f)
{
	return (uint16_t)(f32_bits(f) >> 16);
}

/* Operands of one product in buffers without a byte too many. */
struct job {
	uint32_t k;
	unsigned cols, panels;
	size_t ldx, ldy;
	uint16_t *w, *x;
	float *y;
	size_t n_y;
};

static struct job job_of(uint32_t k, unsigned cols, unsigned panels)
{
	struct job j = {k, cols, panels, k + 32 * (rnd() % 3), 16 * panels + rnd() % 20, 0,
			0, 0,	 0};
	size_t n_w = (size_t)panels * k * 16, n_x = (cols - 1) * j.ldx + k;

	j.n_y = (cols - 1) * j.ldy + (size_t)16 * panels;
	j.w = malloc(n_w * 2);
	j.x = malloc(n_x * 2);
	j.y = malloc(j.n_y * sizeof(float));
	assert_true(j.w && j.x && j.y);
	for (size_t i = 0; i < n_w; i++)
		j.w[i] = bf16(unit());
	for (size_t i = 0; i < n_x; i++)
		j.x[i] = bf16(unit());
	for (size_t i = 0; i < j.n_y; i++)
		j.y[i] = unit();
	return j;
}

static void job_free(struct job *j)
{
	free(j->w);
	free(j->x);
	free(j->y);
}

static void run(const struct job *j, bool first)
{
	amx_mul(j->w, (size_t)j->k * 32, j->panels, j->k, j->x, j->ldx, j->cols, j->y, j->ldy,
		first);
	assert_false(emu.on); /* the tiles are given up */
}

static double want(const struct job *j, unsigned c, unsigned r, double *size)
{
	const uint16_t *w = j->w + (size_t)(r / 16) * j->k * 16;
	double sum = 0;

	*size = 0;
	for (uint32_t i = 0; i < j->k; i++) {
		double p = (double)bits_f32((uint32_t)w[i / 2 * 32 + 2 * (r % 16) + i % 2] << 16) *
			   bits_f32((uint32_t)j->x[c * j->ldx + i] << 16);

		sum += p;
		*size += fabs(p);
	}
	return sum;
}

static void products_of_every_shape_are_right(void **st)
{
	for (unsigned cols = 1; cols <= 70; cols++)
		for (unsigned panels = 1; panels <= 2; panels++) {
			struct job j = job_of(32 * (1 + rnd() % 4), cols, panels);
			float *old = malloc(j.n_y * sizeof(float));
			bool first = rnd() % 2;

			assert_non_null(old);
			memcpy(old, j.y, j.n_y * sizeof(float));
			run(&j, first);
			for (size_t i = 0; i < j.n_y; i++) {
				unsigned c = (unsigned)(i / j.ldy), r = (unsigned)(i % j.ldy);
				double size, v;

				if (r >= 16 * panels) { /* between the rows */
					assert_memory_equal(&j.y[i], &old[i], sizeof(float));
					continue;
				}
				v = want(&j, c, r, &size) + (first ? 0 : old[i]);
				assert_true(fabs(j.y[i] - v) <= 1e-6 * (size + 1));
			}
			free(old);
			job_free(&j);
		}
}

static void rows_do_not_depend_on_their_company(void **st)
{
	for (int round = 0; round < 60; round++) {
		struct job j = job_of(96, 1 + rnd() % 66, 2);
		unsigned c = rnd() % j.cols;
		float one[32];

		run(&j, true);
		amx_mul(j.w, (size_t)j.k * 32, 2, j.k, j.x + c * j.ldx, j.ldx, 1, one, 32, true);
		assert_memory_equal(one, j.y + c * j.ldy, sizeof(one));
		/* one panel after the other; k cut in two */
		amx_mul(j.w, 0, 1, j.k, j.x + c * j.ldx, j.ldx, 1, one, 32, true);
		amx_mul(j.w + (size_t)j.k * 16, 0, 1, j.k, j.x + c * j.ldx, j.ldx, 1, one + 16, 32,
			true);
		assert_memory_equal(one, j.y + c * j.ldy, sizeof(one));
		amx_mul(j.w, (size_t)j.k * 32, 2, 32, j.x + c * j.ldx, j.ldx, 1, one, 32, true);
		amx_mul(j.w + 32 * 16, (size_t)j.k * 32, 2, j.k - 32, j.x + c * j.ldx + 32, j.ldx,
			1, one, 32, false);
		assert_memory_equal(one, j.y + c * j.ldy, sizeof(one));
		job_free(&j);
	}
}

static void tiles_are_shared_two_by_two(void **st)
{
	struct job j = job_of(256, 64, 2);

	emu.loads = emu.dots = 0;
	run(&j, true);
	assert_int_equal(emu.dots, 2 * 8 * 4);
	assert_int_equal(emu.loads, emu.dots);
	job_free(&j);
}

static void the_hardware_agrees_with_the_emulation(void **st)
{
	const struct kernels *k = kern_pick("amx");

	if (!k)
		skip();
	for (int round = 0; round < 60; round++) {
		struct job j = job_of(32 * (1 + rnd() % 8), 1 + rnd() % 66, 1 + rnd() % 2);
		float *got = malloc(j.n_y * sizeof(float));

		assert_non_null(got);
		memcpy(got, j.y, j.n_y * sizeof(float));
		k->p_mul(j.w, (size_t)j.k * 32, j.panels, j.k, j.x, j.ldx, j.cols, got, j.ldy,
			 round % 2);
		run(&j, round % 2);
		for (size_t i = 0; i < j.n_y; i++)
			assert_true(fabs(got[i] - j.y[i]) <= 1e-6 * (1 + (double)j.k));
		free(got);
		job_free(&j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_emulation_rounds_and_flushes_as_the_manual_says),
	    cmocka_unit_test(every_byte_of_a_configuration_is_written),
	    cmocka_unit_test(products_of_every_shape_are_right),
	    cmocka_unit_test(rows_do_not_depend_on_their_company),
	    cmocka_unit_test(tiles_are_shared_two_by_two),
	    cmocka_unit_test(the_hardware_agrees_with_the_emulation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
