/* init_args.c - what was asked of `sallyport init`, checked before anything is written. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "clock.h"
#include "hash.h"
#include "init.h"
#include "io.h"
#include "policy_file.h"
#include "split.h"

#define POLICY_MAX (1u << 20)

/* Requests and tokens: minute, day, month. The organisation gets eight times a subject's. */
static const struct limits small_tiers[TIER_COUNT] = {
    {1, 5, 50, 500, 2000, 20000, 100000},
    {4, 60, 5000, 50000, 100000, 2000000, 20000000},
    {16, 300, 50000, 500000, 1000000, 20000000, 200000000},
    {64, 1200, 200000, 2000000, 5000000, 100000000, 1000000000},
};

void init_tiers(enum profile p, struct settings *s)
{
	static const struct limits demo = {256,	     6000,	  10000000,    100000000,
					   10000000, 10000000000, 100000000000};

	for (int t = 0; t < TIER_COUNT; t++)
		for (int lv = 0; lv < LV_COUNT; lv++) {
			struct limits l = small_tiers[t];

			if (lv == LV_ORG)
				l = (struct limits){l.concurrency * 8, l.req_min * 8, l.req_day * 8,
						    l.req_month * 8,   l.tok_min * 8, l.tok_day * 8,
						    l.tok_month * 8};
			s->tier[t][lv] = p == PR_DEMO ? demo : l;
		}
}

/* Paths go into an INI file: what libinih would cut or misread is refused. */
static int path_ok(const char *what, const char *path)
{
	for (const char *s = path; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f || *s == ';' || *s == '#' || *s == '"')
			return cli_fail(X_USAGE,
					"%s: a path in the configuration holds no control "
					"characters, quotes, ';' or '#'",
					what);
	return X_OK;
}

static int absolute(const char *what, const char *path, char out[REALM_PATH])
{
	char real[PATH_MAX];

	if (realpath(path, real) == NULL)
		return cli_fail(X_USAGE, "%s %s: %s", what, path, strerror(errno));
	if (snprintf(out, REALM_PATH, "%s", real) >= REALM_PATH)
		return cli_fail(X_USAGE, "%s: the path is longer than %d bytes", what,
				REALM_PATH - 1);
	return path_ok(what, out);
}

/* The realm's folder; it may not exist yet, its parent must. */
static int realm_dir(const char *realm, char out[REALM_PATH])
{
	static const char *const mine[] = {"genesis.json",  "state",	      "log",
					   "officers.json", "sallyport.conf", NULL};
	char path[REALM_PATH + 32], parent[REALM_PATH];
	const char *slash;
	size_t len = realm ? strlen(realm) : 0;
	struct stat st;
	int rc;

	while (len > 1 && realm[len - 1] == '/')
		len--;
	if (len == 0 || len >= REALM_PATH)
		return cli_fail(X_USAGE, "--realm DIR says where the realm shall live");
	snprintf(path, sizeof(path), "%.*s", (int)len, realm);
	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			return cli_fail(X_USAGE, "--realm %s is no folder", path);
		rc = absolute("--realm", path, out);
	} else {
		slash = strrchr(path, '/');
		snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) + 1 : 1,
			 slash ? path : ".");
		rc = absolute("the folder of --realm", parent, out);
		if (rc == X_OK && strlen(out) + strlen(slash ? slash + 1 : path) + 2 > REALM_PATH)
			rc = cli_fail(X_USAGE, "--realm: the path is too long");
		if (rc == X_OK) {
			size_t n = strlen(out);

			snprintf(out + n, REALM_PATH - n, "%s%s", n == 1 ? "" : "/",
				 slash ? slash + 1 : path);
			rc = path_ok("--realm", out);
		}
	}
	for (int i = 0; rc == X_OK && mine[i]; i++) {
		snprintf(path, sizeof(path), "%s/%s", out, mine[i]);
		if (lstat(path, &st) == 0)
			rc = cli_fail(X_CONFLICT,
				      "%s exists: there is a realm already; a realm is born "
				      "once. Another one needs another folder.",
				      path);
	}
	if (rc == X_OK &&
	    strlen(out) + sizeof("/admin.sock") > sizeof(((struct sockaddr_un *)0)->sun_path))
		rc = cli_fail(X_USAGE,
			      "--realm: %s/admin.sock is too long for a Unix socket (107 bytes)",
			      out);
	return rc;
}

static int read_officers(const struct init_words *w, struct realm_plan *p)
{
	struct genesis *g = &p->gen;
	struct err err;

	for (unsigned i = 0; w->officer[i]; i++) {
		struct officer_key *k = &p->officer[i];

		if (okey_pub_load(w->officer[i], k, &err) < 0)
			return cli_fail(X_USAGE, "--officer %s", err.text);
		for (unsigned j = 0; j < i; j++)
			if (id_eq(&k->id, &p->officer[j].id) ||
			    memcmp(k->pub, p->officer[j].pub, 32) == 0)
				return cli_fail(X_USAGE, "--officer %s and %s are the same key",
						w->officer[j], w->officer[i]);
		g->officer[i].id = k->id;
		memcpy(g->officer[i].pub, k->pub, 32);
		randombytes_buf(p->salt[i], 32);
		commit_digest(p->salt[i], span_cstr(k->name), g->officer[i].name_commit);
		g->n_officers = i + 1;
	}
	if (g->n_officers < 2)
		return cli_fail(X_USAGE, "two officers at least: --officer a.pub --officer b.pub "
					 "(sallyport officer keygen makes them)");
	return X_OK;
}

static int one_sha256(const char *path, uint8_t out[32])
{
	crypto_hash_sha256_state st;
	static uint8_t chunk[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat sb;
	ssize_t n;

	if (fd < 0)
		return cli_fail(X_USAGE, "%s: %s", path, strerror(errno));
	crypto_hash_sha256_init(&st);
	n = fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode) || sb.st_size == 0 ? -1 : 1;
	while (n > 0) {
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			crypto_hash_sha256_update(&st, chunk, (unsigned long long)n);
	}
	crypto_hash_sha256_final(&st, out);
	close(fd);
	return n < 0 ? cli_fail(X_USAGE, "%s is no readable, filled file", path) : X_OK;
}

/* The digest the model goes by; of a split one, named by any of its files, over all of them. */
static int model_sha256(const char *path, uint8_t out[32])
{
	unsigned n = split_count(path);
	uint8_t sha[SPLIT_MAX][32];
	char part[PATH_MAX + 8];
	int rc = X_OK;

	for (unsigned i = 0; i < n && rc == X_OK; i++) {
		split_path(path, i, part, sizeof(part)); /* as long as path */
		rc = one_sha256(part, sha[i]);
	}
	if (rc == X_OK)
		split_digest((const uint8_t(*)[32])sha, n, out);
	return rc;
}

/* NAME=FILE:chat,guard. The configuration allows fewer characters in a label than settings do. */
static int read_model(const char *arg, struct realm_plan *p)
{
	struct model_row *m = &p->gen.settings.model[p->gen.settings.n_models];
	size_t name = strcspn(arg, "=");
	const char *colon = strrchr(arg, ':'), *role = colon ? colon + 1 : NULL;
	char path[PATH_MAX];
	int rc;

	if (arg[name] == '\0' || colon == NULL || colon < arg + name)
		return cli_fail(X_USAGE, "--model NAME=FILE:chat,guard (or :chat, or :guard)");
	if (name == 0 || name >= MODEL_NAME ||
	    strspn(arg, "abcdefghijklmnopqrstuvwxyz0123456789.-") < name)
		return cli_fail(X_USAGE, "--model: a name has lower-case letters, digits, . and -");
	snprintf(m->name, sizeof(m->name), "%.*s", (int)name, arg);
	for (unsigned i = 0; i < p->gen.settings.n_models; i++)
		if (strcmp(p->gen.settings.model[i].name, m->name) == 0)
			return cli_fail(X_USAGE, "--model %s is named twice", m->name);
	m->chat = strcmp(role, "chat") == 0 || strcmp(role, "chat,guard") == 0 ||
		  strcmp(role, "guard,chat") == 0;
	m->guard = strcmp(role, "guard") == 0 || (m->chat && strlen(role) > 4);
	if (!m->chat && !m->guard)
		return cli_fail(X_USAGE,
				"--model %s: '%.40s' is neither chat, guard nor chat,guard",
				m->name, role);
	if ((size_t)snprintf(path, sizeof(path), "%.*s", (int)(colon - arg - name - 1),
			     arg + name + 1) >= sizeof(path))
		return cli_fail(X_USAGE, "--model: the path is too long");
	rc = absolute("--model", path, p->model_file[p->gen.settings.n_models]);
	if (rc == X_OK)
		rc = model_sha256(path, m->sha256);
	p->gen.settings.n_models++;
	return rc;
}

static int read_models(const struct init_words *w, struct realm_plan *p)
{
	bool chat = false, guard = false;
	int rc = X_OK;

	for (unsigned i = 0; w->model[i] && rc == X_OK; i++) {
		rc = read_model(w->model[i], p);
		chat = chat || p->gen.settings.model[i].chat;
		guard = guard || p->gen.settings.model[i].guard;
	}
	if (rc == X_OK && (!chat || !guard))
		rc = cli_fail(X_USAGE,
			      "a realm needs a model for chat and one as guard (one file may be "
			      "both): --model NAME=FILE:chat,guard");
	return rc;
}

static int read_policy(const char *path, struct realm_plan *p)
{
	struct buf text = BUF_INIT(POLICY_MAX), errors = BUF_INIT(8192);
	struct policy pol;
	struct err err;
	int rc;

	if (path == NULL)
		return cli_fail(X_USAGE,
				"--policy FILE names the policy (etc/policy.conf is the sample)");
	rc = absolute("--policy", path, p->policy_file);
	if (rc == X_OK && io_read_file(path, POLICY_MAX, &text, &err) < 0)
		rc = cli_fail(X_USAGE, "--policy %s", err.text);
	if (rc == X_OK && policy_parse(buf_span(&text), path, &pol, &errors) < 0)
		rc = cli_fail(X_USAGE, "--policy has faults:\n%s", buf_cstr(&errors));
	if (rc == X_OK)
		memcpy(p->gen.settings.policy_sha256, pol.sha256, 32);
	buf_free(&text);
	buf_free(&errors);
	return rc;
}

static int number(const char *what, const char *s, unsigned min, unsigned max, unsigned *out)
{
	char *end;
	unsigned long v = s[0] >= '0' && s[0] <= '9' ? strtoul(s, &end, 10) : ULONG_MAX;

	if (v < min || v > max || *end)
		return cli_fail(X_USAGE, "%s is a number from %u to %u", what, min, max);
	*out = (unsigned)v;
	return X_OK;
}

static int read_address(const struct init_words *w, struct realm_plan *p)
{
	struct in6_addr a6;
	struct in_addr a4;

	p->address = w->address ? w->address : "127.0.0.1";
	if (inet_pton(AF_INET, p->address, &a4) == 1) {
		if (p->gen.profile != PR_DEMO || ntohl(a4.s_addr) >> 24 == 127)
			return X_OK;
	} else if (inet_pton(AF_INET6, p->address, &a6) != 1) {
		return cli_fail(X_USAGE, "--address is a numeric address");
	} else if (p->gen.profile != PR_DEMO || IN6_IS_ADDR_LOOPBACK(&a6)) {
		return X_OK;
	}
	return cli_fail(X_USAGE, "a demo realm listens on loopback only");
}

int init_plan(const struct init_words *w, struct realm_plan *p)
{
	static const char *const profiles[] = {"demo", "small", "bank", "provider", NULL};
	struct span tz = span_cstr(w->timezone ? w->timezone : "UTC");
	const char *near = w->profile ? cli_nearest(w->profile, profiles) : NULL;
	int rc, profile = w->profile ? profile_from(span_cstr(w->profile)) : -1;

	memset(p, 0, sizeof(*p));
	if (profile < 0)
		return cli_fail(X_USAGE, "--profile is demo, small, bank or provider%s%s%s",
				near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	if (!model_name_ok(tz) || tz.n >= TZ_NAME)
		return cli_fail(X_USAGE, "--timezone is a name such as UTC or Asia/Ho_Chi_Minh");
	p->gen.profile = (enum profile)profile;
	p->gen.deployment = id_random();
	p->gen.ts = clock_wall_ms();
	p->gen.settings.ver = 1;
	p->gen.settings.demo = profile == PR_DEMO;
	memcpy(p->gen.settings.timezone, tz.p, tz.n);
	init_tiers(p->gen.profile, &p->gen.settings);
	rc = realm_dir(w->realm, p->dir);
	if (rc == X_OK)
		rc = read_officers(w, p);
	if (rc == X_OK)
		rc = number("--quorum", w->quorum ? w->quorum : "2", 2, p->gen.n_officers,
			    &p->gen.quorum);
	if (rc == X_OK)
		rc = number("--port", w->port ? w->port : "8443", 1, 65535, &p->port);
	if (rc == X_OK)
		rc = read_address(w, p);
	if (rc == X_OK)
		rc = read_policy(w->policy, p);
	return rc == X_OK ? read_models(w, p) : rc;
}
