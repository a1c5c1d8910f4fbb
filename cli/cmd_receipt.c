/* cmd_receipt.c - `sallyport receipt check|show|script`: proof of one answer, offline. check keeps
 * the exit codes of audit verify: 0 ok, 1 tampered, 2 incomplete, 3 usage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cli.h"
#include "io.h"
#include "jsonw.h"
#include "receipt.h"
#include "verify.h"

static int usage(bool asked)
{
	fputs("usage: sallyport receipt check FILE --vkey KEY [--entry FILE] [-o json]\n"
	      "       sallyport receipt show FILE|ID [-o json]\n"
	      "       sallyport receipt script > check-receipt.sh\n"
	      "check: is the entry in the log that KEY (text or file) signed? Exit 0 yes, 1 no, 2 "
	      "the\n"
	      "receipt ends early, 3 usage. show: what a receipt says, unchecked; an ID asks the "
	      "daemon.\n"
	      "script: a shell script that checks receipts with openssl, base64 and awk alone.\n",
	      asked ? stdout : stderr);
	return asked ? 0 : VERIFY_USAGE;
}

static int read_any(const char *path, size_t max, struct buf *b, struct err *err)
{
	return strcmp(path, "-") == 0 ? io_read_fd(0, max, b, err)
				      : io_read_file(path, max, b, err);
}

/* KEY is the text itself or a file that holds it; without one the realm's own. */
static int find_key(const char *arg, struct vkey *key, struct err *err)
{
	struct buf b = BUF_INIT(4096);
	char path[4096];
	struct span s;
	int rc = E_OK;

	if (arg == NULL && cli.realm == NULL)
		return err_set(err, E_NOTFOUND, "give the log's key with --vkey");
	snprintf(path, sizeof(path), "%s%s", arg ? arg : cli.realm, arg ? "" : "/log/vkey");
	if (arg == NULL || access(path, R_OK) == 0)
		rc = io_read_file(path, 1024, &b, err);
	else
		buf_puts(&b, arg);
	s = buf_span(&b);
	while (s.n > 0 && s.p[s.n - 1] == '\n')
		s.n--;
	if (rc == E_OK)
		rc = vkey_parse(s, key, err);
	buf_free(&b);
	return rc;
}

static void put_json(struct buf *b, const struct receipt *r, const char *result,
		     const struct checkpoint *cp, const char *message)
{
	struct jsonw w;

	jw_init(&w, b);
	jw_obj(&w);
	jw_key(&w, "entry");
	if (r->entry.n)
		jw_str(&w, buf_span(&r->entry));
	else
		jw_null(&w);
	jw_kint(&w, "index", (int64_t)r->p.index);
	jw_kcstr(&w, "message", message);
	jw_kbool(&w, "ok", strcmp(result, "ok") == 0);
	jw_kstr(&w, "origin", cp->origin);
	if (r->has_output)
		jw_khex(&w, "output_salt", r->output_salt, 32);
	if (r->has_prompt)
		jw_khex(&w, "prompt_salt", r->prompt_salt, 32);
	jw_kcstr(&w, "result", result);
	jw_khex(&w, "root", cp->root, MERKLE_HASH);
	jw_kint(&w, "schema_version", 1);
	jw_kint(&w, "size", (int64_t)cp->size);
	jw_end_obj(&w);
	buf_putc(b, '\n');
}

static void print_receipt(const struct receipt *r, const char *result, const struct checkpoint *cp,
			  const char *message)
{
	struct buf b = BUF_INIT(1u << 20);

	if (cli.out == OUT_JSON || cli.out == OUT_JSONL) {
		put_json(&b, r, result, cp, message);
	} else {
		buf_fmt(&b, "receipt %s: entry %llu of %llu, log " SPAN_FMT "\n", result,
			(unsigned long long)r->p.index, (unsigned long long)cp->size,
			SPAN_ARG(cp->origin));
		if (message[0])
			buf_fmt(&b, "  %s\n", message);
		if (r->entry.n)
			buf_fmt(&b, "  entry %.*s\n", (int)r->entry.n, r->entry.p);
	}
	fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
}

static int check(const char *file, const char *entry_file, const char *key_arg)
{
	static const char *const names[] = {"ok", "tampered", "incomplete", "usage"};
	struct buf text = BUF_INIT(RECEIPT_MAX), entry = BUF_INIT(65536);
	struct checkpoint cp = {0};
	struct err err = {0};
	struct receipt r = {0};
	struct vkey key;
	int code = VERIFY_USAGE, rc;

	if (read_any(file, RECEIPT_MAX, &text, &err) < 0 || find_key(key_arg, &key, &err) < 0 ||
	    (entry_file && io_read_file(entry_file, 65535, &entry, &err) < 0)) {
		cli_fail(code, "%s", err.text);
	} else {
		rc = receipt_parse(buf_span(&text), &r, &err);
		if (rc == E_OK)
			rc = receipt_check(&r, buf_span(&entry), &key, &cp, &err);
		code = rc == E_OK ? VERIFY_OK : rc == E_TRUNC ? VERIFY_INCOMPLETE : VERIFY_TAMPERED;
		print_receipt(&r, names[code], &cp, rc == E_OK ? "" : err.text);
	}
	receipt_free(&r);
	buf_free(&text);
	buf_free(&entry);
	return code;
}

static int from_daemon(const char *id, struct buf *text)
{
	char route[96], *raw = NULL;
	size_t n = 0;
	int rc;

	snprintf(route, sizeof(route), "/receipts/%.60s", id);
	rc = cli_call_raw("GET", route, &raw, &n);
	if (rc == X_OK)
		buf_put(text, raw, n);
	free(raw);
	return rc;
}

static int show(const char *what)
{
	struct buf text = BUF_INIT(RECEIPT_MAX);
	bool is_id = strncmp(what, "rcp_", 4) == 0 || strncmp(what, "req_", 4) == 0;
	struct checkpoint cp = {0};
	struct err err = {0};
	struct receipt r = {0};
	struct span note;
	const char *end;
	int rc = X_OK;

	if (is_id && access(what, R_OK) != 0)
		rc = from_daemon(what, &text);
	else if (read_any(what, RECEIPT_MAX, &text, &err) < 0)
		rc = cli_fail(X_NOTFOUND, "%s", err.text);
	if (rc == X_OK && is_id && cli.out == OUT_TABLE) { /* as a file, to be kept and checked */
		fwrite(text.p, 1, text.n, stdout);
	} else if (rc == X_OK && receipt_parse(buf_span(&text), &r, &err) < 0) {
		rc = cli_fail(X_FAIL, "%s", err.text);
	} else if (rc == X_OK) {
		note = r.p.checkpoint;
		end = memmem(note.p, note.n, "\n\n", 2);
		if (end)
			checkpoint_parse(span_of(note.p, (size_t)(end - note.p) + 1), &cp, NULL);
		print_receipt(&r, "unchecked", &cp, "");
	}
	receipt_free(&r);
	buf_free(&text);
	return rc;
}

int cmd_receipt(int argc, char **argv)
{
	const char *entry = NULL, *key = NULL, *pos[1];
	const struct opt opts[] = {
	    {"entry", false, &entry, NULL, 0}, {"vkey", false, &key, NULL, 0}, {0}};
	unsigned npos;

	if (cli.help || argc < 2)
		return usage(cli.help);
	if (cli_opts(argc, argv, opts, pos, 1, &npos) != X_OK)
		return VERIFY_USAGE;
	if (strcmp(argv[1], "script") == 0 && npos == 0)
		return fputs(receipt_script(), stdout) < 0 ? X_FAIL : X_OK;
	if (strcmp(argv[1], "check") == 0 && npos == 1)
		return check(pos[0], entry, key);
	if (strcmp(argv[1], "show") == 0 && npos == 1)
		return show(pos[0]);
	return usage(false);
}
