/* bench_store.c - what the store adds to a request, stage by stage, beside a bare write and
 * fdatasync of the same folder in the same seconds; requests a second; how fast a log is read back
 * at start. usage: bench_store [in flight] [seconds] */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "count.h"
#include "store_drv.h"

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void show(const char *name, uint64_t *v, size_t n)
{
	if (n == 0)
		return;
	qsort(v, n, sizeof(*v), cmp);
	printf("%-22s p50 %7.3f ms  p99 %7.3f ms  (%zu)\n", name, (double)v[n / 2] / 1e6,
	       (double)v[n * 99 / 100] / 1e6, n);
}

static void stages(struct drv *d)
{
	static const char *const name[] = {"AUTH -> AUTHOK", "CLAIM -> CLAIMOK", "INTENT -> ACK",
					   "OUTCOME -> ACK"};
	size_t max = HASH_COUNT(d->reqs), n;
	uint64_t *v = calloc(max + 1, sizeof(*v));
	struct req *r, *tmp;

	for (int s = 0; s < 4; s++) {
		n = 0;
		HASH_ITER(hh, d->reqs, r, tmp)
		if (r->at[4] && r->at[s + 1] > r->at[s])
			v[n++] = r->at[s + 1] - r->at[s];
		show(name[s], v, n);
	}
	free(v);
}

/* The control: one writer, no group. */
static void bare(const char *dir, uint64_t *v, size_t *n, size_t max)
{
	char path[300], block[512] = {0};
	int fd;

	snprintf(path, sizeof(path), "%s/bare", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	for (int i = 0; fd >= 0 && i < 20 && *n < max; i++) {
		uint64_t t = clock_mono_ns();

		if (write(fd, block, sizeof(block)) < 0 || fdatasync(fd) < 0)
			drv_fail("bare write");
		v[(*n)++] = clock_mono_ns() - t;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static struct drv d;
	static uint64_t control[4096];
	unsigned flight, secs;
	char dir[160], cmd[200];
	struct drv_sums s;
	uint64_t end, done, t;
	size_t n = 0;

	drv_main(argc, argv); /* first: the store process is this program with other arguments */
	flight = argc > 1 ? count_arg(argv[1], 1, 4096) : 64;
	secs = argc > 2 ? count_arg(argv[2], 1, 3600) : 5;
	snprintf(dir, sizeof(dir), "./bench_store.%d", (int)getpid());
	drv_realm(&d, dir);
	drv_start(&d, false);
	drv_birth(&d);
	for (unsigned sec = 0; sec < secs; sec++) {
		end = clock_mono_ms() + 1000;
		while (clock_mono_ms() < end) {
			while (d.in_flight < flight)
				drv_request(&d);
			drv_poll(&d, 1);
		}
		bare(dir, control, &n, 4096);
	}
	done = d.done;
	while (d.in_flight)
		drv_poll(&d, 5);
	show("bare fdatasync", control, n);
	stages(&d);
	printf("%.0f requests/s with %u in flight, %llu receipts wrong\n", (double)done / secs,
	       flight, (unsigned long long)d.receipts_bad);
	drv_kill(&d);
	t = clock_mono_ns();
	if (!drv_start(&d, true))
		drv_fail("restart");
	t = clock_mono_ns() - t;
	drv_stop(&d);
	drv_sums(&d, &s);
	printf("kill -9 to ready: %.0f ms with %llu entries (%.0f entries/s)\n", (double)t / 1e6,
	       (unsigned long long)s.entries, (double)s.entries * 1e9 / (double)t);
	snprintf(cmd, sizeof(cmd), "rm -rf -- '%s'", dir);
	return system(cmd);
}
