/* t_verify_whole.c - what a log says as a whole is held against what is remembered, pinned, counted
 * and promised of it, also while somebody writes (audit/verify.h). */
#include "verify_help.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "entry.h"
#include "logdir.h"

static void keep_copy(struct fix *f, char copy[256])
{
	char cmd[700];

	snprintf(copy, 256, "%.200s.copy", f->dir);
	snprintf(cmd, sizeof(cmd), "cp -a %.250s %.250s", f->dir, copy);
	assert_int_equal(system(cmd), 0);
}

static void a_rollback_or_fork_is_found_by_a_remembered_checkpoint(void **st)
{
	struct buf old = BUF_INIT(1024), newer = BUF_INIT(1024);
	struct fix f, fork;
	char copy[256];
	struct vkey key;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 20, 4);
	buf_span_put(&old, logw_checkpoint(f.w));
	key = *logw_vkey(f.w);
	fix_close(&f, true);
	keep_copy(&f, copy);
	fix_open(&f);
	fix_fill(&f, 33, 4);
	buf_span_put(&newer, logw_checkpoint(f.w));
	fix_close(&f, true);
	assert_int_equal(check_with(&f, &key, buf_span(&old)), VERIFY_OK);
	assert_int_equal(check_with(&f, &key, buf_span(&newer)), VERIFY_OK);
	/* rolled back to the earlier state: sound in itself, yet shorter than what was shown */
	fork = f;
	snprintf(fork.dir, sizeof(fork.dir), "%s", copy);
	assert_int_equal(check_with(&fork, &key, buf_span(&old)), VERIFY_OK);
	assert_int_equal(check_with(&fork, &key, buf_span(&newer)), VERIFY_TAMPERED);
	/* forked from there by the key's holder */
	fix_open(&fork);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t at;

		assert_int_equal(logw_append(fork.w, SPAN_LIT("{\"t\":\"forged\"}"), &at, NULL), 0);
	}
	fix_close(&fork, true);
	assert_int_equal(check_with(&fork, &key, span_of(NULL, 0)), VERIFY_OK);
	assert_int_equal(check_with(&fork, &key, buf_span(&old)), VERIFY_OK);
	assert_int_equal(check_with(&fork, &key, buf_span(&newer)), VERIFY_TAMPERED);
	assert_int_equal(check_with(&f, &key, SPAN_LIT("nonsense\n")), VERIFY_USAGE);
	buf_free(&old);
	buf_free(&newer);
	fix_rm(copy);
	fix_done(&f);
}

static void a_log_signed_by_another_key_is_found_when_the_key_is_pinned(void **st)
{
	uint8_t pk[32], sk[64];
	struct vkey pin;
	struct fix f;

	small_log(&f, true);
	crypto_sign_keypair(pk, sk);
	assert_int_equal(vkey_make(FIX_ORIGIN, VKEY_ED25519, pk, &pin, NULL), E_OK);
	assert_int_equal(check_with(&f, &pin, span_of(NULL, 0)), VERIFY_TAMPERED);
	assert_int_equal(vkey_make(FIX_ORIGIN, VKEY_ED25519, f.pk, &pin, NULL), E_OK);
	assert_int_equal(check_with(&f, &pin, span_of(NULL, 0)), VERIFY_OK);
	assert_true(res.pinned);
	fix_done(&f);
}

static void put(struct fix *f, const char *type, unsigned req)
{
	struct buf b = BUF_INIT(4096);
	struct entry e;
	char id[40];
	uint64_t i;

	snprintf(id, sizeof(id), "req_%026u", req);
	entry_init(&e, type, "bot_x", 1);
	entry_cstr(&e, "req", id);
	assert_int_equal(entry_put(&e, &b, NULL), E_OK);
	assert_int_equal(logw_append(f->w, buf_span(&b), &i, NULL), E_OK);
	entry_free(&e);
	buf_free(&b);
}

static void intents_and_outcomes_are_counted_and_matched(void **st)
{
	struct buf j = BUF_INIT(4096);
	struct fix f;

	fix_init(&f);
	fix_open(&f);
	for (unsigned i = 0; i < 10; i++)
		put(&f, "request.intent", i);
	for (unsigned i = 0; i < 7; i++)
		put(&f, "request.outcome", 9 - i);
	assert_int_equal(logw_commit(f.w, NULL), E_OK);
	expect_ok(&f, 17);
	assert_int_equal(res.in_flight, 3);
	verify_json(&res, &j);
	assert_non_null(strstr(buf_cstr(&j), "\"in_flight\":3,\"intents\":10"));
	assert_non_null(strstr(buf_cstr(&j), "\"outcomes\":7,\"records\":17"));
	fix_close(&f, true);
	assert_int_equal(check(&f), VERIFY_INCOMPLETE); /* closed, and three are open */
	fix_open(&f);
	for (unsigned i = 0; i < 3; i++)
		put(&f, "request.outcome", i);
	fix_close(&f, true);
	expect_ok(&f, 20);
	fix_open(&f);
	put(&f, "request.outcome", 5);
	fix_close(&f, true);
	assert_int_equal(check(&f), VERIFY_INCOMPLETE);
	assert_int_equal(res.first_bad.index, 20);
	buf_free(&j);
	fix_done(&f);
}

static void an_emptied_or_missing_checkpoint_is_found(void **st)
{
	struct fix f;
	char path[300];

	small_log(&f, true);
	expect_ok(&f, 15);
	snprintf(path, sizeof(path), "%s/" LOG_CHECKPOINT, f.dir);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(check(&f), VERIFY_TAMPERED);
	assert_string_equal(res.first_bad.file, LOG_CHECKPOINT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(check(&f), VERIFY_INCOMPLETE);
	assert_string_equal(res.first_bad.file, LOG_CHECKPOINT);
	fix_done(&f);
	small_log(&f, false); /* a crash may come before the first one */
	unlink(path);
	snprintf(path, sizeof(path), "%s/" LOG_CHECKPOINT, f.dir);
	unlink(path);
	expect_ok(&f, 15);
	fix_done(&f);
}

/* A log that begins as a realm's, then one entry as given. */
static int check_second(const char *entry)
{
	struct buf g = BUF_INIT(1024);
	struct vkey key;
	struct fix f;
	uint64_t i;
	int rc;

	fix_init(&f);
	fix_open(&f);
	assert_int_equal(vkey_make(FIX_ORIGIN, VKEY_ED25519, f.pk, &key, NULL), 0);
	buf_puts(&g, "{\"boot\":\"bot_x\",\"doc\":{\"log_vkey\":\"");
	vkey_put(&key, &g);
	buf_puts(&g, "\"},\"t\":\"genesis\",\"ts\":1,\"v\":1}");
	assert_int_equal(logw_append(f.w, buf_span(&g), &i, NULL), 0);
	buf_free(&g);
	assert_int_equal(logw_append(f.w, span_cstr(entry), &i, NULL), 0);
	fix_close(&f, true);
	rc = check(&f);
	fix_done(&f);
	return rc;
}

static void an_entry_without_the_common_members_is_found_though_it_is_signed(void **st)
{
	static const char *const bad[] = {
	    "{\"boot\":\"x\"}",
	    "no JSON",
	    "{\"boot\":\"x\",\"t\":\"test\",\"ts\":1,\"v\":1}",
	    "{\"boot\":\"bot_x\",\"ts\":1,\"v\":1}",
	    "{\"boot\":\"bot_x\",\"t\":\"test\",\"v\":1}",
	    "{\"boot\":\"bot_x\",\"t\":\"test\",\"ts\":1,\"v\":2}",
	};

	assert_int_equal(check_second("{\"boot\":\"bot_x\",\"t\":\"test\",\"ts\":1,\"v\":1}"),
			 VERIFY_OK);
	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		assert_int_equal(check_second(bad[k]), VERIFY_TAMPERED);
		assert_int_equal(res.first_bad.index, 1);
	}
}

static void verify_beside_a_busy_writer_says_ok_each_time(void **st)
{
	struct timespec pause = {0, 2000000};
	struct fix f;
	int status;
	pid_t pid;

	fix_init(&f);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		fix_open(&f);
		for (uint64_t n = 16;; n += 16) {
			fix_fill(&f, n, 4);
			nanosleep(&pause, NULL);
		}
	}
	for (unsigned i = 0; i < 25;) { /* 25 rounds that found something to read */
		nanosleep(&pause, NULL);
		if (check(&f) != VERIFY_OK && res.code != VERIFY_USAGE)
			fail_msg("round %u: %s", i, res.text);
		i += res.code == VERIFY_OK && res.records > 0;
		assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(res.records > 0 && res.live);
	fix_done(&f);
}

static void a_folder_without_a_log_is_a_usage_error(void **st)
{
	struct fix f;

	fix_init(&f);
	assert_int_equal(check(&f), VERIFY_USAGE);
	fix_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_rollback_or_fork_is_found_by_a_remembered_checkpoint),
	    cmocka_unit_test(a_log_signed_by_another_key_is_found_when_the_key_is_pinned),
	    cmocka_unit_test(intents_and_outcomes_are_counted_and_matched),
	    cmocka_unit_test(an_emptied_or_missing_checkpoint_is_found),
	    cmocka_unit_test(an_entry_without_the_common_members_is_found_though_it_is_signed),
	    cmocka_unit_test(verify_beside_a_busy_writer_says_ok_each_time),
	    cmocka_unit_test(a_folder_without_a_log_is_a_usage_error),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
