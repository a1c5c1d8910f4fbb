/* t_engine_fault.c - every system call and allocation with a fault point fails in turn: the engine
 * says so, stays usable or closes, and leaks nothing (run under AddressSanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "engine_help.h"
#include "fault.h"

#ifdef SP_FAULT
static const struct shape shape = {.embd = 32,
				   .layers = 1,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 8,
				   .ff = 40,
				   .vocab = SMALL_VOCAB,
				   .context = 256,
				   .tied = true};

/* Steps until nothing is left to do; counts jobs that failed. */
static unsigned drain(struct engine *e)
{
	unsigned failed = 0;
	struct event ev[8];
	int n;

	while (engine_step(e, 0) > 0)
		;
	while ((n = engine_poll(e, ev, 8)) > 0)
		for (int i = 0; i < n; i++)
			failed += ev[i].kind == EV_FAILED;
	return failed;
}

/* One request on an open model. 0 when everything went well. */
static int request(struct engine *e, struct model *m)
{
	struct seq_cfg cfg = {.max_tokens = 128};
	struct gen_limit limit = {.max_new = 5, .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	struct seq *s = NULL, *c = NULL;
	struct err err = {0};
	int32_t ids[70];
	job_id job;
	int rc;

	sampler_init(&smp, 1);
	some_ids(ids, 70, SMALL_VOCAB, 1);
	if ((rc = seq_new(e, m, &cfg, &s, &err)) < 0)
		goto out;
	if ((rc = seq_append(s, ids, 70, NULL, &job, &err)) < 0)
		goto out;
	if (drain(e)) {
		rc = E_NOMEM;
		goto out;
	}
	if ((rc = seq_fork(s, 69, &c, &err)) < 0 || (rc = seq_reserve(c, 200)) < 0)
		goto out;
	if ((rc = seq_append(c, ids, 1, NULL, &job, &err)) < 0 ||
	    (rc = seq_generate(c, &smp, &limit, NULL, NULL, &job, &err)) < 0)
		goto out;
	seq_credit(c, 5);
	if (drain(e))
		rc = E_NOMEM;
out:
	seq_free(c);
	seq_free(s);
	return rc;
}

static int whole(int fd)
{
	struct engine_cfg cfg = {.threads = 3, .kv_bytes = 1 << 20};
	struct engine *e = NULL;
	struct model *m = NULL;
	struct engine_stats st;
	struct err err = {0};
	int rc;

	rc = engine_open(&cfg, &e, &err);
	if (rc == 0)
		rc = engine_model_add(e, &fd, 1, NULL, &m, &err);
	if (rc == 0 && (rc = request(e, m)) < 0 && fault_fired()) {
		fault_disarm();
		assert_int_equal(request(e, m), 0); /* the next good request is served */
		engine_stats(e, &st);
		assert_int_equal(st.jobs_active + st.seqs + st.kv_pages_reserved, 0);
	}
	engine_close(e);
	return rc;
}
#endif

static void every_fault_is_reported_and_survived(void **st)
{
#ifdef SP_FAULT
	int fd = random_model(&shape, 1, NULL);
	unsigned n = 0;
	bool fired;

	do {
		int rc;

		fault_arm("*", ++n, false, 0);
		rc = whole(fd);
		fired = fault_fired();
		fault_disarm();
		assert_true(fired ? rc < 0 : rc == 0);
	} while (fired);
	close(fd);
	print_message("%u fault points passed\n", n - 1);
	assert_true(n > 10);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_fault_is_reported_and_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
