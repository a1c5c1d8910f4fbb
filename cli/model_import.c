/* model_import.c - copies a model file in after checking its digest. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "io.h"
#include "model.h"

static int copy_checked(int from, int to, const char *want, struct err *err)
{
	crypto_hash_sha256_state st;
	unsigned char chunk[65536], sum[32];
	char hex[65];
	ssize_t n;
	int rc = E_OK;

	crypto_hash_sha256_init(&st);
	while (rc == E_OK && (n = read(from, chunk, sizeof(chunk))) != 0) {
		if (n < 0)
			return err_sys(err, "read");
		crypto_hash_sha256_update(&st, chunk, (unsigned long long)n);
		rc = io_write_all(to, chunk, (size_t)n, err);
	}
	crypto_hash_sha256_final(&st, sum);
	sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
	if (rc == E_OK && strcmp(hex, want) != 0)
		rc = err_set(err, E_CRYPTO, "SHA-256 is %s, not what was promised", hex);
	if (rc == E_OK && fsync(to) < 0)
		rc = err_sys(err, "fsync");
	return rc;
}

static int verb_import(int argc, char **argv)
{
	const char *sha = NULL, *folder = NULL, *pos[1], *base;
	const struct opt opts[] = {
	    {"sha256", false, &sha, NULL, 0}, {"to", false, &folder, NULL, 0}, {0}};
	char to[4096], tmp[4104];
	struct err err = {0};
	struct model_plan plan;
	unsigned npos;
	struct model_files files;
	int out, rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || sha == NULL || folder == NULL || strlen(sha) != 64)
		return rc ? rc : cli_fail(X_USAGE, "model import FILE --sha256 HEX --to FOLDER");
	base = strrchr(pos[0], '/') ? strrchr(pos[0], '/') + 1 : pos[0];
	if (snprintf(to, sizeof(to), "%s/%s", folder, base) >= (int)sizeof(to))
		return cli_fail(X_USAGE, "the path is too long");
	snprintf(tmp, sizeof(tmp), "%s.part", to);
	if ((rc = model_files_open(pos[0], &files)) != X_OK)
		return rc;
	out = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	rc = out < 0 ? err_sys(&err, "%s", tmp) : copy_checked(files.fd[0], out, sha, &err);
	if (rc == E_OK)
		rc = model_plan(&out, 1, NULL, &plan,
				&err); /* it must be a model we can read, too */
	if (rc == E_OK && rename(tmp, to) < 0)
		rc = err_sys(&err, "rename to %s", to);
	if (out >= 0)
		close(out);
	model_files_close(&files);
	if (rc < 0) {
		unlink(tmp);
		return cli_fail(X_FAIL, "%s: %s", pos[0], err.text);
	}
	printf("imported %s (%s, %s)\nsha256 %s\n", to, plan.info.name, plan.info.quant, sha);
	return X_OK;
}

const struct model_verb model_verb_import = {
    "import", verb_import,
    "  import FILE --sha256 HEX --to FOLDER   copy a file in after checking its digest\n"};
