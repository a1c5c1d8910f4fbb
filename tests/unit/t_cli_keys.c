/* t_cli_keys.c - an officer's key file: what comes out is what went in, for the owner alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "fault.h"
#include "officer_key.h"
#include "statement.h"

static const struct okey_cost cheap = {1, 8192}; /* least that libsodium takes */
static char dir[] = "/tmp/t_cli_keys.XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[2][128];
	static int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *path, struct span s, unsigned mode)
{
	struct err err;

	unlink(path);
	assert_int_equal(okey_create(path, mode, s, &err), E_OK);
}

static struct buf formatted(struct officer_key *k, const char *pass, struct okey_cost cost)
{
	struct buf b = BUF_INIT(OKEY_FILE_MAX);
	struct err err;

	assert_int_equal(okey_make(SPAN_LIT("Ann L\xc3\xaa"), k, &err), E_OK);
	assert_int_equal(okey_format(k, span_cstr(pass), cost, &b, &err), E_OK);
	return b;
}

static void same_key_comes_back(struct okey_cost cost, const char *pass)
{
	struct officer_key k, again;
	struct buf b = formatted(&k, pass, cost);
	struct err err;
	uint8_t sig[STMT_SIG];

	assert_int_equal(okey_parse(buf_span(&b), span_cstr(pass), &again, &err), E_OK);
	assert_true(id_eq(&k.id, &again.id));
	assert_string_equal(k.name, again.name);
	assert_memory_equal(k.sk, again.sk, 64);
	stmt_sign(SPAN_LIT("{}"), again.sk, sig);
	assert_true(stmt_verify(SPAN_LIT("{}"), k.pub, sig));
	okey_wipe(&again);
	okey_wipe(&k);
	buf_free(&b);
}

static void a_key_file_gives_back_the_key(void **st)
{
	same_key_comes_back((struct okey_cost){0}, "");
	same_key_comes_back(cheap, "correct horse");
	same_key_comes_back(OKEY_MODERATE, "correct horse");
}

static void the_secret_is_not_in_a_protected_file(void **st)
{
	struct officer_key k;
	struct buf b = formatted(&k, "correct horse", cheap);
	char hex[65];

	sodium_bin2hex(hex, sizeof(hex), k.sk, 32);
	assert_null(strstr(buf_cstr(&b), hex));
	okey_wipe(&k);
	buf_free(&b);
}

static void a_wrong_or_missing_passphrase_opens_nothing(void **st)
{
	struct officer_key k, again;
	struct buf b = formatted(&k, "correct horse", cheap);
	struct err err;

	assert_int_equal(okey_parse(buf_span(&b), SPAN_LIT("correct hors"), &again, &err),
			 E_CRYPTO);
	assert_null(again.sk);
	assert_int_equal(okey_parse(buf_span(&b), SPAN_LIT(""), &again, &err), E_DENIED);
	okey_wipe(&k);
	buf_free(&b);
}

/* Every byte, so also id, name, public key and cost, with and without a passphrase. */
static void any_changed_byte_is_noticed(void **st)
{
	for (int protected = 0; protected < 2; protected ++) {
		const char *pass = protected ? "correct horse" : "";
		struct officer_key k, again;
		struct buf b = formatted(&k, pass, protected ? cheap : (struct okey_cost){0});
		struct err err;

		for (size_t i = 0; i < b.n; i++) {
			int rc;

			b.p[i] ^= 1;
			rc = okey_parse(buf_span(&b), span_cstr(pass), &again, &err);
			/* an id has two spellings of some letters; it must still be the same id */
			if (rc == E_OK)
				fail_msg("byte %zu", i);
			assert_null(again.sk);
			b.p[i] ^= 1;
		}
		for (size_t n = 0; n < b.n; n++)
			assert_true(okey_parse(span_of(b.p, n), span_cstr(pass), &again, &err) < 0);
		okey_wipe(&k);
		buf_free(&b);
	}
}

static void another_officers_name_cannot_be_put_on_a_key(void **st)
{
	struct officer_key k, again;
	struct buf b = formatted(&k, "", (struct okey_cost){0});
	struct err err;
	char *name = strstr(buf_cstr(&b), "Ann");

	memcpy(name, "Bao", 3);
	assert_int_equal(okey_parse(buf_span(&b), SPAN_LIT(""), &again, &err), E_CRYPTO);
	okey_wipe(&k);
	buf_free(&b);
}

static void odd_files_are_refused(void **st)
{
	static const char *const bad[] = {
	    "",
	    "\n",
	    "sallyport officer key v2\n",
	    "sallyport officer key v1",
	    "sallyport officer key v1\nid off_00000000000000000000000000\nname \n",
	    "sallyport officer key v1\nid off_00000000000000000000000000\nname a\npub 00\n",
	};
	struct officer_key k;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(okey_parse(span_cstr(bad[i]), SPAN_LIT(""), &k, &err), E_FORMAT);
}

static void a_cost_beyond_the_bounds_is_refused_before_memory_is_taken(void **st)
{
	static const char *const kdf[] = {"argon2id 65 8192 ",
					  "argon2id 1 1073741825 ",
					  "argon2id 0 8192 ",
					  "argon2id 1 1024 ",
					  "argon2id -1 8192 ",
					  "scrypt 1 8192 ",
					  "argon2id 1 99999999999999999999 "};
	struct officer_key k, again;
	struct err err;

	for (size_t i = 0; i < sizeof(kdf) / sizeof(kdf[0]); i++) {
		struct buf b = formatted(&k, "correct horse", cheap), c = BUF_INIT(OKEY_FILE_MAX);
		const char *at = strstr(buf_cstr(&b), "argon2id 1 8192 ");

		buf_put(&c, b.p, (size_t)(at - b.p));
		buf_puts(&c, kdf[i]);
		buf_puts(&c, at + strlen("argon2id 1 8192 "));
		assert_int_equal(okey_parse(buf_span(&c), SPAN_LIT("correct horse"), &again, &err),
				 E_FORMAT);
		okey_wipe(&k);
		buf_free(&b);
		buf_free(&c);
	}
}

static void names_with_control_characters_are_refused(void **st)
{
	static const char *const bad[] = {"", "a\nb", "a\x1b[0m", "\xc2\x9b", "\xff", "a\tb"};
	struct officer_key k;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(okey_make(span_cstr(bad[i]), &k, &err), E_RANGE);
}

static void a_file_that_others_may_read_is_not_used(void **st)
{
	struct officer_key k, again;
	struct buf b = formatted(&k, "", (struct okey_cost){0});
	const char *path = in_dir("open.key");
	struct err err;

	put(path, buf_span(&b), 0600);
	assert_int_equal(okey_load(path, &again, &err), E_OK);
	okey_wipe(&again);
	chmod(path, 0640);
	assert_int_equal(okey_load(path, &again, &err), E_DENIED);
	chmod(path, 0604);
	assert_int_equal(okey_load(path, &again, &err), E_DENIED);
	unlink(path);
	okey_wipe(&k);
	buf_free(&b);
}

static void an_existing_file_is_never_overwritten(void **st)
{
	const char *path = in_dir("there");
	struct stat sb;
	struct err err;

	put(path, SPAN_LIT("old"), 0600);
	assert_int_equal(okey_create(path, 0600, SPAN_LIT("newer"), &err), E_CONFLICT);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, 3);
	assert_int_equal(sb.st_mode & 0777, 0600);
	unlink(path);
}

static void the_passphrase_file_must_be_ours_alone(void **st)
{
	struct officer_key k, again;
	struct buf b = formatted(&k, "correct horse", cheap);
	const char *key = in_dir("p.key"), *pass = in_dir("pass");
	struct err err;

	put(key, buf_span(&b), 0600);
	put(pass, SPAN_LIT("correct horse\nsecond line\n"), 0600);
	setenv("SALLYPORT_PASSPHRASE_FILE", pass, 1);
	assert_int_equal(okey_load(key, &again, &err), E_OK);
	okey_wipe(&again);
	chmod(pass, 0644);
	assert_int_equal(okey_load(key, &again, &err), E_DENIED);
	unsetenv("SALLYPORT_PASSPHRASE_FILE");
	unlink(key);
	unlink(pass);
	okey_wipe(&k);
	buf_free(&b);
}

static void a_public_file_is_read_strictly(void **st)
{
	struct officer_key k, again;
	struct buf b = BUF_INIT(OKEY_FILE_MAX);
	struct err err;

	assert_int_equal(okey_make(SPAN_LIT("Bao"), &k, &err), E_OK);
	assert_int_equal(okey_pub_format(&k, &b), E_OK);
	assert_int_equal(okey_pub_parse(buf_span(&b), &again, &err), E_OK);
	assert_true(id_eq(&k.id, &again.id));
	assert_memory_equal(k.pub, again.pub, 32);
	assert_null(again.sk);
	b.p[0] = ' ';
	assert_true(okey_pub_parse(buf_span(&b), &again, &err) < 0);
	assert_true(okey_pub_parse(SPAN_LIT("{\"id\":\"off_1\"}"), &again, &err) < 0);
	okey_wipe(&k);
	buf_free(&b);
}

static void a_box_opens_only_for_its_officer(void **st)
{
	struct officer_key k, other;
	uint8_t pk[32], box[16 + crypto_box_SEALBYTES], out[16];
	struct err err;
	size_t n;

	assert_int_equal(okey_make(SPAN_LIT("a"), &k, &err), E_OK);
	assert_int_equal(okey_make(SPAN_LIT("b"), &other, &err), E_OK);
	assert_int_equal(crypto_sign_ed25519_pk_to_curve25519(pk, k.pub), 0);
	crypto_box_seal(box, (const uint8_t *)"0123456789abcdef", 16, pk);
	assert_int_equal(okey_open_box(&k, span_of(box, sizeof(box)), out, sizeof(out), &n), E_OK);
	assert_int_equal(n, 16);
	assert_memory_equal(out, "0123456789abcdef", 16);
	assert_int_equal(okey_open_box(&other, span_of(box, sizeof(box)), out, sizeof(out), &n),
			 E_CRYPTO);
	assert_int_equal(okey_open_box(&k, span_of(box, 20), out, sizeof(out), &n), E_CRYPTO);
	assert_int_equal(okey_open_box(&k, span_of(box, sizeof(box)), out, 15, &n), E_CRYPTO);
	okey_wipe(&k);
	okey_wipe(&other);
}

static void the_public_name_follows_the_key(void **st)
{
	char out[32];

	assert_int_equal(okey_pub_path("x/ann.key", out, sizeof(out)), E_OK);
	assert_string_equal(out, "x/ann.pub");
	assert_int_equal(okey_pub_path("ann", out, sizeof(out)), E_OK);
	assert_string_equal(out, "ann.pub");
	assert_int_equal(okey_pub_path(".key", out, sizeof(out)), E_OK);
	assert_string_equal(out, ".key.pub");
	assert_int_equal(okey_pub_path("a-name-that-is-much-too-long.key", out, sizeof(out)),
			 E_RANGE);
}

static void a_failing_disk_leaves_no_half_key(void **st)
{
#ifdef SP_FAULT
	const char *path = in_dir("half.key");
	struct stat sb;
	struct err err;

	for (unsigned nth = 1;; nth++) {
		int rc;

		fault_arm("*", nth, false, 0);
		rc = okey_create(path, 0600, SPAN_LIT("secret"), &err);
		if (!fault_fired()) {
			fault_disarm();
			assert_int_equal(rc, E_OK);
			break;
		}
		fault_disarm();
		if (rc == E_OK) { /* a short write that was gone on with: then all is there */
			assert_int_equal(stat(path, &sb), 0);
			assert_int_equal(sb.st_size, 6);
			unlink(path);
		}
		assert_int_equal(access(path, F_OK), -1);
	}
	unlink(path);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_file_gives_back_the_key),
	    cmocka_unit_test(the_secret_is_not_in_a_protected_file),
	    cmocka_unit_test(a_wrong_or_missing_passphrase_opens_nothing),
	    cmocka_unit_test(any_changed_byte_is_noticed),
	    cmocka_unit_test(another_officers_name_cannot_be_put_on_a_key),
	    cmocka_unit_test(odd_files_are_refused),
	    cmocka_unit_test(a_cost_beyond_the_bounds_is_refused_before_memory_is_taken),
	    cmocka_unit_test(names_with_control_characters_are_refused),
	    cmocka_unit_test(a_file_that_others_may_read_is_not_used),
	    cmocka_unit_test(an_existing_file_is_never_overwritten),
	    cmocka_unit_test(the_passphrase_file_must_be_ours_alone),
	    cmocka_unit_test(a_public_file_is_read_strictly),
	    cmocka_unit_test(a_box_opens_only_for_its_officer),
	    cmocka_unit_test(the_public_name_follows_the_key),
	    cmocka_unit_test(a_failing_disk_leaves_no_half_key),
	};
	int rc;

	if (sodium_init() < 0 || mkdtemp(dir) == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return rc;
}
