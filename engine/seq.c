/* seq.c - sequences: their pages, promises and jobs. Owner thread only.
 * A sequence has paid for the pages it has computed (or forked) and has a promise for each place
 * else, also where it keeps a page of the prefix tree: paid + promised = pages for max_tokens
 * (kv.h). A page held by several is only ever read; the page that a sequence writes to next is its
 * own (fork and truncate copy it where it is not). */
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"
#include "fault.h"
#include "log.h"

/* A sequence of no tokens; `pages` are promised to it already. */
static struct seq *seq_make(struct engine *e, struct model *m, struct kv_class *kv,
			    const struct seq_cfg *cfg, uint32_t promised)
{
	struct seq *s = FAULT("seq.alloc") ? NULL : calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->pages = calloc(kv_pages_for(cfg->max_tokens), sizeof(*s->pages));
	s->kept = calloc(kv_pages_for(cfg->max_tokens), sizeof(*s->kept));
	s->hidden = calloc(m->info.n_embd, sizeof(float));
	s->e = e;
	s->m = m;
	s->cfg = *cfg;
	if (!s->pages || !s->kept || !s->hidden || !sched_join(s)) {
		free(s->pages);
		free(s->kept);
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
struct kv_class *seq_kv_of(struct model *m, const struct seq_cfg *cfg)
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
	if (!(kv = seq_kv_of(m, cfg)))
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

void seq_keep_page(struct seq *s, uint32_t i, struct kv_page *p)
{
	if (i < s->n_pages) {
		must(kv_drop(s->kv, s->pages[i]) && kv_promise(s->kv, 1));
		s->promised++;
	} else {
		s->n_pages++;
	}
	kv_join(s->kv, p);
	s->pages[i] = p;
	s->kept[i] = true;
	s->n_kept++;
}

/* The first n pages of s are c's too. */
static void share(struct seq *c, const struct seq *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (s->kept[i])
			kv_join(s->kv, s->pages[i]);
		else
			kv_hold(s->pages[i]);
		c->pages[c->n_pages++] = s->pages[i];
		c->kept[i] = s->kept[i];
		c->n_kept += s->kept[i];
	}
}

int seq_fork(struct seq *s, uint32_t keep, struct seq **out, struct err *err)
{
	uint32_t full = keep / KV_TOKENS, need = kv_pages_for(s->cfg.max_tokens) - full;
	struct seq *c;

	if (keep > s->len)
		return err_set(err, E_RANGE, "%u tokens of %u", keep, s->len);
	for (uint32_t i = 0; i < full; i++)
		need += s->kept[i];
	if (!kv_promise(s->kv, need))
		return err_set(err, E_BUSY, "no KV room for a fork of %u tokens now",
			       s->cfg.max_tokens);
	if (!(c = seq_make(s->e, s->m, s->kv, &s->cfg, need))) {
		kv_unpromise(s->kv, need);
		return err_set(err, E_NOMEM, "sequence");
	}
	share(c, s, full);
	if (keep % KV_TOKENS) {
		if (!seq_pages(c, keep)) {
			seq_free(c);
			return err_set(err, E_NOMEM, "KV page");
		}
		kv_copy(s->kv, c->pages[full], s->pages[full], keep % KV_TOKENS);
	}
	c->len = keep;
	seq_prefix_fork(c, s, keep);
	if (keep == s->len && s->hidden_ok) {
		memcpy(c->hidden, s->hidden, s->m->info.n_embd * sizeof(float));
		c->hidden_ok = true;
	}
	*out = c;
	return 0;
}

/* The last page goes, and s has a promise for its place. Where others have paid for the page, the
 * caller has promised another. */
static void give_back(struct seq *s)
{
	uint32_t i = --s->n_pages;
	struct kv_page *p = s->pages[i];

	s->pages[i] = NULL;
	if (s->kept[i]) {
		s->kept[i] = false;
		s->n_kept--;
		must(!kv_part(s->kv, p) || kv_promise(s->kv, 1));
	} else {
		must(!kv_drop(s->kv, p) || kv_promise(s->kv, 1));
		s->promised++;
	}
}

/* s has paid for page i and others have too: only a fork can make that so. */
static bool forked(const struct seq *s, uint32_t i)
{
	return !s->kept[i] && kv_seqs(s->pages[i]) > s->pages[i]->keepers + 1;
}

/* Page i is a copy of its first `tokens` tokens. How it is paid: with a promise that the caller has
 * made (`promised`, a borrowed one when the page comes to rest), else with the one that s keeps. */
static int copy_page(struct seq *s, uint32_t i, uint32_t tokens, bool promised)
{
	struct kv_page *old = s->pages[i], *own = kv_take(s->kv);

	if (!own) {
		if (promised)
			kv_unpromise(s->kv, 1);
		return E_NOMEM;
	}
	kv_copy(s->kv, own, old, tokens);
	if (s->kept[i]) {
		s->kept[i] = false;
		s->n_kept--;
		s->promised--;
		if (!kv_part(s->kv, old) && promised)
			kv_unpromise(s->kv, 1);
	} else {
		kv_drop(s->kv, old);
	}
	s->pages[i] = own;
	return 0;
}

/* Page i will be written from token `tokens` on. What forks pay for has a promise of the caller;
 * else there is always a way, if need be by taking the page from the tree. */
static int own_page(struct seq *s, uint32_t i, uint32_t tokens)
{
	struct kv_page *p = s->pages[i];

	if (forked(s, i))
		return copy_page(s, i, tokens, true);
	if (s->kept[i] && kv_seqs(p) > 1)
		return copy_page(s, i, tokens, false);
	if (kv_seqs(p) > 1) { /* keepers, one of whose promises pays from now on */
		must(kv_drop(s->kv, p) && kv_promise(s->kv, 1));
		kv_join(s->kv, p);
		s->kept[i] = true;
		s->n_kept++;
		s->promised++;
		return copy_page(s, i, tokens, false);
	}
	if (p->node && kv_borrow(s->kv))
		return copy_page(s, i, tokens, true);
	if (p->node)
		prefix_cut(s->e, p->node);
	if (s->kept[i]) {
		kv_pay(p);
		s->kept[i] = false;
		s->n_kept--;
		s->promised--;
	}
	return 0;
}

int seq_truncate(struct seq *s, uint32_t keep)
{
	uint32_t want = kv_pages_for(keep), extra = 0, split = keep % KV_TOKENS;
	int rc;

	if (s->jobs)
		return E_BUSY;
	if (s->prefix.text)
		return E_DENIED;
	if (keep > s->len)
		return E_RANGE;
	if (keep == s->len)
		return 0;
	/* A page that forks pay for stays in use: dropping it frees nothing for our promise. */
	for (uint32_t i = want; i < s->n_pages; i++)
		extra += forked(s, i);
	if (!kv_promise(s->kv, extra + (split && forked(s, want - 1))))
		return E_BUSY;
	seq_prefix_keep(s, keep);
	if (split && (rc = own_page(s, want - 1, split)) < 0) {
		kv_unpromise(s->kv, extra);
		return rc;
	}
	while (s->n_pages > want)
		give_back(s);
	s->len = keep;
	s->hidden_ok = false;
	draft_forget(s, keep);
	return 0;
}

/* Room for `cap` pages in the arrays. */
static bool grow_pages(struct seq *s, uint32_t cap)
{
	struct kv_page **pages =
	    FAULT("seq.pages") ? NULL : realloc(s->pages, cap * sizeof(struct kv_page *));
	bool *kept;

	if (!pages)
		return false;
	s->pages = pages;
	kept = FAULT("seq.kept") ? NULL : realloc(s->kept, cap * sizeof(bool));
	if (!kept)
		return false;
	memset(kept + s->n_pages, 0, (cap - s->n_pages) * sizeof(bool));
	s->kept = kept;
	return true;
}

int seq_reserve(struct seq *s, uint32_t max_tokens)
{
	uint32_t old, cap = kv_pages_for(max_tokens);

	if (s->jobs)
		return E_BUSY;
	if (s->prefix.text)
		return E_DENIED;
	if (max_tokens < s->len || max_tokens == 0 || max_tokens > s->m->info.context)
		return E_RANGE;
	while (s->n_pages > cap) /* taken for a batch that was cancelled, so never shared */
		give_back(s);
	old = s->n_pages - s->n_kept + s->promised;
	if (cap > old) {
		if (!kv_promise(s->kv, cap - old))
			return E_BUSY;
		if (!grow_pages(s, cap)) {
			kv_unpromise(s->kv, cap - old);
			return E_NOMEM;
		}
		s->promised += cap - old;
	} else {
		kv_unpromise(s->kv, old - cap);
		s->promised -= old - cap;
	}
	s->cfg.max_tokens = max_tokens;
	return 0;
}

/* The deepest pages first: so they come to rest in the order in which they may be let go. */
static void drop_pages(struct seq *s)
{
	while (s->n_pages) {
		uint32_t i = --s->n_pages;

		if (!s->kept[i])
			kv_drop(s->kv, s->pages[i]);
		else if (kv_part(s->kv, s->pages[i]))
			s->promised--; /* the page was what it was for */
	}
	kv_unpromise(s->kv, s->promised);
}

int seq_group(struct seq *s, uint64_t group)
{
	if (s->jobs)
		return E_BUSY;
	return sched_move(s, group) ? 0 : E_NOMEM;
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
	events_forget(s);
	seq_prefix_end(s);
	drop_pages(s);
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
	draft_free(s);
	free(s->pages);
	free(s->kept);
	free(s);
}

void seq_credit(struct seq *s, uint32_t tokens)
{
	s->credit = tokens > UINT32_MAX - s->credit ? UINT32_MAX : s->credit + tokens;
	sched_update(s);
}
