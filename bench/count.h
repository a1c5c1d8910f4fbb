/* count.h - numbers of a command line. What is no number in [least, most], or no time in seconds,
 * ends the program with status 2 and a line that says so. */
#ifndef SP_BENCH_COUNT_H
#define SP_BENCH_COUNT_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint32_t count_arg(const char *text, uint32_t least, uint32_t most)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || v < least || v > most) {
		fprintf(stderr, "%s: not a number from %u to %u\n", text, least, most);
		exit(2);
	}
	return (uint32_t)v;
}

/* How long to measure: from a millisecond to an hour. */
static inline double seconds_arg(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v >= 0.001 && v <= 3600)) {
		fprintf(stderr, "%s: not a number of seconds from 0.001 to 3600\n", text);
		exit(2);
	}
	return v;
}

#endif
