/* conf.c - see conf.h. The table below is the single source for parser, checker, dump and the key
 * list of sallyport.conf(5). Runs in main and again in each role on the same text. */
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { T_STR, T_PATH, T_U32, T_SIZE, T_MS, T_US, T_BOOL, T_OCT, T_CERT, T_LEVEL };

struct key {
	const char *section, *name;
	enum type type;
	size_t off, size;
	const char *def;
	uint64_t min, max;
};

#define K(sec, nm, ty, field, def, lo, hi)                                                         \
	{                                                                                          \
		sec, nm, ty, offsetof(struct conf, field), sizeof(((struct conf *)0)->field), def, \
		    lo, hi                                                                         \
	}

static const struct key keys[] = {
    K("realm", "state-dir", T_PATH, state_dir, "/var/lib/sallyport/state", 0, 0),
    K("realm", "log-dir", T_PATH, log_dir, "/var/lib/sallyport/log", 0, 0),
    K("realm", "genesis", T_PATH, genesis, "/etc/sallyport/genesis.json", 0, 0),
    K("listen \"public\"", "address", T_STR, address, "127.0.0.1", 0, 0),
    K("listen \"public\"", "port", T_U32, port, "8443", 0, 65535),
    K("listen \"public\"", "tls-cert", T_PATH, tls_cert, "/etc/sallyport/tls.crt", 0, 0),
    K("listen \"public\"", "tls-key", T_PATH, tls_key, "/etc/sallyport/tls.key", 0, 0),
    K("listen \"public\"", "client-ca", T_PATH, client_ca, "", 0, 0),
    K("listen \"public\"", "client-cert", T_CERT, client_cert, "off", 0, 2),
    K("listen \"public\"", "server-name", T_STR, server_name, "", 0, 0),
    K("listen \"public\"", "max-connections", T_U32, max_connections, "1024", 1, 65536),
    K("listen \"public\"", "max-per-address", T_U32, max_per_address, "512", 1, 65536),
    K("listen \"public\"", "handshake-timeout", T_MS, handshake_ms, "5s", 100, 600000),
    K("listen \"public\"", "head-timeout", T_MS, head_ms, "10s", 100, 600000),
    K("listen \"public\"", "body-timeout", T_MS, body_ms, "30s", 100, 600000),
    K("listen \"public\"", "idle-timeout", T_MS, idle_ms, "75s", 100, 3600000),
    K("listen \"public\"", "max-body", T_SIZE, max_body, "1MiB", 1024, 64u << 20),
    K("admin", "socket", T_PATH, admin_socket, "/run/sallyport/admin.sock", 0, 0),
    K("admin", "mode", T_OCT, admin_mode, "0660", 0, 0777),
    K("engine", "threads", T_U32, threads, "0", 0, 1024),
    K("engine", "kv-memory", T_SIZE, kv_memory, "1GiB", 1u << 20, 1ull << 44),
    K("engine", "kernel", T_STR, kernel, "auto", 0, 0),
    K("engine", "cache-idle", T_MS, cache_idle_ms, "10m", 0, 86400000),
    K("engine", "draft", T_U32, draft, "0", 0, 15),
    K("engine", "max-requests", T_U32, max_requests, "512", 1, 100000),
    K("engine", "queue-timeout", T_MS, queue_ms, "60s", 0, 3600000),
    K("engine", "request-timeout", T_MS, request_ms, "600s", 1000, 86400000),
    K("engine", "policy", T_PATH, policy_file, "/etc/sallyport/policy.conf", 0, 0),
    K("store", "segment-size", T_SIZE, segment_size, "64MiB", 1u << 18, 1ull << 32),
    K("store", "disk-reserve", T_SIZE, disk_reserve, "64MiB", 1u << 20, 1ull << 40),
    K("store", "commit-delay", T_US, commit_delay_us, "0us", 0, 100000),
    K("roles", "sandbox", T_BOOL, sandbox, "on", 0, 1),
    K("roles", "user", T_STR, user, "", 0, 0),
    K("log", "level", T_LEVEL, log_level, "info", 0, 0),
    K("daemon", "pid-file", T_PATH, pid_file, "", 0, 0),
    K("daemon", "drain-timeout", T_MS, drain_ms, "20s", 100, 600000),
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

struct parse {
	struct conf *c;
	const char *name;
	struct buf *errors;
	struct span text;
	unsigned line;
	bool failed;
	bool seen[N_KEYS];
};

static bool suffix_num(const char *v, const char *const *units, const uint64_t *mult, uint64_t *out)
{
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)v[0]))
		return false;
	errno = 0;
	n = strtoull(v, &end, 10);
	if (errno)
		return false;
	for (int i = 0; units[i]; i++)
		if (strcmp(end, units[i]) == 0)
			return !__builtin_mul_overflow(n, mult[i], out);
	return false;
}

static bool parse_number(enum type t, const char *v, uint64_t *out)
{
	static const char *const size_u[] = {"", "KiB", "MiB", "GiB", "TiB", NULL};
	static const uint64_t size_m[] = {1, 1u << 10, 1u << 20, 1u << 30, 1ull << 40};
	static const char *const ms_u[] = {"ms", "s", "m", "h", NULL};
	static const uint64_t ms_m[] = {1, 1000, 60000, 3600000};
	static const char *const us_u[] = {"us", "ms", NULL};
	static const uint64_t us_m[] = {1, 1000};
	static const char *const none_u[] = {"", NULL};
	static const uint64_t none_m[] = {1};
	char *end;

	switch (t) {
	case T_SIZE:
		return suffix_num(v, size_u, size_m, out);
	case T_MS:
		return suffix_num(v, ms_u, ms_m, out);
	case T_US:
		return suffix_num(v, us_u, us_m, out);
	case T_OCT:
		*out = strtoull(v, &end, 8);
		return v[0] == '0' && *end == '\0';
	default:
		return suffix_num(v, none_u, none_m, out);
	}
}

static bool parse_word(enum type t, const char *v, uint64_t *out)
{
	static const char *const cert[] = {"off", "optional", "required", NULL};
	static const char *const onoff[] = {"off", "on", NULL};
	static const char *const level[] = {"error", "warn", "info", "debug", NULL};
	const char *const *w = t == T_CERT ? cert : t == T_BOOL ? onoff : level;

	for (int i = 0; w[i]; i++)
		if (strcmp(v, w[i]) == 0) {
			*out = (uint64_t)i;
			return true;
		}
	return false;
}

static const char *expects(enum type t)
{
	switch (t) {
	case T_SIZE:
		return "a size such as 64MiB";
	case T_MS:
		return "a time such as 10s or 500ms";
	case T_US:
		return "a time such as 200us";
	case T_BOOL:
		return "on or off";
	case T_OCT:
		return "an octal mode such as 0660";
	case T_CERT:
		return "off, optional or required";
	case T_LEVEL:
		return "error, warn, info or debug";
	default:
		return "a number";
	}
}

static void put_u(void *at, size_t size, uint64_t v)
{
	if (size == 8)
		memcpy(at, &v, 8);
	else if (size == 4)
		memcpy(at, &(uint32_t){(uint32_t)v}, 4);
	else
		*(bool *)at = v != 0;
}

/* NULL when fine, else what is wrong. */
static const char *set_key(struct conf *c, const struct key *k, const char *v, char *why, size_t n)
{
	void *at = (char *)c + k->off;
	uint64_t num;

	if (k->type == T_STR || k->type == T_PATH) {
		if (strlen(v) >= k->size)
			return snprintf(why, n, "longer than %zu bytes", k->size - 1), why;
		memcpy(at, v, strlen(v) + 1);
		return NULL;
	}
	if (k->type == T_LEVEL) {
		if (!parse_word(k->type, v, &num))
			return snprintf(why, n, "must be %s", expects(k->type)), why;
		memcpy(at, v, strlen(v) + 1);
		return NULL;
	}
	if (k->type == T_BOOL || k->type == T_CERT ? !parse_word(k->type, v, &num)
						   : !parse_number(k->type, v, &num))
		return snprintf(why, n, "must be %s", expects(k->type)), why;
	if (k->max && (num < k->min || num > k->max))
		return snprintf(why, n, "must lie between %llu and %llu",
				(unsigned long long)k->min, (unsigned long long)k->max),
		       why;
	put_u(at, k->size, num);
	return NULL;
}

void conf_defaults(struct conf *c)
{
	char why[128];

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < N_KEYS; i++)
		set_key(c, &keys[i], keys[i].def, why, sizeof(why));
}

/* Edit distance, small inputs only. */
static size_t distance(const char *a, const char *b)
{
	size_t row[65], la = strlen(a), lb = strlen(b);

	if (la > 64 || lb > 64)
		return 99;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diag = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j], best = diag + (a[i - 1] != b[j - 1]);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diag = up;
			row[j] = best;
		}
	}
	return row[lb];
}

static void complain(struct parse *p, const char *section, const char *name, const char *why)
{
	p->failed = true;
	buf_fmt(p->errors, "%s:%u: [%.80s] %.80s %s\n", p->name, p->line, section, name, why);
}

static void unknown(struct parse *p, const char *section, const char *name)
{
	const char *best = NULL, *best_sec = NULL;
	size_t least = 99, d;
	bool known_section = strncmp(section, "model \"", 7) == 0;
	char why[256];

	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(keys[i].section, section) == 0)
			known_section = true;
	}
	for (size_t i = 0; i < N_KEYS; i++) {
		if (known_section && strcmp(keys[i].section, section) != 0)
			continue;
		d = known_section ? distance(name, keys[i].name)
				  : distance(section, keys[i].section);
		if (d < least) {
			least = d;
			best = keys[i].name;
			best_sec = keys[i].section;
		}
	}
	if (!known_section)
		snprintf(why, sizeof(why), "- unknown section; the nearest is [%s]",
			 best_sec ? best_sec : "realm");
	else
		snprintf(why, sizeof(why), "is unknown; the nearest is \"%s\"",
			 best ? best : "file");
	complain(p, section, name, why);
}

static int model_key(struct parse *p, const char *section, const char *name, const char *value)
{
	struct conf *c = p->c;
	size_t n = strlen(section);
	struct conf_model *m = NULL;
	char label[64];

	if (n < 9 || section[n - 1] != '"' || n - 8 >= sizeof(label) ||
	    strspn(section + 7, "abcdefghijklmnopqrstuvwxyz0123456789.-") != n - 8) {
		complain(p, section, name,
			 "- a model's label has lower-case letters, digits, . and -");
		return 1;
	}
	memcpy(label, section + 7, n - 8);
	label[n - 8] = '\0';
	for (unsigned i = 0; i < c->n_models; i++)
		if (strcmp(c->model[i].name, label) == 0)
			m = &c->model[i];
	if (m == NULL && c->n_models == CONF_MODELS) {
		complain(p, section, name, "- too many models");
		return 1;
	}
	if (m == NULL) {
		m = &c->model[c->n_models++];
		memset(m, 0, sizeof(*m));
		memcpy(m->name, label, sizeof(label));
	}
	if (strcmp(name, "file") != 0)
		complain(p, section, name, "is unknown; a model has \"file\"");
	else if (m->file[0])
		complain(p, section, name, "stands twice");
	else if (strlen(value) >= sizeof(m->file))
		complain(p, section, name, "is too long");
	else
		memcpy(m->file, value, strlen(value) + 1);
	return 1;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct parse *p = user;
	const char *wrong;
	char why[160];

	if (strncmp(section, "model \"", 7) == 0)
		return model_key(p, section, name, value);
	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0)
			continue;
		if (p->seen[i]) {
			complain(p, section, name, "stands twice");
			return 1;
		}
		p->seen[i] = true;
		wrong = set_key(p->c, &keys[i], value, why, sizeof(why));
		if (wrong)
			complain(p, section, name, wrong);
		return 1;
	}
	unknown(p, section, name);
	return 1;
}

/* libinih's reader: one line a call, so that on_pair knows the line number. */
static char *next_line(char *str, int num, void *stream)
{
	struct parse *p = stream;
	size_t n = 0;

	if (p->text.n == 0)
		return NULL;
	p->line++;
	while (n < p->text.n && p->text.p[n] != '\n')
		n++;
	if (n + 2 > (size_t)num || memchr(p->text.p, '\0', n)) {
		complain(p, "", "", "line is too long or holds a NUL byte");
		str[0] = '\0';
	} else {
		memcpy(str, p->text.p, n);
		str[n] = '\n';
		str[n + 1] = '\0';
	}
	p->text = span_from(p->text, n + 1);
	return str;
}

int conf_parse(struct conf *c, struct span text, const char *name, struct buf *errors)
{
	struct parse p = {.c = c, .name = name, .errors = errors, .text = text};
	int rc;

	conf_defaults(c);
	rc = ini_parse_stream(next_line, &p, on_pair, &p);
	if (rc != 0) {
		p.failed = true;
		buf_fmt(errors, "%s:%d: neither [section], key = value nor comment\n", name, rc);
	}
	for (unsigned i = 0; i < c->n_models; i++)
		if (c->model[i].file[0] == '\0') {
			p.failed = true;
			buf_fmt(errors, "%s: [model \"%s\"] has no file\n", name, c->model[i].name);
		}
	return p.failed ? E_FORMAT : E_OK;
}

static void dump_value(const struct conf *c, const struct key *k, struct buf *out)
{
	static const char *const cert[] = {"off", "optional", "required"};
	const void *at = (const char *)c + k->off;
	uint64_t v = 0;

	if (k->size == 8)
		memcpy(&v, at, 8);
	else if (k->size == 4)
		v = *(const uint32_t *)at;
	else if (k->size == 1)
		v = *(const bool *)at;
	switch (k->type) {
	case T_STR:
	case T_PATH:
	case T_LEVEL:
		buf_puts(out, at);
		return;
	case T_MS:
		buf_fmt(out, "%llums", (unsigned long long)v);
		return;
	case T_US:
		buf_fmt(out, "%lluus", (unsigned long long)v);
		return;
	case T_BOOL:
		buf_puts(out, v ? "on" : "off");
		return;
	case T_CERT:
		buf_puts(out, cert[v <= 2 ? v : 0]);
		return;
	case T_OCT:
		buf_fmt(out, "0%llo", (unsigned long long)v);
		return;
	default:
		buf_fmt(out, "%llu", (unsigned long long)v);
	}
}

void conf_dump(const struct conf *c, struct buf *out)
{
	const char *section = "";

	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(section, keys[i].section) != 0) {
			section = keys[i].section;
			buf_fmt(out, "%s[%s]\n", i ? "\n" : "", section);
		}
		buf_fmt(out, "%s = ", keys[i].name);
		dump_value(c, &keys[i], out);
		buf_putc(out, '\n');
	}
	for (unsigned i = 0; i < c->n_models; i++)
		buf_fmt(out, "\n[model \"%s\"]\nfile = %s\n", c->model[i].name, c->model[i].file);
}
