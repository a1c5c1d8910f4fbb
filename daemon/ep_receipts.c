/* ep_receipts.c - GET /v1/receipts/{id}: the proof of a request's outcome, for its owner. */
#include "gate.h"

void ep_receipt(struct gate *g, struct http_req *q)
{
	struct span id = span_from(http_path(q), sizeof("/v1/receipts/") - 1);
	const struct bearer *b = http_bearer(q);
	const struct gconn *gc = http_conn_user(q);
	struct msg_RCPT m = {.req = *http_id(q), .conn = gc->id};
	struct greq *gr;

	if (!gate_has_key(g, q))
		return;
	if (!id_parse("rcp", id, &m.of) && !id_parse("req", id, &m.of)) {
		gate_refuse(
		    g, q, RS_NOT_FOUND, NULL,
		    gate_say(
			q, "A receipt's id is rcp_ and 26 characters, as x-sallyport-receipt said.",
			"Mã biên nhận gồm rcp_ và 26 ký tự, như trong x-sallyport-receipt."));
		return;
	}
	gr = greq_new(g, q, GK_RECEIPT);
	if (gr == NULL)
		return;
	m.kid = span_cstr(b->kid);
	memcpy(m.digest, b->digest, sizeof(m.digest));
	if (CH_SEND(gate_store(g), RCPT, &m) < 0)
		gate_fail(g, gr, &(struct reply_fault){.code = RS_BOOK_DOWN, .retry_ms = 1000});
}

void ep_receipt_ok(struct gate *g, struct greq *gr, const struct msg_RCPTOK *m)
{
	struct reply r;

	reply_init(&r, 200, "text/plain; charset=utf-8", http_id(gr->q));
	buf_span_put(&r.body, m->body);
	gate_headers(gr->q, gr, &r);
	gr->state = GS_OVER;
	http_answer(gr->q, &r);
}
