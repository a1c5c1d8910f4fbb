/* t_log_fault.c - every system call of the log's life fails once, at every place, with EIO and with
 * ENOSPC, and once for good: what was acknowledged stays, the log opens again and verifies. Needs
 * --enable-fault. */
#include "audit_fixture.h"

#ifndef SP_FAULT
int main(void)
{
	return 77; /* automake: skipped */
}
#else
#include <errno.h>
#include <fcntl.h>

#include "fault.h"
#include "verify.h"

/* Open, commits over several segments, publish, close. Gives the acknowledged number of entries. */
static uint64_t life(struct fix *f, bool *poisoned)
{
	uint64_t acked = 0, i;
	char mem[512];

	*poisoned = false;
	if (fix_try_open(f, 16384) < 0)
		return 0;
	for (unsigned g = 0; g < 14; g++) {
		for (unsigned k = 0; k < 20; k++)
			if (logw_append(f->w, fix_entry(logw_next(f->w), mem), &i, NULL) < 0)
				goto out;
		if (logw_commit(f->w, NULL) < 0)
			goto out;
		acked = logw_size(f->w);
		if (g % 6 == 5)
			logw_publish(f->w, NULL);
	}
out:
	*poisoned = logw_poisoned(f->w);
	if (*poisoned) { /* never again, whatever the disk says now */
		fault_disarm();
		assert_int_equal(logw_append(f->w, fix_entry(0, mem), &i, NULL), E_IO);
		assert_int_equal(logw_commit(f->w, NULL), E_IO);
		assert_int_equal(logw_reserve(f->w, 1, NULL), E_IO);
	}
	logw_close(f->w, true, NULL);
	f->w = NULL;
	return acked;
}

static void reopen(struct fix *f, uint64_t acked, unsigned n)
{
	struct verify_opts o = {0};
	struct verify_result r;
	struct buf b = BUF_INIT(ENTRY_MAX);
	char mem[512];
	int fd;

	fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	if (acked > 0 && verify_log(fd, &o, &r) == VERIFY_TAMPERED)
		fail_msg("fault %u: verify says %s", n, r.text);
	if (fix_try_open(f, 16384) < 0)
		fail_msg("fault %u: %s", n, f->err.text);
	if (logw_size(f->w) < acked)
		fail_msg("fault %u: %llu acknowledged, %llu left", n, (unsigned long long)acked,
			 (unsigned long long)logw_size(f->w));
	for (uint64_t i = 0; i < logw_size(f->w); i++) {
		buf_reset(&b);
		assert_int_equal(logw_entry(f->w, i, &b, NULL), E_OK);
		assert_true(span_eq(buf_span(&b), fix_entry(i, mem)));
	}
	fix_fill(f, logw_size(f->w) + 3, 2);
	fix_close(f, true);
	if (verify_log(fd, &o, &r) != VERIFY_OK || !r.clean)
		fail_msg("fault %u: after all, verify says %s", n, r.text);
	close(fd);
	buf_free(&b);
}

static void sweep(int err_no, bool persistent)
{
	unsigned n = 1, poisonings = 0;
	bool fired = true, poisoned;
	uint64_t acked;
	struct fix f;

	for (; fired; n += persistent ? 7 : 1 + n / 60) {
		fix_init(&f);
		fault_arm("*", n, persistent, err_no);
		acked = life(&f, &poisoned);
		fired = fault_fired();
		fault_disarm();
		poisonings += poisoned;
		reopen(&f, acked, n);
		fix_done(&f);
	}
	print_message("up to call %u, %u poisonings\n", n, poisonings);
	assert_true(n > 40 && poisonings > 5);
}

static void one_eio_anywhere_loses_nothing_acknowledged(void **st)
{
	sweep(EIO, false);
}

static void one_enospc_anywhere_loses_nothing_acknowledged(void **st)
{
	sweep(ENOSPC, false);
}

static void a_disk_that_stays_full_loses_nothing_acknowledged(void **st)
{
	sweep(ENOSPC, true);
}

static void a_failed_fsync_is_not_retried(void **st)
{
	struct fix f;
	char mem[512];
	uint64_t i;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 10, 5);
	assert_int_equal(logw_append(f.w, fix_entry(10, mem), &i, NULL), E_OK);
	fault_arm("log.fdatasync", 1, false, EIO);
	assert_int_equal(logw_commit(f.w, &f.err), E_IO);
	fault_disarm();
	assert_true(logw_poisoned(f.w));
	assert_int_equal(logw_commit(f.w, &f.err), E_IO);
	assert_int_equal(logw_size(f.w), 10);
	assert_true(logw_close(f.w, true, NULL) < 0);
	f.w = NULL;
	fix_open(&f);
	assert_false(f.rep.clean);
	assert_true(logw_size(f.w) >= 10);
	fix_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_eio_anywhere_loses_nothing_acknowledged),
	    cmocka_unit_test(one_enospc_anywhere_loses_nothing_acknowledged),
	    cmocka_unit_test(a_disk_that_stays_full_loses_nothing_acknowledged),
	    cmocka_unit_test(a_failed_fsync_is_not_retried),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
