/* draft.c - guesses at what a chat says next (prompt lookup: Saxena, 2023): the last few tokens are
 * looked for earlier in what the sequence was given and has said; what followed there is guessed to
 * follow again. Guesses are computed as rows of class D behind the token drawn last, and each
 * counts only when the very same token is drawn. So what is said does not depend on them: a draw
 * depends on seed and position, a row of class D on its own tokens.
 *
 * The ids looked in need not be exactly the sequence's: a wrong guess costs time only. */
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"

#define GRAM 3	     /* tokens looked for, at most */
#define LEAST_GRAM 2 /* and at least: single tokens guess badly */
#define LOOK 16384   /* the newest ids looked in */

void draft_see(struct seq *s, const int32_t *ids, uint32_t n)
{
	uint32_t cap = s->past_cap ? s->past_cap : 256;
	int32_t *p;

	if (s->cfg.role == SEQ_GUARD || n > UINT32_MAX / 8 - s->n_past)
		return;
	if (s->n_past > s->cfg.max_tokens)
		draft_forget(s, 0); /* appends that were cancelled add up */
	while (cap < s->n_past + n)
		cap *= 2;
	if (cap != s->past_cap) {
		if (!(p = calloc(cap, sizeof(*p))))
			return; /* nothing is guessed from these */
		if (s->n_past)
			memcpy(p, s->past, s->n_past * sizeof(*p));
		draft_free(s);
		s->past = p;
		s->past_cap = cap;
	}
	memcpy(s->past + s->n_past, ids, n * sizeof(*ids));
	s->n_past += n;
}

void draft_forget(struct seq *s, uint32_t keep)
{
	if (s->n_past <= keep)
		return;
	explicit_bzero(s->past + keep, (s->n_past - keep) * sizeof(*s->past));
	s->n_past = keep;
}

void draft_free(struct seq *s)
{
	if (s->past)
		explicit_bzero(s->past, s->past_cap * sizeof(*s->past));
	free(s->past);
	s->past = NULL;
	s->past_cap = 0;
}

struct text { /* what was given, then what was said */
	const int32_t *past, *said;
	uint32_t n_past, n;
};

static int32_t at(const struct text *t, uint32_t i)
{
	return i < t->n_past ? t->past[i] : t->said[i - t->n_past];
}

/* Where the last `gram` tokens stood before, newest first: what follows them there; 0 = nowhere. */
static uint32_t look(const struct text *t, uint32_t gram)
{
	uint32_t oldest = t->n > LOOK ? t->n - LOOK : 0;

	for (uint32_t end = t->n - 1; end >= oldest + gram; end--) {
		uint32_t k = 0;

		while (k < gram && at(t, end - 1 - k) == at(t, t->n - 1 - k))
			k++;
		if (k == gram)
			return end;
	}
	return 0;
}

void draft_make(struct job *j, uint32_t most)
{
	const struct seq *s = j->seq;
	struct text t = {s->past, j->tokens, s->n_past, s->n_past + j->n_tokens};
	uint32_t from = 0, room = s->cfg.max_tokens - s->len - 1;

	j->n_draft = 0;
	most = most < j->draft ? most : j->draft;
	most = most < s->credit - 1 ? most : s->credit - 1;
	most = most < j->max_new - j->n_tokens - 1 ? most : j->max_new - j->n_tokens - 1;
	most = most < room ? most : room;
	for (uint32_t gram = GRAM; gram >= LEAST_GRAM && !from && most && t.n > gram; gram--)
		from = look(&t, gram);
	while (from && j->n_draft < most && from < t.n)
		j->guess[j->n_draft++] = at(&t, from++);
	s->e->stats.tokens_drafted += j->n_draft;
}
