/* t_states.c - every cell of both state machines, against the transitions written out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "states.h"

/* "state event next", all that is allowed; everything else must be refused. */
static const char *const subject_allowed[] = {
    "N submit P",   "N lapse C",    "N close C",     "P onboard+ A",  "P onboard- R",
    "P list-hit P", "P close C",    "A enrol V",     "A lapse C",     "A list-hit X",
    "A suspend X",  "A close C",    "V enrol V",     "V due D",	      "V lapse X",
    "V list-hit X", "V suspend X",  "V reverify+ V", "V reverify- X", "V close C",
    "D lapse X",    "D list-hit X", "D suspend X",   "D reverify+ V", "D reverify- X",
    "D close C",    "X lapse C",    "X list-hit X",  "X suspend X",   "X reinstate+ V",
    "X close C",    "R list-hit R", "R reapply P",   "R erase+ E",    "C list-hit C",
    "C reapply P",  "C erase+ E",
};

static const char *const case_allowed[] = {
    "O submit Q",
    "O payload-change O",
    "O timeout T",
    "O withdraw T",
    "Q start S",
    "Q list-change Q",
    "Q payload-change Q",
    "Q timeout Q",
    "Q withdraw T",
    "S screened W",
    "S screen-error Q",
    "S list-change Q",
    "S payload-change Q",
    "S timeout Q",
    "S withdraw T",
    "W ask I",
    "W escalate L",
    "W propose M",
    "W list-change Q",
    "W payload-change Q",
    "W timeout W",
    "W withdraw T",
    "I ask I",
    "I answer Q",
    "I escalate L",
    "I list-change I",
    "I payload-change Q",
    "I timeout T",
    "I withdraw T",
    "L ask I",
    "L propose M",
    "L list-change Q",
    "L payload-change Q",
    "L timeout L",
    "L withdraw T",
    "M escalate L",
    "M sign+ Z",
    "M sign- W",
    "M list-change Q",
    "M payload-change Q",
    "M timeout W",
    "M withdraw T",
};

static int expected(const char *const *list, size_t n, const char *state, const char *event)
{
	char want[64];

	snprintf(want, sizeof(want), "%s %s ", state, event);
	for (size_t i = 0; i < n; i++)
		if (strncmp(list[i], want, strlen(want)) == 0)
			return list[i][strlen(want)];
	return 0;
}

static void every_subject_cell_is_as_the_table_says(void **st)
{
	struct subject_facts f = {.has_credential = true, .overdue = false};
	int seen = 0;

	for (int s = 0; s < SUB_STATES; s++)
		for (int e = 0; e < SE_COUNT; e++) {
			int got = subject_next((enum subject_state)s, (enum subject_event)e, f);
			int want = expected(subject_allowed,
					    sizeof(subject_allowed) / sizeof(subject_allowed[0]),
					    subject_state_text((enum subject_state)s),
					    subject_event_text((enum subject_event)e));

			assert_int_equal(
			    got < 0 ? 0 : subject_state_text((enum subject_state)got)[0], want);
			seen += got >= 0;
		}
	assert_int_equal(seen, sizeof(subject_allowed) / sizeof(subject_allowed[0]));
}

static void every_case_cell_is_as_the_table_says(void **st)
{
	int seen = 0;

	for (int s = 0; s < CS_COUNT; s++)
		for (int e = 0; e < CE_COUNT; e++) {
			int got = case_next((enum case_state)s, (enum case_event)e, true);
			int want =
			    expected(case_allowed, sizeof(case_allowed) / sizeof(case_allowed[0]),
				     case_state_text((enum case_state)s),
				     case_event_text((enum case_event)e));

			assert_int_equal(got < 0 ? 0 : case_state_text((enum case_state)got)[0],
					 want);
			seen += got >= 0;
		}
	assert_int_equal(seen, sizeof(case_allowed) / sizeof(case_allowed[0]));
}

static void a_signature_short_of_quorum_decides_nothing(void **st)
{
	assert_int_equal(case_next(CS_M, CE_SIGN, false), CS_M);
	assert_int_equal(case_next(CS_M, CE_SIGN, true), CS_Z);
}

static void reinstatement_never_gives_more_than_was_there(void **st)
{
	assert_int_equal(subject_next(SUB_X, SE_REINSTATE, (struct subject_facts){false, false}),
			 SUB_A);
	assert_int_equal(subject_next(SUB_X, SE_REINSTATE, (struct subject_facts){false, true}),
			 SUB_A);
	assert_int_equal(subject_next(SUB_X, SE_REINSTATE, (struct subject_facts){true, true}),
			 SUB_D);
	assert_int_equal(subject_next(SUB_X, SE_REINSTATE, (struct subject_facts){true, false}),
			 SUB_V);
}

static void numbers_outside_the_tables_are_refused(void **st)
{
	struct subject_facts f = {true, true};

	assert_int_equal(subject_next((enum subject_state)99, SE_CLOSE, f), -1);
	assert_int_equal(subject_next(SUB_V, (enum subject_event)99, f), -1);
	assert_int_equal(case_next((enum case_state)99, CE_SIGN, true), -1);
	assert_int_equal(case_next(CS_M, (enum case_event)99, true), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_subject_cell_is_as_the_table_says),
	    cmocka_unit_test(every_case_cell_is_as_the_table_says),
	    cmocka_unit_test(a_signature_short_of_quorum_decides_nothing),
	    cmocka_unit_test(reinstatement_never_gives_more_than_was_there),
	    cmocka_unit_test(numbers_outside_the_tables_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
