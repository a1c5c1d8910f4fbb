/* msgs.h - the one table of messages between roles: who may send what to whom, on which channel,
 * in which state, with how many descriptors. Structs and codecs are made from it; nothing that is
 * not in it can be sent. doc/formats.md 5 explains the conversation.
 *
 * Field types: U8 U16 U32 U64 (little-endian), ID (16 bytes), B32 (32 bytes), STR (u16 length,
 * at most 255 bytes), BYTES (u32 length, at most WIRE_BYTES_MAX). Decoded STR and BYTES borrow
 * the received message. A body with bytes left over is malformed. */
#ifndef SP_WIRE_MSGS_H
#define SP_WIRE_MSGS_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "id.h"
#include "span.h"

enum role_id { R_MAIN, R_FRONT, R_GATE, R_ADMIN, R_ENGINE, R_STORE, R_RELAY, R_IMPORT, R_COUNT };
enum chan_kind { CH_DATA, CH_CTRL };
/* Receiver's state in which a message is accepted. */
enum { ST_CONF = 1, ST_RUN = 2, ST_DRAIN = 4, ST_ANY = 7, ST_LIVE = 6 };

#define WIRE_BYTES_MAX 60000u
#define WIRE_STR_MAX 255u
#define WIRE_MSG_MAX 65536u

/* Any role <-> main (control channel only). FILE: name as in doc/formats.md 5.1. */
#define F_FILE(F) F(STR, name)
#define F_CHAN(F) F(U8, peer) F(U8, kind) F(U32, gen)
#define F_CONF(F) F(U32, version)
#define F_GO(F) F(U32, version)            /* start (first time) or take the new configuration */
#define F_READY(F) F(U32, version)
#define F_BAD(F) F(U32, version) F(STR, why)
#define F_DRAIN(F) F(U32, deadline_ms)
#define F_DRAINED(F) F(U8, clean)
#define F_ALIVE(F) F(U64, seq) F(U8, serving) F(U32, reasons)
#define F_PEERDEAD(F) F(U8, peer)

/* front */
#define F_PEER(F) F(ID, conn) F(U8, has_cert) F(B32, thumb) F(STR, addr)
#define F_PEERGONE(F) F(ID, conn)
#define F_CONN(F) F(ID, conn) F(STR, addr)
#define F_GONE(F) F(ID, conn)

/* gate <-> store. code: enum reason in daemon/reasons.h; retry_ms 0 = none given. */
#define F_AUTH(F) F(ID, req) F(ID, conn) F(STR, kid) F(B32, digest) F(STR, model) F(U8, endpoint) \
	F(U32, n) F(U32, max_out) F(U8, stream) F(U32, body_len)
#define F_AUTHOK(F) F(ID, req) F(ID, lease) F(STR, model) F(U32, model_ix) F(U32, max_out) \
	F(U64, lim_req) F(U64, rem_req) F(U32, reset_req_ms) \
	F(U64, lim_tok) F(U64, rem_tok) F(U32, reset_tok_ms)
#define F_DENY(F) F(ID, req) F(U16, status) F(U16, code) F(U32, retry_ms) F(U8, no_retry)
#define F_AUTHDROP(F) F(ID, req) F(ID, lease) F(U16, code) /* gate gave up before SUBMIT */
#define F_MODELS(F) F(ID, req) F(ID, conn) F(STR, kid) F(B32, digest)
#define F_MODELSOK(F) F(ID, req) F(BYTES, names) /* '\n' between canonical names */
#define F_ENROLL(F) F(ID, req) F(ID, conn) F(STR, code_a) F(STR, code_b)
#define F_ENROLLOK(F) F(ID, req) F(STR, kid) F(STR, key) F(STR, subject)
#define F_RCPT(F) F(ID, req) F(ID, conn) F(STR, kid) F(B32, digest) F(ID, of)
#define F_RCPTOK(F) F(ID, req) F(BYTES, body)
#define F_FLOOD(F) F(U16, code) F(U32, count) /* refusals before authentication, counted by gate */
#define F_STATE(F) F(ID, boot) F(U64, seq) F(U8, ready) F(U32, reasons) /* every 250 ms */

/* gate <-> engine. msgs: list of {u8 role, u32 len, bytes}, before them perhaps one record of role
 * WIRE_ROLE_FORM: the JSON Schema of the answer, empty = any JSON object; when larger than fits, the
 * sealed memfd carries it and msgs is empty. stops: list of {u16 len, bytes}. Floats as IEEE bits. */
#define WIRE_ROLE_FORM 16u
#define WIRE_FORM_MAX 65536u
#define F_SUBMIT(F) F(ID, req) F(ID, lease) F(ID, conn) F(U32, model_ix) F(U8, stream) F(U32, n) \
	F(U32, max_out) F(U32, temperature) F(U32, top_p) F(U32, min_p) F(U32, top_k) \
	F(U8, has_seed) F(U64, seed) F(BYTES, stops) F(U32, msgs_len) F(BYTES, msgs)
#define F_CREDIT(F) F(ID, req) F(U32, choice) F(U32, tokens)
#define F_CANCEL(F) F(ID, req)
#define F_ADMIT(F) F(ID, req) F(U32, prompt_tokens) F(U32, cached)
#define F_OUT(F) F(ID, req) F(U32, choice) F(U32, tokens) F(U8, finish) F(BYTES, text)
#define F_DONE(F) F(ID, req) F(U32, prompt_tokens) F(U32, completion_tokens) F(U32, cached) \
	F(BYTES, receipt)
#define F_FAIL(F) F(ID, req) F(U16, status) F(U16, code) F(U32, retry_ms) F(U32, a) F(U32, b)
#define F_ESTATE(F) F(U8, ready) F(U32, reasons) F(U32, active) F(U32, queued)

/* store <-> engine. rseq counts the records of a lease from 1; a resent record has the same. */
#define F_HELLO(F) F(ID, boot) F(BYTES, leases) /* engine: its boot and the leases it still holds */
#define F_SETTINGS(F) F(U32, version) F(U8, demo) F(B32, policy_sha) F(BYTES, models)
#define F_MODELUP(F) F(U32, model_ix) F(B32, sha) F(U8, guard) F(U8, ok) F(U16, code)
#define F_GRANT(F) F(ID, lease) F(ID, req) F(ID, conn) F(U64, domain) F(U64, group) F(U8, tier) \
	F(U8, purpose) F(U32, model_ix) F(U32, max_out)
#define F_REVOKE(F) F(ID, lease) F(U16, code)
/* what the prefix cache holds of one subject (as GRANT names it; 0: of all) is wiped */
#define F_FORGET(F) F(U64, domain)
#define F_BEAT(F) F(ID, boot) F(U64, seq) F(U32, life_ms)
#define F_CLAIM(F) F(ID, lease) F(ID, req) F(U32, prompt_tokens) F(U32, max_out)
#define F_CLAIMOK(F) F(ID, lease) F(U32, cap)
#define F_CLAIMNO(F) F(ID, lease) F(U16, status) F(U16, code) F(U32, retry_ms) F(U8, no_retry)
#define F_INTENT(F) F(ID, lease) F(ID, req) F(U32, rseq) F(U8, action) F(U32, cats) \
	F(U32, score_milli) F(U32, threshold_milli) F(B32, policy_sha) F(B32, guard_sha) \
	F(B32, model_sha) F(B32, salt) F(B32, commit) F(U32, prompt_bytes) F(U32, prompt_tokens) \
	F(U32, guard_tokens) F(STR, kernel) F(STR, build)
#define F_PROGRESS(F) F(ID, lease) F(ID, req) F(U32, rseq) F(U32, tokens) F(U64, bytes)
/* windows: list of {u32 choice, u32 from, u32 to, u8 action, u32 cats, u16 score_milli} */
#define F_OUTCOME(F) F(ID, lease) F(ID, req) F(U32, rseq) F(U8, state) F(U16, code) F(U32, prompt_tokens) \
	F(U32, completion_tokens) F(U32, guard_tokens) F(U32, cached) F(U64, dur_us) F(B32, salt) \
	F(B32, commit) F(U64, out_bytes) F(U64, released_bytes) F(BYTES, windows)
#define F_ACK(F) F(ID, lease) F(ID, req) F(U32, rseq) F(U64, index) F(U32, cap) F(BYTES, receipt)
#define F_NACK(F) F(ID, lease) F(ID, req) F(U32, rseq) F(U16, code) /* not durable: stop this request */
/* engine, once a second: totals since its start, and what is now; KV in bytes. Nothing in it is of one
 * request or one subject. */
#define F_ETOTALS(F) F(U32, active) F(U32, queued) F(U64, seqs) F(U64, kv_total) F(U64, kv_used) \
	F(U64, kv_reserved) F(U64, kv_cached) F(U64, kv_resting) F(U64, steps) F(U64, preempted) \
	F(U64, prompt) F(U64, generated) F(U64, guard) F(U64, cached) F(U64, drafted) F(U64, accepted) \
	F(U64, mask_waits)
#define F_ODD(F) F(U8, who) F(U16, type) F(U16, code) F(ID, req) /* a peer sent what it may not */

/* admin <-> store: verb is enum admin_verb in daemon/admin_verbs.h; bodies are JSON */
#define F_ADMREQ(F) F(ID, req) F(U16, verb) F(U32, uid) F(BYTES, body)
#define F_ADMREP(F) F(ID, req) F(U16, status) F(U8, more) F(BYTES, body)

/* name, number, from, to, channel, states of the receiver, most descriptors.
 * R_COUNT as from or to = any role. */
#define WIRE_MSGS(X)                                                                               \
	X(FILE, 1, R_MAIN, R_COUNT, CH_CTRL, ST_ANY, 1)                                            \
	X(CHAN, 2, R_MAIN, R_COUNT, CH_CTRL, ST_ANY, 1)                                            \
	X(CONF, 3, R_MAIN, R_COUNT, CH_CTRL, ST_ANY, 1)                                            \
	X(GO, 4, R_MAIN, R_COUNT, CH_CTRL, ST_ANY, 0)                                              \
	X(READY, 5, R_COUNT, R_MAIN, CH_CTRL, ST_ANY, 0)                                           \
	X(BAD, 6, R_COUNT, R_MAIN, CH_CTRL, ST_ANY, 0)                                             \
	X(DRAIN, 7, R_MAIN, R_COUNT, CH_CTRL, ST_ANY, 0)                                           \
	X(DRAINED, 8, R_COUNT, R_MAIN, CH_CTRL, ST_ANY, 0)                                         \
	X(ALIVE, 9, R_COUNT, R_MAIN, CH_CTRL, ST_ANY, 0)                                           \
	X(PEERDEAD, 10, R_MAIN, R_COUNT, CH_CTRL, ST_ANY, 0)                                       \
	X(PEER, 20, R_FRONT, R_STORE, CH_DATA, ST_LIVE, 0)                                         \
	X(PEERGONE, 21, R_FRONT, R_STORE, CH_DATA, ST_LIVE, 0)                                     \
	X(CONN, 22, R_FRONT, R_GATE, CH_DATA, ST_LIVE, 1)                                          \
	X(GONE, 23, R_FRONT, R_GATE, CH_CTRL, ST_LIVE, 0)                                          \
	X(AUTH, 30, R_GATE, R_STORE, CH_DATA, ST_LIVE, 0)                                          \
	X(AUTHOK, 31, R_STORE, R_GATE, CH_DATA, ST_LIVE, 0)                                        \
	X(DENY, 32, R_STORE, R_GATE, CH_DATA, ST_LIVE, 0)                                          \
	X(AUTHDROP, 33, R_GATE, R_STORE, CH_DATA, ST_LIVE, 0)                                      \
	X(MODELS, 34, R_GATE, R_STORE, CH_DATA, ST_LIVE, 0)                                        \
	X(MODELSOK, 35, R_STORE, R_GATE, CH_DATA, ST_LIVE, 0)                                      \
	X(ENROLL, 36, R_GATE, R_STORE, CH_DATA, ST_LIVE, 0)                                        \
	X(ENROLLOK, 37, R_STORE, R_GATE, CH_DATA, ST_LIVE, 0)                                      \
	X(RCPT, 38, R_GATE, R_STORE, CH_DATA, ST_LIVE, 0)                                          \
	X(RCPTOK, 39, R_STORE, R_GATE, CH_DATA, ST_LIVE, 0)                                        \
	X(FLOOD, 40, R_GATE, R_STORE, CH_DATA, ST_LIVE, 0)                                         \
	X(STATE, 41, R_STORE, R_GATE, CH_CTRL, ST_LIVE, 0)                                         \
	X(SUBMIT, 50, R_GATE, R_ENGINE, CH_DATA, ST_LIVE, 1)                                       \
	X(CREDIT, 51, R_GATE, R_ENGINE, CH_DATA, ST_LIVE, 0)                                       \
	X(CANCEL, 52, R_GATE, R_ENGINE, CH_CTRL, ST_LIVE, 0)                                       \
	X(ADMIT, 53, R_ENGINE, R_GATE, CH_DATA, ST_LIVE, 0)                                        \
	X(OUT, 54, R_ENGINE, R_GATE, CH_DATA, ST_LIVE, 0)                                          \
	X(DONE, 55, R_ENGINE, R_GATE, CH_DATA, ST_LIVE, 0)                                         \
	X(FAIL, 56, R_ENGINE, R_GATE, CH_DATA, ST_LIVE, 0)                                         \
	X(ESTATE, 57, R_ENGINE, R_GATE, CH_CTRL, ST_LIVE, 0)                                       \
	X(HELLO, 60, R_ENGINE, R_STORE, CH_CTRL, ST_LIVE, 0)                                       \
	X(SETTINGS, 61, R_STORE, R_ENGINE, CH_CTRL, ST_LIVE, 0)                                    \
	X(MODELUP, 62, R_ENGINE, R_STORE, CH_CTRL, ST_LIVE, 0)                                     \
	X(GRANT, 63, R_STORE, R_ENGINE, CH_CTRL, ST_LIVE, 0)                                       \
	X(REVOKE, 64, R_STORE, R_ENGINE, CH_CTRL, ST_LIVE, 0)                                      \
	X(BEAT, 65, R_STORE, R_ENGINE, CH_CTRL, ST_LIVE, 0)                                        \
	X(CLAIM, 66, R_ENGINE, R_STORE, CH_DATA, ST_LIVE, 0)                                       \
	X(CLAIMOK, 67, R_STORE, R_ENGINE, CH_DATA, ST_LIVE, 0)                                     \
	X(CLAIMNO, 68, R_STORE, R_ENGINE, CH_DATA, ST_LIVE, 0)                                     \
	X(INTENT, 69, R_ENGINE, R_STORE, CH_DATA, ST_LIVE, 0)                                      \
	X(PROGRESS, 70, R_ENGINE, R_STORE, CH_DATA, ST_LIVE, 0)                                    \
	X(OUTCOME, 71, R_ENGINE, R_STORE, CH_DATA, ST_LIVE, 0)                                     \
	X(ACK, 72, R_STORE, R_ENGINE, CH_DATA, ST_LIVE, 0)                                         \
	X(NACK, 73, R_STORE, R_ENGINE, CH_DATA, ST_LIVE, 0)                                        \
	X(ODD, 74, R_ENGINE, R_STORE, CH_CTRL, ST_LIVE, 0)                                         \
	X(FORGET, 75, R_STORE, R_ENGINE, CH_CTRL, ST_LIVE, 0)                                      \
	X(ETOTALS, 76, R_ENGINE, R_STORE, CH_CTRL, ST_LIVE, 0)                                     \
	X(ADMREQ, 80, R_ADMIN, R_STORE, CH_DATA, ST_LIVE, 0)                                       \
	X(ADMREP, 81, R_STORE, R_ADMIN, CH_DATA, ST_LIVE, 0)

enum msg_type {
#define X(name, num, from, to, ch, st, fds) M_##name = num,
	WIRE_MSGS(X)
#undef X
};

#define WIRE_T_U8(n) uint8_t n;
#define WIRE_T_U16(n) uint16_t n;
#define WIRE_T_U32(n) uint32_t n;
#define WIRE_T_U64(n) uint64_t n;
#define WIRE_T_ID(n) struct id n;
#define WIRE_T_B32(n) uint8_t n[32];
#define WIRE_T_STR(n) struct span n;
#define WIRE_T_BYTES(n) struct span n;
#define WIRE_DECL(type, n) WIRE_T_##type(n)
/* struct msg_AUTH { ... }; int msg_enc_AUTH(buf, const struct msg_AUTH *): appends the body, E_RANGE
 * when a span is too long; int msg_dec_AUTH(body, struct msg_AUTH *): E_FORMAT when malformed. */
#define X(name, num, from, to, ch, st, fds)                                                        \
	struct msg_##name {                                                                        \
		F_##name(WIRE_DECL)                                                                \
	};                                                                                         \
	int msg_enc_##name(struct buf *b, const struct msg_##name *m);                             \
	int msg_dec_##name(struct span body, struct msg_##name *m);
WIRE_MSGS(X)
#undef X

struct msg_rule {
	uint16_t type;
	const char *name;
	enum role_id from, to; /* R_COUNT = any */
	enum chan_kind kind;
	unsigned states, max_fds;
};
/* NULL for an unknown type. Static. */
const struct msg_rule *msg_rule(uint16_t type);
/* May `from` send this type to `to` on this channel while the receiver is in `state`? */
bool msg_allowed(uint16_t type, enum role_id from, enum role_id to, enum chan_kind kind,
		 unsigned state);
const char *role_name(enum role_id r);

#endif
