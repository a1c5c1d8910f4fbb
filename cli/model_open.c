/* model_open.c - opens the files of a model for the verbs of `sallyport model`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"

static int open_one(const char *path, int *fd)
{
	struct stat sb;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hang */
	if (*fd < 0)
		return cli_fail(errno == ENOENT ? X_NOTFOUND : X_FAIL, "%s: %s", path,
				strerror(errno));
	if (fstat(*fd, &sb) == 0 && S_ISREG(sb.st_mode))
		return X_OK;
	close(*fd);
	return cli_fail(X_FAIL, "%s: not a regular file", path);
}

int model_files_open(const char *path, struct model_files *f)
{
	unsigned n = split_count(path);
	char part[4096];
	int rc = X_OK;

	for (f->n = 0; f->n < n && rc == X_OK; f->n += rc == X_OK) {
		if (split_path(path, f->n, part, sizeof(part)) < 0)
			rc = cli_fail(X_USAGE, "the path is too long");
		else
			rc = open_one(part, &f->fd[f->n]);
	}
	if (rc != X_OK)
		model_files_close(f);
	return rc;
}

void model_files_close(struct model_files *f)
{
	while (f->n)
		close(f->fd[--f->n]);
}

int model_fail(int rc, const char *path, const char *why)
{
	return cli_fail(rc == E_RANGE || rc == E_UNSUPPORTED ? X_USAGE : X_FAIL, "%s: %s", path,
			why);
}
