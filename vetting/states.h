/* states.h - the two state machines as tables (doc/formats.md 6.4): the subject says what access
 * exists; every sensitive change is a case with one four-eyes workflow. Pure; any thread. */
#ifndef SP_VETTING_STATES_H
#define SP_VETTING_STATES_H

#include "rows.h"

#define SUBJECT_EVENTS(X)                                                                          \
	X(SUBMIT, "submit")                                                                        \
	X(ONBOARD, "onboard+") X(REJECT, "onboard-") X(ENROL, "enrol") X(DUE, "due")               \
	    X(LAPSE, "lapse") X(HIT, "list-hit") X(SUSPEND, "suspend") X(REVERIFY, "reverify+")    \
		X(REVERIFY_NO, "reverify-") X(REINSTATE, "reinstate+") X(CLOSE, "close")           \
		    X(REAPPLY, "reapply") X(ERASE, "erase+")
enum subject_event {
#define X(n, t) SE_##n,
	SUBJECT_EVENTS(X)
#undef X
	    SE_COUNT
};

/* Facts that a conditional cell asks for. */
struct subject_facts {
	bool has_credential, overdue;
};
/* Next state, or -1 = refused. */
int subject_next(enum subject_state s, enum subject_event e, struct subject_facts f);
const char *subject_event_text(enum subject_event e);

/* O open, Q queued, S screening, W under review, I information requested, L escalated, M proposed,
 * Z decided, T withdrawn or expired. */
enum case_state { CS_O, CS_Q, CS_S, CS_W, CS_I, CS_L, CS_M, CS_Z, CS_T, CS_COUNT };
#define CASE_EVENTS(X)                                                                             \
	X(SUBMIT, "submit")                                                                        \
	X(START, "start") X(SCREENED, "screened") X(SCR_ERROR, "screen-error") X(ASK, "ask")       \
	    X(ANSWER, "answer") X(ESCALATE, "escalate") X(PROPOSE, "propose") X(SIGN, "sign+")     \
		X(REFUSE, "sign-") X(LIST, "list-change") X(PAYLOAD, "payload-change")             \
		    X(TIMEOUT, "timeout") X(WITHDRAW, "withdraw")
enum case_event {
#define X(n, t) CE_##n,
	CASE_EVENTS(X)
#undef X
	    CE_COUNT
};
/* Next state, or -1 = refused. quorum: this signature completes it (only read for CE_SIGN). */
int case_next(enum case_state s, enum case_event e, bool quorum);
const char *case_event_text(enum case_event e);
const char *case_state_text(enum case_state s); /* "M" */
const char *case_state_word(enum case_state s); /* "proposed" */

#endif
