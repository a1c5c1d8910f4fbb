/* t_wire.c - what the channels promise: only the table's messages pass, nobody blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan.h"

static void pair(struct chan **a, enum role_id ra, struct chan **b, enum role_id rb,
		 enum chan_kind k, size_t q)
{
	int fds[2];

	assert_int_equal(chan_pair(fds, NULL), 0);
	*a = chan_new(fds[0], ra, rb, k, q);
	*b = chan_new(fds[1], rb, ra, k, q);
	chan_set_state(*a, ST_RUN);
	chan_set_state(*b, ST_RUN);
}

static void a_message_arrives_as_it_was_sent(void **st)
{
	struct chan *g, *s;
	struct msg_in in;
	struct msg_AUTH m = {.req = id_random(), .conn = id_random(), .kid = SPAN_LIT("k1"),
			     .model = SPAN_LIT("starter"), .n = 2, .max_out = 77}, d;

	memset(m.digest, 7, 32);
	pair(&g, R_GATE, &s, R_STORE, CH_DATA, 1 << 20);
	assert_int_equal(CH_SEND(g, AUTH, &m), 0);
	assert_int_equal(chan_recv(s, &in), 1);
	assert_int_equal(in.type, M_AUTH);
	assert_int_equal(msg_dec_AUTH(in.body, &d), 0);
	assert_true(id_eq(&d.req, &m.req));
	assert_true(span_eq(d.model, m.model));
	assert_int_equal(d.max_out, 77);
	assert_memory_equal(d.digest, m.digest, 32);
	assert_int_equal(chan_recv(s, &in), 0);
	chan_close(g);
	assert_int_equal(chan_recv(s, &in), E_CLOSED);
	chan_close(s);
}

static void a_role_cannot_send_what_is_not_its_own(void **st)
{
	int fds[2];
	struct chan *s;
	struct msg_in in;
	uint8_t raw[16 + 36] = {0};

	/* a taken gate writes bytes by hand: a GRANT, which only store may send to engine */
	assert_int_equal(chan_pair(fds, NULL), 0);
	s = chan_new(fds[1], R_STORE, R_GATE, CH_DATA, 1 << 20);
	chan_set_state(s, ST_RUN);
	raw[0] = 0x50;
	raw[1] = 0x53;
	raw[2] = M_GRANT;
	raw[4] = 36;
	raw[8] = 1;
	assert_int_equal(write(fds[0], raw, sizeof(raw)), sizeof(raw));
	assert_int_equal(chan_recv(s, &in), E_DENIED);
	assert_int_equal(in.type, M_GRANT);
	raw[2] = 200; /* unknown */
	raw[8] = 2;
	assert_int_equal(write(fds[0], raw, sizeof(raw)), sizeof(raw));
	assert_int_equal(chan_recv(s, &in), E_DENIED);
	raw[2] = M_AUTH; /* replayed sequence number */
	assert_int_equal(write(fds[0], raw, sizeof(raw)), sizeof(raw));
	assert_int_equal(chan_recv(s, &in), E_FORMAT);
	raw[4] = 99; /* length lies */
	raw[8] = 3;
	assert_int_equal(write(fds[0], raw, sizeof(raw)), sizeof(raw));
	assert_int_equal(chan_recv(s, &in), E_FORMAT);
	chan_close(s);
	close(fds[0]);
}

static void every_truncated_body_is_malformed(void **st)
{
	struct msg_OUTCOME o = {.windows = SPAN_LIT("abc")}, d;
	struct buf b = BUF_INIT(WIRE_MSG_MAX);

	assert_int_equal(msg_enc_OUTCOME(&b, &o), 0);
	assert_int_equal(msg_dec_OUTCOME(buf_span(&b), &d), 0);
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(msg_dec_OUTCOME(span_of(b.p, n), &d), E_FORMAT);
	buf_putc(&b, 'x');
	assert_int_equal(msg_dec_OUTCOME(buf_span(&b), &d), E_FORMAT);
	buf_free(&b);
}

static void a_full_queue_refuses_and_later_drains_in_order(void **st)
{
	struct chan *e, *g;
	struct msg_in in;
	char text[8000] = {0};
	struct msg_OUT o = {.text = {text, sizeof(text)}}, d;
	unsigned sent = 0, got = 0;
	int rc;

	pair(&e, R_ENGINE, &g, R_GATE, CH_DATA, 100000);
	while ((o.choice = sent, rc = CH_SEND(e, OUT, &o)) == 0)
		sent++;
	assert_int_equal(rc, E_BUSY);
	assert_true(chan_wants_write(e));
	while (got < sent) {
		rc = chan_recv(g, &in);
		if (rc == 0) {
			assert_int_equal(chan_flush(e), 0);
			continue;
		}
		assert_int_equal(rc, 1);
		assert_int_equal(msg_dec_OUT(in.body, &d), 0);
		assert_int_equal(d.choice, got++);
	}
	assert_false(chan_wants_write(e));
	chan_close(e);
	chan_close(g);
}

static void descriptors_travel_and_only_sealed_bodies_are_mapped(void **st)
{
	struct chan *g, *e;
	struct msg_in in;
	struct msg_SUBMIT m = {.msgs_len = 5};
	struct span s;
	int fd, plain;

	pair(&g, R_GATE, &e, R_ENGINE, CH_DATA, 1 << 20);
	assert_int_equal(body_memfd(SPAN_LIT("hello"), &fd, NULL), 0);
	assert_int_equal(CH_SEND_FD(g, SUBMIT, &m, fd), 0);
	close(fd);
	assert_int_equal(chan_recv(e, &in), 1);
	assert_int_equal(in.nfds, 1);
	assert_int_equal(body_map(in.fds[0], 100, &s, NULL), 0);
	assert_true(span_eq(s, SPAN_LIT("hello")));
	body_unmap(s);
	assert_int_equal(body_map(in.fds[0], 4, &s, NULL), E_RANGE);
	chan_in_drop(&in);
	plain = open("/dev/null", O_RDONLY);
	assert_int_equal(body_map(plain, 100, &s, NULL), E_DENIED);
	close(plain);
	chan_close(g);
	chan_close(e);
}

int main(void)
{
	const struct CMUnitTest t[] = {
	    cmocka_unit_test(a_message_arrives_as_it_was_sent),
	    cmocka_unit_test(a_role_cannot_send_what_is_not_its_own),
	    cmocka_unit_test(every_truncated_body_is_malformed),
	    cmocka_unit_test(a_full_queue_refuses_and_later_drains_in_order),
	    cmocka_unit_test(descriptors_travel_and_only_sealed_bodies_are_mapped),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
