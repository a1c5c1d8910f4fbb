/* gguf_patch.c - see gguf_patch.h. */
#include "gguf_patch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"
#include "io.h"

struct sought {
	const char *name;
	struct tensor_desc t;
	bool found;
};

static bool look(void *arg, const struct tensor_desc *t)
{
	struct sought *w = arg;

	if (!span_eq(t->name, span_cstr(w->name)))
		return true;
	w->t = *t;
	w->found = true;
	return false;
}

static bool find(int fd, const char *name, struct tensor_desc *t)
{
	struct sought w = {.name = name};

	model_each_tensor(&fd, 1, look, &w, NULL);
	*t = w.t;
	return w.found;
}

/* The file with its bytes in *b; the descriptor of the changed one comes from put(). */
static bool whole(int fd, struct buf *b)
{
	*b = BUF_INIT(64u << 20);
	return lseek(fd, 0, SEEK_SET) == 0 && io_read_fd(fd, 64u << 20, b, NULL) == 0;
}

static int put(struct buf *b)
{
	int fd = memfd_create("guard", MFD_CLOEXEC);

	if (fd >= 0 && io_write_all(fd, b->p, b->n, NULL) != 0) {
		close(fd);
		fd = -1;
	}
	buf_free(b);
	return fd;
}

int patch_copy(int fd)
{
	struct buf b;

	if (!whole(fd, &b))
		return -1;
	buf_putc(&b, '\0');
	return put(&b);
}

int patch_nan(int fd)
{
	struct tensor_desc t;
	struct buf b;

	if (!find(fd, "output_norm.weight", &t) || strcmp(t.type, "F32") != 0 || !whole(fd, &b))
		return -1;
	for (uint64_t i = 0; i < t.bytes / 4; i++) {
		float v = NAN;

		memcpy(b.p + t.offset + 4 * i, &v, 4);
	}
	return put(&b);
}

static void swap(char *rows, uint64_t bytes, int32_t a, int32_t b)
{
	char *x = rows + bytes * (uint64_t)a, *y = rows + bytes * (uint64_t)b;

	for (uint64_t i = 0; i < bytes; i++) {
		char keep = x[i];

		x[i] = y[i];
		y[i] = keep;
	}
}

int patch_swap(int fd, int32_t a, int32_t b, int32_t c, int32_t d)
{
	struct tensor_desc t;
	struct buf bytes;
	uint64_t row;

	if (!find(fd, "output.weight", &t) && !find(fd, "token_embd.weight", &t))
		return -1;
	if (t.n_dims < 2 || t.dims[1] == 0 || !whole(fd, &bytes))
		return -1;
	row = t.bytes / t.dims[1];
	swap(bytes.p + t.offset, row, a, b);
	if (c >= 0)
		swap(bytes.p + t.offset, row, c, d);
	return put(&bytes);
}

/* ---- models in several files ---- */

#define MOST_TENSORS 512

struct listed {
	struct tensor_desc t[MOST_TENSORS];
	char names[MOST_TENSORS][64];
	unsigned n;
};

static bool list_one(void *arg, const struct tensor_desc *t)
{
	struct listed *l = arg;

	if (l->n == MOST_TENSORS || t->name.n > sizeof(l->names[0]))
		return false;
	memcpy(l->names[l->n], t->name.p, t->name.n);
	l->t[l->n] = *t;
	l->t[l->n].name.p = l->names[l->n];
	l->n++;
	return true;
}

static void put_split_key(struct buf *b, const char *name, uint32_t v)
{
	buf_u64(b, strlen(name));
	buf_puts(b, name);
	buf_u32(b, 4); /* u32 */
	buf_u32(b, v);
}

static void pad_to(struct buf *b, size_t align)
{
	while (b->n % align)
		buf_putc(b, 0);
}

/* Part i of n; `heads` is where the tensors' entries begin in the file. */
static int cut_one(const struct buf *file, const struct listed *l, size_t heads, unsigned i,
		   unsigned n)
{
	struct buf out = BUF_INIT(64u << 20), data = BUF_INIT(64u << 20);
	unsigned from = l->n * i / n, to = l->n * (i + 1) / n;
	uint64_t keys;

	memcpy(&keys, file->p + 16, 8);
	buf_puts(&out, "GGUF");
	buf_u32(&out, 3);
	buf_u64(&out, to - from);
	buf_u64(&out, 3 + (i ? 0 : keys));
	put_split_key(&out, "split.no", i);
	put_split_key(&out, "split.count", n);
	put_split_key(&out, "split.tensors.count", l->n);
	if (i == 0)
		buf_put(&out, file->p + 24, heads - 24);
	for (unsigned k = 0; k < to; k++) {
		size_t bytes = 8 + l->t[k].name.n + 4 + 8 * (size_t)l->t[k].n_dims + 4;

		if (k >= from) {
			pad_to(&data, 32);
			buf_put(&out, file->p + heads, bytes);
			buf_u64(&out, data.n);
			buf_put(&data, file->p + l->t[k].offset, l->t[k].bytes);
		}
		heads += bytes + 8;
	}
	pad_to(&out, 32);
	buf_span_put(&out, buf_span(&data));
	buf_free(&data);
	return put(&out);
}

bool patch_cut(int fd, unsigned n, int *fds)
{
	struct listed *l = calloc(1, sizeof(*l));
	struct buf file, first = BUF_INIT(128);
	const char *at = NULL;

	model_each_tensor(&fd, 1, list_one, l, NULL);
	if (l->n > 0 && whole(fd, &file)) {
		buf_u64(&first, l->t[0].name.n);
		buf_span_put(&first, l->t[0].name);
		at = memmem(file.p, file.n, first.p, first.n);
		for (unsigned i = 0; i < n && at; i++)
			fds[i] = cut_one(&file, l, (size_t)(at - file.p), i, n);
		buf_free(&file);
		buf_free(&first);
	}
	free(l);
	return at != NULL;
}
