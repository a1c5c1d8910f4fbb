/* reading.c - one sequence of the guard: commit, judge, cut back. See guard.h. */
#include <math.h>
#include <stdlib.h>

#include "guard_priv.h"
#include "neutralise.h"
#include "utf8.h"

#define TEXT_MAX ((size_t)64 << 20)
#define OVERLAP 512 /* bytes of judged text that a new window shows again */

int reading_new(struct guard *g, enum guard_role role, uint64_t domain, uint64_t group,
		uint32_t need, struct reading **out, struct err *err)
{
	const struct guard_text *t = &g->text[role];
	uint64_t max = (uint64_t)need + t->n + t->n_close + GUARD_CATS + 8;
	struct prefix *p = &g->pre[role];
	struct reading *r;
	int rc;

	if (!p->ready)
		return err_set(err, E_BUSY, "the guard is loading");
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return err_set(err, E_NOMEM, "reading");
	r->max = max < g->window ? (uint32_t)max : g->window;
	r->ids = calloc(r->max, sizeof(*r->ids));
	rc = r->ids ? seq_fork(p->seq, t->n, &r->seq, err) : err_set(err, E_NOMEM, "reading");
	if (rc == 0 && (rc = seq_domain(r->seq, domain)) == 0 &&
	    (rc = seq_group(r->seq, group)) != 0)
		err_set(err, rc, "no memory for a reading");
	if (rc == 0 && (rc = seq_reserve(r->seq, r->max)) != 0)
		err_set(err, rc, "no KV room for a reading of %u tokens now", r->max);
	if (rc != 0) {
		seq_free(r->seq);
		free(r->ids);
		free(r);
		return rc;
	}
	memcpy(r->ids, t->ids, t->n * sizeof(*r->ids));
	r->g = g;
	r->role = role;
	r->ref.reading = r;
	r->committed = r->known = t->n;
	r->fixed = r->body = r->answer = r->variant = BUF_INIT(TEXT_MAX);
	buf_span_put(&r->fixed, buf_span(&t->rest));
	g->readings++;
	*out = r;
	return 0;
}

void reading_free(struct reading *r)
{
	if (r == NULL)
		return;
	guard_job_end(r->g, &r->ref);
	seq_free(r->seq);
	r->g->readings--;
	buf_wipe_free(&r->fixed);
	buf_wipe_free(&r->body);
	buf_wipe_free(&r->answer);
	buf_wipe_free(&r->variant);
	explicit_bzero(r->ids, r->max * sizeof(*r->ids)); /* of unreleased text, too */
	free(r->ids);
	free(r);
}

uint32_t reading_room(const struct reading *r)
{
	const struct guard_text *t = &r->g->text[r->role];

	return r->max - t->n - t->n_close - GUARD_CATS;
}

void reading_set_user(struct reading *r, void *user)
{
	r->user = user;
}

void *reading_user(const struct reading *r)
{
	return r->user;
}

bool reading_busy(const struct reading *r)
{
	return r->step != RD_IDLE;
}

const struct norm_seen *reading_seen(const struct reading *r)
{
	return &r->seen;
}

const int32_t *reading_ids(const struct reading *r, size_t *n)
{
	*n = r->n_ids;
	return r->ids;
}

/* Back to the bare prefix. */
static int restart(struct reading *r)
{
	r->committed = r->g->text[r->role].n;
	r->done = 0;
	return seq_truncate(r->seq, r->committed);
}

static int put_ids(struct reading *r, struct span text)
{
	size_t n = 0;
	int rc = model_tokenize(r->g->m, text, TOK_CONT, r->ids + r->n_ids, r->max - r->n_ids, &n);

	if (rc == 0)
		r->n_ids += n;
	return rc;
}

/* Tokens at the end of a pass that the cache must not see: the closing, and of an answer all. */
static uint32_t transient(const struct reading *r)
{
	const struct guard_text *t = &r->g->text[r->role];
	size_t keep = r->role == GUARD_AGENT  ? r->known
		      : r->n_ids > t->n_close ? r->n_ids - t->n_close
					      : 0;

	keep = keep > r->committed ? keep : r->committed;
	return (uint32_t)(r->n_ids - keep);
}

/* Starts one pass over fixed text and window. commit: what is settled stays in the sequence. */
int reading_pass(struct reading *r, struct span window, bool commit, struct err *err)
{
	struct guard *g = r->g;
	int32_t verdict[2] = {g->safe, g->unsafe};
	struct want w = {
	    .rows = r->full ? WANT_LOGITS_FULL : WANT_LOGITS, .ids = verdict, .n_ids = 2};
	size_t settled = 0, stable = 0;
	job_id job;
	int rc;

	buf_reset(&r->body);
	buf_span_put(&r->body, buf_span(&r->fixed));
	if (r->role == GUARD_AGENT)
		neutralise(window, &r->body, &settled);
	else
		buf_span_put(&r->body, window);
	settled += r->fixed.n;
	if (commit && settled > r->done)
		stable = model_stable_prefix(g->m, span_of(r->body.p + r->done, settled - r->done));
	r->n_ids = r->committed;
	rc = stable ? put_ids(r, span_of(r->body.p + r->done, stable)) : 0;
	r->next_committed = (uint32_t)r->n_ids;
	r->next_done = r->done + stable;
	buf_span_put(&r->body, buf_span(&g->text[r->role].close));
	if (rc == 0 && !buf_ok(&r->body))
		rc = E_RANGE;
	if (rc == 0)
		rc = put_ids(r, span_from(buf_span(&r->body), r->next_done));
	if (rc == 0 && r->n_ids + g->n_tail + GUARD_CATS > r->max)
		rc = E_RANGE;
	if (rc != 0)
		return err_set(err, rc, "the text does not fit the guard's window");
	memcpy(r->ids + r->n_ids, g->tail, g->n_tail * sizeof(*r->ids));
	r->n_ids += g->n_tail;
	w.transient = transient(r);
	rc = seq_append(r->seq, r->ids + r->committed, r->n_ids - r->committed, &w, &job, err);
	if (rc != 0)
		return rc;
	guard_job(g, &r->ref, job);
	r->step = RD_VERDICT;
	r->p = NAN;
	return 0;
}

static void begin(struct reading *r, uint32_t floor)
{
	r->v = (struct verdict){0};
	r->floor = floor;
	r->variant_left = r->in_variant = r->unknown = false;
}

int reading_judge(struct reading *r, struct span turns, uint32_t floor, struct err *err)
{
	int rc;

	if (r->step != RD_IDLE)
		return err_set(err, E_BUSY, "reading");
	if (r->role != GUARD_USER)
		return err_set(err, E_BUG, "answers are judged by reading_check()");
	begin(r, floor);
	rc = restart(r);
	return rc ? err_set(err, rc, "reading") : reading_pass(r, turns, false, err);
}

static size_t count(const struct reading *r, struct span s)
{
	size_t n = 0;

	(void)model_tokenize(r->g->m, s, TOK_CONT, NULL, 0, &n);
	return n;
}

int reading_context(struct reading *r, struct span turns, uint32_t spare, struct err *err)
{
	uint32_t room = reading_room(r), keep = room > spare ? room - spare : 0;
	const struct guard_text *t = &r->g->text[r->role];

	if (r->step != RD_IDLE)
		return err_set(err, E_BUSY, "reading");
	/* every token has a byte at least, so this ends; it starts where a fit is likely */
	while (turns.n > 0 && count(r, turns) > keep) {
		size_t cut = turns.n / 4 + 1;

		while (cut < turns.n && ((unsigned char)turns.p[cut] & 0xc0) == 0x80)
			cut++;
		turns = span_from(turns, cut);
	}
	buf_reset(&r->fixed);
	buf_span_put(&r->fixed, buf_span(&t->rest));
	buf_span_put(&r->fixed, turns);
	r->window = r->checked = 0;
	if (!buf_ok(&r->fixed))
		return err_set(err, E_RANGE, "context");
	r->known =
	    t->n + (uint32_t)count(
		       r, span_of(r->fixed.p, model_stable_prefix(r->g->m, buf_span(&r->fixed))));
	return restart(r);
}

/* The next pass over the answer; moves the window on when it no longer fits. */
static int answer_pass(struct reading *r, struct err *err)
{
	struct span all = buf_span(&r->answer);
	size_t back = OVERLAP;

	for (;;) {
		int rc = reading_pass(r, gp_strip(span_from(all, r->window)), true, err);
		size_t to = r->checked > back ? r->checked - back : 0;

		if (rc != E_RANGE)
			return rc;
		while (to > 0 && ((unsigned char)all.p[to] & 0xc0) == 0x80)
			to--;
		if (to <= r->window) {
			if (back == 0)
				return rc;
			back =
			    back > OVERLAP / 4 ? OVERLAP / 4 : 0; /* at last the new text alone */
			continue;
		}
		r->window = to;
		rc = restart(r);
		if (rc != 0)
			return err_set(err, rc, "reading");
	}
}

static int variant_pass(struct reading *r, struct err *err)
{
	struct span s = gp_strip(buf_span(&r->variant));
	int rc;

	r->in_variant = true;
	for (;;) {
		rc = restart(r);
		if (rc == 0)
			rc = reading_pass(r, s, false, err);
		if (rc != E_RANGE || s.n < 1024)
			return rc;
		/* judged before, piece by piece: the newest part is what matters */
		size_t cut = s.n / 4;

		while (cut < s.n && ((unsigned char)s.p[cut] & 0xc0) == 0x80)
			cut++;
		s = span_from(s, cut);
	}
}

int reading_check(struct reading *r, struct span text, uint32_t floor, struct err *err)
{
	struct norm_seen seen = {0};
	int rc;

	if (r->step != RD_IDLE)
		return err_set(err, E_BUSY, "reading");
	begin(r, floor);
	buf_reset(&r->answer);
	buf_span_put(&r->answer, text);
	buf_reset(&r->variant);
	r->variant.max = text.n * 4 + 1024;
	if (!buf_ok(&r->answer))
		return err_set(err, E_RANGE, "answer");
	if (text.n < r->checked) { /* against the contract: nothing of the old text is kept */
		r->window = r->checked = 0;
		rc = restart(r);
		if (rc != 0)
			return err_set(err, rc, "reading");
	}
	rc = normalise(span_from(text, r->window), &r->variant, &seen);
	if (rc != 0)
		return err_set(err, rc, "the answer cannot be normalised");
	r->variant_left = seen.changed;
	r->seen = seen;
	rc = answer_pass(r, err);
	return rc;
}

/* Takes the pass's result into the reading's verdict. */
static void take(struct reading *r, uint32_t cats, bool known)
{
	if (!isfinite(r->p)) {
		r->v.code = E_RANGE;
		return;
	}
	if (r->p >= r->v.p_unsafe)
		r->v.p_unsafe = r->p;
	r->v.cats |= cats;
	if (r->p * 1000 >= r->floor) /* known only when every pass that asked could be read */
		r->unknown = r->unknown || !known;
	r->v.cats_known = r->v.cats != 0 && !r->unknown;
}

/* The pass is over: cut back, go on with the disguised form, or be done. */
static bool pass_end(struct reading *r, uint32_t cats, bool known)
{
	int rc;

	take(r, cats, known);
	r->step = RD_IDLE;
	if (r->in_variant || r->v.code != 0) {
		rc = restart(r);
	} else {
		r->committed = r->next_committed;
		r->done = r->next_done;
		rc = seq_truncate(r->seq, r->committed);
		r->checked = r->answer.n;
	}
	if (rc == 0 && r->variant_left && r->v.code == 0) {
		r->variant_left = false;
		rc = variant_pass(r, NULL);
		if (rc == 0)
			return false;
	}
	if (rc != 0)
		r->v.code = rc;
	return true;
}

static void read_rows(struct reading *r, const struct event *ev)
{
	const float *row = ev->rows;
	uint32_t best = 0;

	if (!r->full) {
		if (ev->n_rows == 1 && ev->row_n == 2)
			r->p = guard_p_unsafe(row[0], row[1]);
		return;
	}
	r->argmax_ok = false;
	if (ev->n_rows != 1 || (int64_t)ev->row_n <= r->g->safe ||
	    (int64_t)ev->row_n <= r->g->unsafe)
		return;
	for (uint32_t i = 0; i < ev->row_n; i++) {
		if (!isfinite(row[i]))
			return;
		best = row[i] > row[best] ? i : best;
	}
	r->p = guard_p_unsafe(row[r->g->safe], row[r->g->unsafe]);
	r->argmax_ok = (int32_t)best == r->g->safe || (int32_t)best == r->g->unsafe;
}

/* After the verdict: `unsafe` is fed and a few tokens are decoded. False: could not start. */
static bool ask_cats(struct reading *r)
{
	struct want none = {.rows = WANT_NONE};
	job_id job;

	if (seq_append(r->seq, r->g->unsafe_ids, r->g->n_unsafe, &none, &job, NULL) != 0)
		return false;
	guard_job(r->g, &r->ref, job);
	r->step = RD_UNSAFE;
	r->cats_n = 0;
	return true;
}

static bool decode_cats(struct reading *r)
{
	struct gen_limit limit = {.max_new = GUARD_CATS - 4};
	struct sampler greedy = {.temperature = 0, .top_p = 1};
	job_id job;

	if (seq_generate(r->seq, &greedy, &limit, NULL, NULL, &job, NULL) != 0)
		return false;
	seq_credit(r->seq, GUARD_CATS);
	guard_job(r->g, &r->ref, job);
	r->step = RD_CATS;
	return true;
}

static bool job_done(struct reading *r, const struct event *ev)
{
	bool known = false;
	uint32_t cats = 0;

	r->g->tokens += ev->computed;
	r->v.tokens += ev->computed + ev->cached; /* read: the record tells nothing of the cache */
	guard_job_end(r->g, &r->ref);
	if (r->step == RD_VERDICT && isfinite(r->p) && r->p * 1000 >= r->floor && ask_cats(r))
		return false;
	if (r->step == RD_UNSAFE && decode_cats(r))
		return false;
	if (r->step == RD_CATS)
		cats = guard_parse_cats(span_of(r->cats_text, r->cats_n),
					r->g->ed == GUARD_ED_1B ? 13 : 14, &known);
	return pass_end(r, cats, known);
}

bool reading_event(struct reading *r, const struct event *ev)
{
	struct span bytes;

	switch (ev->kind) {
	case EV_ROWS:
		read_rows(r, ev);
		return false;
	case EV_TOKEN:
		if (r->step == RD_CATS && model_token_bytes(r->g->m, ev->token, &bytes) == 0 &&
		    bytes.n <= sizeof(r->cats_text) - r->cats_n) {
			memcpy(r->cats_text + r->cats_n, bytes.p, bytes.n);
			r->cats_n += bytes.n;
		}
		return false;
	case EV_DONE:
		return job_done(r, ev);
	case EV_FAILED:
		guard_job_end(r->g, &r->ref);
		r->step = RD_IDLE;
		r->v.code = ev->code ? ev->code : E_IO;
		(void)restart(r);
		return true;
	}
	return false;
}
