/* engine_rig.c - see engine_rig.h. */
#include "engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "commit.h"
#include "cur.h"
#include "hash.h"
#include "io.h"

static const enum role_id sides[] = {R_STORE, R_GATE};

static int64_t wall(void *arg)
{
	return 1764000000000;
}

static void fill(void *arg, void *p, size_t n)
{
	randombytes_buf(p, n);
}

static int send_it(void *arg, enum role_id to, enum chan_kind kind, uint16_t type, struct span body)
{
	struct rig *r = arg;

	return r->mine[to][kind] ? chan_send(r->mine[to][kind], type, body, NULL, 0) : E_CLOSED;
}

int rig_starter(void)
{
	const char *file = getenv("SALLYPORT_STARTER"), *dir = getenv("SRCDIR");
	char path[512];

	snprintf(path, sizeof(path), "%s/models/starter/sallyport-starter.gguf", dir ? dir : ".");
	return open(file ? file : path, O_RDONLY | O_CLOEXEC);
}

static void sha_of(int fd, uint8_t out[32])
{
	struct buf b = BUF_INIT(64u << 20);

	lseek(fd, 0, SEEK_SET);
	assert_int_equal(io_read_fd(fd, 64u << 20, &b, NULL), 0);
	sha256(buf_span(&b), out);
	buf_free(&b);
}

static int policy_fd(uint32_t threshold, uint8_t sha[32])
{
	char text[400];
	int fd = memfd_create("policy", MFD_CLOEXEC);

	snprintf(text, sizeof(text),
		 "[policy]\nformat = 1\nversion = t\nguard-format = llama-guard-3\n"
		 "threshold = %u.%03u\naction = block\n",
		 threshold / 1000, threshold % 1000);
	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text), NULL), 0);
	sha256(span_cstr(text), sha);
	return fd;
}

void rig_peer(struct rig *r, enum role_id peer, bool up)
{
	for (int k = 0; k < 2; k++) {
		chan_close(r->mine[peer][k]);
		chan_close(r->peer[peer][k]);
		r->mine[peer][k] = r->peer[peer][k] = NULL;
	}
	for (int k = 0; up && k < 2; k++) {
		int fds[2];

		assert_int_equal(chan_pair(fds, NULL), 0);
		r->mine[peer][k] = chan_new(fds[0], R_ENGINE, peer, (enum chan_kind)k, 8u << 20);
		r->peer[peer][k] = chan_new(fds[1], peer, R_ENGINE, (enum chan_kind)k, 8u << 20);
		chan_set_state(r->mine[peer][k], ST_RUN);
		chan_set_state(r->peer[peer][k], ST_RUN);
	}
	eng_peer(r->g, peer, up, r->now);
}

static void put_model(struct buf *b, const char *name, const uint8_t sha[32], bool chat, bool guard)
{
	buf_u16(b, (uint16_t)strlen(name));
	buf_puts(b, name);
	buf_put(b, sha, 32);
	buf_u8(b, chat);
	buf_u8(b, guard);
}

static void settings(struct rig *r, const uint8_t policy[32], const uint8_t chat[32],
		     const uint8_t *guard, bool demo)
{
	struct msg_SETTINGS m = {.version = 1, .demo = demo};
	struct buf b = BUF_INIT(4096);

	memcpy(m.policy_sha, policy, 32);
	put_model(&b, "starter", chat, true, guard == NULL);
	if (guard)
		put_model(&b, "guard", guard, false, true);
	m.models = buf_span(&b);
	assert_int_equal(CH_SEND(r->peer[R_STORE][CH_CTRL], SETTINGS, &m), 0);
	buf_free(&b);
}

int rig_parts[8];
unsigned rig_n_parts;
uint32_t rig_draft;

struct rig *rig_new(uint32_t threshold, int guard_fd, bool demo)
{
	struct rig *r;
	struct eng_cfg cfg = {.threads = 1,
			      .kv_bytes = 512u << 20,
			      .draft = rig_draft,
			      .max_requests = 256,
			      .queue_ms = 20000,
			      .request_ms = 600000,
			      .wall_ms = wall,
			      .random = fill,
			      .send = send_it};
	uint8_t sha[32], guard_sha[32], psha[32];
	int fd = rig_starter();
	struct err err = {0};

	if (fd < 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	assert_non_null(r);
	r->now = 100000;
	r->beats = r->auto_claim = r->auto_intent = r->auto_outcome = true;
	cfg.arg = r;
	fill(NULL, &cfg.boot, sizeof(cfg.boot));
	if (eng_new(&cfg, &r->g, &err) != 0)
		fail_msg("%s", err.text);
	sha_of(fd, sha);
	eng_file(r->g, "model:starter", fd);
	if (guard_fd >= 0) {
		uint8_t shas[9][32];

		sha_of(guard_fd, shas[0]);
		eng_file(r->g, "model:guard", guard_fd);
		for (unsigned i = 0; i < rig_n_parts; i++) {
			char name[32];

			snprintf(name, sizeof(name), "model:guard/%u", i + 2);
			sha_of(rig_parts[i], shas[i + 1]);
			eng_file(r->g, name, rig_parts[i]);
		}
		split_digest((const uint8_t(*)[32])shas, 1 + rig_n_parts, guard_sha);
	}
	eng_file(r->g, "policy", policy_fd(threshold, psha));
	rig_peer(r, R_STORE, true);
	rig_peer(r, R_GATE, true);
	settings(r, psha, sha, guard_fd >= 0 ? guard_sha : NULL, demo);
	for (int i = 0; i < 20000 && r->guard_ok + r->guard_bad == 0; i++)
		rig_turn(r, 1);
	rig_settle(r);
	return r;
}

void rig_free(struct rig *r)
{
	if (r == NULL)
		return;
	for (unsigned i = 0; i < RIG_REQS; i++) { /* all: n starts over in long tests */
		for (int c = 0; c < RIG_CHOICES; c++)
			buf_free(&r->rq[i].out[c]);
		buf_free(&r->rq[i].windows);
	}
	eng_free(r->g);
	for (size_t i = 0; i < 2; i++)
		for (int k = 0; k < 2; k++) {
			chan_close(r->mine[sides[i]][k]);
			chan_close(r->peer[sides[i]][k]);
		}
	free(r);
}

struct rig_req *rig_req(struct rig *r, uint32_t n, uint32_t max_out)
{
	struct rig_req *q;

	if (r->n == RIG_REQS)
		r->n = 0; /* long tests: the oldest are over */
	q = &r->rq[r->n++];
	for (int c = 0; c < RIG_CHOICES; c++)
		buf_free(&q->out[c]);
	buf_free(&q->windows);
	*q = (struct rig_req){.id = id_random(),
			      .lease = id_random(),
			      .conn = id_random(),
			      .n = n,
			      .max_out = max_out};
	for (int c = 0; c < RIG_CHOICES; c++)
		q->out[c] = BUF_INIT(1 << 20);
	q->windows = BUF_INIT(1 << 20);
	return q;
}

void rig_grant(struct rig *r, struct rig_req *q)
{
	struct msg_GRANT m = {.lease = q->lease,
			      .req = q->id,
			      .conn = q->conn,
			      .domain = r->domain ? r->domain : 1,
			      .group = r->group ? r->group : 1,
			      .tier = 1,
			      .max_out = q->max_out};

	CH_SEND(r->peer[R_STORE][CH_CTRL], GRANT, &m);
}

static uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

void rig_submit_ex(struct rig *r, struct rig_req *q, const struct chat_msg *msgs, size_t n_msgs,
		   const char *stop, float temperature, bool stream)
{
	struct msg_SUBMIT m = {.req = q->id,
			       .lease = q->lease,
			       .conn = q->conn,
			       .stream = stream,
			       .n = q->n,
			       .max_out = q->max_out,
			       .has_seed = 1,
			       .seed = 7};
	struct buf text = BUF_INIT(1 << 20), stops = BUF_INIT(4096);
	int fd = -1;

	for (size_t i = 0; i < n_msgs; i++) {
		buf_u8(&text, (uint8_t)msgs[i].role);
		buf_u32(&text, (uint32_t)msgs[i].text.n);
		buf_span_put(&text, msgs[i].text);
	}
	if (stop) {
		buf_u16(&stops, (uint16_t)strlen(stop));
		buf_puts(&stops, stop);
	}
	m.temperature = bits(temperature);
	m.top_p = bits(1);
	m.stops = buf_span(&stops);
	m.msgs_len = (uint32_t)text.n;
	if (text.n < 30000)
		m.msgs = buf_span(&text);
	else
		assert_int_equal(body_memfd(buf_span(&text), &fd, NULL), 0);
	CH_SEND_FD(r->peer[R_GATE][CH_DATA], SUBMIT, &m, fd);
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	buf_free(&stops);
}

void rig_submit(struct rig *r, struct rig_req *q, const char *prompt)
{
	struct chat_msg m = {CHAT_USER, span_cstr(prompt)};

	rig_submit_ex(r, q, &m, 1, NULL, 0.7f, true);
}

void rig_cancel(struct rig *r, struct rig_req *q)
{
	struct msg_CANCEL m = {.req = q->id};

	CH_SEND(r->peer[R_GATE][CH_CTRL], CANCEL, &m);
}

void rig_revoke(struct rig *r, struct rig_req *q)
{
	struct msg_REVOKE m = {.lease = q->lease, .code = RS_REVOKED};

	CH_SEND(r->peer[R_STORE][CH_CTRL], REVOKE, &m);
}

void rig_forget(struct rig *r, uint64_t domain)
{
	struct msg_FORGET m = {.domain = domain};

	CH_SEND(r->peer[R_STORE][CH_CTRL], FORGET, &m);
}

void rig_claimok(struct rig *r, struct rig_req *q)
{
	struct msg_CLAIMOK m = {.lease = q->lease, .cap = r->cap ? r->cap : q->max_out * q->n};

	CH_SEND(r->peer[R_STORE][CH_DATA], CLAIMOK, &m);
}

void rig_ack(struct rig *r, struct rig_req *q, bool outcome)
{
	struct msg_ACK m = {.lease = q->lease,
			    .req = q->id,
			    .rseq = outcome ? q->outcome_rseq : q->intent_rseq,
			    .cap = r->cap ? r->cap : q->max_out * q->n,
			    .receipt = SPAN_LIT("receipt")};

	if (r->peer[R_STORE][CH_DATA] == NULL || CH_SEND(r->peer[R_STORE][CH_DATA], ACK, &m) != 0)
		return;
	if (outcome)
		q->outcome_acked = true;
	else
		q->intent_acked = true;
}
