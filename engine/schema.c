/* schema.c - see mask.h: a schema from its text to its compiled form, and its end. */
#include <stdatomic.h>
#include <stdlib.h>

#include "fault.h"
#include "schema_build.h"

static _Atomic uint64_t ids; /* given so far */

bool vec_room(void *p, uint32_t n, uint32_t *cap, size_t each)
{
	uint32_t more = *cap ? *cap * 2 : 16;
	void *old, *got;

	if (n < *cap)
		return true;
	memcpy(&old, p, sizeof(old));
	if (FAULT("schema.alloc") || !(got = reallocarray(old, more, each)))
		return false;
	memcpy(p, &got, sizeof(got));
	*cap = more;
	return true;
}

int lit_cmp(const struct schema *s, struct lit a, struct lit b)
{
	uint32_t n = a.n < b.n ? a.n : b.n;
	int c = memcmp(s->blob.p + a.off, s->blob.p + b.off, n);

	return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

static struct lit word_lit(struct schema *s, const char *text)
{
	struct lit l = {(uint32_t)s->blob.n, (uint32_t)strlen(text)};

	buf_puts(&s->blob, text);
	return l;
}

/* The nodes that stand for "anything": each alternative, and objects and arrays of anything. */
static int builtin(struct schema *s, struct err *err)
{
	static const enum nkind kinds[] = {NK_ANYOF,  NK_OBJECT, NK_ARRAY, NK_STRING,
					   NK_NUMBER, NK_LIT,	 NK_LIT};

	for (uint32_t i = 0; i < NODE_BUILTIN; i++) {
		struct node d = {.kind = kinds[i], .value = NONE, .max = NONE};

		d.height = HEIGHT_NONE;
		if (i == NODE_OBJECT || i == NODE_ARRAY)
			d.value = NODE_ANY;
		if (!vec_room(&s->nodes, s->n_nodes, &s->cap_nodes, sizeof(*s->nodes)) ||
		    !vec_room(&s->lits, s->n_lits + 3, &s->cap_lits, sizeof(*s->lits)))
			return err_set(err, E_NOMEM, "no memory for a schema");
		s->nodes[s->n_nodes++] = d;
	}
	s->nodes[NODE_BOOL].n = 2;
	s->nodes[NODE_NULL].first = 2;
	s->nodes[NODE_NULL].n = 1;
	s->lits[0] = word_lit(s, "false");
	s->lits[1] = word_lit(s, "true");
	s->lits[2] = word_lit(s, "null");
	s->n_lits = 3;
	return buf_ok(&s->blob) ? 0 : err_set(err, E_NOMEM, "no memory for a schema");
}

static int build_start(struct build *b, struct err *err)
{
	struct schema *s = FAULT("schema.alloc") ? NULL : calloc(1, sizeof(*s));
	int rc;

	b->s = s;
	b->err = err;
	b->work = SCHEMA_RE_WORK;
	if (!s)
		return err_set(err, E_NOMEM, "no memory for a schema");
	s->id = atomic_fetch_add(&ids, 1) + 1;
	s->refs = 1;
	/* room behind the cap for what crosses it: a text at most, all of it escaped */
	s->blob = BUF_INIT(SCHEMA_MAX_BLOB + 8u * SCHEMA_MAX_BYTES);
	s->words = BUF_INIT(2u * SCHEMA_MAX_BYTES + SCHEMA_MAX_READING);
	if ((rc = builtin(s, err)) < 0)
		return rc;
	for (uint32_t i = 0; i < NODE_BUILTIN; i++) {
		if (!vec_room(&b->doc_of, i, &b->cap_doc_of, sizeof(*b->doc_of)) ||
		    !vec_room(&b->alts, i, &b->cap_alts, sizeof(*b->alts)))
			return err_set(err, E_NOMEM, "no memory for a schema");
		b->doc_of[i] = NONE;
		if (i != NODE_ANY)
			b->alts[b->n_alts++] = i;
	}
	s->nodes[NODE_ANY].n = b->n_alts;
	return 0;
}

static void build_end(struct build *b)
{
	json_free(&b->doc);
	free(b->node_of);
	free(b->doc_of);
	free(b->alts);
	free(b->re);
}

/* Takes the room at once: a buffer that grows leaves what it held in freed memory. */
static void room(struct buf *b, size_t n)
{
	if (buf_grow(b, n))
		b->n -= n;
}

static void add_words(struct schema *s, struct span text)
{
	buf_span_put(&s->words, text);
	if (text.n)
		buf_putc(&s->words, '\n');
}

/* All its words will need. */
static size_t words_room(const struct jdoc *d)
{
	size_t n = d->mem_cap + 2 * d->n;

	for (uint32_t i = 0; i < d->n; i++)
		if (span_eq(d->v[i].key, SPAN_LIT("pattern")))
			return n + SCHEMA_MAX_READING;
	return n;
}

static int compile(struct build *b)
{
	struct schema *s = b->s;
	int rc = 0;

	if (!(b->node_of = calloc(b->doc.n, sizeof(*b->node_of))))
		return err_set(b->err, E_NOMEM, "no memory for a schema");
	room(&s->words, words_room(&b->doc));
	s->words.max = s->words.cap; /* it does not move any more */
	room(&s->blob, b->doc.mem_cap);
	for (uint32_t i = 0; i < b->doc.n; i++) {
		b->node_of[i] = NONE;
		add_words(s, b->doc.v[i].key);
		add_words(s, b->doc.v[i].text);
	}
	if (!buf_ok(&s->words))
		return err_set(b->err, E_NOMEM, "no memory for a schema");
	if ((s->root = node_for(b, 0)) == NONE)
		return E_NOMEM;
	for (uint32_t i = NODE_BUILTIN; i < s->n_nodes && rc == 0; i++)
		if (b->doc_of[i] != NONE)
			rc = node_fill(b, i, b->doc_of[i]);
	return rc < 0 ? rc : schema_finish(b);
}

int schema_compile(struct span text, struct schema **out, struct err *err)
{
	struct err local = {0};
	struct build b = {0};
	int rc;

	*out = NULL;
	err = err ? err : &local; /* places that fail deep inside leave their code there */
	rc = build_start(&b, err);
	if (rc == 0 && (rc = json_read(&b.doc, text, err)) == 0)
		rc = compile(&b);
	build_end(&b);
	if (rc < 0)
		schema_free(b.s);
	else
		*out = b.s;
	return rc;
}

int schema_any_object(struct schema **out, struct err *err)
{
	return schema_compile(SPAN_LIT("{\"type\":\"object\"}"), out, err);
}

struct span schema_words(const struct schema *s)
{
	return buf_span(&s->words);
}

void schema_free(struct schema *s)
{
	if (!s || --s->refs > 0)
		return;
	for (uint32_t i = 0; i < s->n_dfas; i++)
		dfa_free(s->dfas[i]);
	free(s->dfas);
	free(s->nodes);
	free(s->props);
	free(s->order);
	free(s->lits);
	free(s->leaves);
	buf_wipe_free(&s->blob);
	buf_wipe_free(&s->words);
	free(s);
}
