/* model_schema.c - see model_schema.h. */
#include "model_schema.h"

#include <unistd.h>

#include "buf.h"
#include "cli.h"
#include "io.h"

int schema_read(const char *path, struct schema **out)
{
	struct buf text = BUF_INIT(SCHEMA_MAX_BYTES + 1);
	struct err err = {0};
	int rc;

	*out = NULL;
	if (!path)
		return X_OK;
	if ((rc = io_read_file(path, SCHEMA_MAX_BYTES, &text, &err)) < 0) {
		buf_free(&text);
		rc = rc == E_RANGE ? X_USAGE : access(path, F_OK) < 0 ? X_NOTFOUND : X_FAIL;
		return cli_fail(rc, "%s", err.text);
	}
	rc = schema_compile(buf_span(&text), out, &err);
	buf_free(&text);
	return rc < 0 ? cli_fail(X_USAGE, "%s: %s", path, err.text) : X_OK;
}
