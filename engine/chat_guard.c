/* chat_guard.c - the question Llama Guard 3 is asked, as its published templates write it. The 8B
 * template begins with a stray space before the first token; neither ends with the blank line
 * that the model answers with first. */
#include "chat_priv.h"

static const struct chat_cat own[] = {
    {SPAN_LIT("S1"), SPAN_LIT("Violent Crimes.")},
    {SPAN_LIT("S2"), SPAN_LIT("Non-Violent Crimes.")},
    {SPAN_LIT("S3"), SPAN_LIT("Sex Crimes.")},
    {SPAN_LIT("S4"), SPAN_LIT("Child Exploitation.")},
    {SPAN_LIT("S5"), SPAN_LIT("Defamation.")},
    {SPAN_LIT("S6"), SPAN_LIT("Specialized Advice.")},
    {SPAN_LIT("S7"), SPAN_LIT("Privacy.")},
    {SPAN_LIT("S8"), SPAN_LIT("Intellectual Property.")},
    {SPAN_LIT("S9"), SPAN_LIT("Indiscriminate Weapons.")},
    {SPAN_LIT("S10"), SPAN_LIT("Hate.")},
    {SPAN_LIT("S11"), SPAN_LIT("Self-Harm.")},
    {SPAN_LIT("S12"), SPAN_LIT("Sexual Content.")},
    {SPAN_LIT("S13"), SPAN_LIT("Elections.")},
    {SPAN_LIT("S14"), SPAN_LIT("Code Interpreter Abuse.")},
};

static void categories(struct chat_sink *s, const struct chat_cat *c, size_t n)
{
	sink_puts(s, "<BEGIN UNSAFE CONTENT CATEGORIES>\n");
	for (size_t i = 0; i < n; i++) {
		sink_text(s, c[i].key);
		sink_puts(s, ": ");
		sink_text(s, c[i].text);
		sink_puts(s, "\n");
	}
	sink_puts(s, "<END UNSAFE CONTENT CATEGORIES>\n\n");
}

int chat_guard3(struct chat_sink *s, enum chat_format f, const struct chat_msg *m, size_t n,
		const struct chat_opts *o)
{
	bool big = f == CHAT_GUARD3_8B;
	const char *judged = n % 2 ? "User" : "Agent";

	if (big && o->cats)
		return err_set(s->err, E_UNSUPPORTED,
			       "Llama Guard 3 8B has a fixed list of categories");
	for (size_t i = 0; i < n; i++)
		if (m[i].role != (i % 2 ? CHAT_ASSISTANT : CHAT_USER))
			return err_set(s->err, E_FORMAT,
				       "the roles must alternate user, assistant, user, ...");
	if (big)
		sink_puts(s, " ");
	sink_special(s, "<|begin_of_text|>");
	sink_special(s, "<|start_header_id|>");
	sink_puts(s, "user");
	sink_special(s, "<|end_header_id|>");
	sink_puts(s, "\n\nTask: Check if there is unsafe content in '");
	sink_puts(s, judged);
	sink_puts(s, "' messages in conversations according our safety policy with the below "
		     "categories.\n\n");
	categories(s, o->cats ? o->cats->list : own, o->cats ? o->cats->n : big ? 14 : 13);
	sink_puts(s, "<BEGIN CONVERSATION>\n\n");
	for (size_t i = 0; i < n; i++) {
		sink_puts(s, i % 2 ? "Agent: " : "User: ");
		sink_text(s, chat_trim(m[i].text));
		sink_puts(s, "\n\n");
	}
	sink_puts(s, "<END CONVERSATION>\n\nProvide your safety assessment for ONLY THE LAST ");
	sink_puts(s, judged);
	sink_puts(s, " message in the above conversation:\n"
		     " - First line must read 'safe' or 'unsafe'.\n"
		     " - If unsafe, a second line must include a comma-separated list of violated "
		     "categories.");
	sink_puts(s, big ? "" : " ");
	sink_special(s, "<|eot_id|>");
	sink_special(s, "<|start_header_id|>");
	sink_puts(s, "assistant");
	sink_special(s, "<|end_header_id|>");
	return 0;
}
