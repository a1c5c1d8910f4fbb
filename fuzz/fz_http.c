/* fz_http.c - head, framing and JSON checks on any bytes: no crash, and what passes is bounded. */
#include <sodium.h>

#include "bearer.h"
#include "http_strict.h"
#include "log.h"
#include "req_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
static void feed_body(struct span rest, const struct strict_head *h)
{
	struct strict_body b;
	size_t used = 0;

	strict_body_init(&b, h, 1 << 20);
	strict_body_feed(&b, rest, &used);
	must(used <= rest.n);
}

/* What libmicrohttpd gets frames exactly as what was checked. */
static void blank(struct span head, const struct strict_head *h)
{
	static char copy[STRICT_HEAD_MAX];
	struct strict_head after;
	size_t off = 0, len = 0;

	memcpy(copy, head.p, head.n);
	strict_blank(copy, head.n);
	must(strict_scan(span_of(copy, head.n), &off, &len) == SW_OK && len == head.n);
	must(strict_head(span_of(copy, len), &after) == SW_OK);
	must(after.length == h->length && after.chunked == h->chunked && after.close == h->close &&
	     after.http10 == h->http10 && after.expect == h->expect && !after.has_auth);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static bool up;
	struct span in = {(const char *)p, n};
	struct strict_head h;
	struct chat_req r;
	struct req_fault f;
	struct bearer b;
	size_t off = 0, len = 0;

	if (!up)
		must(sodium_init() >= 0);
	up = true;
	if (strict_scan(in, &off, &len) == SW_OK && strict_head(span_of(p, len), &h) == SW_OK) {
		must(len <= n && len <= STRICT_HEAD_MAX && h.target.n > 0);
		bearer_parse(h.auth, &b);
		feed_body(span_from(in, len), &h);
		blank(span_of(p, len), &h);
	}
	if (chat_req_parse(in, &r, &f) == 0)
		must(r.n_msgs > 0 && r.n >= 1 && r.n <= REQ_N_MAX);
	else
		must(f.code != RS_NONE);
	chat_req_free(&r);
	return 0;
}
