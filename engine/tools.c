/* tools.c - see tools.h. */
#include "tools.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "engine_priv.h"

struct tool {
	struct engine *e;
	struct model *m;
	struct seq *s;
};

static void tool_close(struct tool *t)
{
	engine_close(t->e); /* with its models and sequences */
}

static int tool_open(struct tool *t, const int *fds, unsigned nfds, const struct tool_opts *o,
		     uint64_t tokens, struct err *err)
{
	struct engine_cfg cfg = {.threads = o->threads,
				 .kernel_path = o->kernel,
				 .fast_f16 = o->fast_f16,
				 .kv_bytes = o->kv_bytes ? o->kv_bytes : UINT64_MAX / 2};
	struct seq_cfg sc = {.priority = PRIO_NORMAL, .kv_type = o->kv};
	int rc;

	*t = (struct tool){0};
	if (tokens == 0 || tokens > UINT32_MAX)
		return err_set(err, E_RANGE, "%llu tokens", (unsigned long long)tokens);
	if ((rc = engine_open(&cfg, &t->e, err)) < 0)
		return rc;
	t->e->chunk = o->chunk;
	t->e->appends_sampled = o->step;
	rc = engine_model_add(t->e, fds, nfds, NULL, &t->m, err);
	if (rc == 0) {
		sc.max_tokens = (uint32_t)tokens;
		rc = seq_new(t->e, t->m, &sc, &t->s, err);
	}
	if (rc < 0)
		tool_close(t);
	return rc;
}

/* Runs until the job ends; tokens go to *got (room for all), rows to *rows (NULL ok). */
static int drive(struct tool *t, job_id job, int32_t *got, size_t *n_got, float *rows,
		 struct err *err)
{
	struct event ev[16];

	for (;;) {
		int more = engine_step(t->e, 0), n;

		while ((n = engine_poll(t->e, ev, 16)) > 0)
			for (int i = 0; i < n; i++) {
				if (ev[i].job != job)
					continue;
				if (ev[i].kind == EV_TOKEN)
					got[(*n_got)++] = ev[i].token;
				if (ev[i].kind == EV_ROWS)
					memcpy(rows, ev[i].rows, ev[i].row_n * sizeof(float));
				if (ev[i].kind == EV_FAILED)
					return err_set(err, ev[i].code, "%s", ev[i].why);
				if (ev[i].kind == EV_DONE)
					return 0;
			}
		if (more <= 0)
			return err_set(err, E_BUG, "the engine stopped");
	}
}

int tool_logits(const int *fds, unsigned nfds, const int32_t *ids, size_t n,
		const struct tool_opts *o, float **out, uint32_t *n_vocab, struct err *err)
{
	struct tool t;
	float *rows = NULL;
	int rc = tool_open(&t, fds, nfds, o, n, err);

	if (rc < 0)
		return rc;
	*n_vocab = t.m->info.n_vocab;
	if (!(rows = malloc(*n_vocab * sizeof(float))))
		rc = err_set(err, E_NOMEM, "logits");
	for (size_t i = 0; i < n && rc == 0;) {
		size_t step = o->step ? 1 : n;
		struct want w = {.rows = i + step == n ? WANT_LOGITS_FULL : WANT_NONE};
		job_id job = 0;

		rc = seq_append(t.s, ids + i, step, &w, &job, err);
		if (rc == 0)
			rc = drive(&t, job, NULL, NULL, rows, err);
		i += step;
	}
	tool_close(&t);
	if (rc < 0)
		free(rows);
	else
		*out = rows;
	return rc;
}

static int text_of(const struct model *m, const int32_t *ids, size_t n, char **text, size_t *n_text)
{
	struct buf b = BUF_INIT(64u << 20);

	for (size_t i = 0; i < n; i++) {
		struct span s = {0};

		if (model_token_bytes(m, ids[i], &s) == 0)
			buf_span_put(&b, s);
	}
	buf_putc(&b, 0); /* so that an empty text has memory too */
	if (!buf_ok(&b)) {
		buf_free(&b);
		return E_NOMEM;
	}
	*text = b.p;
	*n_text = b.n - 1;
	return 0;
}

int tool_generate(const int *fds, unsigned nfds, const int32_t *ids, size_t n, uint32_t max_new,
		  const struct sampler *smp, const struct tool_opts *o, int32_t **out,
		  size_t *n_out, char **text, size_t *n_text, struct tool_timing *timing,
		  struct err *err)
{
	struct gen_limit limit = {.max_new = max_new};
	struct tool_timing tm = {0};
	uint64_t at = clock_mono_ns();
	struct tool t;
	int32_t *got = NULL;
	size_t n_got = 0;
	job_id job = 0;
	int rc = tool_open(&t, fds, nfds, o, n + (uint64_t)max_new, err);

	if (rc < 0)
		return rc;
	tm.load_ns = clock_mono_ns() - at;
	if (!(got = calloc((size_t)max_new + 1, sizeof(*got))))
		rc = err_set(err, E_NOMEM, "tokens");
	at = clock_mono_ns();
	if (rc == 0 && (rc = seq_append(t.s, ids, n, NULL, &job, err)) == 0)
		rc = drive(&t, job, NULL, NULL, NULL, err);
	tm.prompt_ns = clock_mono_ns() - at;
	at += tm.prompt_ns;
	if (rc == 0 && (rc = seq_generate(t.s, smp, &limit, NULL, NULL, &job, err)) == 0) {
		seq_credit(t.s, max_new);
		rc = drive(&t, job, got, &n_got, NULL, err);
	}
	tm.generate_ns = clock_mono_ns() - at;
	if (rc == 0 && text && (rc = text_of(t.m, got, n_got, text, n_text)) < 0)
		err_set(err, rc, "text");
	tool_close(&t);
	if (rc < 0) {
		free(got);
		return rc;
	}
	*out = got;
	*n_out = n_got;
	if (timing)
		*timing = tm;
	return 0;
}
