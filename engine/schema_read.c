/* schema_read.c - what a pattern makes an answer say, for those who judge the prompt: "[H][o]w"
 * must not hide a word from them. A few texts that match, which together pass through every state
 * of the table, found breadth first. */
#include <stdlib.h>

#include "fault.h"
#include "schema_re.h"

#define RUN 3u	  /* of one character; more of it says no more */
#define PRICE 16u /* of looking at one state */

struct walk {
	const struct dfa *d;
	uint16_t queue[RE_DFA], from[RE_DFA];
	uint8_t by[RE_DFA], seen[RE_DFA];
	uint32_t n; /* states met, nearest first */
};
struct reading {
	struct walk ahead, home;
	uint8_t passed[RE_DFA];
	char text[2 * RE_DFA];
	uint32_t n;
};

/* Of several characters the one that makes a word: in "[!H][~o]" signs must not hide the letters.
 */
static const char order[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
			    "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"; /* the alphabet of schema_re.h */

/* All states that can be reached, or those up to the nearest end. */
static uint32_t walk(struct walk *w, uint32_t start, bool to_end)
{
	memset(w->seen, 0, sizeof(w->seen));
	w->queue[0] = (uint16_t)start;
	w->seen[start] = 1;
	w->n = 1;
	for (uint32_t i = 0; i < w->n; i++) {
		uint16_t at = w->queue[i];

		if (to_end && dfa_accepts(w->d, at))
			return at;
		for (const char *c = order; *c; c++) {
			uint32_t to = dfa_next(w->d, at, (uint8_t)*c);

			if (to == NONE || w->seen[to])
				continue;
			w->seen[to] = 1;
			w->from[to] = at;
			w->by[to] = (uint8_t)*c;
			w->queue[w->n++] = (uint16_t)to;
		}
	}
	return start;
}

/* The way that w found from start to `to`, behind what r has. */
static void follow(struct reading *r, const struct walk *w, uint32_t to)
{
	uint32_t start = w->queue[0], n = 0;

	for (uint32_t at = to; at != start; at = w->from[at])
		n++;
	r->n += n;
	for (uint32_t at = to, k = r->n; at != start; at = w->from[at]) {
		r->text[--k] = (char)w->by[at];
		r->passed[at] = 1;
	}
	r->passed[start] = 1;
}

static void put(const struct reading *r, struct buf *out)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < r->n; i++) {
		run = i && r->text[i] == r->text[i - 1] ? run + 1 : 1;
		if (run <= RUN)
			buf_putc(out, r->text[i]);
	}
	buf_putc(out, '\n');
}

static bool read_one(struct reading *r, uint64_t *work, struct buf *out)
{
	uint32_t i = r->ahead.n, end;

	while (i > 0 && r->passed[r->ahead.queue[i - 1]])
		i--;
	if (i == 0)
		return false; /* all passed */
	r->n = 0;
	follow(r, &r->ahead, r->ahead.queue[i - 1]);
	end = walk(&r->home, r->ahead.queue[i - 1], true);
	*work -= *work < PRICE * r->home.n ? *work : PRICE * r->home.n;
	follow(r, &r->home, end);
	put(r, out);
	return *work > 0 && buf_ok(out);
}

int dfa_read(const struct dfa *d, uint64_t *work, struct buf *out)
{
	struct reading *r = FAULT("schema.alloc") ? NULL : calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return E_NOMEM;
	r->ahead.d = r->home.d = d;
	walk(&r->ahead, dfa_start(d), false);
	while (read_one(r, work, out))
		;
	rc = *work && buf_ok(out) ? 0 : E_UNSUPPORTED;
	explicit_bzero(r, sizeof(*r));
	free(r);
	return rc;
}
