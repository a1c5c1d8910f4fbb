/* model_import.c - copies a model file in after checking its digest. */
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "io.h"
#include "model.h"

static int copy(int from, int to, uint8_t sha[32], struct err *err)
{
	crypto_hash_sha256_state st;
	static unsigned char chunk[65536];
	ssize_t n;
	int rc = E_OK;

	crypto_hash_sha256_init(&st);
	while (rc == E_OK && (n = read(from, chunk, sizeof(chunk))) != 0) {
		if (n < 0)
			return err_sys(err, "read");
		crypto_hash_sha256_update(&st, chunk, (unsigned long long)n);
		rc = io_write_all(to, chunk, (size_t)n, err);
	}
	crypto_hash_sha256_final(&st, sha);
	if (rc == E_OK && fsync(to) < 0)
		rc = err_sys(err, "fsync");
	return rc;
}

struct import {
	const char *base, *folder; /* name of a file of the model; where to */
	struct model_files from;
	int out[SPLIT_MAX];
	unsigned n; /* files made so far */
};

static int place(const struct import *im, unsigned i, const char *tail, char *out, size_t size)
{
	char name[NAME_MAX + 1];

	if (split_path(im->base, i, name, sizeof(name)) < 0 ||
	    (size_t)snprintf(out, size, "%s/%s%s", im->folder, name, tail) >= size)
		return E_RANGE;
	return E_OK;
}

/* All files to .part ones, checked together: a model they must be, and the one promised. */
static int copy_checked(struct import *im, const char *want, struct model_plan *plan,
			struct err *err)
{
	uint8_t sha[SPLIT_MAX][32], sum[32];
	char tmp[4096], hex[65];
	int rc = E_OK;

	while (rc == E_OK && im->n < im->from.n) {
		if (place(im, im->n, ".part", tmp, sizeof(tmp)) < 0)
			return err_set(err, E_RANGE, "the path is too long");
		im->out[im->n] =
		    open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (im->out[im->n] < 0)
			return err_sys(err, "%s", tmp);
		rc = copy(im->from.fd[im->n], im->out[im->n], sha[im->n], err);
		im->n++;
	}
	if (rc < 0)
		return rc;
	split_digest((const uint8_t(*)[32])sha, im->n, sum);
	sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
	if (strcmp(hex, want) != 0)
		return err_set(err, E_CRYPTO, "SHA-256 is %s, not what was promised", hex);
	return model_plan(im->out, im->n, NULL, plan, err);
}

/* The copies get their names, or go. */
static int finish(struct import *im, int rc, struct err *err)
{
	char tmp[4096], to[4096];

	for (unsigned i = 0; i < im->n; i++) {
		close(im->out[i]);
		if (place(im, i, ".part", tmp, sizeof(tmp)) < 0 ||
		    place(im, i, "", to, sizeof(to)) < 0)
			continue;
		if (rc == E_OK && rename(tmp, to) < 0)
			rc = err_sys(err, "rename to %s", to);
		if (rc < 0)
			unlink(tmp);
	}
	return rc;
}

static int verb_import(int argc, char **argv)
{
	const char *sha = NULL, *pos[1];
	struct import im = {0};
	const struct opt opts[] = {
	    {"sha256", false, &sha, NULL, 0}, {"to", false, &im.folder, NULL, 0}, {0}};
	struct err err = {0};
	struct model_plan plan;
	unsigned npos;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || sha == NULL || im.folder == NULL || strlen(sha) != 64)
		return rc ? rc : cli_fail(X_USAGE, "model import FILE --sha256 HEX --to FOLDER");
	im.base = strrchr(pos[0], '/') ? strrchr(pos[0], '/') + 1 : pos[0];
	if ((rc = model_files_open(pos[0], &im.from)) != X_OK)
		return rc;
	rc = copy_checked(&im, sha, &plan, &err);
	rc = finish(&im, rc, &err);
	model_files_close(&im.from);
	if (rc < 0)
		return cli_fail(X_FAIL, "%s: %s", pos[0], err.text);
	printf("imported %s/%s (%s, %s)\nsha256 %s\n", im.folder, im.base, plan.info.name,
	       plan.info.quant, sha);
	return X_OK;
}

const struct model_verb model_verb_import = {
    "import", verb_import,
    "  import FILE --sha256 HEX --to FOLDER   copy a file in after checking its digest\n"};
