/* normalise.h - a plain reading of a text that was written to look different from what it says.
 * The guard classifies the text as it is and, where it differs, also this form; the higher score
 * counts (guard.md 2.3). Pure; any thread. */
#ifndef SP_POLICY_NORMALISE_H
#define SP_POLICY_NORMALISE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct norm_seen {
	bool changed;	    /* the normalised form differs from the text */
	uint32_t tags;	    /* U+E0000..E007F outside the three flags of RGI emoji */
	uint32_t invisible; /* default-ignorable, zero-width, variation selectors */
	uint32_t bidi;	    /* direction controls */
	uint32_t folded;    /* look-alike letters of other scripts */
	uint32_t marks;	    /* combining marks beyond two in a row, and overlays */
	bool shouting;	    /* most letters are capitals: classify the case-folded form too */
};

/* Appends the normalised form: invisible characters removed, NFKC, piled-up combining marks
 * removed, words made of Latin letters and their Cyrillic or Greek look-alikes folded to Latin
 * (words with any other letter of those scripts are left alone), and case-folded when
 * seen->shouting. Line breaks become blanks in a text of four lines and more with fewer than three
 * words a line. Malformed UTF-8 becomes U+FFFD. *seen (NULL ok) says what was met.
 * E_NOMEM; E_RANGE when *out overflows. */
int normalise(struct span text, struct buf *out, struct norm_seen *seen);

/* The Latin letter that cp imitates, or cp itself. */
uint32_t fold_lookalike(uint32_t cp);

#endif
