/* route.c - the one table of what exists on the public listener. Deny by default. */
#include "gate.h"

static const struct {
	const char *method, *path;
	bool tail; /* path is a prefix and something must follow it */
	void (*handler)(struct gate *g, struct http_req *q);
} routes[] = {
    {"POST", "/v1/chat/completions", false, ep_chat},
    {"GET", "/v1/models", false, ep_models},
    {"GET", "/v1/models/", true, ep_models_one},
    {"GET", "/v1/receipts/", true, ep_receipt},
    {"POST", "/enroll", false, ep_enroll},
    {"GET", "/healthz", false, ep_healthz},
    {"GET", "/readyz", false, ep_readyz},
    {"GET", "/health", false, ep_readyz},
};

void route(struct gate *g, struct http_req *q)
{
	struct span path = http_path(q), method = http_method(q);

	if (span_eq(method, SPAN_LIT("HEAD")))
		method = SPAN_LIT("GET");
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct span want = span_cstr(routes[i].path);

		if (routes[i].tail ? !span_starts(path, want) || path.n == want.n
				   : !span_eq(path, want))
			continue;
		if (span_eq(method, span_cstr(routes[i].method)))
			routes[i].handler(g, q);
		else
			ep_method(g, q, routes[i].method);
		return;
	}
	ep_notfound(g, q);
}
