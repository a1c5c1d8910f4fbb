/* p2_guard.c - promise 2, the guard itself: one that answers NaN, one that means the opposite of
 * what it says, a model that is no guard, the bundled model outside a demo, a guard that is late.
 * None of them lets a token out. Skipped where the bundled model is absent. */
#include "engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "gguf_patch.h"

#define GOOD "Tell me a short story about a lighthouse keeper and her cat."

static struct rig_req *ask(struct rig *r, const char *prompt, uint32_t n, uint32_t max_out)
{
	struct rig_req *q = rig_req(r, n, max_out);

	rig_grant(r, q);
	rig_submit(r, q, prompt);
	return q;
}

static int32_t one_token(int fd, const char *text)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 1 << 20};
	struct model_opts o = {.vocab_only = true};
	struct engine *e = NULL;
	struct model *m = NULL;
	int32_t id[8];
	size_t n = 0;

	assert_int_equal(engine_open(&cfg, &e, NULL), 0);
	assert_int_equal(engine_model_add(e, &fd, 1, &o, &m, NULL), 0);
	assert_int_equal(model_tokenize(m, span_cstr(text), TOK_CONT, id, 8, &n), 0);
	engine_model_drop(e, m, NULL);
	engine_close(e);
	return id[0];
}

/* With this guard the service is not ready and says why; nothing is generated. */
static void nothing_passes(int guard_fd, bool demo)
{
	struct rig *r = rig_new(500, guard_fd, demo);
	struct engine_stats st;
	struct rig_req *q;

	assert_non_null(r);
	assert_int_equal(r->guard_ok, 0);
	assert_true(r->guard_bad >= 1);
	assert_true(eng_reasons(r->g) & NR_GUARD);
	q = ask(r, GOOD, 1, 8);
	rig_finish(r, q);
	assert_int_equal(q->fail_code, RS_GUARD_DOWN);
	assert_int_equal(q->fail_status, 503);
	assert_int_equal(q->claims, 0);
	assert_false(q->admitted);
	engine_stats(r->g->e, &st);
	assert_int_equal(st.tokens_generated, 0);
	rig_free(r);
}

static int starter(void)
{
	int fd = rig_starter();

	if (fd < 0)
		skip();
	return fd;
}

static void a_sound_guard_in_its_own_file_is_taken(void **s)
{
	int fd = starter();
	struct rig *r = rig_new(500, patch_copy(fd), true);

	assert_int_equal(r->guard_ok, 1);
	rig_free(r);
	close(fd);
}

static void a_guard_in_several_files_is_taken(void **s)
{
	int fd = starter(), fds[3];

	for (int turned = 0; turned < 2; turned++) {
		struct rig *r;

		assert_true(patch_cut(fd, 3, fds));
		rig_parts[0] = fds[turned ? 2 : 1]; /* turned: another digest, the same model */
		rig_parts[1] = fds[turned ? 1 : 2];
		rig_n_parts = 2;
		r = rig_new(500, fds[0], true);
		rig_n_parts = 0;
		assert_int_equal(r->guard_ok, 1);
		rig_free(r);
	}
	close(fd);
}

static void a_guard_that_lacks_a_file_is_no_guard(void **s)
{
	int fd = starter(), fds[3];

	assert_true(patch_cut(fd, 3, fds));
	close(fds[2]);
	rig_parts[0] = fds[1];
	rig_n_parts = 1;
	nothing_passes(fds[0], true);
	rig_n_parts = 0;
	close(fd);
}

static void a_guard_that_answers_nan_is_no_guard(void **s)
{
	int fd = starter(), bad = patch_nan(fd);

	assert_true(bad >= 0);
	nothing_passes(bad, true);
	close(fd);
}

static void a_guard_with_swapped_verdicts_is_no_guard(void **s)
{
	int fd = starter();
	int bad = patch_swap(fd, one_token(fd, "safe"), one_token(fd, "unsafe"), -1, -1);

	assert_true(bad >= 0);
	nothing_passes(bad, true);
	close(fd);
}

static void a_model_that_says_other_words_is_no_guard(void **s)
{
	int fd = starter();
	int bad = patch_swap(fd, one_token(fd, "safe"), one_token(fd, " the"),
			     one_token(fd, "unsafe"), one_token(fd, " and"));

	assert_true(bad >= 0);
	nothing_passes(bad, true);
	close(fd);
}

static void a_chat_model_is_no_guard(void **s)
{
	const char *shared = getenv("SALLYPORT_SHARED");
	char path[512];
	int fd = starter(), bad;

	close(fd);
	snprintf(path, sizeof(path), "%s/data/models/stories260K/stories260K.f32.gguf",
		 shared ? shared : ".");
	bad = open(path, O_RDONLY | O_CLOEXEC);
	if (bad < 0)
		skip();
	nothing_passes(bad, true);
}

static void the_bundled_model_guards_nothing_but_a_demo(void **s)
{
	int fd = starter();

	close(fd);
	nothing_passes(-1, false);
}

static void a_late_guard_blocks(void **s)
{
	int fd = starter();
	struct msg_CLAIMOK ok;
	struct rig *r;
	struct rig_req *q;

	close(fd);
	r = rig_new(500, -1, true);
	r->auto_claim = false;
	q = ask(r, GOOD, 1, 8);
	rig_settle(r);
	ok = (struct msg_CLAIMOK){.lease = q->lease, .cap = 8};
	eng_on_claimok(r->g, &ok);
	assert_int_equal(eng_find(r->g, &q->id)->state, RQ_CHECK);
	/* the engine computes nothing while a minute passes; store lives */
	r->now += ENG_GUARD_LATE_MS + 1;
	eng_beat(r->g, 500, r->now);
	r->g->now_ms = r->now;
	eng_timers(r->g);
	rig_finish(r, q);
	assert_int_equal(q->fail_code, RS_GUARD_DOWN);
	assert_false(q->admitted);
	assert_int_equal(q->out[0].n, 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_sound_guard_in_its_own_file_is_taken),
	    cmocka_unit_test(a_guard_in_several_files_is_taken),
	    cmocka_unit_test(a_guard_that_lacks_a_file_is_no_guard),
	    cmocka_unit_test(a_guard_that_answers_nan_is_no_guard),
	    cmocka_unit_test(a_guard_with_swapped_verdicts_is_no_guard),
	    cmocka_unit_test(a_model_that_says_other_words_is_no_guard),
	    cmocka_unit_test(a_chat_model_is_no_guard),
	    cmocka_unit_test(the_bundled_model_guards_nothing_but_a_demo),
	    cmocka_unit_test(a_late_guard_blocks),
	};

	return cmocka_run_group_tests_name("P2 guard", tests, NULL, NULL);
}
