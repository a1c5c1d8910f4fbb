/* prompt.h - the text of Llama Guard 3's prompt (guard.md 1.1 to 1.4; equal to Meta's published
 * templates), and the mapping of a conversation to its two speakers. Pure; any thread.
 *
 * body = gp_open(role)                         task, categories, ..."<BEGIN CONVERSATION>\n\nUser:
 * " turns                                 text "\n\nAgent: " text "\n\nUser: " text ...
 *        gp_close(role)                        "\n\n<END CONVERSATION>\n\nProvide ..." */
#ifndef SP_POLICY_PROMPT_H
#define SP_POLICY_PROMPT_H

#include "buf.h"
#include "chat.h"

enum guard_role { GUARD_USER, GUARD_AGENT }; /* whose last message is judged */
/* The 1B edition has no S14 and one blank before its end of turn. */
enum guard_edition { GUARD_ED_8B, GUARD_ED_1B };

const char *guard_category(unsigned s); /* 1..14 -> "Violent Crimes"; NULL beyond */
void gp_open(enum guard_edition ed, enum guard_role role, struct buf *out);
void gp_close(enum guard_edition ed, enum guard_role role, struct buf *out);
#define GP_AGENT "\n\nAgent: "
#define GP_USER "\n\nUser: "

/* White space at both ends removed, as the templates do. */
struct span gp_strip(struct span s);

/* The turns of a conversation as text: system, user and tool messages become User turns, neighbours
 * of one speaker are joined by a blank line, a conversation that begins with the assistant gets an
 * empty User turn; every text is stripped and neutralised. Nothing is left out. *last = speaker of
 * the last turn. */
void gp_turns(const struct chat_msg *msgs, size_t n, struct buf *out, enum guard_role *last);
/* Everything that was said, by whomever, as one text: blank lines between, neutralised. */
void gp_flat(const struct chat_msg *msgs, size_t n, struct buf *out);

#endif
