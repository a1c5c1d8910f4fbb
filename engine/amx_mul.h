/* amx_mul.h - p_mul in AMX tiles, written over macros for the tile operations, so that a test runs
 * the same source on an emulation of them (tests/unit/t_amx.c). The including file defines first:
 *   TILE_CONFIG(c)        load the struct tile_cfg at c; must make the compiler write all of it
 *   TILE_RELEASE()
 *   TILE_ZERO(t)  TILE_LOAD(t, p, stride)  TILE_STORE(t, p, stride)   strides in bytes
 *   TILE_DOT(c, a, b)     c += a b, pairs of bf16 (TDPBF16PS)
 * A cell of an expanded panel is one tile as it lies: 16 pairs of k x 16 rows. Sixteen activations
 * are the rows of another; where fewer are left the tiles are configured with fewer rows, so that
 * nothing beside them is read or written. A row of a product depends on that row alone. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Intel SDM, LDTILECFG: palette 1 has eight tiles of up to 16 rows of up to 64 bytes. */
struct tile_cfg {
	uint8_t palette, start_row, zero[14];
	uint16_t colsb[16];
	uint8_t rows[16];
};
_Static_assert(sizeof(struct tile_cfg) == 64, "LDTILECFG reads 64 bytes");

/* Tiles 0-3: sums of activations 0, 0, 1, 1 (sixteens) with panels 0, 1, 0, 1; 4, 5: activations;
 * 6, 7: panels. n0, n1: activations in each sixteen; a tile without rows stays unconfigured. */
static void amx_shape(unsigned n0, unsigned n1)
{
	struct tile_cfg c = {.palette = 1};
	const unsigned rows[8] = {n0, n0, n1, n1, n0, n1, 16, 16};

	for (unsigned t = 0; t < 8; t++) {
		c.rows[t] = (uint8_t)rows[t];
		c.colsb[t] = rows[t] ? 64 : 0;
	}
	TILE_CONFIG(&c);
}

struct amx_arg {
	const uint8_t *w; /* expanded panels */
	size_t stride;	  /* bytes from one panel to the next */
	uint32_t steps;	  /* of 32 k */
	const uint8_t *x; /* activations */
	size_t ldx;	  /* bytes from one to the next */
	float *y;
	size_t ldy; /* bytes */
	bool first;
};

/* Up to two sixteens of activations times up to two panels, in the shape configured. */
static inline __attribute__((always_inline)) void amx_block(const bool two_x, const bool two_w,
							    const struct amx_arg *a)
{
	const uint8_t *w0 = a->w, *w1 = a->w + a->stride, *x0 = a->x, *x1 = a->x + 16 * a->ldx;
	uint8_t *y0 = (uint8_t *)a->y, *y1 = y0 + 16 * a->ldy;
	const size_t ldx = a->ldx, ldy = a->ldy;

	if (a->first) {
		TILE_ZERO(0);
		if (two_w)
			TILE_ZERO(1);
		if (two_x)
			TILE_ZERO(2);
		if (two_x && two_w)
			TILE_ZERO(3);
	} else {
		TILE_LOAD(0, y0, ldy);
		if (two_w)
			TILE_LOAD(1, y0 + 64, ldy);
		if (two_x)
			TILE_LOAD(2, y1, ldy);
		if (two_x && two_w)
			TILE_LOAD(3, y1 + 64, ldy);
	}
	for (uint32_t i = 0; i < a->steps; i++, w0 += 1024, w1 += 1024, x0 += 64, x1 += 64) {
		TILE_LOAD(6, w0, (size_t)64);
		TILE_LOAD(4, x0, ldx);
		TILE_DOT(0, 4, 6);
		if (two_w) {
			TILE_LOAD(7, w1, (size_t)64);
			TILE_DOT(1, 4, 7);
		}
		if (two_x) {
			TILE_LOAD(5, x1, ldx);
			TILE_DOT(2, 5, 6);
		}
		if (two_x && two_w)
			TILE_DOT(3, 5, 7);
	}
	TILE_STORE(0, y0, ldy);
	if (two_w)
		TILE_STORE(1, y0 + 64, ldy);
	if (two_x)
		TILE_STORE(2, y1, ldy);
	if (two_x && two_w)
		TILE_STORE(3, y1 + 64, ldy);
}

/* p_mul of kernels.h. The tiles are this thread's own and are given up at the end, so that a
 * context switch need not save them. */
static void amx_mul(const void *panels, size_t stride, unsigned n_panels, uint32_t k, const void *x,
		    size_t ldx, unsigned cols, float *y, size_t ldy, bool first)
{
	struct amx_arg a = {panels, stride, k / 32, x, ldx * 2, y, ldy * sizeof(float), first};
	unsigned shape = 0;

	for (unsigned c = 0; c < cols; c += 32) {
		unsigned n = cols - c < 32 ? cols - c : 32;

		if (n != shape)
			amx_shape(n < 16 ? n : 16, n < 16 ? 0 : n - 16);
		shape = n;
		a.x = (const uint8_t *)x + c * a.ldx;
		a.y = y + c * ldy;
		if (n > 16 && n_panels == 2)
			amx_block(true, true, &a);
		else if (n > 16)
			amx_block(true, false, &a);
		else if (n_panels == 2)
			amx_block(false, true, &a);
		else
			amx_block(false, false, &a);
	}
	if (cols)
		TILE_RELEASE();
}
