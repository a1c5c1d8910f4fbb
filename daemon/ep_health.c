/* ep_health.c - /healthz: the process answers; /readyz: a request would be tried. Why not stands
 * only on the admin listener. */
#include "gate.h"

static void say(struct http_req *q, int status, const char *text)
{
	struct reply r;

	reply_init(&r, status, "application/json", http_id(q));
	buf_puts(&r.body, text);
	if (status == 503)
		reply_header(&r, "Retry-After", "1");
	gate_headers(q, NULL, &r);
	http_answer(q, &r);
}

void ep_healthz(struct gate *g, struct http_req *q)
{
	say(q, 200, "{\"status\":\"alive\"}\n");
}

void ep_readyz(struct gate *g, struct http_req *q)
{
	if (gate_reasons(g) == 0)
		say(q, 200, "{\"status\":\"ready\"}\n");
	else
		say(q, 503, "{\"status\":\"not ready\"}\n");
}
