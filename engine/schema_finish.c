/* schema_finish.c - what needs the whole schema: alternatives of alternatives are resolved (so that
 * a circle of references ends), and every part learns how much nesting its smallest value needs (so
 * that the automaton never enters what it could not leave again). */
#include <stdlib.h>

#include "fault.h"
#include "schema_build.h"

/* Everything but ANYOF that node id may stand for, each once. mark[]: id + 1 of who saw it. */
static int resolve(struct build *b, uint32_t id, uint32_t *mark, uint32_t *stack)
{
	struct schema *s = b->s;
	uint32_t n = 0, from = s->n_leaves;

	stack[n++] = id;
	mark[id] = id + 1;
	while (n > 0) {
		uint32_t at = stack[--n];
		const struct node *d = &s->nodes[at];

		if (b->visits++ == SCHEMA_MAX_VISITS)
			return refuse(b, E_RANGE, 0, "references that lead too far");

		if (d->kind == NK_ANYOF) {
			for (uint32_t i = d->n; i-- > 0;) {
				uint32_t to = b->alts[d->first + i];

				if (mark[to] == id + 1)
					continue;
				mark[to] = id + 1;
				stack[n++] = to;
			}
			continue;
		}
		if (s->n_leaves - from == SCHEMA_MAX_ALTS)
			return refuse(b, E_RANGE, b->doc_of[id] == NONE ? 0 : b->doc_of[id],
				      "more than %u alternatives for one value", SCHEMA_MAX_ALTS);
		if (!vec_room(&s->leaves, s->n_leaves, &s->cap_leaves, sizeof(*s->leaves)))
			return err_set(b->err, E_NOMEM, "no memory for a schema");
		s->leaves[s->n_leaves++] = at;
	}
	return 0;
}

static int resolve_all(struct build *b)
{
	struct schema *s = b->s;
	uint32_t *mark = calloc(s->n_nodes, sizeof(*mark));
	uint32_t *stack = calloc(s->n_nodes, sizeof(*stack));
	uint32_t *from = calloc(s->n_nodes + 1, sizeof(*from));
	int rc = mark && stack && from ? 0 : err_set(b->err, E_NOMEM, "no memory for a schema");

	for (uint32_t i = 0; i < s->n_nodes && rc == 0; i++) {
		from[i] = s->n_leaves;
		if (s->nodes[i].kind == NK_ANYOF)
			rc = resolve(b, i, mark, stack);
		from[i + 1] = s->n_leaves;
	}
	for (uint32_t i = 0; i < s->n_nodes && rc == 0; i++)
		if (s->nodes[i].kind == NK_ANYOF) {
			s->nodes[i].first = from[i];
			s->nodes[i].n = from[i + 1] - from[i];
		}
	free(mark);
	free(stack);
	free(from);
	return rc;
}

static uint32_t height_of(const struct schema *s, const struct node *d)
{
	uint32_t h = d->kind == NK_ANYOF ? HEIGHT_NONE : 0, k;

	switch (d->kind) {
	case NK_ANYOF:
		for (uint32_t i = 0; i < d->n; i++) {
			k = s->nodes[s->leaves[d->first + i]].height;
			h = k < h ? k : h;
		}
		return h;
	case NK_OBJECT:
		for (uint32_t i = 0; i < d->n; i++) {
			const struct prop *p = &s->props[d->first + i];

			k = p->required ? s->nodes[p->value].height : 0;
			h = k > h ? k : h;
		}
		h++;
		break;
	case NK_ARRAY:
		h = 1 + (d->min ? s->nodes[d->value].height : 0);
		break;
	default:
		return 0;
	}
	return h > SCHEMA_MAX_DEPTH ? HEIGHT_NONE : h;
}

int schema_finish(struct build *b)
{
	struct schema *s = b->s;
	bool again = true;
	int rc = resolve_all(b);

	if (rc < 0)
		return rc;
	for (unsigned round = 0; again && round <= SCHEMA_MAX_DEPTH + 2; round++) {
		again = false;
		for (uint32_t i = 0; i < s->n_nodes; i++) {
			uint32_t h = height_of(s, &s->nodes[i]);

			again = again || h != s->nodes[i].height;
			s->nodes[i].height = h;
		}
	}
	if (s->nodes[s->root].height > SCHEMA_MAX_DEPTH)
		return refuse(b, E_UNSUPPORTED, 0,
			      "no value of at most %u levels satisfies the schema",
			      SCHEMA_MAX_DEPTH);
	return 0;
}
