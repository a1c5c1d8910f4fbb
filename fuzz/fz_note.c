/* fz_note.c - notes, verifier keys, checkpoints, proofs, receipts, entries, tile paths of any
 * bytes: what parses is written again as the same bytes, and nothing verifies that no key signed.
 */
#include "checkpoint.h"
#include "entry.h"
#include "log.h"
#include "receipt.h"
#include "tile.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void keys_and_paths(struct span in)
{
	struct buf b = BUF_INIT(4096);
	char path[TILE_PATH_MAX];
	struct vkey k;
	uint64_t index;
	unsigned width;
	int level;

	if (vkey_parse(in, &k, NULL) == E_OK) {
		vkey_put(&k, &b);
		must(span_eq(buf_span(&b), in));
	}
	if (tile_path_parse(in, &level, &index, &width)) {
		tile_path(level, index, width, path);
		must(span_eq(span_cstr(path), in));
	}
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint8_t pub[32] = {1}; /* a point nobody has the secret of */
	struct span in = {(const char *)p, n};
	struct buf b = BUF_INIT(RECEIPT_MAX);
	struct entry_look look;
	struct checkpoint cp;
	struct receipt r;
	struct vkey key;
	struct note note;

	must(vkey_make("example.invalid/log", VKEY_ED25519, pub, &key, NULL) == E_OK);
	keys_and_paths(in);
	must(note_open(in, &key, 1, &note, NULL) < 0);
	if (checkpoint_parse(in, &cp, NULL) == E_OK) {
		checkpoint_put(&b, cp.origin, cp.size, cp.root);
		buf_span_put(&b, cp.ext);
		must(span_eq(buf_span(&b), in));
	}
	if (receipt_parse(in, &r, NULL) == E_OK)
		must(receipt_check(&r, in, &key, NULL, NULL) < 0);
	receipt_free(&r);
	if (entry_check(in, NULL) == E_OK)
		must(entry_peek(in, &look) && look.v == 1 && look.t.n > 0);
	buf_free(&b);
	return 0;
}
