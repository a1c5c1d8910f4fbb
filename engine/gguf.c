/* gguf.c - parses and checks a GGUF region; see gguf.h for what is guaranteed afterwards. Foreign
 * bytes never reach an error text: keys and tensors are named by their number in the file. */
#include "gguf.h"

#include <stdlib.h>

#include "cur.h"

static const uint8_t vtype_size[GV_COUNT] = {
    [GV_U8] = 1,  [GV_I8] = 1,	 [GV_U16] = 2, [GV_I16] = 2, [GV_U32] = 4, [GV_I32] = 4,
    [GV_F32] = 4, [GV_BOOL] = 1, [GV_U64] = 8, [GV_I64] = 8, [GV_F64] = 8,
};

static int span_cmp(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int key_cmp(const void *a, const void *b)
{
	return span_cmp(((const struct gguf_key *)a)->name, ((const struct gguf_key *)b)->name);
}

static int tensor_cmp(const void *a, const void *b)
{
	return span_cmp(((const struct gguf_tensor *)a)->name,
			((const struct gguf_tensor *)b)->name);
}

/* Names are printed and logged by others: only visible ASCII. */
static bool name_ok(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return false;
	return s.n > 0;
}

static bool bools_ok(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((uint8_t)s.p[i] > 1)
			return false;
	return true;
}

/* A length-prefixed string of at most max bytes; *big tells too long from truncated. */
static struct span get_str(struct cur *c, uint64_t max, bool *big)
{
	uint64_t n = cur_u64(c);

	if (!c->bad && n > max) {
		*big = true;
		c->bad = true;
	}
	return cur_span(c, n);
}

static int parse_array(struct cur *c, uint32_t i, struct gguf_key *k, struct err *err)
{
	uint32_t type = cur_u32(c);
	uint64_t n = cur_u64(c), bytes = 0;
	size_t start = c->off;
	bool big = false;

	if (c->bad)
		return err_set(err, E_TRUNC, "key %u: the file ends inside its array", i);
	if (type == GV_ARR)
		return err_set(err, E_UNSUPPORTED, "key %u: an array of arrays", i);
	if (type >= GV_COUNT)
		return err_set(err, E_FORMAT, "key %u: unknown element type %u", i, type);
	if (n > GGUF_MAX_ARR_ELEMS)
		return err_set(err, E_RANGE, "key %u: more than %u elements", i,
			       GGUF_MAX_ARR_ELEMS);
	if (type == GV_STR) {
		for (uint64_t e = 0; e < n && !c->bad; e++)
			get_str(c, GGUF_MAX_STR_BYTES, &big);
	} else if (!mul_u64(n, vtype_size[type], &bytes)) {
		cur_take(c, bytes);
	}
	if (big)
		return err_set(err, E_RANGE, "key %u: a string is over %u bytes", i,
			       GGUF_MAX_STR_BYTES);
	if (c->bad)
		return err_set(err, E_TRUNC, "key %u: the file ends inside its array", i);
	k->arr = (struct gguf_arr){type, n, span_of(c->p + start, c->off - start)};
	if (type == GV_BOOL && !bools_ok(k->arr.raw))
		return err_set(err, E_FORMAT, "key %u: a bool that is neither 0 nor 1", i);
	return 0;
}

static int parse_key(struct cur *c, uint32_t i, struct gguf_key *k, struct err *err)
{
	bool big = false;
	uint32_t type;

	k->name = get_str(c, GGUF_MAX_KEY_BYTES, &big);
	if (big)
		return err_set(err, E_RANGE, "key %u: its name is over %u bytes", i,
			       GGUF_MAX_KEY_BYTES);
	type = cur_u32(c);
	if (c->bad)
		return err_set(err, E_TRUNC, "key %u: the file ends inside it", i);
	if (!name_ok(k->name))
		return err_set(err, E_FORMAT, "key %u: its name is not visible ASCII", i);
	if (type >= GV_COUNT)
		return err_set(err, E_FORMAT, "key %u: unknown value type %u", i, type);
	k->type = type;
	if (type == GV_ARR)
		return parse_array(c, i, k, err);
	if (type == GV_STR)
		k->raw = get_str(c, GGUF_MAX_STR_BYTES, &big);
	else
		k->raw = cur_span(c, vtype_size[type]);
	if (big)
		return err_set(err, E_RANGE, "key %u: its string is over %u bytes", i,
			       GGUF_MAX_STR_BYTES);
	if (c->bad)
		return err_set(err, E_TRUNC, "key %u: the file ends inside its value", i);
	if (type == GV_BOOL && !bools_ok(k->raw))
		return err_set(err, E_FORMAT, "key %u: a bool that is neither 0 nor 1", i);
	return 0;
}

static int parse_dims(struct cur *c, uint32_t i, struct gguf_tensor *t, struct err *err)
{
	t->n_dims = cur_u32(c);
	if (c->bad)
		return err_set(err, E_TRUNC, "tensor %u: the file ends inside its header", i);
	if (t->n_dims < 1 || t->n_dims > GGUF_MAX_DIMS)
		return err_set(err, E_RANGE, "tensor %u: %u dimensions, must be 1 to %d", i,
			       t->n_dims, GGUF_MAX_DIMS);
	t->elems = 1;
	for (uint32_t d = 0; d < GGUF_MAX_DIMS; d++) {
		t->dims[d] = d < t->n_dims ? cur_u64(c) : 1;
		if (c->bad)
			return err_set(err, E_TRUNC, "tensor %u: the file ends inside its header",
				       i);
		if (t->dims[d] < 1 || t->dims[d] > GGUF_MAX_DIM)
			return err_set(err, E_RANGE, "tensor %u: dimension %u is out of bounds", i,
				       d);
		if (mul_u64(t->elems, t->dims[d], &t->elems) || t->elems > GGUF_MAX_DIM)
			return err_set(err, E_RANGE, "tensor %u: too many elements", i);
	}
	return 0;
}

/* Leaves in t->data.n the size and in t->offset the place relative to the data section. */
static int parse_tensor(struct cur *c, uint32_t i, struct gguf_tensor *t, struct err *err)
{
	bool big = false;
	uint64_t row, size;
	uint32_t type;
	int rc;

	t->name = get_str(c, GGUF_MAX_NAME_BYTES, &big);
	if (big)
		return err_set(err, E_RANGE, "tensor %u: its name is over %d bytes", i,
			       GGUF_MAX_NAME_BYTES);
	if (!c->bad && !name_ok(t->name))
		return err_set(err, E_FORMAT, "tensor %u: its name is not visible ASCII", i);
	if ((rc = parse_dims(c, i, t, err)) < 0)
		return rc;
	type = cur_u32(c);
	t->offset = cur_u64(c);
	if (c->bad)
		return err_set(err, E_TRUNC, "tensor %u: the file ends inside its header", i);
	if (!gtype_info(type))
		return err_set(err, E_UNSUPPORTED, "tensor %u: unknown type %u", i, type);
	t->type = type;
	if (!gtype_row_bytes(type, t->dims[0], &row))
		return err_set(err, E_RANGE, "tensor %u: its rows are no whole %s blocks", i,
			       gtype_name(type));
	if (mul_u64(row, t->elems / t->dims[0], &size) || size > SIZE_MAX)
		return err_set(err, E_RANGE, "tensor %u: too many bytes", i);
	t->data = span_of(NULL, (size_t)size);
	return 0;
}

static int place_tensor(const struct gguf *g, uint32_t i, struct gguf_tensor *t, struct err *err)
{
	uint64_t end;

	if (t->offset % g->alignment)
		return err_set(err, E_FORMAT, "tensor %u: its offset is not aligned", i);
	if (add_u64(t->offset, g->data_offset, &t->offset) || add_u64(t->offset, t->data.n, &end))
		return err_set(err, E_RANGE, "tensor %u: its offset is out of bounds", i);
	if (end > g->file.n)
		return err_set(err, E_TRUNC, "tensor %u: its data ends behind the file", i);
	t->data.p = g->file.p + t->offset;
	return 0;
}

struct extent {
	uint64_t from, to;
	uint32_t number;
};

static int extent_cmp(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

static int check_overlap(const struct gguf *g, struct err *err)
{
	struct extent *e;
	int rc = 0;

	if (g->n_tensors < 2)
		return 0;
	e = malloc(g->n_tensors * sizeof(*e));
	if (!e)
		return err_set(err, E_NOMEM, "no memory for %u tensors", g->n_tensors);
	for (uint32_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];

		e[i] = (struct extent){t->offset, t->offset + t->data.n, i};
	}
	qsort(e, g->n_tensors, sizeof(*e), extent_cmp);
	for (uint32_t i = 1; i < g->n_tensors && rc == 0; i++)
		if (e[i].from < e[i - 1].to)
			rc = err_set(err, E_FORMAT, "tensors %u and %u overlap", e[i - 1].number,
				     e[i].number);
	free(e);
	return rc;
}

int gguf_sort_tensors(struct gguf *g, struct err *err)
{
	free(g->order);
	g->order = calloc((size_t)g->n_tensors + 1, sizeof(*g->order));
	if (!g->order)
		return err_set(err, E_NOMEM, "no memory for %u tensors", g->n_tensors);
	qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), tensor_cmp);
	for (uint32_t i = 0; i < g->n_tensors; i++) {
		if (i && span_eq(g->tensors[i].name, g->tensors[i - 1].name))
			return err_set(err, E_FORMAT, "two tensors have the same name");
		g->order[g->tensors[i].number] = i;
	}
	return 0;
}

static int parse_head(struct gguf *g, struct cur *c, struct err *err)
{
	struct span magic = cur_span(c, 4);
	uint64_t nt, nk;

	if (c->bad || !span_eq(magic, SPAN_LIT("GGUF")))
		return err_set(err, E_FORMAT, "not a GGUF file");
	g->version = cur_u32(c);
	nt = cur_u64(c);
	nk = cur_u64(c);
	if (c->bad)
		return err_set(err, E_TRUNC, "the file ends inside its header");
	if (g->version != 2 && g->version != 3)
		return err_set(err, E_UNSUPPORTED,
			       "GGUF version %u; this build reads 2 and 3, little-endian",
			       g->version);
	if (nk > GGUF_MAX_KEYS)
		return err_set(err, E_RANGE, "more than %d metadata keys", GGUF_MAX_KEYS);
	if (nt > GGUF_MAX_TENSORS)
		return err_set(err, E_RANGE, "more than %d tensors", GGUF_MAX_TENSORS);
	/* A key takes at least 14 bytes, a tensor 33: no table larger than the file earns. */
	if (nk > cur_left(c) / 14 || nt > cur_left(c) / 33)
		return err_set(err, E_TRUNC, "the file is too short for its counts");
	g->n_keys = (uint32_t)nk;
	g->n_tensors = (uint32_t)nt;
	g->keys = calloc(nk + 1, sizeof(*g->keys));
	g->tensors = calloc(nt + 1, sizeof(*g->tensors));
	if (!g->keys || !g->tensors)
		return err_set(err, E_NOMEM, "no memory for the file's tables");
	return 0;
}

static int parse_keys(struct gguf *g, struct cur *c, struct err *err)
{
	uint32_t align = 32;
	int rc;

	for (uint32_t i = 0; i < g->n_keys; i++)
		if ((rc = parse_key(c, i, &g->keys[i], err)) < 0)
			return rc;
	qsort(g->keys, g->n_keys, sizeof(*g->keys), key_cmp);
	for (uint32_t i = 1; i < g->n_keys; i++)
		if (span_eq(g->keys[i].name, g->keys[i - 1].name))
			return err_set(err, E_FORMAT, "two keys have the same name");
	if (gguf_find(g, "general.alignment") && !gguf_u32(g, "general.alignment", &align))
		return err_set(err, E_FORMAT, "general.alignment is not a number");
	if (align == 0 || align > GGUF_MAX_ALIGN || (align & (align - 1)))
		return err_set(err, E_RANGE, "general.alignment %u is no power of two up to %u",
			       align, GGUF_MAX_ALIGN);
	g->alignment = align;
	return 0;
}

static int parse_tensors(struct gguf *g, struct cur *c, struct err *err)
{
	int rc;

	for (uint32_t i = 0; i < g->n_tensors; i++) {
		g->tensors[i].number = i;
		if ((rc = parse_tensor(c, i, &g->tensors[i], err)) < 0)
			return rc;
	}
	if (align_u64(c->off, g->alignment, &g->data_offset))
		return err_set(err, E_RANGE, "the data section is out of bounds");
	if (g->data_offset > g->file.n)
		g->data_offset = g->file.n; /* a vocabulary alone needs no padding */
	for (uint32_t i = 0; i < g->n_tensors; i++)
		if ((rc = place_tensor(g, i, &g->tensors[i], err)) < 0)
			return rc;
	if ((rc = check_overlap(g, err)) < 0)
		return rc;
	return gguf_sort_tensors(g, err);
}

int gguf_parse(struct gguf *g, struct span file, struct err *err)
{
	struct cur c = cur_init(file);
	int rc;

	memset(g, 0, sizeof(*g));
	g->file = file;
	g->bytes = file.n;
	if ((rc = parse_head(g, &c, err)) < 0 || (rc = parse_keys(g, &c, err)) < 0 ||
	    (rc = parse_tensors(g, &c, err)) < 0)
		gguf_free(g);
	return rc;
}

void gguf_free(struct gguf *g)
{
	free(g->keys);
	free(g->tensors);
	free(g->order);
	memset(g, 0, sizeof(*g));
}

const struct gguf_key *gguf_find(const struct gguf *g, const char *key)
{
	struct gguf_key want = {.name = span_cstr(key)};

	return g->n_keys ? bsearch(&want, g->keys, g->n_keys, sizeof(want), key_cmp) : NULL;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
	struct gguf_tensor want = {.name = span_cstr(name)};

	return g->n_tensors ? bsearch(&want, g->tensors, g->n_tensors, sizeof(want), tensor_cmp)
			    : NULL;
}
