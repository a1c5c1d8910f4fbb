/* t_sandbox.c - what a taken role cannot do: each try runs in a child that entered the sandbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

#define REFUSED 0
#define WENT_THROUGH 7
#define KILLED_BY_FILTER 120 /* the SIGSYS handler's status */

static char folder[256];
static const enum role_id roles[] = {R_FRONT, R_GATE, R_ADMIN, R_ENGINE, R_STORE};

/* Runs try() in a child inside role's sandbox: its value, or the exit status of a killed child. */
static int in_sandbox(enum role_id role, int (*try)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct conf c;
		struct err err = {0};

		conf_defaults(&c);
		snprintf(c.state_dir, sizeof(c.state_dir), "%.200s/state", folder);
		snprintf(c.log_dir, sizeof(c.log_dir), "%.200s/log", folder);
		close(STDERR_FILENO);
		if (sandbox_enter(role, &c, &err) < 0)
			_exit(99);
		_exit(try());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static int try_read_passwd(void)
{
	return open("/etc/passwd", O_RDONLY) < 0 ? REFUSED : WENT_THROUGH;
}

static int try_write_tmp(void)
{
	return open("/tmp/sallyport-escape", O_WRONLY | O_CREAT, 0600) < 0 ? REFUSED : WENT_THROUGH;
}

static int try_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? REFUSED : WENT_THROUGH;
}

static int try_exec(void)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)"exit 7", NULL};

	execv("/bin/sh", argv);
	return REFUSED;
}

static int try_fork(void)
{
	pid_t p = fork();

	if (p == 0)
		_exit(0);
	return p < 0 ? REFUSED : WENT_THROUGH;
}

static int try_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? REFUSED : WENT_THROUGH;
}

static int try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), 0, 0) < 0 ? REFUSED : WENT_THROUGH;
}

static int try_kill_parent(void)
{
	return kill(getppid(), 0) < 0 ? REFUSED : WENT_THROUGH;
}

static void *thread_main(void *arg)
{
	return arg;
}

static int still_works(void)
{
	pthread_t t;
	void *p = malloc(1 << 20);
	struct rlimit core;

	if (p == NULL || pthread_create(&t, NULL, thread_main, NULL) != 0)
		return 1;
	pthread_join(t, NULL);
	free(p);
	getrlimit(RLIMIT_CORE, &core);
	return core.rlim_cur == 0 ? 42 : 2;
}

static int store_writes_its_folder(void)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%.250s/state/x", folder);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	return fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 && unlink(path) == 0 ? 42 : 1;
}

static void refused_for_all(int (*try)(void), bool need_seccomp)
{
#ifdef SP_SANITIZED
	if (need_seccomp)
		skip(); /* the filter would also stop the sanitizer */
#endif
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		int got = in_sandbox(roles[i], try);

		if (got != REFUSED && got != KILLED_BY_FILTER)
			print_error("role %s got %d\n", role_name(roles[i]), got);
		assert_true(got == REFUSED || got == KILLED_BY_FILTER);
	}
}

static void no_role_reads_or_writes_foreign_files(void **st)
{
	if (sandbox_landlock_abi() == 0) {
#ifdef SP_SANITIZED
		skip();
#endif
	}
	refused_for_all(try_read_passwd, false);
	refused_for_all(try_write_tmp, false);
}

static void no_role_opens_a_network_socket(void **st)
{
	refused_for_all(try_inet, true);
}

static void no_role_starts_another_program_or_process(void **st)
{
	refused_for_all(try_exec, true);
	refused_for_all(try_fork, true);
}

static void no_role_has_executable_memory(void **st)
{
	refused_for_all(try_executable_memory, true);
}

static void no_role_touches_other_processes(void **st)
{
	refused_for_all(try_ptrace, true);
	refused_for_all(try_kill_parent, true);
}

static void threads_and_memory_still_work_and_cores_are_off(void **st)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		assert_int_equal(in_sandbox(roles[i], still_works), 42);
}

static void store_alone_writes_its_two_folders(void **st)
{
	assert_int_equal(in_sandbox(R_STORE, store_writes_its_folder), 42);
	assert_true(in_sandbox(R_GATE, store_writes_its_folder) != 42);
	assert_true(in_sandbox(R_ENGINE, store_writes_its_folder) != 42);
}

int main(void)
{
	const struct CMUnitTest t[] = {
	    cmocka_unit_test(no_role_reads_or_writes_foreign_files),
	    cmocka_unit_test(no_role_opens_a_network_socket),
	    cmocka_unit_test(no_role_starts_another_program_or_process),
	    cmocka_unit_test(no_role_has_executable_memory),
	    cmocka_unit_test(no_role_touches_other_processes),
	    cmocka_unit_test(threads_and_memory_still_work_and_cores_are_off),
	    cmocka_unit_test(store_alone_writes_its_two_folders),
	};
	char cmd[300];
	int rc;

	snprintf(folder, sizeof(folder), "./sandbox-test.XXXXXX");
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(cmd, sizeof(cmd), "%.250s/state", folder);
	if (mkdir(cmd, 0700) < 0)
		return 1;
	snprintf(cmd, sizeof(cmd), "%.250s/log", folder);
	if (mkdir(cmd, 0700) < 0)
		return 1;
	rc = cmocka_run_group_tests(t, NULL, NULL);
	rmdir(cmd);
	snprintf(cmd, sizeof(cmd), "%.250s/state", folder);
	rmdir(cmd);
	rmdir(folder);
	return rc;
}
