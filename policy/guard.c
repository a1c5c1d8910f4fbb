/* guard.c - see guard.h: tokens, constant prefixes, routing of events. */
#include "guard.h"

#include <math.h>
#include <stdlib.h>

#include "guard_priv.h"

double guard_p_unsafe(float safe, float unsafe)
{
	if (!isfinite(safe) || !isfinite(unsafe))
		return NAN;
	return 1.0 / (1.0 + exp((double)safe - (double)unsafe));
}

uint32_t guard_parse_cats(struct span t, unsigned n_cats, bool *known)
{
	uint32_t cats = 0;

	t = gp_strip(t);
	*known = t.n > 0;
	while (t.n > 0) {
		unsigned k = 0;
		size_t i = 1;

		if (t.p[0] != 'S')
			break;
		for (; i < t.n && i < 3 && t.p[i] >= '0' && t.p[i] <= '9'; i++)
			k = k * 10 + (unsigned)(t.p[i] - '0');
		if (i == 1 || t.p[1] == '0' || k > n_cats || (i < t.n && t.p[i] != ','))
			break;
		cats |= CAT_S(k);
		t = span_from(t, i);
		if (t.n > 0)
			t = span_from(t, 1);
		if (t.n == 0)
			return cats;
	}
	*known = false;
	return 0;
}

void guard_job(struct guard *g, struct jobref *ref, job_id job)
{
	ref->job = job;
	HASH_ADD(hh, g->jobs, job, sizeof(ref->job), ref);
}

void guard_job_end(struct guard *g, struct jobref *ref)
{
	if (ref->job == 0)
		return;
	HASH_DEL(g->jobs, ref);
	ref->job = 0;
}

void guard_fail(struct guard *g, int code, const char *what)
{
	g->state = GUARD_FAILED;
	if (g->why.code == 0)
		err_set(&g->why, code, "%s", what);
}

/* One token for this piece of the wrapper, or -1. */
static int32_t control(const struct model *m, const char *piece)
{
	int32_t id = model_token_find(m, span_cstr(piece));

	return id >= 0 && model_token_class(m, id) == TC_CONTROL ? id : -1;
}

static int words(const struct guard *g, const char *text, int32_t *out, size_t cap, uint32_t *n)
{
	size_t k = 0;
	int rc = model_tokenize(g->m, span_cstr(text), TOK_CONT, out, cap, &k);

	*n = (uint32_t)k;
	return rc;
}

/* The verdict's ids and the wrapper; *open (cap 16) = the wrapper's beginning. */
static int find_ids(struct guard *g, int32_t *open, uint32_t *n_open, struct err *err)
{
	int32_t start = control(g->m, "<|start_header_id|>"),
		end = control(g->m, "<|end_header_id|>");
	int32_t eot = control(g->m, "<|eot_id|>"), bos = model_info(g->m)->bos, safe[8], blank[4];
	uint32_t n, n_safe = 0, n_blank = 0;

	if (bos < 0 || start < 0 || end < 0 || eot < 0)
		return err_set(err, E_UNSUPPORTED,
			       "the guard's vocabulary lacks Llama 3's control "
			       "tokens");
	if (words(g, "safe", safe, 8, &n_safe) != 0 || n_safe == 0 ||
	    words(g, "unsafe", g->unsafe_ids, 8, &g->n_unsafe) != 0 || g->n_unsafe == 0)
		return err_set(err, E_UNSUPPORTED, "the guard has no words `safe` and `unsafe`");
	g->safe = safe[0];
	g->unsafe = g->unsafe_ids[0];
	if (g->safe == g->unsafe)
		return err_set(err, E_UNSUPPORTED, "`safe` and `unsafe` begin with the same token");
	if (words(g, "\n\n", blank, 4, &n_blank) != 0 || n_blank != 1)
		return err_set(err, E_UNSUPPORTED, "the guard has no token for a blank line");
	open[0] = bos;
	open[1] = start;
	if (words(g, "user", open + 2, 8, &n) != 0)
		return err_set(err, E_UNSUPPORTED, "the guard cannot spell `user`");
	open[2 + n] = end;
	*n_open = 3 + n;
	g->tail[0] = eot;
	g->tail[1] = start;
	if (words(g, "assistant", g->tail + 2, 12, &n) != 0)
		return err_set(err, E_UNSUPPORTED, "the guard cannot spell `assistant`");
	g->tail[2 + n] = end;
	g->tail[3 + n] = blank[0];
	g->n_tail = 4 + n;
	return 0;
}

static int make_text(struct guard *g, enum guard_role role, const int32_t *open, uint32_t n_open,
		     struct err *err)
{
	struct guard_text *t = &g->text[role];
	struct buf head = BUF_INIT(16384);
	size_t stable, n = 0, cap;
	int rc = 0;

	t->rest = BUF_INIT(16384);
	t->close = BUF_INIT(16384);
	gp_open(g->ed, role, &head);
	gp_close(g->ed, role, &t->close);
	cap = n_open + head.n;
	t->ids = calloc(cap, sizeof(*t->ids));
	if (t->ids == NULL || !buf_ok(&head) || !buf_ok(&t->close)) {
		rc = err_set(err, E_NOMEM, "guard");
		goto out;
	}
	memcpy(t->ids, open, n_open * sizeof(*open));
	stable = model_stable_prefix(g->m, buf_span(&head));
	rc = model_tokenize(g->m, span_of(head.p, stable), TOK_CONT, t->ids + n_open, cap - n_open,
			    &n);
	if (rc != 0) {
		err_set(err, rc, "the guard cannot spell its own prompt");
		goto out;
	}
	t->n = n_open + (uint32_t)n;
	buf_span_put(&t->rest, span_from(buf_span(&head), stable));
	rc = model_tokenize(g->m, buf_span(&t->close), TOK_CONT, NULL, 0, &n);
	t->n_close = (uint32_t)n + g->n_tail + (uint32_t)t->rest.n;
	rc = rc == E_RANGE ? 0 : rc;
out:
	buf_free(&head);
	return rc;
}

/* Computes the constant beginning once per role; readings fork from it, and every domain's cache
 * goes on behind it. */
static int start_prefix(struct guard *g, enum guard_role role, struct err *err)
{
	const struct guard_text *t = &g->text[role];
	struct prefix *p = &g->pre[role];
	struct seq_cfg cfg = {.fair_group = GUARD_GROUP,
			      .priority = role == GUARD_USER ? PRIO_SCAN : PRIO_GUARD,
			      .kv_type = KV_AUTO,
			      .role = SEQ_GUARD};
	uint8_t digest[32];
	job_id job;
	int rc;

	engine_text_digest(t->ids, t->n, digest);
	rc = seq_new_text(g->e, g->m, &cfg, t->ids, t->n, digest, &p->seq, &job, err);
	if (rc != 0)
		return rc;
	p->ref.prefix = p;
	guard_job(g, &p->ref, job);
	g->loading++;
	return 0;
}

static int start_prefixes(struct guard *g, struct err *err)
{
	uint32_t least = g->text[0].n + g->text[0].n_close + GUARD_CATS + 128;
	int rc = 0;

	g->window = g->cfg.max_window ? g->cfg.max_window : 4096;
	if (g->window > model_info(g->m)->context)
		g->window = model_info(g->m)->context;
	if (g->window < least)
		return err_set(err, E_RANGE, "the guard's context is too small for its prompt");
	for (int role = 0; role < 2 && rc == 0; role++)
		rc = start_prefix(g, (enum guard_role)role, err);
	return rc;
}

int guard_new(struct engine *e, struct model *m, const struct guard_cfg *cfg, struct guard **out,
	      struct err *err)
{
	struct guard *g = calloc(1, sizeof(*g));
	int32_t open[16];
	uint32_t n_open = 0;
	int rc;

	if (g == NULL)
		return err_set(err, E_NOMEM, "guard");
	g->e = e;
	g->m = m;
	g->cfg = *cfg;
	g->ed = chat_format_of(model_info(m)) == CHAT_GUARD3_1B ? GUARD_ED_1B : GUARD_ED_8B;
	rc = find_ids(g, open, &n_open, err);
	for (int role = 0; role < 2 && rc == 0; role++)
		rc = make_text(g, (enum guard_role)role, open, n_open, err);
	if (rc == 0)
		rc = start_prefixes(g, err);
	if (rc != 0) {
		guard_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

void guard_free(struct guard *g)
{
	if (g == NULL)
		return;
	reading_free(g->tester);
	for (int role = 0; role < 2; role++) {
		guard_job_end(g, &g->pre[role].ref);
		seq_free(g->pre[role].seq);
		free(g->text[role].ids);
		buf_free(&g->text[role].rest);
		buf_free(&g->text[role].close);
	}
	HASH_CLEAR(hh, g->jobs);
	free(g);
}

enum guard_state guard_state(const struct guard *g, struct err *why)
{
	if (why)
		*why = g->why;
	return g->state;
}

uint64_t guard_tokens(const struct guard *g)
{
	return g->tokens;
}

static void prefix_event(struct guard *g, struct prefix *p, const struct event *ev)
{
	if (ev->kind == EV_DONE) {
		g->tokens += ev->computed;
		guard_job_end(g, &p->ref);
		p->ready = true;
		if (--g->loading > 0 || g->state != GUARD_LOADING)
			return;
		if (g->cfg.skip_selftest)
			g->state = GUARD_READY;
		else
			selftest_next(g);
	} else if (ev->kind == EV_FAILED) {
		guard_job_end(g, &p->ref);
		guard_fail(g, ev->code, "the guard's prefix could not be computed");
	}
}

bool guard_event(struct guard *g, const struct event *ev, struct reading **done, struct verdict *v)
{
	struct jobref *ref = NULL;
	struct reading *r;

	*done = NULL;
	HASH_FIND(hh, g->jobs, &ev->job, sizeof(ev->job), ref);
	if (ref == NULL)
		return false;
	if (ref->prefix) {
		prefix_event(g, ref->prefix, ev);
		return true;
	}
	r = ref->reading;
	if (!reading_event(r, ev))
		return true;
	if (r == g->tester) {
		selftest_verdict(g, &r->v);
	} else {
		*v = r->v;
		*done = r;
	}
	return true;
}

int guard_wait(struct guard *g, struct err *err)
{
	while (g->state == GUARD_LOADING) {
		struct event ev[16];
		struct reading *done;
		struct verdict v;
		int n, rc = engine_step(g->e, 0);

		if (rc < 0)
			return err_set(err, rc, "the engine broke");
		n = engine_poll(g->e, ev, 16);
		if (n == 0 && rc == 0)
			return err_set(err, E_BUG, "the guard waits for nothing");
		for (int i = 0; i < n; i++)
			guard_event(g, &ev[i], &done, &v);
	}
	if (g->state == GUARD_READY)
		return 0;
	return err_set(err, g->why.code ? g->why.code : E_DENIED, "%s", g->why.text);
}

int guard_render(const struct guard *g, enum guard_role role, struct span turns, int32_t *out,
		 size_t cap, size_t *n)
{
	struct buf body = BUF_INIT(turns.n + 32768);
	size_t n_open = 0, k = 0;
	int rc;

	/* the opening wrapper is what stands before the first text token: up to the end of header
	 */
	while (n_open < g->text[role].n && g->text[role].ids[n_open] != g->tail[g->n_tail - 2])
		n_open++;
	n_open++;
	gp_open(g->ed, role, &body);
	buf_span_put(&body, turns);
	gp_close(g->ed, role, &body);
	if (!buf_ok(&body) || n_open > cap) {
		buf_free(&body);
		return E_RANGE;
	}
	memcpy(out, g->text[role].ids, n_open * sizeof(*out));
	rc = model_tokenize(g->m, buf_span(&body), TOK_CONT, out + n_open, cap - n_open, &k);
	buf_free(&body);
	if (rc != 0 || n_open + k + g->n_tail > cap)
		return rc ? rc : E_RANGE;
	memcpy(out + n_open + k, g->tail, g->n_tail * sizeof(*out));
	*n = n_open + k + g->n_tail;
	return 0;
}
