/* model_generate.c - continues a prompt: ids, a text, or a message in the model's chat format. The
 * text is shown as it comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"
#include "model_run.h"
#include "model_schema.h"

#define PROMPT_MAX (1u << 20) /* bytes */
#define TEXT_MAX (64u << 20)

struct gen_args {
	const char *tokens, *prompt, *system; /* exactly one of tokens and prompt */
	bool chat, special;
	uint32_t n_new, draft;
	struct sampler smp;
	struct engine_cfg engine;
	enum kv_type kv;
};

struct gen {
	const struct gen_args *a;
	struct run r;
	struct schema *schema; /* NULL = any text */
	struct mask *mask;
	int32_t *ids, *out;
	size_t n_ids, n_out;
	struct buf text;
	enum gen_end end;
	double from, first; /* seconds: prompt handed in, first token out */
};

/* ---- prompt ---- */

static int chat_prompt(struct gen *g, size_t cap, struct err *err)
{
	enum chat_format f = chat_format_of(g->r.info);
	struct chat_opts o = {.generation_prompt = true};
	struct chat_msg m[2];
	size_t n = 0;

	if (f == CHAT_NONE)
		return err_set(err, E_UNSUPPORTED, "the model has no chat format known here");
	if (g->a->system)
		m[n++] =
		    (struct chat_msg){CHAT_SYSTEM, span_of(g->a->system, strlen(g->a->system))};
	m[n++] = (struct chat_msg){CHAT_USER, span_of(g->a->prompt, strlen(g->a->prompt))};
	return chat_ids(g->r.m, f, m, n, &o, g->ids, cap, &g->n_ids, err);
}

static int make_prompt(struct gen *g, struct err *err)
{
	struct span text = span_of(g->a->prompt, strlen(g->a->prompt));
	unsigned flags = (g->r.info->add_bos ? TOK_BOS : 0) | (g->a->special ? TOK_SPECIAL : 0);
	size_t cap = text.n + 4096 + (g->a->system ? strlen(g->a->system) : 0);
	int rc;

	if (text.n > PROMPT_MAX || cap > 2 * PROMPT_MAX)
		return err_set(err, E_RANGE, "the prompt is over %u bytes", PROMPT_MAX);
	if ((g->ids = calloc(cap, sizeof(*g->ids))) == NULL)
		return err_set(err, E_NOMEM, "no memory for the prompt");
	if (g->a->chat)
		return chat_prompt(g, cap, err);
	rc = model_tokenize(g->r.m, text, flags, g->ids, cap, &g->n_ids);
	if (rc == 0 && g->n_ids == 0)
		rc = E_RANGE;
	return rc < 0 ? err_set(err, rc, "the prompt cannot be tokenised or is empty") : 0;
}

/* ---- output ---- */

/* What a model says shall not drive a terminal. */
static void show(struct span s)
{
	bool terminal = isatty(STDOUT_FILENO);

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;

		putchar(terminal && control ? '?' : c);
	}
	fflush(stdout);
}

static void on_event(void *arg, const struct event *ev)
{
	struct gen *g = arg;
	struct span s = {0};

	if (ev->kind == EV_DONE)
		g->end = ev->end;
	if (ev->kind != EV_TOKEN)
		return;
	if (g->n_out == 0)
		g->first = run_now();
	g->out[g->n_out++] = ev->token;
	if (model_token_bytes(g->r.m, ev->token, &s) != 0)
		return;
	buf_span_put(&g->text, s);
	if (cli.out != OUT_JSON)
		show(s);
}

static const char *end_name(enum gen_end end)
{
	return end == GEN_END ? "end" : end == GEN_LENGTH ? "length" : "stopped";
}

static void print_result(struct gen *g)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	double took = run_now() - g->first;

	if (cli.out != OUT_JSON) {
		putchar('\n');
		if (isatty(STDERR_FILENO) && g->n_out > 1)
			fprintf(stderr,
				"%zu tokens of prompt, first answer after %.2f s; %zu tokens, %.1f "
				"a second; kernel %s\n",
				g->n_ids, g->first - g->from, g->n_out,
				(double)(g->n_out - 1) / took, g->r.kernel);
		return;
	}
	buf_fmt(&b, "{\"end\":\"%s\",\"prompt_tokens\":%zu,\"schema_version\":1,\"text\":",
		end_name(g->end), g->n_ids);
	model_put_text(&b, g->text.p ? g->text.p : "", g->text.n);
	buf_puts(&b, ",\"tokens\":[");
	for (size_t i = 0; i < g->n_out; i++)
		buf_fmt(&b, i ? ",%d" : "%d", (int)g->out[i]);
	buf_puts(&b, "]}");
	model_print(&b);
}

/* ---- running ---- */

static int run_generation(struct gen *g, struct err *err)
{
	struct seq_cfg cfg = {.priority = PRIO_NORMAL, .kv_type = g->a->kv};
	struct gen_limit limit = {.max_new = g->a->n_new, .draft = g->a->draft};
	uint64_t all = (uint64_t)g->n_ids + g->a->n_new;
	struct seq *s = NULL;
	job_id job;
	int rc;

	if (all > g->r.info->context)
		return err_set(err, E_RANGE, "%llu tokens: the model's context is %u",
			       (unsigned long long)all, g->r.info->context);
	cfg.max_tokens = (uint32_t)all;
	if ((g->out = calloc(g->a->n_new, sizeof(*g->out))) == NULL)
		return err_set(err, E_NOMEM, "no memory for the answer");
	g->from = run_now();
	if ((rc = seq_new(g->r.e, g->r.m, &cfg, &s, err)) < 0 ||
	    (rc = seq_append(s, g->ids, g->n_ids, NULL, &job, err)) < 0 ||
	    (g->schema && (rc = mask_new(g->r.m, g->schema, &g->mask, err)) < 0) ||
	    (rc = seq_generate(s, &g->a->smp, &limit, g->mask ? mask_try : NULL, g->mask, &job,
			       err)) < 0)
		return rc;
	seq_credit(s, g->a->n_new);
	return run_wait(&g->r, 2, on_event, g, err);
}

static int generate(const struct model_files *f, struct gen *g, struct err *err)
{
	int rc = run_open(&g->r, f, &g->a->engine, err);

	if (rc == 0 && g->a->prompt)
		rc = make_prompt(g, err);
	if (rc == 0)
		rc = run_generation(g, err);
	if (rc == 0)
		print_result(g);
	run_close(&g->r);
	mask_free(g->mask);
	return rc;
}

struct words {
	const char *count, *seed, *temp, *top_p, *top_k, *min_p, *kernel, *threads, *kv;
	const char *greedy, *chat, *special, *schema, *draft;
};

static int parse(const struct words *w, struct gen_args *a)
{
	double n = 32, seed = 1, temp = 0.6, top_p = 0.9, top_k = 0, min_p = 0, threads = 0,
	       draft = 0;
	int rc;

	if (!a->tokens == !a->prompt)
		return cli_fail(X_USAGE, "model generate FILE --tokens 1,2,3 or --prompt TEXT");
	if (a->tokens && (w->chat || a->system))
		return cli_fail(X_USAGE, "--chat and --system go with --prompt");
	if ((rc = model_arg_number("n", w->count, 1, 1e6, &n)) != X_OK ||
	    (rc = model_arg_number("temperature", w->temp, 0, 2, &temp)) != X_OK ||
	    (rc = model_arg_number("top-p", w->top_p, 0, 1, &top_p)) != X_OK ||
	    (rc = model_arg_number("top-k", w->top_k, 0, 1e6, &top_k)) != X_OK ||
	    (rc = model_arg_number("min-p", w->min_p, 0, 1, &min_p)) != X_OK ||
	    (rc = model_arg_number("threads", w->threads, 1, 256, &threads)) != X_OK ||
	    (rc = model_arg_number("draft", w->draft, 0, 15, &draft)) != X_OK ||
	    (rc = model_arg_number("seed", w->seed, 0, 9007199254740991.0, &seed)) != X_OK)
		return rc;
	sampler_init(&a->smp, (uint64_t)seed);
	a->smp.temperature = w->greedy ? 0.0f : (float)temp;
	a->smp.top_p = (float)top_p;
	a->smp.top_k = (uint32_t)top_k;
	a->smp.min_p = (float)min_p;
	a->n_new = (uint32_t)n;
	a->draft = (uint32_t)draft;
	a->engine.kernel_path = w->kernel;
	a->engine.threads = (uint32_t)threads;
	a->chat = w->chat != NULL || a->system != NULL;
	a->special = w->special != NULL;
	return run_kv_type(w->kv, &a->kv);
}

static int verb_generate(int argc, char **argv)
{
	struct gen_args a = {0};
	struct words w = {0};
	const char *pos[1];
	const struct opt opts[] = {
	    {"tokens", false, &a.tokens, NULL, 0},   {"prompt", false, &a.prompt, NULL, 0},
	    {"system", false, &a.system, NULL, 0},   {"chat", true, &w.chat, NULL, 0},
	    {"special", true, &w.special, NULL, 0},  {"n", false, &w.count, NULL, 0},
	    {"seed", false, &w.seed, NULL, 0},	     {"temperature", false, &w.temp, NULL, 0},
	    {"top-p", false, &w.top_p, NULL, 0},     {"top-k", false, &w.top_k, NULL, 0},
	    {"min-p", false, &w.min_p, NULL, 0},     {"kernel", false, &w.kernel, NULL, 0},
	    {"threads", false, &w.threads, NULL, 0}, {"kv", false, &w.kv, NULL, 0},
	    {"greedy", true, &w.greedy, NULL, 0},    {"schema", false, &w.schema, NULL, 0},
	    {"draft", false, &w.draft, NULL, 0},     {0}};
	struct gen g = {.a = &a, .text = BUF_INIT(TEXT_MAX)};
	struct model_files files;
	struct err err = {0};
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model generate FILE --prompt TEXT");
	if ((rc = parse(&w, &a)) != X_OK || (rc = schema_read(w.schema, &g.schema)) != X_OK)
		return rc;
	if (a.tokens && (rc = model_arg_tokens(a.tokens, &g.ids, &g.n_ids)) != X_OK) {
		schema_free(g.schema);
		return rc;
	}
	if ((rc = model_files_open(pos[0], &files)) == X_OK) {
		rc = generate(&files, &g, &err);
		model_files_close(&files);
		if (rc < 0)
			rc = model_fail(rc, pos[0], err.text);
	}
	schema_free(g.schema);
	free(g.ids);
	free(g.out);
	buf_wipe_free(&g.text);
	return rc;
}

const struct model_verb model_verb_generate = {
    "generate", verb_generate,
    "  generate FILE --prompt TEXT | --tokens 1,2,3 [--n 32] [--chat] [--system TEXT]\n"
    "        [--greedy] [--seed N] [--temperature 0.6] [--top-p 0.9] [--top-k N] [--min-p P]\n"
    "        [--kernel NAME] [--threads N] [--kv TYPE] [--special] [--schema FILE] [--draft N]\n"
    "                                      continue a prompt, shown as it comes\n"
    "        --chat                        TEXT is a user's message in the model's own format\n"
    "        --special                     names of control tokens in TEXT count as such\n"
    "        --schema FILE                 the text is JSON that satisfies this JSON Schema\n"
    "        --draft N                     guess up to N tokens where the text repeats itself:\n"
    "                                      the same text, sooner\n"};
