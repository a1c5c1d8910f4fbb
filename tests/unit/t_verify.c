/* t_verify.c - whatever is changed in the segments and files of a log folder is found and named
 * (audit/verify.h); what the log says as a whole is the matter of t_verify_whole.c. */
#include "verify_help.h"

#include "logdir.h"

static void sound_logs_verify_open_closed_and_grown(void **st)
{
	struct fix f;

	small_log(&f, false);
	expect_ok(&f, 15);
	assert_false(res.clean);
	assert_true(res.commits >= 5);
	assert_int_equal(fix_try_open(&f, SEG_MIN), E_OK);
	fix_close(&f, true);
	expect_ok(&f, 15);
	assert_true(res.clean);
	assert_true(res.segments >= 2);
	assert_true(res.tiles == 1 && res.bundles == 1);
	fix_open(&f);
	fix_fill(&f, 600, 9);
	expect_ok(&f, 600); /* beside a writer, its older tiles behind */
	assert_true(res.live);
	assert_int_equal(logw_publish(f.w, &f.err), E_OK);
	fix_fill(&f, 700, 9);
	fix_close(&f, true);
	expect_ok(&f, 700);
	assert_false(res.live);
	assert_true(res.tiles >= 3 && res.bundles >= 3);
	fix_done(&f);
}

static unsigned flipped, inexact;

static void flip_one(struct fix *f, int fd, const char *name, off_t at, uint8_t mask)
{
	uint8_t x;

	assert_int_equal(pread(fd, &x, 1, at), 1);
	x ^= mask;
	assert_int_equal(pwrite(fd, &x, 1, at), 1);
	if (check(f) == VERIFY_OK || !res.bad)
		fail_msg("%s: byte %lld changed and not found", name, (long long)at);
	if (strcmp(res.first_bad.file, name) != 0)
		fail_msg("%s: byte %lld changed, but %s is named: %s", name, (long long)at,
			 res.first_bad.file, res.text);
	flipped++;
	if (res.first_bad.byte != (uint64_t)at)
		inexact++;
	x ^= mask;
	assert_int_equal(pwrite(fd, &x, 1, at), 1);
}

static void flip_file(struct fix *f, const char *name)
{
	bool full = getenv("SALLYPORT_FULL") != NULL;
#ifdef SP_SANITIZED
	const int stride = 7;
#else
	const int stride = 1;
#endif
	unsigned char *mem;
	char path[512];
	struct stat sb;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fail_msg("%s is missing", path);
	assert_int_equal(fstat(fd, &sb), 0);
	mem = malloc((size_t)sb.st_size);
	assert_int_equal(pread(fd, mem, (size_t)sb.st_size, 0), sb.st_size);
	for (off_t at = 0; at < sb.st_size; at++)
		/* of long runs of zeros only some, unless asked for all; fewer where it is slow */
		if (full ||
		    ((mem[at] || at % 17 == 0 || (at > 8 && mem[at - 8])) && at % stride == 0))
			flip_one(f, fd, name, at, (uint8_t)(1u << (at % 8)));
	free(mem);
	close(fd);
}

static void every_flipped_byte_of_a_closed_log_is_found_and_named(void **st)
{
	struct logdir d;
	char name[SEG_NAME_MAX];
	struct fix f;
	int fd;

	small_log(&f, true);
	expect_ok(&f, 15);
	fd = open(f.dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(logdir_list(fd, &d, NULL), E_OK);
	close(fd);
	assert_true(d.n >= 2 && d.nspare >= 1);
	for (size_t i = 0; i < d.n; i++) {
		seg_name(d.first[i], name);
		flip_file(&f, name);
	}
	seg_spare_name(d.spare[0], name);
	flip_file(&f, name);
	logdir_free(&d);
	flip_file(&f, "tile/0/000.p/15");
	flip_file(&f, "tile/entries/000.p/15");
	flip_file(&f, "checkpoint");
	flip_file(&f, "vkey");
	expect_ok(&f, 15);
	print_message("%u bytes flipped, %u named with another byte of their frame\n", flipped,
		      inexact);
	assert_true(inexact < flipped / 10);
	fix_done(&f);
}

static void a_crashed_log_is_incomplete_at_most_in_its_last_group(void **st)
{
	struct fix f;
	char path[512], name[SEG_NAME_MAX];
	struct seg_frame fr;
	struct segscan s;
	struct logdir d;
	struct stat sb;
	uint64_t end = 0, last_commit = 0;
	uint8_t x;
	int dir, fd;

	small_log(&f, false);
	dir = open(f.dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(logdir_list(dir, &d, NULL), E_OK);
	seg_name(d.first[d.n - 1], name);
	close(dir);
	snprintf(path, sizeof(path), "%s/%s", f.dir, name);
	fd = open(path, O_RDWR);
	assert_int_equal(fstat(fd, &sb), 0);
	assert_int_equal(segscan_init(&s, fd, (uint64_t)sb.st_size, SEG_HEADER, NULL), E_OK);
	while (segscan_next(&s, &fr, NULL) == E_OK) {
		if (fr.kind == SEG_COMMIT)
			last_commit = s.off - fr.size;
		end = s.off;
	}
	segscan_free(&s);
	for (uint64_t at = SEG_HEADER; at < end; at += 3) {
		assert_int_equal(pread(fd, &x, 1, (off_t)at), 1);
		x ^= 8;
		assert_int_equal(pwrite(fd, &x, 1, (off_t)at), 1);
		assert_int_equal(check(&f), at < last_commit ? VERIFY_TAMPERED : VERIFY_INCOMPLETE);
		assert_true(res.bad);
		x ^= 8;
		assert_int_equal(pwrite(fd, &x, 1, (off_t)at), 1);
	}
	expect_ok(&f, 15);
	/* a torn tail: never ok */
	assert_int_equal(pwrite(fd, "\x40\0\0\0torn", 8, (off_t)end), 8);
	assert_int_equal(check(&f), VERIFY_INCOMPLETE);
	assert_int_equal(res.first_bad.byte, end);
	assert_int_equal(res.torn_bytes, 8);
	assert_int_equal(res.first_bad.index, 15);
	close(fd);
	logdir_free(&d);
	fix_done(&f);
}

/* A forger without the key: rewrites a group with other entries, with sound CRCs and roots. */
static void swapped_and_removed_records_are_found_though_every_sum_is_right(void **st)
{
	for (int removal = 0; removal < 2; removal++) {
		struct buf g = BUF_INIT(65536);
		char path[512], name[SEG_NAME_MAX], mem[512];
		uint8_t *raw = malloc(FIX_SEG), root[32], leaf[32];
		struct seg_frame fr;
		struct seg_commit c;
		struct merkle m;
		struct span s;
		struct fix f;
		size_t off;
		int fd;

		fix_init(&f);
		fix_open(&f);
		fix_fill(&f, 4, 4);
		fix_close(&f, false);
		seg_name(0, name);
		snprintf(path, sizeof(path), "%s/%s", f.dir, name);
		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, raw, FIX_SEG, 0), FIX_SEG);
		off = SEG_HEADER + SEG_FRAME;
		s = span_of(raw + off, FIX_SEG - off);
		merkle_init(&m);
		for (uint64_t i = 0; i < (removal ? 3u : 4u); i++) {
			static const unsigned other[4] = {0, 2, 1, 3};
			struct span e = fix_entry(removal ? i : other[i], mem);

			seg_frame_put(&g, SEG_ENTRY, i, 0, e);
			merkle_leaf(e, leaf);
			merkle_add(&m, leaf);
		}
		do {
			assert_int_equal(seg_frame_parse(s, &fr), E_OK);
			s = span_from(s, fr.size);
		} while (fr.kind != SEG_COMMIT);
		assert_int_equal(seg_commit_parse(&fr, &c), E_OK);
		merkle_root(&m, root);
		seg_commit_put(&g, 0, (uint32_t)m.size, m.size, root, c.note);
		memset(raw + off, 0, FIX_SEG - off);
		memcpy(raw + off, g.p, g.n);
		assert_int_equal(pwrite(fd, raw, FIX_SEG, 0), FIX_SEG);
		close(fd);
		assert_int_equal(check(&f), VERIFY_TAMPERED);
		assert_string_equal(res.first_bad.file, name);
		free(raw);
		buf_free(&g);
		fix_done(&f);
	}
}

static void missing_and_exchanged_segments_are_found(void **st)
{
	char a[512], b[512], c[520], name[SEG_NAME_MAX];
	struct logdir d;
	struct fix f;
	int dir;

	fix_init(&f);
	assert_int_equal(fix_try_open(&f, 8192), E_OK);
	fix_fill(&f, 120, 3);
	fix_close(&f, true);
	expect_ok(&f, 120);
	dir = open(f.dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(logdir_list(dir, &d, NULL), E_OK);
	close(dir);
	assert_true(d.n > 4);
	for (size_t i = 0; i < d.n; i++) {
		seg_name(d.first[i], name);
		snprintf(a, sizeof(a), "%s/%s", f.dir, name);
		snprintf(c, sizeof(c), "%s.gone", a);
		assert_int_equal(rename(a, c), 0);
		assert_int_equal(check(&f), VERIFY_TAMPERED);
		assert_int_equal(rename(c, a), 0);
	}
	seg_name(d.first[1], name);
	snprintf(a, sizeof(a), "%s/%s", f.dir, name);
	seg_name(d.first[2], name);
	snprintf(b, sizeof(b), "%s/%s", f.dir, name);
	snprintf(c, sizeof(c), "%s/x", f.dir);
	assert_true(rename(a, c) == 0 && rename(b, a) == 0 && rename(c, b) == 0);
	assert_int_equal(check(&f), VERIFY_TAMPERED);
	assert_int_equal(res.first_bad.index, d.first[1]);
	logdir_free(&d);
	fix_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sound_logs_verify_open_closed_and_grown),
	    cmocka_unit_test(every_flipped_byte_of_a_closed_log_is_found_and_named),
	    cmocka_unit_test(a_crashed_log_is_incomplete_at_most_in_its_last_group),
	    cmocka_unit_test(swapped_and_removed_records_are_found_though_every_sum_is_right),
	    cmocka_unit_test(missing_and_exchanged_segments_are_found),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
