/* verify_pairs.c - every request.intent has its request.outcome: an open-addressing table of the
 * requests now open. More than that many at once is counted, not followed. */
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "id.h"
#include "num.h"
#include "verify_int.h"

#define SLOTS (1u << 17) /* 3 MiB; open requests are few in any log of ours */

struct slot {
	uint8_t id[16];
	uint8_t used; /* 0 free, 1 taken, 2 was taken */
};

struct pairing {
	struct slot slot[SLOTS];
	uint32_t open, touched;
	bool over; /* too many: only the counts hold */
};

struct pairing *pairing_new(void)
{
	return calloc(1, sizeof(struct pairing));
}

void pairing_free(struct pairing *p)
{
	free(p);
}

static void key_of(struct span req, uint8_t out[16])
{
	uint8_t h[SHA256_BYTES];

	sha256(req, h);
	memcpy(out, h, 16);
}

/* The slot that holds id, or the first free one on its way. */
static struct slot *find(struct pairing *p, const uint8_t id[16])
{
	uint32_t i = get_le32(id) & (SLOTS - 1);

	while (p->slot[i].used && !(p->slot[i].used == 1 && memcmp(p->slot[i].id, id, 16) == 0))
		i = (i + 1) & (SLOTS - 1);
	return &p->slot[i];
}

/* Removed slots only lengthen the ways; make the table anew before it fills with them. */
static void rebuild(struct pairing *p)
{
	struct slot *keep = malloc(((size_t)p->open + 1) * sizeof(*keep));
	uint32_t n = 0;

	if (keep == NULL) {
		p->over = true;
		return;
	}
	for (uint32_t i = 0; i < SLOTS; i++)
		if (p->slot[i].used == 1)
			keep[n++] = p->slot[i];
	memset(p->slot, 0, sizeof(p->slot));
	for (uint32_t i = 0; i < n; i++)
		*find(p, keep[i].id) = keep[i];
	p->touched = n;
	free(keep);
}

bool pairing_add(struct pairing *p, struct span entry, struct verify_result *r)
{
	struct entry_look l;
	bool intent, outcome;
	struct slot *s;
	uint8_t id[16];

	if (!entry_peek(entry, &l))
		return true; /* opaque bytes: not ours to pair */
	intent = span_eq(l.t, SPAN_LIT("request.intent"));
	outcome = span_eq(l.t, SPAN_LIT("request.outcome"));
	if (!intent && !outcome)
		return true;
	*(intent ? &r->intents : &r->outcomes) += 1;
	if (!p->over && p->touched > SLOTS / 2)
		rebuild(p);
	if (p->over || p->open > SLOTS / 2) {
		p->over = true;
		return true;
	}
	key_of(l.req, id);
	s = find(p, id);
	if ((s->used == 1) == intent)
		return false;
	if (intent) {
		memcpy(s->id, id, 16);
		s->used = 1;
		p->open++;
		p->touched++;
	} else {
		s->used = 2;
		p->open--;
	}
	return true;
}
