/* t_receipt.c - receipts verify with our code and without it; wrong ones do not (audit/receipt.h),
 * and entries are built and checked as doc/formats.md 4 says (audit/entry.h). */
#include "audit_fixture.h"

#include <sys/wait.h>

#include "entry.h"
#include "io.h"
#include "jsonw.h"
#include "receipt.h"

static struct fix f;
static struct buf proof = BUF_INIT(65536), entry = BUF_INIT(65536);

static void put_outcome(void)
{
	struct entry e;
	uint64_t i;

	entry_init(&e, "request.outcome", "bot_0", 1700000000123);
	entry_cstr(&e, "state", "ok \"quoted\" \\ \xc3\xa9");
	entry_cstr(&e, "req", "req_00000000000000000000000001");
	assert_int_equal(entry_put(&e, &entry, NULL), E_OK);
	entry_free(&e);
	assert_int_equal(logw_append(f.w, buf_span(&entry), &i, NULL), E_OK);
}

static int setup(void **st)
{
	struct buf extra = BUF_INIT(65536);
	uint8_t salt[32] = {1, 2, 3};
	struct jsonw w;

	fix_init(&f);
	fix_open(&f);
	fix_fill(&f, 100, 10);
	put_outcome();
	fix_fill(&f, 300, 50);
	jw_init(&w, &extra);
	jw_obj(&w);
	jw_kstr(&w, "entry", buf_span(&entry));
	jw_khex(&w, "prompt_salt", salt, 32);
	jw_kint(&w, "v", 1);
	jw_end_obj(&w);
	assert_int_equal(logw_receipt(f.w, 100, buf_span(&extra), &proof, NULL), E_OK);
	buf_free(&extra);
	return 0;
}

static int teardown(void **st)
{
	buf_free(&proof);
	buf_free(&entry);
	fix_done(&f);
	return 0;
}

static void a_receipt_proves_its_entry_and_no_other(void **st)
{
	const struct vkey *key = logw_vkey(f.w);
	struct checkpoint cp;
	struct vkey other;
	struct receipt r;
	uint8_t pk[32] = {9};

	assert_int_equal(receipt_parse(buf_span(&proof), &r, NULL), E_OK);
	assert_true(span_eq(buf_span(&r.entry), buf_span(&entry)));
	assert_true(r.has_prompt && !r.has_output && r.prompt_salt[2] == 3);
	assert_int_equal(receipt_check(&r, span_of(NULL, 0), key, &cp, NULL), E_OK);
	assert_int_equal(cp.size, 300);
	assert_int_equal(receipt_check(&r, buf_span(&entry), key, NULL, NULL), E_OK);
	assert_int_equal(receipt_check(&r, SPAN_LIT("another"), key, NULL, NULL), E_CRYPTO);
	assert_int_equal(vkey_make(key->name, VKEY_ED25519, pk, &other, NULL), E_OK);
	assert_int_equal(receipt_check(&r, span_of(NULL, 0), &other, NULL, NULL), E_NOTFOUND);
	receipt_free(&r);
}

static void the_comment_of_a_stream_is_a_receipt_too(void **st)
{
	struct buf c = BUF_INIT(65536);
	struct receipt r;

	buf_puts(&c, ": sallyport-receipt ");
	buf_base64(&c, proof.p, proof.n);
	buf_puts(&c, "\n");
	assert_int_equal(receipt_parse(buf_span(&c), &r, NULL), E_OK);
	assert_int_equal(receipt_check(&r, span_of(NULL, 0), logw_vkey(f.w), NULL, NULL), E_OK);
	receipt_free(&r);
	buf_free(&c);
}

static void no_flipped_byte_of_a_receipt_is_taken(void **st)
{
	struct receipt r;
	const char *salt_at = strstr(buf_cstr(&proof), "\nindex ");
	unsigned taken = 0;
	int rc;

	for (size_t i = 0; i < proof.n; i++) {
		proof.p[i] ^= 1;
		rc = receipt_parse(buf_span(&proof), &r, NULL);
		if (rc == E_OK)
			rc = receipt_check(&r, span_of(NULL, 0), logw_vkey(f.w), NULL, NULL);
		/* the salts in extra are proved by the commitments, not by the tree */
		if (rc == E_OK && proof.p + i > salt_at)
			fail_msg("byte %zu flipped and taken", i);
		taken += rc == E_OK;
		receipt_free(&r);
		proof.p[i] ^= 1;
	}
	assert_true(taken < 200);
	for (size_t n = 0; n < proof.n; n += 7) {
		rc = receipt_parse(span_of(proof.p, n), &r, NULL);
		assert_true(rc == E_FORMAT || rc == E_TRUNC || rc == E_OK);
		if (rc == E_OK)
			assert_true(
			    receipt_check(&r, span_of(NULL, 0), logw_vkey(f.w), NULL, NULL) < 0);
		receipt_free(&r);
	}
}

static void a_commitment_opens_with_its_salt(void **st)
{
	uint8_t salt[32] = {5}, a[32], b[32];

	receipt_commitment(salt, SPAN_LIT("hello"), a);
	receipt_commitment(salt, SPAN_LIT("hello"), b);
	assert_memory_equal(a, b, 32);
	salt[0]++;
	receipt_commitment(salt, SPAN_LIT("hello"), b);
	assert_memory_not_equal(a, b, 32);
}

static int script(const char *proof_file, const char *key, const char *entry_file)
{
	char cmd[2000];
	int st;

	snprintf(cmd, sizeof(cmd), "sh %s/script.sh %s '%s' %s >%s/out 2>&1", f.dir, proof_file,
		 key, entry_file, f.dir);
	st = system(cmd);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 127;
}

static void write_file(const char *name, const void *p, size_t n, char path[400])
{
	snprintf(path, 400, "%s/%s", f.dir, name);
	assert_int_equal(io_write_file(path, p, n, 0600, NULL), E_OK);
}

static void the_printed_script_checks_it_with_openssl_alone(void **st)
{
	char script_path[400], good[400], bad[400], ent[400], wrong[400], small[400];
	struct buf key = BUF_INIT(512), p2 = BUF_INIT(65536);

	if (system("openssl version >/dev/null 2>&1 && command -v base64 awk >/dev/null") != 0)
		skip();
	write_file("script.sh", receipt_script(), strlen(receipt_script()), script_path);
	write_file("good.tlog-proof", proof.p, proof.n, good);
	write_file("entry", entry.p, entry.n, ent);
	entry.p[9] ^= 1;
	write_file("wrong", entry.p, entry.n, wrong);
	entry.p[9] ^= 1;
	vkey_put(logw_vkey(f.w), &key);
	assert_int_equal(script(good, buf_cstr(&key), ent), 0);
	assert_int_equal(script(good, buf_cstr(&key), ""), 0);
	assert_int_equal(script(good, buf_cstr(&key), wrong), 1);
	assert_int_equal(
	    script(good, "x+00000000+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", ent), 1);
	assert_int_equal(logw_receipt(f.w, 299, span_of(NULL, 0), &p2, NULL), E_OK);
	write_file("small.tlog-proof", p2.p, p2.n, small);
	assert_int_equal(script(small, buf_cstr(&key), ent), 1); /* entry 100 is not entry 299 */
	for (size_t i = 0; i < proof.n; i += 83) {		 /* extra's own salts aside */
		if (proof.p + i < strstr(buf_cstr(&proof), "\nindex ") && i > 24)
			continue;
		proof.p[i] ^= 2;
		write_file("bad.tlog-proof", proof.p, proof.n, bad);
		proof.p[i] ^= 2;
		if (script(bad, buf_cstr(&key), ent) == 0)
			fail_msg("byte %zu flipped and the script takes it", i);
	}
	buf_free(&key);
	buf_free(&p2);
}

static void the_script_in_etc_is_the_printed_one(void **st)
{
	const char *src = getenv("SRCDIR");
	struct buf b = BUF_INIT(65536);
	char path[600];

	if (src == NULL)
		skip();
	snprintf(path, sizeof(path), "%s/etc/check-receipt.sh", src);
	assert_int_equal(io_read_file(path, 65536, &b, NULL), E_OK);
	assert_string_equal(buf_cstr(&b), receipt_script());
	buf_free(&b);
}

static void foreign_proofs_verify_with_the_script(void **st)
{
	const char *shared = getenv("SALLYPORT_SHARED");
	char cmd[6000], path[700];
	struct stat sb;

	snprintf(path, sizeof(path), "%s/data/tlog", shared ? shared : "/nonexistent");
	if (stat(path, &sb) < 0 || system("openssl version >/dev/null 2>&1") != 0)
		skip();
	/* entry 7 of that log, cut out of its bundle by its length prefixes */
	snprintf(
	    cmd, sizeof(cmd),
	    "cd %s && b=%s/tessera_log/tile/entries/000.p/15; o=0; n=0; "
	    "while [ $n -lt 7 ]; do l=$(od -An -tu1 -j $o -N 2 $b | awk '{print $1*256+$2}'); "
	    "o=$((o+2+l)); n=$((n+1)); done; "
	    "l=$(od -An -tu1 -j $o -N 2 $b | awk '{print $1*256+$2}'); "
	    "tail -c +$((o+3)) $b | head -c $l > e7; "
	    "sh script.sh %s/proofs/ok-7-of-8.tlog-proof %s/tessera_log/vkey.txt e7 >/dev/null && "
	    "! sh script.sh %s/proofs/bad-wrong-index.tlog-proof %s/tessera_log/vkey.txt e7 "
	    ">/dev/null",
	    f.dir, path, path, path, path, path);
	assert_int_equal(system(cmd), 0);
}

static void entries_are_built_sorted_and_checked_by_type(void **st)
{
	static const char *const bad[] = {
	    "",
	    "{}",
	    "[]",
	    "nonsense",
	    "{\"t\":\"log.stop\"}",
	    "{\"boot\":\"b\",\"clean\":true,\"t\":\"log.stop\",\"ts\":1,\"v\":2}",
	    "{\"boot\":\"b\",\"clean\":1,\"t\":\"log.stop\",\"ts\":1,\"v\":1}",
	    "{\"boot\":\"b\",\"clean\":true,\"more\":1,\"t\":\"log.stop\",\"ts\":1,\"v\":1}",
	    "{\"boot\":\"b\", \"clean\":true,\"t\":\"log.stop\",\"ts\":1,\"v\":1}",
	    "{\"clean\":true,\"boot\":\"b\",\"t\":\"log.stop\",\"ts\":1,\"v\":1}",
	    "{\"boot\":\"b\",\"clean\":true,\"clean\":true,\"t\":\"log.stop\",\"ts\":1,\"v\":1}",
	    "{\"boot\":\"b\",\"clean\":true,\"t\":\"log.unheard\",\"ts\":1,\"v\":1}",
	};
	struct buf b = BUF_INIT(4096);
	struct entry_look l;
	struct entry e;

	entry_init(&e, "log.stop", "bot_1", 99);
	entry_bool(&e, "clean", true);
	assert_int_equal(entry_put(&e, &b, NULL), E_OK);
	assert_string_equal(
	    buf_cstr(&b),
	    "{\"boot\":\"bot_1\",\"clean\":true,\"t\":\"log.stop\",\"ts\":99,\"v\":1}");
	assert_int_equal(entry_check(buf_span(&b), NULL), E_OK);
	assert_true(entry_peek(buf_span(&b), &l));
	assert_true(span_eq(l.t, SPAN_LIT("log.stop")) && l.ts == 99 && l.v == 1);
	entry_bool(&e, "clean", true);
	assert_int_equal(entry_put(&e, &b, NULL), E_FORMAT);
	entry_free(&e);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(entry_check(span_cstr(bad[i]), NULL) < 0);
	for (size_t n = 0; n + 1 < b.n; n++)
		entry_peek(span_of(b.p, n), &l); /* no cut reads beyond it */
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_receipt_proves_its_entry_and_no_other),
	    cmocka_unit_test(the_comment_of_a_stream_is_a_receipt_too),
	    cmocka_unit_test(no_flipped_byte_of_a_receipt_is_taken),
	    cmocka_unit_test(a_commitment_opens_with_its_salt),
	    cmocka_unit_test(the_printed_script_checks_it_with_openssl_alone),
	    cmocka_unit_test(the_script_in_etc_is_the_printed_one),
	    cmocka_unit_test(foreign_proofs_verify_with_the_script),
	    cmocka_unit_test(entries_are_built_sorted_and_checked_by_type),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, teardown);
}
