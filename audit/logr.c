/* logr.c - single entries by index (logdir.h). A sparse table of every 32nd entry's offset is made
 * by scanning a segment once, the first time it is asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logdir.h"

#define STRIDE 32u
#define READ_AHEAD (20u << 10) /* STRIDE entries of usual size and their commits */

struct seg {
	uint64_t first, next; /* sequence of the first entry; of the entry behind `scanned` */
	uint64_t bytes, scanned;
	uint64_t *mark; /* offsets of entries first, first + STRIDE, ... */
	size_t nmark, cap;
	int fd;
};

struct logr {
	int dirfd;
	struct seg *seg;
	size_t n;
	struct segscan scan;
	size_t scan_seg; /* the segment scan's window belongs to */
};

int logr_open(int dirfd, struct logr **out, struct err *err)
{
	struct logr *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (r == NULL)
		return err_set(err, E_NOMEM, "no memory");
	r->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	if (r->dirfd < 0 || segscan_init(&r->scan, -1, 0, 0, err) < 0) {
		logr_close(r);
		return err_sys(err, "open the log reader");
	}
	r->scan.ahead = READ_AHEAD;
	*out = r;
	return E_OK;
}

void logr_close(struct logr *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n; i++) {
		if (r->seg[i].fd >= 0)
			close(r->seg[i].fd);
		free(r->seg[i].mark);
	}
	free(r->seg);
	segscan_free(&r->scan);
	if (r->dirfd >= 0)
		close(r->dirfd);
	free(r);
}

/* Takes segments that appeared since; what is known stays. */
static int refresh(struct logr *r, struct err *err)
{
	struct logdir d;
	struct seg *more;
	int rc = logdir_list(r->dirfd, &d, err);

	if (rc < 0)
		return rc;
	more = realloc(r->seg, (r->n + d.n + 1) * sizeof(*more));
	if (more == NULL) {
		logdir_free(&d);
		return err_set(err, E_NOMEM, "no memory");
	}
	r->seg = more;
	for (size_t i = 0; i < d.n; i++)
		if (r->n == 0 || d.first[i] > r->seg[r->n - 1].first) {
			r->seg[r->n++] = (struct seg){.first = d.first[i],
						      .next = d.first[i],
						      .scanned = SEG_HEADER,
						      .fd = -1};
		}
	logdir_free(&d);
	return E_OK;
}

static int open_seg(struct logr *r, struct seg *s, struct err *err)
{
	char name[SEG_NAME_MAX];
	struct stat sb;

	if (s->fd >= 0)
		return E_OK;
	seg_name(s->first, name);
	s->fd = openat(r->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0 || fstat(s->fd, &sb) < 0)
		return err_sys(err, "open %s", name);
	s->bytes = (uint64_t)sb.st_size;
	return E_OK;
}

static int add_mark(struct seg *s, uint64_t off)
{
	if (s->nmark == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		uint64_t *more = realloc(s->mark, cap * sizeof(*more));

		if (more == NULL)
			return E_NOMEM;
		s->mark = more;
		s->cap = cap;
	}
	s->mark[s->nmark++] = off;
	return E_OK;
}

/* Steps entry by entry from offset `from` (entry number `at`) until entry index is in *f. Frames
 * behind s->scanned also extend the table. */
static int walk(struct logr *r, struct seg *s, uint64_t from, uint64_t at, uint64_t index,
		struct seg_frame *f, struct err *err)
{
	struct segscan *sc = &r->scan;
	bool fresh = false;
	uint64_t off;
	int rc;

	if (sc->fd != s->fd || from < sc->win) {
		sc->fd = s->fd;
		sc->bytes = s->bytes;
		sc->win = from;
		sc->len = 0;
	}
	sc->off = from;
	for (;;) {
		off = sc->off;
		rc = segscan_next(sc, f, err);
		if ((rc == E_NOTFOUND || rc == E_FORMAT) && !fresh) {
			segscan_refresh(sc); /* the window may be older than the bytes */
			fresh = true;
			continue;
		}
		if (rc < 0)
			return rc == E_NOTFOUND ? err_set(err, E_RANGE, "no entry %llu",
							  (unsigned long long)index)
						: rc;
		if (f->kind == SEG_ENTRY && f->seq != at)
			return err_set(err, E_FORMAT, "entry out of sequence at byte %llu",
				       (unsigned long long)off);
		if (off >= s->scanned) {
			if (f->kind == SEG_ENTRY && (at - s->first) % STRIDE == 0 &&
			    add_mark(s, off) < 0)
				return err_set(err, E_NOMEM, "no memory");
			s->scanned = sc->off;
			s->next = f->kind == SEG_ENTRY ? at + 1 : at;
		}
		if (f->kind != SEG_ENTRY)
			continue;
		if (at == index)
			return E_OK;
		at++;
	}
}

int logr_entry(struct logr *r, uint64_t index, struct buf *out, struct err *err)
{
	struct seg_frame f;
	struct seg *s;
	size_t i;
	int rc = E_OK;

	for (int pass = 0; pass < 2; pass++) {
		/* the last known segment may have been followed by another since */
		if (r->n == 0 || (pass == 1 && index >= r->seg[r->n - 1].first))
			rc = refresh(r, err);
		if (rc < 0)
			return rc;
		for (i = r->n; i > 0 && r->seg[i - 1].first > index; i--)
			;
		if (i == 0)
			return err_set(err, E_RANGE, "no entry %llu", (unsigned long long)index);
		s = &r->seg[i - 1];
		rc = open_seg(r, s, err);
		if (rc < 0)
			return rc;
		if (index < s->next)
			rc = walk(r, s, s->mark[(index - s->first) / STRIDE],
				  index - (index - s->first) % STRIDE, index, &f, err);
		else
			rc = walk(r, s, s->scanned, s->next, index, &f, err);
		if (rc != E_RANGE)
			break;
	}
	if (rc < 0)
		return rc;
	buf_span_put(out, f.payload);
	return buf_ok(out) ? E_OK : err_set(err, E_NOMEM, "no room for an entry");
}
