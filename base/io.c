/* io.c - see io.h. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"

int io_write_all(int fd, const void *p, size_t n, struct err *err)
{
	const char *s = p;
	ssize_t r;

	while (n > 0) {
		r = FAULT("io.write") ? -1 : write(fd, s, FAULT("io.short") ? 1 : n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(err, "write");
		s += r;
		n -= (size_t)r;
	}
	return E_OK;
}

int io_pwrite_all(int fd, const void *p, size_t n, off_t off, struct err *err)
{
	const char *s = p;
	ssize_t r;

	while (n > 0) {
		r = FAULT("io.pwrite") ? -1 : pwrite(fd, s, FAULT("io.short") ? 1 : n, off);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(err, "pwrite");
		s += r;
		off += r;
		n -= (size_t)r;
	}
	return E_OK;
}

int io_pread_all(int fd, void *p, size_t n, off_t off, struct err *err)
{
	char *s = p;
	ssize_t r;

	while (n > 0) {
		r = FAULT("io.pread") ? -1 : pread(fd, s, n, off);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(err, "pread");
		if (r == 0)
			return err_set(err, E_TRUNC, "the file ends %zu bytes early", n);
		s += r;
		off += r;
		n -= (size_t)r;
	}
	return E_OK;
}

int io_read_fd(int fd, size_t max, struct buf *out, struct err *err)
{
	char chunk[16384];
	size_t total = 0;
	ssize_t r;

	for (;;) {
		r = FAULT("io.read") ? -1 : read(fd, chunk, sizeof(chunk));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(err, "read");
		if (r == 0)
			break;
		total += (size_t)r;
		if (total > max)
			return err_set(err, E_RANGE, "larger than %zu bytes", max);
		buf_put(out, chunk, (size_t)r);
	}
	return buf_ok(out) ? E_OK : err_set(err, E_NOMEM, "no room for %zu bytes", total);
}

int io_read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc;
	struct stat sb;

	if (fd < 0)
		return err_sys(err, "open %s", path);
	if (fstat(fd, &sb) < 0)
		rc = err_sys(err, "fstat");
	else if (!S_ISREG(sb.st_mode))
		rc = err_set(err, E_UNSUPPORTED, "not a regular file");
	else
		rc = io_read_fd(fd, max, out, err);
	close(fd);
	return rc < 0 ? (err_prefix(err, "%s", path), rc) : E_OK;
}

static int sync_parent(const char *path, struct err *err)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL)
		snprintf(dir, sizeof(dir), ".");
	else
		slash[slash == dir] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open folder of %s", path);
	rc = FAULT("io.dirsync") || fsync(fd) < 0 ? err_sys(err, "fsync folder of %s", path) : E_OK;
	close(fd);
	return rc;
}

int io_write_file(const char *path, const void *p, size_t n, mode_t mode, struct err *err)
{
	char tmp[PATH_MAX];
	int fd, rc;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		return err_set(err, E_RANGE, "path too long");
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_sys(err, "create %s", tmp);
	rc = fchmod(fd, mode) < 0 ? err_sys(err, "chmod %s", tmp) : io_write_all(fd, p, n, err);
	if (rc == E_OK && (FAULT("io.fsync") || fsync(fd) < 0))
		rc = err_sys(err, "fsync %s", tmp);
	close(fd);
	if (rc == E_OK && (FAULT("io.rename") || rename(tmp, path) < 0))
		rc = err_sys(err, "rename %s", tmp);
	if (rc < 0) {
		unlink(tmp);
		return rc;
	}
	return sync_parent(path, err);
}

int io_mkdirs(const char *path, mode_t mode, struct err *err)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(part))
		return err_set(err, E_RANGE, "bad path length");
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_sys(err, "mkdir %s", part);
		if (i < n)
			part[i] = '/';
	}
	return E_OK;
}
