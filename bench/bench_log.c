/* bench_log.c - durable records a second through the log writer, beside a bare group commit (one
 * pwrite and one fdatasync for as many bytes) in the same folder, interleaved round by round, since
 * the time of an fsync changes by the minute. bench_log [DIR [ROUNDS [GROUP]]] */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "count.h"
#include "logw.h"
#include "verify.h"

#define BYTES 400u
#define COMMITS 60u

static double ours(struct logw *w, unsigned group)
{
	uint64_t t = clock_mono_ns(), i;
	char e[BYTES];

	memset(e, 'x', sizeof(e));
	for (unsigned c = 0; c < COMMITS; c++) {
		for (unsigned k = 0; k < group; k++)
			if (logw_append(w, span_of(e, sizeof(e)), &i, NULL) < 0)
				return 0;
		if (logw_commit(w, NULL) < 0)
			return 0;
	}
	return COMMITS * (double)group / ((double)(clock_mono_ns() - t) / 1e9);
}

static double bare(int fd, unsigned group, uint64_t *off)
{
	size_t n = (size_t)group * (BYTES + SEG_FRAME);
	char *mem = malloc(n);
	uint64_t t = clock_mono_ns();

	if (mem == NULL)
		return 0;
	memset(mem, 'y', n);
	for (unsigned c = 0; c < COMMITS; c++, *off += n)
		if (pwrite(fd, mem, n, (off_t)*off) != (ssize_t)n || fdatasync(fd) < 0)
			return 0;
	free(mem);
	return COMMITS * (double)group / ((double)(clock_mono_ns() - t) / 1e9);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Signing, tree, framing, CRC alone: what a commit costs beside the disk. */
static void say_proofs(struct logw *w)
{
	uint64_t t = clock_mono_ns(), n = logw_size(w);
	struct merkle_proof p;
	unsigned k = 0;

	for (; k < 2000; k++)
		if (logw_prove(w, (k * 7919u) % n, n, &p, NULL) < 0)
			break;
	printf("one inclusion proof, made and verified: %.1f us over %llu entries (%u hashes)\n",
	       (double)(clock_mono_ns() - t) / 1e3 / k, (unsigned long long)n, p.n);
}

static void say_verify(const char *dir)
{
	struct verify_opts o = {0};
	struct verify_result r;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	uint64_t t = clock_mono_ns();
	double s;

	verify_log(fd, &o, &r);
	s = (double)(clock_mono_ns() - t) / 1e9;
	printf("verify: code %d, %llu records, %llu commits in %.3f s = %.0f records/s\n", r.code,
	       (unsigned long long)r.records, (unsigned long long)r.commits, s,
	       (double)r.records / s);
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 2 ? count_arg(argv[2], 1, 64) : 9;
	unsigned group = argc > 3 ? count_arg(argv[3], 1, 100000) : 64;
	char dir[512], path[600];
	uint8_t pk[32], sk[64];
	double a[64], b[64], q[64];
	struct logw_report rep;
	struct err err = {0};
	struct logw *w;
	uint64_t off = 0;
	int fd;

	if (sodium_init() < 0)
		return 2;
	snprintf(dir, sizeof(dir), "%.480s/sp-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (mkdtemp(dir) == NULL)
		return 2;
	crypto_sign_keypair(pk, sk);
	struct logw_opts o = {.dir = dir, .dirfd = -1, .origin = "bench.invalid/1", .seckey = sk};

	snprintf(path, sizeof(path), "%s/bare", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (logw_open(&o, &w, &rep, &err) < 0 || fd < 0 ||
	    posix_fallocate(fd, 0, (off_t)rounds * COMMITS * group * (BYTES + SEG_FRAME)) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (unsigned r = 0; r < rounds; r++) {
		b[r] = bare(fd, group, &off);
		a[r] = ours(w, group);
		q[r] = a[r] / b[r];
	}
	qsort(a, rounds, sizeof(a[0]), by_size);
	qsort(b, rounds, sizeof(b[0]), by_size);
	qsort(q, rounds, sizeof(q[0]), by_size);
	printf(
	    "durable records/s, %u in flight, %u bytes, medians of %u rounds: log %.0f, bare group "
	    "commit %.0f, ratio %.2f\n",
	    group, BYTES, rounds, a[rounds / 2], b[rounds / 2], q[rounds / 2]);
	say_proofs(w);
	logw_close(w, true, NULL);
	say_verify(dir);
	printf("left in %s\n", dir);
	return 0;
}
