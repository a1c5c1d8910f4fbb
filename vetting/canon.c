/* canon.c - see canon.h. */
#include "canon.h"

#include <sodium.h>
#include <stdlib.h>

#include "jsonw.h"

json_t *canon_parse_any(struct span s, struct err *err)
{
	json_error_t je;
	json_t *v;

	if (s.n == 0 || s.n > CANON_MAX) {
		err_set(err, E_RANGE, "%zu bytes of JSON, allowed 1 to %u", s.n, CANON_MAX);
		return NULL;
	}
	v = json_loadb(s.p, s.n, JSON_REJECT_DUPLICATES, &je);
	if (v == NULL)
		err_set(err, E_FORMAT, "not valid JSON at byte %d (or a member stands twice)",
			je.position);
	return v;
}

json_t *canon_parse(struct span s, struct err *err)
{
	struct buf b = BUF_INIT(CANON_MAX);
	json_t *v = canon_parse_any(s, err);

	if (v && (canon_write(&b, v) < 0 || !buf_ok(&b) || !span_eq(buf_span(&b), s))) {
		err_set(err, E_FORMAT, "not canonical JSON (RFC 8785)");
		json_decref(v);
		v = NULL;
	}
	buf_free(&b);
	return v;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int write_value(struct jsonw *w, const json_t *v, int depth);

static int write_object(struct jsonw *w, const json_t *v, int depth)
{
	size_t n = json_object_size(v), i = 0;
	const char **names = calloc(n + 1, sizeof(*names)), *k;
	json_t *x;
	int rc = names ? E_OK : E_NOMEM;

	if (rc == E_OK)
		json_object_foreach((json_t *)(uintptr_t)v, k, x) names[i++] = k;
	if (rc == E_OK)
		qsort(names, n, sizeof(*names), by_name);
	jw_obj(w);
	for (i = 0; rc == E_OK && i < n; i++) {
		size_t len = strlen(names[i]);

		for (size_t j = 0; j < len; j++)
			if ((unsigned char)names[i][j] >= 0x80)
				rc = E_FORMAT;
		if (len >= 40)
			rc = E_FORMAT;
		if (rc < 0)
			break;
		jw_key(w, names[i]);
		rc = write_value(w, json_object_get(v, names[i]), depth + 1);
	}
	if (rc == E_OK)
		jw_end_obj(w);
	free(names);
	return rc;
}

static int write_value(struct jsonw *w, const json_t *v, int depth)
{
	int rc = E_OK;

	if (depth > CANON_DEPTH)
		return E_FORMAT;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return write_object(w, v, depth);
	case JSON_ARRAY:
		jw_arr(w);
		for (size_t i = 0; rc == E_OK && i < json_array_size(v); i++)
			rc = write_value(w, json_array_get(v, i), depth + 1);
		if (rc == E_OK)
			jw_end_arr(w);
		return rc;
	case JSON_STRING:
		jw_str(w, span_of(json_string_value(v), json_string_length(v)));
		return E_OK;
	case JSON_INTEGER:
		jw_int(w, json_integer_value(v));
		return E_OK;
	case JSON_TRUE:
	case JSON_FALSE:
		jw_bool(w, json_is_true(v));
		return E_OK;
	case JSON_NULL:
		jw_null(w);
		return E_OK;
	default:
		return E_FORMAT;
	}
}

int canon_write(struct buf *b, const json_t *v)
{
	struct jsonw w;

	jw_init(&w, b);
	return write_value(&w, v, 0);
}

bool jx_members(const json_t *o, const char *names)
{
	size_t n = 0;

	if (!json_is_object(o))
		return false;
	while (*names) {
		size_t len = strcspn(names, " ");
		char key[40];

		if (len == 0 || len >= sizeof(key))
			return false;
		memcpy(key, names, len);
		key[len] = '\0';
		if (json_object_get(o, key) == NULL)
			return false;
		n++;
		names += len + (names[len] == ' ');
	}
	return json_object_size(o) == n;
}

bool jx_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return false;
	*out = json_integer_value(v);
	return true;
}

struct span jx_str(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_string(v))
		return span_of(NULL, 0);
	return span_of(json_string_value(v), json_string_length(v));
}

bool jx_id(const json_t *o, const char *key, const char *prefix, struct id *out)
{
	struct span s = jx_str(o, key);
	char text[ID_TEXT_MAX];

	/* Lower case and canonical only: one id has one text inside signed bytes. */
	return id_parse(prefix, s, out) && span_eq(s, span_cstr(id_fmt(prefix, out, text)));
}

bool jx_id_opt(const json_t *o, const char *key, const char *prefix, struct id *out)
{
	struct span s = jx_str(o, key);

	if (s.p && s.n == 0) {
		memset(out, 0, sizeof(*out));
		return true;
	}
	return jx_id(o, key, prefix, out) && !id_is_zero(out);
}

bool hex_decode(struct span s, uint8_t *out, size_t n)
{
	if (s.n != 2 * n)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (v < 0)
			return false;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | v : v << 4);
	}
	return true;
}

bool jx_hex(const json_t *o, const char *key, uint8_t *out, size_t n)
{
	return hex_decode(jx_str(o, key), out, n);
}

bool jx_b64(const json_t *o, const char *key, uint8_t *out, size_t n)
{
	struct span s = jx_str(o, key);
	size_t got;

	return s.n &&
	       sodium_base642bin(out, n, s.p, s.n, NULL, &got, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       got == n;
}

bool jx_bool(const json_t *o, const char *key, bool *out)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_boolean(v))
		return false;
	*out = json_is_true(v);
	return true;
}

int jx_enum(const json_t *o, const char *key, int (*from)(struct span))
{
	struct span s = jx_str(o, key);

	return s.p ? from(s) : -1;
}

void commit_digest(const uint8_t salt[32], struct span bytes, uint8_t out[32])
{
	static const char context[] = "sallyport/commit/v1\n";
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, (const uint8_t *)context, sizeof(context) - 1);
	crypto_hash_sha256_update(&st, salt, 32);
	crypto_hash_sha256_update(&st, (const uint8_t *)(bytes.n ? bytes.p : ""), bytes.n);
	crypto_hash_sha256_final(&st, out);
}
