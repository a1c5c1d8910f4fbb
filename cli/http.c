/* http.c - requests to the daemon's admin socket (libcurl over AF_UNIX). One thread. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cli.h"

#define REPLY_MAX (64u << 20)
#define STARTING_TRIES 50
#define STARTING_WAIT_US 100000

static size_t on_bytes(char *p, size_t one, size_t n, void *arg)
{
	struct buf *b = arg;

	buf_put(b, p, one * n);
	return buf_ok(b) ? one * n : 0;
}

static const char *socket_path(char *out, size_t n)
{
	if (cli.socket)
		return cli.socket;
	if (cli.realm) {
		snprintf(out, n, "%s/admin.sock", cli.realm);
		return out;
	}
	return "/run/sallyport/admin.sock";
}

/* Status of the answer, or a negative exit code after saying why. */
static long perform(const char *method, const char *route, const char *body, struct buf *reply)
{
	char path[1024], url[2048], why[CURL_ERROR_SIZE] = "";
	const char *sock = socket_path(path, sizeof(path));
	struct curl_slist *head = curl_slist_append(NULL, "Content-Type: application/json");
	CURL *c = curl_easy_init();
	CURLcode cc;
	long status = 0;

	if (c == NULL || head == NULL)
		return -cli_fail(X_FAIL, "no memory");
	snprintf(url, sizeof(url), "http://localhost/admin/v1%s", route);
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, sock);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	if (body)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, head);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, reply);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, 60L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	cc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(head);
	curl_easy_cleanup(c);
	if (cc != CURLE_OK)
		return -cli_fail(X_UNREACHABLE,
				 "the daemon does not answer on %s (%s). Is sallyportd running? "
				 "--realm DIR or --socket PATH says where.",
				 sock, why[0] ? why : curl_easy_strerror(cc));
	return status;
}

static int exit_of(long status, const char *code)
{
	if (strcmp(code, "separation") == 0 || strcmp(code, "separation_of_duties") == 0)
		return X_SEPARATION;
	if (strcmp(code, "audit_unavailable") == 0)
		return X_BOOK;
	switch (status) {
	case 400:
		return X_USAGE;
	case 401:
		return X_LOGIN;
	case 403:
		return X_SEPARATION;
	case 404:
		return X_NOTFOUND;
	case 409:
		return X_CONFLICT;
	case 503:
		return X_BOOK;
	default:
		return X_FAIL;
	}
}

static const char *str_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* Says what was refused, by which guard, who can, and the command they run. */
static int refused(long status, const json_t *doc)
{
	const json_t *e = json_object_get(doc, "error");
	const char *exit_name = str_of(e, "code");
	json_t *own = json_object_get(e, "exit");

	fprintf(stderr, "sallyport: %s\n",
		str_of(e, "message")[0] ? str_of(e, "message") : "the daemon refused");
	if (str_of(e, "guard")[0])
		fprintf(stderr, "  guard:   %s\n", str_of(e, "guard"));
	if (str_of(e, "who")[0])
		fprintf(stderr, "  who can: %s\n", str_of(e, "who"));
	if (str_of(e, "command")[0])
		fprintf(stderr, "  command: %s\n", str_of(e, "command"));
	if (json_is_integer(own))
		return (int)json_integer_value(own);
	return exit_of(status, exit_name);
}

/* perform, and the answer read. A daemon that has just started says so; it is asked again for a
 * while. */
static long ask(const char *method, const char *route, const char *body, json_t **doc)
{
	struct buf b = BUF_INIT(REPLY_MAX);
	json_error_t je;
	long status;

	for (int left = STARTING_TRIES;; left--) {
		status = perform(method, route, body, &b);
		*doc = status < 0 ? NULL
				  : json_loadb(b.p ? b.p : "", b.n, JSON_REJECT_DUPLICATES, &je);
		if (status != 503 || left == 0 ||
		    strcmp(str_of(json_object_get(*doc, "error"), "code"), "starting") != 0)
			break;
		json_decref(*doc);
		buf_reset(&b);
		usleep(STARTING_WAIT_US);
	}
	buf_free(&b);
	return status;
}

int cli_call(const char *method, const char *route, json_t *body, json_t **reply)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json_t *doc = NULL;
	long status;
	int rc = X_OK;

	if (body && text == NULL)
		return cli_fail(X_FAIL, "no memory");
	status = ask(method, route, text, &doc);
	free(text);
	if (status < 0)
		return (int)-status;
	if (status >= 400) {
		rc = refused(status, doc);
		json_decref(doc);
		doc = NULL;
	} else if (doc == NULL) {
		rc = cli_fail(X_FAIL, "the daemon's answer is no JSON");
	} else if (json_is_true(json_object_get(doc, "demo"))) {
		cli.demo = true;
	}
	*reply = doc;
	return rc;
}

int cli_call_raw(const char *method, const char *route, char **raw, size_t *n)
{
	struct buf b = BUF_INIT(REPLY_MAX);
	json_error_t je;
	json_t *doc;
	long status = perform(method, route, NULL, &b);
	int rc;

	if (status >= 0 && status < 400) {
		*raw = malloc(b.n + 1);
		if (*raw == NULL)
			return cli_fail(X_FAIL, "no memory");
		if (b.n)
			memcpy(*raw, b.p, b.n);
		(*raw)[b.n] = '\0';
		*n = b.n;
		buf_free(&b);
		return X_OK;
	}
	if (status < 0) {
		buf_free(&b);
		return (int)-status;
	}
	doc = json_loadb(b.p ? b.p : "", b.n, JSON_REJECT_DUPLICATES, &je);
	buf_free(&b);
	rc = refused(status, doc);
	json_decref(doc);
	return rc;
}
