/* states.c - see states.h. One row per state, one character per event; '-' refuses, '*' asks facts.
 */
#include "states.h"

#include <stddef.h>

/*                                       submit onboard+ onboard- enrol due lapse hit suspend
 *                                       reverify+ reverify- reinstate+ close reapply erase+ */
static const char subject_table[SUB_STATES][SE_COUNT + 1] = {
    [SUB_N] = "P----C-----C--", [SUB_P] = "-AR---P----C--", [SUB_A] = "---V-CXX---C--",
    [SUB_V] = "---VDXXXVX-C--", [SUB_D] = "-----XXXVX-C--", [SUB_X] = "-----CXX--*C--",
    [SUB_R] = "------R-----PE", [SUB_C] = "------C-----PE", [SUB_E] = "--------------",
};

/*                                   submit start screened error ask answer escalate propose
 *                                   sign+ sign- list payload timeout withdraw */
static const char case_table[CS_COUNT][CE_COUNT + 1] = {
    [CS_O] = "Q----------OTT", [CS_Q] = "-S--------QQQT", [CS_S] = "--WQ------QQQT",
    [CS_W] = "----I-LM--QQWT", [CS_I] = "----IQL---IQTT", [CS_L] = "----I--M--QQLT",
    [CS_M] = "------L-*WQQWT", [CS_Z] = "--------------", [CS_T] = "--------------",
};

static const char subject_letters[] = "NPAVDXRCE";
static const char case_letters[] = "OQSWILMZT";

int subject_next(enum subject_state s, enum subject_event e, struct subject_facts f)
{
	char c;

	if ((unsigned)s >= SUB_STATES || (unsigned)e >= SE_COUNT)
		return -1;
	c = subject_table[s][e];
	if (c == '-')
		return -1;
	if (c == '*')
		c = !f.has_credential ? 'A' : f.overdue ? 'D' : 'V';
	return (int)(strchr(subject_letters, c) - subject_letters);
}

int case_next(enum case_state s, enum case_event e, bool quorum)
{
	char c;

	if ((unsigned)s >= CS_COUNT || (unsigned)e >= CE_COUNT)
		return -1;
	c = case_table[s][e];
	if (c == '-')
		return -1;
	if (c == '*')
		c = quorum ? 'Z' : 'M';
	return (int)(strchr(case_letters, c) - case_letters);
}

const char *subject_event_text(enum subject_event e)
{
	static const char *const names[] = {
#define X(n, t) t,
	    SUBJECT_EVENTS(X)
#undef X
	};

	return (unsigned)e < SE_COUNT ? names[e] : "?";
}

const char *case_event_text(enum case_event e)
{
	static const char *const names[] = {
#define X(n, t) t,
	    CASE_EVENTS(X)
#undef X
	};

	return (unsigned)e < CE_COUNT ? names[e] : "?";
}

const char *case_state_text(enum case_state s)
{
	static const char *const names[] = {"O", "Q", "S", "W", "I", "L", "M", "Z", "T"};

	return (unsigned)s < CS_COUNT ? names[s] : "?";
}

const char *case_state_word(enum case_state s)
{
	static const char *const words[] = {
	    "open",	 "queued",   "screening", "under review", "information asked",
	    "escalated", "proposed", "decided",	  "withdrawn"};

	return (unsigned)s < CS_COUNT ? words[s] : "?";
}
