/* prefix_seq.c - sequences and the prefix tree: what an append takes from it and gives to it, texts
 * that every domain may match. */
#include <stdlib.h>
#include <string.h>

#include "engine_priv.h"
#include "hash.h"
#include "log.h"
#include "num.h"

static bool caching(const struct seq *s)
{
	return !s->prefix.off && (s->prefix.text || s->cfg.cache_domain != 0);
}

/* The node that goes on from where s is. A text comes before what the domain has of its own. */
static struct pnode *find(const struct seq *s, const int32_t *ids)
{
	const struct seq_prefix *p = &s->prefix;
	struct pnode *n = prefix_find(&s->e->prefix, s->kv, p->node, 0, ids);

	if (!n && !p->text)
		n = prefix_find(&s->e->prefix, s->kv, p->node, s->cfg.cache_domain, ids);
	return n;
}

/* Page n_tree of s is n's. */
static void step(struct seq *s, struct pnode *n)
{
	struct seq_prefix *p = &s->prefix;

	p->node = n;
	p->n_tree++;
	n->texts += p->text;
}

/* The ids of the page that s will fill next with its first job's; false where that page is none for
 * the tree. *need: those of the job. */
static bool next_page(const struct seq *s, int32_t *ids, uint32_t *need)
{
	const struct seq_prefix *p = &s->prefix;
	const struct job *j = s->jobs;
	uint32_t have = s->len - p->n_tree * KV_TOKENS;

	if (!caching(s) || p->solid != s->len || batch_sampled(j) || have >= KV_TOKENS)
		return false;
	*need = KV_TOKENS - have;
	if (j->n_ids - j->done < j->transient + *need)
		return false;
	memcpy(ids, p->tail, have * sizeof(*ids));
	memcpy(ids + have, j->ids + j->done, *need * sizeof(*ids));
	return true;
}

/* Its last token is always computed (the hidden state is wanted), and all that have a row. */
static bool may_take(const struct seq *s, uint32_t need)
{
	const struct job *j = s->jobs;

	return need < j->n_ids - j->done && !(j->all_rows && j->want != WANT_NONE);
}

void seq_prefix_take(struct seq *s)
{
	struct seq_prefix *p = &s->prefix;
	struct job *j = s->jobs;
	int32_t ids[KV_TOKENS];
	struct pnode *n;
	uint32_t need;

	while (next_page(s, ids, &need) && may_take(s, need) && (n = find(s, ids))) {
		seq_keep_page(s, p->n_tree, n->page);
		step(s, n);
		s->len += need;
		p->solid = p->p_len = s->len;
		s->hidden_ok = false;
		j->done += need;
		j->cached += need;
		s->e->stats.tokens_cached += need;
	}
	explicit_bzero(ids, sizeof(ids));
}

bool seq_prefix_waits(const struct seq *s, struct seq *const *first, uint32_t n)
{
	int32_t mine[KV_TOKENS], ids[KV_TOKENS];
	uint32_t need, left;
	bool found = false;

	if (!next_page(s, mine, &left) || !may_take(s, left))
		return false;
	for (uint32_t i = 0; i < n && !found; i++) {
		const struct seq *o = first[i];

		/* of one group and lane: so s, passed over now, is not passed by others for it */
		found = o->group == s->group && o->kv == s->kv &&
			o->prefix.node == s->prefix.node &&
			o->cfg.cache_domain == s->cfg.cache_domain &&
			o->prefix.text == s->prefix.text && next_page(o, ids, &need) &&
			need <= left && memcmp(ids, mine, sizeof(ids)) == 0;
	}
	explicit_bzero(mine, sizeof(mine));
	explicit_bzero(ids, sizeof(ids));
	return found;
}

/* Page n_tree is full; its ids are p->tail. */
static void give(struct seq *s)
{
	struct seq_prefix *p = &s->prefix;
	struct kv_page *own = s->pages[p->n_tree];
	struct pnode *n = find(s, p->tail);

	if (n)
		seq_keep_page(s, p->n_tree, n->page); /* computed twice, with the same bytes */
	else
		n = prefix_add(&s->e->prefix, s->kv, p->node, p->text ? 0 : s->cfg.cache_domain,
			       p->tail, own);
	if (n)
		step(s, n);
}

void seq_prefix_put(struct seq *s, const struct job *j, uint32_t n)
{
	struct seq_prefix *p = &s->prefix;

	if (!caching(s) || batch_sampled(j) || p->p_len + n != s->len)
		return;
	for (uint32_t i = j->done; i < j->done + n; i++) {
		uint32_t at = p->p_len - p->n_tree * KV_TOKENS;

		p->solid += p->solid == p->p_len && i < j->n_ids - j->transient;
		p->p_len++;
		if (at < KV_TOKENS)
			p->tail[at] = j->ids[i];
		if (at == KV_TOKENS - 1 && p->solid == p->p_len)
			give(s);
	}
}

void seq_prefix_keep(struct seq *s, uint32_t keep)
{
	struct seq_prefix *p = &s->prefix;
	uint32_t page = keep / KV_TOKENS;

	while (p->n_tree > page) {
		memcpy(p->tail, p->node->ids, sizeof(p->tail));
		p->node = p->node->parent;
		p->n_tree--;
	}
	p->p_len = p->p_len < keep ? p->p_len : keep;
	p->solid = p->solid < keep ? p->solid : keep;
	p->common = p->common < keep ? p->common : keep;
}

void seq_prefix_fork(struct seq *c, const struct seq *s, uint32_t keep)
{
	c->prefix = s->prefix;
	if (s->prefix.text) {
		c->prefix.text = false;
		c->prefix.common = s->len;
		c->cfg.cache_domain = 0;
	}
	seq_prefix_keep(c, keep);
}

static uint64_t text_bytes(const struct seq *s)
{
	return (uint64_t)kv_pages_for(s->cfg.max_tokens) * s->kv->page_bytes;
}

void seq_prefix_end(struct seq *s)
{
	struct seq_prefix *p = &s->prefix;
	struct pnode *top = NULL;

	if (p->text) {
		s->e->prefix.texts -= text_bytes(s);
		for (struct pnode *n = p->node; n; n = n->parent)
			if (--n->texts == 0)
				top = n;
	}
	p->node = NULL;
	explicit_bzero(p->tail, sizeof(p->tail));
	if (top)
		prefix_cut(s->e, top); /* with what the domains had behind it */
}

void engine_text_digest(const int32_t *ids, size_t n, uint8_t digest[32])
{
	sha256(span_of((const char *)ids, n * sizeof(*ids)), digest);
}

int seq_new_text(struct engine *e, struct model *m, const struct seq_cfg *cfg, const int32_t *ids,
		 size_t n, const uint8_t digest[32], struct seq **out, job_id *job, struct err *err)
{
	struct want none = {.rows = WANT_NONE};
	struct seq_cfg c = *cfg;
	struct kv_class *kv = seq_kv_of(m, &c);
	uint8_t real[32];
	struct seq *s;
	int rc;

	engine_text_digest(ids, n, real);
	if (memcmp(real, digest, sizeof(real)) != 0)
		return err_set(err, E_CRYPTO, "the text is not the one that was registered");
	c.cache_domain = 0;
	c.max_tokens = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	if (!m->vocab_only && kv &&
	    kv_pages_for(c.max_tokens) >
		(e->kv.budget / TEXT_SHARE - e->prefix.texts) / kv->page_bytes)
		return err_set(err, E_RANGE, "a text of %zu tokens: texts may take 1/%u of the KV",
			       n, TEXT_SHARE);
	if ((rc = seq_new(e, m, &c, &s, err)) < 0)
		return rc;
	if ((rc = seq_append(s, ids, n, &none, job, err)) < 0) {
		seq_free(s);
		return rc;
	}
	s->prefix.text = true;
	e->prefix.texts += text_bytes(s);
	*out = s;
	return 0;
}

int seq_domain(struct seq *s, uint64_t domain)
{
	if (s->jobs)
		return E_BUSY;
	if (s->prefix.text || s->len > s->prefix.common)
		return E_CONFLICT;
	s->cfg.cache_domain = domain;
	return 0;
}
