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
