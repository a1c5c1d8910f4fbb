#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_help.h"
#include "tools.h"

#define VOCAB 320

/* As the README of the goldens defines them. */
static void golden_ids(int32_t *ids, int len)
{
	ids[0] = 304;
	for (int64_t i = 1; i < len; i++)
		ids[i] =
		    (int32_t)((((1103515245 * (i * 7919 + len) + 12345) & 0x7fffffff) >> 8) % 304);
}

double golden_nano(const char *type, const char *kernel, bool step, enum kv_type kv)
{
	struct tool_opts o = {.kernel = kernel, .threads = 2, .step = step, .kv = kv};

	return golden_nano_with(type, &o);
}

double golden_nano_with(const char *type, const struct tool_opts *o)
{
	static const int lens[7] = {1, 2, 5, 17, 33, 64, 200};
	static float ref[7 * VOCAB], got[7 * VOCAB];
	char name[128];
	int fd, rd;

	snprintf(name, sizeof(name), "data/goldens/nano-%s.ref64.f32", type);
	rd = shared_fd(name);
	snprintf(name, sizeof(name), "data/goldens/nano-%s.gguf", type);
	fd = shared_fd(name);
	if (rd < 0 || fd < 0)
		return -1;
	assert_int_equal(read(rd, ref, sizeof(ref)), sizeof(ref));
	for (int i = 0; i < 7; i++) {
		struct err err = {0};
		int32_t ids[200];
		uint32_t vocab;
		float *logits;

		golden_ids(ids, lens[i]);
		if (tool_logits(&fd, 1, ids, (size_t)lens[i], o, &logits, &vocab, &err) < 0)
			fail_msg("%s: %s", name, err.text);
		assert_int_equal(vocab, VOCAB);
		memcpy(got + (size_t)i * VOCAB, logits, VOCAB * sizeof(float));
		free(logits);
	}
	close(rd);
	close(fd);
	return rms_over_std(got, ref, 7 * VOCAB);
}

double golden_own(const struct shape *s, uint32_t n, const char *kernel, uint32_t piece)
{
	struct ref_model ref;
	struct rig r;
	int fd = random_model(s, 42, &ref);
	int32_t *ids = calloc(n, sizeof(*ids));
	double *truth = calloc(s->vocab, sizeof(*truth));
	float *want = calloc(s->vocab, sizeof(*want)), *got = calloc(s->vocab, sizeof(*got));
	struct seq *q;
	double e;

	some_ids(ids, n, s->vocab, 7);
	ref_logits(&ref, ids, n, truth);
	for (uint32_t i = 0; i < s->vocab; i++)
		want[i] = (float)truth[i];
	rig_open(&r, fd, kernel, 2, 64u << 20);
	q = rig_seq(&r, SEQ_CHAT, n);
	for (uint32_t at = 0; at < n; at += piece) {
		uint32_t k = n - at < piece ? n - at : piece;

		append_all(r.e, q, ids + at, k, at + k == n ? got : NULL);
	}
	e = rms_over_std(got, want, s->vocab);
	print_message("%u tokens in pieces of %u, %s: %.2e\n", n, piece, kernel ? kernel : "best",
		      e);
	rig_close(&r);
	ref_free(&ref);
	free(ids);
	free(truth);
	free(want);
	free(got);
	return e;
}
