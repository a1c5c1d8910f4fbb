/* seq.c - sequences: their pages, promises and jobs. Owner thread only.
 * A sequence holds pages for the tokens it has and a promise for those it may still get, so that
 * holding + promise = pages for max_tokens. A page held by several is only ever read; the page that
 * a sequence writes to next is its own (fork and truncate copy it where it is not). */
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"
#include "fault.h"

/* A sequence of no tokens; `pages` are promised to it already. */
static struct seq *seq_make(struct engine *e, struct model *m, struct kv_class *kv,
			    const struct seq_cfg *cfg, uint32_t promised)
{
	struct seq *s = FAULT("seq.alloc") ? NULL : calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->pages = calloc(kv_pages_for(cfg->max_tokens), sizeof(*s->pages));
	s->hidden = calloc(m->info.n_embd, sizeof(float));
	s->e = e;
	s->m = m;
	s->cfg = *cfg;
	if (!s->pages || !s->hidden || !sched_join(s)) {
		free(s->pages);
		free(s->hidden);
		free(s);
		return NULL;
	}
	s->kv = kv;
	s->promised = promised;
	s->jobs_end = &s->jobs;
	s->next = e->seqs;
	if (e->seqs)
		e->seqs->prev = s;
	e->seqs = s;
	e->stats.seqs++;
	m->seqs++;
	return s;
}

/* A model kept in F32 is there for exactness: F16 would be its largest error. */
static struct kv_class *kv_of(struct model *m, const struct seq_cfg *cfg)
{
	enum kv_type type = cfg->kv_type;

	if (type == KV_AUTO)
		type = m->weights.layers[0].k.type == GT_F32 ? KV_F32 : KV_F16;
	if (!kv_fits(type, m->info.head_dim) || (type == KV_Q8_0 && cfg->role == SEQ_GUARD))
		return NULL;
	return &m->kv[type];
}

int seq_new(struct engine *e, struct model *m, const struct seq_cfg *cfg, struct seq **out,
	    struct err *err)
{
	uint32_t pages = kv_pages_for(cfg->max_tokens);
	struct kv_class *kv;

	if (m->vocab_only)
		return err_set(err, E_UNSUPPORTED, "the model was loaded without weights");
	if (cfg->priority > PRIO_LOW)
		return err_set(err, E_RANGE, "priority %d", (int)cfg->priority);
	if (!(kv = kv_of(m, cfg)))
		return err_set(err, E_UNSUPPORTED, "KV type %d for this model and role",
			       (int)cfg->kv_type);
	if (cfg->max_tokens == 0 || cfg->max_tokens > m->info.context)
		return err_set(err, E_RANGE, "%u tokens: the model's context is %u",
			       cfg->max_tokens, m->info.context);
	if (pages > e->kv.budget / kv->page_bytes)
		return err_set(err, E_RANGE, "%u tokens need %llu bytes of KV, the budget is %llu",
			       cfg->max_tokens, (unsigned long long)pages * kv->page_bytes,
			       (unsigned long long)e->kv.budget);
	if (!kv_promise(kv, pages))
		return err_set(err, E_BUSY, "no KV room for %u tokens now", cfg->max_tokens);
	if (!(*out = seq_make(e, m, kv, cfg, pages))) {
		kv_unpromise(kv, pages);
		return err_set(err, E_NOMEM, "sequence");
	}
	return 0;
}

bool seq_pages(struct seq *s, uint32_t tokens)
{
	uint32_t want = kv_pages_for(tokens);

	while (s->n_pages < want) {
		struct kv_page *p = kv_take(s->kv);

		if (!p)
			return false;
		s->promised--;
		s->pages[s->n_pages++] = p;
	}
	return true;
}

int seq_fork(struct seq *s, uint32_t keep, struct seq **out, struct err *err)
{
	uint32_t full = keep / KV_TOKENS, cap = kv_pages_for(s->cfg.max_tokens);
	struct seq *c;

	if (keep > s->len)
		return err_set(err, E_RANGE, "%u tokens of %u", keep, s->len);
	if (!kv_promise(s->kv, cap - full))
		return err_set(err, E_BUSY, "no KV room for a fork of %u tokens now",
			       s->cfg.max_tokens);
	if (!(c = seq_make(s->e, s->m, s->kv, &s->cfg, cap - full))) {
		kv_unpromise(s->kv, cap - full);
		return err_set(err, E_NOMEM, "sequence");
	}
	for (uint32_t i = 0; i < full; i++) {
		kv_hold(s->pages[i]);
		c->pages[c->n_pages++] = s->pages[i];
	}
	if (keep % KV_TOKENS) {
		if (!seq_pages(c, keep)) {
			seq_free(c);
			return err_set(err, E_NOMEM, "KV page");
		}
		kv_copy(s->kv, c->pages[full], s->pages[full], keep % KV_TOKENS);
	}
	c->len = keep;
	if (keep == s->len && s->hidden_ok) {
		memcpy(c->hidden, s->hidden, s->m->info.n_embd * sizeof(float));
		c->hidden_ok = true;
	}
	*out = c;
	return 0;
}

/* The last page goes; where it was nobody else's, its room is promised to s again: the sum of
 * promises and pages stays. Where others hold it, the caller has promised another. */
static void give_back(struct seq *s)
{
	if (kv_drop(s->kv, s->pages[--s->n_pages]))
		s->kv->kv->promised += s->kv->page_bytes;
	s->pages[s->n_pages] = NULL;
	s->promised++;
}

int seq_truncate(struct seq *s, uint32_t keep)
{
	uint32_t want = kv_pages_for(keep), extra = 0;
	struct kv_page *own = NULL;

	if (s->jobs)
		return E_BUSY;
	if (keep > s->len)
		return E_RANGE;
	if (keep == s->len)
		return 0;
	/* A page that others hold stays in use: dropping it frees nothing for our promise. */
	for (uint32_t i = want; i < s->n_pages; i++)
		extra += s->pages[i]->holders > 1;
	if (keep % KV_TOKENS && s->pages[want - 1]->holders > 1) {
		if (!kv_promise(s->kv, extra + 1))
			return E_BUSY;
		if (!(own = kv_take(s->kv))) {
			kv_unpromise(s->kv, extra + 1);
			return E_NOMEM;
		}
		kv_copy(s->kv, own, s->pages[want - 1], keep % KV_TOKENS);
		kv_drop(s->kv, s->pages[want - 1]);
		s->pages[want - 1] = own;
	} else if (!kv_promise(s->kv, extra)) {
		return E_BUSY;
	}
	while (s->n_pages > want)
		give_back(s);
	s->len = keep;
	s->hidden_ok = false;
	return 0;
}

int seq_reserve(struct seq *s, uint32_t max_tokens)
{
	uint32_t old = s->n_pages + s->promised, cap = kv_pages_for(max_tokens);
	struct kv_page **pages;

	if (s->jobs)
		return E_BUSY;
	if (max_tokens < s->len || max_tokens == 0 || max_tokens > s->m->info.context)
		return E_RANGE;
	while (s->n_pages > cap) /* taken for a batch that was cancelled, so never shared */
		give_back(s);
	if (cap > old) {
		if (!kv_promise(s->kv, cap - old))
			return E_BUSY;
		pages =
		    FAULT("seq.pages") ? NULL : realloc(s->pages, cap * sizeof(struct kv_page *));
		if (!pages) {
			kv_unpromise(s->kv, cap - old);
			return E_NOMEM;
		}
		s->pages = pages;
		s->promised += cap - old;
	} else {
		kv_unpromise(s->kv, old - cap);
		s->promised -= old - cap;
	}
	s->cfg.max_tokens = max_tokens;
	return 0;
}

uint32_t seq_len(const struct seq *s)
{
	return s->len;
}

void seq_free(struct seq *s)
{
	struct engine *e;

	if (!s)
		return;
	e = s->e;
	while (s->jobs)
		job_discard(s->jobs);
	batch_forget(s);
	events_forget(e, s);
	while (s->n_pages)
		kv_drop(s->kv, s->pages[--s->n_pages]);
	kv_unpromise(s->kv, s->promised);
	if (s->prev)
		s->prev->next = s->next;
	else
		e->seqs = s->next;
	if (s->next)
		s->next->prev = s->prev;
	e->stats.seqs--;
	s->m->seqs--;
	sched_leave(s);
	explicit_bzero(s->hidden, s->m->info.n_embd * sizeof(float));
	free(s->hidden);
	free(s->pages);
	free(s);
}

void seq_credit(struct seq *s, uint32_t tokens)
{
	s->credit = tokens > UINT32_MAX - s->credit ? UINT32_MAX : s->credit + tokens;
	sched_update(s);
}
