/* logw_new.c - makes the writer object: options, key, folder, lock; see logw.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logw_int.h"

static int take_options(struct logw *w, const struct logw_opts *o, struct err *err)
{
	int rc;

	w->segment_bytes = o->segment_bytes ? o->segment_bytes : SEG_DEFAULT;
	w->spares = o->spares ? o->spares : 1;
	w->node = o->node;
	if (w->segment_bytes % 4096 || w->segment_bytes < SEG_MIN || w->segment_bytes > SEG_MAX ||
	    w->spares > 8)
		return err_set(err, E_RANGE, "segment size or number of spares out of range");
	rc = vkey_make(o->origin, VKEY_ED25519, o->seckey + 32, &w->key, err);
	if (rc < 0)
		return rc;
	sha256(span_cstr(o->origin), w->origin);
	w->sk = sodium_malloc(64);
	if (w->sk == NULL)
		return err_set(err, E_NOMEM, "no guarded memory for the log key");
	memcpy(w->sk, o->seckey, 64);
	w->group = BUF_INIT(GROUP_MAX + SEG_COMMIT_MAX);
	w->note = BUF_INIT(CHECKPOINT_NOTE_MAX);
	return E_OK;
}

static int open_folder(struct logw *w, const struct logw_opts *o, struct err *err)
{
	if (o->dirfd >= 0) {
		w->dirfd = fcntl(o->dirfd, F_DUPFD_CLOEXEC, 3);
	} else {
		if (mkdir(o->dir, 0700) < 0 && errno != EEXIST)
			return err_sys(err, "mkdir %s", o->dir);
		w->dirfd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (w->dirfd < 0)
		return err_sys(err, "open the log folder");
	w->lockfd = openat(w->dirfd, LOG_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (w->lockfd < 0)
		return err_sys(err, "open the log's lock");
	if (flock(w->lockfd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			   ? err_set(err, E_BUSY, "another process writes this log")
			   : err_sys(err, "lock the log");
	return E_OK;
}

int logw_open(const struct logw_opts *o, struct logw **out, struct logw_report *rep,
	      struct err *err)
{
	struct logw *w = calloc(1, sizeof(*w));
	int rc;

	*out = NULL;
	memset(rep, 0, sizeof(*rep));
	if (w == NULL)
		return err_set(err, E_NOMEM, "no memory for the log");
	w->dirfd = w->lockfd = w->fd = -1;
	rc = take_options(w, o, err);
	if (rc == E_OK)
		rc = open_folder(w, o, err);
	if (rc == E_OK)
		rc = logw_recover(w, rep, err);
	if (rc < 0) {
		logw_close(w, false, NULL);
		return rc;
	}
	*out = w;
	return E_OK;
}
