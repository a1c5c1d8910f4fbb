/* fz_segment.c - segment files of any bytes: headers, frames, commits, the search for a commit, and
 * the streaming scanner, which must see what the whole-buffer parser sees. */
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "logdir.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void scanner_agrees(struct span in, uint64_t from)
{
	int fd = memfd_create("fz", MFD_CLOEXEC), a, b;
	struct seg_frame x, y;
	struct segscan s;
	uint64_t nz, end;

	must(fd >= 0 && write(fd, in.p, in.n) == (ssize_t)in.n);
	must(segscan_init(&s, fd, in.n, from, NULL) == E_OK);
	for (uint64_t at = from; at <= in.n;) {
		a = seg_frame_parse(span_from(in, (size_t)at), &x);
		b = segscan_next(&s, &y, NULL);
		must((a == E_OK) == (b == E_OK) && (a == E_NOTFOUND) == (b == E_NOTFOUND));
		if (a != E_OK)
			break;
		must(x.size == y.size && x.seq == y.seq && span_eq(x.payload, y.payload));
		at += x.size;
	}
	segscan_free(&s);
	must(seg_zero_tail(fd, 0, in.n, &nz, NULL) == E_OK);
	must(seg_last_nonzero(fd, 0, in.n, &end, NULL) == E_OK);
	must(nz == seg_first_nonzero(in.p, in.n) && (nz == in.n ? end == 0 : end > nz));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint8_t pub[32] = {1};
	struct span in = {(const char *)p, n};
	struct seg_header h;
	struct seg_commit c;
	struct seg_frame f;
	struct vkey key;
	unsigned at;
	size_t off;

	if (n == 0)
		return 0;
	must(vkey_make("example.invalid/log", VKEY_ED25519, pub, &key, NULL) == E_OK);
	if (n >= SEG_HEADER)
		seg_header_parse(p, &h, &at, NULL);
	scanner_agrees(in, 0);
	if (n > SEG_HEADER)
		scanner_agrees(in, SEG_HEADER);
	if (seg_find_commit(in, 0, NULL, &off, &c)) {
		must(seg_frame_parse(span_from(in, off), &f) == E_OK && f.kind == SEG_COMMIT);
		must(seg_commit_check(&c, &key, NULL) < 0);
	}
	must(!seg_find_commit(in, 0, &key, &off, &c));
	return 0;
}
