/* ep_enroll.c - POST /enroll: both halves of an enrolment code become an API key, shown once. */
#include <sodium.h>

#include "gate.h"
#include "jsonw.h"

void ep_enroll(struct gate *g, struct http_req *q)
{
	const struct gconn *gc = http_conn_user(q);
	struct msg_ENROLL m = {.req = *http_id(q), .conn = gc->id};
	struct enroll_req e;
	struct req_fault f;
	struct greq *gr;

	if (enroll_req_parse(http_body(q), &e, &f) < 0) {
		gate_refuse(g, q, f.code, f.param, f.text);
		return;
	}
	gr = greq_new(g, q, GK_ENROLL);
	if (gr) {
		m.code_a = span_cstr(e.code_a);
		m.code_b = span_cstr(e.code_b);
		if (CH_SEND(gate_store(g), ENROLL, &m) < 0)
			gate_fail(g, gr,
				  &(struct reply_fault){.code = RS_BOOK_DOWN, .retry_ms = 1000});
	}
	sodium_memzero(&e, sizeof(e));
}

void ep_enroll_ok(struct gate *g, struct greq *gr, const struct msg_ENROLLOK *m)
{
	struct buf body = BUF_INIT(4096);
	struct jsonw w;

	jw_init(&w, &body);
	w.free_order = true;
	jw_obj(&w);
	jw_kstr(&w, "api_key", m->key);
	jw_kstr(&w, "key_id", m->kid);
	jw_kstr(&w, "subject", m->subject);
	jw_end_obj(&w);
	gr->state = GS_OVER;
	gate_answer_json(gr->q, gr, &body);
}
