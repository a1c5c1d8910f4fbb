/* logw.c - append, group commit, proofs, publish, close; see logw.h. Opening: logw_open.c. */
#include "logw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "log.h"
#include "logw_int.h"

/* At most so many in one logw_publish(): commits wait meanwhile. */
#define PUBLISH_BUNDLES 4

static int poison(struct logw *w)
{
	w->poisoned = true;
	return E_IO;
}

static int poisoned(struct err *err)
{
	return err_set(err, E_IO, "the log is poisoned by a failed write");
}

/* Header and frontier of a new segment. Its bytes become durable with the first group's fsync. */
static int begin_segment(struct logw *w, const struct merkle *at, struct err *err)
{
	uint8_t head[SEG_HEADER], peaks[64 * MERKLE_HASH];
	struct seg_header h = {.first = w->size, .node = w->node};
	struct buf b = BUF_INIT(SEG_PREFIX_MAX);
	int rc;

	rc = logw_take_spare(w, err);
	if (rc < 0)
		return rc;
	h.ordinal = w->ordinal;
	h.bytes = w->bytes;
	memcpy(h.root, w->root, MERKLE_HASH);
	memcpy(h.origin, w->origin, SHA256_BYTES);
	seg_header_put(&h, head);
	buf_put(&b, head, sizeof(head));
	seg_frame_put(&b, SEG_FRONTIER, w->size, w->node, span_of(peaks, merkle_pack(at, peaks)));
	rc = buf_ok(&b) ? io_pwrite_all(w->fd, b.p, b.n, 0, err)
			: err_set(err, E_NOMEM, "no memory for a segment header");
	w->off = b.n;
	buf_free(&b);
	return rc;
}

/* The tree before the buffered entries: needed only when a segment begins. */
static int committed_tree(struct logw *w, struct merkle *out)
{
	out->size = w->size;
	for (unsigned k = 0; k < 64; k++)
		if (w->size >> k & 1 &&
		    tiles_node(&w->tiles, k, (w->size >> k) - 1, out->peak[k]) < 0)
			return E_IO;
	return E_OK;
}

/* Makes sure that n bytes fit behind w->off in one segment. */
static int place(struct logw *w, uint64_t n, bool *began, struct err *err)
{
	struct merkle at;
	uint8_t root[MERKLE_HASH];
	int rc;

	*began = false;
	if (w->fd >= 0 && w->bytes - w->off >= n)
		return E_OK;
	if (w->nspare == 0) {
		rc = logw_add_spare(w, err);
		if (rc < 0)
			return rc;
	}
	if (committed_tree(w, &at) < 0)
		return err_set(err, E_IO, "the tree's hashes cannot be read");
	merkle_root(&at, root);
	if (memcmp(root, w->root, MERKLE_HASH) != 0)
		return err_set(err, E_FORMAT, "the stored tree hashes do not give the root");
	*began = true;
	return begin_segment(w, &at, err);
}

static int sync_group(struct logw *w, bool began, struct err *err)
{
	if (FAULT("log.fdatasync") || fdatasync(w->fd) < 0)
		return err_sys(err, "fdatasync of the log");
	if (began && (FAULT("log.segdirsync") || fsync(w->dirfd) < 0))
		return err_sys(err, "fsync the log folder");
	return E_OK;
}

static int write_group(struct logw *w, const uint8_t root[MERKLE_HASH], struct err *err)
{
	size_t entries = w->group.n;
	bool began;
	int rc;

	seg_commit_put(&w->group, w->node, w->count, w->tree.size, root, buf_span(&w->note));
	if (!buf_ok(&w->group))
		return err_set(err, E_NOMEM, "no memory for a commit frame");
	rc = place(w, w->group.n + STOP_ROOM, &began, err);
	if (rc == E_OK)
		rc = io_pwrite_all(w->fd, w->group.p, w->group.n, (off_t)w->off, err);
	if (rc == E_OK)
		rc = sync_group(w, began, err);
	if (rc < 0)
		w->group.n = entries;
	return rc;
}

int logw_commit(struct logw *w, struct err *err)
{
	uint8_t root[MERKLE_HASH];
	int rc;

	if (w->poisoned)
		return poisoned(err);
	if (w->count == 0)
		return E_OK;
	merkle_root(&w->tree, root);
	buf_reset(&w->note);
	rc = checkpoint_sign(w->tree.size, root, &w->key, w->sk, &w->note, err);
	if (rc == E_OK)
		rc = write_group(w, root, err);
	if (rc < 0)
		return poison(w);
	w->off += w->group.n;
	w->closed = false;
	buf_reset(&w->group);
	w->size = w->tree.size;
	memcpy(w->root, root, MERKLE_HASH);
	w->commits++;
	for (uint32_t i = 0; rc == E_OK && i < w->count; i++)
		rc = tiles_add(&w->tiles, w->leaf[i], err);
	w->count = 0;
	if (rc < 0)
		return poison(w);
	/* Ahead again, best effort: logw_reserve() refuses work when the room is not there. */
	while (w->nspare < w->spares && logw_add_spare(w, NULL) == E_OK)
		;
	return E_OK;
}

static int keep_leaf(struct logw *w, struct span entry)
{
	if (w->count == w->leaf_cap) {
		uint32_t cap = w->leaf_cap ? w->leaf_cap * 2 : 256;
		uint8_t(*more)[MERKLE_HASH] = realloc(w->leaf, (size_t)cap * MERKLE_HASH);

		if (more == NULL)
			return E_NOMEM;
		w->leaf = more;
		w->leaf_cap = cap;
	}
	merkle_leaf(entry, w->leaf[w->count]);
	return E_OK;
}

static int put_entry(struct logw *w, struct span entry, uint64_t *index, struct err *err)
{
	size_t before;
	int rc;

	if (w->group.n + logw_cost(entry.n) > logw_group_max(w)) {
		rc = logw_commit(w, err);
		if (rc < 0)
			return rc;
	}
	before = w->group.n;
	if (keep_leaf(w, entry) < 0)
		return err_set(err, E_NOMEM, "no memory for an entry");
	seg_frame_put(&w->group, SEG_ENTRY, w->tree.size, w->node, entry);
	if (!buf_ok(&w->group)) {
		w->group.n = before;
		w->group.bad = false;
		return err_set(err, E_NOMEM, "no memory for an entry");
	}
	*index = w->tree.size;
	merkle_add(&w->tree, w->leaf[w->count++]);
	return E_OK;
}

static int may_append(const struct logw *w, struct span entry, struct err *err)
{
	if (w->poisoned)
		return poisoned(err);
	if (entry.n > ENTRY_MAX || logw_cost(entry.n) > logw_group_max(w))
		return err_set(err, E_RANGE, "an entry of %zu bytes is too large", entry.n);
	return E_OK;
}

int logw_append(struct logw *w, struct span entry, uint64_t *index, struct err *err)
{
	uint64_t cost = logw_cost(entry.n);
	int rc = may_append(w, entry, err);

	if (rc == E_OK)
		rc = logw_reserve(w, cost, err);
	if (rc < 0)
		return rc;
	logw_release(w, cost);
	return put_entry(w, entry, index, err);
}

int logw_append_reserved(struct logw *w, struct span entry, uint64_t cost, uint64_t *index,
			 struct err *err)
{
	int rc = may_append(w, entry, err);

	if (rc < 0)
		return rc;
	if (cost < logw_cost(entry.n)) /* more than was set aside: the rest must be free */
		return logw_append(w, entry, index, err);
	logw_release(w, cost);
	return put_entry(w, entry, index, err);
}

uint64_t logw_next(const struct logw *w)
{
	return w->tree.size;
}

uint64_t logw_size(const struct logw *w)
{
	return w->size;
}

void logw_root(const struct logw *w, uint8_t root[MERKLE_HASH])
{
	memcpy(root, w->root, MERKLE_HASH);
}

bool logw_poisoned(const struct logw *w)
{
	return w->poisoned;
}

uint64_t logw_commits(const struct logw *w)
{
	return w->commits;
}

const struct vkey *logw_vkey(const struct logw *w)
{
	return &w->key;
}

struct span logw_checkpoint(const struct logw *w)
{
	return buf_span(&w->note);
}

int logw_entry(struct logw *w, uint64_t index, struct buf *out, struct err *err)
{
	if (index >= w->size)
		return err_set(err, E_RANGE, "no committed entry %llu", (unsigned long long)index);
	return logr_entry(w->logr, index, out, err);
}

static int leaf_at(struct logw *w, uint64_t index, uint8_t out[MERKLE_HASH], struct err *err)
{
	struct buf b = BUF_INIT(ENTRY_MAX);
	int rc = logw_entry(w, index, &b, err);

	if (rc == E_OK)
		merkle_leaf(buf_span(&b), out);
	buf_free(&b);
	return rc;
}

static int root_at(struct logw *w, uint64_t size, uint8_t out[MERKLE_HASH])
{
	struct merkle m = {.size = size};

	for (unsigned k = 0; k < 64; k++)
		if (size >> k & 1 && tiles_node(&w->tiles, k, (size >> k) - 1, m.peak[k]) < 0)
			return E_IO;
	merkle_root(&m, out);
	return E_OK;
}

/* The old root comes from the same tile files as the proof, so for an older tree the chain to the
 * committed root is checked as well. */
static bool proof_holds(struct logw *w, uint64_t index, uint64_t size, const struct merkle_proof *p,
			struct err *err)
{
	uint8_t leaf[MERKLE_HASH], root[MERKLE_HASH];
	struct merkle_proof c;

	if (leaf_at(w, index, leaf, err) < 0)
		return false;
	if (size == w->size)
		return merkle_check(leaf, index, size, p->h, p->n, w->root);
	return root_at(w, size, root) == E_OK &&
	       merkle_check(leaf, index, size, p->h, p->n, root) &&
	       merkle_prove_consistency(tiles_node, &w->tiles, size, w->size, &c) == E_OK &&
	       merkle_check_consistency(size, root, w->size, w->root, c.h, c.n);
}

static void forget_tiles(struct logw *w, bool distrust)
{
	w->tiles.distrust = distrust;
	w->tiles.cache_level = -1;
}

int logw_prove(struct logw *w, uint64_t index, uint64_t size, struct merkle_proof *out,
	       struct err *err)
{
	bool ok;

	if (index >= size || size > w->size)
		return err_set(err, E_RANGE, "entry %llu is not in a tree of %llu",
			       (unsigned long long)index, (unsigned long long)size);
	ok = merkle_prove(tiles_node, &w->tiles, index, size, out) == E_OK &&
	     proof_holds(w, index, size, out, err);
	if (!ok) { /* a tile file is damaged: make all that this proof needs from the entries */
		log_ev(LOG_WARN_LV, "log_tiles_mended", "index=%llu", (unsigned long long)index);
		forget_tiles(w, true);
		ok = merkle_prove(tiles_node, &w->tiles, index, size, out) == E_OK &&
		     proof_holds(w, index, size, out, err);
		forget_tiles(w, false);
	}
	return ok ? E_OK : err_set(err, E_FORMAT, "the log's hashes do not give its root");
}

int logw_prove_consistency(struct logw *w, uint64_t old, uint64_t size, struct merkle_proof *out,
			   struct err *err)
{
	uint8_t a[MERKLE_HASH], b[MERKLE_HASH];
	bool ok = false;

	if (old > size || size > w->size)
		return err_set(err, E_RANGE, "no tree of that size");
	for (int pass = 0; pass < 2 && !ok; pass++) {
		forget_tiles(w, pass == 1);
		ok = merkle_prove_consistency(tiles_node, &w->tiles, old, size, out) == E_OK &&
		     root_at(w, old, a) == E_OK && root_at(w, size, b) == E_OK &&
		     (size != w->size || memcmp(b, w->root, MERKLE_HASH) == 0) &&
		     merkle_check_consistency(old, a, size, b, out->h, out->n);
	}
	forget_tiles(w, false);
	return ok ? E_OK : err_set(err, E_FORMAT, "the log's hashes do not give its root");
}

int logw_receipt(struct logw *w, uint64_t index, struct span extra, struct buf *out,
		 struct err *err)
{
	struct merkle_proof p;
	int rc = logw_prove(w, index, w->size, &p, err);

	if (rc < 0)
		return rc;
	tlog_proof_put(out, extra, index, &p, buf_span(&w->note));
	return buf_ok(out) ? E_OK : err_set(err, E_NOMEM, "no room for a receipt");
}

int logw_publish(struct logw *w, struct err *err)
{
	int rc;

	if (w->poisoned)
		return poisoned(err);
	if (w->size == 0 || w->published == w->size)
		return E_OK;
	if (w->bundles < w->published)
		w->bundles = w->published;
	rc = tiles_publish(&w->tiles, w->published, &w->bundles, PUBLISH_BUNDLES, err);
	if (rc == E_OK)
		rc = logdir_write(w->dirfd, LOG_CHECKPOINT, buf_span(&w->note), true, err);
	if (rc == E_OK)
		w->published = w->size;
	return rc;
}

static int write_stop(struct logw *w, struct err *err)
{
	struct buf b = BUF_INIT(4096);
	bool began;
	int rc;

	if (w->closed) /* nothing came since the last one */
		return E_OK;
	rc = place(w, STOP_ROOM, &began, err);
	if (rc == E_OK)
		rc = seg_stop_put(&b, w->node, w->size, w->root, w->ordinal, w->off, w->sk, err);
	if (rc == E_OK)
		rc = io_pwrite_all(w->fd, b.p, b.n, (off_t)w->off, err);
	if (rc == E_OK)
		rc = sync_group(w, began, err);
	buf_free(&b);
	return rc;
}

int logw_close(struct logw *w, bool clean, struct err *err)
{
	int rc = E_OK;

	if (w == NULL)
		return E_OK;
	if (clean) {
		rc = logw_commit(w, err);
		while (rc == E_OK && (rc = logw_publish(w, err)) == E_BUSY)
			rc = E_OK;
		/* tiles that could not be written do not make the log itself unclean */
		if (!w->poisoned)
			rc = write_stop(w, rc < 0 ? NULL : err) < 0 ? E_IO : rc;
	}
	tiles_free(&w->tiles);
	logr_close(w->logr);
	buf_free(&w->group);
	buf_free(&w->note);
	free(w->leaf);
	sodium_free(w->sk);
	if (w->fd >= 0)
		close(w->fd);
	if (w->lockfd >= 0)
		close(w->lockfd);
	if (w->dirfd >= 0)
		close(w->dirfd);
	free(w);
	return rc;
}
