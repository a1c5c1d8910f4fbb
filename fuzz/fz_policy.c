/* fz_policy.c - texts and policy files of any bytes: normalising is stable and valid, neutralising a
 * prefix agrees with the whole, a refused policy leaves nothing half read. */
#include "decide.h"
#include "guard.h"
#include "log.h"
#include "neutralise.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span in = span_of(p, n);
	struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);
	struct norm_seen seen;
	struct policy pol;
	size_t sure = 0;

	if (n > 4096)
		return 0;
	if (normalise(in, &a, &seen) == 0)
		must(utf8_valid(buf_span(&a)));
	buf_reset(&a);
	neutralise(in, &a, NULL);
	neutralise(span_of(p, n / 2), &b, &sure);
	must(sure <= a.n && (sure == 0 || memcmp(a.p, b.p, sure) == 0));
	if (policy_parse(in, "fuzz", &pol, NULL) == 0)
		must(decide_floor(&pol, 0) >= 1 && decide_floor(&pol, 0) <= 1000);
	buf_free(&a);
	buf_free(&b);
	return 0;
}
