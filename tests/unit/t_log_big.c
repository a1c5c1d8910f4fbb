/* t_log_big.c - a log of 70,001 entries: the tile layout of C2SP tlog-tiles, proofs, verification,
 * and that the verifier's memory does not grow with the log. */
#include "audit_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tile.h"
#include "verify.h"

#define N 70001u

static struct fix f;

static int setup(void **st)
{
	char mem[64];
	uint64_t i;

	fix_init(&f);
	if (fix_try_open(&f, 1 << 20) < 0)
		return -1;
	for (unsigned k = 0; k < N; k++) {
		int n = snprintf(mem, sizeof(mem), "{\"n\":%u,\"t\":\"test\"}", k);

		if (logw_append(f.w, span_of(mem, (size_t)n), &i, NULL) < 0 ||
		    (k % 2000 == 1999 && logw_commit(f.w, NULL) < 0))
			return -1;
	}
	return logw_close(f.w, true, NULL) < 0 || (f.w = NULL, fix_try_open(&f, 1 << 20)) < 0;
}

static int teardown(void **st)
{
	fix_done(&f);
	return 0;
}

static off_t size_of(int level, uint64_t index, unsigned width)
{
	char rel[TILE_PATH_MAX], path[512];
	struct stat sb;

	tile_path(level, index, width, rel);
	snprintf(path, sizeof(path), "%s/%s", f.dir, rel);
	return stat(path, &sb) < 0 ? -1 : sb.st_size;
}

static void tiles_lie_as_the_format_says(void **st)
{
	for (unsigned i = 0; i < 273; i++) {
		assert_int_equal(size_of(0, i, 0), TILE_BYTES);
		assert_true(size_of(TILE_ENTRIES, i, 0) > 256 * 20);
	}
	assert_int_equal(size_of(0, 273, 0), -1);
	assert_int_equal(size_of(0, 273, 113), 113 * 32);
	assert_int_equal(size_of(1, 0, 0), TILE_BYTES);
	assert_int_equal(size_of(1, 1, 17), 17 * 32);
	assert_int_equal(size_of(2, 0, 1), 32);
	assert_int_equal(size_of(3, 0, 1), -1);
	assert_true(size_of(TILE_ENTRIES, 273, 113) > 113 * 20);
}

static void proofs_reach_from_every_part(void **st)
{
	struct merkle_proof p;

	for (unsigned i = 0; i < N; i += 1777) {
		assert_int_equal(logw_prove(f.w, i, N, &p, &f.err), E_OK);
		assert_in_range(p.n, 1, 17);
		if (i > 0)
			assert_int_equal(logw_prove(f.w, i - 1, i, &p, &f.err), E_OK);
	}
	assert_int_equal(logw_prove_consistency(f.w, 40000, N, &p, &f.err), E_OK);
}

static long verify_in_child(const char *dir, uint64_t want)
{
	struct rusage ru;
	int st, fd;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct verify_opts o = {0};
		struct verify_result r;

		fd = open(dir, O_RDONLY | O_DIRECTORY);
		_exit(verify_log(fd, &o, &r) == VERIFY_OK && r.records == want ? 0 : 1);
	}
	assert_int_equal(wait4(pid, &st, 0, &ru), pid);
	assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 0);
	return ru.ru_maxrss;
}

static void verification_needs_little_memory_at_any_size(void **st)
{
	struct fix small;
	long a, b;

	fix_init(&small);
	assert_int_equal(fix_try_open(&small, 1 << 20), E_OK);
	fix_fill(&small, 3, 3);
	a = verify_in_child(small.dir, 3);
	b = verify_in_child(f.dir, N);
	print_message("verify: %ld KiB at 3 entries, %ld KiB at %u\n", a, b, N);
#ifndef SP_SANITIZED
	assert_true(b - a < 12 * 1024);
#endif
	fix_done(&small);
}

static void paths_are_strict(void **st)
{
	static const char *const bad[] = {"tile/0/x001/x234/067.p/",
					  "tile/0/x001",
					  "tile/64/x001/002",
					  "tile/0/000.p/0",
					  "tile/0/000.p/256",
					  "tile/00/000",
					  "tile/0/1",
					  "tile/0/x000/001",
					  "tile/-1/000",
					  "x",
					  ""};
	char path[TILE_PATH_MAX];
	uint64_t index;
	unsigned w;
	int level;

	tile_path(0, 1234067, 89, path);
	assert_string_equal(path, "tile/0/x001/x234/067.p/89");
	tile_path(TILE_ENTRIES, 123456789, 0, path);
	assert_string_equal(path, "tile/entries/x123/x456/789");
	assert_true(tile_path_parse(span_cstr(path), &level, &index, &w));
	assert_true(level == TILE_ENTRIES && index == 123456789 && w == 0);
	tile_path(63, 999999999999999999ull, 255, path);
	assert_true(tile_path_parse(span_cstr(path), &level, &index, &w));
	assert_true(level == 63 && index == 999999999999999999ull && w == 255);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(tile_path_parse(span_cstr(bad[i]), &level, &index, &w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tiles_lie_as_the_format_says),
	    cmocka_unit_test(proofs_reach_from_every_part),
	    cmocka_unit_test(verification_needs_little_memory_at_any_size),
	    cmocka_unit_test(paths_are_strict),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, teardown);
}
