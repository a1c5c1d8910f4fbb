/* json_valid.h - a plain validator of JSON values by a JSON Schema, over jansson and without any code
 * of the engine, for tests: does what was generated satisfy the schema? */
#ifndef SP_TESTS_JSON_VALID_H
#define SP_TESTS_JSON_VALID_H

#include <jansson.h>
#include <stdbool.h>

/* root: the whole schema, for $ref. *why: static, what failed first. */
bool json_valid(json_t *root, json_t *schema, json_t *value, const char **why);
/* Text of any bytes as JSON (doubled keys are let pass: they are the same value's business). */
json_t *json_text(const char *p, size_t n);

#endif
