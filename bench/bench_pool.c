/* bench_pool.c - what the thread pool keeps of its speed while another process takes a core: loops
 * of short items per second, alone and beside a busy child tied to the last CPU. The share that
 * would be fair is printed beside it. Usage: bench_pool [-t THREADS] [-i ITEMS] [-s SECONDS] */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "count.h"
#include "clock.h"
#include "pool.h"

#define WORK 20000 /* multiplications of an item: some tens of microseconds */

static void item(void *arg, unsigned i, unsigned worker)
{
	volatile double *sums = arg;
	double x = i;

	for (unsigned k = 0; k < WORK; k++)
		x = x * 0.999999 + 1;
	sums[worker * 8] += x;
}

static double loops_per_second(struct pool *p, unsigned items, double seconds)
{
	static double sums[256 * 8];
	uint64_t from = clock_mono_ns(), now, n = 0;

	do {
		pool_run(p, item, sums, items);
		n++;
		now = clock_mono_ns();
	} while ((double)(now - from) < seconds * 1e9);
	return (double)n * 1e9 / (double)(now - from);
}

static pid_t busy_child(unsigned cpu)
{
	pid_t pid = fork();
	cpu_set_t set;

	if (pid != 0)
		return pid;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (volatile unsigned x = 0;;)
		x++;
}

int main(int argc, char **argv)
{
	unsigned items = 64, threads = 0, cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	double seconds = 2, alone = 0, beside = 0;
	struct pool *p;
	struct err err = {0};
	int c;

	while ((c = getopt(argc, argv, "t:i:s:")) != -1) {
		if (c == 't')
			threads = count_arg(optarg, 1, 256);
		else if (c == 'i')
			items = count_arg(optarg, 1, 1000000);
		else if (c == 's')
			seconds = seconds_arg(optarg);
		else
			return 2;
	}
	if (pool_open(threads, &p, &err) < 0) {
		fprintf(stderr, "bench_pool: %s\n", err.text);
		return 1;
	}
	threads = pool_threads(p);
	for (int round = 0; round < 3; round++) { /* in turns: the machine may not be quiet */
		pid_t child;

		alone += loops_per_second(p, items, seconds);
		if ((child = busy_child(cpus - 1)) < 0)
			return 1;
		beside += loops_per_second(p, items, seconds);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	printf(
	    "threads %u, cpus %u, items %u: alone %.0f loops/s, beside a busy process %.0f: %.2f "
	    "of it (fair: %.2f)\n",
	    threads, cpus, items, alone / 3, beside / 3, beside / alone,
	    threads < cpus ? 1.0 : ((double)cpus - 0.5) / cpus);
	pool_close(p);
	return 0;
}
