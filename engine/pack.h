/* pack.h - weights in the order the products want them, made once at load.
 *
 * A matrix W (rows = output features, cols = k) becomes panels of 16 rows; the rows of the last
 * panel that do not exist are zeros. A panel is a row of CELLS, each 16 rows x 32 k. Inside a cell,
 * QUAD j (0..7) is the 64 bytes [row 0..15][element 0..3] of k = 4j..4j+3: one 512-bit register of
 * which each 32-bit lane belongs to one row. Kinds (all little-endian; d, m are half floats):
 *
 *   PACK_Q4_0  cell:  d[16] | nib[4][64]                                            288 bytes
 *              value (u - 8) d. Byte nib[j][4r+e]: low nibble quad j, high nibble quad j + 4.
 *   PACK_Q8_0  cell:  d[16] | u8[8][64]   u = q + 128, quad order                   544 bytes
 *              value (u - 128) d
 *   PACK_Q4_K  8 cells: d[16] | dmin[16] | sc[8][16] | mn[8][16] | nib[8][4][64]   2368 bytes
 *              value (d sc) u - (dmin mn)
 *   PACK_Q5_K  8 cells: as Q4_K, then hi[8][64]: bit j of hi[c][4r+e] is bit 4 of quad j of
 *              cell c                                                              2880 bytes
 *   PACK_Q6_K  8 cells: d[16] | int8 sc[16][16] | nib[8][4][64] | hi[8][2][64]     3360 bytes
 *              value (d sc) (u - 32); sc[g] is of k 16g..16g+15. Byte hi[c][t][4r+e] holds bits
 *              4-5 of quads 4t..4t+3 of cell c, quad 4t + i at bits 2i.
 *   PACK_F16   cell:  u16[16][16][2]: [k pair][row][k even, odd]                    1024 bytes
 *   PACK_BF16  likewise
 *   PACK_NONE  stays as the file has it (F32, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, IQ4_NL, IQ4_XS, and
 *              matrices whose k is no multiple of 32): products expand rows as they go.
 *
 * d sc and dmin mn are fp32 products of the half floats, rounded once, as in the types' reference.
 *
 * TWO CLASSES OF ARITHMETIC, chosen by a row's role (never by the number of rows):
 *
 * P (prompt rows, every row of a guard). Activations in the table's p_form; weights expanded to the
 * same form; fp32 accumulators, k ascending. Free per table; fixed for one table: a row's result
 * depends on that row alone.
 *
 * D (sampled and drafted rows). Packed integers: activations in blocks of 32 int8 (struct dblock);
 * integer dots are exact; then, in fp32, blocks ascending, with one accumulator per output:
 *   Q4_0, Q8_0: acc = fma((float)I, d * dx, acc), I = sum (u - offset) q
 *   Q4_K, Q5_K: acc = fma((float)I, dsc * dx, acc), I = sum u q, dsc = d * sc;
 *               acc = fma(dmn, -sx, acc), dmn = dmin * mn
 *   Q6_K:       acc = fma((float)I0, dsc0 * dx, acc); acc = fma((float)I1, dsc1 * dx, acc),
 *               I0 and I1 the halves' sums of (u - 32) q
 * Every table gives these bits, so answers do not depend on the kernel path's width.
 *   F16, BF16:  fp32 activations; four sums by k mod 4, each fma(w, x, sum) ascending; the result
 *               is (s0 + s1) + (s2 + s3).
 * PACK_NONE uses the expand-and-gemm way for D (and, for F32 or odd k, for P).
 *
 * Everything here is pure; any thread. */
#ifndef SP_ENGINE_PACK_H
#define SP_ENGINE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gtype.h"

#define PACK_ROWS 16 /* rows of a panel */
#define PACK_K 32    /* k of a cell */

enum pack_kind {
	PACK_NONE,
	PACK_Q4_0,
	PACK_Q8_0,
	PACK_Q4_K,
	PACK_Q5_K,
	PACK_Q6_K,
	PACK_F16,
	PACK_BF16,
	PACK_KINDS
};

/* 32 activations of class D. amax is the greatest magnitude, compared as the bits of its float, so
 * that NaN is above infinity above all numbers. Below D_SMALLEST (2^-118: 127 / amax would soon be
 * infinite) all of a block is 0. From infinity on q, lo and hi are 0 and sx is 0 * dx. */
#define D_SMALLEST 0x04800000u
struct dblock {
	int8_t q[32];  /* nearest to x * (127 / amax), ties to even */
	float dx;      /* amax / 127, so NaN or infinity are not lost: 0 times it is NaN */
	float sx;      /* dx * (lo + hi) */
	int32_t lo, hi; /* sums of q[0..15], q[16..31] */
};

/* The kind a matrix of this type and width is packed to. */
enum pack_kind pack_kind_of(enum gtype type, uint64_t cols);
/* Bytes of one panel of `cols` k; 0 for PACK_NONE. */
size_t pack_panel_bytes(enum pack_kind kind, uint32_t cols);
/* Bytes of a cell group and the k it covers (32 or 256). */
size_t pack_group_bytes(enum pack_kind kind);
uint32_t pack_group_k(enum pack_kind kind);
/* Rows first .. first + n - 1 (n <= 16, the rest zero) of a matrix in file layout to one panel. */
void pack_panel(enum pack_kind kind, const uint8_t *rows, uint64_t row_bytes, unsigned n,
		uint32_t cols, uint8_t *panel);
/* Row r (0..15) of a panel to fp32, the same bits as the type's expand function gives. */
void pack_row(enum pack_kind kind, const uint8_t *panel, unsigned r, uint32_t cols, float *out);

#endif
