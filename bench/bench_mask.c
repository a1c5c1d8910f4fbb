/* bench_mask.c - what a mask costs for each token drawn, on a whole vocabulary: CPU time of
 * mask_allow() along answers drawn at random under it. One line a schema: mean, median and most
 * over all tokens, and over those whose set had to be worked out. Usage: bench_mask MODEL.gguf
 * [tokens] Only the file's vocabulary is read. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "buf.h"
#include "count.h"
#include "mask.h"

#define SLICE 100000u /* engine_priv.h's MASK_SLICE */

static const struct {
	const char *name, *text;
} schemas[] = {
    {"json_object", "{\"type\":\"object\"}"},
    {"person",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
     "\"integer\"},"
     "\"email\":{\"type\":[\"string\",\"null\"]},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":"
     "[\"new\",\"old\",\"vip\"]}}},\"required\":[\"name\",\"age\",\"email\",\"tags\"],"
     "\"additionalProperties\":false}"},
    {"bounded",
     "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"maxLength\":40},\"text\":"
     "{\"type\":\"string\",\"minLength\":20,\"maxLength\":400},\"score\":{\"type\":\"number\","
     "\"minimum\":0,"
     "\"maximum\":1}},\"required\":[\"id\",\"text\",\"score\"]}"},
    {"union", "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{"
	      "\"kind\":{\"const\":"
	      "\"text\"},\"body\":{\"type\":\"string\"}},\"required\":[\"kind\",\"body\"]},{"
	      "\"type\":\"object\","
	      "\"properties\":{\"kind\":{\"const\":\"table\"},\"rows\":{\"type\":\"array\","
	      "\"items\":{\"type\":"
	      "\"array\",\"items\":{\"type\":\"number\"}}}},\"required\":[\"kind\",\"rows\"]}]}}"},
    {"tree",
     "{\"$ref\":\"#/$defs/"
     "n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"label\":{\"type\":"
     "\"string\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/n\"}}},\"required\":"
     "[\"label\",\"kids\"]}}}"},
    {"formats", "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"at\":{"
		"\"type\":\"string\","
		"\"format\":\"date-time\"},\"id\":{\"type\":\"string\",\"format\":\"uuid\"},"
		"\"mail\":{\"type\":"
		"\"string\",\"format\":\"email\"}},\"required\":[\"at\",\"id\",\"mail\"]}}"},
    {"map", "{\"type\":\"object\",\"properties\":{\"version\":{\"type\":\"integer\"}},"
	    "\"additionalProperties\":"
	    "{\"type\":\"string\"}}"},
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* As a model would: mostly words inside strings, now and then what closes them. */
static int32_t draw(const struct model_info *in, const uint64_t *allow, unsigned n,
		    const int32_t *marks)
{
	uint32_t at = (uint32_t)(rnd() % in->n_vocab);

	if (rnd() % 8 == 0)
		for (unsigned i = 0; i < 4; i++)
			if (marks[i] >= 0 && allow[marks[i] / 64] >> (marks[i] % 64) & 1)
				return marks[i];
	for (uint32_t i = 0; i < in->n_vocab; i++, at = (at + 1) % in->n_vocab)
		if (allow[at / 64] >> (at % 64) & 1)
			return (int32_t)at;
	(void)n;
	return -1;
}

static bool is_end(const struct model_info *in, int32_t id)
{
	for (uint32_t i = 0; i < in->n_end; i++)
		if (in->end[i] == id)
			return true;
	return id < 0;
}

static void line(const char *name, const char *what, double *t, size_t n)
{
	double sum = 0;

	qsort(t, n, sizeof(*t), by_size);
	for (size_t i = 0; i < n; i++)
		sum += t[i];
	if (n)
		printf("%-12s %-10s n %6zu  mean %8.1f us  median %8.1f us  p99 %8.1f us  most "
		       "%8.1f us\n",
		       name, what, n, sum / (double)n, t[n / 2], t[n * 99 / 100], t[n - 1]);
}

/* The dearest set that an author can ask for, whole and in the slices in which it is made beside
 * others: what a unit of mask_hook's work takes, and the longest slice. */
static int hostile(struct model *m)
{
	size_t words = model_info(m)->n_vocab / 64 + 1;
	uint64_t *allow = malloc(words * sizeof(*allow)), work;
	struct buf text = BUF_INIT(1 << 16);
	double whole, at, most = 0, sum = 0;
	struct schema *s = NULL;
	struct mask_stats st;
	int32_t ids[60];
	struct mask *k;
	unsigned n = 0;

	for (unsigned i = 0; i < 32; i++)
		buf_fmt(&text, "%s{\"maxItems\":%u,\"items\":{\"$ref\":\"#/$defs/x\"}}",
			i ? "," : "{\"anyOf\":[", 10 + i);
	buf_puts(&text, "],\"$defs\":{\"x\":{\"anyOf\":[{\"items\":{\"$ref\":\"#/$defs/x\"}},"
			"{\"pattern\":\"^[a-y]{0,300}$\"}]}}}");
	for (int i = 0; i < 60; i++)
		ids[i] = model_token_find(m, i < 59 ? SPAN_LIT("[") : SPAN_LIT("\""));
	if (!allow || schema_compile(buf_span(&text), &s, NULL) < 0 || mask_new(m, s, &k, NULL) < 0)
		return 1;
	at = now_us();
	mask_allow(k, ids, 60, allow);
	whole = now_us() - at;
	mask_stats(k, &st);
	mask_free(k);
	if (mask_new(m, s, &k, NULL) < 0)
		return 1;
	for (bool done = false; !done; n++) {
		work = SLICE;
		at = now_us();
		done = mask_try(k, ids, 60, &work, allow);
		at = now_us() - at;
		sum += at;
		most = at > most && n ? at : most; /* the first one reads 60 tokens */
	}
	printf("%-12s whole %.1f ms, %.2f ns a unit; %u slices of %u: %.1f ms, longest %.3f ms\n",
	       "hostile", whole / 1e3, whole * 1e3 / (double)st.work, n, SLICE, sum / 1e3,
	       most / 1e3);
	mask_free(k);
	schema_free(s);
	buf_free(&text);
	free(allow);
	return 0;
}

static int bench(struct model *m, const char *name, const char *text, unsigned tokens)
{
	const struct model_info *in = model_info(m);
	size_t words = in->n_vocab / 64 + 1, n_all = 0, n_new = 0;
	double *all = calloc(tokens, sizeof(*all)), *made = calloc(tokens, sizeof(*made)), at, took;
	uint64_t *allow = malloc(words * sizeof(*allow));
	int32_t *ids = calloc(tokens + 1, sizeof(*ids)), marks[4];
	struct mask_stats st = {0}, was;
	struct schema *s = NULL;
	struct err err = {0};
	struct mask *k;

	at = now_us();
	if (!all || !made || !allow || !ids || schema_compile(span_cstr(text), &s, &err) < 0)
		return fprintf(stderr, "%s: %s\n", name, err.text), 1;
	took = now_us() - at;
	for (int i = 0; i < 4; i++)
		marks[i] = model_token_find(m, span_of(&"\"}],"[i], 1));
	while (n_all < tokens) {
		unsigned n = 0;

		at = now_us();
		if (mask_new(m, s, &k, &err) < 0)
			return fprintf(stderr, "%s: %s\n", name, err.text), 1;
		if (n_all == 0 && took >= 0) {
			mask_stats(k, &st);
			printf("%-12s compile %.0f us, mask_new %.0f us (index: %.1f ms when made, "
			       "%.1f MB)\n",
			       name, took, now_us() - at, (double)st.trie_build_ns / 1e6,
			       (double)st.trie_bytes / 1e6);
		}
		for (mask_stats(k, &was); n_all < tokens; was = st) {
			memset(allow, 0xff, words * sizeof(*allow));
			at = now_us();
			mask_allow(k, ids, n, allow);
			all[n_all] = now_us() - at;
			mask_stats(k, &st);
			if (st.misses != was.misses)
				made[n_new++] = all[n_all];
			n_all++;
			ids[n] = draw(in, allow, n, marks);
			if (is_end(in, ids[n++]))
				break;
		}
		mask_free(k);
	}
	line(name, "all", all, n_all);
	line(name, "worked out", made, n_new);
	schema_free(s);
	free(all);
	free(made);
	free(allow);
	free(ids);
	return 0;
}

int main(int argc, char **argv)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 1 << 20};
	struct model_opts o = {.vocab_only = true};
	unsigned tokens = argc > 2 ? count_arg(argv[2], 1, 1000000) : 4000;
	struct engine *e = NULL;
	struct model *m = NULL;
	struct err err = {0};
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1, rc = 0;

	if (fd < 0 || engine_open(&cfg, &e, &err) < 0 ||
	    engine_model_add(e, &fd, 1, &o, &m, &err) < 0) {
		fprintf(stderr, "usage: bench_mask MODEL.gguf [tokens]; %s\n", err.text);
		return 2;
	}
	printf("vocabulary %u\n", model_info(m)->n_vocab);
	for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]) && rc == 0; i++)
		rc = bench(m, schemas[i].name, schemas[i].text, tokens);
	if (rc == 0)
		rc = hostile(m);
	engine_close(e);
	return rc;
}
