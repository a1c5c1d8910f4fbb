/* entry_line.h - see entry_line.c. */
#ifndef SP_CLI_ENTRY_LINE_H
#define SP_CLI_ENTRY_LINE_H

#include <stdint.h>

#include "span.h"

/* Prints the entry (borrowed JSON) as one line on standard output. */
void entry_line(uint64_t index, struct span e);

#endif
