/* ep_notfound.c - paths that do not exist say what does. */
#include <stdio.h>

#include "gate.h"

void ep_notfound(struct gate *g, struct http_req *q)
{
	gate_refuse(
	    g, q, RS_NOT_FOUND, NULL,
	    "There are: POST /v1/chat/completions, GET /v1/models, GET /v1/models/{id}, "
	    "GET /v1/receipts/{id}, POST /enroll, GET /healthz, GET /readyz. The base URL of "
	    "an OpenAI client ends in /v1.");
}

void ep_method(struct gate *g, struct http_req *q, const char *allow)
{
	char detail[96];
	struct reply_fault f = {.code = RS_NOT_FOUND,
				.status = 405,
				.detail = detail,
				.vietnamese = http_vietnamese(q)};
	struct reply r;

	snprintf(detail, sizeof(detail), "This path takes %s only.", allow);
	g->flood[RS_NOT_FOUND]++;
	reply_error(&r, http_id(q), &f);
	reply_header(&r, "Allow", "%s", allow);
	gate_headers(q, NULL, &r);
	http_answer(q, &r);
}
