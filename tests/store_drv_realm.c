/* store_drv_realm.c - a realm on the disk for the driver, and what the log says afterwards. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "io.h"
#include "logdir.h"
#include "store_drv.h"
#include "store_fold.h"
#include "verify.h"

static int put_file(struct drv *d, const char *name, const void *p, size_t n)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	if (io_write_file(path, p, n, 0600, NULL) < 0 ||
	    (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		drv_fail(path);
	return fd;
}

static int put_dir(struct drv *d, const char *name)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	if (mkdir(path, 0700) < 0 || (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		drv_fail(path);
	return fd;
}

static void make_genesis(struct drv *d, const uint8_t log_pk[32])
{
	struct genesis *g = &d->gen;
	struct buf b = BUF_INIT(512);
	char origin[128], dep[ID_TEXT_MAX];
	uint8_t pk[32];

	*g = (struct genesis){.deployment = id_random(),
			      .profile = PR_DEMO,
			      .quorum = 2,
			      .ts = clock_wall_ms(),
			      .n_officers = DRV_OFFICERS};
	snprintf(origin, sizeof(origin), "sallyport.invalid/%s/1",
		 id_fmt("dep", &g->deployment, dep));
	if (vkey_make(origin, VKEY_ED25519, log_pk, &d->vkey, NULL) < 0)
		drv_fail("vkey");
	vkey_put(&d->vkey, &b);
	memcpy(g->log_vkey, b.p, b.n);
	g->log_vkey[b.n] = '\0';
	buf_free(&b);
	g->settings.ver = 1;
	g->settings.demo = true;
	strcpy(g->settings.timezone, "UTC");
	strcpy(g->settings.model[0].name, "starter");
	g->settings.model[0].chat = g->settings.model[0].guard = true;
	randombytes_buf(g->settings.model[0].sha256, 32);
	randombytes_buf(g->settings.policy_sha256, 32);
	g->settings.n_models = 1;
	for (int t = 0; t < TIER_COUNT; t++)
		for (int l = 0; l < LV_COUNT; l++)
			g->settings.tier[t][l] = (struct limits){
			    .concurrency = 256, .req_min = 1000000, .tok_min = 1000000000};
	for (unsigned i = 0; i < DRV_OFFICERS; i++) {
		crypto_sign_keypair(pk, d->off_sk[i]);
		g->officer[i].id = id_random();
		memcpy(g->officer[i].pub, pk, 32);
	}
	d->doc = BUF_INIT(65536);
	if (genesis_write(g, &d->doc) < 0)
		drv_fail("genesis");
	sha256(buf_span(&d->doc), d->aud);
}

void drv_realm(struct drv *d, const char *dir)
{
	uint8_t pk[32], sk[64], secret[32];

	snprintf(d->dir, sizeof(d->dir), "%s", dir);
	if (mkdir(dir, 0700) < 0)
		drv_fail(dir);
	d->state_fd = put_dir(d, "state");
	d->log_fd = put_dir(d, "log");
	crypto_sign_keypair(pk, sk);
	make_genesis(d, pk);
	d->genesis_fd = put_file(d, "genesis.json", d->doc.p, d->doc.n);
	d->key_fd = put_file(d, "log-key", sk, 64);
	randombytes_buf(secret, 32);
	d->pepper_fd = put_file(d, "pepper", secret, 32);
	randombytes_buf(secret, 32);
	d->kek_fd = put_file(d, "kek", secret, 32);
	d->engine_boot = id_random();
	d->answer = BUF_INIT(1 << 20);
}

void drv_realm_free(struct drv *d)
{
	struct req *r, *tmp;
	int fds[] = {d->state_fd, d->log_fd, d->genesis_fd, d->key_fd, d->pepper_fd, d->kek_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	HASH_CLEAR(hl, d->by_lease);
	HASH_ITER(hh, d->reqs, r, tmp)
	{
		HASH_DEL(d->reqs, r);
		free(r);
	}
	buf_free(&d->doc);
	buf_free(&d->answer);
}

static bool stands(struct logr *lr, uint64_t ix, const char *type, const struct id *req)
{
	struct buf e = BUF_INIT(ENTRY_MAX);
	char id[ID_TEXT_MAX];
	bool ok = logr_entry(lr, ix, &e, NULL) == E_OK &&
		  memmem(e.p, e.n, type, strlen(type)) != NULL &&
		  memmem(e.p, e.n, id_fmt("req", req, id), strlen(id)) != NULL;

	buf_free(&e);
	return ok;
}

void drv_check_log(struct drv *d)
{
	struct logr *lr = NULL;
	struct req *r, *tmp;

	if (logr_open(d->log_fd, &lr, NULL) < 0)
		drv_fail("log folder");
	HASH_ITER(hh, d->reqs, r, tmp)
	{
		bool ok = true;

		if (r->checked)
			continue;
		if (r->intent_acked)
			ok = stands(lr, r->intent_ix, "\"t\":\"request.intent\"", &r->req);
		if (r->outcome_acked && r->outcome_ix != UINT64_MAX)
			ok &= stands(lr, r->outcome_ix, "\"t\":\"request.outcome\"", &r->req);
		r->checked = r->outcome_acked;
		if (!ok) {
			fprintf(stderr,
				"finding: acknowledged record is not in the log, index %llu\n",
				(unsigned long long)r->intent_ix);
			d->lost++;
		}
	}
	logr_close(lr);
}

struct conc_sum {
	uint64_t conc, month;
};

static int add_conc(void *arg, const struct quota_acct *a)
{
	struct conc_sum *c = arg;

	c->conc += a->conc;
	if (a->level == QL_SUBJECT)
		c->month += a->mon_tok;
	return 0;
}

/* The fold's usage beside a plain sum of what the outcomes say. */
void drv_sums(struct drv *d, struct drv_sums *s)
{
	struct logr *lr = NULL;
	struct buf e = BUF_INIT(ENTRY_MAX);
	struct conc_sum c = {0};
	struct fold f;
	struct ev ev;
	struct err err;
	uint64_t odd = 0;

	memset(s, 0, sizeof(*s));
	if (fold_init(&f) < 0 || logr_open(d->log_fd, &lr, NULL) < 0)
		drv_fail("log folder");
	for (;; s->entries++) {
		buf_reset(&e);
		if (logr_entry(lr, s->entries, &e, NULL) < 0)
			break;
		if (ev_parse(buf_span(&e), &ev, &err) < 0 ||
		    fold_entry(&f, buf_span(&e), s->entries, &odd, &err) < 0)
			drv_fail(err.text);
		if (ev.type == EV_OUTCOME)
			s->tokens += (uint64_t)ev.prompt + ev.completion;
		s->aggregates += memmem(e.p, e.n, "\"t\":\"refused.aggregate\"", 23) != NULL;
	}
	quota_each(f.quota, add_conc, &c);
	s->reserves = f.reserves;
	s->intents = f.intents;
	s->outcomes = f.outcomes;
	s->ended = f.ended;
	s->open = leases_open(f.leases);
	s->conc = c.conc;
	s->used_month = c.month;
	s->odd = odd;
	fold_free(&f);
	logr_close(lr);
	buf_free(&e);
}

bool drv_verify(struct drv *d, bool clean)
{
	struct verify_opts o = {.key = &d->vkey};
	struct verify_result v;
	bool ok = verify_log(d->log_fd, &o, &v) == VERIFY_OK &&
		  (!clean || (v.clean && v.in_flight == 0 && v.intents == v.outcomes));

	if (!ok)
		fprintf(stderr, "finding: verify: %s\n", v.text);
	return ok;
}

uint64_t drv_count(struct drv *d, const char *t)
{
	struct logr *lr = NULL;
	struct buf e = BUF_INIT(ENTRY_MAX);
	char key[64];
	uint64_t n = 0;

	snprintf(key, sizeof(key), "\"t\":\"%s\"", t);
	if (logr_open(d->log_fd, &lr, NULL) < 0)
		drv_fail("log folder");
	for (uint64_t i = 0; logr_entry(lr, i, &e, NULL) == E_OK; i++, buf_reset(&e))
		n += memmem(e.p, e.n, key, strlen(key)) != NULL;
	logr_close(lr);
	buf_free(&e);
	return n;
}
