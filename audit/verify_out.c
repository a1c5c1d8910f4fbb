/* verify_out.c - a verify result as JSON (stable) and as a line for people. */
#include "jsonw.h"
#include "verify.h"

static const char *name_of(enum verify_code c)
{
	static const char *const names[] = {"ok", "tampered", "incomplete", "usage"};

	return names[c];
}

void verify_json(const struct verify_result *r, struct buf *b)
{
	struct jsonw w;

	jw_init(&w, b);
	jw_obj(&w);
	jw_kint(&w, "bundles", (int64_t)r->bundles);
	jw_kint(&w, "checkpoint", (int64_t)r->checkpoint);
	jw_kbool(&w, "clean", r->clean);
	jw_kint(&w, "commits", (int64_t)r->commits);
	jw_key(&w, "first_bad");
	if (r->bad) {
		jw_obj(&w);
		jw_kint(&w, "byte", (int64_t)r->first_bad.byte);
		jw_kcstr(&w, "file", r->first_bad.file);
		jw_kint(&w, "index", (int64_t)r->first_bad.index);
		jw_end_obj(&w);
	} else {
		jw_null(&w);
	}
	jw_kint(&w, "in_flight", (int64_t)r->in_flight);
	jw_kint(&w, "intents", (int64_t)r->intents);
	jw_kbool(&w, "key_pinned", r->pinned);
	jw_kbool(&w, "live", r->live);
	jw_kcstr(&w, "message", r->text);
	jw_kbool(&w, "ok", r->code == VERIFY_OK);
	jw_kint(&w, "outcomes", (int64_t)r->outcomes);
	jw_kint(&w, "records", (int64_t)r->records);
	jw_kcstr(&w, "result", name_of(r->code));
	jw_khex(&w, "root", r->root, sizeof(r->root));
	jw_kint(&w, "schema_version", 1);
	jw_kint(&w, "segments", (int64_t)r->segments);
	jw_kint(&w, "tiles", (int64_t)r->tiles);
	jw_kint(&w, "torn_bytes", (int64_t)r->torn_bytes);
	jw_end_obj(&w);
	buf_putc(b, '\n');
}

void verify_text(const struct verify_result *r, struct buf *b)
{
	buf_fmt(b,
		"VERIFY %s: %llu entries, %llu commits signed by %s%s, %llu segments, %llu tiles, "
		"%llu bundles, %llu intents, %llu outcomes",
		name_of(r->code), (unsigned long long)r->records, (unsigned long long)r->commits,
		r->key.name[0] ? r->key.name : "?", r->pinned ? "" : " (key from the folder)",
		(unsigned long long)r->segments, (unsigned long long)r->tiles,
		(unsigned long long)r->bundles, (unsigned long long)r->intents,
		(unsigned long long)r->outcomes);
	if (r->in_flight > 0 || r->live)
		buf_fmt(b, ", in flight %llu", (unsigned long long)r->in_flight);
	buf_puts(b, r->clean ? ", closed\n" : r->live ? ", being written\n" : ", not closed\n");
	if (r->code == VERIFY_OK)
		return;
	buf_fmt(b, "  %s\n", r->text);
	if (r->bad)
		buf_fmt(b, "  first bad: entry %llu, file %s, byte %llu\n",
			(unsigned long long)r->first_bad.index, r->first_bad.file,
			(unsigned long long)r->first_bad.byte);
}
