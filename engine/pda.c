/* pda.c - the automaton over bytes: a set of threads, each a place in the schema with a stack.
 * Every thread that lives can be brought to a whole value (the height of a part is asked before it
 * is entered), so cutting a set at THREADS loses answers but never leads into a dead end. A
 * thread's first successor always has room. */
#include "pda_priv.h"

#define STEP_WORK 8u /* of one thread, in comparisons */

/* Node id may begin inside this frame. */
bool pda_fits(const struct pda *p, uint32_t frame, uint32_t id)
{
	return pda_depth(p, frame) + p->s->nodes[id].height <= SCHEMA_MAX_DEPTH;
}

static bool same_stack(struct pda *p, uint32_t a, uint32_t b)
{
	for (; a != b; p->work += 2) {
		const struct frame *x, *y;

		if (a == NONE || b == NONE)
			return false;
		x = p->fr + a;
		y = p->fr + b;
		if (x->hash != y->hash || x->node != y->node || x->n != y->n ||
		    x->depth != y->depth)
			return false;
		a = x->parent;
		b = y->parent;
	}
	return true;
}

/* False: such a thread is there already, or there is no room for one more. */
bool pda_emit(struct out *o, struct thr t)
{
	o->p->work += o->n;
	for (uint32_t i = 0; i < o->n; i++) {
		const struct thr *u = &o->t[i];

		if (u->node == t.node && u->mode == t.mode && u->s == t.s && u->x == t.x &&
		    u->a == t.a && u->b == t.b && u->v == t.v &&
		    same_stack(o->p, u->frame, t.frame))
			return false;
	}
	if (o->n >= o->room)
		return false;
	o->t[o->n++] = t;
	return true;
}

/* A frame on top of `parent`; NONE when the room is used up, which pda_step's callers prevent. */
static uint32_t push(struct pda *p, uint32_t parent, uint32_t node, uint32_t n)
{
	uint64_t h = parent == NONE ? 1 : p->fr[parent].hash;

	if (p->n_fr == p->cap_fr)
		return NONE;
	h = (h << 32 ^ (uint64_t)node << 31 ^ n) * 0x9e3779b97f4a7c15u;
	p->fr[p->n_fr] =
	    (struct frame){parent, node, n, pda_depth(p, parent) + 1, (uint32_t)(h >> 32)};
	return p->n_fr++;
}

/* The same frame with another n. */
uint32_t pda_renew(struct pda *p, uint32_t frame, uint32_t n)
{
	const struct frame f = p->fr[frame];

	return f.n == n ? frame : push(p, f.parent, f.node, n);
}

/* ---- literals ---- */

static const char *lit_text(const struct schema *s, struct lit l)
{
	return s->blob.p + l.off;
}

struct lit pda_enum_at(const struct schema *s, const struct node *d, uint32_t i)
{
	return s->lits[d->first + i];
}

struct lit pda_key_at(const struct schema *s, const struct node *d, uint32_t i)
{
	return s->props[d->first + s->order[d->first + i]].key;
}

static uint32_t lower(const struct schema *s, const struct node *d, lit_at key, uint32_t lo,
		      uint32_t hi, uint32_t at, int c)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		struct lit l = key(s, d, mid);
		int have = at < l.n ? (uint8_t)lit_text(s, l)[at] : -1;

		if (have < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool pda_narrow(const struct schema *s, const struct node *d, lit_at key, struct thr *t, uint8_t c)
{
	t->a = lower(s, d, key, t->a, t->b, t->x, c);
	t->b = lower(s, d, key, t->a, t->b, t->x, c + 1);
	t->x++;
	return t->a < t->b;
}

/* ---- the beginning of a value ---- */

static void leaf_start(struct out *o, uint32_t frame, uint32_t id, uint8_t c)
{
	const struct node *d = &o->p->s->nodes[id];
	struct thr t = {.frame = frame, .node = id};

	if (!pda_fits(o->p, frame, id))
		return;
	switch (d->kind) {
	case NK_OBJECT:
	case NK_ARRAY:
		if (c != (d->kind == NK_OBJECT ? '{' : '['))
			return;
		t.frame = push(o->p, frame, id, 0);
		t.mode = d->kind == NK_OBJECT ? PM_OBJ_FIRST : PM_ARR_FIRST;
		t.node = 0;
		t.s = 1;
		if (t.frame != NONE && !pda_emit(o, t))
			o->p->n_fr--; /* nobody keeps it */
		return;
	case NK_STRING:
		t.mode = d->dfa ? PM_DFA : PM_STR;
		t.a = d->dfa ? dfa_start(d->dfa) : 0;
		if (c == '"')
			pda_emit(o, t);
		return;
	case NK_NUMBER:
	case NK_INTEGER:
		t.mode = PM_NUM;
		if (num_step(&t, c, d->kind == NK_INTEGER))
			pda_emit(o, t);
		return;
	case NK_FIXED:
		t.mode = PM_FIX;
		if (fix_step(d, &t, c))
			pda_emit(o, t);
		return;
	default:
		t.mode = PM_LIT;
		t.b = d->n;
		if (pda_narrow(o->p->s, d, pda_enum_at, &t, c))
			pda_emit(o, t);
	}
}

void pda_value(struct out *o, uint32_t frame, uint32_t id, uint8_t c)
{
	const struct schema *s = o->p->s;
	const struct node *d = &s->nodes[id];

	if (d->kind != NK_ANYOF) {
		leaf_start(o, frame, id, c);
		return;
	}
	o->p->work += d->n * STEP_WORK;
	for (uint32_t i = 0; i < d->n; i++)
		leaf_start(o, frame, s->leaves[d->first + i], c);
}

/* ---- strings and numbers ---- */

static void str_thread(struct out *o, struct thr t, uint8_t c)
{
	const struct node *d = &o->p->s->nodes[t.node];
	int began;

	if (c == '"' && t.s == STR_CLEAN) {
		if (t.a >= d->min)
			pda_emit(o, after(t.frame));
		return;
	}
	began = str_step(&t.s, &t.x, c, true);
	if (began < 0 || (began && t.a >= d->max))
		return;
	if (began && (d->max != NONE || t.a < d->min))
		t.a++;
	pda_emit(o, t);
}

static void dfa_thread(struct out *o, struct thr t, uint8_t c)
{
	const struct dfa *d = o->p->s->nodes[t.node].dfa;

	if (c == '"') {
		if (dfa_accepts(d, t.a))
			pda_emit(o, after(t.frame));
		return;
	}
	t.a = dfa_next(d, t.a, c);
	if (t.a != NONE)
		pda_emit(o, t);
}

/* The value of t may end before the next byte. */
static bool may_end(const struct pda *p, const struct thr *t)
{
	const struct node *d = &p->s->nodes[t->node];

	switch ((enum pmode)t->mode) {
	case PM_NUM:
		return num_done(t);
	case PM_FIX:
		return fix_done(d, t);
	case PM_LIT:
		return pda_enum_at(p->s, d, t->a).n == t->x;
	default:
		return false;
	}
}

/* Numbers and listed values: they end where what follows them begins. */
static void open_ended(struct out *o, struct thr t, uint8_t c)
{
	const struct schema *s = o->p->s;
	const struct node *d = &s->nodes[t.node];
	struct thr on = t;
	bool goes_on = t.mode == PM_NUM	  ? num_step(&on, c, d->kind == NK_INTEGER)
		       : t.mode == PM_FIX ? fix_step(d, &on, c)
					  : pda_narrow(s, d, pda_enum_at, &on, c);

	if (goes_on)
		pda_emit(o, on);
	if (may_end(o->p, &t) && t.frame != NONE)
		pda_after_step(o, after(t.frame), c);
}

/* ---- one byte ---- */

static void step(struct out *o, struct thr t, uint8_t c)
{
	switch ((enum pmode)t.mode) {
	case PM_VALUE:
		if (c == ' ' && t.s) {
			t.s = 0;
			pda_emit(o, t);
		} else {
			pda_value(o, t.frame, t.node, c);
		}
		return;
	case PM_STR:
		str_thread(o, t, c);
		return;
	case PM_DFA:
		dfa_thread(o, t, c);
		return;
	case PM_NUM:
	case PM_FIX:
	case PM_LIT:
		open_ended(o, t, c);
		return;
	case PM_OBJ_FIRST:
	case PM_OBJ_NEXT:
		pda_obj_step(o, t, c);
		return;
	case PM_KEY:
		pda_key_step(o, t, c);
		return;
	case PM_KEYSTR:
		pda_keystr_step(o, t, c);
		return;
	case PM_COLON:
		if (c == ':')
			pda_emit(o,
				 (struct thr){.frame = t.frame,
					      .node = o->p->s->nodes[o->p->fr[t.frame].node].value,
					      .mode = PM_VALUE,
					      .s = 1});
		return;
	case PM_AFTER:
	case PM_CLOSE:
		pda_after_step(o, t, c);
		return;
	case PM_ARR_FIRST:
		pda_arr_first(o, t, c);
		return;
	case PM_END:
		return;
	}
}

uint32_t pda_step(struct pda *p, const struct thr *in, uint32_t n, uint8_t c, struct thr *out)
{
	struct out o = {.p = p, .t = out};

	p->work += n * STEP_WORK;
	for (uint32_t i = 0; i < n; i++) {
		o.room = THREADS - (n - 1 - i);
		step(&o, in[i], c);
	}
	return o.n;
}

uint32_t pda_start(const struct pda *p, struct thr *out)
{
	out[0] = (struct thr){.frame = NONE, .node = p->s->root, .mode = PM_VALUE};
	return 1;
}

void pda_tidy(struct pda *p, struct thr *t, uint32_t n, struct frame *spare)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t from = t[i].frame, *link = &t[i].frame;

		for (; from != NONE; from = p->fr[from].parent) {
			spare[used] = p->fr[from];
			*link = used;
			link = &spare[used++].parent;
		}
	}
	memcpy(p->fr, spare, used * sizeof(*spare));
	p->n_fr = used;
}

bool pda_complete(const struct pda *p, const struct thr *t, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (t[i].frame == NONE && (t[i].mode == PM_END || may_end(p, &t[i])))
			return true;
	return false;
}

bool pda_free_text(const struct pda *p, const struct thr *t, uint32_t *room)
{
	const struct node *d = &p->s->nodes[t->node];

	if (t->s != STR_CLEAN || (t->mode != PM_STR && t->mode != PM_KEYSTR))
		return false;
	*room = t->mode == PM_KEYSTR || d->max == NONE ? NONE : d->max - t->a;
	return true;
}
