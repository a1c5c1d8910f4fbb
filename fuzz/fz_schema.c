/* fz_schema.c - any bytes as a JSON Schema. What compiles must keep its promise: from every place
 * the automaton reaches some byte goes on until a value is whole, and what was written then is
 * JSON. The input's own bytes choose the way. */
#include <stdlib.h>

#include "log.h"
#include "schema_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define FRAMES (KEEP_FRAMES + 2 * THREADS)
#define STEPS 600u

static struct frame frames[FRAMES], spare[FRAMES];
static struct thr threads[THREADS], next[THREADS];

/* Bytes that may come now. Returns their number. */
static unsigned allowed(struct pda *a, uint32_t n, uint8_t out[256])
{
	uint32_t mark = a->n_fr;
	unsigned k = 0;

	for (unsigned c = 0; c < 256; c++) {
		if (pda_step(a, threads, n, (uint8_t)c, next))
			out[k++] = (uint8_t)c;
		must(a->n_fr - mark <= 2 * THREADS);
		a->n_fr = mark;
	}
	return k;
}

/* Bytes that bring things to an end are taken more often the longer it goes on. */
static uint8_t choose(const uint8_t *may, unsigned k, uint64_t *seed, unsigned step)
{
	static const char ends[] = "\"}],0123456789:";

	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	if (step > STEPS / 4 || (*seed >> 60) < 6)
		for (const char *e = ends; *e; e++)
			if (memchr(may, *e, k) && ((*seed >> 40) & 3))
				return (uint8_t)*e;
	return may[(*seed >> 33) % k];
}

static void wander(const struct schema *s, uint64_t seed)
{
	struct pda a = {.s = s, .fr = frames, .cap_fr = FRAMES};
	struct buf text = BUF_INIT(STEPS + 8);
	uint32_t n = pda_start(&a, threads);
	struct jdoc doc;
	uint8_t may[256];

	for (unsigned step = 0; step < STEPS; step++) {
		unsigned k = allowed(&a, n, may);
		uint8_t c;

		must(k > 0 || pda_complete(&a, threads, n));
		if (k == 0 || (pda_complete(&a, threads, n) && step > STEPS / 8))
			break;
		c = choose(may, k, &seed, step);
		n = pda_step(&a, threads, n, c, next);
		memcpy(threads, next, sizeof(threads));
		pda_tidy(&a, threads, n, spare);
		buf_u8(&text, c);
	}
	if (pda_complete(&a, threads, n)) {
		struct err err = {0};
		int rc = json_read(&doc, buf_span(&text), &err);

		must(rc == 0 || strstr(err.text, "twice"));
		json_free(&doc);
	}
	buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct err err = {0};
	struct schema *s = NULL;
	uint64_t seed = n;

	if (schema_compile(span_of(p, n), &s, &err) < 0) {
		must(err.code < 0 && err.text[0] && !s);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		seed = (seed ^ p[i]) * 0x100000001b3u;
	for (unsigned i = 0; i < 3; i++)
		wander(s, seed + i);
	schema_free(s);
	return 0;
}
