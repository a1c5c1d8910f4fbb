/* tile.c - paths and the store of tree hashes; see tile.h. */
#include "tile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"

void tile_path(int level, uint64_t index, unsigned width, char out[TILE_PATH_MAX])
{
	unsigned groups[8], n = 0;
	size_t at;

	do {
		groups[n++] = (unsigned)(index % 1000);
		index /= 1000;
	} while (index > 0 && n < 8);
	at = level < 0 ? (size_t)snprintf(out, TILE_PATH_MAX, "tile/entries")
		       : (size_t)snprintf(out, TILE_PATH_MAX, "tile/%d", level);
	while (n-- > 0)
		at += (size_t)snprintf(out + at, TILE_PATH_MAX - at, n ? "/x%03u" : "/%03u",
				       groups[n]);
	if (width > 0 && width < TILE_WIDTH)
		snprintf(out + at, TILE_PATH_MAX - at, ".p/%u", width);
}

bool tile_path_parse(struct span path, int *level, uint64_t *index, unsigned *width)
{
	char again[TILE_PATH_MAX], text[TILE_PATH_MAX];
	char *s, *p;
	int groups = 0;

	if (path.n >= sizeof(text) || memchr(path.p, 0, path.n) != NULL)
		return false;
	memcpy(text, path.p, path.n);
	text[path.n] = '\0';
	if (strncmp(text, "tile/", 5) != 0)
		return false;
	s = text + 5;
	*level = strncmp(s, "entries/", 8) == 0 ? TILE_ENTRIES : (int)strtol(s, NULL, 10);
	s = strchr(s, '/');
	if (s == NULL || *level > 63)
		return false;
	for (*index = 0; s && s[0] == '/' && groups < 6; groups++) {
		s += s[1] == 'x' ? 2 : 1;
		*index = *index * 1000 + (uint64_t)strtol(s, &p, 10);
		s = p;
	}
	*width = strncmp(s, ".p/", 3) == 0 ? (unsigned)strtoul(s + 3, NULL, 10) : 0;
	if (*width >= TILE_WIDTH)
		return false;
	/* whatever was not canonical does not come out the same */
	tile_path(*level, *index, *width, again);
	return strcmp(again, text) == 0;
}

static int make_tile(struct tiles *t, unsigned level, uint64_t index, tile_hashes *out);

static int read_tile(struct tiles *t, unsigned level, uint64_t index, tile_hashes *out)
{
	char path[TILE_PATH_MAX];
	struct buf b = BUF_FIXED((char *)out, sizeof(*out));
	int rc;

	if (t->distrust)
		return make_tile(t, level, index, out);
	for (unsigned i = 0; i < t->npending; i++)
		if (t->pending[i].level == level && t->pending[i].index == index) {
			memcpy(out, t->pending[i].h, sizeof(*out));
			return E_OK;
		}
	tile_path((int)level, index, 0, path);
	rc = logdir_read(t->dirfd, path, sizeof(*out), &b, NULL);
	if (rc == E_OK && b.n == sizeof(*out))
		return E_OK;
	return make_tile(t, level, index, out);
}

static void write_tile(struct tiles *t, unsigned level, uint64_t index, const tile_hashes *h)
{
	char path[TILE_PATH_MAX];

	tile_path((int)level, index, 0, path);
	if (logdir_write(t->dirfd, path, span_of(h, sizeof(*h)), false, NULL) < 0)
		t->files_bad++;
}

void tiles_flush(struct tiles *t)
{
	for (unsigned i = 0; i < t->npending; i++)
		write_tile(t, t->pending[i].level, t->pending[i].index,
			   (const tile_hashes *)t->pending[i].h);
	t->npending = 0;
}

static void keep_tile(struct tiles *t, unsigned level, uint64_t index, const tile_hashes *h)
{
	struct tile_pending *p;

	if (t->npending == TILES_PENDING)
		tiles_flush(t);
	if (t->pending == NULL)
		t->pending = malloc(TILES_PENDING * sizeof(*t->pending));
	if (t->pending == NULL) {
		write_tile(t, level, index, h);
		return;
	}
	p = &t->pending[t->npending++];
	p->level = level;
	p->index = index;
	memcpy(p->h, h, sizeof(*h));
}

static int entry_leaf(struct tiles *t, uint64_t index, uint8_t out[MERKLE_HASH])
{
	struct buf b = BUF_INIT(ENTRY_MAX);
	int rc = logr_entry(t->logr, index, &b, NULL);

	if (rc == E_OK)
		merkle_leaf(buf_span(&b), out);
	buf_free(&b);
	return rc;
}

/* Full tile from what lies below it, and its file anew. */
static int make_tile(struct tiles *t, unsigned level, uint64_t index, tile_hashes *out)
{
	tile_hashes *below = level ? malloc(sizeof(*below)) : NULL;
	int rc = level && below == NULL ? E_NOMEM : E_OK;

	for (unsigned i = 0; rc == E_OK && i < TILE_WIDTH; i++) {
		if (level == 0) {
			rc = entry_leaf(t, index * TILE_WIDTH + i, (*out)[i]);
			continue;
		}
		rc = read_tile(t, level - 1, index * TILE_WIDTH + i, below);
		if (rc == E_OK)
			merkle_fold(*below, TILE_WIDTH, (*out)[i]);
	}
	free(below);
	if (rc == E_OK)
		write_tile(t, level, index, (const tile_hashes *)out);
	return rc;
}

static uint64_t hashes_at(uint64_t size, unsigned level)
{
	return size >> (8 * level);
}

static int edge_room(struct tiles *t, unsigned level)
{
	if (t->edge[level] == NULL)
		t->edge[level] = calloc(1, sizeof(tile_hashes));
	return t->edge[level] ? E_OK : E_NOMEM;
}

int tiles_init(struct tiles *t, int dirfd, struct logr *r, uint64_t size, struct err *err)
{
	tile_hashes *below = malloc(sizeof(*below));
	int rc = below ? E_OK : E_NOMEM;

	memset(t, 0, sizeof(*t));
	t->dirfd = dirfd;
	t->logr = r;
	t->size = size;
	t->cache_level = -1;
	for (unsigned l = 0; rc == E_OK && l < TILE_LEVELS; l++) {
		uint64_t n = hashes_at(size, l), from = n & ~(uint64_t)(TILE_WIDTH - 1);

		if (n == 0)
			break;
		rc = edge_room(t, l);
		for (uint64_t i = from; rc == E_OK && i < n; i++) {
			if (l == 0) {
				rc = entry_leaf(t, i, (*t->edge[0])[i - from]);
				continue;
			}
			rc = read_tile(t, l - 1, i, below);
			if (rc == E_OK)
				merkle_fold(*below, TILE_WIDTH, (*t->edge[l])[i - from]);
		}
	}
	free(below);
	if (rc < 0)
		err_set(err, rc, "the tree's edge cannot be read: %s", err_name(rc));
	return rc;
}

void tiles_free(struct tiles *t)
{
	for (unsigned l = 0; l < TILE_LEVELS; l++)
		free(t->edge[l]);
	free(t->cache);
	free(t->pending);
	memset(t, 0, sizeof(*t));
}

int tiles_add(struct tiles *t, const uint8_t leaf[MERKLE_HASH], struct err *err)
{
	uint8_t h[MERKLE_HASH];

	memcpy(h, leaf, sizeof(h));
	for (unsigned l = 0; l < TILE_LEVELS; l++) {
		uint64_t at = hashes_at(t->size, l);
		unsigned i = (unsigned)(at & (TILE_WIDTH - 1));

		if (edge_room(t, l) < 0)
			return err_set(err, E_NOMEM, "no memory for tiles");
		memcpy((*t->edge[l])[i], h, sizeof(h));
		if (i < TILE_WIDTH - 1)
			break;
		keep_tile(t, l, at / TILE_WIDTH, (const tile_hashes *)t->edge[l]);
		merkle_fold(*t->edge[l], TILE_WIDTH, h);
	}
	t->size++;
	return E_OK;
}

static int full_tile(struct tiles *t, unsigned level, uint64_t index)
{
	int rc;

	if (t->cache_level == (int)level && t->cache_index == index)
		return E_OK;
	if (t->cache == NULL)
		t->cache = malloc(sizeof(*t->cache));
	if (t->cache == NULL)
		return E_NOMEM;
	t->cache_level = -1;
	rc = read_tile(t, level, index, t->cache);
	if (rc == E_OK) {
		t->cache_level = (int)level;
		t->cache_index = index;
	}
	return rc;
}

int tiles_node(void *ctx, unsigned height, uint64_t index, uint8_t out[MERKLE_HASH])
{
	struct tiles *t = ctx;
	unsigned level = height / 8, sub = height % 8, n = 1u << sub;
	uint64_t first = index << sub, tile = first / TILE_WIDTH;
	uint8_t some[TILE_WIDTH / 2][MERKLE_HASH];
	tile_hashes *from;
	int rc;

	if (level >= TILE_LEVELS || first + n > hashes_at(t->size, level))
		return E_RANGE;
	if (tile < hashes_at(t->size, level) / TILE_WIDTH) {
		rc = full_tile(t, level, tile);
		if (rc < 0)
			return rc;
		from = t->cache;
	} else {
		from = t->edge[level];
	}
	memcpy(some, (*from)[first & (TILE_WIDTH - 1)], (size_t)n * MERKLE_HASH);
	merkle_fold(some, n, out);
	return E_OK;
}

void tiles_root(struct tiles *t, uint8_t out[MERKLE_HASH])
{
	uint8_t h[MERKLE_HASH];
	bool have = false;

	merkle_empty(out);
	for (unsigned k = 0; k < 64; k++) {
		if (!(t->size >> k & 1) || tiles_node(t, k, (t->size >> k) - 1, h) < 0)
			continue;
		if (have)
			merkle_node(h, out, out);
		else
			memcpy(out, h, sizeof(h));
		have = true;
	}
}

unsigned tiles_edge(const struct tiles *t, unsigned level, const uint8_t (**h)[MERKLE_HASH])
{
	if (level >= TILE_LEVELS || t->edge[level] == NULL)
		return 0;
	*h = (const uint8_t(*)[MERKLE_HASH]) * t->edge[level];
	return (unsigned)(hashes_at(t->size, level) & (TILE_WIDTH - 1));
}
