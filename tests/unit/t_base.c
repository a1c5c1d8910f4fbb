/* t_base.c - what base/ promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "arena.h"
#include "buf.h"
#include "cur.h"
#include "err.h"
#include "hash.h"
#include "id.h"
#include "jsonw.h"
#include "utf8.h"

static void crc32c_matches_rfc3720(void **st)
{
	uint8_t z[32] = {0};
	uint8_t up[32];

	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(0, z, 32), 0x8a9136aau);
	for (int i = 0; i < 32; i++)
		up[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, up, 32), 0x46dd794eu);
	assert_int_equal(crc32c(crc32c(0, up, 13), up + 13, 19), 0x46dd794eu);
}

static void sha256_is_the_same_with_and_without_the_cpu(void **st)
{
	static uint8_t in[700];
	uint8_t a[32], b[32];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 131 + (i >> 3));
	for (size_t head = 0; head <= 70; head += head < 3 ? 1 : 13)
		for (size_t n = 0; n + head <= 400; n++) {
			sha256_2(span_of(in, head), span_of(in + head, n), a);
			sha256_portable(span_of(in, head + n), span_of(NULL, 0), b);
			assert_memory_equal(a, b, 32);
		}
	sha256(SPAN_LIT("abc"), a);
	assert_int_equal(a[0], 0xba); /* FIPS 180-4's example: ba7816bf ... 20015ad */
	assert_int_equal(a[31], 0xad);
}

static void cursor_failure_is_sticky(void **st)
{
	struct cur c = cur_init(SPAN_LIT("\1\2\3"));

	assert_int_equal(cur_u16(&c), 0x0201);
	assert_int_equal(cur_u32(&c), 0);
	assert_true(c.bad);
	assert_int_equal(cur_u8(&c), 0);
	assert_false(cur_done(&c));
	c = cur_init(SPAN_LIT("abc"));
	assert_null(cur_take(&c, UINT64_MAX));
	assert_true(c.bad);
}

static void buffer_never_exceeds_its_maximum(void **st)
{
	struct buf b = BUF_INIT(10);
	char mem[4];
	struct buf f = BUF_FIXED(mem, sizeof(mem));

	buf_puts(&b, "0123456789");
	assert_true(buf_ok(&b));
	buf_putc(&b, 'x');
	assert_false(buf_ok(&b));
	assert_int_equal(b.n, 10);
	buf_free(&b);
	buf_puts(&f, "12345");
	assert_false(buf_ok(&f));
	assert_int_equal(f.n, 0);
}

static void buffer_encodes_base64_and_hex(void **st)
{
	struct buf b = BUF_INIT(100);

	buf_base64(&b, "hello", 5);
	assert_true(span_eq(buf_span(&b), SPAN_LIT("aGVsbG8=")));
	buf_reset(&b);
	buf_hex(&b, "\xff\x01", 2);
	assert_true(span_eq(buf_span(&b), SPAN_LIT("ff01")));
	buf_free(&b);
}

static void ids_round_trip_and_refuse_other_text(void **st)
{
	char t[ID_TEXT_MAX];
	struct id a, b;
	uint8_t k[32], k2[32];
	char enc[53];

	for (int i = 0; i < 200; i++) {
		a = id_random();
		id_fmt("req", &a, t);
		assert_int_equal(strlen(t), 30);
		assert_true(id_parse("req", span_cstr(t), &b));
		assert_true(id_eq(&a, &b));
		assert_false(id_parse("sub", span_cstr(t), &b));
		t[29] = 'u';
		assert_false(id_parse("req", span_cstr(t), &b));
		randombytes_buf(k, sizeof(k));
		b32_encode(k, 32, enc);
		assert_int_equal(strlen(enc), 52);
		assert_true(b32_decode(span_cstr(enc), k2, 32));
		assert_memory_equal(k, k2, 32);
	}
	assert_true(id_parse("x", SPAN_LIT("x_00000000000000000000000000"), &b));
	assert_false(id_parse("x", SPAN_LIT("x_z0000000000000000000000000"), &b));
}

static void utf8_is_strict(void **st)
{
	static const struct span bad[] = {
	    SPAN_LIT("\xc0\x80"), SPAN_LIT("\xed\xa0\x80"), SPAN_LIT("\xf4\x90\x80\x80"),
	    SPAN_LIT("\x80"),     SPAN_LIT("\xe2\x82"),     SPAN_LIT("\xf0\x80\x80\x80"),
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(utf8_valid(bad[i]));
	assert_true(utf8_valid(SPAN_LIT("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	assert_int_equal(utf8_whole(SPAN_LIT("ab\xe2\x82")), 2);
	assert_int_equal(utf8_whole(SPAN_LIT("ab\xe2\x82\xac")), 5);
	assert_int_equal(utf8_whole(SPAN_LIT("\xf0\x9f\x98")), 0);
}

static void json_writer_is_canonical(void **st)
{
	struct buf b = BUF_INIT(1000);
	struct jsonw w;

	jw_init(&w, &b);
	jw_obj(&w);
	jw_kint(&w, "a", -5);
	jw_key(&w, "b");
	jw_arr(&w);
	jw_cstr(&w, "x\n\x01\"");
	jw_null(&w);
	jw_end_arr(&w);
	jw_kbool(&w, "c", true);
	jw_end_obj(&w);
	assert_true(span_eq(buf_span(&b),
			    SPAN_LIT("{\"a\":-5,\"b\":[\"x\\n\\u0001\\\"\",null],\"c\":true}")));
	buf_reset(&b);
	jw_init(&w, &b);
	jw_int(&w, INT64_MAX);
	assert_false(buf_ok(&b));
	buf_reset(&b);
	json_put_str(&b, SPAN_LIT("\xff"));
	assert_false(buf_ok(&b));
	buf_free(&b);
}

static void arena_keeps_to_its_limit(void **st)
{
	struct arena *a = arena_new(1000);

	assert_non_null(arena_alloc(a, 900));
	assert_null(arena_alloc(a, 200));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_true(span_eq(arena_dup(a, SPAN_LIT("hi")), SPAN_LIT("hi")));
	arena_free(a);
}

static void errors_keep_code_and_errno(void **st)
{
	struct err e;

	errno = ENOSPC;
	assert_int_equal(err_sys(&e, "write x"), E_IO);
	assert_int_equal(errno, ENOSPC);
	assert_string_equal(e.text, "write x: No space left on device");
	err_prefix(&e, "log");
	assert_string_equal(e.text, "log: write x: No space left on device");
}

int main(void)
{
	const struct CMUnitTest t[] = {
	    cmocka_unit_test(crc32c_matches_rfc3720),
	    cmocka_unit_test(sha256_is_the_same_with_and_without_the_cpu),
		cmocka_unit_test(cursor_failure_is_sticky),
	    cmocka_unit_test(buffer_never_exceeds_its_maximum),
	    cmocka_unit_test(buffer_encodes_base64_and_hex),
	    cmocka_unit_test(ids_round_trip_and_refuse_other_text),
	    cmocka_unit_test(utf8_is_strict),
	    cmocka_unit_test(json_writer_is_canonical),
	    cmocka_unit_test(arena_keeps_to_its_limit),
	    cmocka_unit_test(errors_keep_code_and_errno),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(t, NULL, NULL);
}
