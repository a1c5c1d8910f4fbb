/* checkpoint.c - see checkpoint.h. */
#include "checkpoint.h"

#include <string.h>

/* Takes one line without its LF; false when none is left. */
static bool line(struct span *s, struct span *out)
{
	const char *at = s->n ? memchr(s->p, '\n', s->n) : NULL;

	if (at == NULL)
		return false;
	*out = span_of(s->p, (size_t)(at - s->p));
	*s = span_from(*s, out->n + 1);
	return true;
}

/* Decimal, no sign, no leading zero, below 2^63. */
static bool decimal(struct span s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 19 || (s.n > 1 && s.p[0] == '0'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*out = v;
	return v <= INT64_MAX;
}

static bool hash_line(struct span s, uint8_t out[MERKLE_HASH])
{
	return s.n == 44 && note_unbase64(s, out, MERKLE_HASH) == MERKLE_HASH;
}

int checkpoint_parse(struct span text, struct checkpoint *out, struct err *err)
{
	struct span s = text, l;

	memset(out, 0, sizeof(*out));
	if (!line(&s, &out->origin) || out->origin.n == 0)
		return err_set(err, E_FORMAT, "checkpoint without an origin");
	if (!line(&s, &l) || !decimal(l, &out->size))
		return err_set(err, E_FORMAT, "checkpoint without a tree size");
	if (!line(&s, &l) || !hash_line(l, out->root))
		return err_set(err, E_FORMAT, "checkpoint without a root hash");
	out->ext = s;
	while (s.n > 0)
		if (!line(&s, &l) || l.n == 0)
			return err_set(err, E_FORMAT, "malformed extension line in a checkpoint");
	return E_OK;
}

void checkpoint_put(struct buf *b, struct span origin, uint64_t size,
		    const uint8_t root[MERKLE_HASH])
{
	buf_span_put(b, origin);
	buf_fmt(b, "\n%llu\n", (unsigned long long)size);
	buf_base64(b, root, MERKLE_HASH);
	buf_putc(b, '\n');
}

int checkpoint_open(struct span note, const struct vkey *key, struct checkpoint *out,
		    struct err *err)
{
	struct note n;
	int rc = note_open(note, key, 1, &n, err);

	if (rc < 0)
		return rc;
	rc = checkpoint_parse(n.text, out, err);
	if (rc == E_OK && !span_eq(out->origin, span_cstr(key->name)))
		rc = err_set(err, E_CRYPTO, "the checkpoint's origin is not the key's name");
	return rc;
}

int checkpoint_sign(uint64_t size, const uint8_t root[MERKLE_HASH], const struct vkey *k,
		    const uint8_t sk[64], struct buf *out, struct err *err)
{
	char mem[NOTE_NAME_MAX + 80];
	struct buf t = BUF_FIXED(mem, sizeof(mem));

	checkpoint_put(&t, span_cstr(k->name), size, root);
	if (!buf_ok(&t))
		return err_set(err, E_RANGE, "checkpoint too long");
	return note_sign(buf_span(&t), k, sk, out, err);
}

int tlog_proof_parse(struct span file, struct tlog_proof *out, struct err *err)
{
	static const struct span extra = SPAN_LIT("extra "), index = SPAN_LIT("index ");
	struct span s = file, l;

	memset(out, 0, sizeof(*out));
	if (file.n > TLOG_PROOF_MAX || !line(&s, &l) ||
	    !span_eq(l, SPAN_LIT("c2sp.org/tlog-proof@v1")))
		return err_set(err, E_FORMAT, "not a c2sp.org/tlog-proof@v1 file");
	if (!line(&s, &l))
		return err_set(err, E_TRUNC, "the proof ends early");
	if (span_starts(l, extra)) {
		out->extra_b64 = span_from(l, extra.n);
		if (out->extra_b64.n % 4 != 0 || !line(&s, &l))
			return err_set(err, E_FORMAT, "malformed extra line");
	}
	if (!span_starts(l, index) || !decimal(span_from(l, index.n), &out->index))
		return err_set(err, E_FORMAT, "malformed index line");
	for (;;) {
		if (!line(&s, &l))
			return err_set(err, E_TRUNC, "the proof ends early");
		if (l.n == 0)
			break;
		if (out->proof.n >= 63 || !hash_line(l, out->proof.h[out->proof.n]))
			return err_set(err, E_FORMAT, "malformed hash line %u", out->proof.n);
		out->proof.n++;
	}
	out->checkpoint = s;
	if (s.n == 0 || s.p[s.n - 1] != '\n')
		return err_set(err, E_TRUNC, "the proof ends early");
	return E_OK;
}

void tlog_proof_put(struct buf *b, struct span extra, uint64_t index, const struct merkle_proof *p,
		    struct span checkpoint)
{
	buf_puts(b, "c2sp.org/tlog-proof@v1\n");
	if (extra.n > 0) {
		buf_puts(b, "extra ");
		buf_base64(b, extra.p, extra.n);
		buf_putc(b, '\n');
	}
	buf_fmt(b, "index %llu\n", (unsigned long long)index);
	for (unsigned i = 0; i < p->n; i++) {
		buf_base64(b, p->h[i], MERKLE_HASH);
		buf_putc(b, '\n');
	}
	buf_putc(b, '\n');
	buf_span_put(b, checkpoint);
}

int tlog_proof_check(const struct tlog_proof *p, const uint8_t leaf[MERKLE_HASH],
		     const struct vkey *key, struct checkpoint *cp, struct err *err)
{
	struct checkpoint mine;
	int rc;

	if (cp == NULL)
		cp = &mine;
	rc = checkpoint_open(p->checkpoint, key, cp, err);
	if (rc < 0)
		return rc;
	if (!merkle_check(leaf, p->index, cp->size, p->proof.h, p->proof.n, cp->root))
		return err_set(err, E_CRYPTO, "this entry is not entry %llu of the signed tree",
			       (unsigned long long)p->index);
	return E_OK;
}
