/* publish.c - bundles and partial tiles, written behind (tile.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "io.h"
#include "num.h"
#include "tile.h"

/* Streams the entries of one bundle into its file; a full bundle may hold 16 MiB. */
static int put_bundle(struct tiles *t, uint64_t index, unsigned width, int fd, bool sync,
		      struct err *err)
{
	struct buf out = BUF_INIT(256u << 10), e = BUF_INIT(ENTRY_MAX);
	int rc = E_OK;

	for (unsigned i = 0; rc == E_OK && i < width; i++) {
		uint8_t len[2];

		buf_reset(&e);
		rc = logr_entry(t->logr, index * TILE_WIDTH + i, &e, err);
		if (rc < 0)
			break;
		put_be16(len, (uint16_t)e.n);
		buf_put(&out, len, 2);
		buf_span_put(&out, buf_span(&e));
		if (!buf_ok(&out))
			rc = err_set(err, E_NOMEM, "no memory for a bundle");
		else if (out.n > (128u << 10) || i + 1 == width) {
			rc = io_write_all(fd, out.p, out.n, err);
			buf_reset(&out);
		}
	}
	if (rc == E_OK && !sync) /* under way now, awaited later with the others */
		sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (rc == E_OK && sync && (FAULT("log.bundlesync") || fdatasync(fd) < 0))
		rc = err_sys(err, "fsync a bundle");
	buf_free(&out);
	buf_free(&e);
	return rc;
}

static int write_bundle(struct tiles *t, uint64_t index, unsigned width, bool sync, struct err *err)
{
	char path[TILE_PATH_MAX], tmp[TILE_PATH_MAX + 4];
	int fd, rc;

	tile_path(TILE_ENTRIES, index, width, path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	rc = logdir_parents(t->dirfd, path, err);
	if (rc < 0)
		return rc;
	fd = openat(t->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(err, "create %s", tmp);
	rc = put_bundle(t, index, width, fd, sync, err);
	close(fd);
	if (rc == E_OK &&
	    (FAULT("log.bundlerename") || renameat(t->dirfd, tmp, t->dirfd, path) < 0))
		rc = err_sys(err, "rename %s", path);
	if (rc < 0)
		unlinkat(t->dirfd, tmp, 0);
	return rc;
}

/* Removes the other partial files of this tile; with keep 0 the folder too. */
static void drop_partials(struct tiles *t, int level, uint64_t index, unsigned keep)
{
	char path[TILE_PATH_MAX], own[8];
	struct dirent *e;
	char *slash;
	DIR *d;
	int fd;

	tile_path(level, index, 1, path);
	slash = strrchr(path, '/');
	*slash = '\0';
	fd = openat(t->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	snprintf(own, sizeof(own), "%u", keep);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && (keep == 0 || strcmp(e->d_name, own) != 0))
			unlinkat(fd, e->d_name, 0);
	closedir(d);
	if (keep == 0)
		unlinkat(t->dirfd, path, AT_REMOVEDIR);
}

static int sync_path(struct tiles *t, int level, uint64_t index, unsigned width, struct err *err)
{
	char path[TILE_PATH_MAX];
	int fd, rc;

	tile_path(level, index, width, path);
	fd = openat(t->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(err, "open %s", path);
	rc = FAULT("log.tilesync") || fdatasync(fd) < 0 ? err_sys(err, "fsync %s", path) : E_OK;
	close(fd);
	return rc;
}

/* Full tiles were written without fsync as they filled; make them durable now. One that is
 * missing is written again. */
static int settle_tile(struct tiles *t, unsigned level, uint64_t index, struct err *err)
{
	uint8_t h[MERKLE_HASH];
	int rc = sync_path(t, (int)level, index, 0, NULL);

	if (rc == E_OK)
		return E_OK;
	t->cache_level = -1;
	rc = tiles_node(t, level * 8, index * TILE_WIDTH, h);
	return rc < 0 ? err_set(err, rc, "a tile cannot be made")
		      : sync_path(t, (int)level, index, 0, err);
}

static int publish_level(struct tiles *t, unsigned level, uint64_t from, struct err *err)
{
	uint64_t first = from >> (8 * level) >> 8, full = t->size >> (8 * level) >> 8;
	const uint8_t(*h)[MERKLE_HASH];
	char path[TILE_PATH_MAX];
	unsigned n;
	int rc = E_OK;

	for (uint64_t i = first; rc == E_OK && i < full; i++)
		rc = settle_tile(t, level, i, err);
	n = tiles_edge(t, level, &h);
	if (rc == E_OK && n > 0) {
		tile_path((int)level, full, n, path);
		rc = logdir_write(t->dirfd, path, span_of(h, (size_t)n * MERKLE_HASH), false, err);
	}
	return rc;
}

/* Partial files that later ones replace. */
static void drop_replaced(struct tiles *t, uint64_t from)
{
	unsigned width = (unsigned)(t->size % TILE_WIDTH);
	uint64_t full = t->size / TILE_WIDTH;

	for (uint64_t i = from / TILE_WIDTH; i < full; i++)
		drop_partials(t, TILE_ENTRIES, i, 0);
	if (width > 0)
		drop_partials(t, TILE_ENTRIES, full, width);
	for (unsigned l = 0; l < TILE_LEVELS && t->size >> (8 * l) > 0; l++) {
		uint64_t n = t->size >> (8 * l);

		for (uint64_t i = from >> (8 * l) >> 8; i < n / TILE_WIDTH; i++)
			drop_partials(t, (int)l, i, 0);
		if (n % TILE_WIDTH)
			drop_partials(t, (int)l, n / TILE_WIDTH, (unsigned)(n % TILE_WIDTH));
	}
}

/* Bundles [first, end) whole, then the partial one of width entries behind them. */
static int publish_bundles(struct tiles *t, uint64_t first, uint64_t end, unsigned width,
			   struct err *err)
{
	bool each = end - first <= 1; /* more: write them all, then wait for all */
	int rc = E_OK;

	for (uint64_t i = first; rc == E_OK && i < end; i++)
		rc = write_bundle(t, i, TILE_WIDTH, each, err);
	if (rc == E_OK && width > 0)
		rc = write_bundle(t, end, width, each, err);
	for (uint64_t i = first; rc == E_OK && !each && i < end; i++)
		rc = sync_path(t, TILE_ENTRIES, i, 0, err);
	if (rc == E_OK && !each && width > 0)
		rc = sync_path(t, TILE_ENTRIES, end, width, err);
	return rc;
}

int tiles_publish(struct tiles *t, uint64_t from, uint64_t *bundles, unsigned most, struct err *err)
{
	uint64_t full = t->size / TILE_WIDTH, first = *bundles / TILE_WIDTH;
	int rc;

	tiles_flush(t);
	if (full - first > most) {
		rc = publish_bundles(t, first, first + most, 0, err);
		for (uint64_t i = first; rc == E_OK && i < first + most; i++)
			rc = settle_tile(t, 0, i, err);
		if (rc < 0)
			return rc;
		*bundles = (first + most) * TILE_WIDTH;
		return err_set(err, E_BUSY, "%llu bundles are still behind",
			       (unsigned long long)(full - first - most));
	}
	rc = publish_bundles(t, first, full, (unsigned)(t->size % TILE_WIDTH), err);
	for (unsigned l = 0; rc == E_OK && l < TILE_LEVELS && t->size >> (8 * l) > 0; l++)
		rc = publish_level(t, l, l == 0 ? *bundles : from, err);
	if (rc == E_OK) {
		*bundles = t->size;
		drop_replaced(t, from);
	}
	return rc;
}
