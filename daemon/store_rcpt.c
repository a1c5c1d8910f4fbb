/* store_rcpt.c - receipts and what the role itself answers the admin side: status, one request's
 * entries, receipts, the checkpoint, metrics. Loop thread; the index and database threads read. */
#include <sodium.h>
#include <jansson.h>
#include <stdlib.h>

#include "admin_verbs.h"
#include "jsonw.h"
#include "log.h"
#include "store.h"
#include "store_index.h"

#define SHOW_MAX 256u
#define SHOW_BYTES (2u << 20)
#define CHUNK 48000u

/* ---- the index, written behind the log ---- */

struct ix_job {
	struct work_job w; /* first */
	struct store *s;
	uint64_t first;
	unsigned n;
	size_t bytes;
	char entries[];
};

static void ix_run(struct work_job *w)
{
	struct ix_job *j = (struct ix_job *)w;
	struct store_index *x = j->s->index;
	struct err err = {0};
	size_t off = 0;
	int rc = E_OK;

	for (unsigned i = 0; i < j->n && rc == E_OK; i++) {
		uint32_t n;

		memcpy(&n, j->entries + off, 4); /* as slog_add wrote it, on this machine */
		rc = store_index_add(x, j->first + i, span_of(j->entries + off + 4, n), &err);
		if (rc == E_OK)
			store_balance_entry(j->s, span_of(j->entries + off + 4, n));
		off += 4 + n;
	}
	if (rc == E_OK && work_queued(j->s->ix) == 0)
		rc = store_index_commit(x, &err);
	if (rc == E_OK)
		store_balance_write(j->s, false);
	if (rc < 0)
		log_ev(LOG_WARN_LV, "index", "why=\"%s\"", err.text); /* caught up at next start */
	free(j);
}

void store_committed(void *ctx, const struct slog_job *j)
{
	struct store *s = ctx;
	struct ix_job *k = malloc(sizeof(*k) + j->entries.n);

	if (k == NULL || s->ix == NULL) {
		free(k);
		return;
	}
	*k = (struct ix_job){.w = {.run = ix_run}, .s = s, .n = j->n, .bytes = j->entries.n};
	k->first = j->index - (j->n - 1);
	memcpy(k->entries, j->entries.p, j->entries.n);
	if (work_put(s->ix, &k->w, true) < 0)
		free(k);
}

/* ---- asking for something by request id ---- */

enum ask_kind { ASK_USER, ASK_RECEIPT, ASK_SHOW };

struct ask {
	struct work_job w; /* first */
	struct store *s;
	enum ask_kind kind;
	struct id req;	   /* of the question */
	struct id of, sub; /* request asked about; whose it must be (ASK_USER) */
	int rc;
	struct receipt_row row;
	uint64_t ix[SHOW_MAX];
	unsigned n;
};

static void answer_no(struct ask *a, uint16_t code)
{
	if (a->kind == ASK_USER)
		store_deny(a->s, &a->req, code, code == RS_BOOK_DOWN ? 2000 : 0,
			   code != RS_BOOK_DOWN);
	else
		store_adm_reply(a->s, &a->req, (unsigned)reason_info(code)->status, false,
				SPAN_LIT("{\"error\":\"not_found\",\"schema_version\":1}"));
}

/* What matters of one entry, in a few words for a table. */
static void detail(struct buf *b, const json_t *e)
{
	static const char *const keys[] = {"model",  "action",	   "score",	    "threshold",
					   "prompt", "out",	   "prompt_tokens", "tokens",
					   "state",  "completion", "code"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *v = json_object_get(e, keys[i]);

		if (json_is_string(v) && json_string_length(v) < 64)
			buf_fmt(b, "%s%s %s", b->n ? ", " : "", keys[i], json_string_value(v));
		else if (json_is_integer(v))
			buf_fmt(b, "%s%s %lld", b->n ? ", " : "", keys[i],
				(long long)json_integer_value(v));
	}
}

/* {"entries":[{"detail","entry","index","t","ts"}]} from the log thread's array. */
static void show(struct span array, struct buf *b)
{
	json_t *in = json_loadb(array.p, array.n, 0, NULL), *o;
	struct jsonw w;
	size_t i;

	jw_init(&w, b);
	jw_obj(&w);
	jw_key(&w, "entries");
	jw_arr(&w);
	json_array_foreach(in, i, o)
	{
		const json_t *e = json_object_get(o, "entry");
		char mem[512];
		struct buf d = BUF_FIXED(mem, sizeof(mem));
		char *raw = json_dumps(e, JSON_COMPACT | JSON_SORT_KEYS);

		detail(&d, e);
		jw_obj(&w);
		jw_kstr(&w, "detail", buf_span(&d));
		jw_key(&w, "entry");
		jw_raw(&w, span_cstr(raw ? raw : "null"));
		jw_kint(&w, "index", json_integer_value(json_object_get(o, "index")));
		jw_kcstr(&w, "t", json_string_value(json_object_get(e, "t")));
		jw_kint(&w, "ts", json_integer_value(json_object_get(e, "ts")));
		jw_end_obj(&w);
		free(raw);
	}
	jw_end_arr(&w);
	jw_kint(&w, "schema_version", 1);
	jw_end_obj(&w);
	json_decref(in);
}

static void answer(struct slog_job *j)
{
	struct ask *a = j->arg;
	struct store *s = a->s;
	struct msg_RCPTOK ok = {.req = a->req, .body = buf_span(&j->out)};
	struct buf b = BUF_INIT(SHOW_BYTES);

	pthread_mutex_lock(&s->order);
	if (j->rc < 0 || (a->kind != ASK_SHOW && j->out.n > WIRE_BYTES_MAX)) {
		answer_no(a, RS_BOOK_DOWN);
	} else if (a->kind == ASK_USER) {
		s->n.receipts++;
		CH_SEND(role_chan(s->r, R_GATE, CH_DATA), RCPTOK, &ok);
	} else if (a->kind == ASK_RECEIPT) {
		s->n.receipts++;
		store_adm_reply(s, &a->req, 200, false, buf_span(&j->out));
	} else {
		show(buf_span(&j->out), &b);
		if (buf_ok(&b))
			store_adm_reply(s, &a->req, 200, false, buf_span(&b));
		else
			answer_no(a, RS_INTERNAL);
	}
	pthread_mutex_unlock(&s->order);
	buf_free(&b);
	free(a);
}

static void ask_run(struct work_job *w)
{
	struct ask *a = (struct ask *)w;
	struct err err;
	int n;

	if (a->kind != ASK_SHOW) {
		a->rc = db_receipt_get(a->s->db_wr, &a->of, &a->row);
		return;
	}
	store_index_commit(a->s->index, &err);
	n = store_index_find(a->s->index, &a->of, a->ix, SHOW_MAX, &err);
	a->rc = n > 0 ? E_OK : n == 0 ? E_NOTFOUND : n;
	a->n = n > 0 ? (unsigned)n : 0;
}

/* A subject sees its own receipts; that others exist is not to be learned. */
static bool may_see(const struct ask *a)
{
	return a->rc == E_OK && (a->kind == ASK_SHOW || a->row.outcome != UINT64_MAX) &&
	       (a->kind != ASK_USER || id_eq(&a->sub, &a->row.sub));
}

static void ask_done(struct work_job *w)
{
	struct ask *a = (struct ask *)w;
	struct store *s = a->s;
	struct slog_job *j;

	pthread_mutex_lock(&s->order);
	if (!may_see(a)) {
		answer_no(a, a->rc < 0 && a->rc != E_NOTFOUND ? RS_BOOK_DOWN : RS_NOT_FOUND);
		pthread_mutex_unlock(&s->order);
		free(a);
		return;
	}
	j = store_job(s);
	j->arg = a;
	j->done = answer;
	if (a->kind == ASK_SHOW) {
		j->want = malloc(a->n * sizeof(*j->want));
		must(j->want != NULL);
		memcpy(j->want, a->ix, a->n * sizeof(*j->want));
		j->n_want = a->n;
	} else {
		j->index = a->row.outcome;
		j->receipt = true;
		memcpy(j->salt[0], a->row.prompt_salt, 32);
		memcpy(j->salt[1], a->row.output_salt, 32);
		j->has_salt[0] = true;
		j->has_salt[1] = !sodium_is_zero(a->row.output_salt, 32); /* zeros: withheld */
	}
	slog_put(s->log, j);
	pthread_mutex_unlock(&s->order);
}

static void ask(struct store *s, enum ask_kind kind, const struct id *req, const struct id *of,
		const struct id *sub)
{
	struct ask *a = calloc(1, sizeof(*a));

	must(a != NULL);
	*a = (struct ask){
	    .w = {.run = ask_run, .done = ask_done}, .s = s, .kind = kind, .req = *req, .of = *of};
	if (sub)
		a->sub = *sub;
	store_rows_flush(s);
	if (work_put(kind == ASK_SHOW ? s->ix : s->wr, &a->w, false) < 0) {
		answer_no(a, RS_OVERLOADED);
		free(a);
	}
}

void store_rcpt(struct store *s, const struct pend *p)
{
	ask(s, ASK_USER, &p->req, &p->of, &p->row.sub);
}

/* ---- admin verbs of the role ---- */

void store_adm_reply(struct store *s, const struct id *req, unsigned status, bool more,
		     struct span body)
{
	struct msg_ADMREP m = {.req = *req, .status = (uint16_t)status};

	do {
		m.body = span_of(body.p, body.n > CHUNK ? CHUNK : body.n);
		body = span_from(body, m.body.n);
		m.more = more || body.n > 0;
		CH_SEND(role_chan(s->r, R_ADMIN, CH_DATA), ADMREP, &m);
	} while (body.n > 0);
}

static bool id_of(struct span body, struct id *out)
{
	json_t *o = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
	json_t *v = json_object_get(o, "id");
	struct span t = span_of(json_string_value(v), json_string_length(v));
	bool ok = json_is_string(v) && (id_parse("req", t, out) || id_parse("rcp", t, out));

	json_decref(o);
	return ok;
}

void store_admin_own(struct store *s, const struct msg_ADMREQ *m)
{
	struct buf b = BUF_INIT(WIRE_BYTES_MAX);
	unsigned status = 200;
	struct id of;

	switch (m->verb) {
	case AV_STATUS:
		store_status_json(s, &b);
		break;
	case AV_METRICS:
		store_metrics(s, &b);
		break;
	case AV_CHECKPOINT:
		slog_checkpoint(s->log, &b);
		break;
	case AV_REQUEST_SHOW:
	case AV_RECEIPT_SHOW:
		if (id_of(m->body, &of)) {
			ask(s, m->verb == AV_REQUEST_SHOW ? ASK_SHOW : ASK_RECEIPT, &m->req, &of,
			    NULL);
			return;
		}
		status = 400;
		buf_puts(&b,
			 "{\"error\":\"id is not a request or receipt id\",\"schema_version\":1}");
		break;
	default:
		status = 404;
		buf_puts(&b, "{\"error\":\"unknown verb\",\"schema_version\":1}");
	}
	store_adm_reply(s, &m->req, buf_ok(&b) ? status : 500, false, buf_span(&b));
	buf_free(&b);
}
