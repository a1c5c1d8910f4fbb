/* peaks.h - what one thread of this CPU reaches at most, in processor time: loops over registers,
 * and a reading of memory larger than any cache. 0 = this CPU has no such instruction. */
#ifndef SP_BENCH_PEAKS_H
#define SP_BENCH_PEAKS_H

#include <stddef.h>

struct peaks {
	double read;		      /* GB/s */
	double fp32, bf16, vnni, amx; /* 10^9 multiplications and additions a second; amx: bf16,
				       * tiles of 2 x 2 read from second-level cache */
};
/* The reading again, over the n bytes at p (a multiple of 256). */
double peaks_read(const void *p, size_t n, double seconds);
/* Takes about `seconds` for each. */
void peaks_measure(struct peaks *p, double seconds);

#endif
