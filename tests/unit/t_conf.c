/* t_conf.c - the configuration is strict, and says where and what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf.h"
#include "io.h"

static int parse(const char *text, struct conf *c, char *errs, size_t n)
{
	struct buf b = BUF_INIT(8192);
	int rc = conf_parse(c, span_cstr(text), "t.conf", &b);

	snprintf(errs, n, "%s", buf_cstr(&b));
	buf_free(&b);
	return rc;
}

static void defaults_and_units_are_read(void **st)
{
	struct conf c;
	char e[512];

	assert_int_equal(parse("[engine]\nkv-memory = 64MiB\nqueue-timeout = 5s\ndraft = 15\n"
			       "cache-idle = 2m\n"
			       "[model \"starter\"]\nfile = /x/y.gguf\n",
			       &c, e, sizeof(e)),
			 0);
	assert_int_equal(c.kv_memory, 64u << 20);
	assert_int_equal(c.queue_ms, 5000);
	assert_int_equal(c.draft, 15);
	assert_int_equal(c.cache_idle_ms, 120000);
	assert_int_equal(c.port, 8443);
	assert_int_equal(c.n_models, 1);
	assert_string_equal(c.model[0].file, "/x/y.gguf");
	assert_true(c.sandbox);
}

static void an_error_names_file_line_and_nearest_key(void **st)
{
	struct conf c;
	char e[512];

	assert_int_equal(parse("[engine]\n\nkv-memori = 1GiB\n", &c, e, sizeof(e)), E_FORMAT);
	assert_non_null(strstr(e, "t.conf:3: [engine] kv-memori is unknown; the nearest is \"kv-memory\""));
	assert_int_equal(parse("[engin]\nthreads = 1\n", &c, e, sizeof(e)), E_FORMAT);
	assert_non_null(strstr(e, "the nearest is [engine]"));
}

static void bad_values_are_refused(void **st)
{
	static const char *const bad[] = {
	    "[engine]\nkv-memory = 64\n",	   "[engine]\nkv-memory = 99999999TiB\n",
	    "[engine]\nqueue-timeout = 5\n",       "[listen \"public\"]\nport = 70000\n",
	    "[listen \"public\"]\nport = -1\n",    "[roles]\nsandbox = maybe\n",
	    "[admin]\nmode = 660\n",		   "[engine]\nthreads = 1\nthreads = 2\n",
	    "threads = 1\n",			   "[model \"A b\"]\nfile = x\n",
	    "[model \"a\"]\nfile = x\nfile = y\n", "[engine]\nnonsense\n",
	    "[log]\nlevel = loud\n",	   "[engine]\ndraft = 16\n",
	    "[engine]\ncache-idle = 600\n",
	};
	struct conf c;
	char e[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i], &c, e, sizeof(e)), E_FORMAT);
		assert_non_null(strstr(e, "t.conf"));
	}
}

static void the_dump_reads_back_as_the_same(void **st)
{
	struct conf a, b;
	char e[512];
	struct buf d = BUF_INIT(65536);

	assert_int_equal(parse("[store]\ncommit-delay = 200us\n[admin]\nmode = 0600\n", &a, e,
			       sizeof(e)),
			 0);
	conf_dump(&a, &d);
	assert_int_equal(parse(buf_cstr(&d), &b, e, sizeof(e)), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	buf_free(&d);
}

static void the_sample_says_the_defaults(void **st)
{
	struct buf text = BUF_INIT(65536), errors = BUF_INIT(4096);
	const char *top = getenv("SRCDIR");
	struct conf sample, fresh;
	char path[600];

	if (top == NULL)
		skip();
	snprintf(path, sizeof(path), "%s/etc/sallyport.conf", top);
	assert_int_equal(io_read_file(path, 65536, &text, NULL), 0);
	assert_int_equal(conf_parse(&sample, buf_span(&text), path, &errors), 0);
	conf_defaults(&fresh);
	assert_memory_equal(&sample, &fresh, sizeof(fresh));
	buf_free(&text);
	buf_free(&errors);
}

int main(void)
{
	const struct CMUnitTest t[] = {
	    cmocka_unit_test(defaults_and_units_are_read),
	    cmocka_unit_test(an_error_names_file_line_and_nearest_key),
	    cmocka_unit_test(bad_values_are_refused),
	    cmocka_unit_test(the_dump_reads_back_as_the_same),
	    cmocka_unit_test(the_sample_says_the_defaults),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
