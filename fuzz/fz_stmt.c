/* fz_stmt.c - statements, genesis documents and log entries of any bytes: what parses is written
 * again as the same bytes, and no entry that nobody signed changes the authority set. */
#include "aset.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct span in = {(const char *)p, n};
	struct buf b = BUF_INIT(CANON_MAX);
	struct genesis g;
	struct stmt s;
	struct aset *a = aset_new();

	if (stmt_parse(in, &s, NULL) == E_OK) {
		must(stmt_write(&s, &b) == E_OK);
		must(span_eq(buf_span(&b), in));
	}
	buf_reset(&b);
	if (genesis_parse(in, &g, NULL) == E_OK) {
		must(genesis_write(&g, &b) == E_OK);
		must(span_eq(buf_span(&b), in));
		must(g.n_officers >= 2 && g.quorum >= 2);
	}
	if (a && aset_feed(a, 0, in, NULL, NULL) == E_OK)
		must(!aset_confirmed(a));
	aset_free(a);
	buf_free(&b);
	return 0;
}
