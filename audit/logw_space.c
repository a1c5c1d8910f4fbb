/* logw_space.c - allocated room: spares ahead, reservations (logw.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "logw_int.h"
#include "num.h"

uint32_t logw_group_max(const struct logw *w)
{
	uint64_t quarter = w->segment_bytes / 4;

	return quarter < GROUP_MAX ? (uint32_t)quarter : GROUP_MAX;
}

uint64_t logw_cost(size_t n)
{
	return SEG_FRAME + n + SEG_COMMIT_MAX;
}

/* A group that does not fit moves on to the next segment, so the last group_max bytes of each may
 * stay unused. */
static uint64_t usable(const struct logw *w, uint64_t bytes, uint64_t used)
{
	uint64_t slack = logw_group_max(w) + STOP_ROOM;

	return bytes > used + slack ? bytes - used - slack : 0;
}

uint64_t logw_room(const struct logw *w)
{
	uint64_t room = w->fd >= 0 ? usable(w, w->bytes, w->off) : 0;
	uint64_t pending = w->count ? w->group.n + SEG_COMMIT_MAX : 0;

	for (unsigned i = 0; i < w->nspare; i++)
		room += usable(w, w->spare[i].bytes, SEG_PREFIX_MAX);
	return room > pending ? room - pending : 0;
}

static int allocate(int fd, uint64_t bytes, struct err *err)
{
	int rc;

	if (FAULT("log.fallocate") || fallocate(fd, 0, 0, (off_t)bytes) < 0) {
		if (errno != EOPNOTSUPP)
			return err_sys(err, "allocate %llu bytes", (unsigned long long)bytes);
		rc = posix_fallocate(fd, 0, (off_t)bytes);
		if (rc != 0) {
			errno = rc;
			return err_sys(err, "allocate %llu bytes", (unsigned long long)bytes);
		}
	}
	/* size and blocks are durable before a record relies on them */
	return FAULT("log.sparesync") || fsync(fd) < 0 ? err_sys(err, "fsync a spare") : E_OK;
}

int logw_add_spare(struct logw *w, struct err *err)
{
	char name[SEG_NAME_MAX];
	int fd, rc;

	if (w->nspare == sizeof(w->spare) / sizeof(w->spare[0]))
		return err_set(err, E_BUSY, "all spare segments are taken");
	seg_spare_name(w->spare_next, name);
	fd = openat(w->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(err, "create %s", name);
	rc = allocate(fd, w->segment_bytes, err);
	close(fd);
	if (rc == E_OK && (FAULT("log.sparedirsync") || fsync(w->dirfd) < 0))
		rc = err_sys(err, "fsync the log folder");
	if (rc < 0) {
		unlinkat(w->dirfd, name, 0);
		return rc;
	}
	w->spare[w->nspare].n = w->spare_next++;
	w->spare[w->nspare++].bytes = w->segment_bytes;
	return E_OK;
}

int logw_take_spare(struct logw *w, struct err *err)
{
	char from[SEG_NAME_MAX], to[SEG_NAME_MAX];
	int fd;

	if (w->nspare == 0)
		return err_set(err, E_BUSY, "no segment is allocated ahead");
	seg_spare_name(w->spare[0].n, from);
	seg_name(w->size, to);
	fd = openat(w->dirfd, from, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open %s", from);
	if (FAULT("log.rename") || renameat(w->dirfd, from, w->dirfd, to) < 0) {
		err_sys(err, "rename %s", from);
		close(fd);
		return E_IO;
	}
	if (w->fd >= 0) {
		close(w->fd);
		w->ordinal++;
	}
	w->fd = fd;
	w->bytes = w->spare[0].bytes;
	w->off = 0;
	w->nspare--;
	memmove(w->spare, w->spare + 1, w->nspare * sizeof(w->spare[0]));
	return E_OK;
}

int logw_reserve(struct logw *w, uint64_t bytes, struct err *err)
{
	uint64_t want;

	if (w->poisoned)
		return err_set(err, E_IO, "the log is poisoned by a failed write");
	if (add_u64(w->reserved, bytes, &want))
		return err_set(err, E_RANGE, "absurd reservation");
	while (logw_room(w) < want)
		if (logw_add_spare(w, err) < 0)
			return E_BUSY;
	w->reserved = want;
	return E_OK;
}

void logw_release(struct logw *w, uint64_t bytes)
{
	w->reserved -= bytes < w->reserved ? bytes : w->reserved;
}

void logw_space(const struct logw *w, uint64_t *free_bytes, uint64_t *reserved)
{
	uint64_t room = logw_room(w);

	*reserved = w->reserved;
	*free_bytes = room > w->reserved ? room - w->reserved : 0;
}
