/* t_split.c - models in several files: put together in any order they compute what the whole file
 * does, and what does not belong together is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine_help.h"
#include "ggufb.h"
#include "gguf_put.h"
#include "hash.h"
#include "parts.h"

static const struct shape shape = {.embd = 32,
				   .layers = 3,
				   .heads = 4,
				   .kv_heads = 2,
				   .head_dim = 8,
				   .ff = 40,
				   .vocab = SMALL_VOCAB,
				   .context = 256,
				   .freqs = true};

struct cut {			     /* what a part is made like */
	uint32_t no, count, tensors; /* split.*; no 99: none of them */
	uint32_t from, to;	     /* tensors of the whole */
	uint32_t rename;	     /* this tensor gets the name of tensor 0; 0 = none */
	bool other_arch;
};

static int make_part(const struct gguf *g, const struct cut *c)
{
	struct buf file = BUF_INIT(64u << 20);
	int fd = memfd_create("part", MFD_CLOEXEC);
	struct ggufb b;

	gb_init(&b);
	if (c->no != 99) {
		gb_u32(&b, "split.no", c->no);
		gb_u32(&b, "split.count", c->count);
		gb_u32(&b, "split.tensors.count", c->tensors);
	}
	if (c->other_arch)
		gb_str(&b, "general.architecture", "gemma");
	for (uint32_t i = 0; c->no == 0 && i < g->n_keys; i++, b.n_keys++)
		gguf_put_key(&b.keys, &g->keys[i]);
	for (uint32_t i = c->from; i < c->to; i++) {
		const struct gguf_tensor *t = &g->tensors[g->order[i]];
		char name[80];

		if (c->rename && i == c->rename)
			t = &g->tensors[g->order[0]];
		snprintf(name, sizeof(name), "%.*s", (int)t->name.n, t->name.p);
		gb_tensor(&b, name, t->type, t->n_dims, t->dims, t->data.n, 0);
		memcpy(b.data.p + b.data.n - t->data.n, t->data.p, t->data.n);
	}
	gb_finish(&b, &file);
	assert_int_equal(write(fd, file.p, file.n), file.n);
	buf_free(&file);
	gb_free(&b);
	return fd;
}

static void make_parts(const struct gguf *g, const struct cut *c, unsigned n, int *fds)
{
	for (unsigned i = 0; i < n; i++)
		fds[i] = make_part(g, &c[i]);
}

static void close_all(int *fds, unsigned n)
{
	while (n)
		close(fds[--n]);
}

struct whole {
	int fd;
	struct gguf_map map;
	struct gguf g;
};

static void open_whole(struct whole *w)
{
	w->fd = random_model(&shape, 3, NULL);
	assert_int_equal(gguf_map(w->fd, &w->map, NULL), 0);
	assert_int_equal(gguf_parse(&w->g, w->map.bytes, NULL), 0);
}

static void close_whole(struct whole *w)
{
	gguf_free(&w->g);
	gguf_unmap(&w->map);
	close(w->fd);
}

static void logits(const int *fds, unsigned n, float *out)
{
	struct engine_cfg cfg = {.threads = 1, .kv_bytes = 16u << 20};
	struct seq_cfg sc = {.max_tokens = 20};
	struct engine *e;
	struct model *m;
	struct seq *s;
	struct err err = {0};
	int32_t ids[20];

	some_ids(ids, 20, SMALL_VOCAB, 5);
	assert_int_equal(engine_open(&cfg, &e, NULL), 0);
	if (engine_model_add(e, fds, n, NULL, &m, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(seq_new(e, m, &sc, &s, NULL), 0);
	append_all(e, s, ids, 20, out);
	seq_free(s);
	engine_close(e);
}

static void parts_in_any_order_compute_what_the_whole_does(void **st)
{
	static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					 {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	struct model_plan p, q;
	struct whole w;
	int fds[3], turned[3];

	open_whole(&w);
	logits(&w.fd, 1, want);
	assert_int_equal(model_plan(&w.fd, 1, NULL, &p, NULL), 0);
	for (uint32_t first = 0; first < 10; first += 9) { /* also no tensor in the first part */
		uint32_t n = w.g.n_tensors;
		struct cut c[3] = {{0, 3, n, 0, first, 0, false},
				   {1, 3, n, first, 20, 0, false},
				   {2, 3, n, 20, n, 0, false}};

		make_parts(&w.g, c, 3, fds);
		for (int o = 0; o < 6; o++) {
			for (int i = 0; i < 3; i++)
				turned[i] = fds[orders[o][i]];
			logits(turned, 3, got);
			assert_memory_equal(got, want, sizeof(want));
			assert_int_equal(model_plan(turned, 3, NULL, &q, NULL), 0);
			assert_int_equal(q.weights_bytes, p.weights_bytes);
			assert_int_equal(q.info.params, p.info.params);
			assert_true(q.info.file_bytes > p.info.file_bytes);
		}
		close_all(fds, 3);
	}
	close_whole(&w);
}

struct seen {
	uint32_t n, part;
};

static bool see(void *arg, const struct tensor_desc *t)
{
	struct seen *s = arg;

	assert_true(t->part >= s->part);
	s->part = t->part;
	s->n++;
	return true;
}

static void tensors_of_all_parts_are_listed_in_order(void **st)
{
	struct seen s = {0};
	struct whole w;
	int fds[2], turned[2];

	open_whole(&w);
	make_parts(&w.g,
		   (struct cut[]){{0, 2, w.g.n_tensors, 0, 10, 0, false},
				  {1, 2, w.g.n_tensors, 10, w.g.n_tensors, 0, false}},
		   2, fds);
	turned[0] = fds[1];
	turned[1] = fds[0];
	assert_int_equal(model_each_tensor(turned, 2, see, &s, NULL), 0);
	assert_int_equal(s.n, w.g.n_tensors);
	assert_int_equal(s.part, 1);
	close_all(fds, 2);
	close_whole(&w);
}

static void refused(const struct gguf *g, const struct cut *c, unsigned n, const char *says)
{
	struct model_plan p;
	struct err err = {0};
	int fds[3];

	make_parts(g, c, n, fds);
	assert_int_equal(model_plan(fds, n, NULL, &p, &err), E_FORMAT);
	if (!strstr(err.text, says))
		fail_msg("\"%s\" lacks \"%s\"", err.text, says);
	close_all(fds, n);
}

static void what_does_not_belong_together_is_refused_by_name(void **st)
{
	struct whole w;
	uint32_t n;

	open_whole(&w);
	n = w.g.n_tensors;
	{
		const struct cut a = {0, 3, n, 0, 9, 0, false}, b = {1, 3, n, 9, 20, 0, false};
		const struct cut c = {2, 3, n, 20, n, 0, false};
		struct cut x;

		refused(&w.g, (struct cut[]){a}, 1, "one part of 3");
		refused(&w.g, (struct cut[]){c}, 1, "one part of 3");
		refused(&w.g, (struct cut[]){a, c}, 2, "3 parts, but 2 were given");
		refused(&w.g, (struct cut[]){a, b, b}, 3, "part 2 of 3 is there twice");
		x = c, x.no = 3;
		refused(&w.g, (struct cut[]){a, b, x}, 3, "number 4 of 3");
		x = c, x.no = 99;
		refused(&w.g, (struct cut[]){a, b, x}, 3, "no part of a split model");
		x = c, x.count = 4;
		refused(&w.g, (struct cut[]){a, b, x}, 3, "4 parts, but 3 were given");
		x = c, x.other_arch = true;
		refused(&w.g, (struct cut[]){a, x, b}, 3, "part 3 of 3 is of another model");
		x = c, x.tensors = n + 1;
		refused(&w.g, (struct cut[]){a, b, x}, 3, "part 3 of 3 is of another model");
		x = c, x.to = n - 1;
		refused(&w.g, (struct cut[]){a, b, x}, 3, "tensors, but there are to be");
		x = c, x.rename = 22;
		refused(&w.g, (struct cut[]){a, b, x}, 3, "same name");
	}
	close_whole(&w);
}

static void absurd_numbers_of_files_are_refused(void **st)
{
	struct model_plan p;
	int fds[65] = {0};

	assert_int_equal(model_plan(fds, 0, NULL, &p, NULL), E_RANGE);
	assert_int_equal(model_plan(fds, 65, NULL, &p, NULL), E_RANGE);
}

static void names_of_the_other_parts_are_found(void **st)
{
	static const char *const single[] = {"a.gguf",
					     "-of-00002.gguf",
					     "a-00001-of-00001.gguf",
					     "a-00000-of-00002.gguf",
					     "a-00003-of-00002.gguf",
					     "a-00001-of-00065.gguf",
					     "a-0000x-of-00002.gguf",
					     "a-00001-of-00002.ggug",
					     "a-00001_of-00002.gguf",
					     ""};
	char out[64];

	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		assert_int_equal(split_count(single[i]), 1);
		assert_int_equal(split_path(single[i], 0, out, sizeof(out)), 0);
		assert_string_equal(out, single[i]);
	}
	assert_int_equal(split_count("dir/m-00002-of-00011.gguf"), 11);
	assert_int_equal(split_path("dir/m-00002-of-00011.gguf", 10, out, sizeof(out)), 0);
	assert_string_equal(out, "dir/m-00011-of-00011.gguf");
	assert_int_equal(split_path("dir/m-00002-of-00011.gguf", 0, out, 25), E_RANGE);
	assert_int_equal(split_count("-00002-of-00064.gguf"), 64);
}

static void the_digest_of_parts_depends_on_their_order(void **st)
{
	uint8_t sha[2][32], turned[2][32], one[32], two[32], three[32];

	sha256(SPAN_LIT("a"), sha[0]);
	sha256(SPAN_LIT("b"), sha[1]);
	memcpy(turned[0], sha[1], 32);
	memcpy(turned[1], sha[0], 32);
	split_digest((const uint8_t(*)[32])sha, 1, one);
	split_digest((const uint8_t(*)[32])sha, 2, two);
	split_digest((const uint8_t(*)[32])turned, 2, three);
	assert_memory_equal(one, sha[0], 32);
	assert_memory_not_equal(two, three, 32);
	assert_memory_not_equal(two, one, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_in_any_order_compute_what_the_whole_does),
	    cmocka_unit_test(tensors_of_all_parts_are_listed_in_order),
	    cmocka_unit_test(what_does_not_belong_together_is_refused_by_name),
	    cmocka_unit_test(absurd_numbers_of_files_are_refused),
	    cmocka_unit_test(names_of_the_other_parts_are_found),
	    cmocka_unit_test(the_digest_of_parts_depends_on_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
