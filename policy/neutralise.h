/* neutralise.h - text of users and models stands inside the guard's prompt, whose structure is
 * plain text too. Whatever looks like that structure gets a U+2060 inside, so that the block cannot
 * be closed and no verdict be forged from within: `<BEGIN ...`, `<END ...`, `User:` and `Agent:` at
 * the start of a line, and the sentences of the task and the closing instruction.
 *
 * Works on growing text: the copy of a prefix agrees with the copy of the whole up to *settled.
 * Pure; any thread. */
#ifndef SP_POLICY_NEUTRALISE_H
#define SP_POLICY_NEUTRALISE_H

#include "buf.h"

/* Appends the copy. The text starts at the start of a line. *settled (NULL ok) = bytes appended
 * that stay the same whatever bytes follow the text. */
void neutralise(struct span text, struct buf *out, size_t *settled);

#endif
