/* model_open.c - opens the files of a model for the verbs of `sallyport model`. */
#include <errno.h>
#include <fcntl.h>
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
	int rc = open_one(path, &f->fd[0]);

	f->n = rc == X_OK;
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
