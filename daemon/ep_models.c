/* ep_models.c - GET /v1/models and /v1/models/{id}: what this key may use, as store says. */
#include "gate.h"
#include "jsonw.h"

static void ask(struct gate *g, struct http_req *q, struct span one)
{
	const struct bearer *b = http_bearer(q);
	struct msg_MODELS m = {.req = *http_id(q)};
	const struct gconn *gc = http_conn_user(q);
	struct greq *gr;

	if (!gate_has_key(g, q))
		return;
	gr = greq_new(g, q, GK_MODELS);
	if (gr == NULL)
		return;
	memcpy(gr->want, one.p, one.n < sizeof(gr->want) ? one.n : 0); /* paths are at most 255 */
	m.conn = gc->id;
	m.kid = span_cstr(b->kid);
	memcpy(m.digest, b->digest, sizeof(m.digest));
	if (CH_SEND(gate_store(g), MODELS, &m) < 0)
		gate_fail(g, gr, &(struct reply_fault){.code = RS_BOOK_DOWN, .retry_ms = 1000});
}

void ep_models(struct gate *g, struct http_req *q)
{
	ask(g, q, SPAN_LIT(""));
}

void ep_models_one(struct gate *g, struct http_req *q)
{
	ask(g, q, span_from(http_path(q), sizeof("/v1/models/") - 1));
}

static void put_model(struct jsonw *w, const struct gate *g, struct span name)
{
	jw_obj(w);
	jw_kstr(w, "id", name);
	jw_kcstr(w, "object", "model");
	jw_kint(w, "created", g->started);
	jw_kcstr(w, "owned_by", "sallyport");
	jw_end_obj(w);
}

void ep_models_ok(struct gate *g, struct greq *gr, const struct msg_MODELSOK *m)
{
	struct buf body = BUF_INIT(1 << 20);
	struct span left = m->names;
	bool all = gr->want[0] == '\0', found = all;
	struct jsonw w;

	jw_init(&w, &body);
	w.free_order = true;
	if (all) {
		jw_obj(&w);
		jw_kcstr(&w, "object", "list");
		jw_key(&w, "data");
		jw_arr(&w);
	}
	while (left.n) {
		const char *nl = memchr(left.p, '\n', left.n);
		struct span name = {left.p, nl ? (size_t)(nl - left.p) : left.n};

		left = span_from(left, name.n + (nl != NULL));
		if (name.n == 0 || (!all && !span_eq(name, span_cstr(gr->want))))
			continue;
		put_model(&w, g, name);
		found = true;
		if (!all)
			break;
	}
	if (all) {
		jw_end_arr(&w);
		jw_end_obj(&w);
	}
	if (found) {
		gr->state = GS_OVER;
		gate_answer_json(gr->q, gr, &body);
	} else {
		buf_free(&body);
		gate_fail(g, gr, &(struct reply_fault){.code = RS_NO_MODEL, .param = "model"});
	}
}
