/* audit_fixture.h - log folders for the tests of audit/: made under $TMPDIR, small segments. */
#ifndef SP_TEST_AUDIT_FIXTURE_H
#define SP_TEST_AUDIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <ftw.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logw.h"

#define FIX_ORIGIN "sallyport.invalid/dep_test/1"
#define FIX_SEG (32u << 10)

struct fix {
	char dir[256];
	uint8_t pk[32], sk[64];
	struct logw *w;
	struct logw_report rep;
	struct err err;
};

static inline int fix_rm_one(const char *p, const struct stat *sb, int type, struct FTW *f)
{
	return remove(p);
}

static inline void fix_rm(const char *dir)
{
	nftw(dir, fix_rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fix_init(struct fix *f)
{
	static const uint8_t seed[32] = {42};
	const char *tmp = getenv("TMPDIR");

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/sp-log-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	crypto_sign_seed_keypair(f->pk, f->sk, seed);
}

static inline int fix_try_open(struct fix *f, uint64_t seg)
{
	struct logw_opts o = {.dir = f->dir,
			      .dirfd = -1,
			      .origin = FIX_ORIGIN,
			      .seckey = f->sk,
			      .segment_bytes = seg};

	memset(&f->err, 0, sizeof(f->err));
	return logw_open(&o, &f->w, &f->rep, &f->err);
}

static inline void fix_open(struct fix *f)
{
	int rc = fix_try_open(f, FIX_SEG);

	if (rc < 0)
		fail_msg("open: %s", f->err.text);
}

static inline void fix_close(struct fix *f, bool clean)
{
	struct err e = {0};

	if (logw_close(f->w, clean, &e) < 0)
		fail_msg("close: %s", e.text);
	f->w = NULL;
}

static inline void fix_done(struct fix *f)
{
	logw_close(f->w, false, NULL);
	fix_rm(f->dir);
}

/* The bytes of made entry i: JSON as the daemon would write, of varying length. */
static inline struct span fix_entry(uint64_t i, char mem[512])
{
	int n = snprintf(
	    mem, 512, "{\"boot\":\"bot_x\",\"n\":%llu,\"pad\":\"%.*s\",\"t\":\"test\"}",
	    (unsigned long long)i, (int)(i * 37 % 300),
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	    "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd");

	return span_of(mem, (size_t)n);
}

/* Appends entries until the log holds `to`, committing every `group`. */
static inline void fix_fill(struct fix *f, uint64_t to, unsigned group)
{
	char mem[512];
	uint64_t i;

	while (logw_next(f->w) < to) {
		uint64_t n = logw_next(f->w);

		if (logw_append(f->w, fix_entry(n, mem), &i, &f->err) < 0)
			fail_msg("append %llu: %s", (unsigned long long)n, f->err.text);
		assert_int_equal(i, n);
		if ((n + 1) % group == 0 && logw_commit(f->w, &f->err) < 0)
			fail_msg("commit: %s", f->err.text);
	}
	if (logw_commit(f->w, &f->err) < 0)
		fail_msg("commit: %s", f->err.text);
}

#endif
