/* fz_http.c - head, framing and JSON checks on any bytes: no crash, and what passes is bounded. */
#include <sodium.h>

#include "bearer.h"
#include "http_strict.h"
#include "log.h"
#include "req_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return sodium_init() < 0;
}

static void feed_body(struct span rest, const struct strict_head *h)
{
	struct strict_body b;
	size_t used = 0;

	strict_body_init(&b, h, 1 << 20);
	strict_body_feed(&b, rest, &used);
	must(used <= rest.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span in = {(const char *)p, n};
	struct strict_head h;
	struct chat_req r;
	struct req_fault f;
	struct bearer b;
	size_t off = 0, len = 0;

	if (strict_scan(in, &off, &len) == SW_OK && strict_head(span_of(p, len), &h) == SW_OK) {
		must(len <= n && len <= STRICT_HEAD_MAX && h.target.n > 0);
		bearer_parse(h.auth, &b);
		feed_body(span_from(in, len), &h);
	}
	if (chat_req_parse(in, &r, &f) == 0)
		must(r.n_msgs > 0 && r.n >= 1 && r.n <= REQ_N_MAX);
	else
		must(f.code != RS_NONE);
	chat_req_free(&r);
	return 0;
}
