/* t_slog.c - the log writer thread answers only what is durable, in order, and nothing after a
 * failure; room is taken without waiting; a hold keeps its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "store_log.h"

struct posts {
	pthread_mutex_t lock;
	struct {
		void (*fn)(void *);
		void *arg;
	} q[4096];
	unsigned n;
};
static struct posts posts = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void post(void *ctx, void (*fn)(void *), void *arg)
{
	pthread_mutex_lock(&posts.lock);
	assert_true(posts.n < 4096);
	posts.q[posts.n].fn = fn;
	posts.q[posts.n++].arg = arg;
	pthread_mutex_unlock(&posts.lock);
}

static void run_posts(void)
{
	for (;;) {
		void (*fn)(void *) = NULL;
		void *arg = NULL;

		pthread_mutex_lock(&posts.lock);
		if (posts.n) {
			fn = posts.q[0].fn;
			arg = posts.q[0].arg;
			memmove(posts.q, posts.q + 1, --posts.n * sizeof(posts.q[0]));
		}
		pthread_mutex_unlock(&posts.lock);
		if (fn == NULL)
			return;
		fn(arg);
	}
}

static char dir[256];
static uint8_t sk[64];

static struct slog *open_slog(void)
{
	struct logw_opts o = {.dirfd = -1,
			      .dir = dir,
			      .origin = "sallyport.invalid/t/1",
			      .seckey = sk,
			      .segment_bytes = 4u << 20};
	struct slog_cfg c = {.dirfd = -1, .post = post};
	struct logw_report rep;
	struct err err = {0};
	struct slog *s = NULL;

	if (logw_open(&o, &c.w, &rep, &err) < 0 || slog_start(&c, &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

static unsigned n_done, n_failed;
static uint64_t last_index;
static char order[64];

static void on_done(struct slog_job *j)
{
	n_done++;
	n_failed += j->rc < 0;
	if (j->rc == E_OK) {
		last_index = j->index;
		if (n_done < sizeof(order))
			order[n_done - 1] = (char)j->tag;
	}
}

static struct slog_job *job(const char *text, char tag)
{
	struct slog_job *j = slog_job_new();

	slog_add(j, span_cstr(text));
	j->done = on_done;
	j->tag = (uint32_t)tag;
	return j;
}

static void wait_done(unsigned n)
{
	for (int i = 0; i < 60000 && n_done < n; i++) {
		run_posts();
		usleep(1000);
	}
	run_posts();
}

static int setup(void **st)
{
	uint8_t pk[32];

	snprintf(dir, sizeof(dir), "%s/t_store.%d.%llx",
		 getenv("BUILDDIR") ? getenv("BUILDDIR") : ".", (int)getpid(),
		 (unsigned long long)clock_mono_ns());
	n_done = n_failed = 0;
	memset(order, 0, sizeof(order));
	crypto_sign_keypair(pk, sk);
	return 0;
}

static int teardown(void **st)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf -- '%s'", dir);
	return system(cmd);
}

static void answers_come_after_the_commit_and_in_order(void **st)
{
	struct slog *s = open_slog();
	struct err err;

	for (int i = 0; i < 20; i++)
		slog_put(s, job("{\"x\":1}", (char)('a' + i)));
	wait_done(20);
	assert_int_equal(n_done, 20);
	assert_int_equal(n_failed, 0);
	assert_string_equal(order, "abcdefghijklmnopqrst");
	assert_int_equal(slog_size(s), 20);
	assert_int_equal(last_index, 19);
	assert_true(slog_commits(s) <= 20);
	assert_int_equal(slog_stop(s, true, &err), E_OK);
	s = open_slog();
	assert_int_equal(slog_size(s), 20);
	slog_stop(s, true, &err);
}

static void a_hold_keeps_its_place_while_others_queue_behind(void **st)
{
	struct slog *s = open_slog();
	struct slog_hold *h;
	struct err err;

	slog_put(s, job("1", '1'));
	h = slog_hold_open(s);
	slog_put(s, job("4", '4'));
	wait_done(1);
	usleep(20000);
	run_posts();
	assert_int_equal(n_done, 1); /* 4 waits for the filler */
	slog_hold_put(h, job("2", '2'));
	slog_hold_put(h, job("3", '3'));
	slog_hold_close(h);
	h = slog_hold_open(s);
	slog_hold_close(h); /* empty ones are fine */
	slog_put(s, job("5", '5'));
	wait_done(5);
	assert_string_equal(order, "12345");
	slog_stop(s, true, &err);
}

static void room_is_taken_without_waiting_and_given_back(void **st)
{
	struct slog *s = open_slog();
	struct slog_job *j;
	struct err err;
	uint64_t cost = logw_cost(1000), n = 0;

	while (slog_take(s, cost) && n < 100000)
		n++;
	assert_true(n > 500 && n < 100000); /* bounded by what is allocated */
	assert_false(slog_take(s, 4u << 20));
	for (uint64_t i = 1; i < n; i++)
		slog_give(s, cost);
	assert_true(slog_take(s, cost));
	j = job("{}", 'p');
	j->paid = j->must = true;
	slog_put(s, j);
	wait_done(1);
	assert_int_equal(n_failed, 0);
	slog_stop(s, true, &err);
}

static void nothing_is_acknowledged_after_a_failed_write(void **st)
{
#ifdef SP_FAULT
	static const char *const points[] = {"io.pwrite", "slog.commit", "slog.append"};

	for (size_t i = 0; i < 3; i++) {
		struct slog *s;
		struct err err;

		teardown(NULL);
		setup(NULL);
		s = open_slog();
		slog_put(s, job("before", 'a'));
		wait_done(1);
		assert_int_equal(n_failed, 0);
		fault_arm(points[i], 1, true, ENOSPC);
		slog_put(s, job("lost", 'b'));
		wait_done(2);
		fault_disarm();
		assert_int_equal(n_failed, 1);
		assert_true(slog_poisoned(s));
		assert_false(slog_take(s, 1));
		slog_put(s, job("after", 'c')); /* the disk is well again: still nothing */
		wait_done(3);
		assert_int_equal(n_failed, 2);
		slog_stop(s, true, &err);
		s = open_slog();
		assert_int_equal(slog_size(s), 1);
		slog_stop(s, true, &err);
	}
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answers_come_after_the_commit_and_in_order, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_hold_keeps_its_place_while_others_queue_behind, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(room_is_taken_without_waiting_and_given_back, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_acknowledged_after_a_failed_write, setup,
					    teardown),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
