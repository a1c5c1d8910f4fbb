/* quant.c - see quant.h. The plan first: every tensor's new type, so that the header is whole
 * before the first weight is written; then tensor by tensor, some rows at a time, over all threads.
 */
#include "quant.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "gguf_put.h"
#include "io.h"
#include "kernels.h"
#include "num.h"
#include "parts.h"
#include "pool.h"
#include "quant_rows.h"

#define CHUNK_BYTES (4u << 20) /* of finished rows written at once */
#define MAX_COLS (1u << 24)
#define ROWS_ITEM 4096u /* weights of one work item, about */

static const struct recipe {
	const char *name;
	enum gtype base;
	bool mixed;
	uint32_t file_type; /* llama.cpp's enum llama_ftype */
} recipes[] = {{"Q8_0", GT_Q8_0, false, 7},
	       {"Q4_0", GT_Q4_0, false, 2},
	       {"Q4_K", GT_Q4_K, false, 14},
	       {"Q4_K_M", GT_Q4_K, true, 15},
	       {"Q6_K", GT_Q6_K, false, 18}};

struct work {
	const struct recipe *r;
	const struct quant_opts *o;
	const struct kernels *k;
	struct pool *pool;
	struct gguf g;
	enum gtype *to; /* by place in the file's order */
	uint32_t n_layer;
	int out;
	uint64_t done, all; /* bytes of the input's tensors */
	/* the tensor in hand */
	const struct gguf_tensor *t;
	enum gtype type;
	uint64_t in_row, out_row, first, n; /* bytes, bytes, rows */
	uint32_t per_item;
	float **row; /* one per thread, widest columns */
	uint8_t *buf;
	bool *bad; /* one per thread: met what is no weight */
};

static bool ends_with(struct span s, const char *tail)
{
	size_t n = strlen(tail);

	return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

static bool is_matrix(const struct gguf_tensor *t)
{
	return t->n_dims == 2 && t->dims[1] > 1 && ends_with(t->name, ".weight");
}

static bool is_plain(enum gtype t)
{
	return t == GT_F32 || t == GT_F16 || t == GT_BF16;
}

/* "blk.17.xyz" -> 17 */
static uint32_t layer_of(struct span name)
{
	uint32_t n = 0;

	for (size_t i = 4; i < name.n && i < 10 && name.p[i] >= '0' && name.p[i] <= '9'; i++)
		n = n * 10 + (uint32_t)(name.p[i] - '0');
	return n;
}

/* The first and last eighth of the layers, and every third between them (llama-quant.cpp). */
static bool more_bits(uint32_t i, uint32_t n)
{
	return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static enum gtype wanted(const struct work *w, const struct gguf_tensor *t)
{
	bool output = span_eq(t->name, SPAN_LIT("output.weight")) ||
		      (span_eq(t->name, SPAN_LIT("token_embd.weight")) &&
		       !gguf_tensor(&w->g, "output.weight"));

	if (!w->r->mixed)
		return w->r->base;
	if (output)
		return GT_Q6_K;
	if (ends_with(t->name, ".attn_v.weight") || ends_with(t->name, ".ffn_down.weight"))
		return more_bits(layer_of(t->name), w->n_layer) ? GT_Q6_K : w->r->base;
	return w->r->base;
}

static int choose(struct work *w, const struct gguf_tensor *t, enum gtype *to,
		  struct quant_sum *sum, struct err *err)
{
	*to = t->type;
	if (!is_matrix(t)) {
		sum->kept++;
		return 0;
	}
	if (!w->k->expand[t->type])
		return err_set(err, E_UNSUPPORTED, "tensor %u has type %s, which is not supported",
			       t->number, gtype_name(t->type));
	if (!is_plain(t->type) && !w->o->requantize)
		return err_set(err, E_UNSUPPORTED,
			       "tensor %u is %s: quantised already, which would add error to error",
			       t->number, gtype_name(t->type));
	if (t->dims[0] > MAX_COLS)
		return err_set(err, E_RANGE, "tensor %u: rows of more than %u weights", t->number,
			       MAX_COLS);
	*to = wanted(w, t);
	if (t->dims[0] % gtype_info(*to)->block_elems) {
		*to = GT_F16;
		sum->half++;
	} else {
		sum->quantised++;
	}
	return 0;
}

static int put_keys(const struct work *w, struct buf *b, uint64_t *n, struct err *err)
{
	static const char *const ours[] = {"general.file_type", "general.quantization_version",
					   "split.no", "split.count", "split.tensors.count"};

	*n = 2;
	for (uint32_t i = 0; i < w->g.n_keys; i++) {
		bool skip = false;

		for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]); k++)
			skip |= span_eq(w->g.keys[i].name, span_cstr(ours[k]));
		if (skip)
			continue;
		gguf_put_key(b, &w->g.keys[i]);
		++*n;
	}
	gguf_put_u32(b, "general.file_type", w->r->file_type);
	gguf_put_u32(b, "general.quantization_version", 2);
	if (*n > GGUF_MAX_KEYS)
		return err_set(err, E_RANGE, "the result would have %llu metadata keys, over %u",
			       (unsigned long long)*n, GGUF_MAX_KEYS);
	return buf_ok(b) ? 0 : err_set(err, E_NOMEM, "metadata");
}

/* Types, header, and the room for one tensor's work. */
static int plan(struct work *w, struct quant_sum *sum, uint32_t *widest, struct err *err)
{
	struct buf keys = BUF_INIT(1u << 30), tensors = BUF_INIT(64u << 20);
	struct buf head = BUF_INIT((1u << 30) + (64u << 20));
	uint64_t n_keys, offset = 0;
	int rc = put_keys(w, &keys, &n_keys, err);

	for (uint32_t i = 0; i < w->g.n_tensors && rc == 0; i++) {
		const struct gguf_tensor *t = &w->g.tensors[w->g.order[i]];
		uint64_t row, bytes;

		if ((rc = choose(w, t, &w->to[i], sum, err)) < 0)
			break;
		if (!gtype_row_bytes(w->to[i], t->dims[0], &row) ||
		    mul_u64(row, t->elems / t->dims[0], &bytes) ||
		    align_u64(offset, w->g.alignment, &offset)) {
			rc = err_set(err, E_RANGE, "tensor %u: too many bytes", i);
			break;
		}
		gguf_put_tensor(&tensors, t, w->to[i], offset);
		if (add_u64(offset, bytes, &offset))
			rc = err_set(err, E_RANGE, "tensor %u: too many bytes", i);
		if (is_matrix(t) && t->dims[0] > *widest)
			*widest = (uint32_t)t->dims[0];
		w->all += t->data.n; /* sum <= size of the files */
	}
	if (rc == 0) {
		gguf_put_head(&head, n_keys, buf_span(&keys), w->g.n_tensors, buf_span(&tensors),
			      w->g.alignment);
		rc = buf_ok(&tensors) && buf_ok(&head) ? io_write_all(w->out, head.p, head.n, err)
						       : err_set(err, E_NOMEM, "header");
		sum->bytes_out = head.n;
	}
	buf_free(&keys);
	buf_free(&tensors);
	buf_free(&head);
	return rc;
}

static void rows_item(void *arg, unsigned item, unsigned worker)
{
	struct work *w = arg;
	uint64_t first = (uint64_t)item * w->per_item, end = first + w->per_item;
	float *x = w->row[worker];
	size_t cols = (size_t)w->t->dims[0];

	if (end > w->n)
		end = w->n;
	for (uint64_t r = first; r < end; r++) {
		float most = 0;
		bool ok = true;

		w->k->expand[w->t->type](w->t->data.p + (w->first + r) * w->in_row, x, cols);
		for (size_t i = 0; i < cols; i++) {
			most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
			ok &= x[i] == x[i];
		}
		if (ok && most <= QUANT_MOST)
			quant_row(w->type, x, w->buf + r * w->out_row, cols);
		else
			w->bad[worker] = true;
	}
}

/* What was read of the mapped file is not needed again. */
static void drop_pages(struct span s)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)s.p + page - 1) & ~(page - 1);
	uintptr_t to = ((uintptr_t)s.p + s.n) & ~(page - 1);

	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

static int tell(struct work *w, uint64_t more, struct err *err)
{
	w->done += more;
	if (w->o->progress &&
	    !w->o->progress(w->o->progress_arg,
			    w->all ? (unsigned)((double)w->done / (double)w->all * 1000) : 1000))
		return err_set(err, E_CANCELLED, "cancelled");
	return 0;
}

static int put_rows(struct work *w, struct err *err)
{
	int rc;

	pool_run(w->pool, rows_item, w, (unsigned)((w->n + w->per_item - 1) / w->per_item));
	for (unsigned i = 0; i < pool_threads(w->pool); i++)
		if (w->bad[i])
			return err_set(err, E_FORMAT,
				       "tensor %u has a weight that is no number within +-%.0f",
				       w->t->number, (double)QUANT_MOST);
	rc = io_write_all(w->out, w->buf, (size_t)(w->n * w->out_row), err);
	drop_pages(span_of(w->t->data.p + w->first * w->in_row, (size_t)(w->n * w->in_row)));
	return rc < 0 ? rc : tell(w, w->n * w->in_row, err);
}

static int put_matrix(struct work *w, struct err *err)
{
	uint64_t rows = w->t->elems / w->t->dims[0], most;
	int rc = 0;

	gtype_row_bytes(w->t->type, w->t->dims[0], &w->in_row);
	gtype_row_bytes(w->type, w->t->dims[0], &w->out_row);
	most = CHUNK_BYTES / w->out_row ? CHUNK_BYTES / w->out_row : 1;
	w->per_item = (uint32_t)(ROWS_ITEM / w->t->dims[0] ? ROWS_ITEM / w->t->dims[0] : 1);
	w->buf = FAULT("quant.rows") ? NULL : malloc((size_t)(most * w->out_row));
	if (!w->buf)
		return err_set(err, E_NOMEM, "rows of tensor %u", w->t->number);
	for (w->first = 0; w->first < rows && rc == 0; w->first += w->n) {
		w->n = rows - w->first < most ? rows - w->first : most;
		rc = put_rows(w, err);
	}
	free(w->buf);
	return rc;
}

static int put_copy(struct work *w, struct err *err)
{
	int rc = 0;

	for (size_t at = 0; at < w->t->data.n && rc == 0; at += CHUNK_BYTES) {
		size_t n = w->t->data.n - at < CHUNK_BYTES ? w->t->data.n - at : CHUNK_BYTES;

		rc = io_write_all(w->out, w->t->data.p + at, n, err);
		drop_pages(span_of(w->t->data.p + at, n));
		if (rc == 0)
			rc = tell(w, n, err);
	}
	return rc;
}

static int put_tensors(struct work *w, struct quant_sum *sum, struct err *err)
{
	static const uint8_t zeros[4096];
	uint64_t at = 0;
	int rc = 0;

	for (uint32_t i = 0; i < w->g.n_tensors && rc == 0; i++) {
		uint64_t start, row;

		w->t = &w->g.tensors[w->g.order[i]];
		w->type = w->to[i];
		align_u64(at, w->g.alignment, &start); /* plan() has seen it fit */
		while (at < start && rc == 0) {
			uint64_t n = start - at < sizeof(zeros) ? start - at : sizeof(zeros);

			rc = io_write_all(w->out, zeros, (size_t)n, err);
			at += n;
		}
		if (rc == 0)
			rc = w->type == w->t->type ? put_copy(w, err) : put_matrix(w, err);
		gtype_row_bytes(w->type, w->t->dims[0], &row);
		at = start + row * (w->t->elems / w->t->dims[0]);
	}
	sum->bytes_out += at;
	return rc;
}

static int open_work(struct work *w, uint32_t widest, struct err *err)
{
	unsigned n;
	int rc = pool_open(w->o->threads, &w->pool, err);

	if (rc < 0)
		return rc;
	n = pool_threads(w->pool);
	w->row = calloc(n, sizeof(*w->row));
	w->bad = calloc(n, sizeof(*w->bad));
	for (unsigned i = 0; i < n && w->row; i++)
		if (!(w->row[i] = FAULT("quant.row") ? NULL : calloc(widest + 1, sizeof(float))))
			return err_set(err, E_NOMEM, "a row of %u weights", widest);
	return w->row && w->bad ? 0 : err_set(err, E_NOMEM, "threads' rows");
}

static void close_work(struct work *w)
{
	for (unsigned i = 0; w->row && i < pool_threads(w->pool); i++)
		free(w->row[i]);
	if (w->pool)
		pool_close(w->pool);
	free(w->row);
	free(w->bad);
	free(w->to);
	gguf_free(&w->g);
}

int model_quantize(const int *fds, unsigned nfds, int out, const struct quant_opts *o,
		   struct quant_sum *sum, struct err *err)
{
	struct work w = {.o = o, .k = kern_pick(NULL), .out = out};
	struct parts parts;
	uint32_t widest = 0;
	int rc;

	memset(sum, 0, sizeof(*sum));
	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++)
		if (strcmp(o->type, recipes[i].name) == 0)
			w.r = &recipes[i];
	if (!w.r)
		return err_set(err, E_UNSUPPORTED, "types to write: Q8_0 Q4_0 Q4_K Q4_K_M Q6_K");
	if ((rc = parts_open(&parts, fds, nfds, &w.g, err)) < 0)
		return rc;
	gguf_u32(&w.g, "llama.block_count", &w.n_layer);
	sum->bytes_in = w.g.bytes;
	w.to = FAULT("quant.plan") ? NULL : calloc((size_t)w.g.n_tensors + 1, sizeof(*w.to));
	rc = w.to ? plan(&w, sum, &widest, err) : err_set(err, E_NOMEM, "plan");
	if (rc == 0)
		rc = open_work(&w, widest, err);
	if (rc == 0)
		rc = put_tensors(&w, sum, err);
	close_work(&w);
	parts_close(&parts);
	return rc;
}
