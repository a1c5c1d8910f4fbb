/* segment.c - see segment.h. */
#include "segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"

static const char magic[8] = {'S', 'P', 'L', 'O', 'G', 'S', 'E', 'G'};
static const char commit_line[20] = "sallyport/commit/v1\n";
static const char stop_line[18] = "sallyport/stop/v1\n";

size_t seg_first_nonzero(const void *p, size_t n)
{
	const uint8_t *s = p;
	uint64_t v;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		memcpy(&v, s + i, 8);
		if (v)
			break;
	}
	while (i < n && s[i] == 0)
		i++;
	return i;
}

void seg_header_put(const struct seg_header *h, uint8_t out[SEG_HEADER])
{
	memset(out, 0, SEG_HEADER);
	memcpy(out, magic, 8);
	put_le32(out + 8, 1);
	put_le64(out + 16, h->ordinal);
	put_le64(out + 24, h->first);
	put_le64(out + 32, h->bytes);
	memcpy(out + 40, h->root, MERKLE_HASH);
	memcpy(out + 72, h->origin, SHA256_BYTES);
	put_le16(out + 104, h->node);
	put_le32(out + 124, crc32c(0, out, 124));
}

int seg_header_parse(const uint8_t in[SEG_HEADER], struct seg_header *out, unsigned *at,
		     struct err *err)
{
	uint8_t again[SEG_HEADER];
	unsigned i = 0;

	out->ordinal = get_le64(in + 16);
	out->first = get_le64(in + 24);
	out->bytes = get_le64(in + 32);
	memcpy(out->root, in + 40, MERKLE_HASH);
	memcpy(out->origin, in + 72, SHA256_BYTES);
	out->node = get_le16(in + 104);
	seg_header_put(out, again);
	while (i < SEG_HEADER && in[i] == again[i])
		i++;
	*at = i < SEG_HEADER ? i : 0;
	return i == SEG_HEADER ? E_OK : err_set(err, E_FORMAT, "damaged segment header");
}

static uint32_t frame_crc(const uint8_t *f, size_t payload)
{
	return crc32c(crc32c(0, f, 4), f + 8, SEG_FRAME - 8 + payload);
}

void seg_frame_put(struct buf *b, enum seg_kind kind, uint64_t seq, uint16_t node,
		   struct span payload)
{
	uint8_t *f = buf_grow(b, SEG_FRAME + payload.n);

	if (f == NULL)
		return;
	memset(f, 0, SEG_FRAME);
	put_le32(f, (uint32_t)payload.n);
	put_le64(f + 8, seq);
	f[16] = (uint8_t)kind;
	put_le16(f + 18, node);
	if (payload.n)
		memcpy(f + SEG_FRAME, payload.p, payload.n);
	put_le32(f + 4, frame_crc(f, payload.n));
}

int seg_frame_parse(struct span s, struct seg_frame *out)
{
	const uint8_t *f = (const uint8_t *)s.p;
	uint32_t n;

	memset(out, 0, sizeof(*out));
	if (s.n < SEG_FRAME)
		return seg_first_nonzero(s.p, s.n) == s.n ? E_NOTFOUND : E_TRUNC;
	if (seg_first_nonzero(f, SEG_FRAME) == SEG_FRAME)
		return E_NOTFOUND;
	n = get_le32(f);
	if (n > ENTRY_MAX)
		return E_FORMAT;
	if (s.n - SEG_FRAME < n)
		return E_TRUNC;
	if (get_le32(f + 4) != frame_crc(f, n) || f[16] < SEG_ENTRY || f[16] > SEG_STOP ||
	    f[17] != 0 || get_le32(f + 20) != 0)
		return E_FORMAT;
	out->kind = f[16];
	out->seq = get_le64(f + 8);
	out->node = get_le16(f + 18);
	out->payload = span_of(f + SEG_FRAME, n);
	out->size = SEG_FRAME + n;
	return E_OK;
}

void seg_commit_put(struct buf *b, uint16_t node, uint32_t count, uint64_t size,
		    const uint8_t root[MERKLE_HASH], struct span note)
{
	char mem[SEG_COMMIT_FIXED + CHECKPOINT_NOTE_MAX];
	struct buf p = BUF_FIXED(mem, sizeof(mem));
	uint8_t *zero;

	buf_put(&p, commit_line, sizeof(commit_line));
	buf_u32(&p, count);
	buf_u64(&p, size);
	buf_put(&p, root, MERKLE_HASH);
	zero = buf_grow(&p, SEG_COMMIT_FIXED - 64);
	if (zero)
		memset(zero, 0, SEG_COMMIT_FIXED - 64);
	buf_span_put(&p, note);
	if (!buf_ok(&p))
		b->bad = true;
	seg_frame_put(b, SEG_COMMIT, size, node, buf_span(&p));
}

int seg_commit_parse(const struct seg_frame *f, struct seg_commit *out)
{
	const uint8_t *p = (const uint8_t *)f->payload.p;

	memset(out, 0, sizeof(*out));
	if (f->kind != SEG_COMMIT || f->payload.n <= SEG_COMMIT_FIXED ||
	    f->payload.n > SEG_COMMIT_FIXED + CHECKPOINT_NOTE_MAX ||
	    memcmp(p, commit_line, sizeof(commit_line)) != 0 ||
	    seg_first_nonzero(p + 64, SEG_COMMIT_FIXED - 64) != SEG_COMMIT_FIXED - 64)
		return E_FORMAT;
	out->count = get_le32(p + 20);
	out->size = get_le64(p + 24);
	memcpy(out->root, p + 32, MERKLE_HASH);
	out->note = span_from(f->payload, SEG_COMMIT_FIXED);
	return out->size == f->seq && out->count > 0 && out->count <= out->size ? E_OK : E_FORMAT;
}

int seg_commit_check(const struct seg_commit *c, const struct vkey *key, struct err *err)
{
	struct checkpoint cp;
	int rc = checkpoint_open(c->note, key, &cp, err);

	if (rc < 0)
		return rc == E_NOTFOUND ? rc : E_CRYPTO;
	if (cp.size != c->size || memcmp(cp.root, c->root, MERKLE_HASH) != 0)
		return err_set(err, E_CRYPTO, "the commit's checkpoint is of another tree");
	return E_OK;
}

/* What the STOP frame's signature covers: payload 0..65 and the tree size. */
static void stop_text(uint64_t size, const uint8_t root[MERKLE_HASH], uint64_t ordinal,
		      uint64_t offset, uint8_t out[74])
{
	memcpy(out, stop_line, sizeof(stop_line));
	memcpy(out + 18, root, MERKLE_HASH);
	put_le64(out + 50, ordinal);
	put_le64(out + 58, offset);
	put_le64(out + 66, size);
}

int seg_stop_put(struct buf *b, uint16_t node, uint64_t size, const uint8_t root[MERKLE_HASH],
		 uint64_t ordinal, uint64_t offset, const uint8_t sk[64], struct err *err)
{
	uint8_t text[74], payload[SEG_STOP_BYTES];

	stop_text(size, root, ordinal, offset, text);
	memcpy(payload, text, 66);
	if (crypto_sign_detached(payload + 66, NULL, text, sizeof(text), sk) != 0)
		return err_set(err, E_CRYPTO, "signing failed");
	seg_frame_put(b, SEG_STOP, size, node, span_of(payload, sizeof(payload)));
	return buf_ok(b) ? E_OK : err_set(err, E_NOMEM, "no room for the closing frame");
}

bool seg_stop_check(const struct seg_frame *f, uint64_t size, const uint8_t root[MERKLE_HASH],
		    uint64_t ordinal, uint64_t offset, const struct vkey *key)
{
	uint8_t text[74];

	stop_text(size, root, ordinal, offset, text);
	return f->kind == SEG_STOP && f->seq == size && f->payload.n == SEG_STOP_BYTES &&
	       memcmp(f->payload.p, text, 66) == 0 &&
	       crypto_sign_verify_detached((const uint8_t *)f->payload.p + 66, text, sizeof(text),
					   key->pub) == 0;
}

bool seg_find_commit(struct span s, uint64_t size, const struct vkey *key, size_t *at,
		     struct seg_commit *out)
{
	struct seg_frame f;
	const char *hit;
	size_t from = 0;

	while (from < s.n) {
		hit = memmem(s.p + from, s.n - from, commit_line, sizeof(commit_line));
		if (hit == NULL)
			return false;
		from = (size_t)(hit - s.p) + 1;
		if (from <= SEG_FRAME)
			continue;
		*at = from - 1 - SEG_FRAME;
		if (seg_frame_parse(span_from(s, *at), &f) == E_OK &&
		    seg_commit_parse(&f, out) == E_OK && out->size > size &&
		    (key == NULL || seg_commit_check(out, key, NULL) == E_OK))
			return true;
	}
	return false;
}

void seg_name(uint64_t first, char out[SEG_NAME_MAX])
{
	snprintf(out, SEG_NAME_MAX, "seg-%016llx.log", (unsigned long long)first);
}

bool seg_name_parse(const char *name, uint64_t *first)
{
	char again[SEG_NAME_MAX];
	char *end;

	if (strncmp(name, "seg-", 4) != 0 || strlen(name) != 24)
		return false;
	*first = strtoull(name + 4, &end, 16);
	seg_name(*first, again);
	return strcmp(name, again) == 0;
}

void seg_spare_name(unsigned n, char out[SEG_NAME_MAX])
{
	snprintf(out, SEG_NAME_MAX, "spare-%u.log", n);
}

bool seg_spare_parse(const char *name, unsigned *n)
{
	char again[SEG_NAME_MAX];

	if (sscanf(name, "spare-%u.log", n) != 1)
		return false;
	seg_spare_name(*n, again);
	return strcmp(name, again) == 0;
}
