/* print.c - output forms. Data goes to stdout; columns are aligned by display width. One thread. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "cli.h"
#include "utf8.h"

#define COLS_MAX 16

/* Columns a terminal needs for it; control characters count as one (they print as '?'). */
static unsigned width_of(const char *s)
{
	struct span t = span_cstr(s);
	uint32_t cp;
	unsigned w = 0;
	int n;

	while (t.n) {
		n = utf8_next(t, &cp);
		if (n <= 0) {
			n = 1;
			w++;
		} else {
			w += cp < 0x20 ? 1u : (unsigned)utf8proc_charwidth((utf8proc_int32_t)cp);
		}
		t = span_from(t, (size_t)n);
	}
	return w;
}

/* Values come from a daemon we know, yet a terminal shall never be driven by them. */
static void put_clean(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void text_of(const json_t *v, const char *key, char *out, size_t n)
{
	size_t len = strlen(key);
	struct tm tm;
	time_t t;

	if (v == NULL || json_is_null(v)) {
		snprintf(out, n, "-");
	} else if (json_is_string(v)) {
		snprintf(out, n, "%s", json_string_value(v));
	} else if (json_is_integer(v) &&
		   (strcmp(key, "ts") == 0 || (len > 3 && strcmp(key + len - 3, "_ts") == 0) ||
		    (len > 3 && strcmp(key + len - 3, "_ms") == 0 &&
		     json_integer_value(v) > 1000000000000))) {
		t = (time_t)(json_integer_value(v) / 1000);
		localtime_r(&t, &tm);
		strftime(out, n, "%Y-%m-%d %H:%M:%S %z", &tm);
	} else if (json_is_array(v) || json_is_object(v)) {
		char *s = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);

		snprintf(out, n, "%s", s ? s : "?");
		free(s);
	} else {
		char *s = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		snprintf(out, n, "%s", s ? s : "?");
		free(s);
	}
}

static void put_padded(const char *s, unsigned to, bool last)
{
	unsigned w = width_of(s);

	put_clean(s);
	for (; !last && w < to; w++)
		putchar(' ');
}

static void print_table(json_t *rows, const struct col *cols)
{
	unsigned width[COLS_MAX] = {0}, n = 0;
	char cell[1024];
	size_t i;
	json_t *row;

	for (; cols[n].key && n < COLS_MAX; n++)
		width[n] = width_of(cols[n].head);
	json_array_foreach(rows, i, row) for (unsigned c = 0; c < n; c++)
	{
		unsigned w;

		text_of(json_object_get(row, cols[c].key), cols[c].key, cell, sizeof(cell));
		w = width_of(cell);
		if (w > width[c])
			width[c] = w > 60 ? 60 : w;
	}
	for (unsigned c = 0; c < n; c++) {
		put_padded(cols[c].head, width[c] + 2, c + 1 == n);
	}
	putchar('\n');
	json_array_foreach(rows, i, row)
	{
		for (unsigned c = 0; c < n; c++) {
			text_of(json_object_get(row, cols[c].key), cols[c].key, cell, sizeof(cell));
			put_padded(cell, width[c] + 2, c + 1 == n);
		}
		putchar('\n');
	}
	fprintf(stderr, "%zu %s\n", json_array_size(rows),
		json_array_size(rows) == 1 ? "row" : "rows");
}

static void print_csv(json_t *rows, const struct col *cols)
{
	char cell[4096];
	size_t i;
	json_t *row;

	for (unsigned c = 0; cols[c].key; c++)
		printf(c ? ",%s" : "%s", cols[c].key);
	putchar('\n');
	json_array_foreach(rows, i, row)
	{
		for (unsigned c = 0; cols[c].key; c++) {
			if (c)
				putchar(',');
			text_of(json_object_get(row, cols[c].key), "", cell, sizeof(cell));
			putchar('"');
			for (const char *s = cell; *s; s++) {
				if (*s == '"')
					putchar('"');
				putchar(*s);
			}
			putchar('"');
		}
		putchar('\n');
	}
}

static void print_object(json_t *doc)
{
	const char *key;
	json_t *v;
	char cell[4096];
	unsigned w = 0;

	json_object_foreach(doc, key, v) if (strlen(key) > w) w = (unsigned)strlen(key);
	json_object_foreach(doc, key, v)
	{
		if (strcmp(key, "schema_version") == 0 || strcmp(key, "demo") == 0)
			continue;
		text_of(v, key, cell, sizeof(cell));
		printf("%-*s  ", (int)w, key);
		put_clean(cell);
		putchar('\n');
	}
}

void cli_print(json_t *doc, const char *list, const struct col *cols)
{
	json_t *rows = list ? json_object_get(doc, list) : NULL, *row;
	size_t i;

	if (cli.out == OUT_JSONL && json_is_array(rows)) {
		json_array_foreach(rows, i, row)
		{
			json_dumpf(row, stdout, JSON_COMPACT | JSON_SORT_KEYS);
			putchar('\n');
		}
	} else if (cli.out == OUT_JSON || cli.out == OUT_JSONL) {
		json_dumpf(doc, stdout, JSON_COMPACT | JSON_SORT_KEYS);
		putchar('\n');
	} else if (!json_is_array(rows)) {
		print_object(doc);
	} else if (cli.out == OUT_CSV) {
		print_csv(rows, cols);
	} else {
		print_table(rows, cols);
	}
}

void cli_banner(void)
{
	if (cli.demo && (cli.out == OUT_TABLE || cli.out == OUT_CSV))
		fputs("DEMO realm: not for real people, not for real data\n", stderr);
}
