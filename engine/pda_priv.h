/* pda_priv.h - between pda.c (values) and pda_nest.c (objects and arrays). */
#ifndef SP_ENGINE_PDA_PRIV_H
#define SP_ENGINE_PDA_PRIV_H

#include "schema_priv.h"

struct out { /* threads behind the byte that is taken */
	struct pda *p;
	struct thr *t;
	uint32_t n, room;
};

static inline uint32_t pda_depth(const struct pda *p, uint32_t frame)
{
	return frame == NONE ? 0 : p->fr[frame].depth;
}

/* The place behind a value that ended inside this frame. */
static inline struct thr after(uint32_t frame)
{
	return (struct thr){.frame = frame, .mode = frame == NONE ? PM_END : PM_AFTER, .s = 1};
}

/* Node id may begin inside this frame. */
bool pda_fits(const struct pda *p, uint32_t frame, uint32_t id);
/* False: such a thread is there already, or there is no room for one more. */
bool pda_emit(struct out *o, struct thr t);
/* The same frame with another n; NONE: no room. */
uint32_t pda_renew(struct pda *p, uint32_t frame, uint32_t n);
/* The i-th of a node's sorted literals: of an enum, of an object's keys. */
typedef struct lit (*lit_at)(const struct schema *s, const struct node *d, uint32_t i);
struct lit pda_enum_at(const struct schema *s, const struct node *d, uint32_t i);
struct lit pda_key_at(const struct schema *s, const struct node *d, uint32_t i);
/* Of a sorted range that agrees in t->x bytes: keeps the part whose next byte is c. False: none. */
bool pda_narrow(const struct schema *s, const struct node *d, lit_at key, struct thr *t, uint8_t c);
/* First byte of a value of node id. */
void pda_value(struct out *o, uint32_t frame, uint32_t id, uint8_t c);

/* pda_nest.c: one byte for a thread in that mode */
void pda_obj_step(struct out *o, struct thr t, uint8_t c);
void pda_key_step(struct out *o, struct thr t, uint8_t c);
void pda_keystr_step(struct out *o, struct thr t, uint8_t c);
void pda_arr_first(struct out *o, struct thr t, uint8_t c);
void pda_after_step(struct out *o, struct thr t, uint8_t c);

#endif
