/* model_synth.c - writes a model file of an exact shape with random weights. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model.h"
#include "synth.h"

static void progress(uint64_t done, uint64_t all)
{
	static int shown = -1;
	int percent = (int)(100 * done / all);

	if (isatty(STDERR_FILENO) && percent != shown)
		fprintf(stderr, "\r%3d %%%s", percent, done == all ? "\n" : "");
	shown = percent;
}

static int write_to(const char *path, const struct synth_shape *s, const struct synth_opts *o)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	struct err err = {0};
	int rc;

	if (fd < 0)
		return cli_fail(errno == EEXIST ? X_CONFLICT : X_FAIL, "%s: %s", path,
				strerror(errno));
	rc = synth_write(fd, s, o, &err);
	if (close(fd) < 0 && rc == E_OK)
		rc = err_sys(&err, "close");
	if (rc < 0) {
		unlink(path);
		return model_fail(rc, path, err.text);
	}
	return X_OK;
}

static int one_of(const char *what, const char *word, const char *const *list)
{
	const char *near;

	for (const char *const *l = list; *l; l++)
		if (strcmp(word, *l) == 0)
			return X_OK;
	near = cli_nearest(word, list);
	return cli_fail(X_USAGE, "no %s '%.20s'%s%s%s", what, word, near ? "; did you mean '" : "",
			near ? near : "", near ? "'?" : "");
}

static int verb_synth(int argc, char **argv)
{
	const char *shape = NULL, *type = NULL, *seed = NULL, *headers = NULL, *pos[1];
	const struct opt opts[] = {{"shape", false, &shape, NULL, 0},
				   {"type", false, &type, NULL, 0},
				   {"seed", false, &seed, NULL, 0},
				   {"headers", true, &headers, NULL, 0},
				   {0}};
	struct synth_opts o = {.progress = progress};
	unsigned npos;
	double sd = 1;
	int rc = cli_opts(argc, argv, opts, pos, 1, &npos);

	if (rc != X_OK || npos != 1 || !shape || !type)
		return rc ? rc : cli_fail(X_USAGE, "model synth FILE --shape 1b --type Q4_K_M");
	if ((rc = one_of("shape", shape, synth_names)) != X_OK ||
	    (rc = one_of("type", type, synth_types)) != X_OK ||
	    (rc = model_arg_number("seed", seed, 0, 9007199254740991.0, &sd)) != X_OK)
		return rc;
	o.type = type;
	o.seed = (uint64_t)sd;
	o.headers_only = headers != NULL;
	return write_to(pos[0], synth_shape(shape), &o);
}

const struct model_verb model_verb_synth = {
    "synth", verb_synth,
    "  synth FILE --shape nano|1b|3b|8b|70b|405b --type Q4_K_M|Q8_0|...\n"
    "        [--seed N] [--headers]       a new file of that exact shape with random weights;\n"
    "                                      --headers: the weights are a hole in the file (for "
    "plan)\n"};
