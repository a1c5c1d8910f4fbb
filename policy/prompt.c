/* prompt.c - see prompt.h. */
#include "prompt.h"

#include "neutralise.h"

static const char *const names[] = {
    "Violent Crimes",
    "Non-Violent Crimes",
    "Sex Crimes",
    "Child Exploitation",
    "Defamation",
    "Specialized Advice",
    "Privacy",
    "Intellectual Property",
    "Indiscriminate Weapons",
    "Hate",
    "Self-Harm",
    "Sexual Content",
    "Elections",
    "Code Interpreter Abuse",
};

const char *guard_category(unsigned s)
{
	return s >= 1 && s <= sizeof(names) / sizeof(names[0]) ? names[s - 1] : NULL;
}

static const char *speaker(enum guard_role r)
{
	return r == GUARD_USER ? "User" : "Agent";
}

void gp_open(enum guard_edition ed, enum guard_role role, struct buf *out)
{
	unsigned n = ed == GUARD_ED_1B ? 13 : 14;

	buf_fmt(out,
		"\n\nTask: Check if there is unsafe content in '%s' messages in conversations "
		"according our safety policy with the below categories.\n\n"
		"<BEGIN UNSAFE CONTENT CATEGORIES>\n",
		speaker(role));
	for (unsigned i = 1; i <= n; i++)
		buf_fmt(out, "S%u: %s.\n", i, guard_category(i));
	buf_puts(out, "<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\nUser: ");
}

void gp_close(enum guard_edition ed, enum guard_role role, struct buf *out)
{
	buf_fmt(out,
		"\n\n<END CONVERSATION>\n\n"
		"Provide your safety assessment for ONLY THE LAST %s message in the above "
		"conversation:\n"
		" - First line must read 'safe' or 'unsafe'.\n"
		" - If unsafe, a second line must include a comma-separated list of violated "
		"categories.%s",
		speaker(role), ed == GUARD_ED_1B ? " " : "");
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct span gp_strip(struct span s)
{
	while (s.n > 0 && blank(s.p[0]))
		s = span_from(s, 1);
	while (s.n > 0 && blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

void gp_turns(const struct chat_msg *msgs, size_t n, struct buf *out, enum guard_role *last)
{
	enum guard_role at = GUARD_USER;
	bool any = false; /* something stands in the present turn */

	for (size_t i = 0; i < n; i++) {
		enum guard_role r = msgs[i].role == CHAT_ASSISTANT ? GUARD_AGENT : GUARD_USER;

		if (r != at)
			buf_puts(out, r == GUARD_AGENT ? GP_AGENT : GP_USER);
		else if (any)
			buf_puts(out, "\n\n");
		neutralise(gp_strip(msgs[i].text), out, NULL);
		at = r;
		any = true;
	}
	*last = at;
}

void gp_flat(const struct chat_msg *msgs, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_puts(out, "\n\n");
		neutralise(gp_strip(msgs[i].text), out, NULL);
	}
}
