/* chat_llama.c - the conversations of Llama 2, 3, 3.1, 3.2, 3.3, as their published templates
 * write them. */
#include "chat_priv.h"
#include "jsonw.h"

static const char alternate[] = "the roles must alternate user, assistant, user, ...";

int chat_llama2(struct chat_sink *s, const struct chat_msg *m, size_t n)
{
	struct span system = {0}, user;
	bool has_system = m[0].role == CHAT_SYSTEM;

	if (has_system) {
		system = m[0].text;
		m++;
		n--;
	}
	if (n == 0)
		return err_set(s->err, E_FORMAT, "the conversation has no user message");
	for (size_t i = 0; i < n; i++) {
		if (m[i].role != (i % 2 ? CHAT_ASSISTANT : CHAT_USER))
			return err_set(s->err, E_FORMAT, "%s", alternate);
		if (i % 2) {
			sink_puts(s, " ");
			sink_text(s, chat_trim(m[i].text));
			sink_puts(s, " ");
			sink_special(s, "</s>");
			continue;
		}
		sink_special(s, "<s>");
		sink_puts(s, "[INST] ");
		user = chat_trim(m[i].text);
		if (i == 0 && has_system) {
			sink_puts(s, "<<SYS>>\n");
			sink_text(s, system);
			sink_puts(s, "\n<</SYS>>");
			if (user.n) { /* the template trims the end of all this, not the start */
				sink_puts(s, "\n\n");
				user =
				    span_of(m[i].text.p, (size_t)(user.p + user.n - m[i].text.p));
			}
		}
		sink_text(s, user);
		sink_puts(s, " [/INST]");
	}
	return 0;
}

static void header(struct chat_sink *s, const char *role)
{
	sink_special(s, "<|start_header_id|>");
	sink_puts(s, role);
	sink_special(s, "<|end_header_id|>");
	sink_puts(s, "\n\n");
}

static const char how_to_call[] =
    "Respond in the format {\"name\": function name, \"parameters\": dictionary of argument name "
    "and its value}.Do not use variables.\n\n";

static void definitions(struct chat_sink *s, const struct chat_tools *t)
{
	sink_puts(s, how_to_call);
	for (size_t i = 0; i < t->n_defs; i++) {
		sink_text(s, t->defs[i]);
		sink_puts(s, "\n\n");
	}
}

/* The block that 3.1 and later always begin with. */
static void system_block(struct chat_sink *s, enum chat_format f, const struct chat_opts *o,
			 struct span system)
{
	const struct chat_tools *t = o->tools;
	bool builtin = t && t->n_builtin && f == CHAT_LLAMA31;

	header(s, "system");
	if (builtin || (t && t->n_defs))
		sink_puts(s, "Environment: ipython\n");
	if (builtin) {
		const char *sep = "Tools: ";

		for (size_t i = 0; i < t->n_builtin; i++) {
			if (span_eq(t->builtin[i], SPAN_LIT("code_interpreter")))
				continue;
			sink_puts(s, sep);
			sink_text(s, t->builtin[i]);
			sep = ", ";
		}
		sink_puts(s, *sep == 'T' ? "Tools: \n\n" : "\n\n");
	}
	sink_puts(s, "Cutting Knowledge Date: December 2023\nToday Date: ");
	sink_text(s, o->today.n ? o->today : SPAN_LIT("26 Jul 2024"));
	sink_puts(s, "\n\n");
	if (t && t->n_defs && t->in_system) {
		sink_puts(s, "You have access to the following functions. To call a function, "
			     "please respond with JSON for a function call.");
		definitions(s, t);
	}
	sink_text(s, chat_trim(system));
	sink_special(s, "<|eot_id|>");
}

/* The first message, whoever says it, behind the definitions of the tools. */
static void tools_message(struct chat_sink *s, const struct chat_tools *t, struct span text)
{
	header(s, "user");
	sink_puts(s, "Given the following functions, please respond with a JSON for a function "
		     "call with its proper arguments that best answers the given prompt.\n\n");
	definitions(s, t);
	sink_text(s, chat_trim(text));
	sink_special(s, "<|eot_id|>");
}

static int call_message(struct chat_sink *s, enum chat_format f, const struct chat_tools *t,
			const struct chat_call *c)
{
	bool builtin = t->n_builtin && f == CHAT_LLAMA31;

	for (size_t i = 0; builtin && i < t->n_builtin; i++)
		if (span_eq(t->builtin[i], c->name))
			return err_set(s->err, E_UNSUPPORTED,
				       "calls of built-in tools are not supported");
	header(s, "assistant");
	sink_puts(s, "{\"name\": \"");
	sink_text(s, c->name);
	sink_puts(s, "\", \"parameters\": ");
	sink_text(s, c->args);
	sink_puts(s, "}");
	sink_special(s, builtin ? "<|eom_id|>" : "<|eot_id|>");
	return 0;
}

static void message(struct chat_sink *s, bool ipython, const struct chat_msg *m)
{
	static const char *const roles[] = {"system", "user", "assistant", "tool"};

	if (m->role == CHAT_TOOL && ipython) {
		header(s, "ipython");
		json_put_str(s->text, m->text);
	} else {
		header(s, roles[m->role]);
		sink_text(s, chat_trim(m->text));
	}
	sink_special(s, "<|eot_id|>");
}

int chat_llama3(struct chat_sink *s, enum chat_format f, const struct chat_msg *m, size_t n,
		const struct chat_opts *o)
{
	bool dated = f == CHAT_LLAMA31 || f == CHAT_LLAMA32;
	const struct chat_tools *t = dated ? o->tools : NULL;
	struct span system = {0};
	size_t i = 0;
	int rc = 0;

	sink_special(s, "<|begin_of_text|>");
	if (dated) {
		if (m[0].role == CHAT_SYSTEM)
			system = m[i++].text;
		system_block(s, f, o, system);
	}
	if (t && t->n_defs && !t->in_system) {
		if (i == n)
			return err_set(s->err, E_FORMAT,
				       "tools go into the first message, but there is none");
		tools_message(s, t, m[i++].text);
	}
	for (; i < n && rc == 0; i++) {
		if (t && t->calls && t->calls[i].name.n)
			rc = call_message(s, f, t, &t->calls[i]);
		else
			message(s, dated, &m[i]);
	}
	if (rc == 0 && o->generation_prompt)
		header(s, "assistant");
	return rc;
}
