/* pda_nest.c - objects and arrays: keys, commas, brackets. */
#include "pda_priv.h"

/* ---- objects ---- */

/* Of the properties that may come now, one whose key lies in the sorted range can be entered. */
static bool key_open(struct pda *p, uint32_t frame, uint32_t lo, uint32_t hi)
{
	const struct frame *f = &p->fr[frame];
	const struct node *d = &p->s->nodes[f->node];
	const struct prop *props;
	uint32_t last;

	if (f->n >= d->n)
		return false;
	props = p->s->props + d->first;
	last = props[f->n].req == NONE ? d->n - 1 : props[f->n].req;
	p->work += hi - lo < last - f->n ? hi - lo : last - f->n;
	if (hi - lo < last - f->n) {
		for (uint32_t i = lo; i < hi; i++) {
			uint32_t k = p->s->order[d->first + i];

			if (k >= f->n && k <= last && pda_fits(p, frame, props[k].value))
				return true;
		}
		return false;
	}
	for (uint32_t k = f->n; k <= last; k++)
		if (props[k].pos >= lo && props[k].pos < hi && pda_fits(p, frame, props[k].value))
			return true;
	return false;
}

static bool none_required(const struct pda *p, uint32_t frame)
{
	const struct frame *f = &p->fr[frame];
	const struct node *d = &p->s->nodes[f->node];

	return f->n >= d->n || p->s->props[d->first + f->n].req == NONE;
}

/* A member that no property names may come. */
static bool other_open(const struct pda *p, uint32_t frame)
{
	const struct node *d = &p->s->nodes[p->fr[frame].node];

	return d->value != NONE && none_required(p, frame) && pda_fits(p, frame, d->value);
}

static void key_start(struct out *o, uint32_t frame)
{
	const struct node *d = &o->p->s->nodes[o->p->fr[frame].node];
	struct thr t = {.frame = frame, .mode = PM_KEY, .x = 1, .b = d->n};

	if (key_open(o->p, frame, 0, d->n))
		pda_emit(o, t);
	t.mode = PM_KEYSTR;
	t.x = d->n ? 1 : 0;
	if (other_open(o->p, frame))
		pda_emit(o, t);
}

void pda_key_step(struct out *o, struct thr t, uint8_t c)
{
	const struct schema *s = o->p->s;
	const struct node *d = &s->nodes[o->p->fr[t.frame].node];
	uint32_t k;

	if (!pda_narrow(s, d, pda_key_at, &t, c) || !key_open(o->p, t.frame, t.a, t.b))
		return;
	if (t.x < pda_key_at(s, d, t.a).n) {
		pda_emit(o, t);
		return;
	}
	k = s->order[d->first + t.a];
	t = (struct thr){.frame = pda_renew(o->p, t.frame, k + 1),
			 .node = s->props[d->first + k].value,
			 .mode = PM_VALUE,
			 .s = 1};
	if (t.frame != NONE)
		pda_emit(o, t);
}

/* A key of the model's own: written without escapes, so that bytes tell whether it is a property's.
 */
void pda_keystr_step(struct out *o, struct thr t, uint8_t c)
{
	const struct schema *s = o->p->s;
	const struct node *d = &s->nodes[o->p->fr[t.frame].node];
	bool close = c == '"' && t.s == STR_CLEAN;
	uint16_t x = 0;

	if (t.a < t.b && !pda_narrow(s, d, pda_key_at, &t, c)) {
		t.a = t.b = 0;
		t.x = 0;
	}
	if (close) {
		if (t.a < t.b)
			return; /* a property's name */
		t = (struct thr){.frame = pda_renew(o->p, t.frame, d->n), .mode = PM_COLON};
		if (t.frame != NONE)
			pda_emit(o, t);
		return;
	}
	if (str_step(&t.s, &x, c, false) >= 0)
		pda_emit(o, t);
}

void pda_obj_step(struct out *o, struct thr t, uint8_t c)
{
	if (c == ' ' && t.s) {
		t.s = 0;
		pda_emit(o, t);
	} else if (c == '"') {
		key_start(o, t.frame);
	} else if (c == '}' && t.mode == PM_OBJ_FIRST && none_required(o->p, t.frame)) {
		pda_emit(o, after(o->p->fr[t.frame].parent));
	}
}

/* ---- arrays, and what follows a value ---- */

static bool item_open(const struct pda *p, uint32_t frame)
{
	const struct frame *f = &p->fr[frame];
	const struct node *d = &p->s->nodes[f->node];

	return f->n < d->max && pda_fits(p, frame, d->value);
}

/* Items begun, as far as it matters. */
static uint32_t one_more(const struct pda *p, uint32_t frame)
{
	const struct frame *f = &p->fr[frame];
	const struct node *d = &p->s->nodes[f->node];

	return d->max == NONE && f->n >= d->min ? f->n : f->n + 1;
}

void pda_arr_first(struct out *o, struct thr t, uint8_t c)
{
	const struct node *d = &o->p->s->nodes[o->p->fr[t.frame].node];
	uint32_t frame;

	if (c == ' ' && t.s) {
		t.s = 0;
		pda_emit(o, t);
	} else if (c == ']') {
		if (d->min == 0)
			pda_emit(o, after(o->p->fr[t.frame].parent));
	} else if (item_open(o->p, t.frame)) {
		frame = pda_renew(o->p, t.frame, one_more(o->p, t.frame));
		if (frame != NONE)
			pda_value(o, frame, d->value, c);
	}
}

static bool can_close(const struct pda *p, uint32_t frame)
{
	const struct frame *f = &p->fr[frame];
	const struct node *d = &p->s->nodes[f->node];

	return d->kind == NK_OBJECT ? none_required(p, frame) : f->n >= d->min;
}

void pda_after_step(struct out *o, struct thr t, uint8_t c)
{
	const struct frame *f = &o->p->fr[t.frame];
	const struct node *d = &o->p->s->nodes[f->node];
	bool object = d->kind == NK_OBJECT;

	if (c == (object ? '}' : ']')) {
		if (can_close(o->p, t.frame))
			pda_emit(o, after(f->parent));
	} else if (c == ' ' && t.mode == PM_AFTER && can_close(o->p, t.frame)) {
		t.mode = PM_CLOSE;
		pda_emit(o, t);
	} else if (c == ',' && t.mode == PM_AFTER && object) {
		t.mode = PM_OBJ_NEXT;
		if (key_open(o->p, t.frame, 0, d->n) || other_open(o->p, t.frame))
			pda_emit(o, t);
	} else if (c == ',' && t.mode == PM_AFTER && item_open(o->p, t.frame)) {
		t = (struct thr){.frame = pda_renew(o->p, t.frame, one_more(o->p, t.frame)),
				 .node = d->value,
				 .mode = PM_VALUE,
				 .s = 1};
		if (t.frame != NONE)
			pda_emit(o, t);
	}
}
