/* store_ev.c - writers of the entries; see store_ev.h. Keys stand in canonical order. */
#include "store_ev.h"

#include <stdio.h>
#include <stdlib.h>

#include "jsonw.h"

static const char *const states[] = {"ok",	"length",   "filtered",	  "cancelled", "failed",
				     "revoked", "deadline", "store_lost", "unknown",   "blocked"};
static const char *const actions[] = {"allow", "flag", "redact", "hold", "block", "error"};
/* Numbers are the gate's endpoints: 0 unknown, 1 chat completions, then in order of arrival. */
static const char *const endpoints[] = {"other",  "chat",   "completions",
					"models", "enroll", "receipts"};

#define NAME(table, i) ((i) < sizeof(table) / sizeof((table)[0]) ? (table)[i] : "other")

const char *ev_state_name(unsigned s)
{
	return NAME(states, s);
}

const char *ev_action_name(unsigned a)
{
	return NAME(actions, a);
}

const char *ev_endpoint_name(unsigned e)
{
	return NAME(endpoints, e);
}

bool ev_kernel_ok(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		      c == '-'))
			return false;
	}
	return s.n <= EV_KERNEL_MAX;
}

static void put_id(struct jsonw *w, const char *key, const char *prefix, const struct id *i)
{
	char t[ID_TEXT_MAX];

	jw_kcstr(w, key, id_fmt(prefix, i, t));
}

static void start(struct jsonw *w, struct buf *b, const struct id *boot)
{
	jw_init(w, b);
	jw_obj(w);
	put_id(w, "boot", "bot", boot);
}

static void tail(struct jsonw *w, int64_t ts)
{
	jw_kint(w, "ts", ts);
	jw_kint(w, "v", 1);
	jw_end_obj(w);
}

void ev_put_reserve(struct buf *b, const struct id *boot, const struct ev *e,
		    const struct ev_reserve_more *m)
{
	struct jsonw w;

	start(&w, b, boot);
	put_id(&w, "conn", "con", &e->conn);
	jw_kcstr(&w, "endpoint", ev_endpoint_name(m->endpoint));
	put_id(&w, "key", "key", &e->key);
	put_id(&w, "lease", "lse", &e->lease);
	jw_kint(&w, "max", m->max);
	jw_kstr(&w, "model", m->model);
	jw_kint(&w, "n", m->n);
	if (!id_is_zero(&e->org))
		put_id(&w, "org", "org", &e->org);
	put_id(&w, "req", "req", &e->req);
	jw_khex(&w, "src", m->src, sizeof(m->src));
	put_id(&w, "sub", "sub", &e->sub);
	jw_kcstr(&w, "t", "request.reserve");
	jw_kint(&w, "tier", m->tier);
	tail(&w, e->ts);
}

void ev_put_claim(struct buf *b, const struct id *boot, const struct ev *e)
{
	struct jsonw w;

	start(&w, b, boot);
	put_id(&w, "lease", "lse", &e->lease);
	jw_kint(&w, "out", e->out);
	jw_kint(&w, "prompt", e->prompt);
	put_id(&w, "req", "req", &e->req);
	jw_kcstr(&w, "t", "quota.claim");
	tail(&w, e->ts);
}

static void put_cats(struct jsonw *w, uint32_t cats)
{
	char name[8];

	jw_key(w, "cats");
	jw_arr(w);
	for (unsigned i = 0; i < 32; i++)
		if (cats >> i & 1) {
			snprintf(name, sizeof(name), "S%u", i + 1);
			jw_cstr(w, name);
		}
	jw_end_arr(w);
}

void ev_put_input(struct buf *b, const struct id *boot, const struct ev *e,
		  const struct ev_verdict *v)
{
	struct jsonw w;

	jw_init(&w, b); /* "action" sorts before "boot": the common start does not fit */
	jw_obj(&w);
	jw_kcstr(&w, "action", ev_action_name(v->action));
	put_id(&w, "boot", "bot", boot);
	put_cats(&w, v->cats);
	jw_khex(&w, "guard", v->guard_sha, 32);
	jw_kstr(&w, "kernel", v->kernel);
	put_id(&w, "lease", "lse", &e->lease);
	jw_khex(&w, "policy", v->policy_sha, 32);
	put_id(&w, "req", "req", &e->req);
	jw_kint(&w, "score", v->score_milli);
	jw_kcstr(&w, "t", "policy.input");
	jw_kint(&w, "threshold", v->threshold_milli);
	tail(&w, e->ts);
}

void ev_put_intent(struct buf *b, const struct id *boot, const struct ev *e,
		   const struct ev_intent_more *m)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_khex(&w, "commit", m->commit, 32);
	put_id(&w, "lease", "lse", &e->lease);
	jw_khex(&w, "model", m->model_sha, 32);
	jw_kint(&w, "prompt_bytes", m->prompt_bytes);
	jw_kint(&w, "prompt_tokens", m->prompt_tokens);
	put_id(&w, "req", "req", &e->req);
	jw_kcstr(&w, "t", "request.intent");
	tail(&w, e->ts);
}

void ev_put_progress(struct buf *b, const struct id *boot, const struct ev *e)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kint(&w, "bytes", (int64_t)e->bytes);
	put_id(&w, "lease", "lse", &e->lease);
	put_id(&w, "req", "req", &e->req);
	jw_kcstr(&w, "t", "response.progress");
	jw_kint(&w, "tokens", e->tokens);
	tail(&w, e->ts);
}

void ev_put_output(struct buf *b, const struct id *boot, const struct ev *e,
		   const struct ev_window *win, unsigned n)
{
	struct jsonw w;

	start(&w, b, boot);
	put_id(&w, "lease", "lse", &e->lease);
	put_id(&w, "req", "req", &e->req);
	jw_kcstr(&w, "t", "policy.output");
	jw_kint(&w, "ts", e->ts);
	jw_kint(&w, "v", 1);
	jw_key(&w, "windows");
	jw_arr(&w);
	for (unsigned i = 0; i < n; i++) {
		jw_arr(&w);
		jw_int(&w, win[i].choice);
		jw_int(&w, win[i].from);
		jw_int(&w, win[i].to);
		jw_cstr(&w, ev_action_name(win[i].action));
		jw_int(&w, win[i].cats);
		jw_int(&w, win[i].score);
		jw_end_arr(&w);
	}
	jw_end_arr(&w);
	jw_end_obj(&w);
}

void ev_put_outcome(struct buf *b, const struct id *boot, const struct ev *e,
		    const struct ev_outcome_more *m)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kint(&w, "cached", m->cached);
	jw_kcstr(&w, "code", reason_info(e->code)->name);
	jw_khex(&w, "commit", m->commit, 32);
	jw_kint(&w, "completion", e->completion);
	jw_kint(&w, "dur_us", (int64_t)m->dur_us);
	jw_kint(&w, "guard", m->guard);
	put_id(&w, "lease", "lse", &e->lease);
	jw_kint(&w, "out_bytes", (int64_t)m->out_bytes);
	jw_kint(&w, "prompt", e->prompt);
	jw_kint(&w, "released", (int64_t)m->released);
	put_id(&w, "req", "req", &e->req);
	jw_kcstr(&w, "state", ev_state_name(e->state));
	jw_kcstr(&w, "t", "request.outcome");
	tail(&w, e->ts);
}

void ev_put_ended(struct buf *b, const struct id *boot, const struct ev *e)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kcstr(&w, "code", reason_info(e->code)->name);
	put_id(&w, "lease", "lse", &e->lease);
	put_id(&w, "req", "req", &e->req);
	jw_kcstr(&w, "t", "request.ended");
	tail(&w, e->ts);
}

void ev_put_refused(struct buf *b, const struct id *boot, int64_t ts, const struct ev_refused *r)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kcstr(&w, "code", reason_info(r->code)->name);
	if (!id_is_zero(&r->key))
		put_id(&w, "key", "key", &r->key);
	if (!id_is_zero(&r->org))
		put_id(&w, "org", "org", &r->org);
	put_id(&w, "req", "req", &r->req);
	jw_khex(&w, "src", r->src, sizeof(r->src));
	jw_kcstr(&w, "stage", r->stage);
	if (!id_is_zero(&r->sub))
		put_id(&w, "sub", "sub", &r->sub);
	jw_kcstr(&w, "t", "request.refused");
	tail(&w, ts);
}

void ev_put_odd(struct buf *b, const struct id *boot, int64_t ts, const char *from, uint16_t type,
		uint16_t code, const struct id *req)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kcstr(&w, "code", reason_info(code)->name);
	jw_kcstr(&w, "from", from);
	jw_kint(&w, "msg", type);
	if (!id_is_zero(req))
		put_id(&w, "req", "req", req);
	jw_kcstr(&w, "t", "peer.odd");
	tail(&w, ts);
}

void ev_put_jump(struct buf *b, const struct id *boot, int64_t ts, int64_t delta_ms)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kint(&w, "delta_ms", delta_ms);
	jw_kcstr(&w, "t", "clock.jump");
	tail(&w, ts);
}

void ev_put_start(struct buf *b, const struct id *boot, int64_t ts, uint32_t epoch, uint64_t prev,
		  const uint8_t genesis[32])
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kcstr(&w, "build", PACKAGE_VERSION);
	jw_kint(&w, "epoch", epoch);
	jw_khex(&w, "genesis", genesis, 32);
	jw_kint(&w, "prev", (int64_t)prev);
	jw_kcstr(&w, "t", "log.start");
	tail(&w, ts);
}

void ev_put_recovered(struct buf *b, const struct id *boot, int64_t ts, uint64_t dropped,
		      uint64_t size)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kint(&w, "dropped", (int64_t)dropped);
	jw_kint(&w, "size", (int64_t)size);
	jw_kcstr(&w, "t", "log.recovered");
	tail(&w, ts);
}

void ev_put_stop(struct buf *b, const struct id *boot, int64_t ts)
{
	struct jsonw w;

	start(&w, b, boot);
	jw_kbool(&w, "clean", true);
	jw_kcstr(&w, "t", "log.stop");
	tail(&w, ts);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(reason_info(*(const uint16_t *)a)->name,
		      reason_info(*(const uint16_t *)b)->name);
}

void ev_put_aggregate(struct buf *b, const struct id *boot, int64_t ts, int64_t from, int64_t to,
		      const uint64_t *count, unsigned n)
{
	struct jsonw w;
	uint16_t code[128];
	unsigned k = 0;

	for (unsigned i = 0; i < n && k < 128; i++)
		if (count[i])
			code[k++] = (uint16_t)i;
	qsort(code, k, sizeof(code[0]), by_name);
	start(&w, b, boot);
	jw_key(&w, "codes");
	jw_obj(&w);
	for (unsigned i = 0; i < k; i++)
		jw_kint(&w, reason_info(code[i])->name, (int64_t)count[code[i]]);
	jw_end_obj(&w);
	jw_kint(&w, "from", from);
	jw_kcstr(&w, "t", "refused.aggregate");
	jw_kint(&w, "to", to);
	tail(&w, ts);
}

static void merge(struct ev_window *to, const struct ev_window *from)
{
	if (to->choice == from->choice)
		to->to = from->to;
	to->cats |= from->cats;
	to->action = from->action > to->action ? from->action : to->action;
	to->score = from->score > to->score ? from->score : to->score;
}

unsigned ev_merge_windows(struct ev_window *w, unsigned n)
{
	for (int other = 0; n > EV_WINDOWS && other < 2; other++)
		for (bool more = true; more && n > EV_WINDOWS;) {
			unsigned k = 0;

			more = false;
			for (unsigned i = 0; i < n; i++, k++) {
				w[k] = w[i];
				if (i + 1 < n && (other || w[i].choice == w[i + 1].choice)) {
					merge(&w[k], &w[++i]);
					more = true;
				}
			}
			n = k;
		}
	return n;
}

void ev_put_extra(struct buf *b, struct span entry, const uint8_t *prompt_salt,
		  const uint8_t *output_salt)
{
	struct jsonw w;

	jw_init(&w, b);
	jw_obj(&w);
	jw_kstr(&w, "entry", entry);
	if (output_salt)
		jw_khex(&w, "output_salt", output_salt, 32);
	if (prompt_salt)
		jw_khex(&w, "prompt_salt", prompt_salt, 32);
	jw_kint(&w, "v", 1);
	jw_end_obj(&w);
}
