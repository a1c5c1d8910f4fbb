/* t_hostile_model.c - damaged model files, all the way through: each is refused with a reason, or
 * it loads and computes something. Run under AddressSanitizer and UBSan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine_help.h"

#ifndef ROUNDS
#define ROUNDS 6000 /* seconds; -DROUNDS=... for a long hunt */
#endif

static const struct shape shape = {.embd = 32,
				   .layers = 2,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 8,
				   .ff = 40,
				   .vocab = SMALL_VOCAB,
				   .context = 256,
				   .tied = true,
				   .freqs = true};

static uint64_t state = 1;

static uint32_t rnd(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static int damaged(const uint8_t *good, size_t n, size_t head)
{
	int fd = memfd_create("damaged", MFD_CLOEXEC);
	uint8_t *p = malloc(n);
	uint32_t hits = 1 + rnd(3);

	memcpy(p, good, n);
	while (hits--) {
		uint32_t at = rnd((uint32_t)head);

		switch (rnd(3)) {
		case 0:
			p[at] ^= (uint8_t)(1 << rnd(8));
			break;
		case 1:
			p[at] = (uint8_t)rnd(256);
			break;
		default:
			memset(p + at, rnd(2) ? 0xff : 0, 1 + rnd(8));
			break;
		}
	}
	if (rnd(20) == 0)
		n -= rnd((uint32_t)n);
	assert_true(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	free(p);
	return fd;
}

/* True when the file loads; then a prompt and a few tokens are computed. */
static bool try_file(struct engine *e, int fd)
{
	struct gen_limit limit = {.max_new = 3};
	struct seq_cfg cfg = {.max_tokens = 9};
	struct sampler smp;
	struct err err = {0};
	struct model *m = NULL;
	struct seq *s = NULL;
	struct event ev[8];
	job_id job;
	int rc = engine_model_add(e, &fd, 1, NULL, &m, &err);

	close(fd);
	if (rc < 0) {
		assert_true(err.text[0]);
		return false;
	}
	sampler_init(&smp, 1);
	rc = seq_new(e, m, &cfg, &s, &err);
	if (rc == 0 && seq_append(s, (int32_t[]){0, 1, 2, 3, 4}, 5, NULL, &job, &err) == 0 &&
	    seq_generate(s, &smp, &limit, NULL, NULL, &job, &err) == 0) {
		seq_credit(s, 3);
		while (engine_step(e, 0) > 0)
			;
		while (engine_poll(e, ev, 8) > 0)
			;
	}
	seq_free(s);
	assert_int_equal(engine_model_drop(e, m, NULL), 0);
	return true;
}

static void damaged_files_are_refused_or_computed(void **st)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 16u << 20};
	int fd = random_model(&shape, 1, NULL);
	size_t n = (size_t)lseek(fd, 0, SEEK_END), loaded = 0;
	uint8_t *good = malloc(n);
	struct engine *e;

	assert_int_equal(pread(fd, good, n, 0), n);
	close(fd);
	assert_int_equal(engine_open(&cfg, &e, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) /* the header is about a tenth of this file */
		loaded += try_file(e, damaged(good, n, rnd(4) ? n / 8 : 700));
	print_message("%zu of %d loaded\n", loaded, ROUNDS);
	assert_true(loaded > 0 && loaded < ROUNDS);
	engine_close(e);
	free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(damaged_files_are_refused_or_computed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
