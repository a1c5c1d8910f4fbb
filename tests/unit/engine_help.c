#include "engine_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ggufb.h"
#include "kernels.h"
#include "qrand.h"

const struct shape shape_mixed = {.embd = 256,
				  .layers = 8,
				  .heads = 8,
				  .kv_heads = 4,
				  .head_dim = 32,
				  .ff = 256,
				  .vocab = SMALL_VOCAB,
				  .context = 2048,
				  .mixed = true};

int shared_fd(const char *rel)
{
	const char *dir = getenv("SALLYPORT_SHARED");
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "", rel);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* ---- random models ---- */

static uint64_t mix(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void some_ids(int32_t *ids, uint32_t n, uint32_t vocab, uint64_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		ids[i] = (int32_t)(mix(&seed) % vocab);
}

struct maker {
	struct ggufb b;
	uint64_t seed;
	bool mixed;
	uint32_t matrices;
};

/* A matrix in the next of the types; the expanded numbers in double when wanted. */
static double *put_mixed(struct maker *m, bool keep, const char *name, uint32_t rows, uint32_t cols,
			 float rms)
{
	enum gtype type = qrand_types[m->matrices++ % QRAND_TYPES];
	uint64_t dims[2] = {cols, rows}, bytes;
	size_t n = (size_t)rows * cols;
	double *d = keep ? calloc(n, sizeof(*d)) : NULL;
	float *f = calloc(cols, sizeof(*f));
	uint8_t *to;

	assert_true(gtype_row_bytes(type, cols, &bytes));
	gb_tensor(&m->b, name, type, 2, dims, rows * bytes, 0);
	to = (uint8_t *)m->b.data.p + m->b.data.n - rows * bytes;
	for (uint32_t r = 0; r < rows; r++) {
		qrand_row(type, &m->seed, rms, to + r * bytes, cols);
		kern_portable.expand[type](to + r * bytes, f, cols);
		for (uint32_t c = 0; d && c < cols; c++)
			d[(size_t)r * cols + c] = f[c];
	}
	free(f);
	return d;
}

/* A tensor of rows x cols uniform numbers around `mean`; the same in double when wanted. */
static double *put(struct maker *m, bool keep, const char *name, uint32_t rows, uint32_t cols,
		   float mean, float spread)
{
	uint64_t dims[2] = {cols, rows};
	size_t n = (size_t)rows * cols;
	double *d;
	uint8_t *to;

	if (m->mixed && rows > 1)
		return put_mixed(m, keep, name, rows, cols, spread * 0.57735f);
	d = keep ? calloc(n, sizeof(*d)) : NULL;
	gb_tensor(&m->b, name, GT_F32, rows > 1 ? 2 : 1, dims, n * 4, 0);
	to = (uint8_t *)m->b.data.p + m->b.data.n - n * 4;
	for (size_t i = 0; i < n; i++) {
		double u = (double)(mix(&m->seed) >> 11) * 0x1p-53;
		float f = (float)(mean + spread * (2 * u - 1));

		memcpy(to + 4 * i, &f, 4);
		if (d)
			d[i] = f;
	}
	return d;
}

static void put_shape(struct ggufb *b, const struct shape *s)
{
	gb_str(b, "general.architecture", "llama");
	gb_u32(b, "llama.block_count", s->layers);
	gb_u32(b, "llama.context_length", s->context);
	gb_u32(b, "llama.embedding_length", s->embd);
	gb_u32(b, "llama.feed_forward_length", s->ff);
	gb_u32(b, "llama.attention.head_count", s->heads);
	gb_u32(b, "llama.attention.head_count_kv", s->kv_heads);
	gb_u32(b, "llama.attention.key_length", s->head_dim);
	gb_u32(b, "llama.attention.value_length", s->head_dim);
	gb_u32(b, "llama.rope.dimension_count", s->head_dim);
	gb_f32(b, "llama.rope.freq_base", 10000);
	gb_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	gb_small_bpe(b);
	assert_int_equal(s->vocab, SMALL_VOCAB);
}

static struct ref_layer put_layer(struct maker *m, bool keep, const struct shape *s, uint32_t i)
{
	float w = (s->scale > 0 ? s->scale : 1) * sqrtf(3.0f / (float)s->embd);
	uint32_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
	struct ref_layer l;
	char n[9][64];
	static const char *const part[9] = {"attn_norm", "attn_q",	"attn_k",
					    "attn_v",	 "attn_output", "ffn_norm",
					    "ffn_gate",	 "ffn_up",	"ffn_down"};

	for (int k = 0; k < 9; k++)
		snprintf(n[k], sizeof(n[k]), "blk.%u.%s.weight", i, part[k]);
	l.attn_norm = put(m, keep, n[0], 1, s->embd, 1, 0.2f);
	l.q = put(m, keep, n[1], q, s->embd, 0, w);
	l.k = put(m, keep, n[2], kv, s->embd, 0, w);
	l.v = put(m, keep, n[3], kv, s->embd, 0, w);
	l.o = put(m, keep, n[4], s->embd, q, 0, w);
	l.ffn_norm = put(m, keep, n[5], 1, s->embd, 1, 0.2f);
	l.gate = put(m, keep, n[6], s->ff, s->embd, 0, w);
	l.up = put(m, keep, n[7], s->ff, s->embd, 0, w);
	l.down = put(m, keep, n[8], s->embd, s->ff, 0, w);
	if (s->nan && i + 1 == s->layers)
		memset(m->b.data.p + m->b.data.n - 4, 0xff, 4);
	return l;
}

int random_model(const struct shape *s, uint64_t seed, struct ref_model *ref)
{
	struct maker m = {.seed = seed, .mixed = s->mixed};
	struct ref_model r = {.s = *s};
	struct buf file = BUF_INIT(64u << 20);
	bool keep = ref != NULL;
	int fd = memfd_create("model", MFD_CLOEXEC);

	gb_init(&m.b);
	put_shape(&m.b, s);
	r.layers = calloc(s->layers, sizeof(*r.layers));
	r.embd = put(&m, keep, "token_embd.weight", s->vocab, s->embd, 0, 1);
	if (!s->tied)
		r.output = put(&m, keep, "output.weight", s->vocab, s->embd, 0, 1);
	r.output_norm = put(&m, keep, "output_norm.weight", 1, s->embd, 1, 0.2f);
	if (s->freqs)
		r.freqs = put(&m, keep, "rope_freqs.weight", 1, s->head_dim / 2, 4.5f, 3.5f);
	for (uint32_t i = 0; i < s->layers; i++)
		r.layers[i] = put_layer(&m, keep, s, i);
	gb_finish(&m.b, &file);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, file.p, file.n), file.n);
	buf_free(&file);
	gb_free(&m.b);
	if (keep)
		*ref = r;
	else
		free(r.layers);
	return fd;
}

void ref_free(struct ref_model *r)
{
	for (uint32_t i = 0; i < r->s.layers; i++) {
		struct ref_layer *l = &r->layers[i];
		double *all[] = {l->attn_norm, l->ffn_norm, l->q,  l->k,   l->v,
				 l->o,	       l->gate,	    l->up, l->down};

		for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
			free(all[k]);
	}
	free(r->layers);
	free(r->embd);
	free(r->output);
	free(r->output_norm);
	free(r->freqs);
}

/* ---- running ---- */

void rig_open(struct rig *r, int fd, const char *kernel, uint32_t threads, uint64_t kv_bytes)
{
	struct engine_cfg cfg = {.threads = threads, .kernel_path = kernel, .kv_bytes = kv_bytes};
	struct err err = {0};

	if (engine_open(&cfg, &r->e, &err) < 0 ||
	    engine_model_add(r->e, &fd, 1, NULL, &r->m, &err) < 0)
		fail_msg("%s", err.text);
	close(fd);
}

void rig_close(struct rig *r)
{
	engine_close(r->e);
}

struct seq *rig_seq(struct rig *r, enum seq_role role, uint32_t max_tokens)
{
	struct seq_cfg cfg = {.priority = role == SEQ_GUARD ? PRIO_GUARD : PRIO_NORMAL,
			      .role = role,
			      .max_tokens = max_tokens};
	struct seq *s = NULL;
	struct err err = {0};

	if (seq_new(r->e, r->m, &cfg, &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

struct seq *rig_seq_in(struct rig *r, uint64_t group, enum seq_priority prio, uint32_t max_tokens)
{
	struct seq_cfg cfg = {.fair_group = group, .priority = prio, .max_tokens = max_tokens};
	struct seq *s = NULL;

	assert_int_equal(seq_new(r->e, r->m, &cfg, &s, NULL), 0);
	return s;
}

job_id rig_append(struct rig *r, struct seq *s, uint32_t n)
{
	static int32_t ids[4096];
	job_id job = 0;

	some_ids(ids, n, SMALL_VOCAB, 4);
	assert_int_equal(seq_append(s, ids, n, NULL, &job, NULL), 0);
	return job;
}

static bool take(const struct event *ev, job_id job, struct outcome *o)
{
	size_t n;

	if (ev->job != job)
		return false;
	switch (ev->kind) {
	case EV_ROWS:
		o->n_rows = ev->n_rows;
		o->row_n = ev->row_n;
		n = (size_t)ev->n_rows * ev->row_n;
		memcpy(o->rows, ev->rows, (n < 65536 ? n : 65536) * sizeof(float));
		return false;
	case EV_TOKEN:
		if (o->n_tokens < 4096)
			o->tokens[o->n_tokens++] = ev->token;
		return false;
	case EV_DONE:
	case EV_FAILED:
		break;
	}
	o->kind = ev->kind;
	o->end = ev->end;
	o->code = ev->code;
	o->computed = ev->computed;
	o->cached = ev->cached;
	return true;
}

void run_job(struct engine *e, job_id job, struct outcome *o)
{
	struct event ev[32];
	bool done = false;

	o->n_tokens = o->n_rows = o->row_n = 0;
	while (!done) {
		int more = engine_step(e, 0), n;

		while ((n = engine_poll(e, ev, 32)) > 0)
			for (int i = 0; i < n; i++)
				done |= take(&ev[i], job, o);
		if (!done && more <= 0)
			fail_msg("the job never ended");
	}
}

void append_all(struct engine *e, struct seq *s, const int32_t *ids, uint32_t n, float *out)
{
	struct want w = {.rows = out ? WANT_LOGITS_FULL : WANT_NONE};
	struct outcome *o = calloc(1, sizeof(*o));
	struct err err = {0};
	job_id job;

	if (seq_append(s, ids, n, &w, &job, &err) < 0)
		fail_msg("%s", err.text);
	run_job(e, job, o);
	assert_int_equal(o->kind, EV_DONE);
	assert_int_equal(o->computed, n);
	if (out)
		memcpy(out, o->rows, o->row_n * sizeof(float));
	free(o);
}

double rms_over_std(const float *a, const float *b, size_t n)
{
	double e = 0, sum = 0, sq = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)a[i] - b[i];

		e += d * d;
		sum += b[i];
		sq += (double)b[i] * b[i];
	}
	return sqrt(e / (double)n) / sqrt(sq / (double)n - sum / (double)n * (sum / (double)n));
}
