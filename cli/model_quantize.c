/* model_quantize.c - writes a model again with smaller weights, whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jsonw.h"
#include "model.h"
#include "quant.h"

static bool progress(void *arg, unsigned per_mille)
{
	unsigned *shown = arg;

	if (isatty(STDERR_FILENO) && per_mille / 10 != *shown)
		fprintf(stderr, "\r%3u %%%s", per_mille / 10, per_mille == 1000 ? "\n" : "");
	*shown = per_mille / 10;
	return true;
}

static int sync_folder(const char *path, struct err *err)
{
	char dir[4096];
	const char *slash = strrchr(path, '/');
	int fd, rc;

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 || fsync(fd) < 0 ? err_sys(err, "%s", dir) : E_OK;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The finished file takes its name; without force only if nobody has it yet. */
static int publish(int fd, const char *tmp, const char *to, bool force, struct err *err)
{
	int rc = fsync(fd) < 0 ? err_sys(err, "fsync %s", tmp) : E_OK;

	if (rc == E_OK && !force) {
		if (link(tmp, to) == 0)
			unlink(tmp);
		else
			rc = errno == EEXIST ? err_set(err, E_CONFLICT, "%s is there", to)
					     : err_sys(err, "link %s", to);
	} else if (rc == E_OK && rename(tmp, to) < 0) {
		rc = err_sys(err, "rename to %s", to);
	}
	return rc < 0 ? rc : sync_folder(to, err);
}

static void report(const char *to, const char *type, const struct quant_sum *s)
{
	struct buf b = BUF_INIT(65536);
	struct jsonw w;

	if (cli.out != OUT_JSON) {
		printf("wrote %s: %.1f MB from %.1f MB; %u matrices %s", to,
		       (double)s->bytes_out / 1e6, (double)s->bytes_in / 1e6, s->quantised, type);
		printf(", %u F16 (rows of no whole blocks), %u other tensors as they were\n",
		       s->half, s->kept);
		return;
	}
	jw_init(&w, &b);
	jw_obj(&w);
	jw_kint(&w, "bytes_in", (int64_t)s->bytes_in);
	jw_kint(&w, "bytes_out", (int64_t)s->bytes_out);
	jw_kint(&w, "half", s->half);
	jw_kint(&w, "kept", s->kept);
	jw_kint(&w, "quantised", s->quantised);
	jw_kint(&w, "schema_version", 1);
	jw_kcstr(&w, "type", type);
	jw_end_obj(&w);
	model_print(&b);
}

/* The file to write to, empty. Never one that is read (it would be lost), nor one that another
 * process writes or has given its name meanwhile. */
static int open_new(const char *path, const struct model_files *in, int *fd, struct err *err)
{
	struct stat out, sb;
	int rc = E_OK;

	*fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	if (*fd < 0 || fstat(*fd, &out) < 0)
		rc = err_sys(err, "%s", path);
	for (unsigned i = 0; i < in->n && rc == E_OK; i++)
		if (fstat(in->fd[i], &sb) == 0 && sb.st_dev == out.st_dev &&
		    sb.st_ino == out.st_ino)
			rc = err_set(err, E_RANGE, "%s is being read; name the copy otherwise",
				     path);
	if (rc == E_OK && (flock(*fd, LOCK_EX | LOCK_NB) < 0 || lstat(path, &sb) < 0 ||
			   sb.st_dev != out.st_dev || sb.st_ino != out.st_ino))
		rc = err_set(err, E_RANGE, "%s is being written", path);
	if (rc == E_OK && ftruncate(*fd, 0) < 0)
		rc = err_sys(err, "%s", path);
	if (rc < 0 && *fd >= 0)
		close(*fd);
	return rc;
}

static int write_new(const struct model_files *in, const char *to, bool force,
		     const struct quant_opts *o, struct quant_sum *sum, struct err *err)
{
	char tmp[4104];
	int fd, rc;

	snprintf(tmp, sizeof(tmp), "%s.part", to);
	if ((rc = open_new(tmp, in, &fd, err)) < 0)
		return rc;
	rc = model_quantize(in->fd, in->n, fd, o, sum, err);
	if (rc == E_OK)
		rc = publish(fd, tmp, to, force, err);
	if (rc < 0)
		unlink(tmp);
	close(fd);
	return rc;
}

static int verb_quantize(int argc, char **argv)
{
	const char *type = NULL, *force = NULL, *again = NULL, *threads = NULL, *pos[2];
	const struct opt opts[] = {{"type", false, &type, NULL, 0},
				   {"force", true, &force, NULL, 0},
				   {"requantize", true, &again, NULL, 0},
				   {"threads", false, &threads, NULL, 0},
				   {0}};
	struct quant_opts o = {.progress = progress};
	struct quant_sum sum;
	struct model_files in;
	struct err err = {0};
	unsigned npos, shown = 1000;
	double n = 0;
	int rc = cli_opts(argc, argv, opts, pos, 2, &npos);

	if (rc != X_OK || npos != 2 || !type)
		return rc ? rc : cli_fail(X_USAGE, "model quantize IN OUT --type Q4_K_M");
	if ((rc = model_arg_number("threads", threads, 0, 256, &n)) != X_OK)
		return rc;
	if (strlen(pos[1]) > 4090)
		return cli_fail(X_USAGE, "the path is too long");
	if (!force && access(pos[1], F_OK) == 0)
		return cli_fail(X_CONFLICT, "%s is there; --force replaces it", pos[1]);
	if ((rc = model_files_open(pos[0], &in)) != X_OK)
		return rc;
	o.type = type;
	o.requantize = again != NULL;
	o.threads = (uint32_t)n;
	o.progress_arg = &shown;
	rc = write_new(&in, pos[1], force != NULL, &o, &sum, &err);
	model_files_close(&in);
	if (rc == E_CONFLICT)
		return cli_fail(X_CONFLICT, "%s; --force replaces it", err.text);
	if (rc < 0)
		return model_fail(rc, pos[0], err.text);
	report(pos[1], type, &sum);
	return X_OK;
}

const struct model_verb model_verb_quantize = {
    "quantize", verb_quantize,
    "  quantize IN OUT --type Q4_K_M|Q4_K|Q4_0|Q6_K|Q8_0 [--force] [--requantize] [--threads N]\n"
    "                                      a smaller copy of a model: matrices of this type\n"};
