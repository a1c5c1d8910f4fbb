/* release.c - see release.h. */
#include "release.h"

#include "utf8.h"

void release_init(struct release *g, size_t max_text)
{
	*g = (struct release){.text = BUF_INIT(max_text)};
}

void release_free(struct release *g)
{
	buf_wipe_free(&g->text);
}

int release_stop(struct release *g, struct span stop)
{
	if (g->n_stops == RELEASE_STOPS || stop.n == 0 || stop.n > RELEASE_STOP_BYTES)
		return E_RANGE;
	g->stops[g->n_stops++] = stop;
	return 0;
}

/* Moves finished characters from the token's bytes into the text; malformed ones as U+FFFD. */
static void put_chars(struct release *g, struct span s)
{
	while (s.n > 0) {
		uint32_t cp;
		int n;

		g->part[g->n_part++] = s.p[0];
		s = span_from(s, 1);
		n = utf8_next(span_of(g->part, g->n_part), &cp);
		while (n < 0) {
			/* the first byte is wrong for itself; the others may begin anew */
			buf_puts(&g->text, "\xef\xbf\xbd");
			memmove(g->part, g->part + 1, --g->n_part);
			n = g->n_part ? utf8_next(span_of(g->part, g->n_part), &cp) : 0;
		}
		while (n > 0) {
			buf_put(&g->text, g->part, (size_t)n);
			g->n_part -= (unsigned)n;
			memmove(g->part, g->part + n, g->n_part);
			n = g->n_part ? utf8_next(span_of(g->part, g->n_part), &cp) : 0;
			while (n < 0) {
				buf_puts(&g->text, "\xef\xbf\xbd");
				memmove(g->part, g->part + 1, --g->n_part);
				n = g->n_part ? utf8_next(span_of(g->part, g->n_part), &cp) : 0;
			}
		}
	}
}

/* Where the first stop string begins that lies in judged text, or SIZE_MAX. What was judged before
 * holds none. */
static size_t find_stop(const struct release *g, size_t before)
{
	size_t from = before > RELEASE_STOP_BYTES ? before - RELEASE_STOP_BYTES : 0;
	size_t best = SIZE_MAX;

	for (unsigned i = 0; i < g->n_stops && g->judged > from; i++) {
		const char *at =
		    memmem(g->text.p + from, g->judged - from, g->stops[i].p, g->stops[i].n);

		if (at && (size_t)(at - g->text.p) < best)
			best = (size_t)(at - g->text.p);
	}
	return best;
}

void release_token(struct release *g, struct span bytes)
{
	if (g->end != REL_OPEN)
		return;
	g->tokens++;
	put_chars(g, bytes);
	if (!buf_ok(&g->text))
		g->end = REL_LENGTH;
}

void release_finish(struct release *g, enum release_end why)
{
	if (g->end != REL_OPEN)
		return;
	if (g->n_part > 0) {
		buf_puts(&g->text, "\xef\xbf\xbd");
		g->n_part = 0;
	}
	g->end = why;
}

struct span release_ask(struct release *g)
{
	g->asked = g->text.n;
	g->asked_tokens = g->tokens;
	return buf_span(&g->text);
}

void release_pass(struct release *g)
{
	size_t before = g->judged, cut;

	if (g->end == REL_FILTER || g->end == REL_ERROR)
		return;
	g->judged = g->asked;
	g->judged_tokens = g->asked_tokens;
	cut = find_stop(g, before);
	if (cut == SIZE_MAX)
		return;
	/* what was generated meanwhile is forgotten, its number too: no verdict covers it */
	g->asked = g->judged = g->text.n = cut;
	g->tokens = g->judged_tokens;
	g->n_part = 0;
	g->end = REL_STOP;
}

void release_block(struct release *g, enum release_end why)
{
	g->end = why;
	g->judged = g->released;
	if (g->asked < g->text.n)
		g->text.n = g->asked; /* the rest has no verdict: it is in no record either */
}

bool release_over(const struct release *g)
{
	if (g->end == REL_FILTER || g->end == REL_ERROR)
		return true;
	return g->end != REL_OPEN && g->judged == g->text.n && g->judged_tokens == g->tokens;
}

/* Bytes at the end of judged text that may be the beginning of a stop string. */
static size_t stop_tail(const struct release *g)
{
	size_t hold = 0;

	for (unsigned i = 0; i < g->n_stops; i++) {
		struct span s = g->stops[i];

		for (size_t k = s.n - 1; k > hold; k--)
			if (k <= g->judged && memcmp(g->text.p + g->judged - k, s.p, k) == 0) {
				hold = k;
				break;
			}
	}
	return hold;
}

size_t release_ready(const struct release *g)
{
	size_t to = g->judged;

	if (g->end == REL_FILTER || g->end == REL_ERROR || to <= g->released)
		return 0;
	if (g->end == REL_OPEN || to < g->text.n)
		to -= stop_tail(g);
	while (to > g->released && to < g->text.n && ((unsigned char)g->text.p[to] & 0xc0) == 0x80)
		to--;
	return to > g->released ? to - g->released : 0;
}

struct span release_take(struct release *g, uint32_t *tokens)
{
	size_t n = release_ready(g);
	struct span s = span_of(g->text.p ? g->text.p + g->released : "", n);

	*tokens = n || release_over(g) ? g->judged_tokens - g->out_tokens : 0;
	g->out_tokens += *tokens;
	g->released += n;
	return s;
}
