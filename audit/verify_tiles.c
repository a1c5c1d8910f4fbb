/* verify_tiles.c - the published form against the segments; see verify_int.h. Absent files are no
 * offence (they can be made again); a present one must be exact. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "num.h"
#include "verify_int.h"

int side_init(struct side *s, int dirfd, bool live, struct verify_result *r)
{
	memset(s, 0, sizeof(*s));
	s->dirfd = dirfd;
	s->live = live;
	s->r = r;
	return E_OK;
}

void side_free(struct side *s)
{
	for (unsigned i = 0; i < s->nbundle; i++)
		if (s->bundle[i].fd >= 0)
			close(s->bundle[i].fd);
	for (unsigned l = 0; l < TILE_LEVELS; l++)
		free(s->edge[l]);
}

static void differs(struct side *s, int level, uint64_t index, unsigned width, uint64_t byte,
		    uint64_t entry)
{
	char path[TILE_PATH_MAX];

	tile_path(level, index, width, path);
	verify_finding(s->r, VERIFY_TAMPERED, entry, path, byte,
		       "%s differs from the log at byte "
		       "%llu",
		       path, (unsigned long long)byte);
}

/* Compares one tile file of n hashes. */
static void check_tile(struct side *s, unsigned level, uint64_t index, unsigned width, unsigned n)
{
	char path[TILE_PATH_MAX];
	struct buf b = BUF_INIT(TILE_BYTES + 1);
	const uint8_t *want = (const uint8_t *)s->edge[level];
	size_t at = 0, want_n = (size_t)n * MERKLE_HASH;
	int rc;

	tile_path((int)level, index, width, path);
	rc = logdir_read(s->dirfd, path, TILE_BYTES, &b, NULL);
	if (rc != E_NOTFOUND) {
		while (at < b.n && at < want_n && (uint8_t)b.p[at] == want[at])
			at++;
		if (rc < 0 || at < want_n || b.n != want_n)
			differs(s, (int)level, index, width, at,
				(index * TILE_WIDTH + at / MERKLE_HASH) << (8 * level));
		s->r->tiles++;
	}
	buf_free(&b);
}

/* Calls fn for each partial file of a tile. Names that are no width are findings. */
static void each_partial(struct side *s, int level, uint64_t index,
			 void (*fn)(struct side *, int, uint64_t, unsigned))
{
	char path[TILE_PATH_MAX], name[8];
	struct dirent *e;
	unsigned w;
	DIR *d;
	int fd;

	tile_path(level, index, 1, path);
	*strrchr(path, '/') = '\0';
	fd = openat(s->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		w = (unsigned)strtoul(e->d_name, NULL, 10);
		snprintf(name, sizeof(name), "%u", w);
		if (w > 0 && w < TILE_WIDTH && strcmp(name, e->d_name) == 0)
			fn(s, level, index, w);
	}
	closedir(d);
}

static void partial_tile(struct side *s, int level, uint64_t index, unsigned w)
{
	uint64_t have = (s->size >> (8 * level)) - index * TILE_WIDTH;

	if (w <= have)
		check_tile(s, (unsigned)level, index, w, w);
	else if (!s->live)
		differs(s, level, index, w, have * MERKLE_HASH, s->size);
}

static void open_bundle(struct side *s, int level, uint64_t index, unsigned w)
{
	char path[TILE_PATH_MAX];
	int fd;

	if (s->nbundle == sizeof(s->bundle) / sizeof(s->bundle[0]))
		return;
	tile_path(level, index, w, path);
	fd = openat(s->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	s->bundle[s->nbundle].fd = fd;
	s->bundle[s->nbundle].width = w ? w : TILE_WIDTH;
	s->bundle[s->nbundle++].off = 0;
	s->r->bundles++;
}

static void open_bundles(struct side *s, uint64_t index)
{
	s->nbundle = 0;
	open_bundle(s, TILE_ENTRIES, index, 0);
	each_partial(s, TILE_ENTRIES, index, open_bundle);
}

static void close_bundle(struct side *s, unsigned i)
{
	close(s->bundle[i].fd);
	s->bundle[i].fd = -1;
}

/* One entry against one open bundle; closed at the first difference or when it is complete. */
static void bundle_entry(struct side *s, unsigned i, uint64_t index, struct span entry)
{
	uint8_t len[2], have[4096];
	uint64_t *off = &s->bundle[i].off;
	unsigned w = s->bundle[i].width;
	struct stat sb;
	size_t at = 0;

	put_be16(len, (uint16_t)entry.n);
	while (at < entry.n + 2) {
		size_t n = entry.n + 2 - at < sizeof(have) ? entry.n + 2 - at : sizeof(have), k;
		ssize_t got = pread(s->bundle[i].fd, have, n, (off_t)*off);

		for (k = 0; got > 0 && k < (size_t)got; k++)
			if (have[k] != (at + k < 2 ? len[at + k] : (uint8_t)entry.p[at + k - 2]))
				break;
		*off += k;
		at += k;
		if (got <= 0 || k < (size_t)got) {
			differs(s, TILE_ENTRIES, index / TILE_WIDTH, w, *off, index);
			close_bundle(s, i);
			return;
		}
	}
	if (index % TILE_WIDTH + 1 < w)
		return;
	if (fstat(s->bundle[i].fd, &sb) < 0 || (uint64_t)sb.st_size != *off)
		differs(s, TILE_ENTRIES, index / TILE_WIDTH, w, *off, index);
	close_bundle(s, i);
}

static void add_hash(struct side *s, const uint8_t leaf[MERKLE_HASH])
{
	uint8_t h[MERKLE_HASH];

	memcpy(h, leaf, sizeof(h));
	for (unsigned l = 0; l < TILE_LEVELS; l++) {
		uint64_t at = s->size >> (8 * l), index = at / TILE_WIDTH;
		unsigned i = (unsigned)(at % TILE_WIDTH);

		if (s->edge[l] == NULL)
			s->edge[l] = calloc(1, sizeof(tile_hashes));
		if (s->edge[l] == NULL)
			return;
		memcpy((*s->edge[l])[i], h, sizeof(h));
		if (i < TILE_WIDTH - 1)
			break;
		check_tile(s, l, index, 0, TILE_WIDTH);
		/* the partial files it replaced may still lie there */
		s->size++;
		each_partial(s, (int)l, index, partial_tile);
		s->size--;
		merkle_fold(*s->edge[l], TILE_WIDTH, h);
	}
}

void side_entry(struct side *s, struct span entry, const uint8_t leaf[MERKLE_HASH])
{
	uint64_t index = s->size;

	if (index % TILE_WIDTH == 0)
		open_bundles(s, index / TILE_WIDTH);
	for (unsigned i = 0; i < s->nbundle; i++)
		if (s->bundle[i].fd >= 0)
			bundle_entry(s, i, index, entry);
	add_hash(s, leaf);
	s->size++;
}

void side_end(struct side *s)
{
	for (unsigned l = 0; l < TILE_LEVELS && s->size >> (8 * l) > 0; l++)
		if (s->edge[l])
			each_partial(s, (int)l, s->size >> (8 * l) >> 8, partial_tile);
	/* a bundle that wants more entries than there are */
	for (unsigned i = 0; i < s->nbundle && !s->live; i++)
		if (s->bundle[i].fd >= 0)
			differs(s, TILE_ENTRIES, s->size / TILE_WIDTH,
				s->bundle[i].width % TILE_WIDTH, s->bundle[i].off, s->size);
}
