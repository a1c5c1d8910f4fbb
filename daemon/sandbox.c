/* sandbox.c - see sandbox.h. Who may call what is the table at the end of the lists. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

static unsigned layers;

unsigned sandbox_layers(void)
{
	return layers;
}

/* ---- Landlock: no library; three raw calls (kernel documentation, userspace-api/landlock) ---- */

#define FS_ALL_V1                                                                                  \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |                              \
	 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |                              \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                              \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                              \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                            \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FS_STORE                                                                                   \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |                            \
	 LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                            \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG)

int sandbox_landlock_abi(void)
{
	static long v = -1; /* asked once: inside the sandbox the question itself is refused */

	if (v < 0 && (v = syscall(SYS_landlock_create_ruleset, NULL, 0,
				  LANDLOCK_CREATE_RULESET_VERSION)) < 0)
		v = 0;
	return (int)v;
}

static int allow_folder(int ruleset, const char *path, struct err *err)
{
	struct landlock_path_beneath_attr at = {.allowed_access = FS_STORE};
	int rc = E_OK;

	at.parent_fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
	if (at.parent_fd < 0)
		return err_sys(err, "open %s", path);
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &at, 0) < 0)
		rc = err_sys(err, "landlock rule for %s", path);
	close(at.parent_fd);
	return rc;
}

static int enter_landlock(enum role_id role, const struct conf *c, struct err *err)
{
	struct landlock_ruleset_attr at = {.handled_access_fs = FS_ALL_V1};
	int fd, rc = E_OK;

	if (sandbox_landlock_abi() == 0)
		return E_OK; /* reported by status as a missing layer */
	fd = (int)syscall(SYS_landlock_create_ruleset, &at, sizeof(at), 0);
	if (fd < 0)
		return err_sys(err, "landlock ruleset");
	if (role == R_STORE && (rc = allow_folder(fd, c->state_dir, err)) == E_OK)
		rc = allow_folder(fd, c->log_dir, err);
	if (rc == E_OK && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		rc = err_sys(err, "landlock restrict");
	close(fd);
	if (rc == E_OK)
		layers |= SB_LANDLOCK;
	return rc;
}

/* ---- seccomp ---- */

#define S(n) SCMP_SYS(n)
#define END (-1)

static const int sys_base[] = {S(read),
			       S(write),
			       S(readv),
			       S(writev),
			       S(close),
			       S(fstat),
			       S(newfstatat),
			       S(lseek),
			       S(munmap),
			       S(mremap),
			       S(madvise),
			       S(brk),
			       S(rt_sigaction),
			       S(rt_sigprocmask),
			       S(rt_sigreturn),
			       S(sigaltstack),
			       S(sched_yield),
			       S(sched_getaffinity),
			       S(sched_setaffinity),
			       S(getcpu),
			       S(futex),
			       S(set_robust_list),
			       S(get_robust_list),
			       S(rseq),
			       S(set_tid_address),
			       S(getpid),
			       S(gettid),
			       S(getppid),
			       S(tgkill),
			       S(exit),
			       S(exit_group),
			       S(clock_gettime),
			       S(clock_getres),
			       S(clock_nanosleep),
			       S(nanosleep),
			       S(gettimeofday),
			       S(time),
			       S(getrandom),
			       S(epoll_create1),
			       S(epoll_ctl),
			       S(epoll_wait),
			       S(epoll_pwait),
			       S(eventfd2),
			       S(poll),
			       S(ppoll),
			       S(select),
			       S(pselect6),
			       S(recvmsg),
			       S(sendmsg),
			       S(recvfrom),
			       S(sendto),
			       S(shutdown),
			       S(getsockopt),
			       S(dup),
			       S(dup2),
			       S(dup3),
			       S(memfd_create),
			       S(ftruncate),
			       S(getrusage),
			       S(sysinfo),
			       S(uname),
			       S(prlimit64),
			       S(restart_syscall),
			       S(membarrier),
			       S(getuid),
			       S(geteuid),
			       S(getgid),
			       S(getegid),
			       S(mlock),
			       S(munlock),
			       S(pipe2),
			       S(timerfd_create),
			       S(timerfd_settime),
			       S(timerfd_gettime),
			       S(mincore),
			       S(msync),
			       END};
static const int sys_sockets[] = {S(accept4),	  S(accept),	  S(socketpair),
				  S(getpeername), S(getsockname), END};
static const int sys_files[] = {
    S(openat),	  S(open),    S(creat),	    S(pread64),	   S(pwrite64),
    S(preadv),	  S(pwritev), S(fsync),	    S(fdatasync),  S(sync_file_range),
    S(fallocate), S(rename),  S(renameat),  S(renameat2),  S(unlink),
    S(unlinkat),  S(mkdir),   S(mkdirat),   S(getdents64), S(stat),
    S(lstat),	  S(access),  S(faccessat), S(faccessat2), S(fchmod),
    S(fchown),	  S(getcwd),  S(readlink),  S(readlinkat), S(statx),
    S(statfs),	  S(fstatfs), S(utimensat), S(flock),	   S(rmdir),
    S(chmod),	  END};
static const int sys_pread[] = {S(pread64), S(preadv), END};

static int allow_list(scmp_filter_ctx f, const int *list)
{
	for (; *list != END; list++)
		if (seccomp_rule_add(f, SCMP_ACT_ALLOW, *list, 0) < 0)
			return -1;
	return 0;
}

/* What libc and libraries try and can do without: refused softly instead of ending the process. */
static int soft_refusals(scmp_filter_ctx f, bool files)
{
	static const int quiet[] = {S(openat),	 S(open),	S(access),     S(faccessat2),
				    S(readlink), S(readlinkat), S(statx),      S(stat),
				    S(lstat),	 S(statfs),	S(getdents64), END};
	int rc = 0;

	rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), S(clone3), 0);
	rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), S(socket), 0);
	rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), S(connect), 0);
	rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), S(sched_setscheduler), 0);
	rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), S(ioctl), 0);
	rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), S(setpriority), 0);
	for (int i = 0; !files && quiet[i] != END; i++)
		rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), quiet[i], 0);
	return rc;
}

static int argument_rules(scmp_filter_ctx f, enum role_id role)
{
	int rc = 0;

	/* no executable memory; threads yes, processes no */
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(mmap), 1,
			       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(mprotect), 1,
			       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(clone), 1,
			       SCMP_A0(SCMP_CMP_MASKED_EQ, 0x10000 /* CLONE_THREAD */, 0x10000));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(prctl), 1,
			       SCMP_A0(SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA */));
	rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(fcntl), 0);
	if (role == R_GATE || role == R_ADMIN) {
		/* libmicrohttpd sets TCP options on AF_UNIX; it only knows this error as harmless
		 */
		rc |= seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOPROTOOPT), S(setsockopt), 1,
				       SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP));
		rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(setsockopt), 1,
				       SCMP_A1(SCMP_CMP_NE, IPPROTO_TCP));
	} else {
		rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, S(setsockopt), 0);
	}
	return rc;
}

static void on_sigsys(int sig, siginfo_t *si, void *ctx)
{
	log_ev(LOG_ERROR_LV, "seccomp", "syscall=%d", si->si_syscall);
	_exit(120);
}

static int enter_seccomp(enum role_id role, struct err *err)
{
	struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
	bool files = role == R_STORE;
	int rc;

	if (f == NULL)
		return err_set(err, E_IO, "seccomp_init");
	sigaction(SIGSYS, &sa, NULL);
	rc = allow_list(f, sys_base);
	rc |= soft_refusals(f, files);
	rc |= argument_rules(f, role);
	if (role == R_FRONT || role == R_GATE || role == R_ADMIN)
		rc |= allow_list(f, sys_sockets);
	rc |= allow_list(f, files ? sys_files : sys_pread);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	if (rc < 0)
		return err_set(err, E_IO, "seccomp filter (%d)", rc);
	layers |= SB_SECCOMP;
	return E_OK;
}

/* ---- the rest ---- */

static void drop_capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{0}};

	for (int cap = 0; cap <= 63; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* fails for who has none to drop */
	syscall(SYS_capset, &h, d);
}

static int limit_resources(struct err *err)
{
	struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_sys(err, "rlimit core");
	layers |= SB_RLIMIT;
	return E_OK;
}

int sandbox_enter(enum role_id role, const struct conf *c, struct err *err)
{
	int rc;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "no_new_privs");
	layers |= SB_NNP;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, "non-dumpable");
	layers |= SB_NODUMP;
	rc = limit_resources(err);
	if (rc < 0 || !c->sandbox)
		return rc;
	drop_capabilities();
	rc = enter_landlock(role, c, err);
#ifdef SP_SANITIZED
	(void)enter_seccomp; /* sanitizers need calls that a filter would end the process for */
#else
	if (rc == E_OK)
		rc = enter_seccomp(role, err);
#endif
	if (rc == E_OK)
		log_ev(LOG_INFO_LV, "sandbox", "layers=%#x landlock_abi=%d", layers,
		       sandbox_landlock_abi());
	return rc;
}
