/* store_start.c - see store_start.h. Order: secrets, log (recovery), database, the fold over every
 * entry, threads; then genesis and what a crash left owing; then log.start. */
#include "store_start.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "genesis.h"
#include "io.h"
#include "log.h"
#include "secret.h"
#include "store_index.h"

#define ZONEINFO "/usr/share/zoneinfo"
#define GENESIS_MAX (256u << 10)

static int read_named(struct role *r, const char *name, size_t max, struct buf *out,
		      struct err *err)
{
	int fd = role_file(r, name), rc;

	if (fd < 0)
		return err_set(err, E_NOTFOUND, "main gave no file %s", name);
	if (lseek(fd, 0, SEEK_SET) < 0) /* shared with an earlier life of this role */
		return err_sys(err, "%s", name);
	rc = io_read_fd(fd, max, out, err);
	return rc < 0 ? (err_prefix(err, "%s", name), rc) : E_OK;
}

/* n raw bytes, or 2n hex digits and a newline. */
static int read_secret(struct role *r, const char *name, uint8_t *out, size_t n, struct err *err)
{
	struct buf b = BUF_INIT(512);
	size_t got = 0;
	int rc = read_named(r, name, 512, &b, err);

	while (rc == E_OK && b.n > n && b.n > 0 && isspace((unsigned char)b.p[b.n - 1]))
		b.n--;
	if (rc == E_OK && b.n == n)
		memcpy(out, b.p, n);
	else if (rc == E_OK && (b.n != 2 * n ||
				sodium_hex2bin(out, n, b.p, b.n, NULL, &got, NULL) < 0 || got != n))
		rc = err_set(err, E_FORMAT, "%s: not %zu bytes, nor their hex", name, n);
	buf_wipe_free(&b);
	return rc;
}

/* The log key: a seed of 32 bytes or a whole secret key of 64. */
static int read_log_key(struct role *r, uint8_t sk[64], struct err *err)
{
	SCOPED_SECRET(seed, 32);
	uint8_t pk[32];

	if (seed == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	if (read_secret(r, "secret:log-key", sk, 64, err) == E_OK)
		return E_OK;
	if (read_secret(r, "secret:log-key", seed, 32, err) < 0)
		return E_FORMAT;
	crypto_sign_seed_keypair(pk, sk, seed);
	return E_OK;
}

int store_prepare(struct role *r, struct err *err)
{
	struct store *s = calloc(1, sizeof(*s));
	struct genesis *g = calloc(1, sizeof(*g));
	struct vkey key;
	int rc;

	if (s == NULL || g == NULL || fold_init(&s->f) < 0 || fold_init(&s->rep) < 0)
		return err_set(err, E_NOMEM, "store");
	s->r = r;
	s->stash_tail = &s->stash;
	pthread_mutex_init(&s->order, NULL);
	s->genesis_doc = BUF_INIT(GENESIS_MAX);
	role_set_user(r, s);
	rc = read_named(r, "genesis", GENESIS_MAX, &s->genesis_doc, err);
	if (rc == E_OK)
		rc = genesis_parse(buf_span(&s->genesis_doc), g, err);
	if (rc == E_OK)
		rc = vkey_parse(span_cstr(g->log_vkey), &key, err);
	if (rc == E_OK) {
		memcpy(s->origin, key.name, sizeof(s->origin));
		memcpy(s->log_pub, key.pub, 32);
		s->epoch = (uint32_t)strtoul(
		    strrchr(s->origin, '/') ? strrchr(s->origin, '/') + 1 : "1", NULL, 10);
		sha256(buf_span(&s->genesis_doc), s->genesis);
		memcpy(s->zone_name, g->settings.timezone, sizeof(s->zone_name));
		/* before the sandbox: time zones are files. A later change by a case is taken when
		 * it is UTC or of the form +hh:mm. */
		rc = zone_load(&s->f.zone, ZONEINFO, s->zone_name, clock_wall_ms(), err);
		s->rep.zone = s->f.zone;
	}
	free(g);
	return rc < 0 ? (err_prefix(err, "genesis"), rc) : E_OK;
}

static int open_log(struct store *s, const struct conf *c, struct logw **w, struct err *err)
{
	SCOPED_SECRET(sk, 64);
	struct logw_opts o = {.dirfd = role_file(s->r, "log-dir"),
			      .origin = s->origin,
			      .segment_bytes = c->segment_size};
	int rc;

	if (sk == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	rc = read_log_key(s->r, sk, err);
	if (rc < 0)
		return rc;
	if (!secret_eq(sk + 32, s->log_pub, 32))
		return err_set(err, E_CRYPTO, "the log key is not the one genesis names");
	o.seckey = sk;
	return logw_open(&o, w, &s->found, err);
}

static int fold_both(struct store *s, const struct ev *ev, uint64_t i, uint64_t *odd,
		     struct err *err)
{
	int rc = fold_apply(&s->f, ev, i, NULL);

	if (rc == E_CONFLICT) {
		(*odd)++;
		rc = E_OK;
	}
	if (rc == E_OK && fold_apply(&s->rep, ev, i, NULL) == E_NOMEM)
		rc = E_NOMEM;
	return rc < 0 ? err_set(err, rc, "no memory for the fold") : E_OK;
}

/* Every entry, once: quotas and leases, the authority set, the index. */
static int replay(struct store *s, struct logw *w, struct err *err)
{
	struct buf e = BUF_INIT(ENTRY_MAX);
	uint64_t n = logw_size(w), odd = 0, applied = 0;
	struct ev ev;
	int rc = db_applied_get(s->db_wr, &applied);

	for (uint64_t i = 0; i < n && rc == E_OK; i++) {
		buf_reset(&e);
		rc = logw_entry(w, i, &e, err);
		if (rc == E_OK)
			rc = ev_parse(buf_span(&e), &ev, err);
		if (rc == E_OK)
			rc = fold_both(s, &ev, i, &odd, err);
		if (rc == E_OK && i + 1 == applied)
			store_balance_compare(s);
		if (rc == E_OK)
			rc = store_admin_replay(s->admin, i, buf_span(&e), err);
		if (rc == E_OK && i >= store_index_applied(s->index))
			rc = store_index_add(s->index, i, buf_span(&e), err);
		if (rc < 0)
			err_prefix(err, "log entry %llu", (unsigned long long)i);
	}
	buf_free(&e);
	if (rc == E_OK)
		rc = store_index_commit(s->index, err);
	if (applied > n)
		log_ev(LOG_WARN_LV, "balances_ahead", "applied=%llu", (unsigned long long)applied);
	s->rep_written = applied;
	if (odd)
		log_ev(LOG_WARN_LV, "fold_odd", "entries=%llu", (unsigned long long)odd);
	log_ev(LOG_INFO_LV, "log_open", "size=%llu dropped=%llu open=%u clean=%d",
	       (unsigned long long)n, (unsigned long long)s->found.dropped_bytes,
	       leases_open(s->f.leases), s->found.clean);
	return rc;
}

static void post(void *ctx, void (*fn)(void *), void *arg)
{
	role_post(((struct store *)ctx)->r, fn, arg);
}

static void start_clock(struct store *s)
{
	int64_t mono = (int64_t)clock_mono_ms();

	s->last_ms = s->f.last_ts;
	s->clock_off = clock_wall_ms() - mono;
	/* a wall clock behind the log is a step we were not there to see */
	s->clock_base = s->f.last_ts - mono > s->clock_off ? s->f.last_ts - mono : s->clock_off;
}

int store_start(struct role *r, struct err *err)
{
	struct store *s = role_get_user(r);
	const struct conf *c = role_conf(r);
	SCOPED_SECRET(kek, 32);
	struct logw *w = NULL;
	struct slog_cfg lc = {.dirfd = role_file(r, "log-dir"),
			      .low_water = c->disk_reserve,
			      .delay_us = c->commit_delay_us,
			      .post = post,
			      .ctx = s,
			      .committed = store_committed};
	int rc;

	s->pepper = sodium_malloc(32);
	if (kek == NULL || s->pepper == NULL)
		return err_set(err, E_NOMEM, "guarded memory");
	rc = read_secret(r, "secret:pepper", s->pepper, 32, err);
	if (rc == E_OK)
		rc = read_secret(r, "secret:kek", kek, 32, err);
	if (rc == E_OK)
		rc = open_log(s, c, &w, err);
	if (rc == E_OK)
		rc = store_db_open(s, role_file(r, "state-dir"), kek, err);
	if (rc == E_OK)
		rc = replay(s, w, err);
	if (rc < 0)
		return rc; /* the process ends: descriptors and locks with it */
	start_clock(s);
	store_expiries(s);
	s->hello_by = clock_mono_ms() + HELLO_WAIT_MS;
	s->bucket_at = clock_mono_ms();
	s->bucket = SINGLE_BURST;
	if (s->found.size && !s->found.clean)
		s->started_at = clock_mono_ms(); /* else nothing can have been lost */
	lc.w = w;
	rc = slog_start(&lc, &s->log, err);
	if (rc == E_OK)
		rc = store_db_start(s, err);
	return rc;
}

static void begin_done(struct slog_job *j)
{
	struct store *s = j->arg;

	if (j->rc == E_OK)
		log_ev(LOG_INFO_LV, "log_start", "index=%llu", (unsigned long long)j->index);
	s->log_started = j->rc == E_OK;
	if (s->log_started)
		store_release_held(s);
}

void store_log_begin(struct store *s)
{
	char mem[EV_MAX];
	struct buf b = BUF_FIXED(mem, sizeof(mem));
	struct slog_job *j;

	if (s->log_begun)
		return;
	s->log_begun = true;
	j = store_job(s);
	if (s->found.dropped_bytes) {
		ev_put_recovered(&b, role_boot(s->r), store_now(s), s->found.dropped_bytes,
				 s->found.size);
		slog_add(j, buf_span(&b));
		buf_reset(&b);
	}
	ev_put_start(&b, role_boot(s->r), store_now(s), s->epoch, s->found.size, s->genesis);
	slog_add(j, buf_span(&b));
	j->must = true;
	j->done = begin_done;
	slog_put(s->log, j);
}
