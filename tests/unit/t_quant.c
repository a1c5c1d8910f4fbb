/* t_quant.c - model quantize: at least as close to the weights and to the logits as files other
 * tools made, right at the edges, and whole or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blocks.h"
#include "engine_help.h"
#include "fault.h"
#include "ggufb.h"
#include "kernels.h"
#include "parts.h"
#include "quant.h"
#include "quant_rows.h"
#include "tools.h"

static const struct {
	const char *type, *peer; /* what to write; the file another tool wrote */
} cases[] = {{"Q8_0", "q8_0"}, {"Q4_0", "q4_0"}, {"Q4_K", "q4_k_m"}, {"Q6_K", "q6_k"}};
#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static int nano(const char *type)
{
	char name[80];

	snprintf(name, sizeof(name), "data/goldens/nano-%s.gguf", type);
	return shared_fd(name);
}

/* Quantises fd into a memfd; -1 with the error. fd is closed. */
static int quantise(int fd, const char *type, bool again, struct quant_sum *sum, struct err *err)
{
	struct quant_opts o = {.type = type, .requantize = again, .threads = 2};
	struct quant_sum unused;
	int out = memfd_create("small", MFD_CLOEXEC);
	int rc = model_quantize(&fd, 1, out, &o, sum ? sum : &unused, err);

	close(fd);
	if (rc == 0)
		return out;
	close(out);
	return -1;
}

struct file {
	struct parts parts;
	struct gguf g;
};

static void open_file(struct file *f, int fd)
{
	struct err err = {0};

	if (parts_open(&f->parts, &fd, 1, &f->g, &err) < 0)
		fail_msg("%s", err.text);
}

static void close_file(struct file *f)
{
	gguf_free(&f->g);
	parts_close(&f->parts);
}

/* RMS of the difference over all matrices of two files with the same tensors. */
static double weight_error(const struct gguf *a, const struct gguf *b)
{
	double sum = 0;
	uint64_t n = 0;

	for (uint32_t i = 0; i < a->n_tensors; i++) {
		const struct gguf_tensor *t = &a->tensors[i], *u = &b->tensors[i];
		float *x, *y;

		assert_true(span_eq(t->name, u->name));
		assert_int_equal(t->elems, u->elems);
		x = calloc(t->elems, sizeof(*x));
		y = calloc(t->elems, sizeof(*y));
		kern_portable.expand[t->type](t->data.p, x, t->elems);
		kern_portable.expand[u->type](u->data.p, y, t->elems);
		for (uint64_t k = 0; k < t->elems; k++)
			sum += ((double)x[k] - y[k]) * ((double)x[k] - y[k]);
		n += t->elems;
		free(x);
		free(y);
	}
	return sqrt(sum / (double)n);
}

static void weights_are_as_close_as_other_tools_make_them(void **st)
{
	for (size_t i = 0; i < N_CASES; i++) {
		struct file truth, peer, ours;
		int fd = nano("f32"), pfd = nano(cases[i].peer), out;
		double e, p;

		if (fd < 0 || pfd < 0)
			skip();
		open_file(&truth, fd);
		open_file(&peer, pfd);
		out = quantise(fd, cases[i].type, false, NULL, NULL);
		assert_true(out >= 0);
		open_file(&ours, out);
		e = weight_error(&truth.g, &ours.g);
		p = weight_error(&truth.g, &peer.g);
		print_message("%s: %.4e, the other file %.4e (%.3f)\n", cases[i].type, e, p, e / p);
		assert_true(e <= p * 1.001);
		close_file(&truth);
		close_file(&peer);
		close_file(&ours);
		close(pfd);
		close(out);
	}
}

/* As golden.c computes them. */
static void logits_of(int fd, float *out)
{
	static const int lens[7] = {1, 2, 5, 17, 33, 64, 200};
	struct tool_opts o = {.threads = 2, .kv = KV_F32};

	for (int i = 0; i < 7; i++) {
		int32_t ids[200] = {304};
		struct err err = {0};
		uint32_t vocab;
		float *row;

		for (int64_t k = 1; k < lens[i]; k++)
			ids[k] =
			    (int32_t)((((1103515245 * (k * 7919 + lens[i]) + 12345) & 0x7fffffff) >>
				       8) %
				      304);
		if (tool_logits(&fd, 1, ids, (size_t)lens[i], &o, &row, &vocab, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(vocab, 320);
		memcpy(out + (size_t)i * 320, row, 320 * sizeof(float));
		free(row);
	}
}

static void logits_are_as_close_as_other_tools_files_give(void **st)
{
	static float truth[7 * 320], ours[7 * 320], peer[7 * 320];
	int rd = shared_fd("data/goldens/nano-f32.ref64.f32");

	if (rd < 0)
		skip();
	assert_int_equal(read(rd, truth, sizeof(truth)), sizeof(truth));
	close(rd);
	for (size_t i = 0; i < N_CASES; i++) {
		int out = quantise(nano("f32"), cases[i].type, false, NULL, NULL);
		int pfd = nano(cases[i].peer);
		double e, p;

		assert_true(out >= 0 && pfd >= 0);
		logits_of(out, ours);
		logits_of(pfd, peer);
		e = rms_over_std(ours, truth, 7 * 320);
		p = rms_over_std(peer, truth, 7 * 320);
		print_message("%s: %.4e, the other file %.4e (%.3f)\n", cases[i].type, e, p, e / p);
		assert_true(e <= p * 1.05);
		close(pfd);
		close(out);
	}
}

static const enum gtype written[] = {GT_Q8_0, GT_Q4_0, GT_Q4_K, GT_Q6_K};

/* Rows at the edges stay finite and within `steps` of the range they span. */
static void rows_at_the_edges_are_kept(void **st)
{
	static const float steps[] = {0.6f / 127, 0.6f / 7, 0.6f / 15 + 0.02f, 0.6f / 31 + 0.006f};
	float x[256], y[256];
	uint8_t row[288];

	for (size_t t = 0; t < 4; t++)
		for (int kind = 0; kind < 9; kind++) {
			float lo = 0, hi = 0;

			for (int i = 0; i < 256; i++) {
				static const float base[9] = {0,      1,     -1, 65504, -65504,
							      1e-30f, 3e-7f, 1,	 65504};
				float v = base[kind];

				if (kind == 7)
					v = i == 100 ? 1 : 0;
				else if (kind == 8)
					v = i % 2 ? v : -v;
				x[i] = v;
				lo = v < lo ? v : lo;
				hi = v > hi ? v : hi;
			}
			quant_row(written[t], x, row, 256);
			kern_portable.expand[written[t]](row, y, 256);
			for (int i = 0; i < 256; i++)
				assert_true(fabsf(y[i] - x[i]) <= (hi - lo) * steps[t] + 1e-6f);
		}
}

static void random_rows_lose_no_more_than_their_step(void **st)
{
	static const float most[] = {0.0041f, 0.068f, 0.066f, 0.0165f}; /* of the weights' RMS */
	uint64_t s = 1;

	for (size_t t = 0; t < 4; t++) {
		double err = 0, all = 0;

		for (int r = 0; r < 400; r++) {
			float x[256], y[256], scale = ldexpf(1, r % 8 - 3);
			uint8_t row[288];

			for (int i = 0; i < 256; i++) {
				s = s * 6364136223846793005u + 1442695040888963407u;
				x[i] = scale * ((float)(s >> 40) / 8388608.0f - 1);
			}
			quant_row(written[t], x, row, 256);
			kern_portable.expand[written[t]](row, y, 256);
			for (int i = 0; i < 256; i++) {
				double e = ((double)y[i] - x[i]) / scale, v = (double)x[i] / scale;

				err += e * e;
				all += v * v;
			}
		}
		print_message("%s: %.5f\n", gtype_name(written[t]), sqrt(err / all));
		assert_true(sqrt(err / all) <= most[t]);
	}
}

/* ---- files ---- */

static const struct shape deep = {.embd = 256,
				  .layers = 16,
				  .heads = 4,
				  .kv_heads = 2,
				  .head_dim = 64,
				  .ff = 288, /* ffn_down: no whole blocks of 256 */
				  .vocab = SMALL_VOCAB,
				  .context = 64,
				  .freqs = true,
				  .scale = 0.5f};

static enum gtype type_of(const struct gguf *g, const char *name)
{
	const struct gguf_tensor *t = gguf_tensor(g, name);

	assert_non_null(t);
	return t->type;
}

static void mixes_give_more_bits_where_they_count(void **st)
{
	struct quant_sum sum;
	struct file f;
	uint32_t v, six = 0;
	int out = quantise(random_model(&deep, 1, NULL), "Q4_K_M", false, &sum, NULL);

	assert_true(out >= 0);
	open_file(&f, out);
	assert_int_equal(f.g.bytes, sum.bytes_out);
	assert_int_equal(type_of(&f.g, "output.weight"), GT_Q6_K);
	assert_int_equal(type_of(&f.g, "token_embd.weight"), GT_Q4_K);
	assert_int_equal(type_of(&f.g, "output_norm.weight"), GT_F32);
	assert_int_equal(type_of(&f.g, "rope_freqs.weight"), GT_F32);
	assert_int_equal(type_of(&f.g, "blk.3.ffn_down.weight"), GT_F16);
	for (int i = 0; i < 16; i++) {
		char name[40];

		snprintf(name, sizeof(name), "blk.%d.attn_v.weight", i);
		six += type_of(&f.g, name) == GT_Q6_K;
	}
	assert_int_equal(six, 8); /* 0 1, 4 7 10 13, 14 15 */
	assert_int_equal(sum.half, 16);
	assert_int_equal(sum.quantised, 2 + 16 * 6);
	assert_int_equal(sum.kept, 2 + 16 * 2);
	assert_true(gguf_u32(&f.g, "general.file_type", &v) && v == 15);
	assert_true(gguf_u32(&f.g, "general.quantization_version", &v) && v == 2);
	assert_true(gguf_u32(&f.g, "llama.block_count", &v) && v == 16);
	close_file(&f);
	close(out);
}

static void refused(int fd, const char *type, bool again, int code, const char *says)
{
	struct err err = {0};

	assert_int_equal(quantise(fd, type, again, NULL, &err), -1);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, says))
		fail_msg("\"%s\" lacks \"%s\"", err.text, says);
}

static void what_cannot_be_done_well_is_refused(void **st)
{
	struct shape s = deep;
	int out;

	s.layers = 1;
	s.ff = 256;
	refused(random_model(&s, 1, NULL), "Q5_K", false, E_UNSUPPORTED, "types to write");
	out = quantise(random_model(&s, 1, NULL), "Q8_0", false, NULL, NULL);
	assert_true(out >= 0);
	refused(dup(out), "Q4_K", false, E_UNSUPPORTED, "quantised already");
	out = quantise(out, "Q4_K", true, NULL, NULL);
	assert_true(out >= 0);
	close(out);
	s.nan = true;
	refused(random_model(&s, 1, NULL), "Q4_K", false, E_FORMAT, "no number");
}

static int file_with_keys(unsigned n)
{
	const uint64_t dims[2] = {32, 2};
	int fd = memfd_create("keys", MFD_CLOEXEC);
	struct buf out = BUF_INIT(1u << 20);
	struct ggufb b;
	char name[16];

	gb_init(&b);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "key.%u", i);
		gb_u32(&b, name, i);
	}
	gb_tensor(&b, "w.weight", GT_F32, 2, dims, 256, 0);
	gb_finish(&b, &out);
	assert_int_equal(write(fd, out.p, out.n), (ssize_t)out.n);
	buf_free(&out);
	gb_free(&b);
	return fd;
}

static void what_it_writes_can_be_opened_whatever_keys_it_has(void **st)
{
	struct file f;
	int out = quantise(file_with_keys(GGUF_MAX_KEYS - 2), "Q8_0", false, NULL, NULL);

	assert_true(out >= 0);
	open_file(&f, out);
	assert_int_equal(f.g.n_keys, GGUF_MAX_KEYS);
	close_file(&f);
	close(out);
	refused(file_with_keys(GGUF_MAX_KEYS - 1), "Q8_0", false, E_RANGE, "4097 metadata keys");
}

static bool stop(void *arg, unsigned per_mille)
{
	return per_mille < 300;
}

static void it_can_be_cancelled(void **st)
{
	struct quant_opts o = {.type = "Q4_0", .threads = 1, .progress = stop};
	struct quant_sum sum;
	int fd = random_model(&deep, 1, NULL), out = memfd_create("small", MFD_CLOEXEC);

	assert_int_equal(model_quantize(&fd, 1, out, &o, &sum, NULL), E_CANCELLED);
	close(fd);
	close(out);
}

static void results_do_not_depend_on_threads(void **st)
{
	struct quant_opts o = {.type = "Q6_K"};
	struct shape s = deep;
	struct buf file[2] = {BUF_INIT(1u << 26), BUF_INIT(1u << 26)};

	s.layers = 1;
	for (int i = 0; i < 2; i++) {
		struct quant_sum sum;
		int fd = random_model(&s, 1, NULL), out = memfd_create("small", MFD_CLOEXEC);

		o.threads = i ? 3 : 1;
		assert_int_equal(model_quantize(&fd, 1, out, &o, &sum, NULL), 0);
		assert_int_equal(pread(out, buf_grow(&file[i], sum.bytes_out), sum.bytes_out, 0),
				 sum.bytes_out);
		close(fd);
		close(out);
	}
	assert_int_equal(file[0].n, file[1].n);
	assert_memory_equal(file[0].p, file[1].p, file[0].n);
	buf_free(&file[0]);
	buf_free(&file[1]);
}

static void every_fault_is_reported(void **st)
{
#ifdef SP_FAULT
	struct shape s = deep;
	unsigned n = 0, whole = 0;
	bool fired;
	int fd;

	s.layers = 1;
	fd = random_model(&s, 1, NULL);
	do {
		struct quant_sum sum;
		struct err err = {0};
		int out;

		fault_arm("*", ++n, false, 0);
		out = quantise(dup(fd), "Q4_0", false, &sum, &err);
		fired = fault_fired();
		fault_disarm();
		assert_true(fired || out >= 0);
		if (out < 0) {
			assert_true(err.text[0]);
		} else { /* also after a short write */
			assert_int_equal(lseek(out, 0, SEEK_END), sum.bytes_out);
			close(out);
			whole++;
		}
	} while (fired);
	assert_true(n > 5 && whole < n / 2);
	close(fd);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(weights_are_as_close_as_other_tools_make_them),
	    cmocka_unit_test(logits_are_as_close_as_other_tools_files_give),
	    cmocka_unit_test(rows_at_the_edges_are_kept),
	    cmocka_unit_test(random_rows_lose_no_more_than_their_step),
	    cmocka_unit_test(mixes_give_more_bits_where_they_count),
	    cmocka_unit_test(what_cannot_be_done_well_is_refused),
	    cmocka_unit_test(what_it_writes_can_be_opened_whatever_keys_it_has),
	    cmocka_unit_test(it_can_be_cancelled),
	    cmocka_unit_test(results_do_not_depend_on_threads),
	    cmocka_unit_test(every_fault_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
