/* ep_notfound.c - paths that do not exist say what does. */
#include <stdio.h>

#include "gate.h"

#define ROUTES                                                                                     \
	"POST /v1/chat/completions, GET /v1/models, GET /v1/models/{id}, GET /v1/receipts/{id}, "  \
	"POST /enroll, GET /healthz, GET /readyz. "

void ep_notfound(struct gate *g, struct http_req *q)
{
	gate_refuse(
	    g, q, RS_NOT_FOUND, NULL,
	    gate_say(q, "There are: " ROUTES "The base URL of an OpenAI client ends in /v1.",
		     "Hiện có: " ROUTES "Base URL của máy khách OpenAI kết thúc bằng /v1."));
}

void ep_method(struct gate *g, struct http_req *q, const char *allow)
{
	char detail[96];
	struct reply_fault f = {.code = RS_NOT_FOUND,
				.status = 405,
				.detail = detail,
				.vietnamese = http_vietnamese(q)};
	struct reply r;

	if (http_vietnamese(q))
		snprintf(detail, sizeof(detail), "Đường dẫn này chỉ nhận %s.", allow);
	else
		snprintf(detail, sizeof(detail), "This path takes %s only.", allow);
	g->flood[RS_NOT_FOUND]++;
	reply_error(&r, http_id(q), &f);
	reply_header(&r, "Allow", "%s", allow);
	gate_headers(q, NULL, &r);
	http_answer(q, &r);
}
