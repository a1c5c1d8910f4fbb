/* officer_file.c - officers' key files on disk; see officer_key.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "officer_key.h"
#include "passphrase.h"
#include "secret.h"

int okey_create(const char *path, unsigned mode, struct span bytes, struct err *err)
{
	int fd =
	    FAULT("okey.open")
		? -1
		: open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
	int rc;

	if (fd < 0 && errno == EEXIST)
		return err_set(err, E_CONFLICT, "%s exists; nothing is overwritten", path);
	if (fd < 0)
		return err_sys(err, "create %s", path);
	rc = io_write_all(fd, bytes.p, bytes.n, err);
	if (rc == E_OK && (FAULT("okey.sync") || fsync(fd) < 0))
		rc = err_sys(err, "fsync");
	if (close(fd) < 0 && rc == E_OK)
		rc = err_sys(err, "close");
	if (rc < 0) {
		err_prefix(err, "%s", path);
		unlink(path);
	}
	return rc;
}

/* Into the caller's (guarded) memory; nothing else ever holds the bytes. */
static int slurp(const char *path, bool secret, char *out, size_t *n, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc = E_OK;
	struct stat st;
	ssize_t r = 1;

	*n = 0;
	if (fd < 0)
		return err_sys(err, "open %s", path);
	if (fstat(fd, &st) < 0)
		rc = err_sys(err, "%s", path);
	else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)OKEY_FILE_MAX)
		rc = err_set(err, E_FORMAT, "%s is no officer's key file", path);
	else if (secret && (st.st_mode & 077))
		rc = err_set(err, E_DENIED,
			     "%s is open to others (mode %04o): chmod 0600 it; if somebody "
			     "may have read it, revoke it",
			     path, (unsigned)st.st_mode & 07777);
	while (rc == E_OK && r > 0 && *n < OKEY_FILE_MAX) {
		r = FAULT("okey.read") ? -1 : read(fd, out + *n, OKEY_FILE_MAX - *n);
		if (r < 0 && errno == EINTR)
			r = 1;
		else if (r < 0)
			rc = err_sys(err, "read %s", path);
		else
			*n += (size_t)r;
	}
	close(fd);
	return rc;
}

int okey_load(const char *path, struct officer_key *out, struct err *err)
{
	SCOPED_SECRET(text, OKEY_FILE_MAX);
	SCOPED_SECRET(pass, PASS_MAX);
	char prompt[OKEY_NAME + 64];
	size_t n, np = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	if (text == NULL || pass == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	rc = slurp(path, true, (char *)text, &n, err);
	if (rc < 0)
		return rc;
	rc = okey_parse(span_of(text, n), span_of(NULL, 0), out, err);
	if (rc == E_DENIED) {
		snprintf(prompt, sizeof(prompt), "Passphrase of %.100s: ", path);
		rc = pass_read(prompt, false, (char *)pass, &np, err);
		if (rc == E_OK)
			rc = okey_parse(span_of(text, n), span_of(pass, np), out, err);
	}
	return rc < 0 ? err_prefix(err, "%s", path) : E_OK;
}

int okey_pub_load(const char *path, struct officer_key *out, struct err *err)
{
	char text[OKEY_FILE_MAX];
	size_t n;
	int rc = slurp(path, false, text, &n, err);

	if (rc < 0)
		return rc;
	rc = okey_pub_parse(span_of(text, n), out, err);
	return rc < 0 ? err_prefix(err, "%s", path) : E_OK;
}

int okey_pub_path(const char *key_path, char *out, size_t n)
{
	size_t len = strlen(key_path);

	if (len > 4 && strcmp(key_path + len - 4, ".key") == 0)
		len -= 4;
	return snprintf(out, n, "%.*s.pub", (int)len, key_path) < (int)n ? E_OK : E_RANGE;
}
