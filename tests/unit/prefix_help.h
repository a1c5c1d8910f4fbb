/* prefix_help.h - what the tests of the prefix cache share: one engine, two random prompts, short ways
 * to append. */
#ifndef SP_TESTS_PREFIX_HELP_H
#define SP_TESTS_PREFIX_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_help.h"
#include "engine_priv.h"

static const struct shape shape = {.embd = 64,
				   .layers = 2,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 32,
				   .ff = 72,
				   .vocab = SMALL_VOCAB,
				   .context = 2048,
				   .tied = true};

static const struct shape *of = &shape; /* of the next open_rig() */

#define MAX_IDS 700
static struct rig r;
static int32_t ids[MAX_IDS], other[MAX_IDS];
static size_t page; /* bytes of a page as KV_AUTO takes them here */

static void open_rig(const char *kernel, unsigned pages)
{
	struct rig probe;
	struct seq *s;

	rig_open(&probe, random_model(of, 5, NULL), NULL, 1, 64 << 20);
	s = rig_seq(&probe, SEQ_CHAT, 64);
	page = s->kv->page_bytes;
	rig_close(&probe);
	rig_open(&r, random_model(of, 5, NULL), kernel, 2, pages * page + page / 2);
	some_ids(ids, MAX_IDS, SMALL_VOCAB, 1);
	some_ids(other, MAX_IDS, SMALL_VOCAB, 2);
}

static struct seq *seq_in(uint64_t domain, uint32_t max)
{
	struct seq_cfg cfg = {.cache_domain = domain, .max_tokens = max};
	struct seq *s = NULL;

	assert_int_equal(seq_new(r.e, r.m, &cfg, &s, NULL), 0);
	return s;
}

/* Appends and waits. Returns how many came from the cache; logits of the last to out (NULL ok). */
static uint32_t put(struct seq *s, const int32_t *what, uint32_t n, float *out)
{
	struct want w = {.rows = out ? WANT_LOGITS_FULL : WANT_NONE};
	struct outcome *o = calloc(1, sizeof(*o));
	uint32_t cached;
	job_id job;

	assert_int_equal(seq_append(s, what, n, &w, &job, NULL), 0);
	run_job(r.e, job, o);
	assert_int_equal(o->kind, EV_DONE);
	assert_int_equal(o->computed + o->cached, n);
	if (out)
		memcpy(out, o->rows, SMALL_VOCAB * sizeof(float));
	cached = o->cached;
	free(o);
	return cached;
}

/* A sequence that comes and goes. */
static uint32_t visit(uint64_t domain, const int32_t *what, uint32_t n, float *out)
{
	struct seq *s = seq_in(domain, n + 1);
	uint32_t cached = put(s, what, n, out);

	seq_free(s);
	return cached;
}

#endif
