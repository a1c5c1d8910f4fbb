/* selftest.c - canned prompts through the guard at load, with the full vocabulary: the model itself
 * must want to say `safe` or `unsafe` at the place where the verdict is read, every logit must be
 * finite, and every prompt must come out as it is known to be. */
#include <math.h>
#include <stdio.h>

#include "guard_priv.h"
#include "selftest_prompts.h"

_Static_assert(SELFTEST_N >= 8, "at least eight prompts");

static int start(struct guard *g, const struct selftest_prompt *p, struct err *err)
{
	struct buf turns = BUF_INIT(65536);
	enum guard_role last, role = p->answer ? GUARD_AGENT : GUARD_USER;
	struct chat_msg msg = {CHAT_USER, span_cstr(p->prompt)};
	int rc = reading_new(g, role, 0, GUARD_GROUP, 256, &g->tester, err);

	if (rc != 0)
		return rc;
	g->tester->full = true;
	gp_turns(&msg, 1, &turns, &last);
	if (p->answer) {
		buf_puts(&turns, GP_AGENT);
		rc = reading_context(g->tester, buf_span(&turns), 128, err);
		if (rc == 0)
			rc = reading_check(g->tester, span_cstr(p->answer), 1001, err);
	} else {
		rc = reading_judge(g->tester, buf_span(&turns), 1001, err);
	}
	buf_free(&turns);
	return rc;
}

void selftest_next(struct guard *g)
{
	struct err err = {0};

	if (g->test == SELFTEST_N) {
		g->state = GUARD_READY;
		return;
	}
	if (start(g, &selftest_prompts[g->test], &err) != 0)
		guard_fail(g, err.code, err.text);
}

void selftest_verdict(struct guard *g, const struct verdict *given)
{
	const struct verdict verdict = *given, *v = &verdict; /* it lives in the tester */
	const struct selftest_prompt *p = &selftest_prompts[g->test];
	bool words = g->tester->argmax_ok;
	char why[128];

	reading_free(g->tester);
	g->tester = NULL;
	if (v->code != 0 || !isfinite(v->p_unsafe))
		snprintf(why, sizeof(why), "self-test %u: the guard gives no number", g->test + 1);
	else if (!words)
		snprintf(why, sizeof(why),
			 "self-test %u: the model does not want to say safe or unsafe",
			 g->test + 1);
	else if ((v->p_unsafe >= 0.5) != p->unsafe)
		snprintf(why, sizeof(why), "self-test %u: score %.3f where %s is right",
			 g->test + 1, v->p_unsafe, p->unsafe ? "unsafe" : "safe");
	else {
		g->test++;
		selftest_next(g);
		return;
	}
	guard_fail(g, E_DENIED, why);
}
