/* model_perplexity.c - how well a model foretells a text: negative log likelihood per token, in
 * windows of --ctx tokens that go on by --stride; each token counts once, with at least
 * ctx - stride tokens before it (but for the start of the text). Each window begins with BOS where
 * the model wants one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "model_run.h"

#define TEXT_MAX (64u << 20)
#define ROWS_BYTES (64u << 20) /* of logits asked for at once */

struct score {
	const struct run *r;
	const int32_t *next; /* next[i] is the token behind row i of this job */
	double sum, squares;
	uint64_t n;
};

/* -log softmax(row)[id] */
static double surprise(const float *row, uint32_t n, int32_t id)
{
	double max = row[0], sum;

	for (uint32_t i = 1; i < n; i++)
		max = row[i] > max ? row[i] : max;
	sum = exp(row[0] - max);
	for (uint32_t i = 1; i < n; i++)
		sum += exp(row[i] - max);
	return log(sum) + max - row[id];
}

static void on_rows(void *arg, const struct event *ev)
{
	struct score *s = arg;

	if (ev->kind != EV_ROWS)
		return;
	for (uint32_t i = 0; i < ev->n_rows; i++) {
		double v = surprise(ev->rows + (size_t)i * ev->row_n, ev->row_n, s->next[i]);

		s->sum += v;
		s->squares += v * v;
		s->n++;
	}
}

struct windows {
	struct run r;
	struct score score;
	uint32_t ctx, stride, kv;
	int32_t *ids; /* a BOS, or room for one, then the text */
	size_t n;     /* of the text */
	bool bos;
	enum kv_type kv_type;
};

/* Appends ids[0..n); with rows wanted, in pieces whose logits fit. */
static int feed(struct windows *w, struct seq *s, const int32_t *ids, uint32_t n, bool rows,
		struct err *err)
{
	uint32_t most = ROWS_BYTES / (4 * w->r.info->n_vocab), piece;
	struct want want = {.rows = rows ? WANT_LOGITS_FULL : WANT_NONE, .all_rows = rows};
	job_id job;
	int rc = 0;

	most = most ? most : 1;
	for (; n && rc == 0; n -= piece, ids += piece) {
		piece = rows && n > most ? most : n;
		w->score.next = ids + 1;
		rc = seq_append(s, ids, piece, &want, &job, err);
		if (rc == 0)
			rc = run_wait(&w->r, 1, on_rows, &w->score, err);
	}
	return rc;
}

/* The window of text from..to; tokens from `fresh` on count. The last token is only foretold. */
static int window(struct windows *w, size_t from, size_t to, size_t fresh, struct err *err)
{
	struct seq_cfg cfg = {.priority = PRIO_NORMAL, .kv_type = w->kv_type, .max_tokens = w->ctx};
	int32_t *text = w->ids + 1, *start = text + from - w->bos, kept = *start;
	int32_t *before = text + fresh - 1; /* whose logits are the first that count */
	struct seq *s = NULL;
	int rc = seq_new(w->r.e, w->r.m, &cfg, &s, err);

	if (rc < 0)
		return rc;
	if (w->bos)
		*start = w->r.info->bos;
	if (before > start)
		rc = feed(w, s, start, (uint32_t)(before - start), false, err);
	if (rc == 0)
		rc = feed(w, s, before, (uint32_t)(to - fresh), true, err);
	*start = kept;
	seq_free(s);
	return rc;
}

static int all_windows(struct windows *w, struct err *err)
{
	size_t room = w->ctx - w->bos, done = w->bos ? 0 : 1;
	double start = run_now();
	int rc = 0;

	for (size_t from = 0; done < w->n && rc == 0; from += w->stride) {
		size_t to = from + room < w->n ? from + room : w->n;

		rc = window(w, from, to, done, err);
		done = to;
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%zu of %zu tokens, %.4f nats each, %.0f tokens/s ", done,
				w->n, w->score.sum / (double)w->score.n,
				(double)done / (run_now() - start));
	}
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
	return rc;
}

static void print_result(const struct windows *w)
{
	const struct score *s = &w->score;
	double n = (double)s->n, mean = s->sum / n;
	double error = n > 1 ? sqrt(fmax(0, s->squares / n - mean * mean) / (n - 1)) : 0;
	struct buf b = BUF_INIT(4096);

	if (cli.out != OUT_JSON) {
		printf(
		    "%.6f +- %.6f nats a token over %llu tokens: perplexity %.4f (windows of %u, "
		    "stride %u, kernel %s)\n",
		    mean, error, (unsigned long long)s->n, exp(mean), w->ctx, w->stride,
		    w->r.kernel);
		return;
	}
	buf_fmt(&b, "{\"context\":%u,\"kernel\":\"%s\",\"nll_per_token\":%.12g,", w->ctx,
		w->r.kernel, mean);
	buf_fmt(&b,
		"\"perplexity\":%.12g,\"schema_version\":1,\"standard_error\":%.6g,\"stride\":%u,"
		"\"tokens\":%llu}",
		exp(mean), error, w->stride, (unsigned long long)s->n);
	model_print(&b);
}

static int tokenize(struct windows *w, struct span text, struct err *err)
{
	int rc;

	if ((w->ids = calloc(text.n + 17, sizeof(*w->ids))) == NULL)
		return err_set(err, E_NOMEM, "no memory for the text");
	rc = model_tokenize(w->r.m, text, 0, w->ids + 1, text.n + 16, &w->n);
	if (rc < 0)
		return err_set(err, rc, "the text cannot be tokenised (%s)", err_name(rc));
	w->bos = w->r.info->add_bos && w->r.info->bos >= 0;
	return w->n < 2 ? err_set(err, E_RANGE, "the text has less than two tokens") : 0;
}

static int perplexity(const struct model_files *f, const struct engine_cfg *cfg, struct span text,
		      struct windows *w, struct err *err)
{
	int rc = run_open(&w->r, f, cfg, err);

	if (rc == 0 && w->ctx > w->r.info->context)
		rc = err_set(err, E_RANGE, "--ctx %u: the model's context is %u", w->ctx,
			     w->r.info->context);
	if (rc == 0)
		rc = tokenize(w, text, err);
	if (rc == 0)
		rc = all_windows(w, err);
	if (rc == 0 && !isfinite(w->score.sum))
		rc = err_set(err, E_FORMAT, "the model's logits are not numbers");
	if (rc == 0)
		print_result(w);
	free(w->ids);
	run_close(&w->r);
	return rc;
}

static int verb_perplexity(int argc, char **argv)
{
	const char *file = NULL, *ctx = NULL, *stride = NULL, *kernel = NULL, *threads = NULL;
	const char *kv = NULL, *pos[1];
	const struct opt opts[] = {{"text-file", false, &file, NULL, 0},
				   {"ctx", false, &ctx, NULL, 0},
				   {"stride", false, &stride, NULL, 0},
				   {"kernel", false, &kernel, NULL, 0},
				   {"threads", false, &threads, NULL, 0},
				   {"kv", false, &kv, NULL, 0},
				   {0}};
	struct buf text = BUF_INIT(TEXT_MAX);
	struct windows w = {0};
	struct engine_cfg cfg = {0};
	struct model_files files;
	struct err err = {0};
	double c = 512, s = 0, t = 0;
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || file == NULL)
		return rc ? rc : cli_fail(X_USAGE, "model perplexity FILE --text-file F");
	if ((rc = model_arg_number("ctx", ctx, 4, 1 << 24, &c)) != X_OK ||
	    (rc = model_arg_number("stride", stride, 1, c - 2, &s)) != X_OK ||
	    (rc = model_arg_number("threads", threads, 1, 256, &t)) != X_OK ||
	    (rc = run_kv_type(kv, &w.kv_type)) != X_OK)
		return rc;
	w.ctx = (uint32_t)c;
	w.stride = s > 0 ? (uint32_t)s : w.ctx / 2;
	cfg.kernel_path = kernel;
	cfg.threads = (uint32_t)t;
	if (io_read_file(file, TEXT_MAX, &text, &err) < 0) {
		buf_free(&text);
		return cli_fail(access(file, F_OK) < 0 ? X_NOTFOUND : X_FAIL, "%s", err.text);
	}
	if ((rc = model_files_open(pos[0], &files)) == X_OK) {
		rc = perplexity(&files, &cfg, buf_span(&text), &w, &err);
		model_files_close(&files);
		if (rc < 0)
			rc = model_fail(rc, pos[0], err.text);
	}
	buf_wipe_free(&text);
	return rc;
}

const struct model_verb model_verb_perplexity = {
    "perplexity", verb_perplexity,
    "  perplexity FILE --text-file F [--ctx 512] [--stride N] [--kernel NAME] [--threads N] [--kv "
    "TYPE]\n"
    "                                      negative log likelihood of a text, each token once\n"};
