/* detectors.c - see detectors.h. */
#include "detectors.h"

static bool has(struct span s, const char *needle)
{
	return s.n > 0 && memmem(s.p, s.n, needle, strlen(needle)) != NULL;
}

void detect_text(struct span text, const struct norm_seen *seen, struct detect *d)
{
	if (seen->tags)
		d->found |= CAT_TAGS;
	if (has(text, "<|") || has(text, "[INST]") || has(text, "[/INST]") ||
	    has(text, "<<SYS>>") || has(text, "<s>") || has(text, "</s>"))
		d->found |= CAT_SPECIAL;
	if (seen->invisible + seen->bidi > 8 + text.n / 64)
		d->found |= CAT_INVISIBLE;
	d->seen.tags += seen->tags;
	d->seen.invisible += seen->invisible;
	d->seen.bidi += seen->bidi;
	d->seen.folded += seen->folded;
	d->seen.marks += seen->marks;
	d->seen.changed = d->seen.changed || seen->changed;
}
