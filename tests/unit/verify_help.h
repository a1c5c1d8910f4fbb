/* verify_help.h - for the tests of audit/verify.h: a small log, and what verify says of a folder. */
#ifndef SP_TEST_VERIFY_HELP_H
#define SP_TEST_VERIFY_HELP_H

#include "audit_fixture.h"

#include <fcntl.h>

#include "verify.h"

static struct verify_result res; /* of the last check */

static inline int check_with(struct fix *f, const struct vkey *pin, struct span since)
{
	struct verify_opts o = {.key = pin, .since = since};
	int fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	assert_true(fd >= 0);
	rc = (int)verify_log(fd, &o, &res);
	close(fd);
	return rc;
}

static inline int check(struct fix *f)
{
	return check_with(f, NULL, span_of(NULL, 0));
}

static inline void expect_ok(struct fix *f, uint64_t records)
{
	if (check(f) != VERIFY_OK)
		fail_msg("verify: %s", res.text);
	assert_int_equal(res.records, records);
}

/* 15 entries in groups of 3 over small segments. */
static inline void small_log(struct fix *f, bool clean)
{
	char mem[256];
	uint64_t i;

	fix_init(f);
	assert_int_equal(fix_try_open(f, SEG_MIN), E_OK);
	for (unsigned k = 0; k < 15; k++) {
		int n = snprintf(mem, sizeof(mem),
				 "{\"boot\":\"bot_x\",\"n\":%u,\"pad\":\"%0120u\",\"t\":\"test\"}",
				 k, k);

		assert_int_equal(logw_append(f->w, span_of(mem, (size_t)n), &i, &f->err), E_OK);
		if (k % 3 == 2)
			assert_int_equal(logw_commit(f->w, &f->err), E_OK);
	}
	fix_close(f, clean);
}

#endif
