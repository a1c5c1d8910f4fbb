/* passphrase.c - see passphrase.h. */
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "fault.h"
#include "secret.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* One line without its end. A line that does not fit is an error, never cut. */
static int read_line(int fd, char *out, size_t *n, struct err *err)
{
	ssize_t r;
	char c = 0;

	*n = 0;
	for (;;) {
		r = FAULT("pass.read") ? -1 : read(fd, &c, 1);
		if (r < 0 && errno == EINTR && !interrupted)
			continue;
		if (interrupted)
			return err_set(err, E_CANCELLED, "interrupted");
		if (r < 0)
			return err_sys(err, "read the passphrase");
		if (r == 0 || c == '\n')
			break;
		if (*n == PASS_MAX)
			return err_set(err, E_RANGE, "a passphrase has at most %d bytes", PASS_MAX);
		out[(*n)++] = c;
	}
	if (*n && out[*n - 1] == '\r')
		(*n)--;
	return E_OK;
}

static int from_file(const char *path, char *out, size_t *n, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc = E_OK;
	struct stat st;

	if (fd < 0)
		return err_sys(err, "SALLYPORT_PASSPHRASE_FILE: %s", path);
	if (fstat(fd, &st) < 0)
		rc = err_sys(err, "%s", path);
	else if (S_ISREG(st.st_mode) && (st.st_mode & 077))
		rc = err_set(err, E_DENIED, "%s is open to others: chmod 0600 it", path);
	else
		rc = read_line(fd, out, n, err);
	close(fd);
	return rc;
}

static int ask(int tty, const char *prompt, char *out, size_t *n, struct err *err)
{
	struct sigaction sa = {.sa_handler = on_signal}, old_int, old_term;
	struct termios was, quiet;
	int rc;

	if (tcgetattr(tty, &was) < 0)
		return err_sys(err, "the terminal");
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	interrupted = 0;
	sigaction(SIGINT, &sa, &old_int);
	sigaction(SIGTERM, &sa, &old_term);
	if (tcsetattr(tty, TCSAFLUSH, &quiet) < 0 || write(tty, prompt, strlen(prompt)) < 0)
		rc = err_sys(err, "the terminal");
	else
		rc = read_line(tty, out, n, err);
	tcsetattr(tty, TCSAFLUSH, &was);
	if (write(tty, "\n", 1) < 0 && rc == E_OK)
		rc = err_sys(err, "the terminal");
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	return rc;
}

int pass_read(const char *prompt, bool fresh, char *out, size_t *n, struct err *err)
{
	const char *file = getenv("SALLYPORT_PASSPHRASE_FILE");
	SCOPED_SECRET(again, PASS_MAX);
	size_t n2 = 0;
	int tty, rc;

	*n = 0;
	if (again == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	if (file && file[0]) {
		rc = from_file(file, out, n, err);
	} else {
		tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (tty < 0)
			return err_set(err, E_NOTFOUND,
				       "no terminal to ask for the passphrase; "
				       "SALLYPORT_PASSPHRASE_FILE names a file that holds it");
		rc = ask(tty, prompt, out, n, err);
		if (rc == E_OK && fresh)
			rc = ask(tty, "Again: ", (char *)again, &n2, err);
		close(tty);
		if (rc == E_OK && fresh && (n2 != *n || !secret_eq(again, out, *n)))
			rc = err_set(err, E_CONFLICT, "the two passphrases differ");
	}
	if (rc == E_OK && fresh && *n < PASS_MIN)
		rc = err_set(err, E_RANGE, "a passphrase needs at least %d characters", PASS_MIN);
	if (rc == E_OK && *n == 0)
		rc = err_set(err, E_RANGE, "the passphrase is empty");
	return rc;
}
