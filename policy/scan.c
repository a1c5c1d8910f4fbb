/* scan.c - see scan.h. The plan is a list of texts; each is judged once. */
#include "scan.h"

#include <stdlib.h>

#include "neutralise.h"

#define TEXTS_MAX 8 /* two forms of two texts: of the conversation, of what stands apart */

struct scan {
	const struct model *m;
	struct buf
	    text[TEXTS_MAX]; /* conversation, flat; both without disguise; then what is apart */
	unsigned n_texts;
	unsigned at;	 /* the text that is read */
	size_t from;	 /* start of the next window in it */
	bool whole_done; /* the text was (or cannot be) read as a whole */
	const struct policy *policy;
	uint8_t tier;
	struct detect found;
	struct decision d;
	uint32_t tokens;
};

static size_t count(const struct model *m, struct span s)
{
	size_t n = 0;

	(void)model_tokenize(m, s, TOK_CONT, NULL, 0, &n);
	return n;
}

/* The plan for one form of the messages. */
static int plan(struct scan *s, const struct chat_msg *msgs, size_t n, size_t max)
{
	enum guard_role last = GUARD_USER;
	struct buf *talk = &s->text[s->n_texts], *flat = talk + 1;

	*talk = *flat = BUF_INIT(max);
	gp_turns(msgs, n, talk, &last);
	gp_flat(msgs, n, flat);
	if (!buf_ok(talk) || !buf_ok(flat)) {
		s->n_texts += 2;
		return E_RANGE;
	}
	/* a conversation that ends with the agent is judged as one text only: its last message is
	 * not the user's; one of a single turn says the same twice */
	if (last != GUARD_USER) {
		buf_wipe_free(talk);
		*talk = *flat;
		*flat = (struct buf){0}; /* one owner of its memory */
		s->n_texts += 1;
	} else if (span_eq(buf_span(talk), buf_span(flat))) {
		buf_wipe_free(flat);
		s->n_texts += 1;
	} else {
		s->n_texts += 2;
	}
	return 0;
}

static int plan_plain(struct scan *s, const struct chat_msg *msgs, size_t n, size_t max)
{
	struct chat_msg *copy = calloc(n ? n : 1, sizeof(*copy));
	struct buf *form = calloc(n ? n : 1, sizeof(*form));
	bool changed = false;
	int rc = copy && form ? 0 : E_NOMEM;

	for (size_t i = 0; i < n && rc == 0; i++) {
		struct norm_seen seen;

		form[i] = BUF_INIT(msgs[i].text.n * 18 + 64);
		rc = normalise(msgs[i].text, &form[i], &seen);
		if (rc != 0)
			break;
		detect_text(msgs[i].text, &seen, &s->found);
		changed = changed || seen.changed;
		copy[i] = (struct chat_msg){msgs[i].role, buf_span(&form[i])};
	}
	if (rc == 0 && changed)
		rc = plan(s, copy, n, max);
	for (size_t i = 0; form && i < n; i++)
		buf_wipe_free(&form[i]);
	free(form);
	free(copy);
	return rc;
}

int scan_new(const struct model *m, const struct policy *policy, uint8_t tier,
	     const struct chat_msg *msgs, size_t n, struct span apart, struct scan **out,
	     uint32_t *need, struct err *err)
{
	const struct chat_msg alone = {CHAT_USER, apart};
	struct scan *s = calloc(1, sizeof(*s));
	const struct verdict nothing = {0};
	uint64_t total = apart.n;
	int rc = 0;

	if (s == NULL)
		return err_set(err, E_NOMEM, "scan");
	s->policy = policy;
	s->tier = tier;
	s->m = m;
	for (size_t i = 0; i < n; i++)
		total += msgs[i].text.n;
	*need = 0;
	if (total > policy->max_text) {
		s->found.found |= CAT_OVERSIZE;
	} else {
		size_t max = (size_t)total * 20 + 64 * (n + 1) + 1024;

		rc = plan(s, msgs, n, max);
		if (rc == 0)
			rc = plan_plain(s, msgs, n, max);
		if (rc == 0 && apart.n)
			rc = plan(s, &alone, 1, max);
		if (rc == 0 && apart.n)
			rc = plan_plain(s, &alone, 1, max);
	}
	if (rc != 0) {
		scan_free(s);
		return err_set(err, rc, "the prompt cannot be prepared for the guard");
	}
	for (unsigned i = 0; i < s->n_texts; i++) {
		size_t k = count(m, buf_span(&s->text[i])) + 16;

		*need = k > *need ? (uint32_t)k : *need;
	}
	decide(policy, tier, s->found.found, &nothing, &s->d);
	*out = s;
	return 0;
}

void scan_free(struct scan *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < TEXTS_MAX; i++)
		buf_wipe_free(&s->text[i]);
	free(s);
}

const struct decision *scan_decision(const struct scan *s)
{
	return &s->d;
}

uint32_t scan_tokens(const struct scan *s)
{
	return s->tokens;
}

static size_t char_border(struct span t, size_t at)
{
	while (at > 0 && at < t.n && ((unsigned char)t.p[at] & 0xc0) == 0x80)
		at--;
	return at;
}

/* The longest piece from `from` on that has at most `tokens` tokens. */
static struct span window(const struct scan *s, struct span text, size_t from, size_t tokens)
{
	struct span left = span_from(text, from);
	size_t n = left.n < tokens * 8 ? left.n : tokens * 8;

	while (n > 4 && count(s->m, span_of(left.p, char_border(left, n))) > tokens)
		n = n - n / 8 - 1;
	return span_of(left.p, char_border(left, n));
}

/* The next piece to judge; an empty span with p NULL when the text is done. */
static struct span next_piece(struct scan *s, size_t room)
{
	struct span text = buf_span(&s->text[s->at]);
	size_t tokens = count(s->m, text), win = room < SCAN_WINDOW ? room : SCAN_WINDOW;
	struct span w;

	if (!s->whole_done) {
		s->whole_done = true;
		if (tokens <= room) {
			if (tokens <= win)
				s->from = text.n + 1; /* no windows */
			return text.p ? text : SPAN_LIT("");
		}
	}
	if (s->from >= text.n)
		return span_of(NULL, 0);
	w = window(s, text, s->from, win);
	if (s->from + w.n >= text.n) {
		s->from = text.n + 1;
	} else {
		size_t back = SCAN_OVERLAP * 4 < w.n / 2 ? SCAN_OVERLAP * 4 : w.n / 2;

		s->from = char_border(text, s->from + w.n - back);
	}
	return w;
}

int scan_next(struct scan *s, struct reading *r, struct err *err)
{
	size_t room = reading_room(r) - 8;

	if (!decide_passes(s->d.action))
		return 0;
	for (; s->at < s->n_texts; s->at++, s->from = 0, s->whole_done = false) {
		struct span piece = next_piece(s, room);
		int rc;

		if (piece.p == NULL)
			continue;
		rc = reading_judge(r, gp_strip(piece), decide_floor(s->policy, s->tier), err);
		return rc ? rc : 1;
	}
	return 0;
}

void scan_verdict(struct scan *s, const struct verdict *v)
{
	struct decision d;

	s->tokens += v->tokens;
	decide(s->policy, s->tier, s->found.found, v, &d);
	d.score_milli = d.score_milli > s->d.score_milli ? d.score_milli : s->d.score_milli;
	d.cats |= s->d.cats;
	if (d.action >= s->d.action) {
		s->d = d;
	} else {
		s->d.score_milli = d.score_milli;
		s->d.cats = d.cats;
	}
}
