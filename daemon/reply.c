/* reply.c - see reply.h. */
#include "reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "jsonw.h"
#include "log.h"

void reply_header(struct reply *r, const char *name, const char *fmt, ...)
{
	unsigned i = 0;
	va_list ap;

	while (i < r->n_headers && strcmp(r->header[i].name, name) != 0)
		i++;
	must(i < REPLY_HEADERS);
	if (i == r->n_headers)
		r->n_headers++;
	r->header[i].name = name;
	va_start(ap, fmt);
	vsnprintf(r->header[i].value, sizeof(r->header[i].value), fmt, ap);
	va_end(ap);
}

const char *reply_get(const struct reply *r, const char *name)
{
	for (unsigned i = 0; i < r->n_headers; i++)
		if (strcmp(r->header[i].name, name) == 0)
			return r->header[i].value;
	return NULL;
}

void reply_init(struct reply *r, int status, const char *content_type, const struct id *req)
{
	char text[ID_TEXT_MAX];

	r->status = status;
	r->n_headers = 0;
	r->body = BUF_INIT(REPLY_BODY_MAX);
	reply_header(r, "Content-Type", "%s", content_type);
	reply_header(r, "x-request-id", "%s", id_fmt("req", req, text));
	reply_header(r, "Cache-Control", "no-store");
	reply_header(r, "X-Accel-Buffering", "no");
	reply_header(r, "X-Content-Type-Options", "nosniff");
}

void reply_free(struct reply *r)
{
	buf_wipe_free(&r->body);
}

void reply_error_json(struct buf *b, const struct reply_fault *f)
{
	const struct reason_info *info = reason_info(f->code);
	const char *text = f->vietnamese ? info->vi : info->en;
	struct buf msg = BUF_INIT(4096);
	struct jsonw w;

	buf_puts(&msg, text[0] ? text : "Refused.");
	if (f->detail && f->detail[0]) {
		buf_putc(&msg, ' ');
		buf_puts(&msg, f->detail);
	}
	jw_init(&w, b);
	w.free_order = true;
	jw_obj(&w);
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kstr(&w, "message", buf_span(&msg));
	jw_kcstr(&w, "type", info->type[0] ? info->type : "server_error");
	jw_key(&w, "param");
	if (f->param && f->param[0])
		jw_cstr(&w, f->param);
	else
		jw_null(&w);
	jw_kcstr(&w, "code", info->code[0] ? info->code : "internal_error");
	jw_end_obj(&w);
	jw_end_obj(&w);
	buf_free(&msg);
}

void reply_error(struct reply *r, const struct id *req, const struct reply_fault *f)
{
	const struct reason_info *info = reason_info(f->code);
	int status = f->status >= 400 && f->status < 600 ? f->status : info->status;

	reply_init(r, status < 400 ? 500 : status, "application/json", req);
	reply_header(r, "Content-Language", f->vietnamese ? "vi" : "en");
	if (f->retry_ms) {
		reply_header(r, "Retry-After", "%u", f->retry_ms / 1000 + (f->retry_ms % 1000 > 0));
		reply_header(r, "retry-after-ms", "%u", f->retry_ms);
	}
	if (f->no_retry)
		reply_header(r, "x-should-retry", "false");
	if (status == 401)
		reply_header(r, "WWW-Authenticate", "Bearer");
	reply_error_json(&r->body, f);
	buf_putc(&r->body, '\n');
}

const char *http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} t[] = {{200, "OK"},
		 {400, "Bad Request"},
		 {401, "Unauthorized"},
		 {403, "Forbidden"},
		 {404, "Not Found"},
		 {405, "Method Not Allowed"},
		 {408, "Request Timeout"},
		 {413, "Content Too Large"},
		 {422, "Unprocessable Content"},
		 {429, "Too Many Requests"},
		 {500, "Internal Server Error"},
		 {503, "Service Unavailable"}};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (t[i].status == status)
			return t[i].text;
	return "Status";
}

void reply_raw(const struct reply *r, struct buf *out)
{
	buf_fmt(out, "HTTP/1.1 %d %s\r\n", r->status, http_status_text(r->status));
	for (unsigned i = 0; i < r->n_headers; i++)
		buf_fmt(out, "%s: %s\r\n", r->header[i].name, r->header[i].value);
	buf_fmt(out, "Content-Length: %zu\r\nConnection: close\r\n\r\n", r->body.n);
	buf_span_put(out, buf_span(&r->body));
}

const char *reply_duration(uint64_t ms, char out[32])
{
	unsigned long long s = ms / 1000, rest = ms % 1000;
	char frac[8] = "";

	if (ms < 1000) {
		snprintf(out, 32, "%llums", rest);
		return out;
	}
	if (rest) { /* 1.5s, not 1.500s */
		int n = snprintf(frac, sizeof(frac), ".%03llu", rest % 1000);

		while (n > 0 && frac[n - 1] == '0')
			frac[--n] = '\0';
	}
	if (s < 60)
		snprintf(out, 32, "%llu%ss", s, frac);
	else if (s < 3600)
		snprintf(out, 32, "%llum%llu%ss", s / 60, s % 60, frac);
	else
		snprintf(out, 32, "%lluh%llum%llu%ss", s / 3600 % 100000000, s / 60 % 60, s % 60,
			 frac);
	return out;
}
