/* t_engine_orders.c - a model of one request: all orders of its messages, and at every step each
 * thing that can go wrong (cancel, revocation, silence, death of store or gate, a replay). The rig
 * checks what must always hold; here every run must come to an end and leave nothing behind. */
#include "engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault.h"

#define GOOD "Hello, how are you today?"
#define LONG "Tell me a very long story."

enum step { GRANT, SUBMIT, CLAIMOK, ACK_INTENT, SOME_WORK, ACK_OUTCOME, N_STEPS };
enum trouble { NONE, CANCEL, REVOKE, SILENCE, STORE_DIES, GATE_DIES, REPLAY, DUP_ACK, N_TROUBLES };
/* How many of the orders a default run takes; SP_SLOW=1 takes all. Sanitizers are ten times slower.
 */
#ifdef SP_SANITIZED
#define ODD_EVERY 25
#define PAIR_EVERY 20
#else
#define ODD_EVERY 5
#define PAIR_EVERY 4
#endif

static const char *const names[] = {"none",	  "cancel",    "revoke", "silence",
				    "store dies", "gate dies", "replay", "double ack"};

static struct rig *r;

static int setup(void **s)
{
	r = rig_new(900, -1, true);
	return 0;
}

static int teardown(void **s)
{
	rig_free(r);
	return 0;
}

static void step(struct rig_req *q, enum step st)
{
	switch (st) {
	case GRANT:
		rig_grant(r, q);
		break;
	case SUBMIT:
		rig_submit(r, q, GOOD);
		break;
	case CLAIMOK:
		rig_claimok(r, q);
		break;
	case ACK_INTENT:
		if (q->intents)
			rig_ack(r, q, false);
		break;
	case ACK_OUTCOME:
		if (q->outcomes)
			rig_ack(r, q, true);
		break;
	default:
		break;
	}
}

static void trouble(struct rig_req *q, enum trouble t)
{
	switch (t) {
	case CANCEL:
		rig_cancel(r, q);
		break;
	case REVOKE:
		rig_revoke(r, q);
		break;
	case SILENCE:
		r->beats = false;
		r->now = r->last_beat + 1001;
		rig_turns(r, 2, 1);
		r->beats = true;
		r->next_beat = 0;
		break;
	case STORE_DIES:
		rig_peer(r, R_STORE, false);
		rig_turns(r, 3, 1);
		rig_peer(r, R_STORE, true);
		break;
	case GATE_DIES:
		rig_peer(r, R_GATE, false);
		rig_turns(r, 2, 1);
		rig_peer(r, R_GATE, true);
		break;
	case REPLAY: {
		struct rig_req *twin = rig_req(r, 1, q->max_out);

		twin->lease = q->lease;
		twin->conn = q->conn;
		rig_submit(r, twin, GOOD);
		/* whoever comes second is refused; the twin must never get a token */
		rig_turns(r, 2, 1);
		assert_false(twin->admitted);
		break;
	}
	case DUP_ACK:
		if (q->intent_acked)
			rig_ack(r, q, false);
		if (q->outcome_acked)
			rig_ack(r, q, true);
		break;
	default:
		break;
	}
}

static bool over(const struct rig_req *q)
{
	return eng_find(r->g, &q->id) == NULL;
}

/* From here the doubles answer everything; the request must end and leave nothing. */
static void wind_up(struct rig_req *q)
{
	struct engine_stats st;

	r->auto_claim = r->auto_intent = r->auto_outcome = true;
	if (q->claims && !q->intents)
		rig_claimok(r, q);
	if (q->intents && !q->intent_acked)
		rig_ack(r, q, false);
	if (q->outcomes && !q->outcome_acked)
		rig_ack(r, q, true);
	for (int i = 0; i < 20000 && !over(q); i++)
		rig_turn(r, i > 2000 ? 50 : 1);
	assert_true(over(q));
	assert_true(q->outcomes <= 1 && q->intents <= 1);
	assert_true(q->intents <= q->outcomes); /* intents = outcomes when nothing runs */
	rig_settle(r);
	engine_stats(r->g->e, &st);
	assert_int_equal(st.seqs, 2); /* the guard's two prefixes */
	assert_int_equal(r->g->active, 0);
	assert_null(r->g->jobs);
}

static void run(const enum step *order, int at, enum trouble t, int at2, enum trouble t2)
{
	struct rig_req *q = rig_req(r, 2, 24);

	r->auto_claim = r->auto_intent = r->auto_outcome = false;
	for (int i = 0; i <= N_STEPS; i++) {
		if (i == at)
			trouble(q, t);
		if (i == at2)
			trouble(q, t2);
		if (i == N_STEPS)
			break;
		step(q, order[i]);
		if (order[i] == SOME_WORK)
			rig_turns(r, 6, 1);
		else
			rig_settle(r);
	}
	wind_up(q);
}

static void orders(enum step out[][N_STEPS], int *n)
{
	static const enum step base[] = {GRANT,	     SUBMIT,	CLAIMOK,
					 ACK_INTENT, SOME_WORK, ACK_OUTCOME};

	/* grant and submit in both orders; the acknowledgements and the work in every order: those
	 * that make no sense yet must do nothing */
	*n = 0;
	for (int swap = 0; swap < 2; swap++)
		for (int a = 2; a < N_STEPS; a++)
			for (int b = 2; b < N_STEPS; b++) {
				memcpy(out[*n], base, sizeof(base));
				if (swap) {
					out[*n][0] = SUBMIT;
					out[*n][1] = GRANT;
				}
				out[*n][a] = base[b];
				out[*n][b] = base[a];
				if (b >= a)
					(*n)++;
			}
}

static void every_order_of_messages_with_one_trouble_at_every_step(void **s)
{
	enum step o[64][N_STEPS];
	unsigned runs = 0;
	int n;

	if (!r)
		skip();
	orders(o, &n);
	for (int i = 0; i < n; i++)
		for (int at = 0; at <= N_STEPS; at++)
			for (int t = i == 0 || i == n / 2 ? NONE : CANCEL; t < N_TROUBLES; t++) {
				if (getenv("SP_SLOW") == NULL && i % (n / 2) &&
				    (i + at + t) % ODD_EVERY)
					continue; /* a fifth of the odd orders unless asked for */
				run(o[i], at, (enum trouble)t, -1, NONE);
				runs++;
			}
	print_message("%u runs over %d orders\n", runs, n);
}

static void two_troubles_at_any_two_steps(void **s)
{
	static const enum step plain[] = {GRANT,      SUBMIT,	 CLAIMOK,
					  ACK_INTENT, SOME_WORK, ACK_OUTCOME};
	unsigned runs = 0;

	if (!r)
		skip();
	for (int a = 2; a <= N_STEPS; a++)
		for (int b = a; b <= N_STEPS; b++)
			for (int t = CANCEL; t < N_TROUBLES; t++)
				for (int u = CANCEL; u < N_TROUBLES; u++) {
					if (getenv("SP_SLOW") == NULL &&
					    (a + b + t + u) % PAIR_EVERY)
						continue;
					run(plain, a, (enum trouble)t, b, (enum trouble)u);
					runs++;
				}
	print_message("%u runs; %s .. %s\n", runs, names[CANCEL], names[N_TROUBLES - 1]);
}

/* What a crash can hide of a running request is less than one lease window of store. */
static void progress_is_told_before_a_lease_window_is_full(void **s)
{
	struct rig_req *q;
	struct req *rq;

	if (!r)
		skip();
	q = rig_req(r, 3, 120);
	rig_grant(r, q);
	rig_submit(r, q, "Tell me a very long story.");
	while (!q->done && !q->failed) {
		rig_turn(r, 0); /* time stands still: only tokens count */
		rq = eng_find(r->g, &q->id);
		if (rq && rq->state == RQ_RUN)
			assert_true(req_completion(rq) - rq->told_tokens < 128);
	}
	assert_true(q->done);
}

/* Turns until q has its memory: did others still wait then? It may be over soon after. */
static bool gets_in(struct rig_req *q, int turns)
{
	for (; turns > 0; turns--) {
		struct req *rq = eng_find(r->g, &q->id);

		if (q->admitted || (rq && rq->active))
			return r->g->n_queued > 0;
		rig_turn(r, 0);
	}
	return false;
}

/* One user fills the memory and the queue; who comes later is served at the next turn. */
static void one_group_does_not_keep_another_waiting(void **s)
{
	struct rig_req *many[100], *other;
	unsigned n = 0, next = 0;
	bool in = false;

	if (!r)
		skip();
	while (n < 100 && r->g->n_queued < 12) {
		many[n] = rig_req(r, 4, 400);
		rig_grant(r, many[n]);
		rig_submit(r, many[n++], LONG); /* stands still when its credit is used up */
		for (int i = 0; i < 3; i++)
			rig_turn(r, 0);
	}
	print_message("%u asked, %u under way, %u wait\n", n, r->g->active, r->g->n_queued);
	assert_true(r->g->n_queued >= 12);
	r->group = 2;
	other = rig_req(r, 4, 400); /* as large: no memory is left that only it would fit */
	rig_grant(r, other);
	rig_submit(r, other, GOOD);
	r->group = 0;
	for (int i = 0; i < 20 && eng_find(r->g, &other->id) == NULL; i++)
		rig_turn(r, 0);
	while (next < 4) { /* memory of a few comes back, of fewer than wait in front */
		rig_cancel(r, many[next++]);
		in = in || gets_in(other, 10);
	}
	assert_true(in ||
		    gets_in(other, 300)); /* a busy machine takes longer to give memory back */
	for (; next < n; next++)
		rig_cancel(r, many[next]);
	rig_cancel(r, other);
	rig_settle(r);
	assert_int_equal(eng_open(r->g), 0);
}

#ifdef SP_FAULT
static uint64_t kv_reserved(void)
{
	struct engine_stats st;

	engine_stats(r->g->e, &st);
	return st.kv_pages_reserved;
}
#endif

/* While no memory comes back nobody who waits for it is tried again: each try reads a conversation.
 */
static void a_full_memory_is_not_tried_at_every_step(void **s)
{
#ifdef SP_FAULT
	struct rig_req *many[100];
	unsigned n = 0, quiet = 0, seen;

	if (!r)
		skip();
	while (n < 100 && r->g->n_queued < 3) {
		many[n] = rig_req(r, 4, 400);
		rig_grant(r, many[n]);
		rig_submit(r, many[n++], LONG);
		for (int i = 0; i < 3; i++)
			rig_turn(r, 0);
	}
	assert_true(r->g->n_queued >= 3);
	fault_arm("engine.admit", 1000000, false, 0);
	for (int i = 0; i < 10000 && quiet < 20; i++) {
		uint64_t had = kv_reserved();
		unsigned waited = r->g->n_queued, tries = fault_seen();

		rig_turn(r, 0);
		if (had != kv_reserved() || waited != r->g->n_queued)
			continue;
		assert_int_equal(fault_seen(), tries);
		quiet++;
	}
	assert_int_equal(quiet, 20);
	seen = fault_seen();
	rig_turns(r, 11, ENG_FULL_MS / 10);
	assert_true(fault_seen() > seen);
	fault_disarm();
	n -= r->g->n_queued; /* of those who have memory */
	for (unsigned i = 0, before = r->g->n_queued; i < n && r->g->n_queued == before; i++) {
		rig_cancel(r, many[i]);
		rig_turns(r, 5, 0);
	}
	assert_true(r->g->n_queued < 3); /* at once, when some comes back */
	for (unsigned i = 0; i < n + 3; i++)
		rig_cancel(r, many[i]);
	rig_settle(r);
	assert_int_equal(eng_open(r->g), 0);
#else
	skip();
#endif
}

/* As many tokens as the guard has read when it has judged q, from now on. */
static uint64_t read_for(struct rig_req *q)
{
	struct engine_stats st;
	uint64_t before;

	engine_stats(r->g->e, &st);
	before = st.tokens_guard;
	for (int i = 0; i < 100000 && !q->intents; i++)
		rig_turn(r, 0);
	assert_int_equal(q->intents, 1);
	engine_stats(r->g->e, &st);
	return st.tokens_guard - before;
}

/* One user's prompts stand before the guard; who comes later is judged after a few of them. */
static void one_group_does_not_keep_another_from_the_guard(void **s)
{
	enum { MANY = 24 };
	struct rig_req *many[MANY], *other;
	char text[2400];
	uint64_t alone = 0, behind;

	if (!r)
		skip();
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = "a red house by the sea "[i % 23];
	text[sizeof(text) - 1] = 0;
	for (unsigned i = 0; i <= MANY; i++) {
		r->group = r->domain = 20 + (i == MANY);
		other = rig_req(r, 1, 8);
		rig_grant(r, other);
		rig_submit(r, other, text);
		if (i == 0)
			alone = read_for(other);
		else if (i < MANY)
			many[i] = other;
		text[0]++; /* no two are the same */
	}
	behind = read_for(other);
	print_message("%u tokens alone, %u behind %u others\n", (unsigned)alone, (unsigned)behind,
		      MANY - 1);
	assert_in_range(behind, 1, 6 * alone);
	for (unsigned i = 1; i < MANY; i++)
		rig_cancel(r, many[i]);
	rig_cancel(r, other);
	r->group = r->domain = 0;
	rig_settle(r);
	assert_int_equal(eng_open(r->g), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(progress_is_told_before_a_lease_window_is_full),
	    cmocka_unit_test(one_group_does_not_keep_another_waiting),
	    cmocka_unit_test(a_full_memory_is_not_tried_at_every_step),
	    cmocka_unit_test(one_group_does_not_keep_another_from_the_guard),
	    cmocka_unit_test(every_order_of_messages_with_one_trouble_at_every_step),
	    cmocka_unit_test(two_troubles_at_any_two_steps),
	};

	return cmocka_run_group_tests_name("orders of one request", tests, setup, teardown);
}
