/* cmd_audit.c - `sallyport audit verify|tail`: the book, read from its folder; no daemon is asked.
 * Exit codes of verify: 0 ok, 1 tampered, 2 incomplete, 3 usage. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "cli.h"
#include "entry_line.h"
#include "decisions.h"
#include "entry.h"
#include "io.h"
#include "jsonw.h"
#include "logdir.h"
#include "verify.h"

static int usage(bool asked)
{
	fputs("usage: sallyport audit verify [DIR] [--vkey KEY] [--since CHECKPOINT] [--decisions] "
	      "[-o json]\n"
	      "       sallyport audit tail [DIR] [-n N] [-f] [-o json]\n"
	      "DIR is the log folder (default: the realm's log, with the key its genesis names). "
	      "--vkey pins the log's key (text or file);\n"
	      "--since proves that the log still holds what a remembered checkpoint file signed.\n"
	      "--decisions also recomputes from the log who may do what: each statement, signature "
	      "and quorum.\n"
	      "verify exits 0 ok, 1 tampered, 2 incomplete, 3 usage.\n",
	      asked ? stdout : stderr);
	return asked ? 0 : VERIFY_USAGE;
}

static int open_dir(const char *arg, struct err *err)
{
	char path[4096];
	int fd;

	if (arg == NULL && cli.realm == NULL)
		return err_set(err, E_NOTFOUND, "name the log folder, or a realm with --realm");
	snprintf(path, sizeof(path), "%s%s", arg ? arg : cli.realm, arg ? "" : "/log");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "%s", path) : fd;
}

static int read_key(const char *arg, struct vkey *key, struct err *err)
{
	struct buf b = BUF_INIT(4096);
	struct span s;
	int rc = E_OK;

	if (access(arg, R_OK) == 0)
		rc = io_read_file(arg, 1024, &b, err);
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

/* Adds the decisions to what verify found; the exit code of both. */
static int with_decisions(int fd, const struct verify_result *r, struct buf *out)
{
	struct err err = {0};
	json_t *doc, *d = NULL;
	int rc = decisions_check(fd, r->records, &d, &err), code = (int)r->code;
	char *text;

	if (rc < 0)
		code = rc == E_CRYPTO ? VERIFY_TAMPERED : VERIFY_INCOMPLETE;
	if (cli.out != OUT_JSON && cli.out != OUT_JSONL) {
		if (rc < 0)
			buf_fmt(out, "decisions BAD: %s\n", err.text);
		else
			buf_fmt(out,
				"decisions ok: %lld statements, %lld refused, %lld authority rows; "
				"%lld officers, %lld subjects, %lld keys\ngenesis words: %s\n",
				json_integer_value(json_object_get(d, "statements")),
				json_integer_value(json_object_get(d, "refused")),
				json_integer_value(json_object_get(d, "rows")),
				json_integer_value(json_object_get(d, "officers")),
				json_integer_value(json_object_get(d, "subjects")),
				json_integer_value(json_object_get(d, "keys")),
				json_string_value(json_object_get(d, "words")));
		json_decref(d);
		return code;
	}
	doc = json_loadb(out->p, out->n, 0, NULL);
	json_object_set_new(doc, "decisions", d ? d : json_null());
	if (code != VERIFY_OK)
		json_object_set_new(doc, "ok", json_false());
	text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	buf_reset(out);
	buf_puts(out, text ? text : "{}");
	buf_putc(out, '\n');
	free(text);
	json_decref(doc);
	return code;
}

/* A realm's genesis stands outside the log folder: it pins the key. */
static bool realm_key(struct vkey *key)
{
	struct buf b = BUF_INIT(1u << 20);
	char path[4096];
	bool ok;

	if (cli.realm == NULL)
		return false;
	snprintf(path, sizeof(path), "%s/genesis.json", cli.realm);
	ok =
	    io_read_file(path, 1u << 20, &b, NULL) == E_OK && verify_genesis_key(buf_span(&b), key);
	buf_free(&b);
	return ok;
}

static int verify(const char *dir, const char *key_arg, const char *since_file, bool decisions)
{
	struct buf since = BUF_INIT(NOTE_MAX), out = BUF_INIT(65536);
	struct verify_opts o = {0};
	struct verify_result r;
	struct err err = {0};
	struct vkey key;
	int fd = -1, code = VERIFY_USAGE;

	if ((key_arg && read_key(key_arg, &key, &err) < 0) ||
	    (since_file && io_read_file(since_file, NOTE_MAX, &since, &err) < 0) ||
	    (fd = open_dir(dir, &err)) < 0) {
		cli_fail(code, "%s", err.text);
		goto out;
	}
	o.key = key_arg || (dir == NULL && realm_key(&key)) ? &key : NULL;
	o.since = buf_span(&since);
	code = (int)verify_log(fd, &o, &r);
	if (cli.out == OUT_JSON || cli.out == OUT_JSONL)
		verify_json(&r, &out);
	else
		verify_text(&r, &out);
	if (decisions && code == VERIFY_OK)
		code = with_decisions(fd, &r, &out);
	fwrite(out.p, 1, out.n, stdout);
out:
	if (fd >= 0)
		close(fd);
	buf_free(&since);
	buf_free(&out);
	return code;
}

/* Follows the commits of a folder. */
struct tail {
	int dirfd, fd;
	uint64_t first, size; /* segment at hand; committed entries */
	bool any;
	struct segscan scan;
};

/* Opens the newest segment when it is not the one at hand. False: no segment yet, or an error. */
static bool newest(struct tail *t, bool *changed)
{
	char name[SEG_NAME_MAX];
	struct logdir d;
	struct stat sb;
	bool ok = true;

	*changed = false;
	if (logdir_list(t->dirfd, &d, NULL) < 0)
		return false;
	if (d.n == 0 || (t->any && d.first[d.n - 1] == t->first)) {
		ok = t->any;
	} else {
		if (t->any) {
			segscan_free(&t->scan);
			close(t->fd);
		}
		t->first = d.first[d.n - 1];
		seg_name(t->first, name);
		t->fd = openat(t->dirfd, name, O_RDONLY | O_CLOEXEC);
		ok = t->fd >= 0 && fstat(t->fd, &sb) == 0 &&
		     segscan_init(&t->scan, t->fd, (uint64_t)sb.st_size, SEG_HEADER, NULL) == E_OK;
		t->any = ok;
		t->size = t->size < t->first ? t->first : t->size;
		*changed = ok;
	}
	logdir_free(&d);
	return ok;
}

/* Brings t->size up to the last commit now there. */
static void catch_up(struct tail *t)
{
	bool changed = true;
	struct seg_frame f;
	uint64_t whole;

	while (changed && newest(t, &changed)) {
		whole = t->scan.off;
		segscan_refresh(&t->scan);
		while (segscan_next(&t->scan, &f, NULL) == E_OK)
			if (f.kind != SEG_ENTRY) {
				whole = t->scan.off;
				if (f.kind == SEG_COMMIT && f.seq > t->size)
					t->size = f.seq;
			}
		t->scan.off = whole; /* an open group is read again when it is whole */
	}
}

static void print_entry(uint64_t index, struct span e)
{
	if (cli.out == OUT_JSON || cli.out == OUT_JSONL) {
		printf("{\"entry\":" SPAN_FMT ",\"index\":%llu}\n", SPAN_ARG(e),
		       (unsigned long long)index);
		return;
	}
	entry_line(index, e);
}

static int print_range(struct logr *r, uint64_t from, uint64_t to, struct err *err)
{
	struct buf e = BUF_INIT(ENTRY_MAX);
	int rc = E_OK;

	for (uint64_t i = from; rc == E_OK && i < to; i++) {
		buf_reset(&e);
		rc = logr_entry(r, i, &e, err);
		if (rc == E_OK)
			print_entry(i, buf_span(&e));
	}
	buf_free(&e);
	if (fflush(stdout) != 0)
		rc = E_CLOSED; /* nobody reads any more */
	return rc;
}

static int tail(const char *dir, uint64_t n, bool follow)
{
	const struct timespec pause = {0, 200 * 1000 * 1000};
	struct tail t = {.fd = -1};
	struct logr *r = NULL;
	struct err err = {0};
	uint64_t from;
	int rc;

	t.dirfd = open_dir(dir, &err);
	if (t.dirfd < 0)
		return cli_fail(X_NOTFOUND, "%s", err.text);
	rc = logr_open(t.dirfd, &r, &err);
	if (rc == E_OK) {
		catch_up(&t);
		from = t.size > n ? t.size - n : 0;
		rc = print_range(r, from, t.size, &err);
	}
	while (rc == E_OK && follow) {
		from = t.size;
		nanosleep(&pause, NULL);
		catch_up(&t);
		rc = print_range(r, from, t.size, &err);
	}
	if (t.any) {
		segscan_free(&t.scan);
		close(t.fd);
	}
	logr_close(r);
	close(t.dirfd);
	return rc == E_OK || rc == E_CLOSED ? X_OK : cli_fail(X_FAIL, "%s", err.text);
}

/* How many entries; digits alone. */
static bool parse_count(const char *s, uint64_t *n)
{
	size_t len = strlen(s);

	if (len == 0 || len > 18 || strspn(s, "0123456789") != len)
		return false;
	*n = strtoull(s, NULL, 10);
	return true;
}

int cmd_audit(int argc, char **argv)
{
	const char *since = NULL, *key = NULL, *count = NULL, *follow = NULL, *pos[1] = {NULL},
		   *decisions = NULL;
	const struct opt opts[] = {{"since", false, &since, NULL, 0},
				   {"vkey", false, &key, NULL, 0},
				   {"decisions", true, &decisions, NULL, 0},
				   {"n", false, &count, NULL, 0},
				   {"f", true, &follow, NULL, 0},
				   {"follow", true, &follow, NULL, 0},
				   {0}};
	uint64_t n = 10;
	unsigned npos;

	if (cli.help || argc < 2)
		return usage(cli.help);
	if (cli_opts(argc, argv, opts, pos, 1, &npos) != X_OK)
		return VERIFY_USAGE;
	if (strcmp(argv[1], "verify") == 0)
		return verify(pos[0], key, since, decisions != NULL);
	if (count && !parse_count(count, &n))
		return cli_fail(VERIFY_USAGE, "-n must be a number of entries");
	if (strcmp(argv[1], "tail") == 0)
		return tail(pos[0], n, follow != NULL);
	return usage(false);
}
