/* t_prefix_random.c - thousands of random operations on sequences that share prefixes, under a
 * budget for a few of them. After each: every number of the KV cache is what a count from scratch
 * gives, the budget holds, promises are kept, room is refused exactly where it lacks, nothing comes
 * from another domain, rows are those of a sequence that shares nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine_help.h"
#include "engine_priv.h"

#ifdef SP_SANITIZED
#define STEPS 4000
#else
#define STEPS 20000
#endif

#define LIVE 9
#define DOMAINS 4 /* 0: shares nothing */
#define MAX_TOKENS 460
#define PAGES 34
#define IDLE 400

static const struct shape shape = {.embd = 32,
				   .layers = 1,
				   .heads = 2,
				   .kv_heads = 1,
				   .head_dim = 32,
				   .ff = 40,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .tied = true};

struct live {
	struct seq *s;
	uint64_t domain;
	uint32_t n, given; /* tokens of ids; before the first sampled one */
	bool text;
	int32_t ids[MAX_TOKENS];
};

struct said { /* what a domain has computed since it was cleared */
	int32_t ids[MAX_TOKENS];
	uint32_t n;
};

static struct rig r, plain; /* plain: the same model, for rows without a cache */
static struct live live[LIVE];
static struct said *said[DOMAINS + 1]; /* the last: texts */
static unsigned n_said[DOMAINS + 1], hits, refusals;
static uint64_t aged;
static uint64_t rnd_state;
static int32_t base[3][MAX_TOKENS];

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((rnd_state >> 33) % n);
}

/* ---- the count from scratch ---- */

static void count_pages(struct kv_class *c, uint64_t *used, uint64_t *resting, uint64_t *promised)
{
	struct prefix *t = &r.e->prefix;

	/* by page: look from its first holder only */
	for (struct seq *s = r.e->seqs; s; s = s->next) {
		uint32_t kept = 0;

		if (s->kv != c)
			continue;
		*promised += s->promised * c->page_bytes;
		for (uint32_t i = 0; i < s->n_pages; i++) {
			struct kv_page *p = s->pages[i];
			uint32_t holders = 0, keepers = 0;
			bool first = true;

			kept += s->kept[i];
			for (struct seq *o = r.e->seqs; o; o = o->next)
				for (uint32_t k = 0; k < o->n_pages; k++)
					if (o->pages[k] == p) {
						first = first && (holders || o == s);
						holders++;
						keepers += o->kept[k];
					}
			assert_int_equal(p->holders, holders + (p->node != NULL));
			assert_int_equal(p->keepers, keepers);
			if (!first)
				continue;
			*used += c->page_bytes;
			if (keepers == holders)
				*promised -= c->page_bytes;
		}
		assert_int_equal(s->n_kept, kept);
		assert_int_equal(s->n_pages - kept + s->promised, kv_pages_for(s->cfg.max_tokens));
	}
	for (size_t i = 0; i < t->n_buckets; i++)
		for (struct pnode *n = t->buckets[i]; n; n = n->bucket) {
			assert_ptr_equal(n->page->node, n);
			assert_false(n->dead);
			if (n->kv == c && n->page->holders == 1)
				*resting += c->page_bytes;
		}
}

/* Pages of s that are nodes are a path from the root, of its domain or of a text. */
static void check_paths(void)
{
	for (struct seq *s = r.e->seqs; s; s = s->next) {
		const struct pnode *n = s->prefix.node;
		uint32_t i = s->prefix.n_tree;

		for (; n; n = n->parent) {
			assert_true(i-- > 0);
			assert_ptr_equal(s->pages[i], n->page);
			assert_true(n->domain == 0 || n->domain == s->cfg.cache_domain);
			assert_true(!n->parent || n->parent->domain == 0 ||
				    n->parent->domain == n->domain);
		}
		assert_int_equal(i, 0);
	}
}

static void check_numbers(void)
{
	const struct kv *kv = &r.e->kv;
	uint64_t used = 0, resting = 0, promised = 0, listed = 0;

	for (struct kv_class *c = kv->classes; c; c = c->next)
		count_pages(c, &used, &resting, &promised);
	for (struct pnode *n = r.e->prefix.oldest; n; n = n->newer) {
		listed += n->kv->page_bytes;
		assert_true(!n->newer || n->since <= n->newer->since);
		for (struct pnode *c = n->child; c; c = c->next)
			assert_true(kv_seqs(c->page) == 0 && c->since <= n->since);
	}
	assert_int_equal(listed, resting);
	assert_int_equal(kv->used, used + resting);
	assert_int_equal(kv->resting, resting);
	assert_int_equal(kv->promised, promised);
	assert_true(kv->used + kv->idle <= kv->budget);
	assert_true(kv->used - kv->resting + kv->promised <= kv->budget);
	check_paths();
}

/* ---- operations ---- */

static struct live *some(bool there)
{
	for (int i = 0; i < 40; i++) {
		struct live *l = &live[rnd(LIVE)];

		if ((l->s != NULL) == there)
			return l;
	}
	return NULL;
}

static uint64_t room(const struct kv_class *c)
{
	const struct kv *kv = &r.e->kv;

	return (kv->budget - kv->promised - (kv->used - kv->resting)) / c->page_bytes;
}

static void open_one(void)
{
	struct live *l = some(false);
	struct seq_cfg cfg = {.cache_domain = rnd(DOMAINS),
			      .max_tokens = 1 + rnd(MAX_TOKENS),
			      .kv_type = rnd(4) ? KV_F32 : KV_F16};
	struct kv_class *c = seq_kv_of(r.m, &cfg);
	int want, rc;

	if (!l)
		return;
	want = room(c) >= kv_pages_for(cfg.max_tokens) ? 0 : E_BUSY;
	*l = (struct live){.domain = cfg.cache_domain};
	rc = seq_new(r.e, r.m, &cfg, &l->s, NULL);
	assert_int_equal(rc, want);
	refusals += rc != 0;
}

static void open_text(void)
{
	static struct outcome o;
	struct live *l = some(false);
	struct seq_cfg cfg = {.kv_type = KV_F32, .role = SEQ_GUARD};
	uint32_t n = 1 + rnd(200);
	uint8_t digest[32];
	job_id job;

	if (!l)
		return;
	*l = (struct live){.text = true, .n = n, .given = n, .domain = DOMAINS};
	memcpy(l->ids, base[0], n * sizeof(*l->ids));
	engine_text_digest(l->ids, n, digest);
	if (seq_new_text(r.e, r.m, &cfg, l->ids, n, digest, &l->s, &job, NULL) != 0) {
		l->s = NULL;
		return;
	}
	run_job(r.e, job, &o);
}

/* True when `domain` has computed these n tokens. */
static bool known(uint64_t domain, const int32_t *ids, uint32_t n)
{
	for (unsigned i = 0; i < n_said[domain]; i++)
		if (said[domain][i].n >= n &&
		    memcmp(said[domain][i].ids, ids, n * sizeof(*ids)) == 0)
			return true;
	return false;
}

static void note(const struct live *l)
{
	struct said **to = &said[l->domain];
	unsigned *n = &n_said[l->domain];

	*to = realloc(*to, (*n + 1) * sizeof(**to));
	memcpy((*to)[*n].ids, l->ids, l->given * sizeof(*l->ids));
	(*to)[(*n)++].n = l->given;
}

static void check_rows(const struct live *l, const float *got)
{
	struct seq_cfg cfg = {.max_tokens = MAX_TOKENS, .kv_type = KV_F32};
	float want[SMALL_VOCAB];
	struct seq *s = NULL;

	for (int t = KV_AUTO + 1; t < KV_TYPES; t++)
		if (l->s->kv == &r.m->kv[t])
			cfg.kv_type = (enum kv_type)t;
	assert_int_equal(seq_new(plain.e, plain.m, &cfg, &s, NULL), 0);
	append_all(plain.e, s, l->ids, l->n, want);
	assert_memory_equal(got, want, sizeof(want));
	seq_free(s);
}

/* The next ids: mostly along one of a few prompts, at times astray. */
static void next_ids(struct live *l, uint32_t n)
{
	unsigned b = rnd(10) == 0 ? 1 + rnd(2) : 0;

	for (uint32_t i = 0; i < n; i++)
		l->ids[l->n + i] = base[b][l->n + i];
	if (rnd(6) == 0)
		l->ids[l->n + rnd(n)] = (int32_t)rnd(SMALL_VOCAB);
}

static void append_some(bool cancel)
{
	static struct outcome o;
	struct live *l = some(true);
	struct want w = {.rows = WANT_LOGITS_FULL, .transient = rnd(3) ? 0 : rnd(100)};
	uint32_t n, from;
	job_id job;

	if (!l || l->text || l->n >= l->s->cfg.max_tokens)
		return;
	n = 1 + rnd(l->s->cfg.max_tokens - l->n);
	next_ids(l, n);
	assert_int_equal(seq_append(l->s, l->ids + l->n, n, &w, &job, NULL), 0);
	from = l->n;
	if (cancel) {
		engine_step(r.e, 0);
		job_cancel(r.e, job);
	}
	run_job(r.e, job, &o);
	assert_int_equal(o.kind, EV_DONE); /* the promise is kept */
	assert_true(cancel || o.computed + o.cached == n);
	if (o.cached) {
		hits++;
		assert_int_not_equal(l->domain, 0);
		assert_int_equal(l->given, from);
		assert_true(known(l->domain, l->ids, from + o.cached) ||
			    known(DOMAINS, l->ids, (from + o.cached) / 64 * 64));
	}
	if (l->given == from)
		l->given = l->s->len;
	l->n = l->s->len;
	if (l->given == l->n && !cancel && rnd(8) == 0)
		check_rows(l, o.rows);
	note(l);
}

static void sample_some(void)
{
	static struct outcome o;
	struct live *l = some(true);
	struct gen_limit limit = {.max_new = 1 + rnd(70), .end_ids = (int32_t[]){-1}, .n_end = 1};
	struct sampler smp;
	job_id job;

	if (!l || l->text || !l->s->hidden_ok || l->n + 80 > l->s->cfg.max_tokens)
		return;
	sampler_init(&smp, rnd_state);
	assert_int_equal(seq_generate(l->s, &smp, &limit, NULL, NULL, &job, NULL), 0);
	seq_credit(l->s, 100);
	run_job(r.e, job, &o);
	memcpy(l->ids + l->n, o.tokens, o.n_tokens * sizeof(*o.tokens));
	l->n = l->s->len; /* the last one is not computed */
}

static void truncate_some(void)
{
	struct live *l = some(true);
	uint32_t keep;
	bool forked = false;
	int rc;

	if (!l || l->text)
		return;
	keep = rnd(l->n + 1);
	for (uint32_t i = keep / 64; i < l->s->n_pages; i++)
		forked |= !l->s->kept[i] && kv_seqs(l->s->pages[i]) > l->s->pages[i]->keepers + 1;
	rc = seq_truncate(l->s, keep);
	assert_true(rc == 0 || (rc == E_BUSY && forked));
	if (rc)
		return;
	l->n = keep;
	l->given = l->given < keep ? l->given : keep;
}

static void fork_some(void)
{
	struct live *l = some(true), *c = some(false);
	uint32_t keep;
	int rc;

	if (!l || !c)
		return;
	keep = rnd(l->n + 1);
	*c = *l;
	rc = seq_fork(l->s, keep, &c->s, NULL);
	refusals += rc == E_BUSY;
	if (rc) {
		assert_int_equal(rc, E_BUSY);
		c->s = NULL;
		return;
	}
	c->n = keep;
	c->given = c->given < keep ? c->given : keep;
	if (!l->text)
		return;
	c->text = false;
	c->domain = rnd(DOMAINS);
	assert_int_equal(seq_domain(c->s, c->domain), 0);
	(void)seq_reserve(c->s, MAX_TOKENS);
}

static void close_one(struct live *l)
{
	if (!l || !l->s)
		return;
	seq_free(l->s);
	l->s = NULL;
	if (l->text) { /* a later hit on it must come from another that lives */
		n_said[DOMAINS] = 0;
		for (int i = 0; i < LIVE; i++)
			if (live[i].s && live[i].text)
				note(&live[i]);
	}
}

static uint64_t resting(void)
{
	uint64_t n = 0;

	for (const struct pnode *at = r.e->prefix.oldest; at; at = at->newer)
		n++;
	return n;
}

static void clear_some(void)
{
	uint64_t d = rnd(DOMAINS);

	engine_cache_clear(r.e, d);
	n_said[d] = 0;
	for (size_t i = 0; d && i < r.e->prefix.n_buckets; i++)
		for (struct pnode *n = r.e->prefix.buckets[i]; n; n = n->bucket)
			assert_int_not_equal(n->domain, d);
}

/* Time goes on; what rested for too long goes, and nothing else. */
static void age_some(void)
{
	const struct prefix *t = &r.e->prefix;
	uint64_t kept = 0, now = t->now + rnd(IDLE / 4);

	for (const struct pnode *n = t->oldest; n; n = n->newer)
		kept += now - n->since < IDLE;
	kept += t->n - resting();
	aged += t->n - kept;
	while (engine_cache_age(r.e, now, IDLE))
		;
	assert_int_equal(t->n, kept);
}

static void operate(void)
{
	switch (rnd(20)) {
	case 0 ... 3:
		open_one();
		break;
	case 4 ... 9:
		append_some(false);
		break;
	case 10:
		append_some(true);
		break;
	case 11:
		sample_some();
		break;
	case 12 ... 13:
		truncate_some();
		break;
	case 14:
		fork_some();
		break;
	case 15:
		if (rnd(4) == 0) {
			open_text();
			for (int i = 0; i < LIVE; i++)
				if (live[i].s && live[i].text)
					note(&live[i]);
		}
		break;
	case 16:
		if (rnd(6) == 0)
			clear_some();
		else
			age_some();
		break;
	default:
		close_one(some(true));
	}
}

static void every_number_holds_after_every_step(void **st)
{
	size_t page;

	rig_open(&plain, random_model(&shape, 4, NULL), NULL, 1, 64 << 20);
	page = plain.m->kv[KV_F32].page_bytes;
	rig_open(&r, random_model(&shape, 4, NULL), NULL, 1, PAGES * page + page / 3);
	for (int i = 0; i < 3; i++)
		some_ids(base[i], MAX_TOKENS, SMALL_VOCAB, 7 + (uint64_t)i);
	rnd_state = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : 20261129;
	for (unsigned i = 0; i < STEPS; i++) {
		r.e->chunk = 1 + rnd(300);
		operate();
		check_numbers();
	}
	for (int i = 0; i < LIVE; i++)
		close_one(&live[i]);
	check_numbers();
	assert_int_equal(r.e->kv.used, r.e->kv.resting);
	assert_int_equal(r.e->kv.promised, 0);
	for (uint64_t d = 1; d < DOMAINS; d++)
		engine_cache_clear(r.e, d);
	assert_int_equal(r.e->kv.used + r.e->prefix.n + r.e->prefix.texts, 0);
	print_message("%u hits, %u refusals, %llu aged\n", hits, refusals,
		      (unsigned long long)aged);
	assert_true(aged > STEPS / 200);
	assert_true(hits > STEPS / 60 && refusals > STEPS / 200);
	for (int d = 0; d <= DOMAINS; d++)
		free(said[d]);
	rig_close(&r);
	rig_close(&plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_number_holds_after_every_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
