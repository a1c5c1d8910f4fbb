/* msgs.c - codecs and rules made from the table in msgs.h. No state; any thread. */
#include "msgs.h"

#include "cur.h"

static bool put_str(struct buf *b, struct span s)
{
	buf_u16(b, (uint16_t)s.n);
	buf_span_put(b, s);
	return s.n <= WIRE_STR_MAX;
}

static bool put_bytes(struct buf *b, struct span s)
{
	buf_u32(b, (uint32_t)s.n);
	buf_span_put(b, s);
	return s.n <= WIRE_BYTES_MAX;
}

static struct span take_str(struct cur *c)
{
	uint16_t n = cur_u16(c);

	if (n > WIRE_STR_MAX)
		c->bad = true;
	return cur_span(c, n);
}

static struct span take_bytes(struct cur *c)
{
	uint32_t n = cur_u32(c);

	if (n > WIRE_BYTES_MAX)
		c->bad = true;
	return cur_span(c, n);
}

static void take_fixed(struct cur *c, void *to, size_t n)
{
	const uint8_t *p = cur_take(c, n);

	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
}

#define ENC_U8(n) buf_u8(b, m->n);
#define ENC_U16(n) buf_u16(b, m->n);
#define ENC_U32(n) buf_u32(b, m->n);
#define ENC_U64(n) buf_u64(b, m->n);
#define ENC_ID(n) buf_put(b, m->n.b, ID_BYTES);
#define ENC_B32(n) buf_put(b, m->n, 32);
#define ENC_STR(n) ok &= put_str(b, m->n);
#define ENC_BYTES(n) ok &= put_bytes(b, m->n);
#define ENC(type, n) ENC_##type(n)
#define DEC_U8(n) m->n = cur_u8(&c);
#define DEC_U16(n) m->n = cur_u16(&c);
#define DEC_U32(n) m->n = cur_u32(&c);
#define DEC_U64(n) m->n = cur_u64(&c);
#define DEC_ID(n) take_fixed(&c, m->n.b, ID_BYTES);
#define DEC_B32(n) take_fixed(&c, m->n, 32);
#define DEC_STR(n) m->n = take_str(&c);
#define DEC_BYTES(n) m->n = take_bytes(&c);
#define DEC(type, n) DEC_##type(n)

#define X(name, num, from, to, ch, st, fds)                                                        \
	int msg_enc_##name(struct buf *b, const struct msg_##name *m)                              \
	{                                                                                          \
		bool ok = true;                                                                    \
                                                                                                   \
		F_##name(ENC) return ok && buf_ok(b) ? E_OK : E_RANGE;                             \
	}                                                                                          \
	int msg_dec_##name(struct span body, struct msg_##name *m)                                 \
	{                                                                                          \
		struct cur c = cur_init(body);                                                     \
                                                                                                   \
		F_##name(DEC) return cur_done(&c) ? E_OK : E_FORMAT;                               \
	}
WIRE_MSGS(X)
#undef X

static const struct msg_rule rules[] = {
#define X(name, num, from, to, ch, st, fds) {num, #name, from, to, ch, st, fds},
    WIRE_MSGS(X)
#undef X
};

const struct msg_rule *msg_rule(uint16_t type)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

bool msg_allowed(uint16_t type, enum role_id from, enum role_id to, enum chan_kind kind,
		 unsigned state)
{
	const struct msg_rule *r = msg_rule(type);

	return r && (r->from == R_COUNT || r->from == from) && (r->to == R_COUNT || r->to == to) &&
	       r->kind == kind && (r->states & state);
}

const char *role_name(enum role_id r)
{
	static const char *const names[] = {"main",   "front", "gate",	"admin",
					    "engine", "store", "relay", "import"};

	return r < R_COUNT ? names[r] : "?";
}
