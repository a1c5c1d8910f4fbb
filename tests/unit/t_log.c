/* t_log.c - what the log writer promises (audit/logw.h). */
#include "audit_fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "fault.h"
#include "logdir.h"
#include "tile.h"

static void check_entries(struct fix *f, uint64_t size)
{
	struct buf b = BUF_INIT(ENTRY_MAX);
	char mem[512];

	assert_int_equal(logw_size(f->w), size);
	for (uint64_t i = 0; i < size; i++) {
		buf_reset(&b);
		if (logw_entry(f->w, i, &b, &f->err) < 0)
			fail_msg("entry %llu: %s", (unsigned long long)i, f->err.text);
		assert_true(span_eq(buf_span(&b), fix_entry(i, mem)));
	}
	buf_free(&b);
}

static void root_of(uint64_t size, uint8_t root[32])
{
	uint8_t leaf[32];
	struct merkle m;
	char mem[512];

	merkle_init(&m);
	for (uint64_t i = 0; i < size; i++) {
		merkle_leaf(fix_entry(i, mem), leaf);
		merkle_add(&m, leaf);
	}
	merkle_root(&m, root);
}

static void entries_come_back_after_a_clean_stop_and_a_new_start(void **st)
{
	uint8_t root[32], want[32];
	struct checkpoint cp;
	struct fix f;

	fix_init(&f);
	fix_open(&f);
	assert_true(f.rep.created);
	for (unsigned run = 1; run <= 5; run++) {
		fix_fill(&f, run * 150, 1 + run * 3);
		check_entries(&f, run * 150);
		logw_root(f.w, root);
		root_of(run * 150, want);
		assert_memory_equal(root, want, 32);
		fix_close(&f, run != 3);
		fix_open(&f);
		assert_false(f.rep.created);
		assert_int_equal(f.rep.clean, run != 3);
		assert_int_equal(f.rep.dropped_bytes, 0);
		check_entries(&f, run * 150);
		assert_int_equal(checkpoint_open(logw_checkpoint(f.w), logw_vkey(f.w), &cp, NULL),
				 0);
		assert_int_equal(cp.size, run * 150);
		assert_memory_equal(cp.root, want, 32);
	}
	fix_done(&f);
}

static void a_second_writer_is_refused(void **st)
{
	struct fix f;
	struct logw *first;

	fix_init(&f);
	fix_open(&f);
	first = f.w;
	assert_int_equal(fix_try_open(&f, FIX_SEG), E_BUSY);
	f.w = first;
	fix_done(&f);
}

static void another_key_or_origin_is_refused(void **st)
{
	struct fix f;
	struct logw_opts o = {.dirfd = -1, .seckey = f.sk, .origin = "another/1"};

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 5, 2);
	fix_close(&f, true);
	o.dir = f.dir;
	assert_int_equal(logw_open(&o, &f.w, &f.rep, NULL), E_DENIED);
	f.sk[40] ^= 1;
	assert_int_equal(fix_try_open(&f, FIX_SEG), E_DENIED);
	fix_done(&f);
}

static void every_entry_has_a_proof_at_every_size_behind_it(void **st)
{
	uint8_t root[32], leaf[32];
	struct merkle_proof p;
	struct fix f;
	char mem[512];

	fix_init(&f);
	fix_open(&f);
	for (unsigned size = 1; size <= 600; size += size < 20 ? 1 : 97) {
		fix_fill(&f, size, 7);
		for (unsigned at = size > 3 ? size - 3 : 1; at <= size; at++) {
			root_of(at, root);
			for (unsigned i = 0; i < at; i += 1 + i / 9) {
				merkle_leaf(fix_entry(i, mem), leaf);
				assert_int_equal(logw_prove(f.w, i, at, &p, &f.err), E_OK);
				assert_true(merkle_check(leaf, i, at, p.h, p.n, root));
			}
			assert_int_equal(logw_prove_consistency(f.w, at / 2, at, &p, NULL), E_OK);
		}
	}
	assert_int_equal(logw_prove(f.w, 5, 100000, &p, NULL), E_RANGE);
	fix_done(&f);
}

static void a_receipt_is_a_whole_proof_against_the_signed_head(void **st)
{
	struct buf b = BUF_INIT(65536);
	struct tlog_proof p;
	uint8_t leaf[32];
	struct fix f;
	char mem[512];

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 300, 64);
	assert_int_equal(logw_receipt(f.w, 77, SPAN_LIT("salt"), &b, &f.err), E_OK);
	assert_int_equal(tlog_proof_parse(buf_span(&b), &p, &f.err), E_OK);
	merkle_leaf(fix_entry(77, mem), leaf);
	assert_int_equal(tlog_proof_check(&p, leaf, logw_vkey(f.w), NULL, &f.err), E_OK);
	buf_free(&b);
	fix_done(&f);
}

static void seg_path(struct fix *f, unsigned nth, char path[512])
{
	struct logdir d;
	char name[SEG_NAME_MAX];
	int fd = open(f->dir, O_RDONLY | O_DIRECTORY);

	assert_int_equal(logdir_list(fd, &d, NULL), E_OK);
	assert_true(d.n > 0);
	seg_name(d.first[nth < d.n ? nth : d.n - 1], name);
	snprintf(path, 512, "%s/%s", f->dir, name);
	logdir_free(&d);
	close(fd);
}

/* Writes bytes at an offset of the last segment. */
static void scribble(struct fix *f, uint64_t off, const void *p, size_t n)
{
	char path[512];
	int fd;

	seg_path(f, 1000, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, n, (off_t)off), n);
	close(fd);
}

static uint64_t end_of_data(struct fix *f)
{
	char path[512];
	uint8_t *mem = malloc(FIX_SEG);
	uint64_t end = FIX_SEG;
	int fd;

	seg_path(f, 1000, path);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, mem, FIX_SEG, 0), FIX_SEG);
	while (end > 0 && mem[end - 1] == 0)
		end--;
	free(mem);
	close(fd);
	return end;
}

static void a_torn_tail_is_dropped_and_counted(void **st)
{
	struct buf g = BUF_INIT(65536);
	struct fix f;
	uint64_t end;
	char mem[512];

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 10, 3);
	fix_close(&f, false);
	end = end_of_data(&f);
	/* every prefix of a group that never became whole */
	seg_frame_put(&g, SEG_ENTRY, 10, 0, fix_entry(10, mem));
	seg_frame_put(&g, SEG_ENTRY, 11, 0, fix_entry(11, mem));
	for (size_t n = 1; n <= g.n; n += 13) {
		scribble(&f, end, g.p, n);
		fix_open(&f);
		assert_in_range(f.rep.dropped_bytes, 1, n);
		assert_int_equal(f.rep.size, 10);
		assert_false(f.rep.clean);
		check_entries(&f, 10);
		fix_close(&f, false);
		assert_int_equal(end_of_data(&f), end);
	}
	fix_open(&f);
	fix_fill(&f, 20, 4);
	check_entries(&f, 20);
	buf_free(&g);
	fix_done(&f);
}

static void damage_below_a_signed_commit_is_refused_not_dropped(void **st)
{
	struct fix f;
	uint64_t end;
	uint8_t x;
	char path[512];
	int fd;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 12, 3);
	fix_close(&f, false);
	end = end_of_data(&f);
	seg_path(&f, 1000, path);
	fd = open(path, O_RDWR);
	/* the last commit frame itself is the tail: without it its group is merely torn */
	for (uint64_t at = 40; at < end - 450; at += 61) {
		assert_int_equal(pread(fd, &x, 1, (off_t)at), 1);
		x ^= 4;
		assert_int_equal(pwrite(fd, &x, 1, (off_t)at), 1);
		assert_int_equal(fix_try_open(&f, FIX_SEG), E_CRYPTO);
		x ^= 4;
		assert_int_equal(pwrite(fd, &x, 1, (off_t)at), 1);
	}
	close(fd);
	fix_open(&f);
	check_entries(&f, 12);
	fix_done(&f);
}

static void a_log_shorter_than_its_published_checkpoint_is_refused(void **st)
{
	uint8_t *zero = calloc(1, FIX_SEG);
	struct fix f;
	uint64_t mid;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 6, 3);
	mid = end_of_data(&f);
	fix_fill(&f, 12, 3);
	assert_int_equal(logw_publish(f.w, &f.err), E_OK);
	fix_close(&f, false);
	scribble(&f, mid, zero, (size_t)(FIX_SEG - mid));
	assert_int_equal(fix_try_open(&f, FIX_SEG), E_CRYPTO);
	free(zero);
	fix_done(&f);
}

/* A power cut before the group's fsync may keep the commit frame and lose sectors before it. */
static void an_unsynced_group_with_lost_sectors_is_dropped(void **st)
{
	uint8_t zero[512] = {0};
	struct fix f;
	uint64_t mid, end;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 6, 3);
	mid = end_of_data(&f);
	fix_fill(&f, 16, 100);
	fix_close(&f, false);
	end = end_of_data(&f);
	assert_true(end - mid > 1600);
	scribble(&f, (mid + 1023) & ~511ull, zero, 512);
	fix_open(&f);
	assert_int_equal(f.rep.size, 6);
	assert_true(f.rep.dropped_bytes > 1000);
	check_entries(&f, 6);
	fix_done(&f);
}

static void segments_follow_one_another_and_tiles_are_made(void **st)
{
	char path[600];
	struct stat sb;
	struct fix f;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 1500, 16);
	check_entries(&f, 1500);
	fix_close(&f, true);
	seg_path(&f, 3, path);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, FIX_SEG);
	snprintf(path, sizeof(path), "%s/tile/0/004", f.dir);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, 8192);
	snprintf(path, sizeof(path), "%s/tile/0/005.p/220", f.dir);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, 220 * 32);
	snprintf(path, sizeof(path), "%s/tile/1/000.p/5", f.dir);
	assert_int_equal(stat(path, &sb), 0);
	snprintf(path, sizeof(path), "%s/tile/entries/005.p/220", f.dir);
	assert_int_equal(stat(path, &sb), 0);
	fix_open(&f);
	assert_true(f.rep.clean);
	check_entries(&f, 1500);
	fix_done(&f);
}

static void missing_and_damaged_tiles_are_mended_from_the_entries(void **st)
{
	struct merkle_proof p;
	char path[600];
	struct fix f;
	FILE *t;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 900, 50);
	fix_close(&f, true);
	snprintf(path, sizeof(path), "%s/tile/0/000", f.dir);
	assert_int_equal(unlink(path), 0);
	fix_open(&f);
	assert_int_equal(logw_prove(f.w, 10, 900, &p, &f.err), E_OK);
	snprintf(path, sizeof(path), "%s/tile/0/001", f.dir);
	t = fopen(path, "r+");
	fputs("damage", t);
	fclose(t);
	assert_int_equal(logw_prove(f.w, 300, 900, &p, &f.err), E_OK);
	assert_int_equal(logw_prove(f.w, 10, 700, &p, &f.err), E_OK);
	fix_close(&f, true);
	snprintf(path, sizeof(path), "%s/tile", f.dir);
	fix_rm(path);
	fix_open(&f);
	for (unsigned i = 0; i < 900; i += 41)
		assert_int_equal(logw_prove(f.w, i, 900, &p, &f.err), E_OK);
	fix_done(&f);
}

static void reserved_room_is_there_when_nothing_else_is(void **st)
{
	uint64_t room, held, i, cost = logw_cost(300);
	unsigned n = 0, more = 0;
	char mem[512] = {0};
	struct fix f;

	fix_init(&f);
	fix_open(&f);
	/* no further spare can be made: its name is taken by a folder */
	for (unsigned k = 0; k < 9; k++) {
		char path[600];

		snprintf(path, sizeof(path), "%s/spare-%u.log", f.dir, k);
		if (access(path, F_OK) < 0)
			assert_int_equal(mkdir(path, 0700), 0);
	}
	while (logw_reserve(f.w, cost, NULL) == E_OK)
		n++;
	assert_true(n > 10);
	logw_space(f.w, &room, &held);
	assert_int_equal(held, n * cost);
	assert_int_equal(logw_append(f.w, span_of(mem, 300), &i, NULL), E_BUSY);
	for (unsigned k = 0; k < n; k++) {
		assert_int_equal(logw_append_reserved(f.w, span_of(mem, 300), cost, &i, &f.err), 0);
		if (logw_commit(f.w, &f.err) < 0)
			fail_msg("reserved commit %u of %u: %s", k, n, f.err.text);
	}
	while (logw_append(f.w, span_of(mem, 300), &i, NULL) == E_OK && more < 1000)
		more++;
	assert_true(more < 1000);
	assert_int_equal(logw_commit(f.w, NULL), E_OK);
	fix_close(&f, true);
	fix_done(&f);
}

static void absurd_entries_are_refused(void **st)
{
	static char big[ENTRY_MAX + 1];
	struct fix f;
	uint64_t i;

	fix_init(&f);
	assert_int_equal(fix_try_open(&f, 1000), E_RANGE);
	assert_int_equal(fix_try_open(&f, 1 << 20), E_OK);
	assert_int_equal(logw_append(f.w, span_of(big, sizeof(big)), &i, NULL), E_RANGE);
	assert_int_equal(logw_append(f.w, span_of(big, ENTRY_MAX), &i, NULL), E_OK);
	assert_int_equal(logw_append(f.w, span_of(big, 0), &i, NULL), E_OK);
	assert_int_equal(logw_commit(f.w, &f.err), E_OK);
	fix_close(&f, true);
	assert_int_equal(fix_try_open(&f, 1 << 20), E_OK);
	assert_int_equal(logw_size(f.w), 2);
	fix_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(entries_come_back_after_a_clean_stop_and_a_new_start),
	    cmocka_unit_test(a_second_writer_is_refused),
	    cmocka_unit_test(another_key_or_origin_is_refused),
	    cmocka_unit_test(every_entry_has_a_proof_at_every_size_behind_it),
	    cmocka_unit_test(a_receipt_is_a_whole_proof_against_the_signed_head),
	    cmocka_unit_test(a_torn_tail_is_dropped_and_counted),
	    cmocka_unit_test(damage_below_a_signed_commit_is_refused_not_dropped),
	    cmocka_unit_test(a_log_shorter_than_its_published_checkpoint_is_refused),
	    cmocka_unit_test(an_unsynced_group_with_lost_sectors_is_dropped),
	    cmocka_unit_test(segments_follow_one_another_and_tiles_are_made),
	    cmocka_unit_test(missing_and_damaged_tiles_are_mended_from_the_entries),
	    cmocka_unit_test(reserved_room_is_there_when_nothing_else_is),
	    cmocka_unit_test(absurd_entries_are_refused),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
