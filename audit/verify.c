/* verify.c - walks the segments; see verify.h. Everything in a segment but entries, roots and
 * signatures is determined by what came before it, so it is compared with the expected bytes. */
#include "verify.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cur.h"
#include "entry.h"
#include "verify_int.h"

#define GROUP_CAP (2u << 20) /* a writer's group is at most 1 MiB */
#define LEAVES_CAP 65536u

void verify_finding(struct verify_result *r, enum verify_code code, uint64_t index,
		    const char *file, uint64_t byte, const char *fmt, ...)
{
	va_list ap;

	if (r->code == VERIFY_OK || (code == VERIFY_TAMPERED && r->code == VERIFY_INCOMPLETE)) {
		va_start(ap, fmt);
		vsnprintf(r->text, sizeof(r->text), fmt, ap);
		va_end(ap);
		r->code = code;
		r->bad = file != NULL;
		r->first_bad.index = index;
		r->first_bad.byte = byte;
		snprintf(r->first_bad.file, sizeof(r->first_bad.file), "%s", file ? file : "");
	}
}

void verify_bad(struct walk *w, uint64_t byte, const char *what)
{
	verify_finding(w->r, VERIFY_TAMPERED, w->tree.size, w->file, byte,
		       "%s: %s at byte %llu (entry %llu)", w->file, what, (unsigned long long)byte,
		       (unsigned long long)w->tree.size);
}

/* Called whenever the tree has a size that a watched head has. */
static void pass_heads(struct walk *w)
{
	uint8_t root[MERKLE_HASH];

	for (unsigned i = 0; i < w->nwatch; i++) {
		if (w->watch[i].seen || w->watch[i].size != w->tree.size)
			continue;
		merkle_root(&w->tree, root);
		w->watch[i].seen = true;
		if (memcmp(root, w->watch[i].root, MERKLE_HASH) != 0)
			verify_finding(w->r, VERIFY_TAMPERED, w->tree.size, w->watch[i].file, 0,
				       "the log is not the one of %s: its first %llu entries have "
				       "another root",
				       w->watch[i].file, (unsigned long long)w->tree.size);
	}
}

static bool take_entry(struct walk *w, const struct seg_frame *f)
{
	if (f->seq != w->tree.size || w->count == LEAVES_CAP)
		return false;
	merkle_leaf(f->payload, w->leaf[w->count]);
	buf_u32(&w->group, (uint32_t)f->payload.n);
	buf_span_put(&w->group, f->payload);
	if (!buf_ok(&w->group))
		return false;
	merkle_add(&w->tree, w->leaf[w->count++]);
	pass_heads(w);
	return true;
}

/* What every entry of a realm's log has, whatever its type (doc/formats.md 4). */
static void check_common(struct walk *w, uint64_t index, struct span e)
{
	struct entry_look l;
	bool whole = entry_peek(e, &l);

	if (index == 0)
		w->ours = whole && span_eq(l.t, SPAN_LIT("genesis"));
	if (!w->ours ||
	    (whole && l.v == 1 && l.t.n && l.ts > 0 && span_starts(l.boot, SPAN_LIT("bot_"))))
		return;
	verify_finding(
	    w->r, VERIFY_TAMPERED, index, w->file, w->good_end,
	    "entry %llu is signed but no entry of a realm: v, t, ts or boot is not there",
	    (unsigned long long)index);
}

/* The group is whole and signed: now its entries are the log's. */
static void settle_group(struct walk *w)
{
	struct cur c = cur_init(buf_span(&w->group));
	uint64_t index = w->good.size;

	for (uint32_t i = 0; i < w->count; i++, index++) {
		struct span e = cur_span(&c, cur_u32(&c));

		if (index == 0)
			verify_genesis(w->dirfd, e, w->r);
		check_common(w, index, e);
		if (!pairing_add(w->pairs, e, w->r))
			verify_finding(w->r, VERIFY_INCOMPLETE, index, w->file, w->good_end,
				       "entry %llu: an outcome without its intent, or two intents",
				       (unsigned long long)index);
		side_entry(&w->side, e, w->leaf[i]);
	}
	w->r->records = w->tree.size;
	w->good = w->tree;
	w->count = 0;
	buf_reset(&w->group);
}

static bool take_commit(struct walk *w, const struct seg_frame *f)
{
	uint8_t root[MERKLE_HASH];
	struct seg_commit c;

	merkle_root(&w->tree, root);
	if (seg_commit_parse(f, &c) < 0 || c.count != w->count || c.size != w->tree.size ||
	    memcmp(c.root, root, MERKLE_HASH) != 0 || seg_commit_check(&c, &w->r->key, NULL) < 0)
		return false;
	buf_reset(&w->note);
	buf_span_put(&w->note, c.note);
	w->r->commits++;
	settle_group(w);
	return true;
}

static bool take_frame(struct walk *w, const struct seg_frame *f, uint64_t at)
{
	uint8_t root[MERKLE_HASH];

	if (f->node != 0)
		return false;
	if (f->kind == SEG_ENTRY)
		return take_entry(w, f);
	if (f->kind == SEG_COMMIT) {
		if (!take_commit(w, f))
			return false;
	} else {
		merkle_root(&w->tree, root);
		if (f->kind != SEG_STOP || w->count > 0 ||
		    !seg_stop_check(f, w->tree.size, root, w->ordinal, at, &w->r->key))
			return false;
	}
	w->stop = f->kind == SEG_STOP;
	w->good_end = at + f->size;
	return true;
}

/* Drops the open group, as recovery would. */
static void rewind_group(struct walk *w)
{
	w->tree = w->good;
	w->count = 0;
	buf_reset(&w->group);
}

/* Header and frontier are determined. False: a finding, or (last segment only) never begun. */
static bool check_head(struct walk *w, int fd, uint64_t bytes, bool last)
{
	uint8_t want[SEG_HEADER], have[SEG_HEADER], peaks[64 * MERKLE_HASH];
	struct seg_header h = {.ordinal = w->ordinal, .first = w->tree.size, .bytes = bytes};
	struct buf b = BUF_INIT(SEG_FRAME + sizeof(peaks));
	uint8_t *front;
	uint64_t at = 0;

	merkle_root(&w->tree, h.root);
	sha256(span_cstr(w->r->key.name), h.origin);
	seg_header_put(&h, want);
	seg_frame_put(&b, SEG_FRONTIER, w->tree.size, 0,
		      span_of(peaks, merkle_pack(&w->tree, peaks)));
	w->good_end = 0;
	front = malloc(b.n);
	if (front == NULL || pread(fd, have, SEG_HEADER, 0) != SEG_HEADER ||
	    pread(fd, front, b.n, SEG_HEADER) != (ssize_t)b.n) {
		verify_bad(w, 0, "segment cannot be read");
		at = SEG_HEADER;
	} else {
		while (at < SEG_HEADER && have[at] == want[at])
			at++;
		for (; at >= SEG_HEADER && at < SEG_HEADER + b.n; at++)
			if (front[at - SEG_HEADER] != (uint8_t)b.p[at - SEG_HEADER])
				break;
		if (at == SEG_HEADER + b.n)
			w->good_end = at;
		else if (last)
			verify_judge(w, fd, at, bytes,
				     true); /* its first group may be the torn one */
		else
			verify_bad(w, at, "damaged segment header");
	}
	free(front);
	buf_free(&b);
	return w->good_end > 0;
}

/* A serving writer may be in the middle of a group: look again a little later. Gives up when it
 * made no progress for 200 ms, or after 2 s of it. */
struct patience {
	unsigned tries, stuck;
	uint64_t end;
};

static bool look_again(struct walk *w, struct segscan *s, struct patience *p)
{
	struct timespec t = {0, 10 * 1000 * 1000};

	p->stuck = w->good_end == p->end ? p->stuck + 1 : 0;
	p->end = w->good_end;
	if (!w->r->live || ++p->tries > 200 || p->stuck > 20)
		return false;
	nanosleep(&t, NULL);
	rewind_group(w);
	s->off = w->good_end;
	segscan_refresh(s);
	return true;
}

/* True: the segment ends here as it should. Else where reading stopped, and why. */
static bool read_frames(struct walk *w, struct segscan *s, bool last, int *why)
{
	struct seg_frame f;
	uint64_t off, nz;
	int rc = E_OK;

	while (rc == E_OK) {
		off = s->off;
		rc = segscan_next(s, &f, NULL);
		if (rc == E_OK && !take_frame(w, &f, off)) {
			rc = E_BUG; /* whole, but not what stands here */
			s->off = off;
		}
	}
	*why = rc;
	if (rc != E_NOTFOUND || w->count > 0)
		return false;
	return seg_zero_tail(s->fd, s->off, s->bytes, &nz, NULL) == E_OK &&
	       (nz == s->bytes || (w->r->live && last));
}

static void check_frames(struct walk *w, int fd, uint64_t bytes, bool last)
{
	struct patience p = {0};
	struct segscan s;
	bool whole;
	int why;

	if (segscan_init(&s, fd, bytes, w->good_end, NULL) < 0) {
		verify_finding(w->r, VERIFY_USAGE, 0, NULL, 0, "no memory");
		return;
	}
	do
		whole = read_frames(w, &s, last, &why);
	while (!whole && last && look_again(w, &s, &p));
	if (whole)
		;
	else if (w->r->live && last && p.stuck <= 20)
		rewind_group(w); /* being written all the time: not yet part of the log */
	else if (why == E_BUG || why == E_IO)
		verify_bad(w, s.off,
			   why == E_IO ? "unreadable" : "a frame that does not belong there");
	else
		verify_judge(w, fd, s.off, bytes, last);
	segscan_free(&s);
}

static void check_segment(struct walk *w, uint64_t first, bool last)
{
	struct stat sb;
	int fd;

	seg_name(w->tree.size, w->file);
	if (first != w->tree.size) {
		verify_bad(w, 0, "segment missing");
		return;
	}
	fd = openat(w->dirfd, w->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode)) {
		verify_bad(w, 0, "segment cannot be opened");
	} else {
		w->r->segments++;
		if (check_head(w, fd, (uint64_t)sb.st_size, last))
			check_frames(w, fd, (uint64_t)sb.st_size, last);
	}
	if (fd >= 0)
		close(fd);
	w->ordinal++;
}

static void check_spares(struct walk *w, const struct logdir *d)
{
	char name[SEG_NAME_MAX];
	struct stat sb;
	uint64_t nz;
	int fd;

	for (unsigned i = 0; i < d->nspare; i++) {
		seg_spare_name(d->spare[i], name);
		fd = openat(w->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue; /* taken meanwhile */
		if (fstat(fd, &sb) == 0 &&
		    seg_zero_tail(fd, 0, (uint64_t)sb.st_size, &nz, NULL) == E_OK &&
		    nz < (uint64_t)sb.st_size && faccessat(w->dirfd, name, F_OK, 0) == 0)
			verify_finding(w->r, VERIFY_TAMPERED, w->tree.size, name, nz,
				       "%s is not empty at byte %llu", name,
				       (unsigned long long)nz);
		close(fd);
	}
}

static void add_watch(struct walk *w, const struct checkpoint *cp, const char *file)
{
	struct watch *x = &w->watch[w->nwatch++];

	x->size = cp->size;
	memcpy(x->root, cp->root, MERKLE_HASH);
	x->file = file;
	x->seen = false;
}

/* The folder's checkpoint and the remembered one. */
static bool read_heads(struct walk *w, struct span since)
{
	struct checkpoint cp;
	struct err err = {0};
	int rc;

	w->cp_rc = logdir_read(w->dirfd, LOG_CHECKPOINT, NOTE_MAX, &w->cp, NULL);
	if (w->cp_rc == E_OK && checkpoint_open(buf_span(&w->cp), &w->r->key, &cp, NULL) == E_OK) {
		add_watch(w, &cp, LOG_CHECKPOINT);
		w->r->checkpoint = cp.size;
		w->cp_good = true;
	}
	if (since.n == 0)
		return true;
	rc = checkpoint_open(since, &w->r->key, &cp, &err);
	if (rc == E_FORMAT) {
		verify_finding(w->r, VERIFY_USAGE, 0, NULL, 0, "the remembered checkpoint: %s",
			       err.text);
		return false;
	}
	if (rc < 0)
		verify_finding(w->r, VERIFY_TAMPERED, 0, "since", 0,
			       "the remembered checkpoint was "
			       "not signed by this log's key");
	else
		add_watch(w, &cp, "since");
	return true;
}

/* A checkpoint file that does not open: where it differs from the last commit's note. The writer
 * syncs it before it takes the name, and at the latest when it stops: so it is never empty, and
 * after a clean stop it is there. */
static void judge_checkpoint(struct walk *w)
{
	size_t at = 0;

	if (w->cp_good)
		return;
	if (w->cp_rc == E_NOTFOUND) {
		if (w->stop && !w->r->live && w->good.size > 0)
			verify_finding(w->r, VERIFY_INCOMPLETE, w->good.size, LOG_CHECKPOINT, 0,
				       "the folder's checkpoint is missing after a clean stop");
		return;
	}
	while (at < w->cp.n && at < w->note.n && w->cp.p[at] == w->note.p[at])
		at++;
	verify_finding(w->r, VERIFY_TAMPERED, w->tree.size, LOG_CHECKPOINT, at,
		       "the folder's checkpoint is not signed by the log's key");
}

static void conclude(struct walk *w)
{
	struct verify_result *r = w->r;

	for (unsigned i = 0; i < w->nwatch; i++)
		if (!w->watch[i].seen && w->watch[i].size > w->good.size)
			verify_finding(r, VERIFY_TAMPERED, w->good.size, w->file, w->good_end,
				       "the log ends at entry %llu, but %s signs %llu entries",
				       (unsigned long long)w->good.size, w->watch[i].file,
				       (unsigned long long)w->watch[i].size);
	judge_checkpoint(w);
	r->clean = w->stop;
	merkle_root(&w->good, r->root);
	r->in_flight = r->intents > r->outcomes ? r->intents - r->outcomes : 0;
	if (r->clean && !r->live && r->intents != r->outcomes)
		verify_finding(r, VERIFY_INCOMPLETE, r->records, w->file, w->good_end,
			       "%llu intents but %llu outcomes after a clean stop",
			       (unsigned long long)r->intents, (unsigned long long)r->outcomes);
}

static bool is_live(int dirfd)
{
	int fd = openat(dirfd, LOG_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool live = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;

	if (fd >= 0)
		close(fd);
	return live;
}

static bool walk_init(struct walk *w, int dirfd, struct verify_result *r)
{
	memset(w, 0, sizeof(*w));
	w->dirfd = dirfd;
	w->r = r;
	w->group = BUF_INIT(GROUP_CAP);
	w->note = BUF_INIT(CHECKPOINT_NOTE_MAX);
	w->cp = BUF_INIT(NOTE_MAX);
	w->leaf = malloc((size_t)LEAVES_CAP * MERKLE_HASH);
	w->pairs = pairing_new();
	if (w->leaf == NULL || w->pairs == NULL)
		verify_finding(r, VERIFY_USAGE, 0, NULL, 0, "no memory");
	return w->leaf != NULL && w->pairs != NULL &&
	       side_init(&w->side, dirfd, r->live, r) == E_OK;
}

enum verify_code verify_log(int dirfd, const struct verify_opts *o, struct verify_result *r)
{
	struct logdir d = {0};
	struct walk w;

	memset(r, 0, sizeof(*r));
	r->live = is_live(dirfd);
	if (!walk_init(&w, dirfd, r) || !verify_pick_key(dirfd, o, r) || !read_heads(&w, o->since))
		goto out;
	if (logdir_list(dirfd, &d, NULL) < 0) {
		verify_finding(r, VERIFY_USAGE, 0, NULL, 0, "the folder cannot be read");
		goto out;
	}
	for (size_t i = 0; i < d.n && r->code != VERIFY_TAMPERED; i++)
		check_segment(&w, d.first[i], i + 1 == d.n);
	if (r->code != VERIFY_TAMPERED)
		side_end(&w.side);
	if (r->code != VERIFY_TAMPERED)
		check_spares(&w, &d);
	conclude(&w);
out:
	logdir_free(&d);
	side_free(&w.side);
	pairing_free(w.pairs);
	free(w.leaf);
	buf_free(&w.group);
	buf_free(&w.note);
	buf_free(&w.cp);
	return r->code;
}
