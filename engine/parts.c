/* parts.c - see parts.h. Every part is a GGUF file of its own and was checked as one before; here
 * they are held against each other. */
#include "parts.h"

#include <stdlib.h>

#include "fault.h"
#include "num.h"

/* 1 when the file does not say that it is a part. */
static int read_count(const struct gguf *g, uint32_t *count, struct err *err)
{
	*count = 1;
	if (gguf_find(g, "split.count") && !gguf_u32(g, "split.count", count))
		return err_set(err, E_FORMAT, "split.count is no number that fits");
	if (*count == 0)
		*count = 1;
	return 0;
}

/* The number of each part; every one must be there once. at[no] = its place in part[]. */
static int find_places(const struct gguf *part, unsigned n, unsigned *at, struct err *err)
{
	uint32_t count, no = 0;
	int rc;

	for (unsigned i = 0; i < n; i++)
		at[i] = n;
	for (unsigned i = 0; i < n; i++) {
		if ((rc = read_count(&part[i], &count, err)) < 0)
			return rc;
		if (count == 1 && n > 1)
			return err_set(err, E_FORMAT,
				       "one of the %u files is no part of a split "
				       "model",
				       n);
		if (count != n)
			return err_set(err, E_FORMAT, "a model of %u parts, but %u %s given", count,
				       n, n == 1 ? "was" : "were");
		if (n > 1 && !gguf_u32(&part[i], "split.no", &no))
			return err_set(err, E_FORMAT, "a part has no split.no");
		if (no >= n)
			return err_set(err, E_FORMAT, "a part says it is number %u of %u", no + 1,
				       n);
		if (at[no] < n)
			return err_set(err, E_FORMAT, "part %u of %u is there twice", no + 1, n);
		at[no] = i;
	}
	return 0; /* n different numbers below n: none is missing */
}

static bool same_value(const struct gguf_key *a, const struct gguf_key *b)
{
	return a->type == b->type && span_eq(a->raw, b->raw) && a->arr.type == b->arr.type &&
	       a->arr.n == b->arr.n && span_eq(a->arr.raw, b->arr.raw);
}

/* Later parts have few keys or none but split.*: what they do say must be what the first says. */
static bool akin(const struct gguf *first, const struct gguf *g)
{
	uint32_t i = 0, k = 0;

	while (i < first->n_keys && k < g->n_keys) {
		const struct gguf_key *a = &first->keys[i], *b = &g->keys[k];
		size_t m = a->name.n < b->name.n ? a->name.n : b->name.n;
		int c = memcmp(a->name.p, b->name.p, m);

		if (c == 0)
			c = (a->name.n > b->name.n) - (a->name.n < b->name.n);
		if (c == 0 && !span_eq(a->name, SPAN_LIT("split.no")) &&
		    !span_eq(a->name, SPAN_LIT("general.alignment")) && !same_value(a, b))
			return false;
		i += c <= 0;
		k += c >= 0;
	}
	return true;
}

/* Tensors of all parts into all->tensors, which has room for them. */
static void gather(struct gguf *all, const struct gguf *part, unsigned n, const unsigned *at)
{
	uint32_t base = 0;

	for (unsigned no = 0; no < n; no++) {
		const struct gguf *g = &part[at[no]];

		for (uint32_t i = 0; i < g->n_tensors; i++) {
			struct gguf_tensor *t = &all->tensors[base + i];

			*t = g->tensors[i];
			t->number += base;
			t->part = no;
		}
		base += g->n_tensors;
	}
	all->n_tensors = base;
}

static int join(struct gguf *part, unsigned n, struct gguf *all, struct err *err)
{
	unsigned at[PARTS_MAX] = {0};
	uint32_t said = 0;
	uint64_t tensors = 0, bytes = 0;
	int rc = find_places(part, n, at, err);

	if (rc < 0)
		return rc;
	for (unsigned no = 0; no < n; no++) {
		const struct gguf *g = &part[at[no]];

		tensors += g->n_tensors;
		if (add_u64(bytes, g->file.n, &bytes))
			return err_set(err, E_RANGE, "the parts are too large");
		if (no > 0 && !akin(&part[at[0]], g))
			return err_set(err, E_FORMAT, "part %u of %u is of another model", no + 1,
				       n);
	}
	if (!gguf_u32(&part[at[0]], "split.tensors.count", &said))
		return err_set(err, E_FORMAT, "split.tensors.count is missing");
	if (said != tensors || tensors > GGUF_MAX_TENSORS)
		return err_set(err, E_FORMAT, "the parts have %llu tensors, but there are to be %u",
			       (unsigned long long)tensors, said);
	*all = part[at[0]];
	part[at[0]].keys = NULL;
	part[at[0]].order = NULL;
	all->bytes = bytes;
	all->tensors = FAULT("parts.join") ? NULL : calloc(tensors + 1, sizeof(*all->tensors));
	if (!all->tensors)
		return err_set(err, E_NOMEM, "no memory for %u tensors", said);
	gather(all, part, n, at);
	return gguf_sort_tensors(all, err);
}

int parts_join(struct gguf *part, unsigned n, struct gguf *all, struct err *err)
{
	uint32_t count;
	int rc;

	memset(all, 0, sizeof(*all));
	if (n == 1) {
		rc = read_count(part, &count, err);
		if (rc == 0 && count != 1)
			rc = err_set(err, E_FORMAT, "one part of %u: a split model needs all",
				     count);
		if (rc == 0) {
			*all = *part;
			memset(part, 0, sizeof(*part));
		}
	} else {
		rc = n < 1 || n > PARTS_MAX
			 ? err_set(err, E_RANGE, "%u files; at most %d", n, PARTS_MAX)
			 : join(part, n, all, err);
	}
	for (unsigned i = 0; i < n; i++)
		gguf_free(&part[i]);
	if (rc < 0)
		gguf_free(all);
	return rc;
}

int parts_open(struct parts *p, const int *fds, unsigned nfds, struct gguf *g, struct err *err)
{
	struct gguf part[PARTS_MAX];
	unsigned parsed = 0;
	int rc = 0;

	memset(p, 0, sizeof(*p));
	memset(g, 0, sizeof(*g));
	if (nfds < 1 || nfds > PARTS_MAX)
		return err_set(err, E_RANGE, "%u files; must be 1 to %d", nfds, PARTS_MAX);
	while (rc == 0 && p->n < nfds) {
		rc = gguf_map(fds[p->n], &p->map[p->n], err);
		p->n += rc == 0;
	}
	while (rc == 0 && parsed < nfds) {
		rc = gguf_parse(&part[parsed], p->map[parsed].bytes, err);
		parsed += rc == 0;
	}
	if (rc == 0)
		rc = parts_join(part, nfds, g, err);
	else
		while (parsed)
			gguf_free(&part[--parsed]);
	if (rc < 0)
		parts_close(p);
	return rc;
}

void parts_close(struct parts *p)
{
	while (p->n)
		gguf_unmap(&p->map[--p->n]);
}
