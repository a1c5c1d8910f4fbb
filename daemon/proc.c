/* proc.c - see proc.h. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define CONTROL_FD 3

/* "<user>-<role>" if there is such an account, else "<user>". Only root can change. */
static int become(const char *user, enum role_id role)
{
	char name[64];
	struct passwd *pw;

	if (user[0] == '\0' || geteuid() != 0)
		return 0;
	snprintf(name, sizeof(name), "%s-%s", user, role_name(role));
	pw = getpwnam(name);
	if (pw == NULL)
		pw = getpwnam(user);
	if (pw == NULL)
		return -1;
	if (setgroups(1, &pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return -1;
	return 0;
}

/* Only what a role needs; nothing of the operator's environment leaks in. */
static char **role_env(void)
{
	static const char *const keep[] = {
	    "JOURNAL_STREAM", "TZ",	      "SALLYPORT_FAULT", "ASAN_OPTIONS",
	    "UBSAN_OPTIONS",  "TSAN_OPTIONS", "LD_LIBRARY_PATH", NULL};
	static char store[8][512];
	static char *env[9];
	int n = 0;

	for (int i = 0; keep[i]; i++) {
		const char *v = getenv(keep[i]);

		if (v && snprintf(store[n], sizeof(store[n]), "%s=%s", keep[i], v) <
			     (int)sizeof(store[n])) {
			env[n] = store[n];
			n++;
		}
	}
	env[n] = NULL;
	return env;
}

_Noreturn static void child(const char *self, int fd, enum role_id id, const struct conf *c)
{
	char *argv[] = {(char *)"sallyportd", (char *)"-R", (char *)(uintptr_t)role_name(id), NULL};
	char **env = role_env();
	sigset_t none;

	if (fd == CONTROL_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, CONTROL_FD) < 0)
		_exit(111);
	syscall(SYS_close_range, CONTROL_FD + 1, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_IGN); /* main tells roles to drain; a terminal's signals go to all */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (become(c->user, id) < 0)
		_exit(112);
	execve(self, argv, env);
	_exit(113);
}

int proc_spawn(struct proc *p, const char *self, const struct conf *c, struct err *err)
{
	int fds[2], rc;
	pid_t pid;

	rc = chan_pair(fds, err);
	if (rc < 0)
		return rc;
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return err_sys(err, "fork");
	}
	if (pid == 0)
		child(self, fds[1], p->id, c);
	close(fds[1]);
	p->ch = chan_new(fds[0], R_MAIN, p->id, CH_CTRL, 1 << 20);
	must(p->ch != NULL);
	chan_set_state(p->ch, ST_RUN);
	p->pid = pid;
	p->state = PS_CONF;
	p->started_ms = p->last_alive_ms = clock_mono_ms();
	p->serving = p->drained = p->clean = p->said_bad = false;
	p->reasons = 0;
	p->ready_version = 0;
	log_ev(LOG_INFO_LV, "spawn", "who=%s pid=%d", role_name(p->id), (int)pid);
	return E_OK;
}

int proc_file(struct proc *p, const char *name, int fd)
{
	struct msg_FILE m = {.name = span_cstr(name)};

	return fd < 0 ? E_OK : CH_SEND_FD(p->ch, FILE, &m, fd);
}

static int join_kind(struct proc *a, struct proc *b, enum chan_kind k, uint32_t gen,
		     struct err *err)
{
	struct msg_CHAN ma = {.peer = b->id, .kind = k, .gen = gen};
	struct msg_CHAN mb = {.peer = a->id, .kind = k, .gen = gen};
	int fds[2], rc = chan_pair(fds, err);

	if (rc < 0)
		return rc;
	rc = CH_SEND_FD(a->ch, CHAN, &ma, fds[0]);
	if (rc == E_OK)
		rc = CH_SEND_FD(b->ch, CHAN, &mb, fds[1]);
	close(fds[0]);
	close(fds[1]);
	return rc < 0 ? err_set(err, rc, "handing out a channel") : E_OK;
}

int proc_join(struct proc *a, struct proc *b, uint32_t gen, struct err *err)
{
	int rc;

	if (a->ch == NULL || b->ch == NULL)
		return E_OK;
	rc = join_kind(a, b, CH_DATA, gen, err);
	return rc < 0 ? rc : join_kind(a, b, CH_CTRL, gen, err);
}

int proc_conf(struct proc *p, uint32_t version, struct span text, struct err *err)
{
	struct msg_CONF m = {.version = version};
	int fd, rc = body_memfd(text, &fd, err);

	if (rc < 0)
		return rc;
	lseek(fd, 0, SEEK_SET);
	rc = CH_SEND_FD(p->ch, CONF, &m, fd);
	close(fd);
	return rc;
}

void proc_gone(struct proc *p)
{
	chan_close(p->ch);
	p->ch = NULL;
	p->pid = 0;
	p->state = PS_DOWN;
	p->serving = false;
}
