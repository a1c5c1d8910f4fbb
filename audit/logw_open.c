/* logw_open.c - opens the log and recovers what a crash left; see logw.h.
 *
 * A group is one write and one fsync, and the next group is written only after that fsync. So what
 * a crash can tear is the last group alone; whatever has a signed commit behind it was durable
 * once, and damage to it is no accident of ours: refuse. The one exception is the last group
 * itself: before its fsync a power cut may keep its commit frame and lose whole sectors before it.
 * Such a group was never acknowledged; it shows as zero sectors, with nothing behind it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "logw_int.h"

#define SECTOR 512u

struct found {
	struct merkle tree; /* after the last whole group */
	uint64_t end;	    /* first byte behind it; 0 = no whole group */
	uint64_t damage;    /* where reading stopped */
	uint64_t ordinal;
	bool stop; /* the last whole group is a STOP frame */
	char note[CHECKPOINT_NOTE_MAX];
	size_t note_n;
};

static int take_group_frame(struct logw *w, const struct seg_frame *f, uint64_t at,
			    struct merkle *t, uint32_t *count, struct found *o)
{
	uint8_t leaf[MERKLE_HASH], root[MERKLE_HASH];
	struct seg_commit c;

	if (f->node != w->node)
		return E_FORMAT;
	if (f->kind == SEG_ENTRY) {
		if (f->seq != t->size)
			return E_FORMAT;
		merkle_leaf(f->payload, leaf);
		merkle_add(t, leaf);
		++*count;
		return E_OK;
	}
	merkle_root(t, root);
	if (f->kind == SEG_COMMIT) {
		if (seg_commit_parse(f, &c) < 0 || c.count != *count || c.size != t->size ||
		    memcmp(c.root, root, MERKLE_HASH) != 0)
			return E_FORMAT;
		memcpy(o->note, c.note.p, c.note.n);
		o->note_n = c.note.n;
	} else if (f->kind != SEG_STOP || *count != 0 ||
		   !seg_stop_check(f, t->size, root, o->ordinal, at, &w->key)) {
		return E_FORMAT;
	}
	o->stop = f->kind == SEG_STOP;
	o->end = at + f->size;
	o->tree = *t;
	*count = 0;
	return E_OK;
}

static int scan_head(struct logw *w, int fd, uint64_t first, uint64_t bytes, struct found *o)
{
	uint8_t raw[SEG_HEADER];
	struct seg_header h;
	unsigned at;

	if (bytes < SEG_MIN || io_pread_all(fd, raw, sizeof(raw), 0, NULL) < 0 ||
	    seg_header_parse(raw, &h, &at, NULL) < 0 || h.first != first || h.bytes != bytes)
		return E_FORMAT;
	if (memcmp(h.origin, w->origin, sizeof(h.origin)) != 0)
		return E_DENIED;
	memcpy(o->tree.peak[0], h.root, MERKLE_HASH);
	o->ordinal = h.ordinal;
	return E_OK;
}

/* Reads one segment up to its last whole group. Damage is only noted. */
static int scan(struct logw *w, int fd, uint64_t first, uint64_t bytes, struct found *o,
		struct err *err)
{
	uint8_t want[MERKLE_HASH], root[MERKLE_HASH];
	uint32_t count = 0;
	struct segscan s;
	struct seg_frame f;
	struct merkle t;
	int rc;

	memset(o, 0, sizeof(*o));
	rc = scan_head(w, fd, first, bytes, o);
	if (rc < 0)
		return rc == E_DENIED ? err_set(err, rc, "the log is of another origin") : E_OK;
	memcpy(want, o->tree.peak[0], MERKLE_HASH);
	rc = segscan_init(&s, fd, bytes, SEG_HEADER, err);
	if (rc < 0)
		return rc;
	o->damage = SEG_HEADER;
	rc = segscan_next(&s, &f, err);
	if (rc == E_OK && (f.kind != SEG_FRONTIER || f.seq != first ||
			   !merkle_unpack(&t, first, (const uint8_t *)f.payload.p, f.payload.n)))
		rc = E_FORMAT;
	if (rc == E_OK) {
		merkle_root(&t, root);
		rc = memcmp(root, want, MERKLE_HASH) == 0 ? E_OK : E_FORMAT;
	}
	while (rc == E_OK) {
		o->damage = s.off;
		rc = segscan_next(&s, &f, err);
		if (rc == E_OK)
			rc = take_group_frame(w, &f, s.off - f.size, &t, &count, o);
	}
	segscan_free(&s);
	return rc == E_IO || rc == E_NOMEM ? rc : E_OK;
}

/* True when a sector that begins or lies in [from, to) reads as never written: zero to its end. */
static bool lost_sector(int fd, uint64_t from, uint64_t to)
{
	uint8_t sec[SECTOR];
	uint64_t at = from & ~(uint64_t)(SECTOR - 1);

	for (; at < to; at += SECTOR) {
		size_t skip = at < from ? (size_t)(from - at) : 0;
		size_t n = to - at < SECTOR ? (size_t)(to - at) : SECTOR;

		if (io_pread_all(fd, sec, n, (off_t)at, NULL) < 0)
			return false;
		/* a torn sector keeps a prefix; 48 zero bytes stand in no frame */
		if (n - skip >= 48 && seg_first_nonzero(sec + n - 48, 48) == 48)
			return true;
	}
	return false;
}

/* Everything behind the last whole group is torn, or it is an offence. */
static int judge_tail(struct logw *w, int fd, uint64_t from, uint64_t bytes, uint64_t size,
		      uint64_t signed_size, uint64_t damage, const char *name, struct err *err)
{
	uint64_t at, end, found, at2, end2, found2;
	int rc = seg_search_commit(fd, from, bytes, size, &w->key, &at, &end, &found, err);

	if (rc == E_OK) {
		bool last = seg_search_commit(fd, end, bytes, found, &w->key, &at2, &end2, &found2,
					      err) == E_NOTFOUND;

		if (!last || signed_size > size || !lost_sector(fd, from, at))
			return err_set(err, E_CRYPTO,
				       "%s is damaged at byte %llu, below the signed "
				       "checkpoint of %llu entries",
				       name, (unsigned long long)damage, (unsigned long long)found);
	} else if (rc != E_NOTFOUND) {
		return rc;
	}
	if (signed_size > size)
		return err_set(err, E_CRYPTO,
			       "%s ends at entry %llu, but a checkpoint of %llu "
			       "entries was signed (byte %llu)",
			       name, (unsigned long long)size, (unsigned long long)signed_size,
			       (unsigned long long)damage);
	return E_OK;
}

/* Zeroes [from, last non-zero byte], durable. Gives how many bytes that was. */
static int wipe_tail(int fd, uint64_t from, uint64_t bytes, uint64_t *dropped, struct err *err)
{
	uint8_t *mem = calloc(1, SEGSCAN_WINDOW);
	uint64_t last = from, at;
	int rc = mem ? seg_last_nonzero(fd, from, bytes, &last, err)
		     : err_set(err, E_NOMEM, "no memory");

	*dropped = last - from;
	for (at = from; rc == E_OK && at < last;) {
		size_t n = last - at < SEGSCAN_WINDOW ? (size_t)(last - at) : SEGSCAN_WINDOW;

		rc = io_pwrite_all(fd, mem, n, (off_t)at, err);
		at += n;
	}
	if (rc == E_OK && last > from && (FAULT("log.wipesync") || fdatasync(fd) < 0))
		rc = err_sys(err, "fdatasync of the log");
	free(mem);
	return rc;
}

/* A segment whose first group never became whole goes back to the spares. */
static int give_back(struct logw *w, int fd, const char *name, uint64_t bytes, unsigned spare,
		     struct logw_report *rep, struct err *err)
{
	char to[SEG_NAME_MAX];
	uint64_t dropped;
	int rc = wipe_tail(fd, 0, bytes, &dropped, err);

	seg_spare_name(spare, to);
	if (rc == E_OK && (FAULT("log.rename") || renameat(w->dirfd, name, w->dirfd, to) < 0))
		rc = err_sys(err, "rename %s", name);
	if (rc == E_OK && (FAULT("log.dirsync") || fsync(w->dirfd) < 0))
		rc = err_sys(err, "fsync the log folder");
	rep->dropped_bytes += dropped;
	return rc;
}

static void accept(struct logw *w, int fd, uint64_t bytes, const struct found *f)
{
	w->fd = fd;
	w->bytes = bytes;
	w->ordinal = f->ordinal;
	w->off = f->end;
	w->closed = f->stop;
	w->tree = f->tree;
	w->size = f->tree.size;
	merkle_root(&w->tree, w->root);
}

/* One segment from the back. E_NOTFOUND: it held no whole group; look at the one before. */
static int recover_segment(struct logw *w, uint64_t first, unsigned spare, uint64_t signed_size,
			   struct logw_report *rep, struct err *err)
{
	struct seg_commit c = {0};
	struct stat sb;
	struct found f;
	uint64_t bytes, dropped;
	int fd, rc;

	seg_name(first, rep->file);
	fd = openat(w->dirfd, rep->file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &sb) < 0)
		return err_sys(err, "open %s", rep->file);
	bytes = (uint64_t)sb.st_size;
	rc = scan(w, fd, first, bytes, &f, err);
	if (rc == E_OK && f.end == 0) {
		rc = judge_tail(w, fd, 0, bytes, first, signed_size, f.damage, rep->file, err);
		if (rc == E_OK)
			rc = give_back(w, fd, rep->file, bytes, spare, rep, err);
		close(fd);
		return rc < 0 ? rc : E_NOTFOUND;
	}
	if (rc == E_OK && f.note_n > 0) {
		c.size = f.tree.size;
		merkle_root(&f.tree, c.root);
		c.note = span_of(f.note, f.note_n);
		rc = seg_commit_check(&c, &w->key, err);
		if (rc == E_NOTFOUND)
			rc = err_set(err, E_DENIED, "the log is signed by another key");
	}
	if (rc == E_OK)
		rc = seg_zero_tail(fd, f.end, bytes, &rep->offset, err);
	if (rc == E_OK && (rep->offset < bytes || signed_size > f.tree.size))
		rc = judge_tail(w, fd, f.end, bytes, f.tree.size, signed_size, f.damage, rep->file,
				err);
	if (rc == E_OK && rep->offset < bytes) {
		rc = wipe_tail(fd, f.end, bytes, &dropped, err);
		rep->dropped_bytes += dropped;
	}
	rep->offset = f.end;
	rep->clean = f.stop && rep->dropped_bytes == 0;
	if (rc < 0)
		close(fd);
	else
		accept(w, fd, bytes, &f);
	return rc;
}

static int recover_segments(struct logw *w, const struct logdir *d, uint64_t signed_size,
			    struct logw_report *rep, struct err *err)
{
	int rc = E_NOTFOUND;

	for (size_t i = d->n; rc == E_NOTFOUND && i > 0; i--)
		rc = recover_segment(w, d->first[i - 1], w->spare_next++, signed_size, rep, err);
	if (rc != E_NOTFOUND)
		return rc;
	if (signed_size > 0)
		return err_set(err, E_CRYPTO,
			       "no entries are left, but a checkpoint of %llu was "
			       "signed",
			       (unsigned long long)signed_size);
	merkle_init(&w->tree);
	merkle_empty(w->root);
	rep->created = true;
	return E_OK;
}

/* Spares that are all zero are kept, others are no use. */
static int take_spares(struct logw *w, struct err *err)
{
	char name[SEG_NAME_MAX];
	struct logdir d;
	struct stat sb;
	uint64_t nz;
	int fd, rc = logdir_list(w->dirfd, &d, err);

	for (unsigned i = 0; rc == E_OK && i < d.nspare; i++) {
		seg_spare_name(d.spare[i], name);
		fd = openat(w->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &sb) < 0)
			rc = err_sys(err, "open %s", name);
		else
			rc = seg_zero_tail(fd, 0, (uint64_t)sb.st_size, &nz, err);
		if (rc == E_OK && w->nspare < 8 && nz == (uint64_t)sb.st_size && nz >= SEG_MIN) {
			w->spare[w->nspare].n = d.spare[i];
			w->spare[w->nspare++].bytes = nz;
		} else if (rc == E_OK) {
			unlinkat(w->dirfd, name, 0);
		}
		if (fd >= 0)
			close(fd);
	}
	logdir_free(&d);
	return rc;
}

/* The folder's checkpoint: what was published and is durable, tiles included. Absent: size 0. */
static int published(struct logw *w, uint64_t *size, uint8_t root[MERKLE_HASH], struct err *err)
{
	struct buf b = BUF_INIT(CHECKPOINT_NOTE_MAX);
	struct checkpoint cp;
	int rc = logdir_read(w->dirfd, LOG_CHECKPOINT, CHECKPOINT_NOTE_MAX, &b, err);

	*size = 0;
	if (rc == E_OK) {
		rc = checkpoint_open(buf_span(&b), &w->key, &cp, err);
		if (rc == E_NOTFOUND)
			rc = err_set(err, E_DENIED,
				     "the folder's checkpoint is signed by another "
				     "key");
		else if (rc < 0)
			err_prefix(err, "checkpoint");
		if (rc == E_OK) {
			*size = cp.size;
			memcpy(root, cp.root, MERKLE_HASH);
		}
	} else if (rc == E_NOTFOUND) {
		rc = E_OK;
	}
	buf_free(&b);
	return rc;
}

/* Tiles up to the published size are trusted (they were synced), the rest is made again. */
static int open_tiles(struct logw *w, uint64_t from, const uint8_t root[MERKLE_HASH],
		      struct err *err)
{
	uint8_t got[MERKLE_HASH], leaf[MERKLE_HASH];
	int rc = tiles_init(&w->tiles, w->dirfd, w->logr, from, NULL);

	if (rc == E_OK && from > 0) {
		tiles_root(&w->tiles, got);
		rc = memcmp(got, root, MERKLE_HASH) == 0 ? E_OK : E_FORMAT;
	}
	if (rc < 0) { /* damaged tiles: all again from the entries */
		tiles_free(&w->tiles);
		rc = tiles_init(&w->tiles, w->dirfd, w->logr, 0, err);
	}
	while (rc == E_OK && w->tiles.size < w->size) {
		struct buf e = BUF_INIT(ENTRY_MAX);

		rc = logr_entry(w->logr, w->tiles.size, &e, err);
		if (rc == E_OK) {
			merkle_leaf(buf_span(&e), leaf);
			rc = tiles_add(&w->tiles, leaf, err);
		}
		buf_free(&e);
	}
	if (rc < 0)
		return rc;
	tiles_root(&w->tiles, got);
	return memcmp(got, w->root, MERKLE_HASH) == 0
		   ? E_OK
		   : err_set(err, E_CRYPTO, "the segments before the last do not give its root");
}

/* Pins the key in the folder: a plain text file that any tool can read. */
static int keep_vkey(struct logw *w, struct err *err)
{
	struct buf want = BUF_INIT(VKEY_TEXT_MAX), have = BUF_INIT(VKEY_TEXT_MAX);
	int rc;

	vkey_put(&w->key, &want);
	buf_putc(&want, '\n');
	if (!buf_ok(&want))
		return err_set(err, E_NOMEM, "no memory for the log's key");
	rc = logdir_read(w->dirfd, LOG_VKEY, VKEY_TEXT_MAX, &have, err);
	if (rc == E_NOTFOUND)
		rc = logdir_write(w->dirfd, LOG_VKEY, buf_span(&want), true, err);
	else if (rc == E_OK && !span_eq(buf_span(&want), buf_span(&have)))
		rc = err_set(err, E_DENIED, "the folder's vkey is another key");
	buf_free(&want);
	buf_free(&have);
	return rc;
}

int logw_recover(struct logw *w, struct logw_report *rep, struct err *err)
{
	uint8_t root[MERKLE_HASH];
	uint64_t signed_size = 0;
	struct logdir d;
	int rc = keep_vkey(w, err);

	if (rc == E_OK)
		rc = published(w, &signed_size, root, err);
	if (rc == E_OK)
		rc = logdir_list(w->dirfd, &d, err);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < d.nspare; i++)
		if (d.spare[i] >= w->spare_next)
			w->spare_next = d.spare[i] + 1;
	rc = recover_segments(w, &d, signed_size, rep, err);
	logdir_free(&d);
	if (rc == E_OK)
		rc = take_spares(w, err);
	if (rc == E_OK)
		rc = logr_open(w->dirfd, &w->logr, err);
	if (rc == E_OK)
		rc = open_tiles(w, signed_size, root, err);
	if (rc == E_OK && w->size > 0)
		rc = checkpoint_sign(w->size, w->root, &w->key, w->sk, &w->note, err);
	w->published = signed_size;
	rep->size = w->size;
	/* without room for spares the log still opens: new work is refused, not old records */
	while (rc == E_OK && w->nspare < w->spares && logw_add_spare(w, NULL) == E_OK)
		;
	return rc;
}
