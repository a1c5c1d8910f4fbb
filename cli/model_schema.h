/* model_schema.h - --schema FILE of `sallyport model generate`. */
#ifndef SP_CLI_MODEL_SCHEMA_H
#define SP_CLI_MODEL_SCHEMA_H

#include "mask.h"

/* Reads and compiles a JSON Schema; NULL path: *out NULL. An exit code; what is wrong is printed. */
int schema_read(const char *path, struct schema **out);

#endif
