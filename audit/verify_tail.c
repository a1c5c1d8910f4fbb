/* verify_tail.c - is damage a torn tail or an offence; see verify_int.h. A crash can tear only the
 * last group, so whatever lies below a signed head, or in a segment that another follows, was
 * durable once. */
#include <stdlib.h>
#include <unistd.h>

#include "num.h"
#include "verify_int.h"

#define SECTOR 512u

/* One byte more, without the complements of crc32c(). */
static uint32_t crc_step(uint32_t c, uint8_t byte)
{
	return ~crc32c(~c, &byte, 1);
}

/* Where one changed byte explains the wrong sum of a frame of len bytes: a CRC is linear, so try
 * for each place the 255 differences a byte there can make. 0 when none does. */
static size_t changed_byte(const uint8_t *f, size_t len)
{
	uint32_t d = crc32c(crc32c(0, f, 4), f + 8, len - 8) ^ get_le32(f + 4), bit[8];

	for (unsigned i = 0; i < 4; i++)
		if (d != 0 && (d & ~(0xffu << (8 * i))) == 0)
			return 4 + i; /* the sum itself */
	for (unsigned b = 0; b < 8; b++)
		bit[b] = crc_step(0, (uint8_t)(1u << b));
	for (size_t i = len; i-- > 8;) {
		uint32_t x = 0;

		for (unsigned v = 1; v < 256; v++) { /* Gray code: one bit changes each time */
			x ^= bit[__builtin_ctz(v)];
			if (x == d)
				return i;
		}
		for (unsigned b = 0; b < 8; b++)
			bit[b] = crc_step(bit[b], 0);
	}
	return 0;
}

/* The very byte of a damaged frame at off when one byte was changed, else off. */
static uint64_t locate(int fd, uint64_t off, uint64_t bytes)
{
	size_t n = bytes - off < SEG_FRAME_MAX ? (size_t)(bytes - off) : SEG_FRAME_MAX, len, at = 0;
	uint8_t *mem = malloc(SEG_FRAME_MAX);
	struct seg_frame f;

	if (mem == NULL || n < SEG_FRAME || pread(fd, mem, n, (off_t)off) != (ssize_t)n)
		goto out;
	len = get_le32(mem) <= ENTRY_MAX ? SEG_FRAME + get_le32(mem) : n + 1;
	if (len <= n)
		at = changed_byte(mem, len);
	for (size_t i = 0; at == 0 && i < 4; i++) { /* a changed length makes another frame of it */
		uint8_t was = mem[i];

		for (unsigned v = 0; v < 256 && at == 0; v++) {
			mem[i] = (uint8_t)v;
			if (v != was && seg_frame_parse(span_of(mem, n), &f) == E_OK)
				at = i;
		}
		mem[i] = was;
	}
out:
	free(mem);
	return off + at;
}

/* The shape a crash can leave: a write begun right behind the last group, or at a sector. */
static bool crash_shape(uint64_t end, uint64_t first)
{
	return first < end + 8 || first % SECTOR < 8;
}

static uint64_t signed_size(const struct walk *w)
{
	uint64_t need = 0;

	for (unsigned i = 0; i < w->nwatch; i++)
		if (w->watch[i].size > need)
			need = w->watch[i].size;
	return need;
}

void verify_judge(struct walk *w, int fd, uint64_t off, uint64_t bytes, bool last)
{
	uint64_t at, end, found = signed_size(w), first = off, exact, stop = bytes;
	bool later = seg_search_commit(fd, w->good_end, bytes, w->good.size, &w->r->key, &at, &end,
				       &at, NULL) == E_OK;

	seg_zero_tail(fd, w->good_end, bytes, &first, NULL);
	if (first == bytes && !later && found <= w->good.size && last)
		return; /* a segment taken into use, with nothing in it yet */
	if (w->r->live && !later && last && found <= w->good.size)
		return; /* a serving writer in the middle of a group */
	exact = first >= off && first > w->good_end ? first : locate(fd, off, bytes);
	if (later || !last || found > w->good.size) {
		verify_bad(w, exact, "damage below a signed checkpoint");
	} else if (!crash_shape(w->good_end, first)) {
		verify_bad(w, first, "bytes in the unused tail");
	} else {
		seg_last_nonzero(fd, first, bytes, &stop, NULL);
		w->r->torn_bytes = stop - first;
		verify_finding(
		    w->r, VERIFY_INCOMPLETE, w->tree.size, w->file, exact,
		    "%s has a torn tail of %llu bytes from byte %llu on: what stood there "
		    "was never committed, or is damaged",
		    w->file, (unsigned long long)(stop - first), (unsigned long long)first);
	}
}
