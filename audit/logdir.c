/* logdir.c - see logdir.h. */
#include "logdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"

static int by_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int take_name(struct logdir *d, const char *name, size_t *cap)
{
	uint64_t first, *more;
	unsigned n;

	if (seg_spare_parse(name, &n) && d->nspare < 32)
		d->spare[d->nspare++] = n;
	if (!seg_name_parse(name, &first))
		return E_OK;
	if (d->n == *cap) {
		*cap = *cap ? *cap * 2 : 16;
		more = realloc(d->first, *cap * sizeof(*more));
		if (more == NULL)
			return E_NOMEM;
		d->first = more;
	}
	d->first[d->n++] = first;
	return E_OK;
}

int logdir_list(int dirfd, struct logdir *out, struct err *err)
{
	struct dirent *e;
	size_t cap = 0;
	DIR *dir;
	int fd, rc = E_OK;

	memset(out, 0, sizeof(*out));
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL) {
		rc = err_sys(err, "open the log folder");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == E_OK && (e = readdir(dir)) != NULL)
		rc = take_name(out, e->d_name, &cap);
	closedir(dir);
	if (rc < 0) {
		logdir_free(out);
		return err_set(err, rc, "too many segments");
	}
	if (out->n)
		qsort(out->first, out->n, sizeof(*out->first), by_first);
	return E_OK;
}

void logdir_free(struct logdir *d)
{
	if (d == NULL)
		return;
	free(d->first);
	memset(d, 0, sizeof(*d));
}

int logdir_read(int dirfd, const char *name, size_t max, struct buf *out, struct err *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc;

	if (fd < 0 && errno == ENOENT)
		return err_set(err, E_NOTFOUND, "%s is not there", name);
	if (fd < 0)
		return err_sys(err, "open %s", name);
	rc = io_read_fd(fd, max, out, err);
	close(fd);
	return rc < 0 ? (err_prefix(err, "%s", name), rc) : E_OK;
}

int logdir_parents(int dirfd, const char *name, struct err *err)
{
	char part[256];
	size_t n = strlen(name);

	if (n >= sizeof(part))
		return err_set(err, E_RANGE, "path too long");
	memcpy(part, name, n + 1);
	for (size_t i = 1; i < n; i++) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		if ((FAULT("log.mkdir") || mkdirat(dirfd, part, 0755) < 0) && errno != EEXIST)
			return err_sys(err, "mkdir %s", part);
		part[i] = '/';
	}
	return E_OK;
}

static int write_tmp(int dirfd, const char *tmp, struct span bytes, bool sync, struct err *err)
{
	int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int rc;

	if (fd < 0)
		return err_sys(err, "create %s", tmp);
	rc = io_write_all(fd, bytes.p, bytes.n, err);
	if (rc == E_OK && sync && (FAULT("log.filesync") || fsync(fd) < 0))
		rc = err_sys(err, "fsync %s", tmp);
	close(fd);
	return rc;
}

int logdir_write(int dirfd, const char *name, struct span bytes, bool sync, struct err *err)
{
	char tmp[260];
	int rc;

	snprintf(tmp, sizeof(tmp), "%s.tmp", name);
	rc = write_tmp(dirfd, tmp, bytes, sync, err);
	if (rc == E_IO && errno == ENOENT) {
		rc = logdir_parents(dirfd, name, err);
		if (rc == E_OK)
			rc = write_tmp(dirfd, tmp, bytes, sync, err);
	}
	if (rc == E_OK && (FAULT("log.filerename") || renameat(dirfd, tmp, dirfd, name) < 0))
		rc = err_sys(err, "rename %s", name);
	if (rc < 0)
		unlinkat(dirfd, tmp, 0);
	if (rc == E_OK && sync && (FAULT("log.dirsync") || fsync(dirfd) < 0))
		rc = err_sys(err, "fsync the log folder");
	return rc;
}

int segscan_init(struct segscan *s, int fd, uint64_t bytes, uint64_t off, struct err *err)
{
	*s = (struct segscan){
	    .fd = fd, .bytes = bytes, .off = off, .win = off, .ahead = SEGSCAN_WINDOW};
	s->mem = malloc(SEGSCAN_WINDOW);
	return s->mem ? E_OK : err_set(err, E_NOMEM, "no memory for the scan window");
}

void segscan_free(struct segscan *s)
{
	free(s->mem);
	s->mem = NULL;
}

void segscan_refresh(struct segscan *s)
{
	s->win = s->off;
	s->len = 0;
}

/* Makes the window begin at s->off and hold `ahead` bytes, or what there is. */
static int refill(struct segscan *s, size_t ahead, struct err *err)
{
	size_t keep = 0, want;
	int rc;

	if (s->off >= s->win && s->off < s->win + s->len) {
		keep = (size_t)(s->win + s->len - s->off);
		memmove(s->mem, s->mem + s->len - keep, keep);
	}
	s->win = s->off;
	s->len = keep;
	want = ahead > keep ? ahead - keep : 0;
	if (want > s->bytes - s->win - keep)
		want = (size_t)(s->bytes - s->win - keep);
	rc = io_pread_all(s->fd, s->mem + keep, want, (off_t)(s->win + keep), err);
	if (rc == E_OK)
		s->len += want;
	return rc;
}

int segscan_next(struct segscan *s, struct seg_frame *f, struct err *err)
{
	size_t ahead = s->ahead;
	unsigned filled = 0; /* a frame larger than `ahead` needs a second, whole reading */
	struct span have;
	int rc;

	for (;;) {
		have = s->off < s->win || s->off >= s->win + s->len
			   ? span_of(NULL, 0)
			   : span_of(s->mem + (s->off - s->win), s->len - (s->off - s->win));
		rc = seg_frame_parse(have, f);
		/* fewer than a header's bytes say nothing until the file itself ends */
		if (filled == 2 || (rc != E_TRUNC && (filled || have.n >= SEG_FRAME)))
			break;
		rc = refill(s, ahead, err);
		if (rc < 0)
			return rc;
		filled = ahead == SEGSCAN_WINDOW ? 2 : 1;
		ahead = SEGSCAN_WINDOW;
	}
	if (rc == E_OK)
		s->off += f->size;
	else if (rc != E_NOTFOUND)
		rc = err_set(err, E_FORMAT, "damaged frame at byte %llu",
			     (unsigned long long)s->off);
	return rc;
}

int seg_zero_tail(int fd, uint64_t from, uint64_t bytes, uint64_t *nonzero, struct err *err)
{
	uint8_t *mem = malloc(SEGSCAN_WINDOW);
	int rc = mem ? E_OK : err_set(err, E_NOMEM, "no memory");

	while (rc == E_OK && from < bytes) {
		size_t n = bytes - from < SEGSCAN_WINDOW ? (size_t)(bytes - from) : SEGSCAN_WINDOW,
		       z;

		rc = io_pread_all(fd, mem, n, (off_t)from, err);
		if (rc < 0)
			break;
		z = seg_first_nonzero(mem, n);
		from += z;
		if (z < n)
			break;
	}
	*nonzero = from;
	free(mem);
	return rc;
}

int seg_last_nonzero(int fd, uint64_t from, uint64_t bytes, uint64_t *end, struct err *err)
{
	uint8_t *mem = malloc(SEGSCAN_WINDOW);
	int rc = mem ? E_OK : err_set(err, E_NOMEM, "no memory");

	*end = from;
	while (rc == E_OK && from < bytes) {
		size_t n = bytes - from < SEGSCAN_WINDOW ? (size_t)(bytes - from) : SEGSCAN_WINDOW,
		       k;

		rc = io_pread_all(fd, mem, n, (off_t)from, err);
		for (k = rc == E_OK ? n : 0; k > 0 && mem[k - 1] == 0; k--)
			;
		if (k > 0)
			*end = from + k;
		from += n;
	}
	free(mem);
	return rc;
}

int seg_search_commit(int fd, uint64_t from, uint64_t bytes, uint64_t size, const struct vkey *key,
		      uint64_t *at, uint64_t *end, uint64_t *found, struct err *err)
{
	uint8_t *mem = malloc(SEGSCAN_WINDOW);
	int rc = mem ? E_NOTFOUND : err_set(err, E_NOMEM, "no memory");
	struct seg_commit c;
	size_t rel;

	while (rc == E_NOTFOUND && from < bytes) {
		size_t n = bytes - from < SEGSCAN_WINDOW ? (size_t)(bytes - from) : SEGSCAN_WINDOW;
		int got = io_pread_all(fd, mem, n, (off_t)from, err);

		if (got < 0) {
			rc = got;
		} else if (seg_find_commit(span_of(mem, n), size, key, &rel, &c)) {
			*at = from + rel;
			*end = *at + SEG_FRAME + SEG_COMMIT_FIXED + c.note.n;
			*found = c.size;
			rc = E_OK;
		}
		if (n < SEGSCAN_WINDOW)
			break;
		from += n - SEG_COMMIT_MAX; /* one that lies across two windows */
	}
	free(mem);
	return rc;
}
