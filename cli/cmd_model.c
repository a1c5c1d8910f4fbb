/* cmd_model.c - `sallyport model`: looks into model files and runs them offline, no daemon needed.
 * The forms of -o json are scripted against (doc/formats.md 11): keep them. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "engine.h"
#include "io.h"
#include "jsonw.h"
#include "tools.h"

#define TOKENS_MAX (1u << 20)
#define TEXT_MAX (64u << 20)

static const char model_help[] =
    "usage: sallyport model VERB FILE [options]\n"
    "  inspect FILE                        what is in it: shape, types, tokenizer, memory\n"
    "  logits FILE --tokens 1,2,3 [--path batch|step] [--kernel NAME]\n"
    "                                      logits after the last token, full precision\n"
    "  generate FILE --tokens 1,2,3 --n 32 [--greedy] [--seed N] [--temperature T]\n"
    "  tokenize FILE --text-file F [--special] [--bos]\n"
    "  import FILE --sha256 HEX --to FOLDER   copy a file in after checking its digest\n"
    "  -o json for scripts. Nothing here talks to a daemon.\n";

static int open_model(const char *path, int *fd)
{
	struct stat sb;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hang */
	if (*fd < 0)
		return cli_fail(errno == ENOENT ? X_NOTFOUND : X_FAIL, "%s: %s", path,
				strerror(errno));
	if (fstat(*fd, &sb) == 0 && S_ISREG(sb.st_mode))
		return X_OK;
	close(*fd);
	return cli_fail(X_FAIL, "%s: not a regular file", path);
}

static void print_buf(struct buf *b)
{
	if (!buf_ok(b))
		cli_fail(X_FAIL, "no memory for the answer");
	else
		fwrite(b->p, 1, b->n, stdout);
	putchar('\n');
	buf_free(b);
}

/* ---- inspect ---- */

struct listing {
	struct jsonw *w; /* NULL = table */
};

static bool on_tensor(void *arg, const struct tensor_desc *t)
{
	struct listing *l = arg;
	char dims[64];
	int n = 0;

	if (l->w == NULL) {
		for (uint32_t i = 0; i < t->n_dims; i++)
			n += snprintf(dims + n, sizeof(dims) - (size_t)n, i ? " x %llu" : "%llu",
				      (unsigned long long)t->dims[i]);
		printf("  %-36.*s %-6s %20s %12llu\n", (int)t->name.n, t->name.p, t->type, dims,
		       (unsigned long long)t->bytes);
		return true;
	}
	jw_obj(l->w);
	jw_kint(l->w, "bytes", (int64_t)t->bytes);
	jw_key(l->w, "dims");
	jw_arr(l->w);
	for (uint32_t i = 0; i < t->n_dims; i++)
		jw_int(l->w, (int64_t)t->dims[i]);
	jw_end_arr(l->w);
	jw_kstr(l->w, "name", t->name);
	jw_kint(l->w, "offset", (int64_t)t->offset);
	jw_kcstr(l->w, "type", t->type);
	jw_end_obj(l->w);
	return true;
}

static int inspect_json(int fd, const struct model_plan *p, struct err *err)
{
	const struct model_info *m = &p->info;
	struct buf b = BUF_INIT(64u << 20);
	struct jsonw w;
	struct listing l = {&w};
	int rc;

	jw_init(&w, &b);
	jw_obj(&w);
	jw_kcstr(&w, "arch", m->arch);
	jw_kint(&w, "context", m->context);
	jw_kint(&w, "embedding", m->n_embd);
	jw_kint(&w, "ffn", m->n_ff);
	jw_kint(&w, "file_bytes", (int64_t)m->file_bytes);
	jw_kint(&w, "head_dim", m->head_dim);
	jw_kint(&w, "heads", m->n_head);
	jw_kint(&w, "heads_kv", m->n_head_kv);
	jw_kint(&w, "kv_bytes_per_token", (int64_t)p->kv_bytes_per_token);
	jw_kint(&w, "layers", m->n_layer);
	jw_kcstr(&w, "name", m->name);
	jw_kint(&w, "params", (int64_t)m->params);
	jw_kint(&w, "peak_bytes", (int64_t)p->peak_bytes);
	jw_kcstr(&w, "pre", m->pre);
	jw_kint(&w, "schema_version", 1);
	jw_kbool(&w, "starter", m->is_starter);
	jw_key(&w, "tensors");
	jw_arr(&w);
	rc = model_each_tensor(fd, on_tensor, &l, err);
	jw_end_arr(&w);
	jw_kbool(&w, "tied_output", m->tied_output);
	jw_kcstr(&w, "tokenizer", m->tokenizer);
	jw_kcstr(&w, "types", m->quant);
	jw_kint(&w, "vocab", m->n_vocab);
	jw_end_obj(&w);
	if (rc == E_OK)
		print_buf(&b);
	else
		buf_free(&b);
	return rc;
}

static int inspect_table(int fd, const struct model_plan *p, struct err *err)
{
	const struct model_info *m = &p->info;
	struct listing l = {NULL};

	printf("name        %s%s\n", m->name, m->is_starter ? "  (the bundled starter)" : "");
	printf("arch        %s, %u layers, d %u, ffn %u, %u heads (%u KV) of %u\n", m->arch,
	       m->n_layer, m->n_embd, m->n_ff, m->n_head, m->n_head_kv, m->head_dim);
	printf("types       %s, %.1f M parameters, file %.1f MB%s\n", m->quant,
	       (double)m->params / 1e6, (double)m->file_bytes / 1e6,
	       m->tied_output ? ", output tied to the embedding" : "");
	printf("tokenizer   %s%s%s, %u tokens\n", m->tokenizer, m->pre[0] ? " / " : "", m->pre,
	       m->n_vocab);
	printf("context     %u tokens; KV cache %llu bytes a token, %.1f MB when full\n",
	       m->context, (unsigned long long)p->kv_bytes_per_token,
	       (double)p->kv_bytes_full_context / 1e6);
	printf("memory      %.1f MB weights, %.1f MB at most while loading\n",
	       (double)p->weights_bytes / 1e6, (double)p->peak_bytes / 1e6);
	printf("tensors\n");
	return model_each_tensor(fd, on_tensor, &l, err);
}

static int verb_inspect(int argc, char **argv)
{
	const struct opt opts[] = {{0}};
	const char *pos[1];
	unsigned npos;
	struct model_plan plan;
	struct err err = {0};
	int fd, rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model inspect FILE");
	if ((rc = open_model(pos[0], &fd)) != X_OK)
		return rc;
	rc = model_plan(fd, NULL, &plan, &err);
	if (rc == E_OK)
		rc = cli.out == OUT_JSON ? inspect_json(fd, &plan, &err)
					 : inspect_table(fd, &plan, &err);
	close(fd);
	return rc < 0 ? cli_fail(X_FAIL, "%s: %s", pos[0], err.text) : X_OK;
}

/* ---- tokens on the command line ---- */

static int parse_tokens(const char *s, int32_t **out, size_t *n)
{
	size_t cap = 1;
	char *end;

	if (s == NULL || *s == '\0')
		return cli_fail(X_USAGE, "--tokens 1,2,3 is needed");
	for (const char *c = s; *c; c++)
		cap += *c == ',';
	if (cap > TOKENS_MAX || (*out = calloc(cap, sizeof(**out))) == NULL)
		return cli_fail(X_USAGE, "at most %u tokens", TOKENS_MAX);
	for (*n = 0; *n < cap; s = end + 1) {
		long v;

		errno = 0;
		v = strtol(s, &end, 10);
		if (end == s || errno || v < 0 || v > INT32_MAX || (*end != ',' && *end != '\0')) {
			free(*out);
			*out = NULL;
			return cli_fail(X_USAGE, "--tokens: '%.20s' is no list of token ids", s);
		}
		(*out)[(*n)++] = (int32_t)v;
		if (*end == '\0')
			break;
	}
	return X_OK;
}

static int parse_number(const char *what, const char *s, double lo, double hi, double *v)
{
	char *end;

	if (s == NULL)
		return X_OK;
	*v = strtod(s, &end);
	if (end == s || *end || !(*v >= lo && *v <= hi))
		return cli_fail(X_USAGE, "--%s must be a number from %g to %g", what, lo, hi);
	return X_OK;
}

static void put_float(struct buf *b, float f)
{
	if (isfinite(f))
		buf_fmt(b, "%.9g", (double)f);
	else
		buf_puts(b, "null"); /* JSON has no NaN; a consumer must not take it for a number */
}

static int verb_logits(int argc, char **argv)
{
	const char *tokens = NULL, *path = "batch", *kernel = NULL, *pos[1];
	const struct opt opts[] = {{"tokens", false, &tokens, NULL, 0},
				   {"path", false, &path, NULL, 0},
				   {"kernel", false, &kernel, NULL, 0},
				   {0}};
	struct tool_opts o = {0};
	struct buf b = BUF_INIT(64u << 20);
	struct err err = {0};
	unsigned npos;
	int32_t *ids = NULL;
	float *row = NULL;
	uint32_t nv = 0;
	size_t n = 0;
	int fd, rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model logits FILE --tokens 1,2,3");
	if (strcmp(path, "batch") != 0 && strcmp(path, "step") != 0)
		return cli_fail(X_USAGE, "--path is batch or step");
	if ((rc = parse_tokens(tokens, &ids, &n)) != X_OK)
		return rc;
	if ((rc = open_model(pos[0], &fd)) != X_OK) {
		free(ids);
		return rc;
	}
	o.kernel = kernel;
	o.step = strcmp(path, "step") == 0;
	rc = tool_logits(fd, ids, n, &o, &row, &nv, &err);
	close(fd);
	free(ids);
	if (rc < 0)
		return cli_fail(rc == E_RANGE || rc == E_UNSUPPORTED ? X_USAGE : X_FAIL, "%s: %s",
				pos[0], err.text);
	buf_puts(&b, "{\"logits\":[");
	for (uint32_t i = 0; i < nv; i++) {
		if (i)
			buf_putc(&b, ',');
		put_float(&b, row[i]);
	}
	buf_puts(&b, "],\"schema_version\":1}");
	free(row);
	print_buf(&b);
	return X_OK;
}

/* ---- generate ---- */

/* Bytes that are no UTF-8 become U+FFFD: the output must be valid JSON. */
static void put_text(struct buf *out, const char *text, size_t n)
{
	struct buf clean = BUF_INIT(4 * n + 16);
	struct span s = span_of(text, n);

	while (s.n) {
		size_t len = 1;

		while (len < 4 && len < s.n && ((unsigned char)s.p[len] & 0xc0) == 0x80)
			len++;
		struct buf one = BUF_INIT(64);

		json_put_str(&one, span_of(s.p, len));
		if (buf_ok(&one))
			buf_put(&clean, s.p, len);
		else
			buf_puts(&clean, "\xef\xbf\xbd");
		buf_free(&one);
		s = span_from(s, len);
	}
	json_put_str(out, buf_span(&clean));
	buf_free(&clean);
}

static void print_generated(const int32_t *out, size_t n_out, const char *text, size_t n_text)
{
	struct buf b = BUF_INIT(64u << 20);

	if (cli.out != OUT_JSON) {
		fwrite(text, 1, n_text, stdout);
		putchar('\n');
		return;
	}
	buf_puts(&b, "{\"schema_version\":1,\"text\":");
	put_text(&b, text, n_text);
	buf_puts(&b, ",\"tokens\":[");
	for (size_t i = 0; i < n_out; i++)
		buf_fmt(&b, i ? ",%d" : "%d", (int)out[i]);
	buf_puts(&b, "]}");
	print_buf(&b);
}

static int verb_generate(int argc, char **argv)
{
	const char *tokens = NULL, *count = NULL, *seed = NULL, *temp = NULL, *kernel = NULL;
	const char *greedy = NULL, *pos[1];
	const struct opt opts[] = {{"tokens", false, &tokens, NULL, 0},
				   {"n", false, &count, NULL, 0},
				   {"seed", false, &seed, NULL, 0},
				   {"temperature", false, &temp, NULL, 0},
				   {"kernel", false, &kernel, NULL, 0},
				   {"greedy", true, &greedy, NULL, 0},
				   {0}};
	struct tool_opts o = {0};
	struct sampler smp;
	struct err err = {0};
	double n_new = 32, t = 0.6, sd = 1;
	unsigned npos;
	int32_t *ids = NULL, *out = NULL;
	char *text = NULL;
	size_t n = 0, n_out = 0, n_text = 0;
	int fd, rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1)
		return rc ? rc : cli_fail(X_USAGE, "model generate FILE --tokens 1,2,3 --n 32");
	if ((rc = parse_number("n", count, 1, 1e6, &n_new)) != X_OK ||
	    (rc = parse_number("temperature", temp, 0, 2, &t)) != X_OK ||
	    (rc = parse_number("seed", seed, 0, 9007199254740991.0, &sd)) != X_OK ||
	    (rc = parse_tokens(tokens, &ids, &n)) != X_OK)
		return rc;
	if ((rc = open_model(pos[0], &fd)) != X_OK) {
		free(ids);
		return rc;
	}
	sampler_init(&smp, (uint64_t)sd);
	smp.temperature = greedy ? 0.0f : (float)t;
	o.kernel = kernel;
	rc = tool_generate(fd, ids, n, (uint32_t)n_new, &smp, &o, &out, &n_out, &text, &n_text,
			   NULL, &err);
	close(fd);
	free(ids);
	if (rc < 0)
		return cli_fail(rc == E_RANGE || rc == E_UNSUPPORTED ? X_USAGE : X_FAIL, "%s: %s",
				pos[0], err.text);
	print_generated(out, n_out, text, n_text);
	free(out);
	free(text);
	return X_OK;
}

/* ---- tokenize ---- */

static int tokenize(int fd, struct span text, unsigned flags, struct buf *b, struct err *err)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 1 << 20};
	struct model_opts mo = {.vocab_only = true};
	struct engine *e = NULL;
	struct model *m = NULL;
	size_t cap = text.n + 16, n = 0;
	int32_t *ids = malloc(cap * sizeof(*ids));
	int rc = ids ? engine_open(&cfg, &e, err) : err_set(err, E_NOMEM, "no memory");

	if (rc == E_OK)
		rc = engine_model_add(e, &fd, 1, &mo, &m, err);
	if (rc == E_OK && (rc = model_tokenize(m, text, flags, ids, cap, &n)) < 0)
		err_set(err, rc, "the text cannot be tokenised (%s)", err_name(rc));
	buf_puts(b, "{\"ids\":[");
	for (size_t i = 0; i < n && rc == E_OK; i++)
		buf_fmt(b, i ? ",%d" : "%d", (int)ids[i]);
	buf_puts(b, "],\"schema_version\":1}");
	engine_close(e);
	free(ids);
	return rc;
}

static int verb_tokenize(int argc, char **argv)
{
	const char *file = NULL, *special = NULL, *bos = NULL, *pos[1];
	const struct opt opts[] = {{"text-file", false, &file, NULL, 0},
				   {"special", true, &special, NULL, 0},
				   {"bos", true, &bos, NULL, 0},
				   {0}};
	struct buf text = BUF_INIT(TEXT_MAX), b = BUF_INIT(TEXT_MAX * 8ull);
	struct err err = {0};
	unsigned npos;
	int fd, rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || file == NULL)
		return rc ? rc : cli_fail(X_USAGE, "model tokenize FILE --text-file F");
	if ((rc = io_read_file(file, TEXT_MAX, &text, &err)) < 0) {
		buf_free(&text);
		rc = rc == E_RANGE ? X_USAGE : access(file, F_OK) < 0 ? X_NOTFOUND : X_FAIL;
		return cli_fail(rc, "%s", err.text);
	}
	if ((rc = open_model(pos[0], &fd)) == X_OK) {
		rc = tokenize(fd, buf_span(&text),
			      (special ? TOK_SPECIAL : 0) | (bos ? TOK_BOS : 0), &b, &err);
		close(fd);
		if (rc < 0)
			rc = cli_fail(X_FAIL, "%s: %s", pos[0], err.text);
		else
			print_buf(&b);
	}
	buf_free(&text);
	buf_free(&b);
	return rc;
}

/* ---- import ---- */

static int copy_checked(int from, int to, const char *want, struct err *err)
{
	crypto_hash_sha256_state st;
	unsigned char chunk[65536], sum[32];
	char hex[65];
	ssize_t n;
	int rc = E_OK;

	crypto_hash_sha256_init(&st);
	while (rc == E_OK && (n = read(from, chunk, sizeof(chunk))) != 0) {
		if (n < 0)
			return err_sys(err, "read");
		crypto_hash_sha256_update(&st, chunk, (unsigned long long)n);
		rc = io_write_all(to, chunk, (size_t)n, err);
	}
	crypto_hash_sha256_final(&st, sum);
	sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
	if (rc == E_OK && strcmp(hex, want) != 0)
		rc = err_set(err, E_CRYPTO, "SHA-256 is %s, not what was promised", hex);
	if (rc == E_OK && fsync(to) < 0)
		rc = err_sys(err, "fsync");
	return rc;
}

static int verb_import(int argc, char **argv)
{
	const char *sha = NULL, *folder = NULL, *pos[1], *base;
	const struct opt opts[] = {
	    {"sha256", false, &sha, NULL, 0}, {"to", false, &folder, NULL, 0}, {0}};
	char to[4096], tmp[4104];
	struct err err = {0};
	struct model_plan plan;
	unsigned npos;
	int in, out, rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || sha == NULL || folder == NULL || strlen(sha) != 64)
		return rc ? rc : cli_fail(X_USAGE, "model import FILE --sha256 HEX --to FOLDER");
	base = strrchr(pos[0], '/') ? strrchr(pos[0], '/') + 1 : pos[0];
	if (snprintf(to, sizeof(to), "%s/%s", folder, base) >= (int)sizeof(to))
		return cli_fail(X_USAGE, "the path is too long");
	snprintf(tmp, sizeof(tmp), "%s.part", to);
	if ((rc = open_model(pos[0], &in)) != X_OK)
		return rc;
	out = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	rc = out < 0 ? err_sys(&err, "%s", tmp) : copy_checked(in, out, sha, &err);
	if (rc == E_OK)
		rc = model_plan(out, NULL, &plan, &err); /* it must be a model we can read, too */
	if (rc == E_OK && rename(tmp, to) < 0)
		rc = err_sys(&err, "rename to %s", to);
	if (out >= 0)
		close(out);
	close(in);
	if (rc < 0) {
		unlink(tmp);
		return cli_fail(X_FAIL, "%s: %s", pos[0], err.text);
	}
	printf("imported %s (%s, %s)\nsha256 %s\n", to, plan.info.name, plan.info.quant, sha);
	return X_OK;
}

int cmd_model(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(int, char **);
	} verbs[] = {{"inspect", verb_inspect},
		     {"logits", verb_logits},
		     {"generate", verb_generate},
		     {"tokenize", verb_tokenize},
		     {"import", verb_import}};
	static const char *const names[] = {"inspect",	"logits", "generate",
					    "tokenize", "import", NULL};
	const char *near;

	if (argc < 2 || cli.help) {
		fputs(model_help, argc < 2 ? stderr : stdout);
		return argc < 2 ? X_USAGE : X_OK;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].fn(argc, argv);
	near = cli_nearest(argv[1], names);
	return cli_fail(X_USAGE, "model has no verb '%.40s'%s%s%s", argv[1],
			near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}
