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

struct rig *rig_new(uint32_t threshold, int guard_fd, bool demo)
{
	struct rig *r;
	struct eng_cfg cfg = {.threads = 1, .kv_bytes = 512u << 20, .max_requests = 256,
			      .queue_ms = 20000, .request_ms = 600000, .wall_ms = wall,
			      .random = fill, .send = send_it};
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
		sha_of(guard_fd, guard_sha);
		eng_file(r->g, "model:guard", guard_fd);
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
	for (unsigned i = 0; i < r->n; i++) {
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
	*q = (struct rig_req){.id = id_random(), .lease = id_random(), .conn = id_random(), .n = n,
			      .max_out = max_out};
	for (int c = 0; c < RIG_CHOICES; c++)
		q->out[c] = BUF_INIT(1 << 20);
	q->windows = BUF_INIT(1 << 20);
	return q;
}

void rig_grant(struct rig *r, struct rig_req *q)
{
	struct msg_GRANT m = {.lease = q->lease, .req = q->id, .conn = q->conn, .domain = 1, .group = 1,
			      .tier = 1, .max_out = q->max_out};

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
	struct msg_SUBMIT m = {.req = q->id, .lease = q->lease, .conn = q->conn, .stream = stream,
			       .n = q->n, .max_out = q->max_out, .has_seed = 1, .seed = 7};
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

void rig_claimok(struct rig *r, struct rig_req *q)
{
	struct msg_CLAIMOK m = {.lease = q->lease, .cap = r->cap ? r->cap : q->max_out * q->n};

	CH_SEND(r->peer[R_STORE][CH_DATA], CLAIMOK, &m);
}

void rig_ack(struct rig *r, struct rig_req *q, bool outcome)
{
	struct msg_ACK m = {.lease = q->lease, .req = q->id,
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

/* ---- the doubles ---- */

static struct rig_req *find(struct rig *r, const struct id *id)
{
	for (unsigned i = 0; i < RIG_REQS; i++)
		if (id_eq(&r->rq[i].id, id))
			return &r->rq[i];
	fail_msg("a message of a request nobody made");
	return NULL;
}

bool rig_covered(const struct rig_req *q, uint32_t choice, uint32_t bytes)
{
	struct cur c = cur_init(buf_span(&q->windows));
	uint32_t at = 0;

	while (cur_left(&c) > 0) {
		uint32_t ch = cur_u32(&c), from = cur_u32(&c), to = cur_u32(&c);
		uint8_t action = cur_u8(&c);

		cur_u32(&c);
		cur_u16(&c);
		if (ch == choice && action <= PA_FLAG && from <= at && to > at)
			at = to;
	}
	return cur_done(&c) && at >= bytes;
}

static void on_out(struct rig *r, const struct msg_OUT *m)
{
	struct rig_req *q = find(r, &m->req);

	assert_true(m->choice < q->n);
	assert_true(q->admitted && q->intent_acked);
	if (q->done || q->failed || q->revoked)
		fail_msg("OUT after the end: done %d failed %d (%u) revoked %d", q->done, q->failed,
			 q->fail_code, q->revoked);
	assert_int_equal(q->finish[m->choice], OF_NONE);
	assert_true(q->outcomes == 0 || q->outcome_acked);
	if (!q->outcome_acked)
		assert_true(r->now <= r->last_beat + 500 + 50);
	if (m->finish)
		assert_true(q->outcome_acked);
	buf_span_put(&q->out[m->choice], m->text);
	q->finish[m->choice] = m->finish;
	q->tokens[m->choice] += m->tokens;
	if (m->text.n && !m->finish && !q->first_out_gen)
		q->first_out_gen = eng_find(r->g, &q->id)->ch[m->choice].gen;
}

static void gate_msg(struct rig *r, const struct msg_in *in)
{
	struct rig_req *q;

	switch (in->type) {
	case M_ADMIT: {
		struct msg_ADMIT m;

		assert_int_equal(msg_dec_ADMIT(in->body, &m), 0);
		q = find(r, &m.req);
		assert_true(q->intent_acked && !q->admitted && !q->failed);
		assert_true(q->action <= PA_FLAG);
		q->admitted = true;
		break;
	}
	case M_OUT: {
		struct msg_OUT m;

		assert_int_equal(msg_dec_OUT(in->body, &m), 0);
		on_out(r, &m);
		break;
	}
	case M_DONE: {
		struct msg_DONE m;

		assert_int_equal(msg_dec_DONE(in->body, &m), 0);
		q = find(r, &m.req);
		assert_true(q->outcome_acked && !q->done && !q->failed);
		for (uint32_t c = 0; c < q->n; c++) {
			assert_int_not_equal(q->finish[c], OF_NONE);
			assert_true(rig_covered(q, c, (uint32_t)q->out[c].n));
		}
		q->completion = m.completion_tokens;
		q->done = true;
		break;
	}
	case M_FAIL: {
		struct msg_FAIL m;

		assert_int_equal(msg_dec_FAIL(in->body, &m), 0);
		q = find(r, &m.req);
		assert_false(q->done || q->failed);
		q->failed = true;
		q->fail_code = m.code;
		q->fail_status = m.status;
		break;
	}
	case M_ESTATE: {
		struct msg_ESTATE m;

		assert_int_equal(msg_dec_ESTATE(in->body, &m), 0);
		r->ready_reasons = m.reasons;
		break;
	}
	default:
		fail_msg("gate got message %u", in->type);
	}
}

static void on_intent(struct rig *r, const struct msg_INTENT *m)
{
	struct rig_req *q = find(r, &m->req);

	assert_true(id_eq(&m->lease, &q->lease));
	assert_true(q->claims > 0);
	if (q->intents) { /* only ever the same again */
		assert_int_equal(m->rseq, q->intent_rseq);
		q->resent++;
	} else {
		q->intents = 1;
	}
	q->intent_rseq = m->rseq;
	q->action = m->action;
	q->cats = m->cats;
	q->score = m->score_milli;
	memcpy(q->prompt_commit, m->commit, 32);
	memcpy(q->prompt_salt, m->salt, 32);
	assert_int_equal(m->prompt_tokens, q->prompt_tokens);
	if (r->auto_intent)
		rig_ack(r, q, false);
}

static void on_outcome(struct rig *r, const struct msg_OUTCOME *m)
{
	struct rig_req *q = find(r, &m->req);

	assert_true(id_eq(&m->lease, &q->lease));
	if (q->outcomes) {
		assert_int_equal(m->rseq, q->outcome_rseq);
		q->resent++;
	} else {
		q->outcomes = 1;
	}
	q->outcome_rseq = m->rseq;
	q->early = q->intents == 0;
	q->state = m->state;
	q->code = m->code;
	q->out_bytes = m->out_bytes;
	q->released = m->released_bytes;
	assert_true(m->released_bytes <= m->out_bytes);
	assert_true(m->completion_tokens <= (r->cap ? r->cap : q->max_out * q->n));
	memcpy(q->out_commit, m->commit, 32);
	memcpy(q->out_salt, m->salt, 32);
	buf_reset(&q->windows);
	buf_span_put(&q->windows, m->windows);
	if (r->auto_outcome)
		rig_ack(r, q, true);
}

static void store_msg(struct rig *r, const struct msg_in *in)
{
	switch (in->type) {
	case M_CLAIM: {
		struct msg_CLAIM m;
		struct rig_req *q;

		assert_int_equal(msg_dec_CLAIM(in->body, &m), 0);
		q = find(r, &m.req);
		assert_true(id_eq(&m.lease, &q->lease));
		q->claims++;
		q->prompt_tokens = m.prompt_tokens;
		if (r->auto_claim)
			rig_claimok(r, q);
		break;
	}
	case M_INTENT: {
		struct msg_INTENT m;

		assert_int_equal(msg_dec_INTENT(in->body, &m), 0);
		on_intent(r, &m);
		break;
	}
	case M_OUTCOME: {
		struct msg_OUTCOME m;

		assert_int_equal(msg_dec_OUTCOME(in->body, &m), 0);
		on_outcome(r, &m);
		break;
	}
	case M_MODELUP: {
		struct msg_MODELUP m;

		assert_int_equal(msg_dec_MODELUP(in->body, &m), 0);
		r->modelups++;
		r->guard_ok += m.guard && m.ok;
		r->guard_bad += m.guard && !m.ok;
		break;
	}
	case M_ODD: {
		struct msg_ODD m;

		assert_int_equal(msg_dec_ODD(in->body, &m), 0);
		r->odds++;
		r->last_odd = m.code;
		break;
	}
	case M_HELLO:
		r->hellos++;
		break;
	case M_PROGRESS:
		break;
	default:
		fail_msg("store got message %u", in->type);
	}
}

static void to_engine(struct rig *r)
{
	for (size_t i = 0; i < 2; i++)
		for (int k = 1; k >= 0; k--) {
			struct msg_in in;
			int rc;

			while (r->mine[sides[i]][k] &&
			       (rc = chan_recv(r->mine[sides[i]][k], &in)) != 0 && rc != E_CLOSED) {
				if (rc < 0) {
					r->odds++;
					continue;
				}
				if (in.type == M_REVOKE) {
					struct msg_REVOKE m;

					msg_dec_REVOKE(in.body, &m);
					for (unsigned q = 0; q < RIG_REQS; q++)
						if (id_eq(&r->rq[q].lease, &m.lease))
							r->rq[q].revoked = true;
				}
				eng_msg(r->g, sides[i], in.type, in.body, &in.fds[0], r->now);
				chan_in_drop(&in);
			}
		}
}

static void from_engine(struct rig *r)
{
	for (size_t i = 0; i < 2; i++)
		for (int k = 0; k < 2; k++) {
			struct msg_in in;
			int rc;

			while (r->peer[sides[i]][k] &&
			       (rc = chan_recv(r->peer[sides[i]][k], &in)) != 0 && rc != E_CLOSED) {
				assert_int_equal(rc, 1);
				if (sides[i] == R_STORE)
					store_msg(r, &in);
				else
					gate_msg(r, &in);
				chan_in_drop(&in);
			}
			if (r->mine[sides[i]][k])
				chan_flush(r->mine[sides[i]][k]);
		}
}

int rig_turn(struct rig *r, uint64_t ms)
{
	int more;

	r->now += ms;
	if (r->beats && r->now >= r->next_beat && r->peer[R_STORE][CH_CTRL]) {
		struct msg_BEAT m = {.life_ms = 500};

		CH_SEND(r->peer[R_STORE][CH_CTRL], BEAT, &m);
		r->next_beat = r->now + 250;
		r->last_beat = r->now;
	}
	/* what the engine said before is seen before it hears anything new: "after REVOKE" is exact */
	from_engine(r);
	to_engine(r);
	more = eng_step(r->g, r->now, 0);
	from_engine(r);
	return more;
}

void rig_turns(struct rig *r, unsigned n, uint64_t ms)
{
	while (n-- > 0)
		rig_turn(r, ms);
}

void rig_settle(struct rig *r)
{
	unsigned quiet = 0;

	for (int i = 0; i < 200000 && quiet < 4; i++)
		quiet = rig_turn(r, 1) ? 0 : quiet + 1;
}

void rig_finish(struct rig *r, struct rig_req *q)
{
	for (int i = 0; i < 200000; i++) {
		rig_turn(r, 1);
		if ((q->done || q->failed) && eng_find(r->g, &q->id) == NULL)
			return;
	}
	fail_msg("the request never ended");
}
